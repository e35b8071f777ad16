"""Which elements of a storage views have in common, against lists of all their places."""

import itertools

import pytest
import torch

from syops.trace.aliasing import box_in, extent, layout_of, overlap

X = torch.arange(24.0).reshape(4, 3, 2)
VIEWS = {
    "all": lambda: X,
    "rows": lambda: X[1:],
    "other rows": lambda: X[:-1],
    "first row": lambda: X[0],
    "every second row": lambda: X[::2],
    "the other rows": lambda: X[1::2],
    "a column": lambda: X[:, 0],
    "another column": lambda: X[:, 1],
    "columns": lambda: X[:, 1:],
    "turned": lambda: X.transpose(0, 1),
    "flat": lambda: X.flatten(),
    "middle of flat": lambda: X.flatten()[5:9],
    "expanded": lambda: X[:1].expand(4, 3, 2),
    "windows": lambda: X.flatten().unfold(0, 4, 2),
    "diagonal": lambda: X.diagonal(),
    "one": lambda: X[2, 1, 1],
    "nothing": lambda: X[4:],
}


def places(view):
    """Where each element lies, in the order of the elements."""
    at = [
        view.storage_offset() + sum(i * s for i, s in zip(index, view.stride(), strict=True))
        for index in itertools.product(*map(range, view.shape))
    ]
    assert [float(X.flatten()[place]) for place in at] == view.flatten().tolist()
    return at


@pytest.mark.parametrize("name", VIEWS)
def test_extent(name):
    view = VIEWS[name]()
    at = places(view)
    meets_itself, filled = extent(view)
    if len(set(at)) < len(at):
        assert meets_itself
    if filled:
        assert set(at) == set(range(min(at), min(at) + filled))


@pytest.mark.parametrize("pair", list(itertools.product(VIEWS, VIEWS)), ids="/".join)
def test_overlap_is_found_wherever_there_is_one(pair):
    target, operand = (VIEWS[name]() for name in pair)
    written, read = places(target), places(operand)
    if overlap(target, operand):
        return
    # What is written is read at the same position, or not at all.
    if (target.shape, target.stride()) == (operand.shape, operand.stride()) and written == read:
        return
    assert not set(written) & set(read)


@pytest.mark.parametrize(
    ("one", "other"),
    [("every second row", "the other rows"), ("a column", "another column"), ("rows", "first row")],
)
def test_overlap_is_not_claimed_of_parts_that_lie_between_one_another(one, other):
    assert not overlap(VIEWS[one](), VIEWS[other]())


def test_overlap_of_shifted_rows():
    assert overlap(X[1:], X[:-1])


def test_overlap_with_another_dtype_on_the_same_memory():
    assert overlap(X, X.view(torch.int32))


@pytest.mark.parametrize("name", VIEWS)
def test_box_is_what_a_view_is_of_the_whole(name):
    view = VIEWS[name]()
    box = box_in(layout_of(X), layout_of(view))
    if box is None or not view.numel():
        return
    part = X.narrow(box.dim, box.start, box.stop - box.start)
    assert sorted(places(view)) == sorted(places(part))
    assert box.is_whole == (view.numel() == X.numel())
    for own, dim in enumerate(box.places):
        assert dim < 0 or view.stride(own) == X.stride(dim)


@pytest.mark.parametrize("name", ["rows", "first row", "a column", "turned", "one"])
def test_views_that_are_boxes(name):
    assert (box_in(layout_of(X), layout_of(VIEWS[name]())) is not None) == (name != "one")


def test_layouts_meet_only_where_their_reaches_do():
    layouts = {name: layout_of(make()) for name, make in VIEWS.items() if make().numel()}
    for one, other in itertools.product(layouts, layouts):
        if set(places(VIEWS[one]())) & set(places(VIEWS[other]())):
            assert layouts[one].meets(layouts[other])
