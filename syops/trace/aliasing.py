"""Decide which elements of memory tensors share, from their offsets, shapes and strides alone.

An operator that writes into a tensor changes every other tensor on the same memory. What is still
true of those depends on which elements they share with the one that was written.

Element [i, j, ...] of a tensor lies at ``offset + i * stride[0] + j * stride[1] + ...`` of its
storage. Take a buffer of 4 neurons and their last 3 time-steps, which a model shifts by one step:

>>> import torch
>>> buffer = torch.zeros(4, 3)                     # stride (3, 1)
>>> target, source = buffer[:, 1:], buffer[:, :-1]  # offsets 1 and 0
>>> overlap(target, source)
True

Element [i, j] of the target is element [k, l] of the source if ``1 + 3i + j == 0 + 3k + l``, that
is, if ``-1 == 3(i - k) + (j - l)``. Indices run from 0 to 3 and from 0 to 1, so ``i - k`` lies in
[-3, 3] and ``j - l`` in [-1, 1]. The numbers 0 and -1 are a solution: the copy may write column 1
before it reads column 1. What the target holds then need not be what the source held.

>>> overlap(buffer[:, 2:], buffer[:, :1])
False

Here both have one column: ``j - l`` is 0, and ``-2 == 3(i - k)`` has no solution. Column 0 lies
between the elements of column 2, but they share none: the target holds what the source held.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest

import torch
from torch import Tensor

from syops._torch import storage_identity


def storage_of(tensor: Tensor) -> int:
    """Return a key that tensors on the same memory have in common, as long as they live.

    A tensor without a storage, such as a sparse one, has a key of its own.
    """
    try:
        return storage_identity(tensor)
    except (NotImplementedError, RuntimeError):
        return id(tensor)


def overlap(target: Tensor, operand: Tensor) -> bool:
    """Return whether a write into ``target`` may change what is still to be read of ``operand``.

    It does not where the two share no element, nor where they are the same view: then each element
    is read before it is written. The answer is exact where the strides agree; where they do not,
    or the dtypes do not, tensors on the same storage are taken to overlap.
    """
    if storage_of(target) != storage_of(operand) or not (target.numel() and operand.numel()):
        return False
    if target.dtype != operand.dtype:
        return True
    distance = int(operand.storage_offset() - target.storage_offset())
    if not distance and (target.shape, target.stride()) == (operand.shape, operand.stride()):
        return False
    steps = []
    for (size, stride), (other_size, other_stride) in zip_longest(
        _dims(target), _dims(operand), fillvalue=(1, 0)
    ):
        if size > 1 and other_size > 1 and stride != other_stride:
            return True
        stride = stride if size > 1 else other_stride
        if stride:
            steps.append((stride, 1 - other_size, size - 1))
    return _reaches(distance, sorted(steps, reverse=True))


def _dims(tensor: Tensor) -> list[tuple[int, int]]:
    """Return sizes and strides, the last dimension first."""
    return list(zip(reversed(tensor.shape), reversed(tensor.stride()), strict=True))


def _reaches(distance: int, steps: list[tuple[int, int, int]]) -> bool:
    """Return whether a distance is a sum of (stride, least, most number of) steps.

    The largest stride comes first. All others together reach only so far, which leaves few numbers
    of the first to try.
    """
    if not steps:
        return distance == 0
    (stride, least, most), *rest = steps
    back = sum(size * number for size, number, _ in rest)
    forth = sum(size * number for size, _, number in rest)
    first = max(least, -((forth - distance) // stride))
    last = min(most, (distance - back) // stride)
    return any(_reaches(distance - number * stride, rest) for number in range(first, last + 1))


def overlaps_itself(tensor: Tensor) -> bool:
    """Return whether two elements of a tensor may be one in memory, as those of `expand` are.

    They are not where every stride is larger than all that the smaller strides reach. Strides that
    interleave, such as (2, 3) of shape (3, 2), are taken to overlap although these do not.
    """
    reach = 0
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1:
            if stride <= reach:
                return tensor.numel() > 0
            reach += stride * (size - 1)
    return False


def covers_storage(tensor: Tensor) -> bool:
    """Return whether every byte of its storage belongs to a tensor: a write leaves nothing of it.

    As many elements as the storage has room for, no two of them in one place, fill it.
    """
    size = tensor.numel() * tensor.element_size()
    return size == tensor.untyped_storage().nbytes() and not overlaps_itself(tensor)


@dataclass(frozen=True, slots=True)
class Layout:
    """Say where the elements of a tensor lie in its storage."""

    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def end(self) -> int:
        """The place after the last element."""
        sizes = zip(self.shape, self.stride, strict=True)
        return self.offset + sum((size - 1) * stride for size, stride in sizes) + 1

    def meets(self, other: Layout) -> bool:
        """Return whether the ranges from the first to the last element have places in common."""
        return self.offset < other.end and other.offset < self.end


def offset_of(tensor: Tensor) -> int:
    """Return where the first element lies; 0 for a tensor without a storage of its own."""
    return int(tensor.storage_offset()) if tensor.layout == torch.strided else 0


def strides_of(tensor: Tensor) -> tuple[int, ...]:
    """Return how far apart the elements of a tensor lie; () for a sparse tensor."""
    return tensor.stride() if tensor.layout == torch.strided else ()


def layout_of(tensor: Tensor) -> Layout:
    """Return where the elements of a tensor lie."""
    return Layout(offset_of(tensor), tuple(tensor.shape), tensor.stride())


@dataclass(frozen=True, slots=True)
class Box:
    """Describe a part of a tensor that is whole along all dimensions except one.

    Attributes:
        dim: the dimension along which the part goes from ``start`` to ``stop``.
        places: for each dimension of the part, the dimension of the tensor that it is; -1 for those
            of size 1.
        is_whole: whether the part is all of the tensor.
    """

    dim: int
    start: int
    stop: int
    places: tuple[int, ...]
    is_whole: bool


def box_in(outer: Layout, inner: Layout) -> Box | None:
    """Return the part of ``outer`` that ``inner`` is; None if it is not a `Box`.

    >>> buffer = torch.zeros(5, 2, 8)
    >>> box = box_in(layout_of(buffer), layout_of(buffer[3].t()))
    >>> box.dim, box.start, box.stop, box.places
    (0, 3, 4, (2, 1))
    """
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
    if len(own) < len(places) - places.count(-1):  # windows, which share elements
        return None
    stops = {dim: start + own.get(dim, 1) for dim, start in starts.items()}
    cut = [dim for dim in dims if stops[dim] - starts[dim] != outer.shape[dim]]
    if len(cut) > 1 or any(stop > outer.shape[dim] for dim, stop in stops.items()):
        return None
    dim = cut[0] if cut else dims[0]
    return Box(dim, starts[dim], stops[dim], places, is_whole=not cut)
