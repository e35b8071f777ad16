"""Bad files, arguments and networks: an error of ours, never a traceback, never a wrong figure."""

import copy
import csv
import io
import json
import os
import random
import re
import stat
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from syops import (
    EnergyModel,
    MemoryModel,
    Report,
    check_full_spike,
    compare,
    count_syops,
    get_model_bounds,
    get_model_syops,
    load_energy_models,
)
from syops.cli import cli, loading, main
from syops.errors import SyopsError, SyopsFileError, SyopsValueError
from syops.files import check_writable, write_text
from syops.report.gate import Limits, check
from tests import ROOT


def refused(status, out, err):
    """Exit status 2 and one line on stderr that is an error of ours; returns the line."""
    lines = [line for line in err.splitlines() if not line.startswith("syops: note")]
    assert status == 2, err
    assert len(lines) == 1, err
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
def test_network_that_exits_is_an_error(here, syops, command, model):
    (here / "net.py").write_text(EXITS)
    (here / "exits.py").write_text("import sys\nsys.exit()\n")
    message = refused(*syops(command, model, "--input-shape", "2,8"))
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
        lambda: report.energy_menu().to_json(),
        lambda: report.fit("loihi").to_json(),
        lambda: report.fit("speck").to_json(),
        lambda: report.fit("truenorth").to_json(),
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
        (("rows", 0, "dtype"), "9" * 4000, r"rows\[0\].dtype must be a dtype"),
        (("rows", 0, "dtype"), "int9999", r"rows\[0\].dtype must be a dtype"),
        (("input_shape",), [-1], "input_shape must be"),
        (("unaccounted",), {"x": -1}, "unaccounted.x must be"),
        (("convention", "graded"), "some", "convention.graded must be"),
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


def test_report_with_any_dtype_of_torch_is_read():
    dtypes = {value for value in vars(torch).values() if isinstance(value, torch.dtype)}
    assert len(dtypes) > 20
    for name in ("", "mixed", *(str(dtype).removeprefix("torch.") for dtype in dtypes)):
        content = copy.deepcopy(saved())
        put(content, ("rows", 0, "dtype"), name)
        assert Report.from_json(json.dumps(content)).memory().rows


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
def test_bad_argument_is_one_line(here, syops, args):
    (here / "net.py").write_text(NET)
    torch.save(torch.rand(2, 8), "x.pt")
    sparse = {"0.weight": torch.zeros(3, 8).to_sparse(), "0.bias": torch.zeros(3)}
    torch.save(sparse, "sparse.pt")
    (here / "int.toml").write_text("[a]\ne_ac_pj=" + "9" * 400 + "\ne_mac_pj=1")
    (here / "deep.toml").write_text("a=" + "[" * 20000 + "]" * 20000)
    refused(*syops(*args))


PLAIN = {
    "run": ("net:net", "--input", "x.pt"),
    "bounds": ("net:net", "--input-shape", "2,8"),
    "audit": ("net:net", "--input-shape", "2,8"),
    "compare": ("net:net", "--input-shape", "2,8"),
    "check": ("x.pt",),
    "energy": (),
}
BAD = ("", "x", "-1", "9" * 20, "1e400", "a=b", "\x1b[31m", "x" * 300, "dir", "empty.npz", "c.npy")


@pytest.mark.parametrize("name", PLAIN)
def test_every_option_of_every_command_bears_bad_values(here, capsys, name):
    (here / "net.py").write_text(NET)
    (here / "dir").mkdir()
    (here / "empty.npz").touch()
    np.save("c.npy", np.ones((2, 8), complex))
    torch.save(torch.rand(2, 8), "x.pt")
    for parameter in cli.commands[name].params:
        for bad in BAD:
            if isinstance(parameter, click.Argument):
                args = [name, bad, *PLAIN[name][1:]]
            else:
                args = [name, *PLAIN[name], parameter.opts[-1], bad]
            with pytest.raises(SystemExit) as ended:
                main(args)
            said = capsys.readouterr().err
            lines = [line for line in said.splitlines() if line.startswith("syops: error")]
            assert "internal error" not in said, args
            assert (ended.value.code == 2) == (len(lines) == 1) or name == "audit", args
            assert ended.value.code in (None, 0, 1, 2), args


