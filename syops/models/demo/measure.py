"""Measure one row of a small Table 2: a trained network's accuracy, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from syops.api import get_model_syops


class Row(NamedTuple):
    """A network on a test set.

    Attributes:
        name: of the network.
        accuracy: share of right answers; with an AAP, of the accumulated stream.
        time_steps: T.
        ec_mj: least and largest energy of a sample over all firing rates, Eq. (15).
        ac, mac: O_ac and O_mac of a sample.
        dc_mj: energy of a sample at the firing rates found, Eq. (7).
    """

    name: str
    accuracy: float
    time_steps: int
    ec_mj: tuple[float, float]
    ac: float
    mac: float
    dc_mj: float


def measure(
    name: str,
    model: nn.Module,
    batches: Sequence[tuple[Tensor, Tensor]],
    *,
    events: bool = False,
) -> Row:
    """Let ``model`` answer ``batches``, and count the same batches.

    Args:
        name: of the network, in the row.
        model: a bundled network; `get_model_syops` leaves it as it was.
        batches: images [N, C, H, W], or with ``events`` frames [T, N, C, H, W], and labels [N].
        events: the inputs bring their own T.
    """
    right = samples = 0
    model.eval()
    with torch.no_grad():
        for x, y in batches:
            outputs = model(x)
            logits = outputs if isinstance(outputs, Tensor) else outputs.accumulated
            right += int((logits.argmax(1) == y).sum())
            samples += len(y)
    inputs = [x for x, _ in batches]
    T = len(inputs[0]) if events else int(model.T)  # type: ignore[arg-type]
    report = get_model_syops(
        model, inputs, batch_dim=1 if events else 0, time_steps=T, progress=False
    )
    return Row(name, right / samples, T, report.ec_mj, report.ac, report.mac, report.dc_mj)
