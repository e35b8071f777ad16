"""Networks side by side: reports made by hand, and the paper's own table."""

import csv
import json
from dataclasses import replace
from importlib import resources

import pytest
import torch

from syops import compare, create_model, get_model_bounds
from syops.cost.conventions import get_convention
from syops.cost.energy import EnergyMap, EnergyModel
from syops.errors import SyopsTypeError, SyopsValueError
from syops.ledger.rows import Row
from syops.report.report import Report
from syops.show.formats.cells import in_words
from syops.show.formats.text import to_text
from tests.support.reports import ANN, BLIND, FIXED, MIXED, SMALL, analog, spiking


def by_name(comparison):
    return {row.name: row for row in comparison.rows}


def test_a_row_has_the_figures_of_its_report():
    row = by_name(MIXED)["small"]
    # 40 M AC at 0.9 pJ, 10 M MAC at 4.6 pJ; at most 100 M AC. The ANN: 30 M MAC.
    assert (row.network_type, row.time_steps, row.accuracy) == ("FSNN", 4, 0.70125)
    assert (row.ac, row.mac, row.dense_ac, row.mean_rate) == (4e7, 1e7, 1e8, 0.4)
    assert row.dc_mj == pytest.approx(0.082)
    assert row.ec_mj == pytest.approx((0.046, 0.136))
    assert row.ratio == pytest.approx(82 / 138)
    assert row.ec_ratio == pytest.approx((46 / 138, 136 / 138))


def test_unknown_figures_of_bounds_are_marked():
    row = by_name(MIXED)["blind_%"]
    assert (row.ac, row.dc_mj, row.ratio, row.mean_rate) == (None,) * 4
    assert row.ec_ratio == pytest.approx((46 / 138, 136 / 138))
    assert "Without data, O_ac and DC are not known: blind_%" in MIXED.notes
    assert "Without data, O_ac and DC are not known" in compare([BLIND, BLIND]).notes
    assert not any("Without data" in note for note in compare([SMALL, ANN]).notes)


def test_the_energy_of_an_ann_is_known_without_data():
    row = by_name(MIXED)["relu"]
    assert (row.network_type, row.measured, row.ac, row.ratio) == ("ANN", False, 0, 1)
    assert row.dc_mj == row.ec_mj[0] == row.ec_mj[1] == pytest.approx(0.138)


def test_ratios_to_the_first_network():
    rows = compare([ANN, SMALL, BLIND], to="first").rows
    assert [row.ratio for row in rows] == pytest.approx([1, 82 / 138, None])
    assert rows[2].ec_ratio == pytest.approx((46 / 138, 136 / 138))
    blind = compare([BLIND, SMALL], to="first")
    assert [row.ratio for row in blind.rows] == [None, None]
    assert "There is no ratio, as the DC of blind is not known" in blind.notes
    assert "over the DC of blind" in str(blind)


def test_no_ratio_where_time_steps_are_not_known():
    (row,) = compare([replace(SMALL, ann_rows=None)]).rows
    assert (row.ratio, row.ec_ratio) == (None, None)


def test_the_columns_are_those_of_the_paper_and_what_is_known():
    def headings(*reports):
        return [column.heading for column in compare(reports).table().columns]

    paper = ["network", "type", "accuracy", "T", "EC", "O_ac", "O_mac", "DC"]
    without = [heading for heading in paper if heading != "accuracy"]
    assert headings(SMALL, BLIND) == [*paper, "ratio"]
    assert headings(FIXED, BLIND) == [*without, "ratio"]
    assert headings(BLIND, ANN) == [*without, "EC ratio"]


def test_all_counts_have_one_unit_and_all_energies():
    def headings(*reports, **chosen):
        return in_words(compare(reports).table(**chosen)).headings

    assert headings(SMALL)[4:7] == ["EC (µJ)", "O_ac (M)", "O_mac (M)"]
    assert headings(SMALL, units="G")[4:8] == ["EC (µJ)", "O_ac (G)", "O_mac (G)", "DC (µJ)"]
    # Of FIXED, SMALL and SMALL the second is the one in the middle.
    assert headings(FIXED, SMALL, SMALL)[6] == "O_mac (M)"
    assert headings(FIXED, FIXED, SMALL)[6] == "O_mac (G)"


