"""Counts and energies in words, and back."""

import math
import re
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from syops.errors import SyopsValueError
from syops.units import (
    COUNTS,
    ENERGIES,
    Units,
    common_unit,
    joules,
    number,
    quantity,
    read_count,
    read_energy,
    read_share,
    read_units,
)

PREFIXES = dict(zip("afpnµm kMGTPE", range(-18, 21, 3), strict=True))
amounts = st.floats(1e-15, 1e18)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.7e9, "", "1.70 G"),
        (2.07e-3, "J", "2.07 mJ"),
        (0, "", "0"),
        (0, "J", "0 J"),
        (0.5, "", "0.500"),
        (12.34, "", "12.3"),
        (999, "", "999"),
        (999.6, "", "1.00 k"),
        (999_600, "", "1.00 M"),
        (999_400, "", "999 k"),
        (1e-12, "J", "1.00 pJ"),
        (4.56e-6, "J", "4.56 µJ"),
        (31.4, "J", "31.4 J"),
        (2e21, "", "2000 E"),
        (-5, "", "-5"),
        (-1.234e7, "", "-12.3 M"),
    ],
)
def test_quantities_have_three_digits_and_a_prefix(value, unit, text):
    assert quantity(value, unit) == text


@given(amounts)
def test_a_quantity_is_the_value_within_half_of_its_last_digit(value):
    digits, prefix = re.fullmatch(r"([\d.]+) (.?)J", quantity(value, "J")).groups()
    assert len(digits.replace(".", "")) == 3
    read = Decimal(digits) * Decimal(10) ** PREFIXES[prefix or " "]
    assert 1 <= Decimal(digits) < 1000
    assert abs(read - Decimal(value)) <= abs(read) * Decimal("0.0051")
    assert quantity(-value, "J") == f"-{quantity(value, 'J')}"


@given(st.integers(1000, 10**18))
def test_shown_counts_are_within_half_of_the_last_digit(value):
    shown = quantity(value)
    assume(shown[-1] in COUNTS)
    assert read_count(shown) == pytest.approx(value, rel=5.1e-3)


@given(st.floats(1e-9, 1e5))
def test_an_energy_that_is_shown_can_be_read(millijoules):
    shown = joules(millijoules)
    assume(shown.split()[1] in ENERGIES)
    assert read_energy(shown) == pytest.approx(millijoules, rel=5.1e-3)


@given(st.floats(1e-12, 1e12))
def test_numbers_have_three_digits(value):
    shown = number(value)
    assert float(shown) == pytest.approx(value, rel=5.1e-3)
    digits = shown.partition("e")[0].replace(".", "").lstrip("0")
    assert len(digits) == 3 or float(shown) >= 1000  # 999.5 is 1000


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (0, None, "0"),
        (1234567.8, None, "1234568"),
        (0.000512, None, "0.000512"),
        (2.3e-7, None, "2.30e-07"),
        (2.3e290, None, "2.30e+290"),
        (0.12, 4, "0.1200"),
        (-0.5, 2, "-0.50"),
    ],
)
def test_numbers_without_their_unit(value, decimals, text):
    assert number(value, decimals) == text


@pytest.mark.parametrize(
    ("largest", "units", "unit"),
    [
        (2.4e9, COUNTS, "G"),
        (1e9, COUNTS, "G"),
        (999_999_999, COUNTS, "M"),
        (5, COUNTS, "k"),
        (0, COUNTS, "k"),
        (7.02, ENERGIES, "mJ"),
        (0.99, ENERGIES, "µJ"),
        (-3e-8, ENERGIES, "pJ"),
        (805_790, ENERGIES, "J"),
    ],
)
def test_common_unit_of_several_values(largest, units, unit):
    assert common_unit(largest, units) == unit


@pytest.mark.parametrize(
    ("given", "units"),
    [
        ("auto", Units()),
        ([], Units()),
        ("G", Units("G", "")),
        ("mJ", Units("", "mJ")),
        ("uJ", Units("", "µJ")),
        ("\u03bcJ", Units("", "µJ")),
        ("G, pJ", Units("G", "pJ")),
        (("pJ", "M"), Units("M", "pJ")),
        (["auto", "k", "k"], Units("k", "")),
    ],
)
def test_units_that_are_asked_for(given, units):
    assert read_units(given) == units


@pytest.mark.parametrize("given", ["g", "mj", "joule", "", "G,", "GJ", "pJ nJ", "MJ"])
def test_units_that_do_not_exist(given):
    with pytest.raises(SyopsValueError, match="no such unit.*known: auto, k, M, G, T, pJ"):
        read_units(given)


@pytest.mark.parametrize(("given", "both"), [("G,M", "G and M"), (["J", "k", "uJ"], "J and µJ")])
def test_two_units_of_the_same_kind(given, both):
    with pytest.raises(SyopsValueError, match=both):
        read_units(given)


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (read_energy, "2.5mJ", 2.5),
        (read_energy, "2500 uJ", 2.5),
        (read_energy, " 2500µJ ", 2.5),
        (read_energy, "1e-3J", 1.0),
        (read_energy, ".5nJ", 5e-7),
        (read_count, "0.57G", 570_000_000),
        (read_count, "0.29 G", 290_000_000),
        (read_count, "1e9", 1e9),
        (read_count, "0", 0),
        (read_count, "12.", 12),
        (read_share, "1%", 0.01),
        (read_share, "7 %", 0.07),
        (read_share, "0.01", 0.01),
    ],
)
def test_what_a_user_writes_is_read_exactly(read, text, value):
    assert read(text) == value


@given(st.decimals(0, 1000, places=3), st.sampled_from(list(COUNTS)))
def test_counts_are_read_without_rounding(amount, unit):
    assert Decimal(read_count(f"{amount}{unit}")) == amount * Decimal(int(COUNTS[unit]))


@pytest.mark.parametrize(
    ("read", "text", "words"),
    [
        (read_energy, "2.5", "'2.5' is not an energy with its unit.*pJ, nJ, µJ, mJ, J"),
        (read_energy, "2.5G", "2.5mJ.*known units"),
        (read_energy, "nanmJ", "finite"),
        (read_energy, "infmJ", "finite"),
        (read_energy, "-1mJ", "at least 0"),
        (read_energy, "", "energy"),
        (read_energy, "mJ", "energy"),
        (read_energy, "1,5mJ", "energy"),
        (read_energy, "1e999J", "too large"),
        (read_count, "2mJ", "number of operations.*k, M, G, T"),
        (read_count, "nan", "number of operations"),
        (read_count, "-5", "at least 0"),
        (read_count, "1_000", "number of operations"),
        (read_count, "0x10", "number of operations"),
        (read_share, "1G", "share"),
        (read_share, "one", "share"),
    ],
)
def test_what_cannot_be_read(read, text, words):
    with pytest.raises(SyopsValueError, match=words):
        read(text)


@given(st.text(max_size=8), st.sampled_from([read_energy, read_count, read_share]))
def test_any_text_is_read_or_refused(text, read):
    try:
        value = read(text)
    except SyopsValueError:
        return
    assert 0 <= value < math.inf