@pytest.mark.parametrize("keyword", ["num_classes=" + "9" * 20, "num_classes=-1", "T=[", "g=x"])
def test_bundled_network_with_impossible_keywords_is_one_line(syops, keyword):
    refused(*syops("bounds", "fsnn_digits", "--set", keyword))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_behind_standard_output_is_an_error():
    assert "standard output" in refused(*in_a_shell('exec "$0" -m syops energy >/dev/full'))


def test_closed_standard_output_is_an_error():
    assert "standard output is closed" in refused(*in_a_shell('exec "$0" -m syops energy >&-'))


def in_a_shell(command):
    """Exit status, standard output and standard error of a command; $0 is Python."""
    done = subprocess.run(
        ["sh", "-c", command, sys.executable], cwd=ROOT, capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr


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


@pytest.mark.parametrize("suffix", ["json", "csv", "md", "tex", "html", "txt", "CSV"])
def test_report_is_saved_as_its_suffix_says(tmp_path, suffix):
    report = get_model_syops(nn.Linear(8, 3), torch.ones(2, 8))
    path = tmp_path / f"r.{suffix}"
    report.save(path)
    text = path.read_text("utf-8")
    if suffix == "json":
        assert Report.load(path) == report
    else:
        assert "<html" in text or text.strip() in (
            *(report.to_csv().strip(), report.to_markdown().strip()),
            *(report.to_latex().strip(), report.to_text().strip()),
        )
        with pytest.raises(SyopsValueError, match="only JSON holds a whole report"):
            Report.load(path)


@pytest.mark.parametrize("name", ["r.xlsx", "r", "r.json.gz"])
def test_unknown_suffix_lists_what_can_be_written(tmp_path, name):
    report = get_model_syops(nn.Linear(8, 3), torch.ones(2, 8))
    with pytest.raises(SyopsValueError, match=r"\.csv, \.html, \.json, \.tex, \.md, \.txt"):
        report.save(tmp_path / name)


@pytest.mark.parametrize("start", [*"=+-@\t\r", " =", "\uff1d"])
def test_csv_cells_are_no_formulas(start):
    model = nn.Sequential()
    model.add_module(f'{start}HYPERLINK("http://evil","x")', nn.Linear(8, 3))
    model.add_module("plain", nn.Linear(3, 3))
    rows = list(csv.reader(io.StringIO(get_model_syops(model, torch.ones(2, 8)).to_csv())))
    assert rows[1][0].startswith(f"'{start}H"[:2])
    assert rows[2][0] == "plain"
    assert all(not cell.startswith("'") for cell in rows[2])


def test_compressed_arrays_that_unpack_to_gigabytes_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=np.zeros((1000, 1000), np.float32))
    assert loading.read_arrays(path, torch.float32).shape == (1000, 1000)
    monkeypatch.setattr(loading, "MOST_UNPACKED", 10**6)
    with pytest.raises(SyopsFileError, match=r"x\.npz unpacks to .* GiB"):
        loading.read_arrays(path, torch.float32)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(SyopsFileError, match=r"x\.npz cannot be read"):
        loading.read_arrays(path, torch.float32)


@pytest.mark.parametrize("layout", ["to_sparse", "to_sparse_csr"])
def test_sparse_arrays_are_made_dense(layout, tmp_path, monkeypatch):
    path, x = tmp_path / "x.pt", torch.eye(500)
    torch.save(getattr(x, layout)(), path)
    assert torch.equal(loading.read_arrays(path, torch.float32), x)
    monkeypatch.setattr(loading, "MOST_UNPACKED", 10**5)
    with pytest.raises(SyopsFileError, match=r"x\.pt unpacks to .* GiB"):
        loading.read_arrays(path, torch.float32)


# --- what newcomers give ------------------------------------------------------------------------