COUNTED = SMALL.convention


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"convention": get_convention("dst")}, "BatchNorms counted in small; folded in other"),
        (
            {"convention": COUNTED.but(graded="ac")},
            "graded inputs MAC in small; AC in other",
        ),
        (
            {"convention": COUNTED.but(ac="events")},
            "ACs, by rate in small; events in other",
        ),
        ({"energy": EnergyModel("my", 1, 2)}, "energy model mine in small; my in other"),
        ({"energy": EnergyModel("mine", 1, 2)}, "energy model mine in small; mine in other"),
        ({"input_shape": (1, 3, 9, 8)}, "input 3x8x8 in small; 3x9x8 in other"),
        (
            {"kinds": SMALL.kinds | {"add"}},
            "inside the totals the usual in small; add too in other",
        ),
        (
            {"kinds": SMALL.kinds - {"norm"}},
            "inside the totals the usual in small; no norm in other",
        ),
    ],
)
def test_different_conventions_are_noted(other, words):
    unlike = replace(SMALL, **other)
    both = compare({"small": SMALL, "other": unlike})
    assert both.notes == (f"Not alike: {words}",)
    assert both.table().warnings == both.layers().table().warnings == both.notes


def test_equal_conventions_are_not_noted():
    batch = replace(SMALL, input_shape=(7, 3, 8, 8))
    time_first = {**SMALL.conventions, "batch_dim": 1}
    steps = replace(SMALL, input_shape=(3, 1, 8, 8), conventions=time_first)
    assert compare([SMALL, batch, steps]).notes == ()


def test_input_signals_are_noted():
    def told(*signals):
        of = [{**SMALL.conventions, "input_signal": signal} for signal in signals]
        return compare({s: replace(SMALL, conventions=c) for s, c in zip(signals, of, strict=True)})

    (note,) = told("analog", "binary", "auto").notes
    assert note == "Not alike: input taken to be analog in analog; binary in binary"
    assert told("auto", "analog").notes == ()


def test_note_for_the_odd_one_of_many():
    odd = replace(SMALL, model="odd", convention=get_convention("dst"))
    (note,) = compare([SMALL, SMALL, odd, SMALL, SMALL]).notes
    assert note == "Not alike: BatchNorms folded in odd; counted in the others"


def test_operators_without_a_rule_are_named():
    assert MIXED.notes[-1].endswith("as syops has no rule for it: aten.foo at layer1.0")


def test_macs_without_a_price_are_told():
    chip = EnergyModel("chip", 20, None, spike_only=True)
    comparison = compare([replace(report, energy=chip) for report in (SMALL, BLIND, ANN)])
    small, blind, ann = comparison.rows
    assert (small.dc_mj, small.ec_mj) == (pytest.approx(0.8), pytest.approx((0, 2)))
    assert (small.unpriced, ann.unpriced) == (1e7, 3e7)
    assert (
        {row.ratio for row in comparison.rows} == {row.ec_ratio for row in (small, ann)} == {None}
    )
    shown = comparison.table(columns="network,EC,DC").rows
    assert shown == (
        ("small", small.ec_mj, small.dc_mj),
        ("blind", blind.ec_mj, None),
        ("relu", None, None),
    )
    for name in ("small", "blind", "relu"):
        warnings = comparison.table().warnings
        assert any(text.startswith(f"Warning: {name}: chip processes") for text in warnings)


@pytest.mark.parametrize("to", ["ann", "first"])
def test_no_ratio_to_an_energy_that_leaves_macs_out(to):
    # All of "free" has a price, but not all of its ANN, nor of the network before it.
    energy = EnergyMap((("one", EnergyModel("chip", 20, None)), ("*", FIXED.energy)))
    rows = spiking("one", 100, 0.5), spiking("two", 100, 0.5)
    ann = analog("one", 100), analog("two", 100)
    free = Report("free", rows, 1, energy, time_steps=4, ann_rows=ann)
    partial = replace(free, rows=(analog("one", 100), rows[1]), ann_rows=None)
    comparison = compare({"partial": partial, "free": free}, to)
    row = comparison.rows[1]
    assert (row.unpriced, free.energy_ratio, free.ann.unpriced) == (0, None, 100)
    assert row.dc_mj == pytest.approx(1045e-9)
    assert (row.ratio, row.ec_ratio) == (None, None)
    said = "There is no ratio, as the DC of partial leaves out MACs without a price"
    assert (said in comparison.notes) == (to == "first")


def test_duplicate_names_are_numbered():
    assert compare([SMALL, FIXED, SMALL]).names == ("small (1)", FIXED.model, "small (2)")
    assert compare({"a": SMALL, "b": SMALL}).names == ("a", "b")
    assert compare(iter([SMALL])).names == ("small",)


