"""Say how a count under one convention differs from the same count under another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap

from syops.cost.conventions import Convention
from syops.cost.figures import Figures
from syops.errors import SyopsValueError, first_of

_NAMED = 3
"""Names of layers that are told, of each sort of change."""


@dataclass(frozen=True)
class UnderConvention:
    """Hold what a network costs under one convention, and why.

    Attributes:
        network: what the network is called.
        convention: the name of the convention.
        ac, mac: per sample; without data what ACs would be at rate 1.
        energy_mj: DC per sample; without data the upper end of EC.
        ratio: of this energy to that under ``exact``.
        why: the first layers of each of ``changes``; or what the convention needs that was not
            measured.
        changes: the layers whose operations are of another class, left out, counted besides, or
            more or fewer than under ``exact``.
    """

    network: str
    convention: str
    ac: float | None
    mac: float | None
    energy_mj: float | None
    ratio: float | None
    why: str
    changes: Mapping[str, tuple[str, ...]]


def under_conventions(
    report: Figures, conventions: Sequence[Convention], exact: Convention
) -> tuple[UnderConvention, ...]:
    """Return the figures of a report under each convention, beside those under ``exact``."""
    reference = report.under(exact)
    return tuple(_seen(report, convention, reference) for convention in conventions)


def _seen(report: Figures, convention: Convention, reference: Figures) -> UnderConvention:
    try:
        seen = report.under(convention)
    except SyopsValueError as error:
        why = str(error).removeprefix(f"convention {convention.name!r} ")
        return UnderConvention(report.model, convention.name, None, None, None, None, why, {})
    energy, whole = _energy(seen), _energy(reference)
    changes = _changes(_by_path(seen), _by_path(reference))
    return UnderConvention(
        network=report.model,
        convention=convention.name,
        ac=seen.priced_ac if seen.measured else seen.dense_ac,
        mac=seen.mac,
        energy_mj=energy,
        ratio=energy / whole if whole else None,
        why="; ".join(starmap(_reason, changes.items())) or "the same operations",
        changes=changes,
    )


def _energy(report: Figures) -> float:
    dc = report.dc_mj
    return report.ec_mj[1] if dc is None else dc


Counts = tuple[float, float]
"""ACs and MACs."""


def _by_path(report: Figures) -> dict[str, Counts]:
    """Return the operations of each module inside the totals."""
    counts: dict[str, Counts] = {}
    events = report.convention.ac == "events"
    for layer in report.layers:
        if layer.counted:
            path = layer.path or report.model
            ac, mac = counts.get(path, (0.0, 0.0))
            own = layer.ac_events if events else layer.ac
            counts[path] = ac + (layer.dense_ac if own is None else own), mac + layer.mac
    return counts


def _changes(seen: dict[str, Counts], exact: dict[str, Counts]) -> dict[str, tuple[str, ...]]:
    """Return the modules whose operations change, by how they do."""
    found: dict[str, list[str]] = {}
    for path in dict.fromkeys((*exact, *seen)):
        one, other = exact.get(path, (0.0, 0.0)), seen.get(path, (0.0, 0.0))
        if one != other:
            found.setdefault(_change(one, other), []).append(path)
    return {change: tuple(found[change]) for change in sorted(found)}


def _reason(change: str, names: Sequence[str]) -> str:
    return f"{change}: {first_of(names, _NAMED)}"


def _change(exact: Counts, seen: Counts) -> str:
    """Return in words how operations change; ``exact`` and ``seen`` differ."""
    if not any(seen):
        return "left out"
    if not any(exact):
        return "counted besides"
    before, after = _class(exact), _class(seen)
    if before != after:
        return f"{before} here {after}"
    return "more operations" if sum(seen) > sum(exact) else "fewer operations"


def _class(counts: Counts) -> str:
    ac, mac = counts
    return "ACs and MACs" if ac and mac else "MACs" if mac else "ACs"
