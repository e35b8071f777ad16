"""What `syops table2` prints is what the paper prints, within its rounding, or said why not."""

from __future__ import annotations

import csv
import json
import re
from importlib import resources

import pytest
import torch

from syops import create_model, get_model_bounds, get_model_syops
from syops.dst.paper import PaperRow, equal_as_printed, paired_sew, table2, table3, table4
from tests import ROOT
from tests.support.networks import SMALLEST, TINY, bundled, frame

approx = pytest.approx
E_MAC, E_AC = 4.6, 0.9  # pJ; with counts in G they give mJ


def lines(*families: str) -> dict[str, PaperRow]:
    """The networks of Table 2, or those of some families, by name and source."""
    return {
        f"{line.network} of {line.source}": line
        for line in table2()
        if line.workload.model.startswith(families or "")
    }


@pytest.mark.slow
def test_table_2_has_its_19_networks():
    assert len(lines()) == 19
    assert {line.T for line in lines().values()} == {4, 6, 50, 250, 256}


def test_o_mac_is_the_printed_one():
    found = {name: line for name, line in lines().items() if line.printed_o_mac is not None}
    assert len(found) == 16
    printed = {name: line.printed_o_mac for name, line in found.items()}
    assert {name: line.o_mac for name, line in found.items()} == approx(printed, abs=0.006)


def test_the_lower_end_of_ec_is_the_printed_one():
    for name, line in lines().items():
        low, _ = line.ec
        assert low == approx(E_MAC * line.o_mac, rel=1e-12), name
        tolerance = {4: {"abs": 0.06}, 6: {"abs": 0.06}, 50: {"rel": 0.08}}
        assert low == approx(line.printed_ec[0], **tolerance.get(line.T, {"rel": 0.003})), name


def test_the_upper_end_of_ec_is_the_printed_one():
    found = lines("sew_resnet", "spiking_resnet", "preact")
    assert len(found) == 11
    for name, line in found.items():
        low, high = line.ec
        assert high - low == approx(E_AC * line.dense_ac, rel=1e-9), name
        assert high == approx(line.printed_ec[1], rel=0.003), name


def test_the_upper_end_printed_for_the_papers_own_networks_is_that_of_sew():
    found = lines("fsnn", "dsnn")
    assert len(found) == 8
    for name, line in found.items():
        sew = paired_sew(line, table2())
        low, high = line.ec
        assert low + E_AC * sew.dense_ac == approx(line.printed_ec[1], abs=0.035), name
        assert high > 1.25 * line.printed_ec[1], name
        assert 0 < line.implied_rate < 0.25, name


@pytest.mark.slow
def test_every_printed_dc_is_possible_but_one():
    lines = [*table2(), *table3(), *table4()]
    for reading in ("folded", "counted"):
        inside = [line.dc_inside(getattr(line, reading)) for line in lines]
        outside = [line for line, is_in in zip(lines, inside, strict=True) if is_in is False]
        assert [(line.network, line.data) for line in outside] == [("SEW, ADD", "DVS Gesture")]
        assert inside.count(None) == 3  # A2S


@pytest.mark.parametrize("name", ["fsnn18", "sew_resnet50"])
def test_both_readings_are_what_a_count_with_and_without_folding_gives(name):
    line = lines(name).popitem()[1]
    with torch.device("meta"):
        model = create_model(name, T=line.T)
    for fold_bn, reading in ((True, line.folded), (False, line.counted)):
        bounds = get_model_bounds(model, (1, 3, 224, 224), input_signal="analog", fold_bn=fold_bn)
        assert reading.o_mac == approx(bounds.mac / 1e9, rel=1e-12)
        assert reading.dense_ac == approx(bounds.dense_ac / 1e9, rel=1e-12)


def test_equal_at_printed_precision():
    # As worked out by hand from the O_mac of either reading, rounded to two decimals.
    found = {
        (line.network, line.source): [
            equal_as_printed(line.printed_o_mac, each.o_mac) for each in (line.folded, line.counted)
        ]
        for line in table2()
    }
    assert found["FSNN-18 (DST)", "this paper"] == [True, False]  # 0.1185, 0.1336; 0.12
    assert found["SEW ResNet-34 (ADD)", "Deng et al. 2022"] == [False, True]  # 6.438, 6.463; 6.46
    assert found["Spiking ResNet-34 td-BN", "Zheng et al. 2021"] == [False, False]  # 0.155; 0.15
    assert found["PreAct-ResNet-18", "Meng et al. 2022"] == [None, None]


