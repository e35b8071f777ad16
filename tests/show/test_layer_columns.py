"""Every column of the layer table, of a layer and of a block of layers."""

from dataclasses import fields, replace

import pytest

from syops.cost.energy import EnergyModel
from syops.cost.layer import Layer, block_of
from syops.errors import SyopsValueError
from syops.show.layers import COLUMNS, LAYER_COLUMNS, blocks, values_of
from tests.support.reports import FIXED

ONE = Layer(
    name="block.conv",
    path="block.conv",
    kind="conv",
    operator="conv2d",
    signal="binary",
    calls=4,
    params=30,
    rate=0.25,
    dense=100.0,
    ac=25.0,
    ac_events=21.0,
    mac=8.0,
    dc_mj=0.5,
    share=0.125,
    dense_ac=100.0,
    ec_mj=(0.125, 2.0),
    folded=None,
    counted=True,
    note="says something",
    unpriced=1.0,
)
TWO = Layer(
    name="block.fc",
    path="block.fc",
    kind="linear",
    operator="linear",
    signal="graded",
    calls=2,
    params=5,
    rate=0.5,
    dense=300.0,
    ac=150.0,
    ac_events=64.0,
    mac=16.0,
    dc_mj=0.25,
    share=0.5,
    dense_ac=200.0,
    ec_mj=(0.25, 4.0),
    folded="block.conv",
    counted=True,
    note="says more",
    unpriced=2.0,
)
BOTH = {
    "name": "block",
    "kind": "mixed",
    "operator": "mixed",
    "signal": "mixed",
    "calls": 6,
    "params": 35,
    "rate": (0.25 * 100 + 0.5 * 300) / 400,
    "dense": 400.0,
    "ac": 175.0,
    "ac_events": 85.0,
    "mac": 24.0,
    "dc_mj": 0.75,
    "share": 0.625,
    "dense_ac": 300.0,
    "ec_min_mj": 0.375,
    "ec_max_mj": 6.0,
    "folded": None,
    "counted": True,
    "note": "says something; says more",
}
KEYS = [column.key for column in COLUMNS]


def told(layer):
    return dict(zip(KEYS, values_of(layer), strict=True))


@pytest.mark.parametrize("key", KEYS)
def test_column_of_a_block_of_two(key):
    (block,) = blocks([ONE, TWO], depth=1)
    assert told(block)[key] == BOTH[key]
    if isinstance(BOTH[key], float | int) and key != "counted":
        assert BOTH[key] not in (told(ONE)[key], told(TWO)[key])  # neither is taken for the sum


@pytest.mark.parametrize("layer", [ONE, TWO])
def test_block_of_one_layer_is_the_layer(layer):
    assert block_of(layer.name, layer.path, [layer]) == layer
    assert told(block_of("block", "block", [layer])) == {**told(layer), "name": "block"}


def test_block_leaves_out_what_is_not_known():
    (block,) = blocks([replace(ONE, rate=None, ac=None, dc_mj=None), TWO], depth=1)
    assert (block.rate, block.ac, block.dc_mj) == (TWO.rate, TWO.ac, TWO.dc_mj)
    unknown = [replace(each, rate=None, ac=None, dc_mj=None) for each in (ONE, TWO)]
    (block,) = blocks(unknown, depth=1)
    assert (block.rate, block.ac, block.dc_mj) == (None, None, None)


def test_block_of_layers_that_are_alike():
    (block,) = blocks([ONE, replace(TWO, kind="conv", operator="", note=ONE.note)], depth=1)
    assert (block.kind, block.operator, block.note) == ("conv", "conv2d", ONE.note)


def test_energy_of_a_block_without_a_price():
    free = {"unpriced": 3.0, "ec_mj": (0.0, 0.0)}
    (block,) = blocks([replace(ONE, **free), replace(TWO, **free)], depth=1)
    assert block.unpriced == 6
    assert (told(block)["ec_min_mj"], told(block)["ec_max_mj"]) == (None, None)
    (block,) = blocks([replace(ONE, **free), TWO], depth=1)
    assert told(block)["ec_max_mj"] == 4


def test_each_field_of_a_layer_is_in_the_table():
    not_shown = {"path", "ec_mj", "unpriced", "rates"}  # ec_mj has a column for each end
    assert {each.name for each in fields(Layer)} == {*KEYS} - {"ec_min_mj", "ec_max_mj"} | not_shown


@pytest.mark.parametrize("measured", [True, False])
def test_total_is_that_of_the_blocks(measured):
    """What has a total has that of the layers added up, whatever the depth."""
    report = replace(FIXED, measured=measured, params=sum(row.params for row in FIXED.rows))
    inside = [layer for layer in report.layers if layer.counted and layer.folded is None]
    whole = block_of("", "", inside)
    totals = {each.column.key: each.total(report) for each in LAYER_COLUMNS}
    summed = {*KEYS} - {"name", "rate"}
    for key in summed:
        if totals[key] != "":
            assert totals[key] == pytest.approx(told(whole)[key]), key


def test_block_is_not_made_of_nothing():
    assert blocks([], depth=1) == ()
    with pytest.raises(SyopsValueError, match="depth must be at least 1"):
        blocks([ONE], depth=0)


def test_block_of_a_report():
    """Per sample 20 G synapses at rate 0.25 and 6 G at rate 0, at 1 pJ for each AC."""
    report = replace(FIXED, energy=EnergyModel("mine", 1, 10))
    (row,) = [row for row in report.table(depth=1, columns="all").rows if row[0] == "layer1"]
    table = dict(zip(KEYS, row, strict=True))
    assert (table["ac"], table["dc_mj"], table["ec_max_mj"]) == (5e9, 5.0, 26.0)
    assert (table["calls"], table["params"]) == (2, 36_964)
    assert table["rate"] == 0.25 * 20 / 26
