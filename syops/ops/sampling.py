"""Weighted sums that no weight matrix shows: interpolation, distances, bags of embeddings.

Coefficients of an interpolation are in the role of weights: each tap of each element of the
result is one operation, also where the coefficient is 0 or taps meet at the border.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import cache

import torch

from syops.ops.fanout import FanOut
from syops.ops.rule import Call, Cost, CostRule, Operand, Product, Rule, analog, canonical
from syops.ops.values import LEARNED, constant

LINEAR, CUBIC = (0, 1), (-1, 0, 1, 2)
"""The taps along one dimension, counted from the position that lies before the point."""


def linear_cost(call: Call) -> Sequence[Cost]:
    """2, 4 or 8 operations per element of the result, in 1, 2 or 3 dimensions."""
    return _interpolated(call, LINEAR)


def cubic_cost(call: Call) -> Sequence[Cost]:
    """16 operations per element of the result."""
    return _interpolated(call, CUBIC)


def _interpolated(call: Call, taps: tuple[int, ...]) -> Sequence[Cost]:
    x, out = call.args[0], call.out
    rank = x.dim() - 2
    aligned = call.arg("align_corners", None)
    scales = [call.arg(f"scales_{axis}", None) for axis in "dhw"[3 - rank :]]
    if rank == 1:
        scales = [call.arg("scales", None)]
    sizes = zip(x.shape[2:], out.shape[2:], scales, strict=True)
    reached = tuple(taps_reached(n, m, taps, aligned, scale) for n, m, scale in sizes)
    dense = out.numel() * len(taps) ** rank
    operands = (Operand(x, FanOut(1, reached)),)
    return (Product("conv", canonical(call.func), dense, operands, written=out.numel()),)


@cache
def taps_reached(
    size: int, out: int, taps: tuple[int, ...], aligned: bool, scale: float | None
) -> tuple[int, ...]:
    """Return how many taps of all results read each position along one dimension.

    Args:
        size: positions of the input.
        out: positions of the result.
        taps: `LINEAR` or `CUBIC`.
        aligned: ``align_corners``.
        scale: the factor that was given; None where the sizes tell it.
    """
    if aligned:
        step = (size - 1) / (out - 1) if out > 1 else 0.0
    else:
        step = 1 / scale if scale else size / out
    counts: Counter[int] = Counter()
    for i in range(out):
        point = i * step if aligned else (i + 0.5) * step - 0.5
        before = math.floor(max(0.0, point) if taps == LINEAR else point)
        counts.update(min(max(before + tap, 0), size - 1) for tap in taps)
    return tuple(counts[i] for i in range(size))


def sampling_cost(call: Call) -> Sequence[Cost]:
    """4 MACs per element of the result, 8 in 3 dimensions; bicubic: 16; nearest: 0."""
    grid, mode = call.args[1:3]
    if mode == 1:
        return ()
    taps = 16 if mode == 2 else 2 ** grid.shape[-1]
    out = call.out.numel()
    return (Product("conv", canonical(call.func), out * taps, (), written=out),)


def affine_grid_cost(call: Call) -> Sequence[Cost]:
    """N·positions·dimensions·(dimensions + 1)."""
    theta, out = call.args[0], call.out
    positions = math.prod(out.shape[1:-1])
    operands = (Operand(theta, FanOut(positions)),)
    dense = out.numel() * theta.shape[-1]
    return (Product("matmul", "affine_grid", dense, operands, written=out.numel()),)


def distance_cost(call: Call) -> Sequence[Cost]:
    """P·R·M MACs, for P points, R other points and M coordinates: differences are multiplied."""
    return _distances(call, "cdist")


def own_distance_cost(call: Call) -> Sequence[Cost]:
    """P·(P-1)/2·M MACs, for P points and M coordinates: differences are multiplied."""
    return _distances(call, "pdist")


def _distances(call: Call, operator: str) -> Sequence[Cost]:
    x, others = call.tensors[0], call.tensors[-1]
    out = call.out.numel()
    weights = next((t for t in (others, x) if call.signal(t) is LEARNED), None)
    return (
        Product(
            "matmul" if weights is None else "linear",
            operator,
            out * x.shape[-1],
            (),
            weight="" if weights is None else call.name(weights),
            applied=others if weights is None else weights,
            written=out,
        ),
    )


def bag_cost(call: Call) -> Sequence[Cost]:
    """1 AC per value that is looked up and added; with weights 1 MAC; for the maximum 0."""
    table, indices = call.args[:2]
    if call.arg("mode", None) == 2:
        return ()
    scales, padding = call.arg("per_sample_weights", None), call.arg("padding_idx", None)
    reached = FanOut(table.shape[1])
    if scales is not None:
        operand = Operand(scales, reached)
    elif padding is not None and padding >= 0:
        used = (indices != padding).to(table.dtype)
        operand = Operand(used, reached, signal=call.atoms.fresh((0, 1)))
    else:
        used = torch.ones_like(indices, dtype=table.dtype)
        operand = Operand(used, reached, signal=constant(1))
    learned = call.signal(table) is LEARNED
    return (
        Product(
            "linear" if learned else "matmul",
            "embedding_bag",
            indices.numel() * table.shape[1],
            (operand,),
            weight=call.name(table) if learned else "",
            applied=table,
            written=tuple(call.out)[0].numel(),
        ),
    )


def _rule(cost: CostRule) -> Rule:
    return Rule(analog, cost, counted=True)


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        ("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d"), _rule(linear_cost)
    ),
    "upsample_bicubic2d": _rule(cubic_cost),
    **dict.fromkeys(("grid_sampler_2d", "grid_sampler_3d"), _rule(sampling_cost)),
    "affine_grid_generator": _rule(affine_grid_cost),
    **dict.fromkeys(("_cdist_forward", "_euclidean_dist"), _rule(distance_cost)),
    "_pdist_forward": _rule(own_distance_cost),
    **dict.fromkeys(("_embedding_bag", "_embedding_bag_forward_only"), _rule(bag_cost)),
}
