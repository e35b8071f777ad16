"""Check a network against its budget, for a CI job. Reads only reports; needs no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from syops.cost.networks import dc_mj, o_ac
from syops.errors import SyopsValueError, first_of
from syops.report.difference import unlike
from syops.report.report import Report
from syops.units import joules, number, quantity

_EC = "EC at firing rate 1"


@dataclass(frozen=True)
class Limits:
    """Set what a network may cost per sample; None is no limit.

    Attributes:
        dc_mj: DC in mJ.
        ec_mj: the upper end of EC in mJ: the energy if every neuron fires at every time-step.
        ac: O_ac, as it is priced.
        mac: O_mac.
        energy_ratio: E(SNN) / E(ANN), Eq. (6).
        full_spike: whether only spikes may reach all synaptic layers but the first and the last.
    """

    dc_mj: float | None = None
    ec_mj: float | None = None
    ac: float | None = None
    mac: float | None = None
    energy_ratio: float | None = None
    full_spike: bool = False


@dataclass(frozen=True)
class Finding:
    """Say in a sentence whether one limit was kept."""

    ok: bool
    text: str


def check(
    report: Report,
    limits: Limits,
    baseline: Report | None = None,
    tolerance: float = 0.0,
) -> tuple[Finding, ...]:
    """Hold a report against limits, and against an earlier report.

    A network is worse than the baseline if its DC (without data of both: the upper end of EC) is
    larger by more than ``tolerance``, a share of the baseline's, or if it is no longer full-spike.
    ACs and MACs are not held against it one by one, as what turns MACs into ACs is not a step back;
    only MACs that the energy leaves out, having no price, must not have grown either.

    Raises:
        SyopsValueError: a figure that the report does not have, a baseline that was not counted
            alike, or nothing to check.
    """
    found = tuple(_against_limits(report, limits))
    if baseline is not None:
        found += tuple(_against_baseline(report, baseline, tolerance, limits.full_spike))
    if not found:
        raise SyopsValueError("there is nothing to check: give a limit or a baseline")
    lacking = [
        f"{what} is incomplete"
        for what, one in (("the report", report), ("the baseline", baseline))
        if one is not None and not one.complete
    ]
    if not lacking:
        return found
    return tuple(Finding(f.ok, f"{f.text} ({', '.join(lacking)})") for f in found)


def _against_limits(report: Report, limits: Limits) -> Iterator[Finding]:
    if limits.dc_mj is not None:
        dc = _known(dc_mj(report), "DC", report)
        yield _within(_energy("DC", report), dc, limits.dc_mj, joules)
    if limits.ec_mj is not None:
        yield _within(_energy(_EC, report), report.ec_mj[1], limits.ec_mj, joules)
    if limits.ac is not None:
        ac = _known(o_ac(report), "O_ac", report)
        yield _within("O_ac", ac, limits.ac, quantity)
    if limits.mac is not None:
        yield _within_either("O_mac", report, limits.mac)
    if limits.energy_ratio is not None:
        ratio = _known(report.energy_ratio, "E(SNN)/E(ANN)", report)
        yield _within("E(SNN)/E(ANN)", ratio, limits.energy_ratio, number)
    if limits.full_spike:
        yield _full_spike(report)


def _against_baseline(
    report: Report, baseline: Report, tolerance: float, already: bool
) -> Iterator[Finding]:
    if differences := unlike(("the report", "the baseline"), (report, baseline)):
        raise SyopsValueError(f"report and baseline cannot be compared: {'; '.join(differences)}")
    what, energy, before = "DC", dc_mj(report), dc_mj(baseline)
    if energy is None or before is None:
        what, energy, before = _EC, report.ec_mj[1], baseline.ec_mj[1]
    yield _no_worse(_energy(what, report), energy, before, tolerance, joules)
    if report.unpriced:
        yield _no_worse("O_mac", report.mac, baseline.mac, tolerance, quantity)
    if baseline.full_spike and not already:
        yield _full_spike(report)


def _energy(what: str, report: Report) -> str:
    return f"{what}, without the MACs that have no price," if report.unpriced else what


def _no_worse(
    what: str, value: float, before: float, tolerance: float, told: Callable[[float], str]
) -> Finding:
    if math.isinf(before):
        raise SyopsValueError(
            f"the baseline's {what} has no upper end: hold a report of 'syops run' against another "
            "one, or make both without --graded ac"
        )
    text, allowed = _is(what, value, told), f"{100 * tolerance:.4g}%"
    if value <= before * (1 + tolerance):
        return Finding(True, f"{text}, at most {allowed} above the baseline's {told(before)}")
    above = f"{_above(value, before)}the baseline's {told(before)}"
    return Finding(False, f"{text}, {above}; {allowed} allowed")


def _within(what: str, value: float, limit: float, told: Callable[[float], str]) -> Finding:
    text = _is(what, value, told)
    if value <= limit:
        return Finding(True, f"{text}, within the limit of {told(limit)}")
    return Finding(False, f"{text}, {_above(value, limit)}the limit of {told(limit)}")


def _within_either(what: str, report: Report, limit: float) -> Finding:
    """Return the MACs, some of which may turn out to be ACs."""
    least = (report.totals.mac - report.totals.either) / report.samples
    if least <= limit < report.mac:
        between = f"{quantity(least)} to {quantity(report.mac)}"
        raise SyopsValueError(
            f"whether the {what} of {report.model}, {between}, is within the limit of "
            f"{quantity(limit)} is not known: {_open(report)}"
        )
    return _within(what, report.mac if report.mac <= limit else least, limit, quantity)


def _open(report: Report) -> str:
    """Return which layers may get spikes or not, and what to do about it."""
    caution = next(warning for warning in report.warnings if warning.kind == "either")
    return str(caution)


def _is(what: str, value: float, told: Callable[[float], str]) -> str:
    return f"{what} has no upper end" if math.isinf(value) else f"{what} is {told(value)}"


def _above(value: float, limit: float) -> str:
    share = math.isfinite(value) and limit
    return f"{number(100 * (value - limit) / limit)}% above " if share else "above "


def _full_spike(report: Report) -> Finding:
    offending = [layer for layer in report.offending if layer.signal != "unknown"]
    if not report.offending:
        return Finding(True, "full-spike: only spikes reach the synapses of all inner layers")
    if not offending:
        raise SyopsValueError(f"whether {report.model} is full-spike is not known: {_open(report)}")
    names = [f"{layer.name} ({layer.signal})" for layer in offending]
    reached = first_of(names)
    return Finding(False, f"not full-spike: more than spikes reach {reached}")


def _known(value: float | None, what: str, report: Report) -> float:
    if value is not None:
        return value
    if not report.measured:
        raise SyopsValueError(
            f"the {what} of {report.model} is not known, as the report was made without data: "
            "make one with 'syops run', or limit EC and O_mac, which need none"
        )
    notes = [note for note in report.notes if what in note]
    why = notes[0] if notes else "count it with its time-steps (--time-steps)"
    if report.unpriced:
        why = f"{report.energy.name} has no price for its MACs"
    raise SyopsValueError(f"the {what} of {report.model} is not known: {why}")