@pytest.mark.parametrize(
    ("reports", "error", "words"),
    [
        ([], SyopsValueError, "nothing to compare"),
        ({}, SyopsValueError, "nothing to compare"),
        ([SMALL, "dsnn18"], SyopsTypeError, "expected reports, got str"),
        ({"a": None}, SyopsTypeError, "expected reports, got NoneType"),
        (SMALL, SyopsTypeError, "several"),
    ],
)
def test_invalid_arguments_of_compare(reports, error, words):
    with pytest.raises(error, match=words):
        compare(reports)


def test_an_unknown_reference():
    with pytest.raises(SyopsValueError, match="to must be one of ann, first; got 'last'"):
        compare([SMALL], to="last")


def test_pandas_and_json():
    frame = MIXED.to_frame().set_index("name")
    assert frame.loc["small", ["mac", "ec_max_mj", "ec_ratio_min"]].tolist() == pytest.approx(
        [1e7, 0.136, 46 / 138]
    )
    content = json.loads(MIXED.to_json())
    assert [row["network_type"] for row in content["rows"]] == ["MPSNN", "FSNN", "FSNN", "ANN"]
    assert content["rows"][2]["dc_mj"] is None
    assert MIXED._repr_html_() == MIXED.to_html()


def test_compare_is_a_function_not_the_module():
    import syops.report.comparison

    assert syops.compare is syops.report.comparison.compare


# --- layers -------------------------------------------------------------------------------------


def net(*rows, model="net"):
    return Report(model, rows, 1, EnergyModel("mine", 1, 10))


FIRST = net(
    analog("stem", 1000, weight="stem.weight"),
    spiking("block.conv", 8000, 0.5),
    Row("block.bn", "norm", "batch_norm", dense=50, mac=50),
    Row("block.add", "add", "add", dense=5, ac=5),
    analog("head", 10),
)
SECOND = net(
    analog("stem", 1000, weight="stem.weight"),
    spiking("block.conv", 8000, 0.25),
    Row("block.bn", "norm", "batch_norm", dense=50, folded="block.conv"),
    analog("aap.one", 300),
    analog("aap.two", 400),
    analog("head", 10, kind="linear"),
    model="other",
)


def test_layers_are_matched_and_keep_their_order():
    table = (
        compare([FIRST, SECOND])
        .layers()
        .table(columns="layer,only in,rate_2,ac_1,ac_2,ac_diff,mac_diff,dc_diff")
    )
    pj = 1e-9
    assert [(*row[:-1], pytest.approx(row[-1])) for row in table.rows] == [
        ("stem", "", None, 0, 0, 0, 0, 0),
        ("block.conv", "", 0.25, 4000, 2000, -2000, 0, -2000 * pj),
        ("block.bn", "", None, 0, 0, 0, -50, -500 * pj),
        ("aap.one", "2", None, None, 0, 0, 300, 3000 * pj),
        ("aap.two", "2", None, None, 0, 0, 400, 4000 * pj),
        ("head", "2", None, None, 0, 0, 10, 100 * pj),
        ("head", "1", None, 0, None, 0, -10, -100 * pj),
    ]
    assert table.total[3:7] == (4000, 2000, -2000, 650)
    assert table.total[0] == "total"


def test_the_layers_that_differ_most_are_the_first_ones():
    layers = compare([FIRST, SECOND]).layers()
    assert [row[0] for row in layers.table(top=3).rows] == ["aap.two", "aap.one", "block.conv"]
    assert [row[0] for row in layers.table(sort="ac_diff", top=1).rows] == ["block.conv"]


def test_only_in_is_not_shown_where_both_have_all():
    halved = replace(FIRST, rows=(FIRST.rows[0], spiking("block.conv", 8000, 0.1), *FIRST.rows[2:]))
    lines = str(compare([FIRST, halved]).layers())
    assert "only in" not in lines
    assert "only in" in to_text(compare([FIRST, SECOND]).layers().table(), None)


def test_comparison_of_a_run_with_bounds():
    blind = replace(SECOND, measured=False)
    table = compare([FIRST, blind]).layers().table()
    assert [column.key for column in table.columns] == [
        *("name", "only_in", "dense_ac_diff", "mac_diff"),
        *("ec_max_1_mj", "ec_max_2_mj", "ec_max_diff_mj"),
    ]
    conv = next(row for row in table.rows if row[0] == "block.conv")
    assert conv[2:] == pytest.approx((0, 0, 8e-6, 8e-6, 0))
    top = compare([FIRST, blind]).layers().table(top=1)
    assert top.rows[0][0] == "aap.two"