class Forward(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 3)

    def forward(self, x):
        return self.fc(x)


X = torch.ones(4, 8)


@pytest.mark.parametrize(
    ("model", "inputs", "words"),
    [
        (Forward(), (4, 8), r"got the shape \(4, 8\); give a tensor.*get_model_bounds"),
        (Forward(), [4, 8], "got the shape"),
        (Forward(), X.shape, "got the shape"),
        (Forward(), (X, torch.zeros(4)), r"forward takes \(x\).*give the input alone"),
        (Forward(), {"image": X, "label": X}, r"keyword arguments, here image, label.*prepare="),
        (Forward(), [{"image": X, "label": X}], "batch 0.*here image, label.*prepare="),
        (Forward(), TensorDataset(X), "data set TensorDataset.*DataLoader"),
        (Forward(), "x.pt", "got str; load"),
        (Forward(), None, "got NoneType"),
        (Forward(), [], "the loader gave no batch"),
        (Forward(), iter(()), "the loader gave no batch"),
        (Forward(), X.double(), r"input is of torch.float64 and the weights are of torch.float32"),
        (Forward(), np.array(["a"]), "an array of <U1"),
        (Forward, X, r"got the class Forward; give an instance of it, such as Forward\(\)"),
        (Forward().state_dict(), X, "load a state dict into it"),
        ("net.pt", X, "got str; build the network first"),
        (None, X, "a function that builds a model must return it"),
        (X, Forward(), "the model comes first"),
        (Forward(), Forward(), "got the module Forward; the model comes first"),
    ],
)
def test_newcomers_are_told_what_to_give(model, inputs, words):
    with pytest.raises(SyopsError, match=words) as raised:
        get_model_syops(model, inputs)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("call", [get_model_syops, get_model_bounds, check_full_spike])
@pytest.mark.parametrize("nested", [lambda each: each, lambda each: {"steps": [each]}])
@pytest.mark.parametrize(
    "lazy",
    [
        lambda layer, x: (layer(step) for step in x),
        lambda layer, x: map(layer, x),
        lambda layer, x: filter(None, map(layer, x)),
        lambda layer, x: zip(map(layer, x), x, strict=True),
    ],
)
def test_output_that_computes_when_it_is_read_is_refused(call, nested, lazy):
    class Lazy(Forward):
        def forward(self, x):
            return nested(lazy(self.fc, x))

    with pytest.raises(SyopsError, match="have its forward return a list"):
        call(Lazy(), X)


@pytest.mark.parametrize(("parts", "is_told"), [(1, False), (2, False), (3, True), (4, True)])
def test_parts_of_a_batch_that_the_model_does_not_get_are_told(parts, is_told):
    batches = [(X, *[torch.zeros(4, dtype=torch.int64)] * (parts - 1))] * 2
    notes = " ".join(get_model_syops(Forward(), batches).notes)
    assert (f"batches have {parts} parts, of which the model got the first one" in notes) == is_told
    prepared = get_model_syops(Forward(), batches, prepare=lambda batch: batch[0])
    assert "parts" not in " ".join(prepared.notes)


def test_stop_iteration_in_prepare_does_not_end_the_count_in_silence():
    def prepare(batch):
        raise StopIteration

    with pytest.raises(RuntimeError):
        get_model_syops(Forward(), [X, X], prepare=prepare)


@pytest.mark.parametrize("call", [get_model_syops, get_model_bounds, check_full_spike])
def test_missing_arguments_are_all_that_is_said(call):
    class Loop(Forward):
        def forward(self, x, mem):
            return self.fc(x), mem

    with pytest.raises(SyopsError) as raised:
        call(Loop(), X)
    assert re.fullmatch(
        r"(batch 0.*: )?Loop\.forward takes \(x, mem\): missing a required argument: 'mem'; give "
        "an example of each argument in a tuple, or call the model in your own loop, inside "
        "count_syops",
        str(raised.value),
    )


