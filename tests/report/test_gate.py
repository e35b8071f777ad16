"""Limits, on reports made by hand."""

from dataclasses import replace

import pytest

from syops.cost.conventions import get_convention
from syops.cost.energy import EnergyModel
from syops.errors import SyopsValueError
from syops.report.gate import Limits, check
from tests.support.reports import ANN, BLIND, FIXED, SMALL, analog, spiking

# SMALL: 40 M AC, 10 M MAC, DC 82 µJ, EC 46 to 136 µJ, E(ANN) 138 µJ, full-spike.
FIGURES = {
    "dc_mj": (SMALL.dc_mj, "DC is 82.0 µJ"),
    "ec_mj": (SMALL.ec_mj[1], "EC at firing rate 1 is 136 µJ"),
    "ac": (4e7, "O_ac is 40.0 M"),
    "mac": (1e7, "O_mac is 10.0 M"),
    "energy_ratio": (SMALL.energy_ratio, "E(SNN)/E(ANN) is 0.594"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_limit_may_be_reached_but_not_passed(name):
    value, words = FIGURES[name]
    (met,) = check(SMALL, Limits(**{name: value}))
    assert met.ok
    assert met.text.startswith(f"{words}, within the limit of ")
    (passed,) = check(SMALL, Limits(**{name: value * 0.99999}))
    assert not passed.ok
    assert passed.text.startswith(f"{words}, 0.00100% above the limit of ")
    (far,) = check(SMALL, Limits(**{name: value / 3}))
    assert "200% above" in far.text
    (none,) = check(SMALL, Limits(**{name: 0.0}))
    assert none.text.startswith(f"{words}, above the limit of 0")


def test_every_limit_has_a_finding():
    limits = Limits(dc_mj=1, ec_mj=0.1, ac=1e8, mac=1e6, energy_ratio=0.5, full_spike=True)
    assert [finding.ok for finding in check(SMALL, limits)] == [
        True,
        False,
        True,
        False,
        False,
        True,
    ]


def test_acs_are_those_that_are_priced():
    events = replace(SMALL, convention=SMALL.convention.but(ac="events"))
    assert check(events, Limits(ac=3.9e7))[0].ok
    assert not check(SMALL, Limits(ac=3.9e7))[0].ok


def test_layers_that_get_more_than_spikes_are_named():
    (finding,) = check(FIXED, Limits(full_spike=True))
    told = "not full-spike: more than spikes reach layer2.0.conv1 (graded)"
    assert finding.text == f"{told} (the report is incomplete)"
    rows = FIXED.rows
    many = [replace(rows[6], path=f"block{i}.conv") for i in range(9)]
    (finding,) = check(replace(FIXED, rows=(*many, *rows)), Limits(full_spike=True))
    assert "block1.conv (graded), block2.conv" in finding.text
    assert finding.text.endswith("block6.conv (graded) and 4 more (the report is incomplete)")


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        (Limits(dc_mj=1), "the DC of blind is not known.*without data.*'syops run'"),
        (Limits(ac=1), "the O_ac of blind is not known"),
        (Limits(mac=1e9, energy_ratio=1), r"the E\(SNN\)/E\(ANN\) of blind is not known"),
    ],
)
def test_dc_of_bounds_cannot_be_checked(limits, what):
    with pytest.raises(SyopsValueError, match=what):
        check(BLIND, limits)


def test_ec_of_bounds_is_checked():
    limits = Limits(ec_mj=0.2, mac=1e7, full_spike=True)
    assert all(finding.ok for finding in check(BLIND, limits))
    assert [f.ok for f in check(ANN, Limits(dc_mj=0.137, ac=0))] == [False, True]


def test_a_ratio_needs_time_steps():
    note = "E(SNN)/E(ANN) is not available: T is nowhere"
    for notes, words in (((), "--time-steps"), ((note,), "T is nowhere")):
        report = replace(SMALL, ann_rows=None, notes=notes)
        with pytest.raises(SyopsValueError, match=words):
            check(report, Limits(energy_ratio=1))


def test_check_without_limits():
    with pytest.raises(SyopsValueError, match="nothing to check"):
        check(SMALL, Limits())


def test_check_against_a_baseline():
    more = replace(SMALL, rows=(SMALL.rows[0], spiking("layer1.0.conv1", 100_000_000, 0.5)))
    assert [finding.ok for finding in check(SMALL, Limits(), SMALL)] == [True, True]
    assert [finding.ok for finding in check(SMALL, Limits(), more)] == [True, True]
    worse, spikes = check(more, Limits(), SMALL)
    assert not worse.ok
    assert spikes.ok
    assert worse.text == "DC is 91.0 µJ, 11.0% above the baseline's 82.0 µJ; 0% allowed"
    assert not check(more, Limits(), SMALL, tolerance=0.1)[0].ok
    allowed = check(more, Limits(), SMALL, tolerance=0.11)[0]
    assert allowed.ok
    assert allowed.text == "DC is 91.0 µJ, at most 11% above the baseline's 82.0 µJ"


def test_a_baseline_without_data_is_held_against_the_upper_end():
    (energy, _) = check(SMALL, Limits(), BLIND)
    assert energy.text.startswith("EC at firing rate 1 is 136 µJ")
    (energy, _) = check(BLIND, Limits(), SMALL)
    assert energy.ok


def test_baseline_that_was_full_spike():
    spoilt = replace(SMALL, rows=(*SMALL.rows, FIXED.rows[6], spiking("last", 0, 0)))
    findings = check(spoilt, Limits(), SMALL, tolerance=99)
    assert [finding.ok for finding in findings] == [True, False]
    assert len(check(SMALL, Limits(), spoilt)) == 1


def test_full_spike_is_told_once():
    assert len(check(SMALL, Limits(full_spike=True), SMALL)) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"energy": EnergyModel("other", 1, 2)},
        {"input_shape": (1, 3, 9, 9)},
        {"convention": get_convention("dst")},
    ],
)
def test_a_baseline_that_was_not_counted_alike(change):
    with pytest.raises(SyopsValueError, match="cannot be compared: Not alike: .* in the baseline"):
        check(SMALL, Limits(), replace(SMALL, **change))


CHIP = EnergyModel("chip", 20, None, spike_only=True)


def test_macs_without_a_price_are_not_passed_over():
    chip = replace(SMALL, energy=CHIP)
    (finding,) = check(chip, Limits(dc_mj=0.8))
    assert finding.ok
    assert finding.text.startswith("DC, without the MACs that have no price, is 800 µJ")
    with pytest.raises(SyopsValueError, match="ANN. of small is not known: chip has no price"):
        check(chip, Limits(energy_ratio=1))
    more = replace(chip, rows=(*chip.rows, analog("head", 1_000_000)))
    findings = check(more, Limits(), chip)
    assert [finding.ok for finding in findings] == [True, False, True]
    assert findings[1].text == "O_mac is 11.0 M, 10.0% above the baseline's 10.0 M; 0% allowed"
