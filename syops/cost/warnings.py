"""Derive what may mislead in a report, to be said before its figures.

The report stores facts. Warnings are derived from these facts when they are asked for. Therefore
they do not depend on how the data was split into batches or merged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeVar

from syops.cost.conventions import MAGNITUDES
from syops.cost.energy import EnergyModel
from syops.cost.figures import Figures
from syops.errors import first_of
from syops.ledger.rows import Drive, Magnitudes, Operations, Row, ends, row_names
from syops.ledger.updates import Updates
from syops.ops.kinds import BATCH_DIMS, SPARSE, SPIKES, SYNAPTIC
from syops.units import joules, quantity

ENOUGH = 32
"""Samples from which on a silent layer is no accident."""

_CHIP = ("offending", "ends", "unpriced")


@dataclass(frozen=True)
class Caution:
    """State one fact that may mislead a reader.

    Attributes:
        kind: a name for programs, such as "incomplete" or "graded".
        layers: the layers concerned, by name; empty where it concerns the whole network.
        text: what is the matter, in a sentence that names the layers.
        advice: what to type or to do about it; empty where nothing helps.
    """

    kind: str
    layers: tuple[str, ...]
    text: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.text}; {self.advice}" if self.advice else self.text


def find_cautions(report: Figures) -> Iterator[Caution]:
    """Yield what may mislead in a report, the worst first."""
    rows = [
        (name, row, operations)
        for name, row, operations in zip(
            row_names(report.effective_rows, report.model),
            report.effective_rows,
            report.operations,
            strict=True,
        )
        if row.kind in report.kinds or row.kind == "neuron"
    ]
    yield from _partial(report)
    yield from _incomplete(report)
    yield from _dependent(report)
    yield from _in_training(report, rows)
    yield from _one_step(report)
    yield from _steps_inside(report)
    yield from _reset_at_every_step(report)
    yield from _exchanged_axes(report)
    yield from _hidden_steps(report)
    yield from _repeated(report, rows)
    yield from _constant_input(rows)
    yield from _either(report, rows)
    yield from _silent_or_saturated(report, rows)
    yield from _graded(report, rows)
    yield from _batched(report, [named for named in rows if named[1].kind in report.kinds])
    yield from _rounded(report, [named for named in rows if named[1].kind in report.kinds])
    yield from _sparse(report, [named for named in rows if named[1].kind in report.kinds])
    yield from _chip(report, [named for named in rows if named[1].kind in report.kinds])


Counted = TypeVar("Counted", Drive, Magnitudes)
Named = tuple[str, Row, Operations]
"""A row with its name and its class."""


def _partial(report: Figures) -> Iterator[Caution]:
    for why in report.ended:
        yield Caution("partial", (), f"a part of the data was counted: {why}")


def _incomplete(report: Figures) -> Iterator[Caution]:
    if report.complete:
        return
    where = tuple(report.unaccounted)
    yield Caution(
        "incomplete",
        where,
        "the totals are incomplete, and may be too small or too large: "
        f"syops has no rule for {first_of(where)}",
        "give it a rule with rules=; strict=True makes this an error",
    )


def _neurons(report: Figures, kind: Callable[[Updates], bool]) -> tuple[str, ...]:
    """Return the neurons of a kind, by name."""
    if not report.passes:  # a report of an earlier version
        return ()
    return tuple(each.path or report.model for each in report.updates if kind(each))


def _steps(report: Figures) -> int | None:
    """Return T, as the user gave it or as the input has it."""
    has_time = report.conventions.get("batch_dim") == 1 and len(report.input_shape) > 1
    return report.input_shape[0] if report.time_steps is None and has_time else report.time_steps


def _by_calls(report: Figures) -> bool:
    """Return whether each call of the model was counted as one time-step."""
    return report.conventions.get("time_loop") == "caller" or "unroll" in report.conventions


def _dependent(report: Figures) -> Iterator[Caution]:
    """Warn of calls that were counted as samples of their own and know of earlier ones."""
    if report.dependent and not _by_calls(report):
        yield Caution(
            "dependent",
            (),
            f"{report.dependent} of {report.passes} calls of the model go on from an earlier one, "
            "with states or results of it, but each was counted as samples of its own, so that "
            "every figure is that of one call",
            "if T calls are the time-steps of one batch, pass time_steps=T; else reset the states "
            "before each call",
        )


def _in_training(report: Figures, rows: list[Named]) -> Iterator[Caution]:
    if not report.in_training:
        return
    names = {name for name, row, _ in rows if row.kind == "norm" and row.path in report.in_training}
    cost = sum(layer.dc_mj or 0 for layer in report.layers if layer.name in names)
    share = f", which cost {cost / report.dc_mj:.1%} of DC" if report.dc_mj and cost else ""
    yield Caution(
        "training",
        report.in_training,
        "counted in training mode, in which dropouts drop and BatchNorms cannot be folded: "
        f"{first_of(report.in_training)}{share}",
        "call model.eval() before the block, unless it is training that you count",
    )


def _one_step(report: Figures) -> Iterator[Caution]:
    steps = _steps(report)
    layers = _neurons(report, lambda neuron: 0 < neuron.steps <= report.passes)
    if steps is None and not report.dependent and len(layers) == len(report.updates):
        yield from _one_step_of_many(report, layers)
    if layers and steps is not None and steps > 1:
        yield Caution(
            "one_step",
            layers,
            f"updated for one time-step in a forward pass, although T = {steps}: "
            f"{first_of(layers)}",
            "if your code calls the model once a step, count that loop: with count_syops(model, "
            f"time_steps={steps}) as count: ..., or give a [T, N, ...] input and unroll=0; neurons "
            'of spikingjelly take all steps at once with step_mode="m"; if there is one step, pass '
            "time_steps=1",
        )


def _one_step_of_many(report: Figures, layers: tuple[str, ...]) -> Iterator[Caution]:
    """Warn that one time-step was counted, where nobody says that there is no other."""
    if layers:
        yield Caution(
            "one_step",
            layers,
            "one time-step was counted, as each call of the model updates its neurons once: "
            f"{first_of(layers)}",
            "if the first dimension of the input is time, pass unroll=0 (--unroll 0); if your "
            "code calls the model once a step, count that loop: with count_syops(model, "
            "time_steps=T) as count: ...; if there is one step, pass time_steps=1",
        )


def _steps_inside(report: Figures) -> Iterator[Caution]:
    steps = _steps(report)
    layers = _neurons(report, lambda neuron: neuron.calls < neuron.steps)
    if layers and steps is not None and report.conventions.get("time_loop") == "caller":
        yield Caution(
            "steps_inside",
            layers,
            f"time_steps={steps} says that a call of the model is one time-step, but in each call "
            f"several were run by {first_of(layers)}",
            "leave time_steps out, so that each call is a batch of its own",
        )


def _reset_at_every_step(report: Figures) -> Iterator[Caution]:
    def forgets(neuron: Updates) -> bool:
        return neuron.starts == neuron.calls == neuron.steps > report.passes

    layers = _neurons(report, forgets)
    if layers and report.time_steps != 1:
        yield Caution(
            "reset",
            layers,
            f"reset before every time-step, so that none of them knows of those before it: "
            f"{first_of(layers)}",
            "reset the states once, before the loop over time-steps, and hand them from one step "
            "to the next",
        )


def _hidden_steps(report: Figures) -> Iterator[Caution]:
    """Warn of neurons with one update per sample over several steps: T counted as samples."""

    def hides(neuron: Updates) -> bool:
        return neuron.steps > report.passes and neuron.samples == report.samples

    layers = _neurons(report, hides)
    if not layers:
        return
    steps = {each.steps // report.passes for each in report.updates if hides(each)}
    batch_dim = report.conventions.get("batch_dim", 0)
    yield Caution(
        "samples",
        layers,
        f"dimension {batch_dim} of the input was taken for samples and holds time-steps as well "
        f"({', '.join(map(str, sorted(steps)))} a sample), so that every figure is that of one "
        f"time-step: {first_of(layers)}",
        "call nn.Sequential(nn.Flatten(0, 1), model) with both dimensions: [N, T, ...], or "
        "[T, N, ...] and batch_dim=1; if the dimension is time alone, pass batch_dim=1",
    )


def _exchanged_axes(report: Figures) -> Iterator[Caution]:
    steps, shape = report.time_steps, report.input_shape
    batch_dim = report.conventions.get("batch_dim", 0)
    first = next((row.operator for row in report.rows if row.kind in SYNAPTIC), "")
    if steps is None or batch_dim not in (0, 1) or len(shape) != BATCH_DIMS.get(first, 0) + 1:
        return
    time = 1 - batch_dim
    if shape[batch_dim] == steps != shape[time]:
        yield Caution(
            "axes",
            (),
            f"dimension {batch_dim} of the input, taken for samples, has the length T = {steps}; "
            f"dimension {time} has {shape[time]}",
            f"if dimension {batch_dim} is time, pass batch_dim={time}",
        )


def _repeated(report: Figures, rows: list[Named]) -> Iterator[Caution]:
    layers = tuple(name for name, row, _ in rows if _is_repeated(row))
    if not layers:
        return
    once = replace(report, rows=tuple(map(_once, report.rows)))
    if once.dc_mj is None or report.dc_mj is None:
        what, now, before = "EC", _range(*once.ec_mj), _range(*report.ec_mj)
    else:
        what, now, before = "DC", joules(once.dc_mj), joules(report.dc_mj)
    if now == before:  # what is saved cannot be seen
        return
    yield Caution(
        "repeated",
        layers,
        f"the input is the same at every time-step at {first_of(layers)}; computed once a sample, "
        f"{what} would be {now} instead of {before}",
        "to save this, compute it once, before the loop over time-steps, and repeat the result",
    )


def _range(low: float, high: float) -> str:
    return f"{joules(low)} to {joules(high)}"


def _is_repeated(row: Row) -> bool:
    return row.kind in SYNAPTIC and row.repeated > 0 and not row.changed


def _once(row: Row) -> Row:
    """Return the row without what repeats the time-step before."""
    if not _is_repeated(row):
        return row
    share = 1 - Fraction(row.repeated, row.dense)
    return replace(
        row,
        dense=row.dense - row.repeated,
        repeated=0,
        drives=tuple(_scaled(drive, share) for drive in row.drives),
        unnormalised=tuple(_scaled(drive, share) for drive in row.unnormalised),
    )


def _scaled(counts: Counted, share: Fraction) -> Counted:
    """Return a share of what was counted."""
    scaled = replace(counts, ac=counts.ac * share, events=int(counts.events * share))
    if isinstance(scaled, Magnitudes):
        return scaled
    return replace(scaled, magnitudes=tuple(_scaled(each, share) for each in scaled.magnitudes))


def _constant_input(rows: list[Named]) -> Iterator[Caution]:
    found: dict[str, list[str]] = {}
    for name, row, _ in rows:
        for drive in row.drives:
            evidence = drive.evidence
            seen = evidence.seen
            unproven = not (evidence.analog or evidence.integer or evidence.derived)
            if unproven and seen and seen.low == seen.high and abs(seen.low) <= 1:
                found.setdefault(f"{seen.low:g}", []).append(name)
    for value, layers in found.items():
        yield Caution(
            "constant",
            tuple(layers),
            f"the data held nothing but {value}, and was taken for spikes, at {first_of(layers)}",
            'count real data, or say what it is: input_signal="analog"',
        )


def _either(report: Figures, rows: list[Named]) -> Iterator[Caution]:
    """Warn of layers that may get spikes or not, since an input or operator is not known."""
    layers = tuple(name for name, row, v in rows if v.either and row.kind in report.kinds)
    if not layers:
        return
    said = str(report.conventions.get("input_signal", "")).split(", ")
    advice = (
        'say what the input holds, such as input_signal="analog" (--input-signal analog), or give '
        "an example of it"
    )
    yield Caution(
        "either",
        layers,
        "without data it is not known whether spikes or other values reach "
        f"{first_of(layers)}: operations there are ACs or MACs, and O_mac is an upper end",
        advice if "auto" in said else "get_model_syops measures them on data",
    )


def _silent_or_saturated(report: Figures, rows: list[Named]) -> Iterator[Caution]:
    if not report.measured or report.samples < ENOUGH:
        return
    driven = [
        (name, operations.rate)
        for name, row, operations in rows
        if row.kind in SYNAPTIC and operations.rate is not None and operations.max_spikes
    ]
    if not any(rate is not None and 0 < rate < 1 for _, rate in driven):
        return  # a network in which nothing works as it should is not trained
    for kind, limit, what in (
        ("silent", 0, "no spike reached"),
        ("saturated", 1, "every neuron fired at every time-step before"),
    ):
        if layers := tuple(name for name, rate in driven if rate == limit):
            yield Caution(
                kind,
                layers,
                f"in {report.samples} samples {what} {first_of(layers)}",
                "check weights, thresholds and the scale of the input",
            )


def _graded(report: Figures, rows: list[Named]) -> Iterator[Caution]:
    exempt = ends(report.effective_rows)
    layers = tuple(
        name
        for name, row, operations in rows
        if row.kind in SYNAPTIC
        and operations.signal == "graded"
        and operations.mac
        and row.layer not in exempt
    )
    if not layers or report.convention.graded != "mac":
        return
    if MAGNITUDES not in report.recorded:
        share, result = "", "what they cost is not known, as an earlier version counted"
    else:
        share, result = _as_acs(report, layers)
    yield Caution(
        "graded",
        layers,
        "graded input (integers, or one constant times integers) is counted as MACs at "
        f"{first_of(layers)}{share}; counted as ACs, {result}",
        'set this with graded="ac" (--graded ac)',
    )


def _as_acs(report: Figures, layers: Sequence[str]) -> tuple[str, str]:
    """Return the share of graded layers in DC, and the energy with them counted as ACs."""
    other = replace(report, convention=report.convention.but(graded="ac"))
    if other.dc_mj is None or report.dc_mj is None:
        low, high = map(joules, other.ec_mj)
        ended = math.isfinite(other.ec_mj[1])
        return "", f"EC is {low} to {high}" if ended else "EC has no upper end"
    energy = sum(layer.dc_mj or 0 for layer in report.layers if layer.name in set(layers))
    share = f", {energy / report.dc_mj:.1%} of DC" if report.dc_mj else ""
    return share, f"DC is {joules(other.dc_mj)}"


def _batched(report: Figures, rows: list[Named]) -> Iterator[Caution]:
    """Warn of products of two rates that are those of batches of several samples."""
    known = report.convention
    by_rates = known.counter == "syops" and (known.ac, known.pairs) == ("rate", "product")
    if not (report.measured and by_rates) or report.samples == report.passes:
        return
    found = [
        (name, operations)
        for name, row, operations in rows
        if [drive.evidence.signal in SPIKES for drive in row.drives] == [True, True]
        and row.kind in SYNAPTIC
        and operations.spikes
    ]
    if not found:
        return
    layers = tuple(name for name, _ in found)
    by_rate = quantity(float(sum(v.ac for _, v in found) / report.samples))
    events = quantity(sum(v.ac_events for _, v in found) / report.samples)
    yield Caution(
        "batched",
        layers,
        "products of two spike tensors are counted by the rates of whole batches, so that other "
        f"batches give other ACs: {by_rate} a sample here, and {events} coincidences of spikes, "
        f"whatever the batches, at {first_of(layers)}",
        'count batches of one sample (--batch-size 1), or coincidences: ac="events" (--ac events)',
    )


def _rounded(report: Figures, rows: list[Named]) -> Iterator[Caution]:
    """Warn of weights that may need few bits and are priced as floating-point numbers."""
    groups: dict[EnergyModel, dict[str, str]] = {}
    for name, row, _ in rows:
        model = report.energy.model_for(row.path, row.dtype)
        if row.rounded and "floating point" in model.technology:
            groups.setdefault(model, {})[name] = row.path
    for model, layers in groups.items():
        pattern, rest = next(iter(layers.values())), report.energy.models[-1].name
        yield Caution(
            "rounded",
            tuple(layers),
            f"weights that were rounded or made of signs are priced as {model.name} prices those "
            f"of {first_of(layers)}",
            "if they need few bits, price them so by layer, such as "
            f"energy={{{pattern!r}: 'horowitz45-int8', '*': {rest!r}}} "
            f"(--energy {pattern}=horowitz45-int8 --energy {rest})"
            if pattern
            else "if they need few bits, price them so: energy='horowitz45-int8'",
        )


def _sparse(report: Figures, rows: list[Named]) -> Iterator[Caution]:
    """Warn of sparse matrices, such as the adjacency of a graph, that are counted as dense ones."""
    layers = tuple(name for name, row, _ in rows if row.note == SPARSE)
    if layers:
        yield Caution(
            "sparse",
            layers,
            "entries that a sparse matrix lacks are counted as synapses, as zeros in a dense one "
            f"are: {first_of(layers)}",
            "where they are skipped, the share of entries that the matrix has is left",
        )


def _chip(report: Figures, rows: list[Named]) -> Iterator[Caution]:
    """Yield what the energy model cannot run or price."""
    exempt = ends(report.effective_rows)
    groups: dict[tuple[EnergyModel, str], list[str]] = {}
    for name, row, operations in rows:
        model = report.energy.model_for(row.path, row.dtype)
        known_to_offend = operations.signal not in (*SPIKES, "unknown")
        if row.kind in SYNAPTIC and model.spike_only and known_to_offend:
            kind = "ends" if row.layer in exempt else "offending"
        elif operations.mac and model.mac_price(row.kind) is None:
            kind = "unpriced"
        else:
            continue
        groups.setdefault((model, kind), []).append(name)
    for (model, kind), names in sorted(groups.items(), key=lambda group: _CHIP.index(group[0][1])):
        layers = ", ".join(names)
        free = " (MACs not priced)" if model.e_mac_pj is None else ""
        text = {
            "offending": f"{model.name} processes spikes alone and cannot run this network as it "
            f"is: more than spikes reaches {layers}{free}",
            "ends": f"{model.name} processes spikes alone; of the first and the last layer has to "
            f"be computed elsewhere: {layers}{free}",
            "unpriced": f"{model.name} has no price for a MAC; not priced: {layers}",
        }[kind]
        yield Caution(kind, tuple(names), text)
