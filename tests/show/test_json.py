"""Reports as JSON: round trips, files of an earlier layout, and files that are damaged."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn

from syops import Report, get_model_bounds, get_model_syops
from syops.errors import SyopsFileError, SyopsValueError


class Net(nn.Module):
    """Every kind of thing that a report can hold: one and two operands, scaled and graded spikes,
    folded and other normalisations, an operator without a rule, a name that is not ASCII."""

    T = 2

    def __init__(self):
        super().__init__()
        self.stem, self.bn = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.sn = neuron.IFNode(v_threshold=0.1)
        self.scale = nn.Parameter(torch.tensor(0.5))
        self.größe = nn.Linear(16, 16)
        self.norm, self.fc = nn.LayerNorm(16), nn.Linear(16, 3)

    def forward(self, x):
        x = self.bn(self.stem(x))
        out = 0
        for _ in range(self.T):
            s = self.sn(x).flatten(2)
            t = self.größe(s * self.scale) + self.größe(s + s.roll(1, -1))
            out = out + self.fc(self.norm((s @ s.mT) @ s + t))
        return torch.linalg.solve(torch.eye(3), out.mT).sum()


X = torch.rand(3, 1, 4, 4)


@pytest.fixture(scope="module")
def report() -> Report:
    torch.manual_seed(0)
    return get_model_syops(Net(), X)


@pytest.mark.parametrize(
    "change",
    [
        lambda report: report,
        lambda report: report.ann,
        lambda report: report.select(["conv", "neuron"]),
        lambda report: report.merge(report),
        lambda report: report.priced("loihi"),
        lambda report: report.priced({"stem": "horowitz45-int8", "float32": "horowitz45-fp32"}),
        lambda report: replace(report, accuracy=0.75, time_steps=None, ann_rows=None),
        lambda report: get_model_bounds(Net(), X, graded="ac"),
        lambda report: get_model_syops(
            nn.Linear(4, 2), torch.ones(1, 4) * 2, input_signal="graded"
        ),
        lambda report: get_model_syops(nn.ReLU(), torch.ones(1, 4)),
    ],
)
def test_json_gives_the_same_report_back(report, change):
    changed = change(report)
    text = changed.to_json()
    again = Report.from_json(text)
    assert again == changed
    assert again.to_json() == text
    assert str(again) == str(changed)


def test_fields_of_the_json(report):
    content = json.loads(report.to_json())
    assert content["schema"] == 2
    assert content["convention"]["norms"] == "folded"
    assert content["energy"]["e_mac_pj"] == 4.6
    assert content["versions"]["torch"] == torch.__version__
    assert content["totals"]["ac"] == str(report.totals.ac)
    assert content["per_sample"]["dc_mj"] == report.dc_mj
    assert content["per_sample"]["break_even_rate"] == report.break_even_rate
    assert (content["full_spike"], content["network_type"]) == (False, "MPSNN")
    assert "aten::_linalg_solve_ex in the model" in content["unaccounted"]
    assert {row["dtype"] for row in content["rows"]} == {"float32"}
    bounds = json.loads(get_model_bounds(Net(), X).to_json())
    assert (
        bounds["totals"]["ac"] is bounds["totals"]["spikes"] is bounds["per_sample"]["ac"] is None
    )


# Files


def test_a_file_is_written_whole_and_read_back(report, tmp_path):
    path = tmp_path / "report.json"
    report.save(path)
    assert Report.load(path) == Report.load(str(path)) == report
    assert path.read_text("utf-8") == report.to_json() + "\n"
    assert list(tmp_path.iterdir()) == [path]


def test_files_that_cannot_be_written_or_read(report, tmp_path):
    with pytest.raises(SyopsFileError, match="cannot write .*no-such-folder"):
        report.save(tmp_path / "no-such-folder" / "report.json")
    with pytest.raises(SyopsFileError, match="cannot read .*missing.json"):
        Report.load(tmp_path / "missing.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    with pytest.raises(SyopsFileError, match="not text"):
        Report.load(tmp_path / "bytes.json")


@pytest.mark.parametrize("share", [0, 0.3, 0.999])
def test_a_file_that_was_cut_off_is_named(report, tmp_path, share):
    path = tmp_path / "report.json"
    text = report.to_json()
    path.write_text(text[: int(share * len(text))])
    with pytest.raises(SyopsValueError, match=r"report.json is not a syops report, or was cut off"):
        Report.load(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a syops report"),
        ("[" * 100_000, "not a syops report"),
        ("[1, 2]", "not a syops report: it has no schema version"),
        ('{"a": 1}', "not a syops report: it has no schema version"),
        ('{"schema": 999}', "schema version 999, this syops reads 2"),
        ('{"schema": true}', "schema version True"),
        ('{"schema": "2"}', "schema version '2'"),
        ('{"schema": 1, "model": "x"}', "schema version 1, this syops reads 2"),
        ('{"schema": 2, "model": "x"}', "damaged report: accuracy is missing"),
        ('{"schema": 2, "samples": NaN}', "holds NaN, which is not a number"),
        ('{"schema": 2, "samples": -Infinity}', "holds -Infinity"),
    ],
)
def test_json_that_is_not_a_report_is_refused(text, words):
    with pytest.raises(SyopsValueError, match=words):
        Report.from_json(text)


BLANK = {
    "evidence": {"analog": False, "integer": False, "derived": [], "seen": None},
    **dict.fromkeys(("numel", "spikes", "events", "graded_events"), 0),
    **dict.fromkeys(("ac", "graded_ac"), "0"),
}


def _set(content, path, value):
    *inner, last = path
    for key in inner:
        content = content[key]
    if value is KeyError:
        del content[last]
    else:
        content[last] = value


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["samples"], 0, "samples must be an integer, at least 1, got 0"),
        (["samples"], 2.5, "samples must be an integer"),
        (["samples"], True, "samples must be an integer"),
        (["model"], None, "model must be text, got None"),
        (["measured"], 1, "measured must be true or false, got 1"),
        (["accuracy"], 71, "accuracy must be a share between 0 and 1, got 71"),
        (["accuracy"], "high", "accuracy must be a finite number, got 'high'"),
        (["accuracy"], 1e999, "holds Infinity|accuracy must be a finite number"),
        (["time_steps"], -1, "time_steps must be an integer, at least 1"),
        (["input_shape"], "3x4", "input_shape must be a list, got '3x4'"),
        (["input_shape", 0], 3.5, "input_shape must be a list of int"),
        (["kinds"], ["conv", "cnov"], "kinds must be a list of conv or"),
        (["conventions"], [], r"conventions must be an object, got \[\]"),
        (["unaccounted", "x"], "1", "unaccounted must be an object of int"),
        (["rows"], {}, "rows must be a list"),
        (["rows", 1], 5, r"rows\[1\] must be an object, got 5"),
        (["rows", 0, "dense"], -1, r"rows\[0\].dense must be an integer, at least 0, got -1"),
        (["rows", 0, "kind"], "cnov", r"rows\[0\].kind must be one of conv, .*, got 'cnov'"),
        (["rows", 0, "folded"], 3, r"rows\[0\].folded must be text"),
        (["rows", 0, "joint_ac"], "1/0", r"rows\[0\].joint_ac must be a fraction"),
        (["rows", 0, "joint_ac"], "-1/3", r"rows\[0\].joint_ac must be a fraction"),
        (["rows", 0, "joint_ac"], 0.5, r"rows\[0\].joint_ac must be a fraction"),
        (["rows", 0, "drives"], [BLANK] * 3, r"rows\[0\].drives must be at most two operands"),
        (["rows", 0, "calls"], KeyError, r"rows\[0\].calls is missing"),
        (["rows", 0, "drives", 0, "spikes"], -5, r"rows\[0\].drives\[0\].spikes must be"),
        (["rows", 0, "drives", 0, "evidence", "analog"], "no", r"evidence.analog must be true"),
        (["rows", 0, "drives", 0, "evidence", "derived"], [["", "x"]], "derived must be pairs"),
        (["rows", 0, "drives", 0, "evidence", "derived"], [[""]], "derived must be pairs"),
        (["rows", 0, "drives", 0, "evidence", "seen"], {"low": 0}, "seen.high is missing"),
        (["ann_rows", 0, "written"], "12", r"ann_rows\[0\].written must be an integer"),
        (["energy", "e_ac_pj"], -0.9, "'horowitz45-fp32': e_ac_pj must be finite and at least 0"),
        (["energy", "e_mac_pj"], "4.6", "e_mac_pj must be a number with a unit"),
        (["energy", "e_ac_pj"], KeyError, "energy.e_ac_pj is missing"),
        (["energy"], {"rules": [{"e_ac_pj": 1}]}, r"energy.rules\[0\].pattern is missing"),
    ],
)
def test_damaged_json_is_refused_in_one_line(report, path, value, words):
    content = json.loads(report.to_json())
    _set(content, path, value)
    with pytest.raises(SyopsValueError, match=words) as raised:
        Report.from_json(json.dumps(content))
    assert "\n" not in str(raised.value)
