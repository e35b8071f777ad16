"""The command, as a user runs it."""

import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from syops.cli import main
from syops.report.report import Report
from syops.run.data.images import IMAGENET_MEAN, IMAGENET_STD, read_image
from syops.show.html import to_page

# Two neurons that fire where what they are connected to is above 0.5, and five behind them.
NETS = """
import torch
from torch import nn
from syops.errors import SyopsValueError

class Spike(nn.Module):
    def forward(self, x):
        return (x > 0.5).to(x)

class Net(nn.Module):
    def __init__(self, features=2, T=1, note=None):
        super().__init__()
        self.T, self.note = T, note
        self.hidden, self.spike, self.out = nn.Linear(features, 2), Spike(), nn.Linear(2, 5)
    def forward(self, x):
        for _ in range(self.T):
            y = self.out(self.spike(self.hidden(x)))
        return y

class Fire(nn.Module):
    def forward(self, x, v):
        return x / 2 + 0.5, v

class Stateful(Net):
    def __init__(self):
        super().__init__()
        self.spike = Fire()
    def forward(self, x):
        spikes, _ = self.spike(self.hidden(x), x)
        return self.out(spikes)

class Image(nn.Module):
    def __init__(self, channels=3):
        super().__init__()
        self.conv = nn.Conv2d(channels, 1, 1)
    def forward(self, x):
        return self.conv(x)

class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 4)
    def forward(self, left, right):
        return self.linear(left) - right

class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.linear = nn.Embedding(9, 3), nn.Linear(3, 2)
    def forward(self, x):
        return self.linear(self.embedding(x))

class Steps(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 1)
    def forward(self, x):
        return torch.stack([self.linear(step) for step in x])

def broken():
    raise RuntimeError("no such luck\\nand more of it")

def complains():
    raise SyopsValueError("first line\\nsecond line")

def talks():
    print("a greeting")
    class Talks(Net):
        def forward(self, x):
            print("a word")
            return super().forward(x)
    return Talks()

def number():
    return 3

def scripted():
    return torch.jit.script(nn.Linear(2, 2))

instance = nn.Identity()
"""


@pytest.fixture(autouse=True)
def here(here):
    """A current directory with a module of models in it."""
    (here / "clinets.py").write_text(NETS)
    return here


@pytest.fixture
def report(syops):
    """Runs the command and gives the report that it prints as JSON."""

    def run(*args):
        status, out, err = syops("run", *args, "--format", "json")
        assert status == 0, err
        return Report.from_json(out)

    return run


def weights(**changes):
    """Of Net: the first neuron fires for (1, 0), the second for (0, 1)."""
    return {
        "hidden.weight": torch.eye(2),
        "hidden.bias": torch.zeros(2),
        "out.weight": torch.ones(5, 2),
        "out.bias": torch.zeros(5),
    } | changes


@pytest.fixture
def trained(here):
    """Weights of Net and an input of which one sample fires one neuron and one fires both."""
    torch.save(weights(), "net.pt")
    np.save("x.npy", np.array([[1.0, 0.3], [0.75, 1.0]]))
    return "clinets:Net", "--weights", "net.pt", "--input", "x.npy"


@pytest.mark.parametrize("name", ["Fire", "clinets.Fire"])
def test_neuron_declares_what_a_class_sends(syops, report, here, name):
    np.save("spikes.npy", np.ones((2, 2)))
    torch.save(weights(), "net.pt")
    shape, declared = ("--input-shape", "2"), ("--neuron", f"{name}=binary")
    network = "clinets:Stateful"
    assert syops("audit", network, *shape, "--allow", "first")[0] == 1
    assert syops("audit", network, *shape, "--allow", "first", *declared)[0] == 0
    status, out, err = syops("bounds", network, *shape, *declared, "--format", "json")
    assert status == 0, err
    assert Report.from_json(out).mac == 2 * 2
    args = "--weights", "net.pt", "--input", "spikes.npy"
    assert report(network, *args).mac == 2 * 5  # ones are taken for spikes
    assert report(network, *args, *declared).mac == 0


# --- starting, help, lists --------------------------------------------------------------------


