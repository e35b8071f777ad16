"""Write a report as JSON, and read it back.

Each value in a file is checked, since the file may be cut off or written by another program.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, fields, replace
from fractions import Fraction
from typing import Any, cast, get_args

from syops.cost.conventions import DEFAULT, MAGNITUDES, SWITCHES, TEXTS, Convention, chosen
from syops.cost.energy import Energy, EnergyMap, EnergyModel
from syops.cost.figures import Figures
from syops.cost.pricing import check_energy
from syops.cost.warnings import find_cautions
from syops.errors import SyopsError, SyopsValueError, shown
from syops.ledger.calls import ByValue, Look, ModuleCalls
from syops.ledger.provenance import HEXADECIMAL, Provenance
from syops.ledger.rows import Drive, Magnitudes, Row, Updates, joined_magnitudes
from syops.ledger.samples import Moments, Spread
from syops.ledger.scores import Scores
from syops.ledger.zeros import ZeroCounts, ZeroKind, Zeros
from syops.ops.kinds import KINDS
from syops.ops.values import Evidence, Seen, Unit
from syops.show.counts import neurons_from_json, neurons_to_json
from syops.show.fields import LARGEST_COUNT, LARGEST_NUMBER, MOST, Fields, parsed
from syops.units import without_infinity

SCHEMA = 2
"""Version of the JSON layout.

1: of the ANN only its MACs were kept (``ann_mac``).
2: the ANN's rows; dtype, elements of weights and of results for each row; accuracy; an energy model
   for each layer; in words whether the network is full-spike.
