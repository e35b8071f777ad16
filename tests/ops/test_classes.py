"""Classes: evidence joined in any order, and what follows from it."""

from __future__ import annotations

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syops.ops.classes import Seen, ValueEvidence, evidence_of
from syops.ops.values import TruthTable

VALUES = st.sampled_from([-2, -1, 0, 1, 2, 0.5, -0.5])
EVIDENCE = st.one_of(
    st.just(ValueEvidence(analog=True)),
    st.just(ValueEvidence(integer=True)),
    st.frozensets(VALUES, min_size=1, max_size=3).map(
        lambda values: ValueEvidence(derived=frozenset(("", v) for v in values))
    ),
    st.frozensets(VALUES, min_size=1, max_size=3).map(
        lambda values: ValueEvidence(
            seen=Seen(min(values), max(values), all(v == int(v) for v in values))
        )
    ),
)


@given(st.lists(EVIDENCE, min_size=1, max_size=5), st.randoms())
def test_the_class_does_not_depend_on_order_or_grouping(parts, random):
    whole = reduce(ValueEvidence.join, parts)
    shuffled = list(parts)
    random.shuffle(shuffled)
    cut = random.randrange(len(shuffled) + 1)
    halves = [
        reduce(ValueEvidence.join, half, ValueEvidence())
        for half in (shuffled[:cut], shuffled[cut:])
    ]
    assert halves[0].join(halves[1]) == whole
    assert whole.join(whole) == whole


@pytest.mark.parametrize(
    ("values", "signal"),
    [
        ({0}, "binary"), ({1}, "binary"), ({0, 1}, "binary"), ({True, False}, "binary"),
        ({-1}, "ternary"), ({-1, 0, 1}, "ternary"), ({0, 0.3}, "scaled"), ({-2, 0, 2}, "scaled"),
        ({0, 2}, "scaled"), ({0, 1, 2}, "graded"), ({-3, 1}, "graded"), ({0, 0.5, 1}, "graded"),
        ({0, 0.5, 2**0.5}, "analog"), ({0, 1 / 256, 1}, "analog"), ({0, 0.25, 255 / 4}, "graded"),
    ],
)  # fmt: skip
def test_the_class_of_a_derived_set(values, signal):
    assert evidence_of(TruthTable((), tuple(values))).signal == signal


@pytest.mark.parametrize(
    ("seen", "signal"),
    [
        (Seen(0, 0, True), "binary"), (Seen(0, 1, True), "binary"), (Seen(-1, 1, True), "ternary"),
        (Seen(0, 2, True), "graded"), (Seen(2, 2, True), "graded"), (Seen(0, 0.5, False), "analog"),
        (Seen(0, 1, False), "analog"),
    ],
)  # fmt: skip
def test_from_data_only_zeros_ones_and_minus_ones_are_spikes(seen, signal):
    assert ValueEvidence(seen=seen).signal == signal