@pytest.mark.parametrize("args", [["--help"], ["run", "--help"], ["energy"], ["--version"]])
def test_nothing_slow_is_imported_without_need(args):
    program = (
        "import sys\nbefore = {*sys.modules}\nfrom syops.cli import main\n"
        f"try:\n    main({args})\nexcept SystemExit:\n    pass\n"
        "loaded = {name.partition('.')[0] for name in {*sys.modules} - before}\n"
        "print(*sorted(loaded - sys.stdlib_module_names), file=sys.stderr)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert {*done.stderr.split()} <= {"click", "markupsafe", "syops"}


@pytest.mark.parametrize(("call", "is_ours"), [("main()", True), ("main(sys.argv[1:])", False)])
def test_garbage_search_is_changed_in_a_process_of_our_own_alone(call, is_ours):
    program = (
        "import gc, sys\nfrom syops.cli import main\n"
        f"try:\n    {call}\nexcept SystemExit:\n    pass\n"
        "print(gc.isenabled(), gc.get_freeze_count() > len(gc.get_objects()), file=sys.stderr)"
    )
    command = [sys.executable, "-c", program, "bounds", "dsnn_digits"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stderr.split()[-2:] == ["True", str(is_ours)]


def test_help_tells_every_command(syops):
    status, out, _ = syops()
    assert status == 0
    assert out == syops("--help")[1] == syops("-h")[1]
    assert {"run", "models", "energy"} <= set(re.findall(r"^  (\w+)  ", out, re.M))


def test_version_option(syops):
    status, out, _ = syops("-V")
    assert status == 0
    assert re.fullmatch(r"syops \d+\.\d+\.\d+\n", out)
    assert out == syops("--version")[1]


def test_models_are_listed_with_parameters_and_steps(syops):
    heading, _, *lines = syops("models")[1].splitlines()
    assert heading.split() == ["name", "parameters", "(M)", "T"]
    listed = {name: (size, steps) for name, size, steps in map(str.split, lines)}
    assert len(listed) == len(lines) >= 12
    # Parameters of the ResNets that torchvision documents.
    assert listed["sew_resnet18"] == ("11.7", "4")
    assert listed["fsnn50"] == ("25.6", "4")
    assert listed["sew_resnet101"] == ("44.5", "4")


def test_energy_profiles_are_listed_with_their_source(syops):
    status, out, _ = syops("energy")
    assert status == 0
    assert re.search(r"AC \(pJ\) +MAC \(pJ\)[^\0]*horowitz45-int8 +0\.03 +0\.23 ", out)
    assert out.count("Horowitz, ") == 1
    assert re.search(r"loihi +23\.6 +- +only +14 nm", out)
    assert max(map(len, out.splitlines())) <= 80


def test_the_profiles_of_a_file_are_listed(syops, tmp_path):
    path = tmp_path / "my.toml"
    path.write_text("[chip]\ne_ac_pj = '2 pJ'\nspike_only = true\nincludes = 'routing'\n")
    status, out, _ = syops("energy", path)
    assert status == 0
    assert re.search(r"^chip +2 +- +only", out, re.M)
    assert out.endswith("chip:\n  routing\n")


# --- running ----------------------------------------------------------------------------------


def test_counts_of_a_network_that_can_be_counted_by_hand(report, trained):
    found = report(*trained)
    # 2 x 2 analog inputs; (1 + 2) / 2 spikes a sample, each to five neurons.
    assert (found.samples, found.mac, found.ac, found.dense_ac) == (2, 4, 7.5, 10)
    assert found.dc_mj == pytest.approx((4 * 4.6 + 7.5 * 0.9) * 1e-9)


def test_a_trained_network_needs_no_warning(syops, trained):
    assert syops("run", *trained)[2] == ""


def test_untrained_weights_are_warned_of_once_on_stderr(syops):
    np.save("x.npy", np.array([[0.0, 0.5]]))
    _, out, err = syops("run", "clinets:Net", "--input", "x.npy")
    assert err.startswith("syops: note:")
    assert err.count("\n") == err.count("not representative") == 1
    assert "not representative" not in out


def test_output_formats(syops, report, trained):
    same = report(*trained)
    assert syops("run", *trained)[1] == f"{same}\n"
    for form in ("csv", "markdown", "latex"):
        write = getattr(same, f"to_{form}")
        assert syops("run", *trained, "--format", form)[1] == write()
        arranged = ("--depth", 1, "--columns", "layer,O_ac,DC", "--sort", "dc", "--top", 1)
        assert syops("run", *trained, "--format", form, *arranged)[1] == write(
            depth=1, columns=["name", "ac", "dc_mj"], sort="dc_mj", top=1
        )


def test_html_page_names_the_command(syops, report, trained):
    status, page, _ = syops("run", *trained, "--format", "html")
    command = "syops run " + " ".join(trained) + " --format html"
    found = report(*trained)
    found = replace(found, provenance=replace(found.provenance, calls=(command,)))
    assert status == 0
    assert "--format json" not in page
    assert page == to_page(found, command)


def test_latex_has_the_caption_label_and_notes_of_its_user(syops, trained):
    given = ("--caption", r"Ours, \emph{new}.", "--label", "tab:ours", "--notes", "By hand.")
    text = syops("run", *trained, "--format", "latex", *given)[1]
    assert r"\caption{Ours, \emph{new}.}\label{tab:ours}" in text
    assert "By hand." in text
    assert "Dynamic consumption" not in text
    bare = syops("bounds", "fsnn_digits", "--format", "latex", "--notes", "", "--depth", "1")[1]
    assert "minipage" not in bare


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--label", "a"), "--label needs --format latex"),
        (("--format", "html", "--notes", ""), "--notes needs --format latex"),
        (("--format", "latex", "--label", "a b"), "label: 'a b' cannot be referred to"),
        (("--format", "latex", "--label", "a", "--caption", ""), "a label needs a caption"),
    ],
)
def test_what_latex_cannot_have_is_refused_before_the_count(syops, given, words):
    status, out, err = syops("run", "nothing_is_built:yet", *given)
    assert (status, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "option", [("--stop-when", "nan"), ("--checkpoint-seconds", "nan"), ("--nonzero", "nan")]
)
def test_nan_is_no_number(syops, trained, option):
    status, out, err = syops("run", *trained, *option)
    assert (status, out) == (2, "")
    name, value = option
    assert err == f"syops: error: Invalid value for '{name}': '{value}' is not a number.\n"


