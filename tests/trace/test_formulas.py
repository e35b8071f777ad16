"""Formulas give what torch's own kernels for ``meta`` give, and leave to these what they refuse."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from syops.ops.rule import tensors_in
from syops.trace.formulas import by_formula, empty_like

aten = torch.ops.aten
few = st.integers(0, 3)


def lies(out: Any) -> Any:
    return [(x.shape, x.stride(), x.dtype, x.device) for x in tensors_in((out,))]


def check(func: Any, *args: Any) -> None:
    """Formulas raise nothing: torch says what is wrong with arguments."""
    found = by_formula(func, args, {})
    if found is not None:  # torch raises if it refuses these arguments
        assert lies(found) == lies(func(*args))


@st.composite
def tensors(draw: Any, sizes: Any) -> Tensor:
    """Draw a tensor on ``meta`` of these sizes, mostly a contiguous one of 32 bits."""
    dtype = draw(st.sampled_from([torch.float32] * 6 + [torch.float16, torch.int64]))
    order = draw(st.permutations(range(len(sizes)))) if draw(few) == 0 else range(len(sizes))
    made = torch.empty([sizes[place] for place in order], dtype=dtype, device="meta")
    return made.permute([list(order).index(place) for place in range(len(sizes))])


def drawn(data: st.DataObject, *sizes: int) -> Tensor:
    return data.draw(tensors(sizes))


def pairs(data: st.DataObject, low: int = 0) -> list[int]:
    length = 1 if data.draw(few) == 0 else 2
    return data.draw(st.lists(st.integers(low, 3), min_size=length, max_size=length))


@given(st.data())
def test_convolution(data: st.DataObject) -> None:
    groups, channels, kernel = (data.draw(st.integers(1, 2)) for _ in range(3))
    x = drawn(data, data.draw(few), channels * groups, *data.draw(st.tuples(few, few)))
    weight = drawn(data, 2 * groups, data.draw(st.sampled_from([channels, 3])), kernel, kernel)
    told = pairs(data), pairs(data, -1), pairs(data), data.draw(few) == 0, [0, 0]
    check(aten.convolution.default, x, weight, None, *told, groups)


@given(st.data())
def test_batch_norm(data: st.DataObject) -> None:
    channels = data.draw(st.integers(1, 3))
    x = drawn(data, 2, channels, *data.draw(st.lists(few, max_size=2)))
    own = [drawn(data, data.draw(st.sampled_from([channels] * 5 + [2]))) for _ in range(4)]
    weights = [None if data.draw(few) == 0 else each for each in own]
    check(aten.native_batch_norm.default, x, *weights, data.draw(st.booleans()), 0.1, 1e-5)


@given(st.data())
def test_pointwise(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(few, max_size=3))
    x, scalar = drawn(data, *sizes), data.draw(st.sampled_from([1, 0.5, True, 1j]))
    same = drawn(data, *(sizes if data.draw(few) else [1, *sizes[1:]]))
    for func in (aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor):
        try:
            check(func, x, data.draw(st.sampled_from([same, scalar])))
        except RuntimeError:
            assert by_formula(func, (x, same), {}) is None
    check(aten.rsub.Scalar, x, scalar)
    for func in (aten.relu.default, aten.sigmoid.default, aten.neg.default):
        check(func, x)
    assert lies(empty_like(x)) == lies(torch.empty_like(x))
    repeated = x[None].expand(3, *x.shape)
    assert lies(empty_like(repeated)) == lies(torch.empty_like(repeated))


@given(st.data())
def test_mean(data: st.DataObject) -> None:
    x = drawn(data, *data.draw(st.lists(few, min_size=1, max_size=3)))
    dims = data.draw(st.one_of(st.none(), st.lists(st.integers(-3, 2), max_size=3)))
    check(aten.mean.dim, x, dims, data.draw(st.booleans()))


@given(st.data())
def test_addmm(data: st.DataObject) -> None:
    n, k, m = (data.draw(few) for _ in range(3))
    bias = drawn(data, data.draw(st.sampled_from([m, m, 1])))
    check(aten.addmm.default, bias, drawn(data, n, k), drawn(data, data.draw(few), m))
    check(aten.addmm.default, bias, drawn(data, n, k), drawn(data, m, k).t())
    check(aten.addmm.default, bias, drawn(data, n, k), drawn(data, k))
    check(aten.addmm.default, bias, drawn(data, n, k, 1), drawn(data, k, m))


@given(st.data())
def test_max_pool(data: st.DataObject) -> None:
    x = drawn(data, *data.draw(st.lists(st.integers(0, 6), min_size=3, max_size=4)))
    stride = [] if data.draw(few) == 0 else pairs(data)
    told = pairs(data), stride, pairs(data, -1), pairs(data), data.draw(few) == 0
    check(aten.max_pool2d_with_indices.default, x, *told)


@pytest.mark.slow
def test_bounds_of_a_bundled_network_load_neither_sympy_nor_the_compiler_nor_training() -> None:
    code = (
        "import contextlib, io, sys\n"
        "from syops.cli import main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "    main(['bounds', 'dsnn18_small'])\n"
        "print(*{'sympy', 'torch._dynamo', 'syops.dst'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
