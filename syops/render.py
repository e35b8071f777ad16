"""Report -> text and CSV. Reads only the report; needs no torch."""

from __future__ import annotations

import csv
import io
import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tabulate import SEPARATING_LINE, DataRow, Line, TableFormat, tabulate

from syops.audit import ARROW
from syops.errors import SyopsValueError

if TYPE_CHECKING:
    from syops.audit import Audit, AuditRow, Cause
    from syops.report import Layer, Report

_WIDTH = 80
_MAX_LINKS = 4
_MAX_PLACES = 6
_NAME_WIDTH = 24

_COLUMNS = (
    *("name", "kind", "signal", "calls", "params", "rate", "dense", "ac", "ac_events", "mac"),
    *("energy_mj", "share", "dense_ac", "folded", "counted"),
)

# tabulate's "simple" without the two spaces that it adds to every heading.
_COMPACT = TableFormat(
    lineabove=None,
    linebelowheader=Line("", "-", "  ", ""),
    linebetweenrows=None,
    linebelow=None,
    headerrow=DataRow("", "  ", ""),
    datarow=DataRow("", "  ", ""),
    padding=0,
    with_header_hide=None,
)


def render_table(report: Report, depth: int | None = None) -> str:
    """Return the report as a table for a terminal, followed by what it means in words.

    One line a row that is inside the totals, or with ``depth`` one line a block: the rows that
    share the first ``depth`` components of their module path, added up. Raises
    `SyopsValueError` for a depth below 1.
    """
    sections = [_heading(report), _findings(report), _remarks(report)]
    heading, findings, remarks = ("\n".join(map(_wrap, lines)) for lines in sections)
    return "\n\n".join(filter(None, [heading, _table(report, depth), findings, remarks]))


