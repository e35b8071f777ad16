"""Reproduce Tables 2 to 4 of the paper.

The paper is *Training Full Spike Neural Networks via Auxiliary Accumulation Pathway*. The values
that it prints are in the CSV files beside this one. O_mac and the interval EC of Eq. (15) depend on
the architecture alone; they are counted here on ``meta``, without data, weights or arithmetic.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

import torch

from syops.api import get_model_bounds
from syops.cost.profiles import get_energy_model
from syops.models import create_model

ENERGY = "horowitz45-fp32"
GIGA = 1e9
EVENTS = (2, 128, 128)


@dataclass(frozen=True)
class Workload:
    """A bundled network as the paper counts it.

    Attributes:
        model: name of a bundled network.
        shape: of one sample, without time-steps.
        fold_bn: False where the paper counts a BatchNorm as 2 MACs per element.
        keywords: of the network, such as T.
        events: whether the input has time-steps, [T, N, ...].
    """

    model: str
    shape: tuple[int, ...]
    fold_bn: bool
    keywords: Mapping[str, Any] = field(default_factory=dict)
    events: bool = False


@dataclass(frozen=True)
class Line:
    """One network of a table: what is printed, and what its architecture says.

    Operations are in G per sample, energies in mJ; None where the paper prints nothing.

    Attributes:
        network: as the paper calls it, with what tells it from others.
        source: whose network it is.
        T: time-steps.
        workload: the bundled network.
        printed_o_ac, printed_o_mac, printed_ec, printed_dc: the paper's figures.
        o_mac, dense_ac: ours; the latter is O_ac at firing rate 1.
    """

    network: str
    source: str
    T: int
    workload: Workload
    printed_o_ac: float | None
    printed_o_mac: float | None
    printed_ec: tuple[float, float] | None
    printed_dc: float | None
    o_mac: float
    dense_ac: float

    @property
    def bn(self) -> str:
        """How the paper treats BatchNorms in this line."""
        return "folded" if self.workload.fold_bn else "counted"

    @property
    def ec(self) -> tuple[float, float]:
        """EC in mJ: the energy at firing rates 0 and 1, Eq. (15)."""
        energy, macs = get_energy_model(ENERGY), self.o_mac
        return energy.energy_pj(0, macs), energy.energy_pj(self.dense_ac, macs)

    @property
    def dc_inside(self) -> bool | None:
        """Whether the DC that the paper prints is possible, its rounding allowed for."""
        if self.printed_dc is None:
            return None
        low, high = self.ec
        return low - 0.005 <= self.printed_dc <= high + 0.005

    @property
    def implied_rate(self) -> float | None:
        """The mean firing rate that the printed O_ac implies: O_ac / dense."""
        return None if self.printed_o_ac is None else self.printed_o_ac / self.dense_ac


def table2() -> tuple[Line, ...]:
    """Return the 19 networks of Table 2, for 224x224 images."""
    return tuple(
        _line(row, row["network"], _on_imagenet(row["network"], int(row["T"])))
        for row in _printed("table2.csv")
    )


def table3() -> tuple[Line, ...]:
    """Return the 7B-Nets of Table 3, for 128x128 event frames.

    Not those of Zheng et al. (td-BN): they are of another topology, and no DC is printed.
    """
    lines = []
    for row in _printed("table3.csv"):
        family = "sew" if row["network"] == "SEW" else "fsnn"
        wide = "wide" * (row["dataset"] == "CIFAR10-DVS")
        keywords = {"g": row["g"], "T": int(row["T"])}
        workload = Workload(f"{family}_{wide}7b", EVENTS, family == "fsnn", keywords, events=True)
        lines.append(_line(row, f"{row['network']}, {row['g']}, {row['dataset']}", workload))
    return tuple(lines)


def table4() -> tuple[Line, ...]:
    """Return the Spikformers of Table 4, for the 32x32 images and 100 classes of CIFAR100."""
    lines = []
    for row in _printed("table4.csv"):
        keywords = {
            "num_classes": 100,
            "g": "ADD" if "ADD" in row["network"] else "IAND",
            "aap": "DST" in row["network"],
        }
        workload = Workload("spikformer_4_384", (3, 32, 32), True, keywords)
        lines.append(_line(row, row["network"], workload))
    return tuple(lines)


def paired_sew(line: Line, lines: tuple[Line, ...]) -> Line:
    """Return the SEW ResNet of the same depth as an FSNN or DSNN."""
    depth = line.workload.model.lstrip("dfsn")
    return next(other for other in lines if other.workload.model == f"sew_resnet{depth}")


def _on_imagenet(network: str, T: int) -> Workload:
    depth = re.search(r"-(\d+)", network)
    assert depth is not None
    names = {
        "PreAct": "preact_resnet18",
        "Spiking": f"spiking_resnet{depth[1]}" + "_tdbn" * (T == 6),
        "SEW": f"sew_resnet{depth[1]}",
        "FSNN": f"fsnn{depth[1]}",
        "DSNN": f"dsnn{depth[1]}",
    }
    family = re.match(r"\w+", network)
    assert family is not None
    own = family[0] in ("FSNN", "DSNN")  # the paper's, whose BatchNorms it folds
    return Workload(names[family[0]], (3, 224, 224), own, {"T": T})


def _line(row: Mapping[str, str], network: str, workload: Workload) -> Line:
    def number(column: str) -> float | None:
        return float(row[column]) if row.get(column) else None

    low, high = number("ec_min_mj"), number("ec_max_mj")
    mac, dense_ac = _counted(
        workload.model,
        workload.shape,
        workload.fold_bn,
        tuple(workload.keywords.items()),
        workload.events,
    )
    return Line(
        network,
        row["source"],
        int(row["T"]),
        workload,
        number("o_ac_g"),
        number("o_mac_g"),
        None if low is None or high is None else (low, high),
        number("dc_mj"),
        mac / GIGA,
        dense_ac / GIGA,
    )


@cache
def _counted(
    name: str,
    shape: tuple[int, ...],
    fold_bn: bool,
    keywords: tuple[tuple[str, Any], ...],
    events: bool,
) -> tuple[int, int]:
    """Return O_mac and the dense count of the ACs, of one sample."""
    with torch.device("meta"):
        network = create_model(name, **dict(keywords))
    whole = (dict(keywords)["T"], 1, *shape) if events else (1, *shape)
    report = get_model_bounds(
        network,
        whole,
        batch_dim=int(events),
        fold_bn=fold_bn,
        input_signal="analog",  # event frames, too: MACs in the paper
    )
    return report.totals.mac, int(report.totals.dense_ac)


def _printed(name: str) -> list[dict[str, str]]:
    text = resources.files(__name__).joinpath(name).read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))