def test_units_option(syops, trained):
    def heading(*units):
        return syops("run", *trained, *units)[1].splitlines()[2].split()[4:]

    assert heading() == ["O_ac", "O_mac", "DC", "(pJ)", "share"]
    both = ["O_ac", "(k)", "O_mac", "(k)", "DC", "(pJ)", "share"]
    assert heading("--units", "pJ", "--units", "k") == heading("--units", "k,pJ") == both
    assert heading("--units", "auto") == heading()


def terminal(monkeypatch, columns, **variables):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    for name, value in {"TERM": "xterm", "COLUMNS": str(columns), **variables}.items():
        monkeypatch.setenv(name, value)


def test_colours_are_for_terminals_that_have_them(syops, trained, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    plain, whole = syops("run", *trained)[1], syops("run", *trained, "--verbose")[1]
    terminal(monkeypatch, 80)
    colourful = syops("run", *trained)[1]
    assert "\x1b[33manalog" in colourful
    assert re.sub(r"\x1b\[\d+m", "", colourful) == plain
    assert syops("run", *trained, "-o", "out.txt")[1] == ""
    with open("out.txt", encoding="utf-8") as file:
        assert file.read() == whole != plain
    for variables in ({"TERM": "dumb"}, {"NO_COLOR": "1"}):
        terminal(monkeypatch, 80, **variables)
        assert syops("run", *trained)[1] == plain
    assert syops("bounds", "fsnn18", "--format", "markdown")[1].count("\x1b") == 0


def test_a_wide_terminal_has_room_for_long_names(syops, monkeypatch):
    args = (
        "bounds",
        "spikformer_4_384",
        "--columns",
        "layer,kind,operator,signal,params,rate,O_ac",
    )
    args = (*args[:-1], args[-1] + ",dense,dense AC,O_mac,EC min")
    assert ".." not in syops(*args)[1]  # no terminal
    terminal(monkeypatch, 80)
    assert ".." in syops(*args)[1]
    terminal(monkeypatch, 200, TERM="dumb")
    assert ".." not in syops(*args)[1]


def test_a_terminal_without_greek_letters(monkeypatch):
    written = io.BytesIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii"))
        with pytest.raises(SystemExit):
            main(["audit", "sew_digits"])
        sys.stdout.flush()
        assert b"  {0,1,2} <- add in layer1.0 (residual" in written.getvalue()


def test_options_of_the_count_reach_it(report, trained):
    assert report(*trained, "--energy", "horowitz45-int8").dc_mj == pytest.approx(
        (4 * 0.23 + 7.5 * 0.03) * 1e-9
    )
    Path("my.toml").write_text("[chip]\ne_ac_pj = '2 pJ'\ne_mac_pj = 8\n")
    for energy in (["my.toml"], ["my.toml:chip"], ["horowitz45-int8", "--energy", "o*=my.toml"]):
        found = report(*trained, "--energy", *energy)
        macs = 8 if len(energy) == 1 else 0.23
        assert found.dc_mj == pytest.approx((4 * macs + 7.5 * 2) * 1e-9)
    events = report(*trained, "--ac", "events", "--graded", "ac", "--no-fold-bn")
    assert events.convention.ac == "events"
    assert events.convention.graded == "ac"
    assert events.convention.norms == "counted"
    assert report(*trained, "--time-steps", 7).time_steps == 7


def test_memory_is_told_in_every_format(syops, trained):
    """2 x 2 weights of the stem and inputs; 1.5 spikes a sample, each to five neurons."""
    status, out, _ = syops("run", *trained, "--memory", "--verbose")
    assert status == 0
    assert re.search(r"^hidden +analog +4 +2 +0 +2 +32 ", out, re.M)
    assert re.search(r"^out +binary +7.50 +3 +15 +0 +102 ", out, re.M)
    assert "Break-even firing rate with memory" in out
    for form, words in [
        ("csv", "out,linear,binary,7.5,3.0,15.0,0.0,102.0,"),
        ("json", '"total_mj"'),
        ("markdown", "| hidden "),
        ("latex", "hidden"),
        ("html", "<td"),
    ]:
        status, out, _ = syops("run", *trained, "--memory", "--format", form)
        assert status == 0
        assert words in out
    assert syops("bounds", "fsnn_digits", "--memory", "--top", "2")[0] == 0


def test_zeros_are_told(syops, report, trained):
    """1.5 spikes a sample reach five weights each; half of the four weights before are zero."""
    status, out, _ = syops("run", *trained, "--zeros", "--format", "json")
    assert status == 0
    told = json.loads(out)["per_sample"]
    counted = report(*trained, "--ac", "events")
    assert told["effective_ac"] == 1.5 * 5
    assert told["connection_sparsity"] == 2 / 14
    assert told["dense"] == sum(layer.dense for layer in counted.layers if layer.kind == "linear")
    assert "Connection sparsity" in syops("run", *trained, "--zeros")[1]


def test_rates_of_neurons_are_told(syops, report, trained):
    status, out, err = syops("run", "fsnn_digits", "--neuron-rates", "--format", "json")
    assert status == 0, err
    rows = json.loads(out)["rows"]
    assert rows
    assert all(row["neurons"] == sum(row["histogram"]) > 0 for row in rows)
    assert "No neurons to show" in syops("run", *trained, "--neuron-rates")[1]
    # 1.5 spikes a sample reach five weights each, of 2 x 5.
    assert report(*trained).spikes_per_synapse == 0.75
    status, _, err = syops("run", *trained, "--neuron-rates", "--zeros")
    assert status == 2
    assert "--zeros and --neuron-rates are tables of their own" in err


def test_baselines_are_told(syops, report, trained):
    """Where T is not known there are none: then the count is printed, and what to type."""
    Path("nosteps.py").write_text("from torch import nn\n\nNet = lambda: nn.Linear(2, 2)\n")
    status, out, err = syops("run", "nosteps:Net", "--input", "x.npy", "--baselines")
    assert status == 2
    assert "Linear: 6 parameters" in out
    assert "--time-steps T" in err
    given = *trained, "--time-steps", "1", "--baselines", "--nonzero", "0.5"
    fp32 = report(*trained, "--time-steps", "1").ann.dc_mj
    status, out, _ = syops("run", *given, "--format", "csv", "--columns", "name,energy_mj")
    assert status == 0
    lines = [line.split(",") for line in out.splitlines()[1:]]
    assert [line[0] for line in lines[:2]] == ["fp32 ANN", "int8 ANN"]
    assert float(lines[0][-1]) == pytest.approx(fp32)
    assert len(lines) == 8
    assert "break-even" in syops("bounds", "fsnn_digits", "--baselines")[1]


@pytest.mark.parametrize("form", ["plain", "state_dict", "model", "safetensors"])
def test_weights_of_every_form(report, form):
    np.save("x.npy", np.array([[1.0, 0.3]]))
    if form == "safetensors":
        save_file(weights(), "net.safetensors")
    else:
        torch.save(weights() if form == "plain" else {form: weights(), "epoch": 3}, "net.pt")
    path = "net.safetensors" if form == "safetensors" else "net.pt"
    assert report("clinets:Net", "--weights", path, "--input", "x.npy").ac == 5


def test_keywords_are_literals_or_strings(report):
    np.save("x.npy", np.full((1, 3), 0.1))
    args = ("clinets:Net", "--input", "x.npy", "--set", "features=3", "--set", "note=a word")
    assert report(*args, "--set", "T=2").mac == 2 * 3 * 2
    assert report(*args).mac == 3 * 2


@pytest.mark.parametrize("value", ["{[]: 1}", "word", "1 +", "f(2)", ""])
def test_keyword_that_is_not_a_literal_is_a_string(report, value):
    np.save("x.npy", np.full((1, 2), 0.1))
    assert report("clinets:Net", "--input", "x.npy", "--set", f"note={value}").mac == 2 * 2


def test_seeds_make_weights_and_random_inputs(report):
    def rates(seed):
        layers = report("clinets:Net", "--input-shape", "500,2", "--seed", seed).layers
        return [layer.rate for layer in layers]

    assert rates(3) == rates(3) != rates(4)
    assert rates(0) == [
        layer.rate for layer in report("clinets:Net", "--input-shape", "500,2").layers
    ]


# --- inputs -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "shape", "samples"),
    [
        ([], (1, 3, 224, 224), 1),
        (["--batch-size", 3], (3, 3, 224, 224), 3),
        (["--input-shape", "3,20,30"], (1, 3, 20, 30), 1),
        (["--input-shape", "3,20,30", "--batch-size", 2], (2, 3, 20, 30), 2),
        (["--input-shape", "5,3,20,30"], (5, 3, 20, 30), 5),
        (["--input-shape", "5,3,20,30", "--batch-size", 2], (2, 3, 20, 30), 5),
        (["--input-shape", "1,28,28", "--set", "channels=1"], (1, 1, 28, 28), 1),
        (["--input-shape", "2,8,9", "--set", "channels=2"], (1, 2, 8, 9), 1),
        (["--input-shape", "6,2,8,9", "--set", "channels=2"], (6, 2, 8, 9), 6),
    ],
)
def test_shapes_of_the_input(report, args, shape, samples):
    found = report("clinets:Image", *args)
    assert found.input_shape == shape
    assert found.samples == samples
    assert found.mac == shape[1] * shape[2] * shape[3]


