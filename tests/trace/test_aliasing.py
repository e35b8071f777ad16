"""Stride geometry against a walk over the addresses of all elements."""

from itertools import product

import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from syops.trace.aliasing import (
    Layout,
    box_in,
    covers_storage,
    layout_of,
    overlap,
    overlaps_itself,
    storage_of,
)

STORAGE = 64


def addresses(layout):
    """Where each element lies, in order of indices."""
    return [
        layout.offset + sum(i * s for i, s in zip(index, layout.stride, strict=True))
        for index in product(*map(range, layout.shape))
    ]


@st.composite
def layouts(draw, smallest=0):
    """Any layout within the storage, one that overlaps itself too."""
    shape = draw(st.lists(st.integers(smallest, 4), max_size=3))
    stride = [draw(st.integers(0, 12)) for _ in shape]
    found = Layout(draw(st.integers(0, 12)), tuple(shape), tuple(stride))
    assume(found.end <= STORAGE)
    return found


@st.composite
def parts(draw, base):
    """A view of a tensor by slices, selections and transpositions."""
    view = base
    for dim in reversed(range(base.dim())):
        start = draw(st.integers(0, base.shape[dim] - 1))
        stop = draw(st.integers(start + 1, base.shape[dim]))
        step = draw(st.sampled_from([1, 1, 2]))
        view = (
            view.select(dim, start)
            if draw(st.booleans())
            else view[(slice(None),) * dim + (slice(start, stop, step),)]
        )
    if view.dim() > 1 and draw(st.booleans()):
        view = view.transpose(0, -1)
    return view


@st.composite
def pairs(draw):
    """Two views of one tensor."""
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    base = torch.zeros(shape)
    return draw(parts(base)), draw(parts(base))


def view(layout, dtype=torch.float32):
    return torch.zeros(STORAGE, dtype=dtype).as_strided(layout.shape, layout.stride, layout.offset)


def both(first, second):
    memory = torch.zeros(STORAGE)
    return [memory.as_strided(each.shape, each.stride, each.offset) for each in (first, second)]


def same(first, second):
    return (first.offset, first.shape, first.stride) == (second.offset, second.shape, second.stride)


def agree(first, second):
    """Whether strides are equal in all dimensions in which both have more than one element."""
    dims = zip(
        first.shape[::-1], first.stride[::-1], second.shape[::-1], second.stride[::-1], strict=False
    )
    return all(n < 2 or m < 2 or s == t for n, s, m, t in dims)


def check_overlap(target, operand):
    first, second = layout_of(target), layout_of(operand)
    share = not set(addresses(first)).isdisjoint(addresses(second))
    expected = share and not same(first, second)
    if agree(first, second):
        assert overlap(target, operand) == expected
    else:
        assert overlap(target, operand) >= expected


@given(layouts(), layouts())
@example(Layout(1, (4, 2), (3, 1)), Layout(0, (4, 2), (3, 1)))
@example(Layout(2, (4, 1), (3, 1)), Layout(0, (4, 1), (3, 1)))
@example(Layout(0, (2,), (3,)), Layout(3, (0,), (3,)))
def test_overlap_of_any_layouts(first, second):
    check_overlap(*both(first, second))


@given(pairs())
@settings(max_examples=300)
def test_overlap_of_views(views):
    check_overlap(*views)


@given(layouts(), st.data())
@settings(max_examples=300)
def test_overlap_of_equal_strides(first, data):
    """Where strides agree the answer is exact."""
    sizes = st.lists(st.integers(0, 4), min_size=len(first.shape), max_size=len(first.shape))
    second = Layout(data.draw(st.integers(0, 12)), tuple(data.draw(sizes)), first.stride)
    assume(second.end <= STORAGE)
    target, operand = both(first, second)
    share = not set(addresses(first)).isdisjoint(addresses(second))
    assert overlap(target, operand) == (share and not same(first, second))


