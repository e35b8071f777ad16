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
from syops.cost.conventions import get_convention
from syops.cost.profiles import get_energy_model
from syops.models import create_model
from syops.report.report import Report

ENERGY = "horowitz45-fp32"
GIGA = 1e9
CITATION = (
    "G. Chen, P. Peng, G. Li, Y. Tian, Training Full Spike Neural Networks via Auxiliary "
    "Accumulation Pathway, 2023, arXiv:2301.11929"
)
DECIMALS = 2
"""Of all figures that the paper prints."""
EVENTS = (2, 128, 128)


@dataclass(frozen=True)
class Workload:
    """A bundled network as the paper counts it.

    Attributes:
        model: name of a bundled network.
        shape: of one sample, without time-steps.
        fold_bn: False where the paper's figures count a BatchNorm as 2 MACs per element.
        keywords: of the network, such as T.
        events: whether the input has time-steps, [T, N, ...].
    """

    model: str
    shape: tuple[int, ...]
    fold_bn: bool
    keywords: Mapping[str, Any] = field(default_factory=dict)
    events: bool = False


@dataclass(frozen=True)
class Reading:
    """Hold what an architecture says where its BatchNorms are folded, or where they are counted.

    Attributes:
        o_mac, dense_ac: operations in G per sample; the latter is O_ac at firing rate 1.
    """

    o_mac: float
    dense_ac: float

    @property
    def ec(self) -> tuple[float, float]:
        """EC in mJ: the energy at firing rates 0 and 1, Eq. (15)."""
        energy, macs = get_energy_model(ENERGY), self.o_mac
        return energy.energy_pj(0, macs), energy.energy_pj(self.dense_ac, macs)


@dataclass(frozen=True)
class PaperRow:
    """One network of a table: what is printed, and what its architecture says.

    Operations are in G per sample, energies in mJ; None where the paper prints nothing.

    Attributes:
        network: as the paper calls it.
        source: whose network it is.
        T: time-steps.
        workload: the bundled network.
        printed_o_ac, printed_o_mac, printed_ec, printed_dc: the paper's figures.
        folded, counted: ours, with BatchNorms folded and with BatchNorms counted.
        data: what it is counted on, where a table has several.
    """

    network: str
    source: str
    T: int
    workload: Workload
    printed_o_ac: float | None
    printed_o_mac: float | None
    printed_ec: tuple[float, float] | None
    printed_dc: float | None
    folded: Reading
    counted: Reading
    data: str = ""

    @property
    def reading(self) -> Reading:
        """The reading that the paper's figures of this network follow."""
        return self.folded if self.workload.fold_bn else self.counted

    @property
    def o_mac(self) -> float:
        return self.reading.o_mac

    @property
    def dense_ac(self) -> float:
        return self.reading.dense_ac

    @property
    def ec(self) -> tuple[float, float]:
        return self.reading.ec

    def dc_inside(self, reading: Reading) -> bool | None:
        """Return whether the DC that the paper prints is possible, its rounding allowed for."""
        if self.printed_dc is None:
            return None
        low, high = reading.ec
        half = 0.5 * 10**-DECIMALS
        return low - half <= self.printed_dc <= high + half

    @property
    def implied_rate(self) -> float | None:
        """The mean firing rate that the printed O_ac implies: O_ac / dense."""
        return None if self.printed_o_ac is None else self.printed_o_ac / self.dense_ac


def equal_as_printed(printed: float | None, ours: float) -> bool | None:
    """Return whether our figure, rounded as the paper rounds, is the one that it prints.

    >>> equal_as_printed(0.12, 0.1185), equal_as_printed(0.15, 0.1554)
    (True, False)
    """
    return None if printed is None else f"{ours:.{DECIMALS}f}" == f"{printed:.{DECIMALS}f}"


def table2() -> tuple[PaperRow, ...]:
    """Return the 19 networks of Table 2, for 224x224 images."""
    return tuple(
        _line(row, row["network"].replace(" with ", " "), _on_imagenet(row))
        for row in _printed("table2.csv")
    )


def table3() -> tuple[PaperRow, ...]:
    """Return the 7B-Nets of Table 3, for 128x128 event frames.

    Not those of Zheng et al. (td-BN): they are of another topology, and no DC is printed.
    """
    lines = []
    for row in _printed("table3.csv"):
        family = "sew" if row["network"] == "SEW" else "fsnn"
        wide = "wide" * (row["dataset"] == "CIFAR10-DVS")
        keywords = {"g": row["g"], "T": int(row["T"])}
        workload = Workload(f"{family}_{wide}7b", EVENTS, family == "fsnn", keywords, events=True)
        lines.append(_line(row, f"{row['network']}, {row['g']}", workload))
    return tuple(lines)


def table4() -> tuple[PaperRow, ...]:
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


def paired_sew(line: PaperRow, lines: tuple[PaperRow, ...]) -> PaperRow:
    """Return the SEW ResNet of the same depth as an FSNN or DSNN."""
    depth = line.workload.model.lstrip("dfsn")
    return next(other for other in lines if other.workload.model == f"sew_resnet{depth}")


def _on_imagenet(row: Mapping[str, str]) -> Workload:
    network, T = row["network"], int(row["T"])
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


def _line(row: Mapping[str, str], network: str, workload: Workload) -> PaperRow:
    def number(column: str) -> float | None:
        return float(row[column]) if row.get(column) else None

    low, high = number("ec_min_mj"), number("ec_max_mj")
    folded, counted = _counted(
        workload.model, workload.shape, tuple(workload.keywords.items()), workload.events
    )
    return PaperRow(
        network,
        row["source"],
        int(row["T"]),
        workload,
        number("o_ac_g"),
        number("o_mac_g"),
        None if low is None or high is None else (low, high),
        number("dc_mj"),
        folded,
        counted,
        row.get("dataset", ""),
    )


@cache
def _counted(
    name: str, shape: tuple[int, ...], keywords: tuple[tuple[str, Any], ...], events: bool
) -> tuple[Reading, Reading]:
    """Return what one sample comes to with BatchNorms folded, and with BatchNorms counted."""
    with torch.device("meta"):
        network = create_model(name, **dict(keywords))
    whole = (dict(keywords)["T"], 1, *shape) if events else (1, *shape)
    report = get_model_bounds(
        network,
        whole,
        batch_dim=int(events),
        input_signal="analog",  # event frames, too: MACs in the paper
    )
    return _reading(report), _reading(report.under(get_convention("dst").but(norms="counted")))


def _reading(report: Report) -> Reading:
    return Reading(report.totals.mac / GIGA, int(report.totals.dense_ac) / GIGA)


def _printed(name: str) -> list[dict[str, str]]:
    text = resources.files(__name__).joinpath(name).read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))