def test_input_shape_without_batch(report):
    assert report("clinets:Net", "--input-shape", "2", "--batch-size", 4).input_shape == (4, 2)


def test_random_input_is_noted(syops):
    assert "random" in syops("run", "clinets:Net", "--input-shape", "2")[2]
    assert "random" not in syops("run", "clinets:Image", "--input-shape", "3,9,9")[2]
    grey = ("--input-shape", "4,1,9,9", "--set", "channels=1")
    assert "random" not in syops("run", "clinets:Image", *grey)[2]


def test_time_steps_first(report):
    shape = ("--input-shape", "7,5,4", "--batch-dim", 1)
    torch.save(torch.rand(7, 5, 4), "x.pt")
    found = report("clinets:Steps", "--input", "x.pt", *shape[2:], "--batch-size", 2)
    assert (found.samples, found.mac, found.input_shape) == (5, 7 * 4, (7, 2, 4))


def test_one_call_for_each_time_step(report, syops):
    torch.save(torch.rand(7, 5, 2), "x.pt")
    found = report("clinets:Net", "--input", "x.pt", "--unroll", 0, "--batch-size", 2)
    assert (found.samples, found.time_steps, found.input_shape) == (5, 7, (2, 2))
    assert found.rows[0].dense == 5 * 7 * 4
    shape = ("--unroll", "0", "--input-shape", "7,5,2", "--format", "json")
    bounds = Report.from_json(syops("bounds", "clinets:Net", *shape)[1])
    assert (bounds.samples, bounds.time_steps, bounds.rows[0].dense) == (5, 7, 5 * 7 * 4)
    assert syops("audit", "clinets:Net", *shape)[0] == 0


