"""Conventions as functions of the same counts, by hand on small networks."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import nn

from syops import count_syops, get_model_bounds, get_model_syops
from syops.cost.conventions import (
    SWITCHES,
    TEXTS,
    Convention,
    get_convention,
    list_conventions,
    load_conventions,
)
from syops.errors import SyopsFileError, SyopsLookupError, SyopsTypeError, SyopsValueError
from syops.ledger.rows import Drive, Row
from syops.report.report import Report
from tests import ROOT
from tests.support.reports import BINARY, FIXED, GRADED, analog


class Residual(nn.Module):
    """Add spikes to spikes, and feed {0, 1, 2} to the second layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4, bias=False), nn.Linear(4, 3, bias=False)

    def forward(self, x):
        spikes = (self.first(x) > 0).float()
        return self.second(spikes + x)


X = torch.tensor([[1.0, 0, 1, 0], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def network():
    network = Residual()
    with torch.no_grad():
        network.first.weight.copy_(torch.eye(4))  # sends what it gets: {0, 2} arrives
    return network


@pytest.fixture(scope="module")
def report(network):
    return get_model_syops(network, X)


def test_one_count_under_every_convention(report):
    """3 spikes of 8 reach 4 outputs each; then 3 entries of magnitude 2 of 8 reach 3 outputs."""
    seen = {c.name: report.under(c) for c in list_conventions() if c.counter == "syops"}
    totals = {name: (one.totals.ac, one.totals.mac) for name, one in seen.items()}
    assert totals == {
        "dst": (12, 24),
        "exact": (12, 24),
        "sdt": (12 + 9, 0),
        "spikformer": (12 + 9, 0),
        "spikingformer": (12 + 9, 0),
        "ilif": (12 + 18, 0),
    }
    assert seen["ilif"].dc_mj == pytest.approx(30 * 0.9e-9 / 2)


def test_counting_under_a_convention_is_looking_under_it(network, report):
    counted = get_model_syops(network, X, convention="ilif")
    assert counted == report.under("ilif")
    assert counted.under("dst") == report
    assert get_model_syops(network, X, graded="ac") == report.under(
        report.convention.but(graded="ac")
    )
    with count_syops(network, convention="ilif") as count:
        network(X)
    assert count.report.totals == counted.totals


def test_bounds_take_a_convention():
    bounds = get_model_bounds(Residual(), (1, 4), input_signal="binary", convention="ilif")
    assert bounds.totals.dense_ac == 16 + 2 * 12
    assert bounds.under("sdt").totals.dense_ac == 16 + 12


def test_short_cuts_change_a_convention_and_its_name():
    sdt = get_convention("sdt")
    assert sdt.but(graded=None, ac="rate") is sdt
    assert sdt.but(norms="counted").name == "sdt, norms=counted"
    report = get_model_syops(nn.Linear(4, 3), X, convention="sdt", fold_bn=True, ac="events")
    assert (report.convention.norms, report.convention.ac) == ("free", "events")


def product(*counts, **more):
    """A product of activations of 100 operations, with so many spikes of 10 in each operand."""
    drives = tuple(Drive(BINARY, 10, n, Fraction(n * 10), n * 10) for n in counts)
    return Row("attn", "matmul", "matmul", calls=1, dense=100, drives=drives, **more)


def under(convention, *rows):
    return replace(FIXED, rows=rows, ann_rows=None).under(Convention(name="mine", **convention))


def test_lesser_of_two_rates():
    row = product(3, 5, joint_ac=Fraction(15), joint_events=11)
    assert under({}, row).totals.ac == 15
    assert under({"pairs": "min"}, row).totals.ac == 30
    assert under({"pairs": "min"}, product(5)).totals.ac == 50  # one spike operand has one rate


def test_saturated_layer_as_macs():
    silent = analog("stem", 7)
    assert under({"saturated": "mac"}, silent, product(10)).totals.mac == 107
    assert under({"saturated": "mac"}, silent, product(9)).totals.mac == 7


def test_first_layer_once():
    first = analog("stem", 400, repeated=300)
    assert under({}, first).totals.mac == 400
    assert under({"repeats": "once"}, first).totals.mac == 100


def test_first_layer_once_on_a_network():
    class Repeating(nn.Module):
        T = 4

        def __init__(self):
            super().__init__()
            self.stem = nn.Linear(3, 5)

        def forward(self, x):
            return sum(self.stem(x) for _ in range(self.T))

    report = get_model_syops(Repeating(), torch.randn(2, 3))
    assert (report.mac, report.under("sdt").mac) == (4 * 15, 15)


@pytest.mark.parametrize(("norms", "mac"), [("folded", 60), ("counted", 100), ("free", 0)])
def test_norms(norms, mac):
    rows = (
        Row("bn1", "norm", "batch_norm", dense=40, folded="conv"),
        Row("bn2", "norm", "batch_norm", dense=60, mac=60),
    )
    assert under({"norms": norms}, *rows).totals.mac == mac


def test_neurons_in_and_out_again():
    neuron = Row("sn", "neuron", "IFNode", dense=30, mac=30)
    inside = under({"neurons": "in"}, neuron)
    assert inside.totals.mac == 30
    assert inside.under("dst").totals.mac == 0


def test_a_convention_that_needs_what_was_not_counted():
    row = Row("conv", "conv", "conv2d", calls=1, dense=9, drives=(Drive(GRADED, 10),))
    old = replace(FIXED, rows=(row,), recorded=frozenset())
    with pytest.raises(
        SyopsValueError, match="'ilif' needs the magnitudes.*reach conv.*count again"
    ):
        old.under("ilif")
    assert old.under("exact").totals.mac == 9
    (caution,) = (
        each
        for each in replace(old, rows=(*old.rows, *FIXED.rows)).warnings
        if each.kind == "graded"
    )
    assert "not known" in caution.text


def test_reports_under_different_conventions_are_not_merged(report):
    with pytest.raises(SyopsValueError, match="different convention"):
        report.merge(report.under("exact"))
    both = report.merge(report).under("ilif")
    assert both.totals.ac == 2 * report.under("ilif").totals.ac


def test_a_report_keeps_its_convention(report, tmp_path):
    mine = Convention(name="mine", graded="spikes", source="a paper")
    seen = report.under(mine)
    again = Report.from_json(seen.to_json())
    assert again == seen
    assert again.convention == mine
    assert "; convention mine" in str(again)
    assert "Convention: mine" in again.to_text()


def test_every_shipped_convention_says_where_it_is_from():
    for each in list_conventions():
        assert all(getattr(each, name) for name in TEXTS if name != "bibtex"), each.name
    page = (ROOT / "docs" / "conventions.md").read_text("utf-8")
    named = re.findall(r"^\| `(.+?)` \|", page, re.MULTILINE)
    assert named == [each.name for each in list_conventions()]


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[mine]\ngraded = "spikes"\ntitle = "as we count"\n[other]\n')
    assert get_convention(f"{path}:mine") == load_conventions(path)["mine"]
    assert get_convention(f"{path}:mine").graded == "spikes"
    assert get_convention(f"{path}:other") == Convention(name="other")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[mine\n", "is not TOML"),
        ("", "holds no convention"),
        ("graded = 'ac'\n", "stands outside of a convention"),
        ("[mine]\ngradd = 'ac'\n", "unknown key 'gradd'; did you mean 'graded'"),
        ("[mine]\ngraded = 'maybe'\n", "graded must be one of mac, ac, spikes; got 'maybe'"),
        ("[mine]\nac = true\n", "ac must be one of rate, events; got True"),
        ("[mine]\ntitle = 1\n", "title must be text, got 1"),
        ("[mine]\nname = 'x'\n", "unknown key 'name'"),
        ("[mine]\nfidelity = 'x'\n", "fidelity must be one of paper, code, own; got 'x'"),
    ],
)
def test_a_bad_file(tmp_path, text, words):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises((SyopsValueError, SyopsTypeError), match=words):
        get_convention(path)


def test_unknown_conventions(report, tmp_path):
    with pytest.raises(SyopsLookupError, match="unknown convention 'spikformr'; did you mean"):
        report.under("spikformr")
    with pytest.raises(SyopsTypeError, match="convention must be a name"):
        report.under(3)
    with pytest.raises(SyopsFileError):
        report.under(tmp_path / "no.toml")
    (tmp_path / "two.toml").write_text("[a]\n[b]\n")
    with pytest.raises(SyopsLookupError, match="holds 2 conventions; say which"):
        report.under(tmp_path / "two.toml")


def test_every_switch_is_a_fixed_list():
    for name, known in SWITCHES.items():
        assert getattr(Convention(name="x"), name) == known[0]
        with pytest.raises(SyopsValueError, match=name):
            Convention(name="x", **{name: "no"})


def test_why_conventions_differ(report):
    rows = {row.convention: row for row in report.conventions_table().rows}
    assert list(rows) == [each.name for each in list_conventions()]
    assert (rows["ilif"].ac, rows["ilif"].mac) == (15, 0)
    assert rows["ilif"].ratio == pytest.approx(30 * 0.9 / (12 * 0.9 + 24 * 4.6))
    assert rows["ilif"].why == "MACs here ACs: second"
    assert rows["exact"].why == "the same operations"
    assert rows["sinabs"].ac is rows["sinabs"].ratio is None
    assert rows["sinabs"].why == "needs a count on data with values=True (--values)"


class Parallel(nn.ModuleList):
    def forward(self, x):
        return [layer(x) for layer in self]


def test_all_layers_that_change_are_in_json():
    network = Parallel(nn.Linear(4, 3) for _ in range(5))
    table = get_model_syops(network, 2 * X).conventions_table("ilif")
    (row,) = json.loads(table.to_json())["rows"]
    assert row["why"] == "MACs here ACs: 0, 1, 2 and 2 more"
    assert row["changes"] == {"MACs here ACs": list("01234")}


def test_a_changed_convention_is_that_of_no_paper():
    assert get_convention("dst").fidelity == "paper"
    assert get_convention("dst").but(graded="ac").fidelity == "own"


def test_layers_that_are_left_out_or_counted_besides():
    rows = (
        Row("bn", "norm", "batch_norm", dense=40, mac=40),
        Row("sn", "neuron", "IFNode", dense=30, mac=30),
        analog("conv", 10),
    )
    mine = Convention(name="mine", norms="free", neurons="in")
    (row,) = replace(FIXED, rows=rows).conventions_table([mine]).rows
    assert row.why == "counted besides: sn; left out: bn"


def test_methods_say_what_was_counted(report):
    text = report.under("ilif").methods()
    for fact in (
        "on PyTorch",
        "in 2 samples, inputs of 2 x 4",
        "convention 'ilif' (X. Luo et al.",
        "as many ACs as their magnitude",
        "An AC costs 0.9 pJ and a MAC costs 4.6 pJ (45 nm",
        "15 ACs and 0 MACs",
        "@inproceedings{luo2024spikeyolo,",
        "@misc{horowitz45-fp32,",
    ):
        assert fact in text, fact
    assert "at the lesser of their firing rates" in report.under("spikingformer").methods()
    assert "incomplete: there is no rule for aten.foo" in FIXED.methods()