"""

_LABEL = re.compile(r"0|-?[1-9][0-9]{0,18}")

_SHORT_CUTS = ("graded", "ac", "fold_bn")

_HEADLINE = (
    *("ac", "ac_events", "mac", "dense_ac", "mean_rate", "dc_mj", "ec_mj"),
    *("energy_ratio", "break_even_rate", "spikes_per_synapse"),
)


def to_json(report: Figures) -> str:
    """Return the report as JSON: what it is made of, and beside it what follows from that."""
    totals = {name: _plain(value) for name, value in asdict(report.totals).items()}
    if not report.measured:
        totals |= {"ac": None, "ac_events": None, "spikes": None}
    ann_rows = report.ann_rows
    content = {
        "schema": SCHEMA,
        "model": report.model,
        "network_type": report.network_type,
        "full_spike": report.full_spike,
        "measured": report.measured,
        "samples": report.samples,
        "passes": report.passes,
        "time_steps": report.time_steps,
        "params": report.params,
        "input_shape": report.input_shape,
        "accuracy": report.accuracy,
        "accuracy_top5": report.scores and report.scores.accuracy_top5,
        "scores": report.scores and asdict(report.scores),
        "spread": _spread_to_json(report),
        "complete": report.complete,
        "warnings": [asdict(warning) for warning in find_cautions(report)],
        "per_sample": {name: getattr(report, name) for name in _HEADLINE},
        "totals": totals,
        "energy": _energy_to_json(report.energy),
        "convention": asdict(report.convention),
        "conventions": dict(report.conventions),
        "recorded": sorted(report.recorded),
        "modules": [_plain_fields(each) for each in report.modules],
        "versions": dict(report.versions),
        "provenance": asdict(report.provenance),
        "unaccounted": dict(report.unaccounted),
        "prepared": [_row_to_json(row) for row in report.prepared],
        "updates": [asdict(each) for each in report.updates],
        "zeros": report.zero_counts and asdict(report.zero_counts),
        "neurons": neurons_to_json(report.neuron_layers),
        "notes": report.notes,
        "ended": report.ended,
        "kinds": sorted(report.kinds),
        "layers": [asdict(layer) for layer in report.layers],
        "rows": [_row_to_json(row) for row in report.rows],
        "ann_rows": None if ann_rows is None else [_row_to_json(row) for row in ann_rows],
    }
    return json.dumps(without_infinity(content), indent=1, ensure_ascii=False, allow_nan=False)


def figures_from_json(text: str, where: str = "") -> Figures:
    """Return the figures from what `to_json` gave.

    Args:
        text: the JSON.
        where: what to call it in errors: a file name.

    Raises:
        SyopsValueError: the text is no report, a damaged one, or one of another schema version.
    """
    name = where or "this"
    try:
        content = parsed(text)
    except (ValueError, RecursionError) as error:
        raise SyopsValueError(f"{name} is not a syops report, or was cut off: {error}") from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema is None:
        raise SyopsValueError(f"{name} is not a syops report: it has no schema version")
    if isinstance(schema, bool) or schema != SCHEMA:
        raise SyopsValueError(
            f"{name} is a report of schema version {shown(schema)}, this syops reads "
            f"{SCHEMA}; use the version of syops that wrote it"
        )
    try:
        report = _report(Fields(content))
        check_energy(report.energy, report.rows)
        return report
    except SyopsError as error:
        raise SyopsValueError(f"{name} is a damaged report: {error}") from error


def _report(content: Fields) -> Figures:
    accuracy = content.optional("accuracy", Fields.number)
    ann_rows = content.optional("ann_rows", _rows)
    rows = _rows(content, "rows")
    if not rows:
        content.refuse("rows", "a list of at least one row")
    conventions = _conventions(content)
    convention, recorded = _convention(content, conventions)
    return Figures(
        model=content.text("model"),
        rows=rows,
        samples=content.count("samples", least=1),
        energy=_energy_from_json(content.inner("energy")),
        time_steps=content.optional("time_steps", lambda c, key: c.count(key, least=1)),
        params=content.count("params"),
        input_shape=_shape(content),
        ann_rows=ann_rows,
        conventions={name: conventions[name] for name in conventions if name not in _SHORT_CUTS},
        versions=content.mapping("versions", (str,)),
        unaccounted=_unaccounted(content),
        prepared=_rows(content, "prepared") if content.has("prepared") else (),
        notes=tuple(content.values("notes", str)),
        ended=tuple(content.values("ended", str)) if content.has("ended") else (),
        kinds=frozenset(content.values("kinds", str, KINDS)),
        measured=content.truth("measured"),
        accuracy=accuracy,
        passes=content.count("passes") if content.has("passes") else 0,
        updates=content.each("updates", _updates) if content.has("updates") else (),
        scores=_scores(content, accuracy) if content.has("scores") else None,
        convention=convention,
        recorded=recorded,
        modules=content.each("modules", _module_calls) if content.has("modules") else (),
        zero_counts=content.optional("zeros", _zeros) if content.has("zeros") else None,
        neuron_layers=content.optional("neurons", neurons_from_json)
        if content.has("neurons")
        else None,
        held_spread=content.optional("spread", _spread) if content.has("spread") else None,
        provenance=_provenance(content) if content.has("provenance") else Provenance(),
    )


def _provenance(content: Fields) -> Provenance:
    inner = content.inner("provenance")

    def digits(fields: Fields, key: str) -> str:
        found = fields.text(key)
        is_one = len(found) == HEXADECIMAL and not set(found) - set("0123456789abcdef")
        return found if is_one else fields.refuse(key, f"{HEXADECIMAL} hexadecimal digits")

    return Provenance(
        calls=tuple(inner.values("calls", str)),
        seeds=inner.counts("seeds"),
        weights=inner.optional("weights", digits),
        data=inner.optional("data", digits),
    )


def _scores(content: Fields, accuracy: float | None) -> Scores | None:
    """Return the scores of a report, whose accuracy they are."""
    inner = content.optional("scores", Fields.inner)
    if inner is None:
        return None
    scores = Scores(*(inner.counts(field.name) for field in fields(Scores)))
    if accuracy != scores.accuracy:
        content.refuse("accuracy", f"that of the scores, {scores.accuracy}")
    return scores


def _spread_to_json(report: Figures) -> dict[str, Any] | None:
    """Return the spread over samples, if it is known: what it is made of, and what follows."""
    spread = report.spread
    if spread is None:
        return None
    classes = spread.by_class
    return {
        "basis": dict(spread.basis),
        **_moments_to_json(spread),
        "by_class": None
        if classes is None
        else {str(label): _moments_to_json(each) for label, each in classes.items()},
    }


def _moments_to_json(spread: Spread) -> dict[str, Any]:
    moments = {"ac": spread.ac, "mac": spread.mac, "dc": spread.dc}
    return {
        name: {
            **{key: _plain(value) for key, value in asdict(each).items()},
            "deviation": each.deviation,
            "half_width": each.half_width,
        }
        for name, each in moments.items()
    }


def _spread(content: Fields, key: str) -> Spread:
    inner = content.inner(key)
    by_class = None
    if inner.has("by_class"):
        by_class = inner.optional("by_class", _spread_by_class)
    whole = Spread(*_all_moments(inner), inner.mapping("basis", (str,)), by_class)
    if by_class and sum(each.dc.number for each in by_class.values()) != whole.dc.number:
        inner.refuse("by_class", f"the {whole.dc.number} samples by class")
    return whole


def _spread_by_class(content: Fields, key: str) -> dict[int, Spread]:
    inner = content.inner(key)
    labels = inner.plain()
    if not all(_LABEL.fullmatch(label) for label in labels):
        content.refuse(key, "an object with integers for names")
    return {int(label): Spread(*_all_moments(inner.inner(label))) for label in labels}


def _all_moments(content: Fields) -> tuple[Moments, Moments, Moments]:
    ac, mac, dc = (_moments(content.inner(name)) for name in ("ac", "mac", "dc"))
    return ac, mac, dc


def _moments(content: Fields) -> Moments:
    number = content.count("number", least=1)
    moments = Moments(number, *map(content.fraction, ("total", "squares", "least", "most")))
    mean = moments.total / number
    if not moments.least <= mean <= moments.most or moments.squares < mean * moments.total:
        content.refuse("total", "sums of values between least and most")
    return moments


def _rows(content: Fields, key: str) -> tuple[Row, ...]:
    """Return rows, none of them twice."""
    rows = content.each(key, _row_from_json)
    if not all(row.call for row in rows):  # syops 0.1.0 kept the order of the rows alone
        rows = tuple(replace(row, place=i, call="") for i, row in enumerate(rows))
    met: dict[Any, int] = {}
    for i, row in enumerate(rows):
        if met.setdefault(row.key, i) != i:
            raise SyopsValueError(
                f"{key}[{i}] is the same row as {key}[{met[row.key]}]: path, kind, operator, "
                "weight and site are equal"
            )
    return rows


def _shape(content: Fields) -> tuple[int, ...]:
    sizes = content.values("input_shape", int)
    if not all(0 <= size <= LARGEST_COUNT for size in sizes):
        content.refuse("input_shape", f"a list of integers from 0 to {MOST}")
    return tuple(sizes)


def _conventions(content: Fields) -> dict[str, Any]:
    found = content.mapping("conventions", (str, int, bool))
    inner = content.inner("conventions")
    for name, known in (("graded", ("mac", "ac")), ("ac", ("rate", "events"))):
        if name in found:
            inner.text(name, known)
    if "input_signal" in found:
        inner.text("input_signal")
    if "fold_bn" in found:
        inner.truth("fold_bn")
    dims, batch_dim = len(content.values("input_shape", int)), found.get("batch_dim", 0)
    if type(batch_dim) is not int or not -dims <= batch_dim < max(dims, 1):
        inner.refuse("batch_dim", f"a dimension of an input with {dims}")
    return found


def _convention(content: Fields, conventions: dict[str, Any]) -> tuple[Convention, frozenset[str]]:
    """Return what a report is seen under, and what was recorded besides."""
    if content.has("convention"):
        inner = content.inner("convention")
        told = (name for name in TEXTS if name == "name" or inner.has(name))
        texts: dict[str, Any] = {name: inner.text(name) for name in told}
        switches: dict[str, Any] = {n: inner.text(n, known) for n, known in SWITCHES.items()}
        known = Convention(**texts, **switches)
        return known, frozenset(content.values("recorded", str))
    # syops 0.1.0 had three switches, and took magnitudes if one of them asked for it.
    short_cuts = {name: conventions[name] for name in _SHORT_CUTS if name in conventions}
    recorded = {MAGNITUDES} if short_cuts.get("graded") == "ac" else set[str]()
    return chosen(DEFAULT, **short_cuts), frozenset(recorded)


def _unaccounted(content: Fields) -> dict[str, int]:
    found = content.mapping("unaccounted", (int,))
    inner = content.inner("unaccounted")
    return {name: inner.count(name) for name in found}


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Fraction) else value


# Energy models


def _energy_to_json(energy: Energy) -> dict[str, Any]:
    if isinstance(energy, EnergyModel):
        return asdict(energy)
    return {"rules": [{"pattern": pattern, **asdict(model)} for pattern, model in energy.rules]}


def _energy_from_json(content: Fields) -> Energy:
    if "rules" not in content.plain():
        return _energy_model(content)
    rules = content.each("rules", lambda rule: (rule.text("pattern"), _energy_model(rule)))
    return EnergyMap(rules)


def _energy_model(content: Fields) -> EnergyModel:
    known = {field.name for field in fields(EnergyModel)}
    given = {name: value for name, value in content.plain().items() if name in known}
    for name in ("name", "e_ac_pj", "e_mac_pj"):
        content.get(name)
    return EnergyModel(**given)


# Rows


def _row_to_json(row: Row) -> dict[str, Any]:
    content = {field.name: _plain(getattr(row, field.name)) for field in fields(Row)}
    content["by_value"] = asdict(row.by_value)
    for name in ("drives", "unnormalised"):
        content[name] = [_drive_to_json(drive) for drive in getattr(row, name)]
    return content


def _row_from_json(content: Fields) -> Row:
    drives = content.each("drives", _drive_from_json)
    unnormalised: tuple[Drive, ...] = ()
    if content.has("unnormalised"):
        unnormalised = content.each("unnormalised", _drive_from_json)
    if len(drives) > 2:
        content.refuse("drives", "at most two operands")
    row = Row(
        path=content.text("path"),
        kind=content.text("kind", KINDS),
        operator=content.text("operator"),
        site=content.count("site"),
        calls=content.count("calls"),
        params=content.count("params"),
        dense=content.count("dense"),
        drives=drives,
        joint_ac=content.fraction("joint_ac"),
        joint_events=content.count("joint_events"),
        ac=content.count("ac"),
        mac=content.count("mac"),
        folded=content.optional("folded", Fields.text),
        note=content.text("note"),
        weight=content.text("weight"),
        dtype=content.dtype("dtype"),
        weights=content.count("weights"),
        written=content.count("written"),
        unnormalised=unnormalised,
        repeated=content.count("repeated") if content.has("repeated") else 0,
        changed=content.count("changed") if content.has("changed") else 0,
        weight_shape=content.counts("weight_shape") if content.has("weight_shape") else (),
        result_shape=content.counts("result_shape") if content.has("result_shape") else (),
        stride=content.counts("stride") if content.has("stride") else (),
        groups=content.count("groups", least=1) if content.has("groups") else 1,
        backward=_pair(content, "backward") if content.has("backward") else (0, 0),
        rounded=content.truth("rounded") if content.has("rounded") else False,
        place=content.count("place") if content.has("place") else 0,
        call=content.text("call") if content.has("call") else "",
        by_value=_by_value(content.inner("by_value")) if content.has("by_value") else ByValue(),
    )
    for name in ("joint_ac", "joint_events"):
        if getattr(row, name) > row.dense:
            content.refuse(name, f"at most dense, {row.dense}")
    if row.repeated + row.changed > row.dense:
        content.refuse("repeated", f"with changed at most dense, {row.dense}")
    _check_shapes(content, row)
    for i, drive in enumerate(drives):
        for name in ("ac", "events"):
            if getattr(drive, name) > row.dense:
                content.refuse("drives", f"at most dense, {row.dense}, in drives[{i}].{name}")
    return row


def _pair(content: Fields, key: str) -> tuple[int, int]:
    counts = content.counts(key)
    if len(counts) != 2:
        content.refuse(key, "two counts")
    return counts[0], counts[1]


def _check_shapes(content: Fields, row: Row) -> None:
    """Refuse shapes that contradict one another."""
    if not row.weight_shape:
        return
    if math.prod(row.weight_shape) != row.weights:
        content.refuse("weight_shape", f"the sizes of weights, {row.weights}")
    if row.kind == "conv":
        rank = len(row.weight_shape) - 2
        if rank < 1 or len(row.stride) not in (0, rank) or 0 in row.stride:
            content.refuse("stride", f"{max(rank, 1)} sizes from 1, one for each of the kernel's")


def _updates(content: Fields) -> Updates:
    counts = (content.count(name) for name in ("calls", "starts", "steps", "samples"))
    updates = Updates(content.text("path"), *counts)
    if updates.starts > updates.calls:
        content.refuse("starts", f"at most calls, {updates.calls}")
    return updates


def _zeros(content: Fields, key: str) -> ZeroCounts:
    inner = content.inner(key)
    modules = inner.each("modules", _zeros_of_module)
    return ZeroCounts(inner.count("footprint"), inner.count("samples", least=1), modules)


def _zeros_of_module(content: Fields) -> Zeros:
    told = {each.name for each in fields(Zeros)} - {"path", "name", "kind"}
    counts = {name: content.count(name) for name in sorted(told)}
    for part, whole in (
        ("nonzero", "values"),
        ("effective", "dense"),
        ("spiking", "effective"),
        ("timed", "calls"),
        ("zero_weights", "weights"),
    ):
        if counts[part] > counts[whole]:
            content.refuse(part, f"at most {whole}, {counts[whole]}")
    kind: Any = content.text("kind", get_args(ZeroKind))
    return Zeros(content.text("path"), content.text("name"), kind, **counts)


def _drive_to_json(drive: Drive) -> dict[str, Any]:
    evidence = drive.evidence
    content = {field.name: _plain(getattr(drive, field.name)) for field in fields(Drive)}
    content["evidence"] = {
        "analog": evidence.analog,
        "integer": evidence.integer,
        "unknown": evidence.unknown,
        "shown": evidence.shown,
        "derived": sorted(evidence.derived),
        "seen": asdict(evidence.seen) if evidence.seen else None,
    }
    content["magnitudes"] = [
        {
            "scale": part.unit.scale,
            "unit": str(part.unit.size),
            "ac": str(part.ac),
            "events": part.events,
        }
        for part in drive.magnitudes
    ]
    return content


def _drive_from_json(content: Fields) -> Drive:
    numel, spikes = content.count("numel"), content.count("spikes")
    if spikes > numel:
        content.refuse("spikes", f"at most the elements, numel, {numel}")
    return Drive(
        evidence=_evidence_from_json(content.inner("evidence")),
        numel=numel,
        spikes=spikes,
        ac=content.fraction("ac"),
        events=content.count("events"),
        magnitudes=joined_magnitudes(*_magnitudes_from_json(content)),
        steps=_steps_from_json(content, numel, spikes),
    )


def _steps_from_json(
    content: Fields, numel: int, spikes: int
) -> tuple[tuple[int, int], ...] | None:
    """Return the counts at each time-step, which old files do not have."""
    if content.plain().get("steps") is None:
        return None
    pairs = content.plain()["steps"]
    if not (
        isinstance(pairs, list)
        and all(
            isinstance(pair, list)
            and len(pair) == 2
            and all(type(n) is int for n in pair)
            and 0 <= pair[1] <= pair[0]
            for pair in pairs
        )
        and sum(size for size, _ in pairs) == numel
        and sum(count for _, count in pairs) == spikes
    ):
        content.refuse("steps", "pairs of elements and spikes, which add up to numel and spikes")
    return tuple((size, count) for size, count in pairs)


def _magnitudes_from_json(content: Fields) -> tuple[Magnitudes, ...]:
    if "graded_ac" in content.plain():  # syops 0.1.0 counted in ones
        ac, events = content.fraction("graded_ac"), content.count("graded_events")
        return (Magnitudes(Unit(), ac, events),)
    return content.each("magnitudes", _magnitude_from_json)


def _magnitude_from_json(content: Fields) -> Magnitudes:
    size = content.fraction("unit")
    if not size:
        content.refuse("unit", "greater than 0")
    unit = Unit(content.text("scale"), size)
    return Magnitudes(unit, content.fraction("ac"), content.count("events"))


def _evidence_from_json(content: Fields) -> Evidence:
    return Evidence(
        content.truth("analog"),
        content.truth("integer"),
        frozenset(_derived(content, part) for part in content.values("derived", list)),
        content.optional("seen", lambda c, key: _seen(c.inner(key))),
        content.has("unknown") and content.truth("unknown"),
        content.has("shown") and content.truth("shown"),
    )


def _derived(content: Fields, part: list[Any]) -> tuple[str, float]:
    fits = len(part) == 2 and type(part[0]) is str and type(part[1]) in (int, float, bool)
    if not fits or not -LARGEST_NUMBER <= part[1] <= LARGEST_NUMBER:
        content.refuse("derived", "pairs of a scale and a finite value")
    return part[0], part[1]


def _seen(content: Fields) -> Seen:
    low, high = content.number("low"), content.number("high")
    if low > high:
        content.refuse("low", f"at most high, {high}")
    return Seen(low, high, content.truth("integer"))


# What calls look like


def _plain_fields(calls: ModuleCalls) -> dict[str, Any]:
    return {field.name: _plain(getattr(calls, field.name)) for field in fields(ModuleCalls)}


def _module_calls(content: Fields) -> ModuleCalls:
    texts: dict[str, Any] = {name: content.text(name) for name in ("path", "module", "base")}
    return ModuleCalls(
        kind=content.text("kind", KINDS),
        look=cast("Look", content.text("look", get_args(Look))),
        calls=content.count("calls", least=1),
        operations=content.count("operations"),
        mean=content.fraction("mean"),
        at_mean=content.fraction("at_mean"),
        effective=content.count("effective"),
        per_sample=_signed(content, "per_sample"),
        **texts,
    )


def _signed(content: Fields, key: str) -> Fraction:
    try:
        return Fraction(content.text(key))
    except (ValueError, ZeroDivisionError):
        return content.refuse(key, "a fraction")


def _by_value(content: Fields) -> ByValue:
    return ByValue(content.count("events"), content.count("dense"))
