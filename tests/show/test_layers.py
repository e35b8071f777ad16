"""Tables of reports made by hand, with counts that can be checked in the head."""

import csv
import io
from dataclasses import replace
from fractions import Fraction

import pytest

from syops.cost.conventions import get_convention
from syops.cost.energy import EnergyModel
from syops.cost.profiles import get_energy_model
from syops.errors import SyopsTypeError, SyopsValueError
from syops.ledger.rows import Drive, Row
from syops.ops.classes import ValueEvidence
from syops.report.comparison import compare
from syops.report.report import Report
from syops.show.formats.text import to_text

BINARY = ValueEvidence(derived=frozenset({("", 0), ("", 1)}))


def spiking(path, dense, rate, events=0, kind="conv", **more):
    """A row with spikes at ``rate``, out of a thousand entries."""
    rate = Fraction(rate).limit_denominator(1000)
    drive = Drive(BINARY, 1000, int(1000 * rate), dense * rate, events)
    return Row(path, kind, kind, calls=1, dense=dense, drives=(drive,), **more)


def analog(path, dense, kind="conv", **more):
    return Row(path, kind, kind, calls=1, dense=dense, **more)


def ann(macs):
    """An ANN of so many MACs for each of the 2 samples of `REPORT`."""
    return (analog("", 2 * macs, "linear"),)


REPORT = Report(
    model="Net",
    rows=(
        analog("stem", 2_000_000, params=10),
        Row("stem_bn", "norm", "batch_norm", dense=600, folded="stem"),
        Row("spike", "neuron", "IFNode", dense=3_000, mac=3_000),
        spiking("block.a.conv", 40_000_000, 0.25, events=9_000_000, params=20),
        spiking("block.a.add", 0, 0, kind="conv"),
        spiking("block.b.conv", 20_000_000, 0.1, events=1_900_000, params=30),
        Row("block.b", "add", "add", dense=5_000, ac=5_000),
        analog("block.b.proj", 200_000, "linear", params=40),
    ),
    samples=2,
    energy=EnergyModel("mine", e_ac_pj=1, e_mac_pj=10),
    time_steps=4,
    params=1_234_567,
    input_shape=(2, 3, 8, 8),
    ann_rows=ann(3_500_000),
    conventions={"ac": "rate"},
)
# Per sample: 5 M + 1 M AC at 1 pJ, 1 M + 0.1 M MAC at 10 pJ: 17 µJ. Dense: 30 M AC, so at most
# 41 µJ. The ANN: 35 µJ, as much as 11 µJ + rate x 30 µJ at rate 0.8.
TABLE = """\
Net: 1.23 M parameters, T = 4, input 2x3x8x8; mean of 2 samples

layer         kind    signal   rate  O_ac (M)  O_mac (M)  DC (µJ)  share
------------  ------  ------  -----  --------  ---------  -------  -----
stem          conv    analog      -         -       1.00     10.0  58.8%
block.a.conv  conv    binary  0.250      5.00          -     5.00  29.4%
block.a.add   conv    binary  0.000         0          0        0   0.0%
block.b.conv  conv    binary  0.100      1.00          -     1.00   5.9%
block.b.proj  linear  analog      -         -      0.100     1.00   5.9%
------------  ------  ------  -----  --------  ---------  -------  -----
total                         0.200      6.00       1.10     17.0

Dynamic consumption (DC), at the measured firing rates: 17.0 µJ
  = 6.00 M AC x 1 pJ + 1.10 M MAC x 10 pJ (mine)
Estimated consumption (EC), at firing rates from 0 to 1: 11.0 µJ to 41.0 µJ
E(SNN)/E(ANN) = 0.486: 2.06 times less energy than the same network as an ANN"""
REST = """

EC = 0 to 30.0 M AC x 1 pJ + 1.10 M MAC x 10 pJ (mine)
Break-even firing rate with the ANN: 0.800; measured: 0.200
Folded into the layers before them, at no cost: 1 BatchNorm
Outside the totals, as in the paper: neuron 1.50 k MAC, add 2.50 k AC
"""
MORE = "\n\n4 more notes with --verbose, or to_text() in Python"


def line_of(text, start):
    (line,) = [line for line in text.splitlines() if line.startswith(start)]
    return line


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_layer_table_as_text():
    assert str(REPORT) == repr(REPORT) == TABLE + MORE
    assert REPORT.to_text() == TABLE + REST


def test_a_depth_adds_up_what_lies_below_it():
    text = to_text(REPORT.table(depth=1))
    # Rates weighted with the dense counts: (20 M x 0.25 + 10 M x 0.1) / 30 M.
    assert line_of(text, "block ").split() == [
        *("block", "mixed", "mixed", "0.200", "6.00", "0.100", "7.00", "41.2%"),
    ]
    assert line_of(text, "stem ").split() == line_of(TABLE, "stem ").split()
    assert "block.a" not in text
    deeper = to_text(REPORT.table(depth=2))
    assert line_of(deeper, "block.a ").split()[3:6] == ["0.250", "5.00", "-"]
    assert REPORT.to_text(depth=9) == TABLE + REST


