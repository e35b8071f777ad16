"""The examples of README and of the site run, and what they show is what is printed."""

import contextlib
import io
import json
import re
import runpy
import socket
from dataclasses import replace
from functools import reduce
from operator import getitem

import jsonschema
import pytest
import torch
from click.testing import CliRunner
from matplotlib.figure import Figure
from torch import nn

import syops.dst
import syops.models
from syops.api import get_model_bounds, get_model_syops
from syops.cli import cli
from syops.cost.conventions import list_conventions
from syops.cost.menu.estimates import menu_models
from syops.cost.profiles import list_energy_models
from syops.models import create_model
from syops.models.demo import digits, weights
from syops.report.comparison import compare
from tests import ROOT
from tests.support.reports import FIXED, MIXED, SMALL

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
OWN = {
    "adding": "tests/show/test_format_files.py puts it into its folder",
    "nir": "needs files of others; tests/models/test_nir.py",
    "neurons": "tests/trace/test_neuron_adapters.py puts it into its folder",
    "own_operators": "tests/ops/test_own_operators.py",
}
"""Pages whose examples are run elsewhere, with what they take for granted."""
LONG = ("training", "networks")
"""Pages whose examples take seconds."""


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)


class Model(nn.Module):
    """A network that takes images of any size; it hands back a state if it is given one."""

    def __init__(self):
        super().__init__()
        self.T = 4
        self.conv1, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 5)

    def forward(self, x, *mem):
        spikes = (self.norm(self.conv1(x)) >= 0).float()
        out = sum(self.fc(spikes.amax((2, 3))) for _ in range(self.T))
        return (out, out) if mem else out


def given():
    """What the examples of a page may take for granted, beside what they define themselves."""
    torch.manual_seed(0)
    model = Model().eval()
    x = torch.rand(4, 2, 3, 8, 8)  # [T, N, C, H, W]
    report = get_model_syops(model, x[0])
    return {
        "torch": torch,
        "nn": nn,
        "model": model,
        "build": lambda T: Model().eval(),
        "x": x,
        "loader": [(x[0], torch.tensor([0, 1])), (x[1], torch.tensor([2, 3]))],
        "parts_of_the_data": [[x[0]], [x[1]]],
        "report": report,
        "other": report,
        "spiking": report,
        "ann_report": get_model_syops(model, x[0], zeros=True),
        "reports": [report, report],
        "ax": Figure().add_subplot(),
        "compare": compare,
        "get_model_syops": get_model_syops,
        "get_model_bounds": get_model_bounds,
    }