def test_batch_size_does_not_change_counts(report, trained):
    whole, split = report(*trained), report(*trained, "--batch-size", 1)
    assert split.input_shape == (1, 2)
    assert (whole.totals, whole.samples) == (split.totals, split.samples)


def test_arrays_by_name_and_position(report):
    left, right = torch.full((2, 3), 0.1), torch.zeros(2, 4)
    np.savez("named.npz", right=right, left=left)
    torch.save((left, right), "listed.pt")
    torch.save({"right": right, "left": left}, "named.pt")
    for path in ("named.npz", "listed.pt", "named.pt"):
        found = report("clinets:Pair", "--input", path)
        assert (found.samples, found.mac) == (2, 3 * 4)


@pytest.mark.parametrize("dtype", ["float64", "float16", "uint8", "bool"])
def test_arrays_take_the_dtype_of_the_weights(report, dtype):
    np.savez("x.npz", only=np.array([[1, 0]]).astype(dtype))
    torch.save(weights(), "net.pt")
    # The spike of the input reaches two neurons, that of the first of these the five others.
    assert report("clinets:Net", "--weights", "net.pt", "--input", "x.npz").ac == 2 + 5


def test_indices_stay_integers(report):
    np.save("x.npy", np.array([[1, 8, 0, 4]]))
    assert report("clinets:Words", "--input", "x.npy").mac == 4 * 3 * 2


def test_an_image_is_resized_cropped_and_normalised(here):
    # Three bands, red, green and blue; the crop of a square takes all of the middle one, of the
    # others what 224/256 of the height leaves.
    bands = np.zeros((40, 120, 3), dtype=np.uint8)
    for channel in range(3):
        bands[:, 40 * channel : 40 * channel + 40, channel] = 255
    Image.fromarray(bands).save("bands.png")
    image = read_image(here / "bands.png", (3, 35, 35))
    assert image.shape == (1, 3, 35, 35)
    for channel, (mean, std) in enumerate(zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)):
        expected = ((channel == 1) - mean) / std
        assert image[0, channel].numpy() == pytest.approx(np.full((35, 35), expected), abs=1e-5)
    grey = read_image(here / "bands.png", (1, 35, 35))
    assert grey.shape == (1, 1, 35, 35)
    assert grey.std() == pytest.approx(0, abs=1e-5)


def test_image_file_as_input(report):
    Image.new("RGBA", (50, 60)).save("picture.png")
    assert report("clinets:Image", "--input", "picture.png").input_shape == (1, 3, 224, 224)
    small = report("clinets:Image", "--input", "picture.png", "--input-shape", "3,5,6")
    assert small.input_shape == (1, 3, 5, 6)