@pytest.mark.parametrize("form", ["table", "to_csv", "to_markdown", "to_latex", "to_html"])
def test_a_depth_below_one_is_refused(form):
    with pytest.raises(SyopsValueError, match="depth must be at least 1, got 0"):
        getattr(REPORT, form)(depth=0)


def test_what_is_outside_the_totals_is_the_papers_choice_or_the_users():
    assert "Outside the totals, as in the paper: neuron" in REPORT.to_text()
    chosen = REPORT.select(["conv", "neuron"]).to_text()
    assert "Outside the totals: " in chosen
    assert "as in the paper" not in chosen


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda report: report.table(top=1.5), "top must be an integer, got 1.5"),
        (lambda report: report.table(depth=True), "depth must be an integer, got True"),
        (lambda report: report.table(sort=3), "named by its key or heading, got 3"),
        (lambda report: report.table(columns=5), "columns must be names of columns, got 5"),
        (lambda report: report.table(columns=["layer", 5]), "key or heading, got 5"),
        (lambda report: report.table(units=5), "units must be text such as 'mJ', got 5"),
        (lambda report: report.table(units=["G", 5]), "units must be text such as 'mJ', got 5"),
        (lambda report: report.merge("report.json"), "merged with another one, got str"),
        (lambda report: report.memory("sram"), "expected a MemoryModel, got str"),
        (lambda report: compare(3), "reports: expected several, .* got int"),
    ],
)
def test_arguments_of_another_type_are_named(ask, words):
    with pytest.raises(SyopsTypeError, match=words):
        ask(REPORT)


def test_events_are_shown_where_they_are_what_is_priced():
    text = str(replace(REPORT, convention=get_convention("exact")))
    assert line_of(text, "block.a.conv").split()[3:6] == ["0.250", "4.50", "-"]
    assert line_of(text, "total").split()[2] == "5.45"
    assert "16.4 µJ" in line_of(text, "Dynamic")


@pytest.mark.parametrize(
    ("macs", "words"),
    [
        (3_400_000, "2 times less energy than the same network as an ANN"),
        (680_000, "2.5 times as much energy as the same network as an ANN"),
        (1_700_000, "E(SNN)/E(ANN) = 1: the energy of the same network as an ANN"),
        (6_800_000_000, "4000 times less energy than the same network as an ANN"),
    ],
)
def test_energy_ratio_sentence(macs, words):
    assert words in str(replace(REPORT, ann_rows=ann(macs)))


@pytest.mark.parametrize(
    ("macs", "words"),
    [
        (1_000_000, "with the ANN: none, it needs more at any rate; measured: 0.200"),
        (1_100_000, "with the ANN: none, it needs more at any rate; measured: 0.200"),
        (1_400_000, "with the ANN: 0.100; measured: 0.200"),
        (4_200_000, "with the ANN: none, it needs less at any rate; measured: 0.200"),
    ],
)
def test_break_even_sentence(macs, words):
    report = replace(REPORT, ann_rows=ann(macs))
    assert words in " ".join(report.to_text().split())
    bounds = " ".join(str(replace(report, measured=False)).split())
    assert words.split(";")[0].rpartition("ANN: ")[2] in bounds.partition("ANN: ")[2]


def test_what_has_no_price_is_said_with_the_names_of_the_layers():
    chip = EnergyModel("chip", 2, None, spike_only=True)
    text = " ".join(str(replace(REPORT, energy=chip)).split())
    assert "= 6.00 M AC x 2 pJ + 1.10 M MAC without a price (chip)" in text
    assert (
        "Warning: chip processes spikes alone; of the first and the last layer has to be computed "
        "elsewhere: stem, block.b.proj (MACs not priced)"
    ) in text
    assert "not available" in text


def test_spikes_that_are_priced_and_prices_by_layer():
    """250 and 100 spikes, of 2 samples, arrive: 1.75 µJ for each."""
    routed = EnergyModel("routed", 1, 10, e_spike_pj=10_000)
    text = str(replace(REPORT, energy=routed))
    assert "= 6.00 M AC x 1 pJ + 1.10 M MAC x 10 pJ + 175 spikes x 10000 pJ (routed)" in " ".join(
        text.split()
    )
    assert "18.8 µJ" in line_of(text, "Dynamic")
    by_layer = get_energy_model({"stem": EnergyModel("free", 0, 0), "*": REPORT.energy})
    text = str(replace(REPORT, energy=by_layer))
    assert "6.00 M AC + 1.10 M MAC, each at the price of its layer (stem: free, *: mine)" in text
    assert "7.00 µJ" in line_of(text, "Dynamic")


