"""Bad files, arguments and networks: an error of ours, never a traceback, never a wrong figure."""

import copy
import json
import os
import random
import stat
import subprocess
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from syops import EnergyModel, MemoryModel, Report, compare, get_model_syops, load_energy_models
from syops.errors import SyopsError, SyopsFileError, SyopsValueError
from syops.files import check_writable, write_text
from syops.gate import Limits, check


def syops(*args, cwd=None, **options):
    """Run the command as a user does; returns the finished process."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.run(
        [sys.executable, "-m", "syops", *map(str, args)],
        cwd=cwd,
        env=environment,
        timeout=120,
        **{"capture_output": True, "text": True, **options},
    )


def refused(process):
    """Exit status 2 and one line on stderr that is an error of ours; returns the line."""
    lines = [line for line in process.stderr.splitlines() if not line.startswith("syops: note")]
    assert process.returncode == 2, process.stderr
    assert len(lines) == 1, process.stderr
    assert lines[0].startswith("syops: error: ")
    assert "internal error" not in lines[0]
    return lines[0]


# --- networks that end the program --------------------------------------------------------------

EXITS = """
import sys
from torch import nn
def build(): sys.exit()
def argued():
    import argparse
    argparse.ArgumentParser().parse_args(["--help"])
class Net(nn.Module):
    def __init__(self): super().__init__(); self.l = nn.Linear(8, 3)
    def forward(self, x): sys.exit(0)
class Stop(BaseException): pass
class Stopped(Net):
    def forward(self, x): raise Stop("enough")