@pytest.mark.parametrize("call", [get_model_syops, get_model_bounds, check_full_spike])
def test_last_dimension_as_batch_dimension_is_explained(call):
    with pytest.raises(SyopsValueError, match=r"batch_dim=-1 is the last dimension"):
        call(Forward(), X, batch_dim=-1)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8, bool])
def test_arrays_are_converted_wherever_they_stand(dtype):
    array = np.eye(4, 8).astype(dtype)
    array.setflags(write=False)
    tensor = torch.eye(4, 8)
    model = nn.Sequential(Forward())
    model.forward = lambda x: Forward.forward(model[0], x.float())
    expected = get_model_syops(model, [tensor, tensor]).totals
    for inputs in (
        *([array, array], [(array, 3), [array]], [{"x": array}] * 2),
        DataLoader(list(np.concatenate([array, array])), batch_size=4),
    ):
        assert get_model_syops(model, inputs).totals == expected
    assert get_model_syops(Forward(), np.eye(4, 8)).samples == 4
    assert get_model_bounds(Forward(), np.eye(4, 8)).samples == 4


def test_bad_batch_is_named_and_those_before_it_are_kept():
    batches = [torch.rand(8, 8) for _ in range(9)]
    good = get_model_syops(Forward(), batches[:7])
    batches[7][0, 0] = float("nan")
    with pytest.raises(SyopsValueError, match=r"^batch 7 .*after 56 samples: .*NaN") as raised:
        get_model_syops(Forward(), batches)
    report = raised.value.report
    assert "at batch 7" in report.ended[0]
    assert replace(report, ended=()) == good
    batches[0] = torch.rand(8, 5)
    with pytest.raises(SyopsError, match=r"^batch 0 .*after 0 samples") as raised:
        get_model_syops(Forward(), batches)
    assert raised.value.report is None


class Fails(Dataset):
    """Batches of two samples, one of which cannot be read."""

    def __init__(self, error, at):
        self.error, self.at = error, at

    def __len__(self):
        return 10

    def __getitem__(self, n):
        if n == self.at:
            raise self.error
        return torch.full((8,), n / 10)


class Plain(Exception):
    report = "a report of its own"


@pytest.mark.parametrize(
    "error", [ValueError("corrupt"), KeyError("x", 3), OSError(2, "gone", "7.png"), Plain("odd")]
)
@pytest.mark.parametrize("where", ["data set", "prepare", "generator"])
def test_error_of_a_data_set_names_the_batch_and_keeps_those_before_it(error, where):
    def fail(batch):
        if batch[0, 0] == 0.6:
            raise error
        return batch

    loader, prepare = DataLoader(Fails(error, 7 if where == "data set" else -1), batch_size=2), None
    if where == "prepare":
        prepare = fail
    elif where == "generator":
        loader = map(fail, loader)
    args, own = error.args, getattr(error, "report", None)
    error.__notes__ = []
    with pytest.raises(type(error)) as raised:
        get_model_syops(Forward(), loader, prepare=prepare)
    assert raised.value is error
    assert error.args == args
    (note,) = error.__notes__
    assert note.startswith("syops: this was raised at batch 3 (the first is 0), after 6 samples")
    assert ("report" in note) == (own is None)
    good = get_model_syops(Forward(), DataLoader(Fails(error, -1), batch_size=2, sampler=range(6)))
    assert own is None or error.report == own
    if own is None:
        (why,) = error.report.ended
        assert why.endswith("at batch 3 (the first is 0), after 6 samples")
        assert replace(error.report, notes=good.notes, ended=()) == good
        del error.report


def test_error_in_a_worker_of_a_data_loader_names_the_batch():
    with pytest.raises(ValueError, match="corrupt") as raised:
        get_model_syops(
            Forward(), DataLoader(Fails(ValueError("corrupt"), 4), batch_size=2, num_workers=1)
        )
    assert "batch 2 (the first is 0), after 4 samples" in raised.value.__notes__[0]
    assert raised.value.report.samples == 4