def test_missing_ratio_is_explained():
    text = str(replace(REPORT, ann_rows=None, time_steps=None))
    assert "not available: T is not known; say it with time_steps=" in " ".join(text.split())
    assert "T =" not in text
    assert "is not available\n" in str(replace(REPORT, ann_rows=None))
    note = "E(SNN)/E(ANN) is not available: the model cannot be copied: not me"
    whole = replace(REPORT, ann_rows=None, notes=(note,)).to_text()
    assert " ".join(whole.split()).count(note) == 1
    unpriced = REPORT.priced("loihi").to_text()
    assert "is not available: loihi has no price for a MAC" in unpriced


def test_kinds_that_are_asked_for_get_lines_and_the_rest_is_said_to_be_outside():
    text = REPORT.select(["conv", "neuron"]).to_text()
    assert line_of(text, "spike").split()[:2] == ["spike", "neuron"]
    assert line_of(text, "Outside").endswith("add 2.50 k AC, linear 100 k MAC")


def test_what_was_not_counted_and_the_notes_are_told():
    report = replace(
        REPORT, unaccounted={"aten.foo at block.a": 3, "aten.bar at stem": 1}, notes=("mind this",)
    )
    text = report.to_text()
    assert "no rule for it: aten.foo at block.a, called 3 times" in text
    assert "no rule for it: aten.bar at stem, called once" in text
    assert text.endswith("Note: mind this\n")


def test_long_names_and_notes_stay_within_80_columns():
    long = "module.backbone.stages.3.blocks.1.attention.projection"
    report = replace(
        REPORT,
        rows=(*REPORT.rows, spiking(long, 12_340_000_000, 0.987, kind="matmul")),
        notes=("a word " * 40,),
        unaccounted={"aten.a_long_operator at " + long: 1234},
    )
    text = to_text(report.table(), width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert line_of(text, "module.").split()[0] == "module.ba..attention.projection"
    assert long in to_text(report.table(), width=120)
    assert long in str(report)


def test_table_of_an_empty_report():
    empty = Report("Empty", (), 1, EnergyModel("mine", 1, 10))
    text = str(empty)
    assert line_of(text, "total").split() == ["total", "-", "0", "0", "0"]
    assert len(empty.to_csv().splitlines()) == 1
    assert to_text(empty.table(depth=1)) == text


def test_free_operations():
    free = replace(REPORT, energy=EnergyModel("free", 0, 0))
    text = str(free)
    assert line_of(text, "stem ").split()[-2:] == ["0", "0.0%"]
    assert "not available" in text
    silent = replace(REPORT, energy=EnergyModel("macs are free", 0, 0), ann_rows=ann(0))
    assert "not available" in str(silent)


def test_an_ann_reads_as_one():
    dense = replace(REPORT, rows=(analog("a", 2_000_000), analog("b", 200_000, "linear")))
    text = str(replace(dense, time_steps=1, ann_rows=dense.rows))
    assert "  = 1.10 M MAC x 10 pJ (mine)\nNo layer gets spikes: DC and EC" in text
    assert "E(SNN)/E(ANN) = 1: the energy of the same network" in text
    assert " AC" not in text
    assert "not available" not in str(replace(dense, time_steps=None, ann_rows=None))


def test_the_ratio_of_a_silent_network():
    silent = replace(REPORT, rows=(spiking("conv", 1000, 0),))
    assert "0: no energy, compared with the same network as an ANN" in str(silent)


def test_csv_holds_every_row_in_full_and_says_which_count():
    rows = rows_of(REPORT.to_csv())
    assert [row["name"] for row in rows] == [row.path for row in REPORT.rows]
    first, conv = rows[0], rows[3]
    assert (first["mac"], first["rate"], first["signal"]) == ("1000000.0", "", "analog")
    assert (conv["ac"], conv["ac_events"], conv["dense"]) == (
        "5000000.0",
        "4500000.0",
        "20000000.0",
    )
    assert float(conv["dc_mj"]) == pytest.approx(5e-3)
    assert rows[1]["folded"] == "stem"
    assert [row["counted"] for row in rows] == [
        *("True", "True", "False", "True", "True", "True", "False", "True")
    ]


def test_csv_of_blocks_keeps_apart_what_counts_and_what_does_not():
    rows = rows_of(REPORT.to_csv(depth=1))
    blocks = [row for row in rows if row["name"] == "block"]
    inside, outside = sorted(blocks, key=lambda row: row["counted"], reverse=True)
    assert (inside["counted"], inside["ac"], inside["mac"]) == ("True", "6000000.0", "100000.0")
    assert (inside["calls"], inside["params"]) == ("4", "90")
    assert (outside["counted"], outside["ac"]) == ("False", "2500.0")


def test_csv_quotes_names_that_need_it():
    report = replace(REPORT, rows=(analog('a,"b"', 10),))
    (row,) = rows_of(report.to_csv())
    assert row["name"] == 'a,"b"'