"""


@pytest.mark.parametrize("command", ["run", "bounds", "audit", "compare"])
@pytest.mark.parametrize("model", ["net:Net", "net:build", "exits:Net", "net:Stopped"])
def test_network_that_exits_is_an_error(tmp_path, command, model):
    (tmp_path / "net.py").write_text(EXITS)
    (tmp_path / "exits.py").write_text("import sys\nsys.exit()\n")
    message = refused(syops(command, model, "--input-shape", "2,8", cwd=tmp_path))
    assert "Stop: enough" in message if "Stopped" in model else "sys.exit(" in message


# --- numbers without bounds ---------------------------------------------------------------------

COSTS = [
    *("1e999999999 pJ", "1e-999999999 pJ", "1e99999999999999999999 J", "9" * 5000 + " pJ"),
    *(10**400, 1e300, 1e-300, float("nan"), float("inf"), -1, "-1 pJ", "nan pJ", True, None, [1]),
]


@pytest.mark.parametrize("cost", COSTS, ids=lambda cost: str(cost)[:20])
def test_cost_out_of_range_is_refused_at_once(cost):
    start = time.perf_counter()
    with pytest.raises(SyopsError, match="e_ac_pj must be"):
        EnergyModel("chip", cost, 1)
    assert time.perf_counter() - start < 1


def test_zero_cost_with_a_huge_exponent_is_zero():
    assert EnergyModel("chip", "0e999999999 pJ", "2.5e-12 J").e_ac_pj == 0


@pytest.mark.parametrize(
    "text",
    [
        "[a]\ne_ac_pj=" + "9" * 400 + "\ne_mac_pj=1",
        "[a]\ne_ac_pj=" + "9" * 5000 + "\ne_mac_pj=1",
        "[a]\ne_ac_pj=0x" + "f" * 50000 + "\ne_mac_pj=1",
        "a=" + "[" * 20000 + "]" * 20000,
        '[a]\ne_ac_pj="1e999999999 pJ"\ne_mac_pj=1',
    ],
)
def test_energy_file_with_absurd_numbers_is_refused(tmp_path, text):
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(SyopsError, match=r"a\.toml"):
        load_energy_models(path)


@pytest.mark.parametrize("points", [((0, 10**400),), ((0, 1e300),), ((0, float("nan")),), 3])
def test_memory_model_out_of_range_is_refused(points):
    with pytest.raises(SyopsError, match="points must be"):
        MemoryModel(points)


# --- saved reports ------------------------------------------------------------------------------


@cache
def saved():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU())
    model.append(nn.Flatten()).append(nn.Linear(48, 5))
    model.T = 1
    spikes = (torch.rand(4, 2, 4, 4) < 0.4).float()
    return json.loads(get_model_syops(model, spikes, graded="ac").to_json())


def places(content, path=()):
    """Where everything in a JSON document stands."""
    if path:
        yield path
    items = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in items:
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))
        else:
            yield (*path, key)


def put(content, path, value):
    for key in path[:-1]:
        content = content[key]
    content[path[-1]] = value


HOSTILE = [
    *(10**400, -(10**400), -1, 0, 1, 10**31, 1e308, -0.5, True, False, None, "", "1" * 5000),
    *("1/0", "-1/2", "nan", "1e999999999 pJ", "9" * 4000, "1e5", [], [[]], [["", 10**400]], {}),
    *([["", 1e300]], {"low": 10**400, "high": 1, "integer": True}, [-1], "=1+1", "\x1b[31m"),
]


def used(report):
    """Everything that can be made of a report."""
    for text in (report.to_json(), str(report), report.to_csv(), report.to_markdown()):
        text.encode()
    for text in (report.to_latex(), report.to_html(), report._repr_html_()):
        text.encode()
    assert Report.from_json(report.to_json()) == report
    valid = Report.from_json(json.dumps(saved()))
    for work in (
        lambda: report.merge(valid).to_json(),
        lambda: valid.merge(report).to_json(),
        lambda: str(compare([report, valid])),
        lambda: str(compare([report, valid]).layers()),
        lambda: check(report, Limits(dc_mj=1, ec_mj=1, ac=1, mac=1, full_spike=True)),
        lambda: check(report, Limits(energy_ratio=1)),
        lambda: check(valid, Limits(), baseline=report),
        lambda: report.memory().to_json(),
    ):
        with suppress(SyopsError):
            work()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.randoms(use_true_random=False), st.integers(1, 3))
def test_mutated_report_is_refused_or_consistent(rng: random.Random, changes):
    content = copy.deepcopy(saved())
    for _ in range(changes):
        put(content, rng.choice(list(places(content))), copy.deepcopy(rng.choice(HOSTILE)))
    try:
        report = Report.from_json(json.dumps(content))
    except SyopsValueError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    used(report)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("accuracy",), 10**400, "accuracy must be"),
        (("rows",), [], "rows must be a list of at least one row"),
        (("rows", 0, "dense"), 10**400, r"rows\[0\].dense must be"),
        (("rows", 0, "drives", 0, "spikes"), 10**9, "spikes must be at most"),
        (("rows", 0, "drives", 0, "ac"), "1" * 5000, "ac must be a fraction"),
        (("rows", 0, "drives", 0, "events"), 10**9, r"at most dense.*drives\[0\].events"),
        (("rows", 0, "drives", 0, "evidence", "derived"), [["", 10**400]], "derived must be"),
        (("input_shape",), [-1], "input_shape must be"),
        (("unaccounted",), {"x": -1}, "unaccounted.x must be"),
        (("conventions", "graded"), "some", "conventions.graded must be"),
        (("energy", "e_ac_pj"), "1e999999999 pJ", "e_ac_pj must be"),
        (("energy",), {"rules": []}, "no pattern matches"),
        (("model",), "\ud800", "surrogates not allowed"),
    ],
)
def test_report_with_impossible_numbers_names_the_field(path, value, words):
    content = copy.deepcopy(saved())
    put(content, path, value)
    with pytest.raises(SyopsValueError, match=words):
        Report.from_json(json.dumps(content))


def test_report_with_a_row_or_a_key_twice_is_refused():
    content = copy.deepcopy(saved())
    content["rows"].append(content["rows"][0])
    with pytest.raises(SyopsValueError, match=r"rows\[\d\] is the same row as rows\[0\]"):
        Report.from_json(json.dumps(content))
    with pytest.raises(SyopsValueError, match="'schema' stands twice"):
        Report.from_json('{"schema": 2, "schema": 2}')


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe\x00", b"[" * 100000, b"[]", b"null", b'{"schema": 99}', b'{"schema": NaN}'],
)
def test_file_that_is_no_report_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "r.json"
    path.write_bytes(content)
    with pytest.raises((SyopsValueError, SyopsFileError), match=r"r\.json") as raised:
        Report.load(path)
    assert "\n" not in str(raised.value)
    with pytest.raises(SyopsFileError):
        Report.load(tmp_path)
    with pytest.raises(SyopsFileError):
        Report.load("a\0b")


# --- arguments of the command -------------------------------------------------------------------

NET = """
from torch import nn
def net(): return nn.Sequential(nn.Linear(8, 3))
"""

RUN = ("run", "net:net", "--input", "x.pt")


@pytest.mark.parametrize(
    "args",
    [
        (*RUN, "-o", "x" * 300),
        (*RUN, "-o", "missing/x.json"),
        (*RUN, "--batch-size", "9" * 20),
        (*RUN, "--time-steps", "9" * 20),
        (*RUN, "--batch-dim", "9" * 20),
        (*RUN, "--weights", "sparse.pt"),
        (*RUN, "--energy", "int.toml"),
        ("run", "net:net", "--input-shape", "100000,100000,100000"),
        ("bounds", "net:net", "--input-shape", "2,8," + "9" * 30),
        ("bounds", "net:net", "--set", "a=" + "[" * 20000),
        ("energy", "deep.toml"),
        ("check", "x.pt", "--max-dc", "1e999999999mJ"),
    ],
    ids=lambda args: " ".join(args[-2:])[:40],
)
def test_bad_argument_is_one_line(tmp_path, args):
    (tmp_path / "net.py").write_text(NET)
    torch.save(torch.rand(2, 8), tmp_path / "x.pt")
    sparse = {"0.weight": torch.zeros(3, 8).to_sparse(), "0.bias": torch.zeros(3)}
    torch.save(sparse, tmp_path / "sparse.pt")
    (tmp_path / "int.toml").write_text("[a]\ne_ac_pj=" + "9" * 400 + "\ne_mac_pj=1")
    (tmp_path / "deep.toml").write_text("a=" + "[" * 20000 + "]" * 20000)
    refused(syops(*args, cwd=tmp_path))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_behind_standard_output_is_an_error():
    with open("/dev/full", "w") as full:
        process = syops("energy", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert "standard output" in refused(process)


# --- files that are written ---------------------------------------------------------------------


def test_saving_over_a_file_keeps_its_mode(tmp_path):
    path = tmp_path / "r.json"
    path.touch()
    path.chmod(0o640)
    before = os.umask(0o022)
    try:
        write_text(path, "new")
        write_text(tmp_path / "fresh", "new")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "fresh").stat().st_mode) == 0o644


def test_saving_through_a_link_keeps_the_link(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


@pytest.mark.parametrize("name", ["x" * 300, "missing/x", "a\0b", "."])
def test_path_that_cannot_be_written_is_told_before_the_count(tmp_path, name):
    with pytest.raises(SyopsFileError, match="cannot write"):
        check_writable(Path(f"{tmp_path}/{name}"))
    with pytest.raises(SyopsFileError, match="cannot write"):
        write_text(Path(f"{tmp_path}/{name}"), "text")
    assert not list(tmp_path.iterdir())