def test_error_at_the_first_batch_has_no_report():
    with pytest.raises(ValueError, match="corrupt") as raised:
        get_model_syops(Forward(), DataLoader(Fails(ValueError("corrupt"), 0), batch_size=2))
    assert raised.value.__notes__ == [
        "syops: this was raised at batch 0 (the first is 0), after 0 samples"
    ]
    assert not hasattr(raised.value, "report")


class Unreadable:
    def __iter__(self):
        raise OSError("no such disk")


class Stubborn(Forward):
    def eval(self):
        raise ValueError("never")

    def train(self, mode=True):
        raise ValueError("never")


def test_error_before_the_first_batch_names_none():
    with pytest.raises(OSError, match="no such disk") as raised:
        get_model_syops(Forward(), Unreadable())
    assert not hasattr(raised.value, "__notes__")
    with pytest.raises(SyopsError) as raised:
        get_model_syops(Stubborn(), [X, X])
    assert "batch" not in str(raised.value)


def test_error_after_the_last_batch_names_none():
    class Moves(Forward):
        moved = 0

        def train(self, mode=True):
            if mode:
                raise ValueError("not again")
            return super().train(mode)

    with pytest.raises(ValueError, match="not again") as raised:
        get_model_syops(Moves(), [X, X])
    assert not hasattr(raised.value, "__notes__")


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x, y):
        return self.first(x) + self.second(y)


def test_bad_batch_leaves_no_part_of_itself_in_the_report():
    batches = [{"x": torch.rand(4, 8), "y": torch.rand(4, 8)} for _ in range(3)]
    good = get_model_syops(Two(), batches[:2])
    batches[2]["y"][0, 0] = float("nan")
    with pytest.raises(SyopsValueError, match="^batch 2 .*second .linear.*NaN") as raised:
        get_model_syops(Two(), batches)
    assert raised.value.report.rows == good.rows


# --- arguments of another type than any that is taken --------------------------------------------


def _report(**told):
    return get_model_syops(nn.Linear(4, 3), torch.eye(4), **told)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: _report(strict="no"), "strict must be True or False"),
        (lambda: _report(values=0), "values must be True or False"),
        (lambda: _report(progress=3), "progress must be True or False"),
        (lambda: _report(neurons=3), "neurons must be a dict"),
        (lambda: _report(prepare=3), "prepare must be a function"),
        (lambda: _report().select(None), "kinds must be a kind or a list"),
        (lambda: _report().fit(3), "chip must be a name"),
        (lambda: _report().fit("loihi", limits=3), "limits must be a list of names"),
        (lambda: _report().conventions_table(3), "conventions must be names"),
        (lambda: _report().plot([]), "no such plot"),
        (lambda: Report.from_json(None), "a report is made of text"),
        (lambda: _report(time_steps=1).baselines(nonzero=nn.Sequential(nn.ReLU())), "nonzero must"),
    ],
)
def test_arguments_of_another_type_are_named(call, words):
    with pytest.raises(SyopsError, match=words) as raised:
        call()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda net: get_model_syops(net, (1, 4), timesteps=4), "'timesteps'; did you mean 'time_"),
        (lambda net: count_syops(net, sample=4), "count_syops has no argument 'sample'; did you"),
        (lambda net: get_model_bounds(net, (1, 4)).under("STD"), "did you mean 'sdt'"),
        (lambda net: get_model_bounds(net, (1, 4)).under("DST"), "did you mean 'dst'"),
        (
            lambda net: get_model_bounds(net, (1, 4), energy="horowitz"),
            "did you mean 'horowitz45-fp32', 'horowitz45-fp16', ",
        ),
    ],
)
def test_words_that_are_almost_right(call, words):
    with pytest.raises(SyopsError) as error:
        call(nn.Linear(4, 3))
    assert words in str(error.value)


@pytest.mark.parametrize("trace", [get_model_bounds, check_full_spike])
def test_shape_without_batch_dimension_is_told(trace):
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 3))
    with pytest.raises(SyopsError, match=r"no batch dimension, .* \(1, 1, 8, 8\)$"):
        trace(net, (1, 8, 8))
    with pytest.raises(SyopsError, match="if the input is right"):
        trace(net, (1, 9, 8))
