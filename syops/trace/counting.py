"""Count spikes and the synapses that they reach, exactly, on the tensor's own device.

No function here waits for the device: results are int64 tensors, read later.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from syops.ops.classes import Unit
from syops.ops.fanout import FanOut

EXACT_IN_FLOAT32 = 2**24
"""Integers up to here are exact in float32; a sum of 20,000,001 ones is not."""


@dataclass(frozen=True, slots=True)
class Magnitude:
    """Say what entries are weighted with: their magnitude in a unit.

    Attributes:
        unit: of the magnitudes.
        largest: of them, where that is known.
    """

    unit: Unit
    largest: int | None = None


Weighting = bool | Literal["derived"] | Magnitude
"""How entries are counted: each one, known to be 0 or 1; each that is not 0, of anything or of
values that were derived, so that there is no NaN; or each by its magnitude."""


def nonzero_per_position(
    x: Tensor, spatial: int, weighting: bool | Literal["derived"], first: int = 0
) -> Tensor:
    """Return how many entries of ``x`` are not zero, for each position of its last dimensions.

    Args:
        x: any shape.
        spatial: number of trailing dimensions to keep (at least one is kept of a tensor that
            has any, so that no partial sum grows large).
        weighting: see `Weighting`. What holds {0, 1} alone can be summed as it is.
        first: number of first dimensions to keep too.

    Returns:
        int64 counts, of the shape of the kept dimensions.
    """
    if weighting == "derived" and x.dtype.is_floating_point:
        x = x.sign().abs_()  # many times faster than what a comparison gives is added up
    elif weighting is not True:
        x = x != 0
    return _summed(x, spatial, largest=1, first=first)


def total(per_position: Tensor, first: int) -> Tensor:
    """Return the sum over all positions but those of so many first dimensions."""
    return per_position.flatten(first).sum(-1) if first else per_position.sum()


def magnitude_per_position(
    x: Tensor,
    spatial: int,
    unit: Fraction = Fraction(1),
    factor: Tensor | None = None,
    largest: int | None = None,
    first: int = 0,
) -> Tensor:
    """Count as `nonzero_per_position`, with each entry weighted by its magnitude in units.

    ``factor``: one element that the unit is multiplied by. ``largest``: of the magnitudes, where
    that is known. An entry is a multiple of the unit up
    to rounding, so that the nearest multiple is the one.
    """
    is_single = x.dtype == torch.float32 and factor is None and largest is not None
    if is_single and _is_told_in_float32(unit, largest):
        multiples = x if unit == 1 else x.div(float(unit)).round_()
        return _summed(multiples.abs(), spatial, largest, first)
    if factor is not None or unit != 1:
        size = float(unit) if factor is None else factor.reshape(()).to(torch.float64) * float(unit)
        multiples = (x.to(torch.float64) / size).round().abs()
        return _summed(multiples.nan_to_num(0, 0), spatial, largest=None, first=first)
    whole = x if x.dtype.is_floating_point else x.to(torch.int64)  # |-128| does not fit int8
    return _summed(whole.abs(), spatial, largest, first)


@lru_cache
def _is_told_in_float32(unit: Fraction, largest: int) -> bool:
    """Return whether float32 tells up to so many multiples of a unit apart as float64 does."""
    limits = torch.finfo(torch.float32)
    return largest < 2**16 and limits.tiny <= unit and unit * largest <= limits.max


def _summed(x: Tensor, spatial: int, largest: int | None, first: int = 0) -> Tensor:
    keep = max(spatial, 1)
    dims = tuple(range(first, x.dim() - keep))
    if not x.dtype.is_floating_point:
        return x.sum(dims, dtype=torch.int64) if dims else x.to(torch.int64)
    if not dims:
        return x.to(torch.int64)
    kept = x.shape[-keep:]
    apart = x.shape[:first]
    terms = x.numel() // max(1, kept.numel() * apart.numel())
    small = largest is not None and terms * largest <= EXACT_IN_FLOAT32
    if small and x.dtype == torch.float32 and x.is_contiguous():
        # Exact like a sum, as every partial sum is a small integer, and many times faster.
        parts = apart.numel()
        counts = x.new_ones(parts, 1, terms).bmm(x.view(parts, terms, kept.numel()))
        return counts.view(apart + kept).to(torch.int64)
    dtype = torch.float64 if not small or x.dtype == torch.float64 else torch.float32
    return x.sum(dims, dtype=dtype).to(torch.int64)


def fan_out_map(fan_out: FanOut, device: torch.device) -> Tensor:
    """Return the fan-out of every position as an int64 tensor of shape [*spatial]."""
    result = torch.tensor(fan_out.factor, dtype=torch.int64, device=device)
    for counts in fan_out.spatial:
        row = torch.tensor(counts, dtype=torch.int64, device=device)
        result = result.unsqueeze(-1) * row
    return result


def coincidences(left: Tensor, right: Tensor) -> Tensor:
    """Count the products of [..., m, k] @ [..., k, n] in which both factors are not zero."""
    left, right = strided(left), strided(right)
    per_column = (left != 0).sum(-2, dtype=torch.int64)
    per_row = (right != 0).sum(-1, dtype=torch.int64)
    return (per_column * per_row).sum()


def binary(x: Tensor) -> Tensor:
    """Return 1 if every entry is 0 or 1, else 0."""
    return ((x == 0) | (x == 1)).all().to(torch.int64)


def look(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the lowest and highest value (NaN if there is one), and whether all are integers."""
    low, high = torch.aminmax(x)
    if x.dtype.is_floating_point:
        return low, high, (x == x.round()).all()
    return low, high, torch.ones((), dtype=torch.bool, device=x.device)


def strided(x: Tensor) -> Tensor:
    """Return the tensor itself, a dense copy of a sparse one, or the values of a quantised one."""
    if x.is_quantized:
        return x.dequantize()
    return x if x.layout == torch.strided else x.to_dense()
