"""Put into words the proof of whether a network is full-spike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from syops.cost.proof import ARROW, Cause, Proof, ProofRow
from syops.errors import first_of
from syops.show.formats.text import wrap
from syops.show.sentences import input_in_words

_MAX_LINKS = 4


def render_proof(audit: Proof) -> str:
    """Return the verdict, then the layers that get non-spikes and why, then the notes."""
    offending = audit.offending
    certain = [row for row in offending if row.verdict != "unknown"]
    open_ones = len(offending) - len(certain)
    layers = f"of its {len(audit.rows)} synaptic layers"
    allowed = [row for row in audit.rows if row.exempt and row.verdict != "spike"]
    if certain:
        rest = f", and {open_ones} more may" if open_ones else ""
        verdict = f"not spike-only: {len(certain)} {layers} get more than spikes{rest}"
    elif offending:
        verdict = f"not proven to be spike-only: {open_ones} {layers} may get more than spikes"
    elif audit.unknown:
        unknown = ", ".join(audit.unknown)
        verdict = f"not proven to be spike-only: no rule says what {unknown} makes of non-spikes"
    elif allowed:
        ends = " and ".join(dict.fromkeys(row.exempt for row in allowed))
        verdict = f"spike-only, but for its {ends} layer, as allowed"
    else:
        verdict = "spike-only" if audit.rows else "spike-only: it has no synaptic layers"
    sections = [
        [wrap(f"{audit.model}: {verdict}")],
        *_explained((row, row.verdict) for row in offending),
        *_explained((row, f"{row.exempt}, allowed") for row in allowed),
        list(_noted(audit)),
        list(_lacking(audit)),
        [wrap(line) for line in input_in_words(audit.conventions)] if audit.rows else [],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def _explained(rows: Iterable[tuple[ProofRow, str]]) -> Iterator[list[str]]:
    """Return the layers that the same operators let non-spikes into, a line for each operator."""
    groups: dict[tuple[str, tuple[Cause, ...], str], list[str]] = {}
    for row, remark in rows:
        groups.setdefault((row.values, row.causes, remark), []).append(row.layer)
    for (values, causes, remark), layers in groups.items():
        lines = [wrap(f"{', '.join(layers)} ({remark})")]
        for cause in causes:
            links = cause.shortened(_MAX_LINKS)
            lines.append(wrap(f"  {cause.values} {ARROW} {links[0]}"))
            lines += [wrap(f"    {ARROW} {link}") for link in links[1:]]
        yield lines if causes else [*lines, f"  {values}"]


def _noted(audit: Proof) -> Iterator[str]:
    groups: dict[str, list[str]] = {}
    for row in audit.rows:
        if row.note:
            groups.setdefault(row.note, []).append(row.layer)
    for note, layers in groups.items():
        yield wrap(f"Note: {', '.join(layers)}: {note}")


def _lacking(audit: Proof) -> Iterator[str]:
    if audit.lacks:
        yield "Outside its synapses, it uses operations that spike-only chips may lack:"
    for lack in audit.lacks:
        yield wrap(f"  {lack.what}: {first_of(lack.where)}")
