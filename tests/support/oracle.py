"""The truth that counts are tested against: every synapse of a small network, one at a time.

Plain loops over plain arrays, slow and obvious, sharing no code with the package. A padded
position is a synapse without an input: it counts in the dense count and never in the events.
(Reflected, replicated and circular padding puts real values there: they do count.)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import nn

NUMPY_PADDING = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@dataclass(frozen=True)
class Count:
    """One synaptic operation.

    ``dense``: its synapses; ``events``: those that a spike arrives at; ``rate``: the share of
    non-zero inputs, before any padding (for two spike operands: the product of both shares).
    """

    dense: int
    events: int
    rate: Fraction

    @property
    def ac(self) -> Fraction:
        return self.rate * self.dense


def activity(values: Any, magnitude: bool = False) -> np.ndarray:
    """What each input value costs at one synapse: 1 for a spike, or with ``magnitude`` |value|."""
    values = np.asarray(values, dtype=np.float64)
    amount = np.abs(values) if magnitude else (values != 0)
    return amount.astype(np.int64)


def rate(active: np.ndarray) -> Fraction:
    return Fraction(sum(active.ravel().tolist()), max(1, active.size))


def convolution(
    active: np.ndarray,
    out_channels: int,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
    groups: int = 1,
    padding_mode: str = "zeros",
) -> Count:
    """``active`` [N, C_in, *spatial]; ``padding`` (before, after) for each spatial dimension."""
    rate_before_padding = rate(active)
    if padding_mode != "zeros":
        mode: Any = NUMPY_PADDING[padding_mode]
        active = np.pad(active, ((0, 0), (0, 0), *padding), mode=mode)
        padding = ((0, 0),) * len(padding)
    batch, in_channels, *size = active.shape
    out = [
        (size[d] + sum(padding[d]) - dilation[d] * (kernel[d] - 1) - 1) // stride[d] + 1
        for d in range(len(size))
    ]
    dense = events = 0
    for n, c_out, c_in in product(range(batch), range(out_channels), range(in_channels)):
        if c_out * groups // out_channels != c_in * groups // in_channels:
            continue
        image = active[n, c_in]
        for o in product(*map(range, out)):
            for k in product(*map(range, kernel)):
                at = tuple(
                    o[d] * stride[d] - padding[d][0] + k[d] * dilation[d] for d in range(len(size))
                )
                dense += 1
                if all(0 <= at[d] < size[d] for d in range(len(size))):
                    events += int(image[at])
    return Count(dense, events, rate_before_padding)


def transposed_convolution(
    active: np.ndarray,
    out_channels: int,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    output_padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int = 1,
) -> Count:
    """``active`` [N, C_in, *spatial]; a synapse that ends in the cropped border has no output."""
    batch, in_channels, *size = active.shape
    out = [
        (size[d] - 1) * stride[d]
        - 2 * padding[d]
        + dilation[d] * (kernel[d] - 1)
        + output_padding[d]
        + 1
        for d in range(len(size))
    ]
    dense = events = 0
    for n, c_in, c_out in product(range(batch), range(in_channels), range(out_channels)):
        if c_out * groups // out_channels != c_in * groups // in_channels:
            continue
        image = active[n, c_in]
        for i in product(*map(range, size)):
            for k in product(*map(range, kernel)):
                to = tuple(
                    i[d] * stride[d] - padding[d] + k[d] * dilation[d] for d in range(len(size))
                )
                dense += 1
                if all(0 <= to[d] < out[d] for d in range(len(size))):
                    events += int(image[i])
    return Count(dense, events, rate(active))


def linear(active: np.ndarray, out_features: int) -> Count:
    """``active`` [..., in]."""
    dense = events = 0
    for value, _ in product(active.ravel().tolist(), range(out_features)):
        dense += 1
        events += value
    return Count(dense, events, rate(active))


def matmul(left: np.ndarray, right: np.ndarray) -> Count:
    """[..., m, k] @ [..., k, n]. A factor that is not a spike tensor: ones in its place."""
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    a = np.broadcast_to(left, batch + left.shape[-2:])
    b = np.broadcast_to(right, batch + right.shape[-2:])
    dense = events = 0
    for index in np.ndindex(*batch):
        for m, n, k in product(range(a.shape[-2]), range(b.shape[-1]), range(a.shape[-1])):
            dense += 1
            events += int(a[index][m, k]) * int(b[index][k, n])
    return Count(dense, events, rate(left) * rate(right))


@dataclass
class Totals:
    """What a whole network should come to. All that is not an AC is a MAC, at its dense count."""

    ac: Fraction = field(default_factory=Fraction)
    ac_events: int = 0
    mac: int = 0
    dense_ac: int = 0

    def add(self, count: Count, spikes: bool) -> None:
        if spikes:
            self.ac += count.ac
            self.ac_events += count.events
            self.dense_ac += count.dense
        else:
            self.mac += count.dense


def totals_of(report: Any) -> Totals:
    """The same four numbers, out of a report; the integers must be integers."""
    totals = report.totals
    assert isinstance(totals.ac, Fraction)
    for number in (totals.ac_events, totals.mac, totals.dense_ac):
        assert type(number) is int
    return Totals(totals.ac, totals.ac_events, totals.mac, totals.dense_ac)


SYNAPTIC_MODULES = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d,
    nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass
class Seen:
    """One call of one layer: its path in the model, the layer, what went in."""

    path: str
    layer: nn.Module
    input: torch.Tensor

    def count(self, magnitude: bool = False) -> Count:
        return count_of(self.layer, activity(self.input.double().numpy(), magnitude))


def calls(model: nn.Module, run: Any) -> list[Seen]:
    """Every call of a synaptic or BN layer of ``model`` while ``run()`` runs, in eval mode."""
    seen: list[Seen] = []
    handles = [
        layer.register_forward_pre_hook(
            lambda layer, args, path=path: seen.append(Seen(path, layer, args[0].clone()))
        )
        for path, layer in model.named_modules()
        if isinstance(layer, SYNAPTIC_MODULES + NORMS)
    ]
    was_training = model.training
    with torch.no_grad():
        model.eval()
        run()
        model.train(was_training)
    for handle in handles:
        handle.remove()
    return seen


def count_of(layer: nn.Module, active: np.ndarray) -> Count:
    """A layer of torch's, walked as its attributes say."""
    if isinstance(layer, nn.Linear):
        return linear(active, layer.out_features)
    assert isinstance(layer, SYNAPTIC_MODULES)
    shape = layer.out_channels, layer.kernel_size, layer.stride
    if layer.transposed:
        return transposed_convolution(
            active, *shape, layer.padding, layer.output_padding, layer.dilation, layer.groups
        )
    if layer.padding == "same":
        totals = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        padding = tuple((total // 2, total - total // 2) for total in totals)
    else:
        padding = getattr(layer, "pads", None) or tuple((p, p) for p in layer.padding)
    return convolution(active, *shape, padding, layer.dilation, layer.groups, layer.padding_mode)