def render_csv(report: Report, depth: int | None = None) -> str:
    """Return every row (or block) of the report as CSV, numbers in full.

    Figures are per sample, energies in mJ. ``counted`` tells the rows inside the totals from
    those outside. Raises `SyopsValueError` for a depth below 1.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for layer in blocks(report.layers, depth):
        writer.writerow([getattr(layer, column) for column in _COLUMNS])
    return out.getvalue()


def blocks(layers: Iterable[Layer], depth: int | None) -> tuple[Layer, ...]:
    """Add up the rows that share the first ``depth`` components of their module path.

    Rows inside and outside the totals stay apart. The rate of a block is the mean over its rows
    that have one, weighted with their dense counts. Without ``depth`` the rows are returned as
    they are. Raises `SyopsValueError` for a depth below 1.
    """
    if depth is None:
        return tuple(layers)
    if depth < 1:
        raise SyopsValueError(f"depth must be at least 1, got {depth}")
    groups: dict[tuple[str, bool], list[Layer]] = {}
    for layer in layers:
        prefix = ".".join(layer.path.split(".")[:depth])
        groups.setdefault((prefix, layer.counted), []).append(layer)
    return tuple(_block(prefix, members) for (prefix, _), members in groups.items())


def render_audit(audit: Audit) -> str:
    """Return the verdict, then what spoils it and why, then what else a reader should know."""
    offending = audit.offending
    allowed = [row for row in audit.rows if row.exempt and row.verdict != "spike"]
    if not audit.full_spike:
        count = f"{len(offending)} of its {len(audit.rows)} synaptic layers"
        verdict = f"not spike-only: {count} get more than spikes"
    elif allowed:
        ends = " and ".join(dict.fromkeys(row.exempt for row in allowed))
        verdict = f"spike-only, but for its {ends} layer, as allowed"
    else:
        verdict = "spike-only"
    sections = [
        [_wrap(f"{audit.model}: {verdict}")],
        *_explained((row, row.verdict) for row in offending),
        *_explained((row, f"{row.exempt}, allowed") for row in allowed),
        list(_noted(audit)),
        list(_lacking(audit)),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def _explained(rows: Iterable[tuple[AuditRow, str]]) -> Iterator[list[str]]:
    """Layers that are spoilt by the same, and by what: one line for each operator on the way."""
    groups: dict[tuple[str, tuple[Cause, ...], str], list[str]] = {}
    for row, remark in rows:
        groups.setdefault((row.values, row.causes, remark), []).append(row.layer)
    for (values, causes, remark), layers in groups.items():
        lines = [_wrap(f"{', '.join(layers)} ({remark})")]
        for cause in causes:
            links = cause.shortened(_MAX_LINKS)
            lines.append(_wrap(f"  {cause.values} {ARROW} {links[0]}"))
            lines += [_wrap(f"    {ARROW} {link}") for link in links[1:]]
        yield lines if causes else [*lines, f"  {values}"]


def _noted(audit: Audit) -> Iterator[str]:
    groups: dict[str, list[str]] = {}
    for row in audit.rows:
        if row.note:
            groups.setdefault(row.note, []).append(row.layer)
    for note, layers in groups.items():
        yield _wrap(f"Note: {', '.join(layers)}: {note}")


def _lacking(audit: Audit) -> Iterator[str]:
    if audit.lacks:
        yield "Beside its synapses it does what spike-only chips may lack:"
    for lack in audit.lacks:
        shown = ", ".join(lack.where[:_MAX_PLACES])
        more = len(lack.where) - _MAX_PLACES
        yield _wrap(f"  {lack.what}: {shown}{f' and {more} more' if more > 0 else ''}")


def quantity(value: float, unit: str = "") -> str:
    """Return ``value`` with three significant digits and an SI prefix: ``1.70 G``, ``2.07 mJ``.

    Counts, which have no unit, have no prefix below 1000, and no decimals where they are whole.
    """
    if value == 0 or not math.isfinite(value) or (not unit and value in range(1000)):
        return f"{value:g} {unit}".rstrip()
    exponent = int(f"{value:.2e}".partition("e")[2])  # of the rounded value: 999.9 is 1.00 k
    group = min(max(exponent // 3, -6 if unit else 0), 6)
    decimals = min(max(3 * group - exponent + 2, 0), 6)
    prefix = "afpnµm kMGTPE"[group + 6].strip()
    return f"{value / 1000.0**group:.{decimals}f} {prefix}{unit}".rstrip()


def _block(prefix: str, members: Sequence[Layer]) -> Layer:
    if len(members) == 1 and members[0].path == prefix:
        return members[0]
    rated = [(m.rate, m.dense) for m in members if m.rate is not None and m.dense]
    weight = sum(dense for _, dense in rated)
    values: dict[str, Any] = {
        column: _common(getattr(m, column) for m in members)
        for column in ("kind", "operator", "signal")
    }
    for column in ("calls", "params", "dense", "mac", "dense_ac"):
        values[column] = sum(getattr(m, column) for m in members)
    for column in ("ac", "ac_events", "energy_mj", "share"):
        known = [value for m in members if (value := getattr(m, column)) is not None]
        values[column] = sum(known) if known else None
    low, high = zip(*(m.ec_mj for m in members), strict=True)
    return replace(
        members[0],
        name=prefix or members[0].name,
        path=prefix,
        rate=sum(rate * dense for rate, dense in rated) / weight if rated else None,
        ec_mj=(sum(low), sum(high)),
        folded=None,
        **values,
    )


def _common(values: Iterable[str]) -> str:
    different = set(values) - {""}
    return different.pop() if len(different) == 1 else "mixed" if different else ""


def _heading(report: Report) -> Iterator[str]:
    shape = "x".join(map(str, report.input_shape))
    steps = "" if report.time_steps is None else f", T = {report.time_steps}"
    samples = "1 sample" if report.samples == 1 else f"mean of {report.samples} samples"
    seen = samples if report.measured else "per sample, without data"
    yield f"{report.model}: {quantity(report.params)} parameters{steps}, input {shape}; {seen}"


def _table(report: Report, depth: int | None) -> str:
    inside = [layer for layer in report.layers if layer.counted and layer.folded is None]
    layers = blocks(inside, depth)
    headings, lines, total = (_measured if report.measured else _possible)(report, layers)
    separated = [headings, SEPARATING_LINE, *lines, SEPARATING_LINE, total]
    alignment = ("left",) * 3 + ("right",) * (len(headings) - 3)
    return tabulate(separated, tablefmt=_COMPACT, disable_numparse=True, colalign=alignment)


_Lines = tuple[Sequence[str], list[Sequence[str]], Sequence[str]]
"""Headings, one line a layer, and the total."""


def _measured(report: Report, layers: Iterable[Layer]) -> _Lines:
    """What was counted on data."""
    column = "ac_events" if report.conventions.get("ac") == "events" else "ac"
    lines = [
        (
            *(_shorten(layer.name), layer.kind, layer.signal, _rate(layer.rate)),
            *_operations(getattr(layer, column), layer.mac),
            *(_joules(layer.energy_mj or 0), f"{layer.share or 0:.1%}"),
        )
        for layer in layers
    ]
    rate = (report.ac or 0) / report.dense_ac if report.dense_ac else None
    operations = _operations(report.priced_ac or 0, report.mac)
    total = ("total", "", "", _rate(rate), *operations, _joules(report.dc_mj or 0), "")
    return ("layer", "kind", "signal", "rate", "AC", "MAC", "energy", "share"), [*lines], total


def _possible(report: Report, layers: Iterable[Layer]) -> _Lines:
    """What the architecture alone determines."""
    lines = [
        (
            *(_shorten(layer.name), layer.kind, layer.signal),
            *_operations(layer.dense_ac, layer.mac),
            *map(_joules, layer.ec_mj),
        )
        for layer in layers
    ]
    operations = _operations(report.dense_ac, report.mac)
    total = ("total", "", "", *operations, *map(_joules, report.ec_mj))
    return ("layer", "kind", "signal", "dense AC", "MAC", "EC min", "EC max"), [*lines], total


def _findings(report: Report) -> Iterator[str]:
    """Say what the totals mean."""
    price = f"AC x {report.energy.e_ac_pj:g} pJ"
    macs = f"{quantity(report.mac)} MAC x {report.energy.e_mac_pj:g} pJ"
    low, high = map(_joules, report.ec_mj)
    if report.dc_mj is None or report.priced_ac is None:
        yield "Dynamic consumption (DC): not known without data; 'syops run' measures it"
    else:
        ac = quantity(report.priced_ac)
        yield f"Dynamic consumption (DC), at the measured firing rates: {_joules(report.dc_mj)}"
        yield f"  = {ac} {price} + {macs} ({report.energy.name})"
    yield f"Estimated consumption (EC), at firing rates from 0 to 1: {low} to {high}"
    profile = "" if report.measured else f" ({report.energy.name})"
    yield f"  = 0 to {quantity(report.dense_ac)} {price} + {macs}{profile}"
    if report.measured:
        yield _against_ann(report)


def _against_ann(report: Report) -> str:
    ratio = report.energy_ratio
    if ratio is None:
        unknown = report.time_steps is None
        why = ": its time-steps are not known" if unknown else ""
        return f"The ratio to the same network as an ANN is not available{why}"
    if ratio == 0:
        amount = "No energy, compared with"
    elif ratio < 1:
        amount = f"{1 / ratio:.3g} times less energy than"
    else:
        amount = f"{ratio:.3g} times as much energy as"
    return f"{amount} the same network as an ANN: E(SNN)/E(ANN) = {ratio:.3g}"


def _remarks(report: Report) -> Iterator[str]:
    """Say what is not in the totals, and what else a reader should know."""
    folded = sum(layer.folded is not None for layer in report.layers)
    if folded:
        norms = "1 BatchNorm" if folded == 1 else f"{folded} BatchNorms"
        yield f"Folded into the layers before them, at no cost: {norms}"
    outside = [layer for layer in report.layers if not layer.counted and layer.folded is None]
    if outside:
        yield f"Outside the totals, as in the paper: {', '.join(_by_kind(outside))}"
    for where, calls in report.unaccounted.items():
        times = "once" if calls == 1 else f"{calls} times"
        yield f"Not counted, as syops has no rule for it: {where}, called {times}"
    for note in report.notes:
        yield f"Note: {note}"


def _by_kind(layers: Sequence[Layer]) -> Iterator[str]:
    """The operations of each kind of row: ``neuron 3.21 M AC``."""
    for kind in dict.fromkeys(layer.kind for layer in layers):
        ac = sum(layer.dense_ac for layer in layers if layer.kind == kind)
        mac = sum(layer.mac for layer in layers if layer.kind == kind)
        counts = ((ac, "AC"), (mac, "MAC"))
        yield f"{kind} {' + '.join(f'{quantity(n)} {what}' for n, what in counts if n) or '0'}"


def _rate(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.3f}"


def _operations(ac: float, mac: float) -> tuple[str, str]:
    """A layer with MACs and no ACs has none, one with neither has spikes at rate 0."""
    return quantity(ac) if ac or not mac else "-", quantity(mac) if mac else "-"


def _joules(millijoules: float) -> str:
    return quantity(millijoules / 1e3, "J")


def _shorten(name: str) -> str:
    """Fold a long name in the middle, so that the table stays within 80 columns."""
    if len(name) <= _NAME_WIDTH:
        return name
    head = (_NAME_WIDTH - 2) // 3
    return f"{name[:head]}..{name[head + 2 - _NAME_WIDTH :]}"


def _wrap(line: str) -> str:
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.fill(line, _WIDTH, subsequent_indent=indent, break_long_words=False)
