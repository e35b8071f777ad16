"""Measure one row of a small Table 2: a trained network's accuracy, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from syops.api import get_model_syops


class MeasuredNetwork(NamedTuple):
    """A network on a test set.

    Attributes:
        name: of the network.
        accuracy: share of right answers; with an AAP, of the accumulated stream. None where logits
            are NaN.
        time_steps: T.
        ec_mj: least and largest energy of a sample over all firing rates, Eq. (15).
        ac, mac: O_ac and O_mac of a sample.
        dc_mj: energy of a sample at the firing rates found, Eq. (7).
        energy_ratio: E(SNN)/E(ANN), Eq. (6); of a network without time-steps None.
    """

    name: str
    accuracy: float | None
    time_steps: int
    ec_mj: tuple[float, float]
    ac: float
    mac: float
    dc_mj: float
    energy_ratio: float | None


def measure(
    name: str,
    model: nn.Module,
    batches: Sequence[tuple[Tensor, Tensor]],
    *,
    events: bool = False,
) -> MeasuredNetwork:
    """Let ``model`` answer ``batches``, and count while it does.

    Args:
        name: of the network, in the row.
        model: a bundled network; `get_model_syops` leaves it as it was.
        batches: images [N, C, H, W], or with ``events`` frames [T, N, C, H, W], and labels [N].
        events: the inputs bring their own T.
    """
    T = len(batches[0][0]) if events else int(model.T)  # type: ignore[arg-type]
    report = get_model_syops(
        model, batches, batch_dim=1 if events else 0, time_steps=T, output=_answer, progress=False
    )
    return MeasuredNetwork(
        name, report.accuracy, T, report.ec_mj, report.ac, report.mac, report.dc_mj,
        report.energy_ratio,
    )  # fmt: skip


def _answer(output: Any) -> Tensor:
    """Return the logits that answer: of both streams the accumulated one's."""
    logits: Tensor = output if isinstance(output, Tensor) else output.accumulated
    return logits
