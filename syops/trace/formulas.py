"""Give what common operators return on ``meta`` by formulas.

Torch's own kernels for ``meta`` are Python that loads SymPy and torch's compiler when it is first
called: half of the time of a command that is asked for bounds. A formula answers for the plainest
form of an operator, on contiguous tensors of one real dtype. For any other it returns None: there
torch is asked, which also says what is wrong with the arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from syops.ops.rule import tensors_in

Sizes = Sequence[int]

_aten = torch.ops.aten


def by_formula(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return what an operator returns on ``meta``; None where no formula tells.

    Args:
        func: the overload.
        args, kwargs: what it is called with.
    """
    formula = _FORMULAS.get(func)
    tensors = tensors_in(args)
    if formula is None or kwargs or not tensors:
        return None
    dtype = tensors[0].dtype
    if dtype not in (torch.float32, torch.float64) or any(x.dtype != dtype for x in tensors):
        return None
    return formula(*args)


def empty_like(x: Tensor) -> Tensor:
    """Return a tensor without values that lies as another one does on ``meta``."""
    is_repeated = x.dim() > 0 and x.stride(0) == 0 and len(x) > 0  # one image, T times
    return x.new_empty(x.shape) if _in_order(x[0] if is_repeated else x) else torch.empty_like(x)


def _in_order(x: Tensor) -> bool:
    """Return whether a tensor lies as a new one does, also in dimensions of one position."""
    return x.stride() == x.new_empty(x.shape).stride()


def _windows(
    sizes: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes
) -> list[int] | None:
    """Return how many positions a window has along each dimension; None: of some it has none."""
    if {*map(len, (kernel, stride, padding, dilation))} != {len(sizes)}:
        return None
    if min(*kernel, *stride, *dilation) < 1 or min(padding) < 0:
        return None
    each = zip(sizes, kernel, stride, padding, dilation, strict=True)
    found = [(size + 2 * p - d * (k - 1) - 1) // s + 1 for size, k, s, p, d in each]
    return found if all(size > 0 for size in found) else None


def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    transposed: bool,
    output_padding: Sizes,
    groups: int,
) -> Tensor | None:
    sizes = _windows(x.shape[2:], weight.shape[2:], stride, padding, dilation)
    if sizes is None or transposed or not 0 < weight.shape[1] * groups == x.shape[1]:
        return None
    return x.new_empty((x.shape[0], weight.shape[0], *sizes))


def _batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor | None,
    var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, ...] | None:
    if training or mean is None or var is None or not all(map(_in_order, (x, mean, var))):
        return None
    if any(each.shape != x.shape[1:2] for each in tensors_in((weight, bias, mean, var))):
        return None
    return tuple(each.new_empty(each.shape) for each in (x, mean, var))


def _pointwise(*operands: Any) -> Tensor | None:
    shapes = {each.shape if isinstance(each, Tensor) else type(each) for each in operands}
    tensors = tensors_in(operands)
    if len(shapes - {int, float}) != 1 or not all(map(_in_order, tensors)):
        return None
    return tensors[0].new_empty(tensors[0].shape)


def _mean(x: Tensor, dims: Sizes | None, keepdim: bool = False) -> Tensor | None:
    if not dims or not _in_order(x):
        return None
    gone = {dim % x.dim() for dim in dims if -x.dim() <= dim < x.dim()}
    if len(gone) != len(dims):
        return None
    sizes = [(place, 1 if place in gone else size) for place, size in enumerate(x.shape)]
    return x.new_empty([size for place, size in sizes if keepdim or place not in gone])


def _product(bias: Tensor, left: Tensor, right: Tensor) -> Tensor | None:
    if left.dim() != 2 or right.dim() != 2 or left.shape[1] != right.shape[0]:
        return None
    sizes = left.shape[0], right.shape[1]
    if bias.shape != sizes[1:]:
        return None
    return left.new_empty(sizes)


def _max_pool(
    x: Tensor,
    kernel: Sizes,
    stride: Sizes = (),
    padding: Sizes = (0, 0),
    dilation: Sizes = (1, 1),
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor] | None:
    sizes = _windows(x.shape[2:], kernel, stride or kernel, padding, dilation)
    if sizes is None or ceil_mode or x.dim() != 4 or 0 in x.shape[1:] or not _in_order(x):
        return None
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        return None
    out = x.new_empty((*x.shape[:2], *sizes))
    return out, out.new_empty(out.shape, dtype=torch.int64)


def _each(formula: Callable[..., Any], operators: Iterable[Any]) -> dict[Any, Callable[..., Any]]:
    return dict.fromkeys(operators, formula)


_FORMULAS: dict[Any, Callable[..., Any]] = {
    _aten.convolution.default: _convolution,
    _aten.native_batch_norm.default: _batch_norm,
    _aten.mean.dim: _mean,
    _aten.addmm.default: _product,
    _aten.max_pool2d_with_indices.default: _max_pool,
    **_each(_pointwise, (_aten.add.Tensor, _aten.sub.Tensor, _aten.mul.Tensor, _aten.rsub.Scalar)),
    **_each(_pointwise, (_aten.relu.default, _aten.sigmoid.default, _aten.neg.default)),
}
