"""Where tensors lie in memory: which share elements, and which part of one another one is.

Element ``i, j, ...`` of a tensor lies at ``offset + i * stride[0] + j * stride[1] + ...`` of its
storage, so that all questions are about sums of whole numbers. Take ``x`` of shape [4, 3], stored
row by row: ``x[1:]`` begins at 3 and ``x[:-1]`` at 0, both with strides (3, 1). They have an
element in common if ``3 * a + b == 3`` for rows that are ``a`` apart and columns that are ``b``
apart, both of -2 to 2: ``a = 1, b = 0`` is a solution, so they overlap. The columns ``x[:, 0]`` and
``x[:, 1]`` do not: ``3 * a == 1`` has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest

import torch
from torch import Tensor

from syops._torch import storage_identity


def storage_of(tensor: Tensor) -> int:
    """What tensors that share memory have in common, and others have not while they live."""
    try:
        return storage_identity(tensor)
    except (NotImplementedError, RuntimeError):
        return id(tensor)  # sparse and other tensors without a storage


def extent(tensor: Tensor) -> tuple[bool, int]:
    """Whether two of its elements may be one in memory, and how much it fills without a gap."""
    reach = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1:
            if stride < reach:
                return True, 0
            reach += stride * (size - 1)
    return False, reach if tensor.numel() == reach else 0


def overlap(target: Tensor, operand: Tensor) -> bool:
    """Whether writing into one changes what is still to be read of the other.

    Not where both are the same view, or different elements of one tensor.
    """
    if storage_of(target) != storage_of(operand) or target.dtype != operand.dtype:
        return storage_of(target) == storage_of(operand)
    distance = int(operand.storage_offset() - target.storage_offset())
    if not distance and (target.shape, target.stride()) == (operand.shape, operand.stride()):
        return False
    steps = []
    for (size, stride), (other_size, other_stride) in zip_longest(
        _dims(target), _dims(operand), fillvalue=(1, 0)
    ):
        if size > 1 and other_size > 1 and stride != other_stride:
            return True  # turned, or of another shape: they may
        stride = stride if size > 1 else other_stride
        if stride:
            steps.append((stride, 1 - other_size, size - 1))
    return _reaches(distance, sorted(steps, reverse=True))


def _dims(tensor: Tensor) -> list[tuple[int, int]]:
    """Sizes and strides, the last dimension first."""
    return list(zip(reversed(tensor.shape), reversed(tensor.stride()), strict=True))


def _reaches(distance: int, steps: list[tuple[int, int, int]]) -> bool:
    """Whether the distance is a sum of (stride, least, most number of) steps."""
    if not steps:
        return distance == 0
    (stride, least, most), *rest = steps
    back = sum(size * number for size, number, _ in rest)
    forth = sum(size * number for size, _, number in rest)
    first = max(least, -((forth - distance) // stride))
    last = min(most, (distance - back) // stride)
    return any(_reaches(distance - number * stride, rest) for number in range(first, last + 1))


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the elements of a tensor lie in its storage."""

    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def end(self) -> int:
        """The place after the last element."""
        sizes = zip(self.shape, self.stride, strict=True)
        return self.offset + sum((size - 1) * stride for size, stride in sizes) + 1

    def meets(self, other: Layout) -> bool:
        """Whether they might have elements in common."""
        return self.offset < other.end and other.offset < self.end


def offset_of(tensor: Tensor) -> int:
    """Where the first element lies; 0 for a tensor without a storage of its own."""
    return int(tensor.storage_offset()) if tensor.layout == torch.strided else 0


def layout_of(tensor: Tensor) -> Layout:
    """Where the elements of a tensor lie."""
    return Layout(offset_of(tensor), tuple(tensor.shape), tensor.stride())


@dataclass(frozen=True, slots=True)
class Box:
    """A part of a tensor that is whole along all dimensions but one.

    Attributes:
        dim: the dimension along which it goes from ``start`` to ``stop``.
        places: the dimension of the tensor that each of its own is; -1 for those of size 1.
        is_whole: whether it is all of the tensor.
    """

    dim: int
    start: int
    stop: int
    places: tuple[int, ...]
    is_whole: bool


def box_in(outer: Layout, inner: Layout) -> Box | None:
    """The part of ``outer`` that ``inner`` is, if it is a box."""
    rest = inner.offset - outer.offset
    dims = [dim for dim, size in enumerate(outer.shape) if size > 1]
    at = {outer.stride[dim]: dim for dim in dims}
    if rest < 0 or not dims or 0 in at or len(at) < len(dims):
        return None
    starts = {}
    for dim in sorted(dims, key=lambda dim: -outer.stride[dim]):
        starts[dim], rest = divmod(rest, outer.stride[dim])
    sizes = zip(inner.shape, inner.stride, strict=True)
    places = tuple(-1 if size == 1 else at.get(stride, -2) for size, stride in sizes)
    if rest or -2 in places:
        return None
    own = {place: size for place, size in zip(places, inner.shape, strict=True) if place >= 0}
    stops = {dim: start + own.get(dim, 1) for dim, start in starts.items()}
    cut = [dim for dim in dims if stops[dim] - starts[dim] != outer.shape[dim]]
    if len(cut) > 1 or any(stop > outer.shape[dim] for dim, stop in stops.items()):
        return None
    dim = cut[0] if cut else dims[0]
    return Box(dim, starts[dim], stops[dim], places, is_whole=not cut)