def pages(language, long):
    return [
        pytest.param(page, id=page.stem)
        for page in PAGES
        if blocks(page, language) and page.stem not in OWN and (page.stem in LONG) == long
    ]


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    alone = {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    for name, value in alone.items():  # as torchrun does it, for a group of one process
        monkeypatch.setenv(name, str(value))
    names = given()
    for i, code in enumerate(blocks(page, "python")):
        source = compile(code, f"{page.name}, example {i + 1}", "exec")
        with contextlib.redirect_stdout(io.StringIO()):
            exec(source, names)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("page", pages("python", long=False))
def test_examples_run(page, tmp_path, monkeypatch):
    run(page, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("page", pages("python", long=True))
def test_long_examples_run(page, tmp_path, monkeypatch):
    run(page, tmp_path, monkeypatch)


def commands():
    for page in PAGES:
        for text in blocks(page, "console"):
            for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
                command, _, shown = part.partition("\n")
                yield pytest.param(command, shown, id=f"{page.stem}: {command}")


@pytest.mark.parametrize(("command", "shown"), list(commands()))
def test_commands_print_what_is_shown(command, shown, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name, *args = command.split()
    assert name == "syops"
    done = CliRunner().invoke(cli, args, standalone_mode=False)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    start, cut, _ = shown.partition("...\n")
    assert done.stdout.startswith(start) if cut else done.stdout == shown


def test_commands_that_are_named_exist():
    for page in PAGES:
        for block in re.findall(r"^```\w*\n(.*?)^```", page.read_text("utf-8"), re.M | re.S):
            for name in re.findall(r"^(?:\$ )?syops (\w[\w-]*)", block, re.M):
                assert name in cli.commands, f"{page.name}: syops {name}"


def optional_parts():
    """A report with all that a count records only if it is asked to."""
    batches = [(torch.eye(4)[:2], torch.tensor([0, 1])), (torch.rand(1, 4), torch.tensor([1]))]
    asked = {"spread": True, "zeros": True, "values": True, "neuron_rates": True}
    return get_model_syops(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), batches, **asked)


ASKED = optional_parts()


@pytest.mark.parametrize(
    "report", [FIXED, SMALL, *MIXED.reports, ASKED], ids=lambda report: report.model
)
def test_reports_are_as_the_schema_says(report):
    schema = json.loads((DOCS / "report.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    content = json.loads(report.to_json())
    jsonschema.validate(content, schema)
    assert {*content} == {*schema["properties"]}
    for name in ("schema", "layers", "per_sample", "complete"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({k: v for k, v in content.items() if k != name}, schema)


@pytest.mark.parametrize(
    ("where", "wrong"),
    [
        (("spread", "dc", "total"), 1.5),
        (("spread", "by_class", "1", "ac", "least"), "1/0"),
        (("zeros", "modules", 0, "nonzero"), -1),
        (("zeros", "modules", 1, "kind"), "neuron"),
        (("modules", 0, "look"), "graded"),
        (("modules", 0, "mean"), 0.5),
    ],
)
def test_schema_refuses_what_a_part_does_not_hold(where, wrong):
    schema = json.loads((DOCS / "report.schema.json").read_text("utf-8"))
    content = json.loads(ASKED.to_json())
    part = reduce(getitem, where[:-1], content)
    assert where[-1] in part
    part[where[-1]] = wrong
    with pytest.raises(jsonschema.ValidationError, match=re.escape(repr(wrong))):
        jsonschema.validate(content, schema)
    del part[where[-1]]
    with pytest.raises(jsonschema.ValidationError, match="is a required property"):
        jsonschema.validate(content, schema)


def test_every_page_is_in_the_navigation():
    nav = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:\n")[2]
    listed = re.findall(r": ([\w/]+\.md)$", nav, re.M)
    assert sorted(listed) == sorted({*listed})
    assert {page.name for page in DOCS.glob("*.md")} == {p for p in listed if "/" not in p}


def test_every_convention_and_energy_model_has_a_page():
    hook = runpy.run_path(str(DOCS / "catalogue.py"))
    conventions, energies = hook["convention_pages"](), hook["energy_pages"]()
    assert [*conventions] == [each.name for each in list_conventions()]
    profiles, models = list_energy_models(), menu_models()
    assert [*energies] == [each.name for each in (*profiles, *models)]
    for each in list_conventions():
        for told in (each.source, each.scope, each.gets_wrong):
            assert told[1:] in conventions[each.name]
    for each in profiles:
        assert f"E = {each.e_ac_pj:g} pJ · O_ac" in energies[each.name]
    for each in (*profiles, *models):
        assert each.source[1:] in energies[each.name]
    assert "as many ACs as its magnitude" in conventions["ilif"]
    assert "the sum of the synapses that each spike reaches" in conventions["exact"]


def test_every_public_name_is_in_the_reference():
    listed = re.findall(r"^::: (syops\.[\w.]+)$", (DOCS / "api.md").read_text("utf-8"), re.M)
    assert len(listed) == len({*listed})
    public = {f"syops.{name}" for name in syops.__all__}
    for package in (syops.models, syops.dst):
        names = set(package.__all__) - set(syops.__all__)
        public |= {f"{package.__name__}.{name}" for name in names}
    assert public <= {*listed}


def test_examples_in_docstrings_are_shown_as_code():
    """Under "Example:" the reference shows them as quotations of quotations."""
    for path in (ROOT / "syops").rglob("*.py"):
        assert not re.search(r"^ +Example:\n +>>>", path.read_text("utf-8"), re.M), path


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150


def test_readme_shows_the_table_that_is_printed():
    images, labels = digits()
    batches = list(zip(images.split(150), labels.split(150), strict=True))
    model = create_model("fsnn_digits", weights=weights("fsnn_digits"))
    table = str(replace(get_model_syops(model, batches), model="fsnn_digits").table(top=5))
    assert f"```\n{table}\n```" in (ROOT / "README.md").read_text("utf-8")
