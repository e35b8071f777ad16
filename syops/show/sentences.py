"""Say in sentences what the totals of a network mean, and what a reader should know of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from syops.cost.conventions import DEFAULT
from syops.cost.energy import EnergyModel
from syops.cost.figures import Figures
from syops.cost.layer import Layer
from syops.cost.pricing import PJ_PER_MJ
from syops.cost.warnings import find_cautions
from syops.ledger.samples import Spread
from syops.ledger.scores import Scores
from syops.ops.kinds import COUNTED
from syops.units import factor, joules, quantity

_UNMEASURED = "Dynamic consumption (DC): not known without data; 'syops run' measures it"


def findings(report: Figures) -> Iterator[str]:
    """Say what the totals mean: three sentences at most, four where samples are told apart."""
    dc, (low, high) = report.dc_mj, report.ec_mj
    if report.network_type == "ANN" and dc is not None and dc == low == high:
        yield f"Energy: {joules(dc)}{incomplete(report)}\n  = {_dc_sum(report)}"
        if report.complete:
            yield "No layer gets spikes: DC and EC of an ANN are the same"
    elif dc is None:
        yield _UNMEASURED
        yield (
            f"{_interval(report)}\n  = {_ec_sum(report)}" if _has_sum(report) else _interval(report)
        )
    else:
        yield (
            f"Dynamic consumption (DC), at the measured firing rates: {joules(dc)}"
            f"{incomplete(report)}\n  = {_dc_sum(report)}"
        )
        yield _interval(report)
    yield from _spread(report)
    if report.measured:
        yield from _against_ann(report)
    elif (even := report.break_even_rate) is not None:
        yield f"Break-even firing rate with the same network as an ANN: {break_even_in_words(even)}"


def beside_figures(report: Figures) -> Iterator[str]:
    """Say what the headline figures do not: how the energy is summed, and what is not known."""
    if report.dc_mj is None:
        yield _UNMEASURED
        if _has_sum(report):
            yield f"EC = {_ec_sum(report)}"
    else:
        yield f"DC = {_dc_sum(report)}"
    if report.spread is None or report.spread.dc.half_width is None:
        yield from _spread(report)
    if report.measured and report.energy_ratio is None:
        yield from _against_ann(report)


def _spread(report: Figures) -> Iterator[str]:
    if report.spread is not None:
        yield f"DC over samples: {spread_in_words(report.spread)}"
    elif report.sample_table is not None or report.held_spread is not None:
        yield f"DC over samples: not known; {report.spread_reason}"


def spread_in_words(spread: Spread) -> str:
    """Say how the DC of samples differs."""
    dc = spread.dc
    ends = " to ".join(joules(float(end) / PJ_PER_MJ) for end in (dc.least, dc.most))
    if dc.half_width is None or dc.deviation is None:
        return f"{ends}, of a single sample"
    width, deviation = (joules(each / PJ_PER_MJ) for each in (dc.half_width, dc.deviation))
    return f"mean ± {width} (95 %), standard deviation {deviation}, {ends}"


def _interval(report: Figures) -> str:
    low, high = map(joules, report.ec_mj)
    between = "Estimated consumption (EC), at firing rates from 0 to 1"
    open_ended = math.isinf(report.ec_mj[1])
    ends = f"from {low}, upper end: {high}" if open_ended else f"{low} to {high}"
    return f"{between}: {ends}{incomplete(report)}"


def _has_sum(report: Figures) -> bool:
    """Return whether EC is a sum of ACs and MACs that are known."""
    return math.isfinite(report.ec_mj[1]) and not report.totals.either


def _dc_sum(report: Figures) -> str:
    return _priced(report, report.priced_ac, "", report.totals.spikes)


def _ec_sum(report: Figures) -> str:
    return _priced(report, report.dense_ac, "0 to ", report.totals.max_spikes)


def accuracy_in_words(scores: Scores | None) -> str:
    """Say what an accuracy is of."""
    if scores is None:
        return "as told to syops"
    top5 = scores.accuracy_top5
    five = "" if top5 is None else f"; top-5 {top5:.2%}"
    shares = {
        label: correct / samples
        for label, (samples, correct) in enumerate(zip(scores.samples, scores.correct, strict=True))
        if samples
    }
    worst, best = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
    spread = (
        f"; from {shares[worst]:.2%} (class {worst}) to {shares[best]:.2%} (class {best})"
        if shares[worst] < shares[best]
        else ""
    )
    return f"{sum(scores.correct)} of {sum(scores.samples)} samples{five}{spread}"


def _priced(report: Figures, ac: float | None, least: str, spikes: int) -> str:
    """Return the sum that the energy is, where all rows have the same prices, and the profile."""
    energy, counts = report.energy, []
    if ac or not report.mac:
        counts.append(f"{least}{quantity(ac or 0)} AC")
    if report.mac:
        counts.append(f"{quantity(report.mac)} MAC")
    if not isinstance(energy, EnergyModel) or (energy.e_neuron_pj and "neuron" in report.kinds):
        return f"{' + '.join(counts)}, each at the price of its layer ({energy.name})"
    mac = "without a price" if energy.e_mac_pj is None else f"x {energy.e_mac_pj:g} pJ"
    prices = {"AC": f"x {energy.e_ac_pj:g} pJ", "MAC": mac}
    terms = [f"{count} {prices[count.rpartition(' ')[2]]}" for count in counts]
    if energy.e_spike_pj and spikes:
        terms.append(f"{quantity(spikes / report.samples)} spikes x {energy.e_spike_pj:g} pJ")
    return f"{' + '.join(terms)} ({energy.name})"


def _against_ann(report: Figures) -> Iterator[str]:
    ratio = report.energy_ratio
    if ratio is None:
        if report.network_type != "ANN" or report.time_steps is not None:
            yield _no_ratio(report)
        return
    if ratio == 0:
        amount = "no energy, compared with"
    elif ratio < 1:
        amount = f"{factor(1 / ratio)} times less energy than"
    elif ratio == 1:
        amount = "the energy of"
    else:
        amount = f"{factor(ratio)} times as much energy as"
    yield f"E(SNN)/E(ANN) = {factor(ratio)}: {amount} the same network as an ANN"


_NO_RATIO = "E(SNN)/E(ANN) is not available"


def _no_ratio(report: Figures) -> str:
    """Say why there is no ratio, as far as that is known."""
    if (counter := report.convention.counter) != "syops":
        return f"{_NO_RATIO}: the convention of {counter} has no ANN to compare with"
    if report.time_steps is None:
        return f"{_NO_RATIO}: T is not known; say it with time_steps= (--time-steps)"
    if report.unpriced:
        return f"{_NO_RATIO}: {report.energy.name} has no price for a MAC"
    return next(filter(_is_no_ratio, report.notes), _NO_RATIO)


def _is_no_ratio(note: str) -> bool:
    return note.startswith(_NO_RATIO)


def break_even_in_words(rate: float) -> str:
    """Return the mean firing rate below which the SNN needs less than the ANN."""
    if rate <= 0:
        return "none, it needs more at any rate"
    return f"{rate:.3f}" if rate <= 1 else "none, it needs less at any rate"


def remarks(report: Figures) -> Iterator[str]:
    """Say what is not in the totals, and what else a reader should know."""
    yield from not_counted(report)
    if report.accuracy is not None:
        yield f"Accuracy: {report.accuracy:.2%}, {accuracy_in_words(report.scores)}"
    if report.measured and report.dense_ac and _has_sum(report):
        yield f"EC = {_ec_sum(report)}"
    even, rate = report.break_even_rate, report.mean_rate
    if report.measured and even is not None and rate is not None:
        told = break_even_in_words(even)
        yield f"Break-even firing rate with the ANN: {told}; measured: {rate:.3f}"
    if not report.measured:
        yield from input_in_words(report.conventions)
    if report.convention != DEFAULT:
        told = f" ({report.convention.title})" if report.convention.title else ""
        yield f"Convention: {report.convention.name}{told}"
    folded = sum(layer.folded is not None for layer in report.layers)
    if folded:
        norms = "1 BatchNorm" if folded == 1 else f"{folded} BatchNorms"
        yield f"Folded into the layers before them, at no cost: {norms}"
    outside = [layer for layer in report.layers if not layer.counted and layer.folded is None]
    if outside:
        usual = ", as in the paper" if report.kinds == COUNTED else ""
        yield f"Outside the totals{usual}: {', '.join(_by_kind(outside))}"
    if report.prepared:
        yield f"Of weights alone, prepared once and in no total: {'; '.join(_prepared(report))}"
    for note in report.notes:
        if not (report.measured and _is_no_ratio(note)):
            yield f"Note: {note}"


def input_in_words(conventions: Mapping[str, Any]) -> Iterator[str]:
    """Say what the inputs of a pass without values were taken to hold, and who says so."""
    if "input_signal" in conventions:
        said = str(conventions["input_signal"]).split(", ")
        yield f"Input: {'; '.join(map(_input_in_words, said))}"


def _input_in_words(said: str) -> str:
    asked, _, shown = said.partition(": ")
    if asked != "auto":
        return f"{said}, as input_signal says"
    return (
        f"{shown}, as in the example"
        if shown
        else "not declared: spikes or not (input_signal= says which)"
    )


def _prepared(report: Figures) -> Iterator[str]:
    """Yield the layers whose weights are made of others, by the operators that make them."""
    operators: dict[str, dict[str, None]] = {}
    for row in report.prepared:
        operators.setdefault(row.path or report.model, {})[row.operator] = None
    layers: dict[tuple[str, ...], list[str]] = {}
    for path, names in operators.items():
        layers.setdefault(tuple(names), []).append(path)
    for done, paths in layers.items():
        yield f"{', '.join(paths)} ({', '.join(done)})"


def warnings_in_words(report: Figures, of: str = "") -> tuple[str, ...]:
    """Return sentences on what may mislead; ``of`` names the network if there are several."""
    name = f"{of}: " if of else ""
    return tuple(f"Warning: {name}{warning}" for warning in find_cautions(report))


def incomplete(report: Figures) -> str:
    """Return the word beside figures in which something is missing; "" if nothing is."""
    return "" if report.complete else " (incomplete)"


def not_counted(report: Figures) -> Iterator[str]:
    """Yield the operators without a rule."""
    for where, calls in report.unaccounted.items():
        times = "once" if calls == 1 else f"{calls} times"
        yield f"Not counted, as syops has no rule for it: {where}, called {times}"


def constant_part(report: Figures) -> str:
    """Return what that part of the energy is made of which does not depend on firing rates."""
    return "MAC" if report.kinds <= COUNTED else "MAC, and AC outside synapses"


def _by_kind(layers: Sequence[Layer]) -> Iterator[str]:
    """Yield the operations of each kind of row: ``neuron 3.21 M AC``."""
    for kind in dict.fromkeys(layer.kind for layer in layers):
        ac = sum(layer.dense_ac for layer in layers if layer.kind == kind)
        mac = sum(layer.mac for layer in layers if layer.kind == kind)
        counts = ((ac, "AC"), (mac, "MAC"))
        yield f"{kind} {' + '.join(f'{quantity(n)} {what}' for n, what in counts if n) or '0'}"