# --- bundled networks -------------------------------------------------------------------------


@pytest.mark.slow
def test_run_dsnn18_in_its_own_process():
    command = [sys.executable, "-m", "syops", "run", "dsnn18"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    out, err = done.stdout, done.stderr
    assert done.returncode == 0
    assert out.startswith("dsnn18: 12.4 M parameters, T = 4, input 1x3x224x224; 1 sample\n")
    # O_mac and EC of the paper's network, from its architecture alone.
    assert "O_mac (M)" in out
    assert re.search(r"^total .* 199 +\d+ *$", out, re.M)
    assert "at firing rates from 0 to 1: 917 µJ to 7.02 mJ\n" in out
    assert "less energy than the same network as an ANN" in out
    below = out.partition("\ntotal")[2].splitlines()[1:]  # the table itself is not cut in a pipe
    assert max(map(len, below)) <= 80
    note, warning = err.splitlines()
    assert note.startswith("syops: note: ")
    assert "is counted as MACs at layer2.0.aap.depthwise" in warning
    assert "not representative" in err
    assert "calibrated" in err


def test_a_small_bundled_network(report):
    args = ("fsnn18", "--input-shape", "3,32,32")
    folded, counted = report(*args), report(*args, "--no-fold-bn")
    assert folded.model == "fsnn18"
    # The stem at 16 x 16, and the classifier on the mean over time.
    assert folded.mac == 64 * 3 * 49 * 16 * 16 + 512 * 1000
    # 2 MACs for each output of the stem, and T = 4 times of the other convolutions.
    elements = 64 * 256 + 4 * (4 * 64 * 64 + 5 * 128 * 16 + 5 * 256 * 4 + 5 * 512)
    assert counted.mac - folded.mac == 2 * elements
    assert all(layer.rate > 0 for layer in folded.layers if layer.signal == "binary")
    assert report(*args).totals == folded.totals


# --- writing ----------------------------------------------------------------------------------


def test_output_goes_to_a_file_instead(syops, trained, here):
    expected = syops("run", *trained, "--verbose")[1]
    assert "more notes with --verbose" in syops("run", *trained)[1]
    assert "more notes with --verbose" not in expected
    (here / "out.txt").write_text("old")
    status, out, _ = syops("run", *trained, "-o", "out.txt")
    assert (status, out) == (0, "")
    assert (here / "out.txt").read_text(encoding="utf-8") == expected
    assert not list(here.glob(".out*"))


def test_output_through_a_link_keeps_the_link(syops, trained, here):
    (here / "real.txt").write_text("old")
    (here / "link.txt").symlink_to("real.txt")
    assert syops("run", *trained, "-o", "link.txt")[0] == 0
    assert (here / "link.txt").is_symlink()
    assert (here / "real.txt").read_text().startswith("Net")


def test_unwritable_output_is_refused_before_the_count(syops, here):
    (here / "folder").mkdir()
    for path in ("nowhere/out.txt", "folder", "/dev/null", "clinets.py/out.txt"):
        status, _, err = syops("run", "no-such-model", "-o", path)
        assert status == 2
        assert path in err
        assert "no-such-model" not in err


def test_a_write_that_fails_leaves_the_old_file(syops, trained, here, monkeypatch):
    (here / "out.txt").write_text("old")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    status, _, err = syops("run", *trained, "-o", "out.txt")
    assert status == 2
    assert err == "syops: error: cannot write out.txt: No space left on device\n"
    assert [path.name for path in here.glob("*out*")] == ["out.txt"]
    assert (here / "out.txt").read_text() == "old"


# --- mistakes ---------------------------------------------------------------------------------


def bad_files():
    np.save("x.npy", np.ones((2, 2)))
    np.save("nan.npy", np.array([[np.nan, 1.0]]))
    np.save("scalar.npy", np.float32(1))
    np.save("none.npy", np.zeros((0, 2)))
    np.save("wide.npy", np.ones((2, 7)))
    np.save("text.npy", np.array(["a"]))
    np.save("objects.npy", np.array([{}]), allow_pickle=True)
    np.savez("two.npz", a=np.ones(2), b=np.ones(2))
    for suffix in ("npy", "npz", "pt", "png", "safetensors"):
        with open(f"corrupt.{suffix}", "wb") as file:
            file.write(b"not what it says")
    torch.save([1, 2], "list.pt")
    torch.save(torch.nn.Linear(2, 2), "pickled.pt")
    torch.save(weights(more=torch.ones(1)), "more.pt")
    torch.save({k: v for k, v in weights().items() if k != "out.bias"}, "less.pt")
    torch.save(weights(**{"hidden.weight": torch.ones(2, 9)}), "shape.pt")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["rum"], ["No such command 'rum'"]),
        (["run"], ["MODEL"]),
        (["run", "dsnn81"], ["'dsnn81'", "did you mean 'dsnn18'"]),
        (["run", "fsnn18", "--set", "TT=3"], ["'TT'", "T"]),
        (["run", "fsnn18", "--set", "T=0"], ["T=0"]),
        (["run", "clinets:Net", "--set", "T"], ["--set", "'T'"]),
        (["run", "clinets:Net", "--set", "Q=1"], ["clinets:Net", "'Q'"]),
        (["run", "clinets:missing"], ["clinets:missing"]),
        (["run", "nowhere:Net"], ["nowhere"]),
        (["run", "clinets:broken"], ["clinets:broken", "RuntimeError: no such luck"]),
        (["run", "clinets:complains"], ["first line second line"]),
        (["run", "clinets:Net"], ["without --input-shape the input is 1x3x224x224"]),
        (["bounds", "clinets:Net"], ["without --input-shape the input is 1x3x224x224"]),
        (["audit", "clinets:Net"], ["without --input-shape the input is 1x3x224x224"]),
        (["compare", "clinets:Net"], ["without --input-shape the input is 1x3x224x224"]),
        (["run", "clinets.py"], ["unknown model", "package.module:callable"]),
        (["run", "clinets.py:Net"], ["clinets.py is a path", "package.module:callable"]),
        (["bounds", "./clinets:Net"], ["./clinets is a path", "package.module:callable"]),
        (["run", "clinets:number"], ["clinets:number", "int", "torch.nn.Module"]),
        (["run", "clinets:instance"], ["clinets:instance", "function or class"]),
        (["run", "clinets:scripted", "--input", "x.npy"], ["scripted"]),
        (["run", "clinets:Net", "--energy", "horowitz"], ["'horowitz'", "horowitz45-fp32"]),
        (["run", "clinets:Net", "--energy", "missing.toml"], ["cannot read missing.toml"]),
        (["run", "clinets:Net", "--energy", "cov=loihi"], ["'cov' matches no layer"]),
        (["run", "clinets:Net", "--energy", "a=loihi", "--energy", "a=odin"], ["one profile for"]),
        (["energy", "missing.toml"], ["missing.toml"]),
        (["run", "clinets:Net", "--memory", "--depth", "1"], ["--depth", "--memory"]),
        (["bounds", "clinets:Net", "--memory", "--columns", "rate"], ["'rate'", "weights"]),
        (["run", "clinets:Net", "--memory", "--baselines"], ["--memory and --baselines"]),
        (["run", "clinets:Net", "--zeros", "--sort", "rate"], ["'rate'", "sparsity"]),
        (["bounds", "clinets:Net", "--nonzero", "0.5"], ["--nonzero needs --baselines"]),
        (["run", "clinets:Net", "--baselines", "--nonzero", "2"], ["--nonzero", "2"]),
        (["run", "clinets:Net", "--baselines", "--depth", "1"], ["--depth", "--baselines"]),
        (["run", "clinets:Net", "--baselines", "--sort", "rate"], ["'rate'", "break_even_rate"]),
        (["run", "clinets:Net", "--format", "xml"], ["--format", "xml"]),
        (["run", "clinets:Net", "--format", "json", "--depth", "1"], ["--depth", "json"]),
        (["run", "clinets:Net", "--format", "json", "--units", "G"], ["--units", "json"]),
        (["run", "clinets:Net", "--format", "html", "--top", "3"], ["--top", "html"]),
        (["run", "clinets:Net", "--columns", "layer,rte"], ["'rte'", "'rate'", "known columns"]),
        (["bounds", "nowhere:Net", "--sort", "size"], ["'size'", "known columns: name, kind"]),
        (["bounds", "nowhere:Net", "--units", "Gb"], ["'Gb'", "known: auto, k, M"]),
        (["run", "clinets:Net", "--units", "G", "--units", "M"], ["G and M"]),
        (["run", "clinets:Net", "--top", "0"], ["--top"]),
        (["run", "clinets:Net", "--depth", "0"], ["--depth"]),
        (["run", "clinets:Net", "--input-shape", "3,x"], ["--input-shape", "'3,x'"]),
        (["run", "clinets:Net", "--input-shape", "3,0"], ["--input-shape"]),
        (["run", "clinets:Net", "--input", "x.npy", "--input-shape", "2"], ["--input-shape"]),
        (["run", "clinets:Net", "--input", "missing.npy"], ["missing.npy"]),
        (["run", "clinets:Net", "--input", "corrupt.npy"], ["corrupt.npy", "numpy.save"]),
        (["run", "clinets:Net", "--input", "corrupt.npz"], ["corrupt.npz"]),
        (["run", "clinets:Net", "--input", "corrupt.pt"], ["corrupt.pt"]),
        (["run", "clinets:Net", "--input", "corrupt.png"], ["corrupt.png", "image"]),
        (["run", "clinets:Net", "--input", "text.npy"], ["text.npy", "numbers"]),
        (["run", "clinets:Net", "--input", "objects.npy"], ["objects.npy"]),
        (["run", "clinets:Net", "--input", "list.pt"], ["list.pt", "tensors"]),
        (["run", "clinets:Net", "--input", "pickled.pt"], ["pickled.pt"]),
        (["run", "clinets:Net", "--input", "nan.npy"], ["hidden", "NaN"]),
        (["run", "clinets:Net", "--input", "scalar.npy"], ["dimension"]),
        (["run", "clinets:Net", "--input", "none.npy"], ["no samples"]),
        (["run", "clinets:Net", "--input", "wide.npy"], ["hidden"]),
        (["run", "clinets:Net", "--input", "x.npy", "--batch-dim", "2"], ["batch_dim=2"]),
        (
            ["run", "clinets:Net", "--input", "x.npy", "--batch-dim", "2", "--batch-size", "1"],
            ["--batch-dim 2", "[2, 2]"],
        ),
        (["run", "clinets:Net", "--input", "two.npz", "--batch-size", "1"], ["--batch-size"]),
        (["run", "clinets:Net", "--input", "x.npy", "--unroll", "2"], ["unroll=2", "(2, 2)"]),
        (["run", "clinets:Net", "--neuron", "Spike"], ["'Spike' is not CLASS=SIGNAL", "binary"]),
        (["run", "clinets:Net", "--neuron", "Spik=binary"], ["'Spik'", "did you mean 'Spike'"]),
        (
            ["run", "clinets:Stateful", "--input", "x.npy", "--neuron", "Fire=binary"],
            ["spike (Fire)", "binary"],
        ),
        (["run", "clinets:Net", "--unroll", "0"], ["--unroll needs --input or --data"]),
        (["bounds", "clinets:Net", "--unroll", "0"], ["--unroll needs --input-shape"]),
        (["run", "fsnn18", "--input", "x.npy", "--unroll", "0"], ["leave --unroll out"]),
        (["run", "clinets:Net", "--weights", "missing.pt"], ["missing.pt"]),
        (["run", "clinets:Net", "--weights", "corrupt.pt"], ["corrupt.pt", "state dict"]),
        (["run", "clinets:Net", "--weights", "corrupt.safetensors"], ["corrupt.safetensors"]),
        (["run", "clinets:Net", "--weights", "list.pt"], ["list.pt", "state dict"]),
        (["run", "clinets:Net", "--weights", "pickled.pt"], ["pickled.pt", "state dict"]),
        (["run", "clinets:Net", "--weights", "more.pt"], ["more.pt", "unexpected keys: more"]),
        (["run", "clinets:Net", "--weights", "less.pt"], ["less.pt", "missing keys: out.bias"]),
        (
            ["run", "clinets:Net", "--weights", "shape.pt"],
            ["wrong shapes: hidden.weight ([2, 9] instead of [2, 2])"],
        ),
        (["run", "fsnn18", "--weights", "less.pt"], ["missing keys: conv1.weight", "more"]),
        (["run", "fsnn18", "--input", "nan.npy"], ["NaN"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value[0] == "run" else "",
)
def test_usage_error_is_one_line_and_status_2(syops, args, words):
    bad_files()
    status, out, err = syops(*args)
    *notes, line = err.splitlines()
    assert status == 2
    assert out == ""
    assert all(note.startswith("syops: note: ") for note in notes)
    assert line.startswith("syops: error: ")
    assert [word for word in words if word not in line] == []
    assert "Traceback" not in err


class Evil:
    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("option", ["--weights", "--input"])
@pytest.mark.parametrize("path", ["evil.pt", "evil.npy"])
def test_no_code_in_a_file_is_executed(syops, here, option, path):
    torch.save(Evil(), "evil.pt")
    np.save("evil.npy", np.array([Evil()]), allow_pickle=True)
    assert syops("run", "clinets:Net", option, path)[0] == 2
    assert not (here / "executed").exists()


def test_interrupt_prints_no_traceback(syops, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("syops.cli.loading.load_model", interrupted)
    status, _, err = syops("run", "fsnn18")
    assert status == 130
    assert err.split() == ["syops:", "interrupted"]


@pytest.mark.parametrize(
    ("model", "shape"),
    [("sew_7b", (1, 2, 128, 128)), ("spikformer_4_384", (1, 3, 32, 32))],
)
def test_default_input_shape_of_bundled_networks(report, model, shape):
    assert report(model, "--set", "T=1").input_shape == shape


@pytest.mark.parametrize("command", ["run", "bounds", "audit"])
def test_output_of_the_network_goes_to_stderr(syops, command):
    _, out, err = syops(command, "clinets:talks", "--input-shape", "2", "--format", "json")
    json.loads(out)
    assert "a greeting" in err
    assert "a word" in err
    _, out, err = syops("compare", "clinets:talks", "--input-shape", "2", "--format", "csv")
    assert out.startswith("name,")
    assert "a word" in err
