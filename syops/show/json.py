"""Write a report as JSON, and read it back.

Each value in a file is checked, since the file may be cut off or written by another program.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, fields
from fractions import Fraction
from typing import Any, cast, get_args

from syops.cost.conventions import DEFAULT, MAGNITUDES, SWITCHES, TEXTS, Convention, chosen
from syops.cost.energy import Energy, EnergyMap, EnergyModel
from syops.cost.figures import Figures
from syops.cost.pricing import check_energy
from syops.cost.warnings import find_cautions
from syops.errors import SyopsError, SyopsValueError, shown
from syops.ledger.calls import Look, ModuleCalls
from syops.ledger.provenance import HEXADECIMAL, Provenance
from syops.ledger.samples import Moments, Spread
from syops.ledger.scores import Scores
from syops.ledger.updates import Updates
from syops.ledger.zeros import ZeroCounts, ZeroKind, Zeros
from syops.ops.kinds import KINDS
from syops.show.counts import neurons_from_json, neurons_to_json
from syops.show.fields import LARGEST_COUNT, MOST, Fields, parsed
from syops.show.rows import plain, row_to_json, rows_from_json
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
    totals = {name: plain(value) for name, value in asdict(report.totals).items()}
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
        "prepared": [row_to_json(row) for row in report.prepared],
        "updates": [asdict(each) for each in report.updates],
        "zeros": report.zero_counts and asdict(report.zero_counts),
        "neurons": neurons_to_json(report.neuron_layers),
        "notes": report.notes,
        "ended": report.ended,
        "dependent": report.dependent,
        "in_training": report.in_training,
        "kinds": sorted(report.kinds),
        "layers": [asdict(layer) for layer in report.layers],
        "rows": [row_to_json(row) for row in report.rows],
        "ann_rows": None if ann_rows is None else [row_to_json(row) for row in ann_rows],
    }
    return json_text(content)


def json_text(content: dict[str, Any]) -> str:
    """Return the text of a JSON document; upper ends that do not exist are null."""
    return json.dumps(without_infinity(content), indent=1, ensure_ascii=False, allow_nan=False)


def figures_from_json(text: str, where: str = "") -> Figures:
    """Return the figures from what `to_json` gave.

    Args:
        text: the JSON.
        where: what to call it in errors: a file name.

    Raises:
        SyopsValueError: the text is not a report, is damaged, or is of another schema version.
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
    ann_rows = content.optional("ann_rows", rows_from_json)
    rows = rows_from_json(content, "rows")
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
        prepared=rows_from_json(content, "prepared") if content.has("prepared") else (),
        notes=tuple(content.values("notes", str)),
        ended=tuple(content.values("ended", str)) if content.has("ended") else (),
        dependent=content.count("dependent") if content.has("dependent") else 0,
        in_training=tuple(content.values("in_training", str)) if content.has("in_training") else (),
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
            **{key: plain(value) for key, value in asdict(each).items()},
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


# What calls look like


def _plain_fields(calls: ModuleCalls) -> dict[str, Any]:
    return {field.name: plain(getattr(calls, field.name)) for field in fields(ModuleCalls)}


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
