"""Reports made by hand, small enough to add up in the head and large enough to crowd a picture."""

from dataclasses import replace

from syops.cost.energy import EnergyModel
from syops.ledger.rows import Row
from syops.report.report import Report
from tests.support.reports import analog, spiking

NET = Report(
    model="Net",
    rows=(
        analog("stem", 2_000_000, params=10),
        Row("stem_bn", "norm", "batch_norm", dense=600, folded="stem"),
        Row("spike", "neuron", "IFNode", dense=3_000, mac=3_000),
        spiking("block.a.conv", 40_000_000, 0.25, events=9_000_000, params=20),
        spiking("block.b.conv", 20_000_000, 0.1, events=1_900_000, params=30),
        Row("block.b", "add", "add", dense=5_000, ac=5_000),
        analog("block.b.proj", 200_000, "linear", params=40),
    ),
    samples=2,
    energy=EnergyModel("mine", 1, 10, technology="paper", source="J. Doe, Costs, 2020"),
    time_steps=4,
    params=1_234_567,
    input_shape=(2, 3, 8, 8),
    ann_rows=(analog("", 7_000_000, "linear"),),
    conventions={"batch_dim": 0},
    versions={"syops": "0.1.0", "torch": "2.13.0"},
    notes=("mind the gap",),
)
"""Per sample 10, 5, 1 and 1 µJ, of at most 10, 20, 10 and 1; DC 17 µJ in EC 11 to 41, ANN 35 µJ.

Spike-driven are 5 + 1 of 20 + 10 M ACs: a mean rate of 0.2.
"""

BOUNDS = replace(NET, measured=False)

RUDE = "<img src=x onerror=alert(1)>"
ESCAPING = "</script><script>alert(2)</script>"


def deep(layers, blocks=4, name="conv"):
    """A report of so many layers in so many blocks of layers."""
    each = max(1, layers // 3)
    paths = [f"stage{i // each}.{i % each // blocks}.{name}{i}" for i in range(layers)]
    rows = [spiking(path, 1_000_000 * (1 + i % 7), 0.2) for i, path in enumerate(paths)]
    rows[0] = analog(paths[0], 1_000_000)
    return replace(NET, model="Deep", rows=tuple(rows), ann_rows=None)
