"""Counts on the device are exact, also where they are taken in float32."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from syops.trace.counting import magnitude_per_position

UNITS = [
    Fraction(1),
    Fraction(1, 4),
    Fraction(1, 9),
    Fraction(7, 3),
    Fraction(0.1),
    Fraction(1e-38),
]


@pytest.mark.parametrize("unit", [*UNITS, Fraction(1e-44), Fraction(1e37), Fraction(1e60)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_multiples_of_any_unit_are_told(unit, dtype):
    integers = torch.arange(-255, 256)
    x = torch.stack([integers, integers.flip(0)]).to(torch.float64) * float(unit)
    x = x.to(dtype)
    found = magnitude_per_position(x, 1, unit, largest=255)
    expected = 2 * integers.abs()
    expected[torch.isinf(x[0])] = 0  # no multiple can be told from another one
    assert found.dtype == torch.int64
    if not (dtype == torch.float32 and unit == Fraction(1e-44)):  # rounded too far to be a multiple
        assert found.tolist() == expected.tolist()
    without = magnitude_per_position(x, 1, unit)
    assert found.tolist() == without.tolist()


def test_a_chain_of_rounded_operators_gives_the_same_multiples():
    counts = torch.randint(0, 10, (50, 4, 6), generator=torch.Generator().manual_seed(0))
    x = torch.zeros(50, 4, 6)
    for place in range(9):
        x = x + (counts > place).float() / 9  # rounded nine times
    found = magnitude_per_position(x, 1, Fraction(1, 9), largest=9)
    assert found.tolist() == counts.sum((0, 1)).tolist()
