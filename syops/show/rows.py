"""Write rows as JSON, and read them back: what they count, and what was seen of their operands."""

from __future__ import annotations

import math
from dataclasses import asdict, fields, replace
from fractions import Fraction
from typing import Any

from syops.errors import SyopsValueError
from syops.ledger.calls import ByValue
from syops.ledger.rows import Drive, Magnitudes, Row, joined_magnitudes
from syops.ops.classes import Seen, Unit, ValueEvidence
from syops.ops.kinds import KINDS
from syops.show.fields import LARGEST_NUMBER, Fields


def row_to_json(row: Row) -> dict[str, Any]:
    content = {field.name: plain(getattr(row, field.name)) for field in fields(Row)}
    content["by_value"] = asdict(row.by_value)
    for name in ("drives", "unnormalised"):
        content[name] = [_drive_to_json(drive) for drive in getattr(row, name)]
    return content


def rows_from_json(content: Fields, key: str) -> tuple[Row, ...]:
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


def _by_value(content: Fields) -> ByValue:
    return ByValue(content.count("events"), content.count("dense"))


def _drive_to_json(drive: Drive) -> dict[str, Any]:
    evidence = drive.evidence
    content = {field.name: plain(getattr(drive, field.name)) for field in fields(Drive)}
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


def _evidence_from_json(content: Fields) -> ValueEvidence:
    return ValueEvidence(
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


def plain(value: Any) -> Any:
    return str(value) if isinstance(value, Fraction) else value
