"""Report -> JSON and back. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from fractions import Fraction
from typing import Any

from syops.energy import EnergyModel
from syops.errors import SyopsValueError
from syops.ledger import Drive, Row
from syops.report import Report
from syops.signals import Evidence, Seen

SCHEMA = 2
"""Version of the JSON layout.

1: of the ANN only its MACs were kept (``ann_mac``).
2: the ANN's rows, accuracy, and in words whether it is full-spike.
"""

_HEADLINE = (
    *("ac", "ac_events", "mac", "dense_ac", "mean_rate", "dc_mj", "ec_mj"),
    *("energy_ratio", "break_even_rate"),
)


def to_json(report: Report) -> str:
    """The report as JSON: what it is made of, and beside it what follows from that."""
    totals = {name: _plain(value) for name, value in asdict(report.totals).items()}
    if not report.measured:
        totals |= {"ac": None, "ac_events": None}
    content = {
        "schema": SCHEMA,
        "model": report.model,
        "network_type": report.network_type,
        "full_spike": report.full_spike,
        "measured": report.measured,
        "samples": report.samples,
        "time_steps": report.time_steps,
        "params": report.params,
        "input_shape": report.input_shape,
        "accuracy": report.accuracy,
        "per_sample": {name: getattr(report, name) for name in _HEADLINE},
        "totals": totals,
        "energy": asdict(report.energy),
        "conventions": dict(report.conventions),
        "versions": dict(report.versions),
        "unaccounted": dict(report.unaccounted),
        "notes": report.notes,
        "kinds": sorted(report.kinds),
        "layers": [asdict(layer) for layer in report.layers],
        "rows": [_row_to_json(row) for row in report.rows],
        "ann_rows": report.ann_rows and [_row_to_json(row) for row in report.ann_rows],
    }
    return json.dumps(content, indent=1, ensure_ascii=False)


def from_json(text: str) -> Report:
    """A report from what `to_json` gave, also in an earlier schema version.

    Raises:
        SyopsValueError: the text is no report, a damaged one, or one of a newer schema version.
    """
    try:
        content = json.loads(text)
        schema = content["schema"]
    except (ValueError, TypeError, KeyError) as error:
        raise SyopsValueError(f"this is not a syops report: {error!r}") from error
    if schema not in (1, SCHEMA):
        raise SyopsValueError(
            f"the report has schema version {schema!r}, this syops reads 1 to {SCHEMA}; "
            "use the version of syops that wrote it"
        )
    try:
        if schema == 1:
            content |= {"accuracy": None, "ann_rows": _ann_of_schema_1(content)}
        ann_rows = content["ann_rows"]
        return Report(
            model=content["model"],
            rows=tuple(map(_row_from_json, content["rows"])),
            samples=content["samples"],
            energy=EnergyModel(**content["energy"]),
            time_steps=content["time_steps"],
            params=content["params"],
            input_shape=tuple(content["input_shape"]),
            ann_rows=None if ann_rows is None else tuple(map(_row_from_json, ann_rows)),
            conventions=content["conventions"],
            versions=content["versions"],
            unaccounted=content["unaccounted"],
            notes=tuple(content["notes"]),
            kinds=frozenset(content["kinds"]),
            measured=content["measured"],
            accuracy=content["accuracy"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SyopsValueError(f"the report is damaged: {error!r}") from error


def _ann_of_schema_1(content: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """One row with all that is known of the ANN: its MACs per sample."""
    if content["ann_mac"] is None:
        return None
    macs = Fraction(content["ann_mac"]) * content["samples"]
    note = "the whole network: a report of schema version 1 tells no more"
    return [_row_to_json(Row("", "linear", "all", calls=1, dense=int(macs), note=note))]


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Fraction) else value


def _row_to_json(row: Row) -> dict[str, Any]:
    content = {name: _plain(getattr(row, name)) for name in _ROW_FIELDS}
    content["drives"] = [_drive_to_json(drive) for drive in row.drives]
    return content


def _row_from_json(content: Mapping[str, Any]) -> Row:
    values = {name: content[name] for name in _ROW_FIELDS}
    values["joint_ac"] = Fraction(values["joint_ac"])
    values["drives"] = tuple(_drive_from_json(drive) for drive in content["drives"])
    return Row(**values)


_ROW_FIELDS = tuple(name for name in Row.__dataclass_fields__ if name != "drives")
_DRIVE_FIELDS = tuple(name for name in Drive.__dataclass_fields__ if name != "evidence")


def _drive_to_json(drive: Drive) -> dict[str, Any]:
    evidence = drive.evidence
    content = {name: _plain(getattr(drive, name)) for name in _DRIVE_FIELDS}
    content["evidence"] = {
        "analog": evidence.analog,
        "integer": evidence.integer,
        "derived": sorted(evidence.derived),
        "seen": asdict(evidence.seen) if evidence.seen else None,
    }
    return content


def _drive_from_json(content: Mapping[str, Any]) -> Drive:
    values = {name: content[name] for name in _DRIVE_FIELDS}
    values["ac"], values["graded_ac"] = Fraction(values["ac"]), Fraction(values["graded_ac"])
    evidence = content["evidence"]
    seen = evidence["seen"]
    return Drive(
        evidence=Evidence(
            evidence["analog"],
            evidence["integer"],
            frozenset((scale, value) for scale, value in evidence["derived"]),
            Seen(**seen) if seen else None,
        ),
        **values,
    )