def test_there_is_no_difference_to_what_is_not_known():
    def differences(second, keys, energy=FIRST.energy):
        reports = [replace(report, energy=energy) for report in (FIRST, second)]
        table = compare(reports).layers().table(columns=keys)
        return {row[0]: row[1:] for row in (*table.rows, table.total)}

    blind = differences(replace(SECOND, measured=False), "layer,O_ac diff,DC diff,dense_ac_diff")
    assert blind["block.conv"] == blind["stem"] == blind["total"] == (None, None, 0)
    assert blind["aap.one"] == (None, None, 0)
    # A chip without a price for the MACs of the first: what it costs is not known, and not 0.
    spikes = replace(
        SECOND, rows=(spiking("stem", 1000, 0.5, weight="stem.weight"), *SECOND.rows[1:])
    )
    chip = EnergyModel("chip", 2, None)
    told = differences(spikes, "layer,dc_1,dc_2,dc_diff,ec_max_1,ec_max_diff", chip)
    assert told["stem"] == (None, pytest.approx(1000e-9), None, None, None)
    assert told["block.conv"][2] == pytest.approx(-4000e-9)
    warnings = compare([replace(FIRST, energy=chip)] * 2).layers().table().warnings
    assert sum(text.startswith("Warning: net (") for text in warnings) == 2


def test_layers_differ_in_the_acs_that_are_priced():
    events = [replace(report, convention=get_convention("exact")) for report in (FIRST, SECOND)]
    keys = [column.key for column in compare(events).layers().table().columns]
    assert "ac_events_diff" in keys
    assert "ac_diff" not in keys


def test_equal_reports_differ_in_nothing():
    table = compare([FIRST, FIRST]).layers().table()
    differences = [i for i, column in enumerate(table.columns) if column.signed]
    assert differences
    assert all(row[i] == 0 for row in (*table.rows, table.total) for i in differences)


def test_layers_as_json():
    content = json.loads(compare([FIRST, SECOND]).layers().to_json())
    assert content["names"] == ["net", "other"]
    assert [row["first"] is None for row in content["rows"]][3:] == [True, True, True, False]


@pytest.mark.parametrize("reports", [[SMALL], [SMALL, SMALL, SMALL]])
def test_layers_are_those_of_two(reports):
    with pytest.raises(SyopsValueError, match=f"two networks, these are {len(reports)}"):
        compare(reports).layers()


# --- the paper ----------------------------------------------------------------------------------

# What `syops` calls the networks of Table 2, and whether the paper folds their BatchNorms.
NETWORKS = {
    "Spiking ResNet-34 with td-BN": ("spiking_resnet34_tdbn", False),
    "Spiking ResNet-50 with td-BN": ("spiking_resnet50_tdbn", False),
    **{f"FSNN-{depth} (DST)": (f"fsnn{depth}", True) for depth in (18, 34, 50, 101)},
    "SEW ResNet-18 (ADD)": ("sew_resnet18", False),
    "SEW ResNet-101 (ADD)": ("sew_resnet101", False),
    **{f"DSNN-{depth}": (f"dsnn{depth}", True) for depth in (18, 34, 50, 101)},
}


@pytest.mark.slow
@pytest.mark.once
def test_twelve_networks_of_the_papers_table_2():
    text = resources.files("syops.dst.paper").joinpath("table2.csv").read_text("utf-8")
    printed = {row["network"]: row for row in csv.DictReader(text.splitlines())}
    reports = {}
    for network, (name, fold_bn) in NETWORKS.items():
        with torch.device("meta"):
            model = create_model(name)
        reports[network] = get_model_bounds(
            model, (1, 3, 224, 224), fold_bn=fold_bn, input_signal="analog"
        )
    table = compare(reports).table(units="G,mJ")
    assert len(table.rows) == 12
    assert [column.heading for column in table.columns[:7]] == [
        *("network", "type", "T", "EC", "O_ac", "O_mac", "DC")
    ]
    for name, network_type, steps, ec, ac, mac, dc, _ in table.rows:
        expected = printed[name]
        assert (network_type, steps) == (expected["method"], int(expected["T"]))
        assert mac / 1e9 == pytest.approx(float(expected["o_mac_g"]), abs=0.006)
        assert ec[0] == pytest.approx(float(expected["ec_min_mj"]), abs=0.06)
        assert ec[0] < float(expected["dc_mj"]) < ec[1]
        assert (ac, dc) == (None, None)
    assert any("BatchNorms" in text for text in table.warnings)
