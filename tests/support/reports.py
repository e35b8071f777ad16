"""A report made by hand, with what is hard to print in it: nothing here was counted."""

from dataclasses import replace
from fractions import Fraction

from syops.cost.conventions import get_convention
from syops.cost.energy import EnergyModel
from syops.ledger.rows import Drive, Row
from syops.ops.classes import ValueEvidence
from syops.report.comparison import compare
from syops.report.report import Report

BINARY = ValueEvidence(derived=frozenset({("", 0), ("", 1)}))
GRADED = ValueEvidence(derived=frozenset({("", 0), ("", 1), ("", 2)}))


def spiking(path, dense, rate, events=0, kind="conv", evidence=BINARY, **more):
    """A row with spikes at ``rate``, out of a thousand entries."""
    rate = Fraction(rate).limit_denominator(1000)
    drive = Drive(evidence, 1000, int(1000 * rate), dense * rate, events)
    return Row(path, kind, kind, calls=1, dense=dense, drives=(drive,), **more)


def analog(path, dense, kind="conv", **more):
    return Row(path, kind, kind, calls=1, dense=dense, **more)


LONG = "module.backbone.stages.3.blocks.1.self_attention.output_projection"

FIXED = Report(
    model="Net_1 <50% & more>",
    rows=(
        analog("stem_#1", 2_000_000_000, params=9_408),
        Row("stem_bn", "norm", "batch_norm", dense=600, folded="stem_#1"),
        Row("sn", "neuron", "IFNode", dense=3_000, mac=3_000),
        spiking("layer1.0.conv1", 40_000_000_000, 0.25, events=9_000_000_000, params=36_864),
        spiking("layer1.0.µ_~^$|*", 12_000_000_000, 0, params=100),
        spiking(LONG, 20_000_000_000, 0.123, events=2_400_000_000, kind="matmul"),
        spiking("layer2.0.conv1", 300_000_000, 0.5, evidence=GRADED, params=73_728),
        Row("layer2.0", "add", "add", dense=5_000, ac=5_000),
        analog("head\\{fc}", 200_000, "linear", params=40, note='says "so", and more'),
    ),
    samples=2,
    energy=EnergyModel("mine", e_ac_pj=0.9, e_mac_pj=4.6),
    time_steps=4,
    params=1_234_567,
    input_shape=(2, 3, 8, 8),
    unaccounted={"aten.foo at layer1.0": 3},
    notes=("mind the_gap",),
)
"""Per sample: 5 G + 0 + 1.23 G AC, and 1 G + 150 M + 100 k MAC; DC 5.607 + 5.29046 mJ."""

# 30 M MAC of the ANN, and 10 M MAC with 40 M spikes out of 100 M: 46 and 36 nJ at 4.6 and 0.9 pJ.
SMALL = Report(
    model="small",
    rows=(
        analog("stem", 10_000_000, params=7),
        spiking("layer1.0.conv1", 100_000_000, 0.4, events=39_000_000),
        spiking("layer1.0.extra_%", 0, 0.1),
    ),
    samples=1,
    energy=FIXED.energy,
    time_steps=4,
    params=7_000,
    input_shape=(1, 3, 8, 8),
    ann_rows=(analog("all", 30_000_000, "linear"),),
    convention=get_convention("dst").but(norms="counted"),
    accuracy=0.70125,
)
BLIND = replace(SMALL, model="blind", measured=False, accuracy=None)
ANN = replace(BLIND, model="relu", rows=SMALL.ann_rows, time_steps=1)
MIXED = compare(
    {
        FIXED.model: replace(FIXED, input_shape=(1, 3, 8, 8)),
        "small": SMALL,
        "blind_%": BLIND,
        "relu": ANN,
    }
)