def test_the_paper_prints_two_decimals():
    folder = resources.files("syops.dst.paper")
    for name in ("table2.csv", "table3.csv", "table4.csv"):
        for row in csv.DictReader(folder.joinpath(name).read_text("utf-8").splitlines()):
            for key, value in row.items():
                if value and key.endswith(("_mj", "_g")):
                    assert re.fullmatch(r"\d+\.\d\d", value), (name, key, value)


def test_macs_of_the_dual_streams_do_not_grow_with_depth():
    macs = {line.workload.model: line.o_mac for line in lines("fsnn", "dsnn").values()}
    for family in ("fsnn", "dsnn"):
        assert macs[f"{family}18"] == macs[f"{family}34"]
        assert macs[f"{family}50"] == macs[f"{family}101"]


@pytest.mark.parametrize("name", ["dsnn18", "sew_resnet50", "preact_resnet18", "spiking_resnet34"])
def test_a_trace_does_not_touch_the_model(name):
    model = create_model(name, T=2).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    random = torch.random.get_rng_state()
    get_model_bounds(model, (2, 3, 64, 64))
    assert torch.equal(random, torch.random.get_rng_state())
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def small(name: str) -> tuple[dict, tuple[int, ...], int]:
    """Keywords that make a network quick, the shape of an input, its batch dimension."""
    if "7b" in name:
        return {"T": 2}, (2, 1, 2, 128, 128), 1
    if name.startswith("spikformer_8"):
        return {"T": 2}, (1, 3, 64, 64), 0
    if name.startswith("spikformer"):
        return {"T": 2, "depth": 1}, (1, 3, 32, 32), 0
    return ({} if name.startswith("resnet") else {"T": 2}), (1, *frame(name)), 0


@pytest.mark.parametrize("name", bundled(quick=TINY, slow=SMALLEST))
def test_a_trace_finds_the_rows_of_a_counted_run(name):
    """Same rows, dense counts, classes and foldings, with no values at all."""
    keywords, shape, batch_dim = small(name)
    torch.manual_seed(0)
    model = create_model(name, **keywords)
    inputs = torch.rand(shape)

    def told(row):
        operations = row.operations("mac")
        return (*row.key, row.calls, row.params, row.dense, row.folded, operations.signal,
                operations.mac, operations.dense_ac)  # fmt: skip

    for fold_bn in (True, False):
        given = {"batch_dim": batch_dim, "fold_bn": fold_bn, "input_signal": "analog"}
        counted = get_model_syops(model, inputs, **given)
        traced = get_model_bounds(model, shape, **given)
        assert traced.unaccounted == counted.unaccounted == {}
        assert traced.samples == counted.samples
        assert [told(row) for row in traced.rows] == [told(row) for row in counted.rows]


def test_the_command_prints_all_rows(syops):
    def run(*args: str) -> str:
        status, out, err = syops("table2", *args)
        assert (status, err) == (0, "")
        return out

    plain, markdown, latex = run(), run("--format", "markdown"), run("--format", "latex")
    assert plain.startswith("G. Chen, P. Peng, G. Li, Y. Tian, Training Full Spike")
    assert max(map(len, plain.splitlines())) <= 80
    for line in (*table2(), *table3(), *table4()):
        assert line.network in plain
        assert f"| {line.network}" in markdown
        assert f"\n{line.network} & " in latex
    table = plain[: plain.index("EC min")].splitlines()
    rows = [line.split("  ") for line in table if line.startswith(("Spiking", "SEW"))]
    assert len({tuple(row) for row in rows}) == len(rows)  # equal names are told apart
    dvs = plain[plain.index("Table 3, DVS") : plain.index("Table 3, CIFAR10")]
    assert dvs.count(" no\n") == 1
    page = (ROOT / "docs" / "paper.md").read_text("utf-8")
    for row in re.findall(r"^\|.*\|$", markdown, re.MULTILINE):
        assert row in page, row


def test_the_command_gives_data(syops, tmp_path):
    """A row for each of the 33 networks and two readings, the same in CSV and JSON, as printed."""
    path = tmp_path / "tables.csv"
    assert syops("table2", "--format", "csv", "-o", path) == (0, "", "")
    rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    found = json.loads(syops("table2", "--format", "json")[1])
    assert len(rows) == len(found) == 2 * (19 + 11 + 3)
    assert list(rows[0]) == list(found[0])
    by_name = {(row["name"], row["bn"]): row for row in found}
    sew = by_name["SEW ResNet-18 (ADD)", "counted"]
    assert (sew["printed_mac"], sew["printed_ec_max_mj"]) == (2_750_000_000, 16.4)
    assert (sew["mac_equal"], sew["ec_max_equal"], sew["dc_inside"]) == (True, False, True)
    assert sew["mac"] - by_name["SEW ResNet-18 (ADD)", "folded"]["mac"] == approx(0.0151e9, abs=1e5)