def test_overlap_across_storages_and_dtypes():
    memory = torch.zeros(8)
    assert not overlap(memory[:4], torch.zeros(8)[2:6])
    assert overlap(memory[:4], memory[4:].view(torch.int32))


@given(layouts())
@settings(max_examples=300)
def test_overlaps_itself(layout):
    places = addresses(layout)
    if len(set(places)) < len(places):
        assert overlaps_itself(view(layout))


@pytest.mark.parametrize(
    ("shape", "stride", "expected"),
    [
        ((3, 4), (4, 1), False),
        ((4, 3), (1, 4), False),
        ((3, 4), (0, 1), True),
        ((3, 1), (1, 0), False),
        ((3, 4), (1, 1), True),
        ((2, 3), (5, 2), False),
        ((3, 2), (2, 3), True),  # 0, 3, 2, 5, 4, 7: none twice, but the strides interleave
        ((), (), False),
    ],
)
def test_overlaps_itself_of_known_layouts(shape, stride, expected):
    assert overlaps_itself(view(Layout(0, shape, stride))) is expected


@given(layouts(), st.integers(0, STORAGE))
@settings(max_examples=300)
def test_covers_storage(layout, room):
    assume(layout.end <= room)
    tensor = torch.zeros(room).as_strided(layout.shape, layout.stride, layout.offset)
    if covers_storage(tensor):
        assert sorted(addresses(layout)) == list(range(room))


@pytest.mark.parametrize(
    "make", [lambda x: x, torch.t, lambda x: x.flatten(), lambda x: x[:, None]]
)
def test_covers_storage_of_whole_views(make):
    assert covers_storage(make(torch.zeros(3, 4)))


@pytest.mark.parametrize(
    "make", [lambda x: x[1:], lambda x: x.expand(2, 3, 4), lambda x: x[:, ::2]]
)
def test_covers_storage_of_parts(make):
    assert not covers_storage(make(torch.zeros(3, 4)))


@given(layouts(), layouts())
@settings(max_examples=300)
def test_meets(first, second):
    if not set(addresses(first)).isdisjoint(addresses(second)):
        assert first.meets(second)


def check_box(outer, inner):
    box = box_in(outer, inner)
    if box is None:
        return
    whole = torch.tensor(addresses(outer)).view(outer.shape)
    part = whole.narrow(box.dim, box.start, box.stop - box.start)
    places = [place for place in box.places if place >= 0]
    rest = [dim for dim in range(part.dim()) if dim not in places]
    assert all(part.shape[dim] == 1 for dim in rest)
    expected = part.permute(*rest, *places).reshape(inner.shape)
    assert torch.equal(expected, torch.tensor(addresses(inner)).view(inner.shape))
    assert box.is_whole == (part.shape == whole.shape)


@given(layouts(1), layouts(1))
@example(Layout(0, (4,), (1,)), Layout(0, (3, 2), (1, 1)))
@settings(max_examples=300)
def test_box_of_any_layouts(outer, inner):
    check_box(outer, inner)


@given(pairs())
@settings(max_examples=300)
def test_box_of_views(views):
    check_box(*map(layout_of, views))


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.data())
def test_box_of_a_time_step(shape, data):
    buffer = torch.zeros(shape)
    assume(buffer.numel() > 1)
    dim = data.draw(st.integers(0, len(shape) - 1))
    step = data.draw(st.integers(0, shape[dim] - 1))
    box = box_in(layout_of(buffer), layout_of(buffer.narrow(dim, step, 1)))
    assert box is not None
    assert (shape[dim] == 1) is box.is_whole
    if shape[dim] > 1:
        assert (box.dim, box.start, box.stop) == (dim, step, step + 1)


def test_storage_of():
    x = torch.zeros(4, device="meta")
    assert storage_of(x) == storage_of(x[1:]) == storage_of(x.detach())
    assert storage_of(x) != storage_of(torch.zeros(4, device="meta"))
    sparse = torch.eye(2).to_sparse()
    assert storage_of(sparse) == storage_of(sparse) != storage_of(x)
