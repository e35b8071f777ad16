"""Work out how samples differ in what they cost, from counts of each sample."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

from syops.cost.conventions import DEFAULT, SWITCHES, Convention
from syops.cost.energy import Energy
from syops.cost.pricing import price
from syops.errors import SyopsValueError
from syops.ledger.rows import Drive, Row
from syops.ledger.samples import CountColumn, Moments, SampleCounts, Spread
from syops.ops.kinds import SPIKES, SYNAPTIC


class SpreadUnknown(SyopsValueError):
    """Say why it is not known how samples differ."""


@dataclass(frozen=True)
class SampleTable:
    """Hold counts of each sample, and what each row of a report is called in them."""

    counts: SampleCounts
    keys: tuple[Hashable, ...]


@dataclass(frozen=True)
class Terms:
    """Say what samples are priced by.

    Attributes:
        energy: the prices.
        convention: that of the report.
        kinds: of the rows inside the totals.
    """

    energy: Energy
    convention: Convention
    kinds: frozenset[str]

    @property
    def graded(self) -> str:
        return self.convention.graded

    @property
    def by_events(self) -> bool:
        return self.convention.ac == "events"

    @property
    def are_linear(self) -> bool:
        """Whether what a row comes to is a sum over samples, as under the default."""
        known, plain = self.convention, DEFAULT
        others = [name for name in SWITCHES if name not in ("graded", "ac", "norms", "neurons")]
        is_plain = all(getattr(known, name) == getattr(plain, name) for name in others)
        return is_plain and known.graded != "spikes" and known.norms != "free"

    def basis(self, rows: tuple[Row, ...]) -> dict[str, str]:
        """Return what a spread of these rows depends on, but for the samples."""
        told = {
            "energy": repr(self.energy),
            "conventions": ", ".join(
                f"{name} {getattr(self.convention, name)}" for name in SWITCHES
            ),
            "kinds": ", ".join(sorted(self.kinds)),
        }
        for row in rows:
            if row.kind in SYNAPTIC and row.kind in self.kinds:
                name = f"{row.path}: {row.operator} {row.weight} {row.call or row.site}"
                told[name] = row.operations(self.graded).signal
        return told


class UnitCosts(NamedTuple):
    """What one more of each count adds to the ACs, the MACs and the energy in pJ."""

    ac: dict[CountColumn, Fraction]
    mac: dict[CountColumn, Fraction]
    dc: dict[CountColumn, Fraction]


def spread_of(table: SampleTable, rows: tuple[Row, ...], terms: Terms) -> Spread:
    """Return mean and spread of ACs, MACs and energy over samples.

    Args:
        table: the counts.
        rows: of the report, with norms folded as the conventions say.
        terms: what they are priced by.

    Raises:
        SpreadUnknown: samples cannot be told apart everywhere.
    """
    values, classes = sample_values(table, rows, terms), table.counts.classes
    by_class = None
    if classes is not None:
        by_class = {label: _spread(values, places) for label, places in classes.items()}
    return replace(_spread(values), basis=terms.basis(rows), by_class=by_class)


def _spread(
    values: tuple[list[Fraction], list[Fraction], list[Fraction]],
    places: Sequence[int] | None = None,
) -> Spread:
    """Return mean and spread over all samples, or over those at some places."""
    ac, mac, dc = (
        Moments.of(each if places is None else [each[place] for place in places]) for each in values
    )
    return Spread(ac, mac, dc)


def sample_values(
    table: SampleTable, rows: tuple[Row, ...], terms: Terms
) -> tuple[list[Fraction], list[Fraction], list[Fraction]]:
    """Return ACs, MACs and energy in pJ of each sample, in the order of the samples.

    Raises:
        SpreadUnknown: samples cannot be told apart everywhere.
    """
    if not terms.are_linear:
        name = terms.convention.name
        raise SpreadUnknown(f"it is not known under convention {name!r} how samples differ")
    weights = UnitCosts({}, {}, {})
    for row, key in zip(rows, table.keys, strict=True):
        if row.kind in terms.kinds:
            _add(weights, row, key, table, terms)
    ac, mac, dc = (table.counts.totals(each) for each in weights)
    return ac, mac, dc


def _add(weights: UnitCosts, row: Row, key: Hashable, table: SampleTable, terms: Terms) -> None:
    """Add the weights of one row's counts: operations and price are linear in the counts."""
    name, operations = row.path or "the model", row.operations(terms.graded)
    if key in table.counts.unknown and (operations.ac or operations.mac):
        raise SpreadUnknown(
            f"it is not known which part of {name} ({row.operator}) belongs to which sample; "
            "batches of one sample tell them apart"
        )
    if row.kind in SYNAPTIC:
        spikes = [drive.evidence.signal in SPIKES for drive in row.drives]
        if spikes == [True, True] and terms.by_events:
            raise SpreadUnknown(
                f"{name} ({row.operator}): coincidences of spikes are not counted for each sample; "
                'ac="rate" prices them by rates'
            )
        if operations.signal == "graded" and terms.graded == "ac":
            raise SpreadUnknown(f"{name}: magnitudes are not counted for each sample")
    for column, one in _probes(row, key):
        found = one.operations(terms.graded)
        ac = Fraction(found.ac_events) if terms.by_events else found.ac
        dc = price(one, found, terms.energy, terms.by_events).dc
        for into, weight in zip(weights, (ac, Fraction(found.mac), dc), strict=True):
            if weight:
                into[column] = weight


def _probes(row: Row, key: Hashable) -> Iterator[tuple[CountColumn, Row]]:
    """Yield rows of the same class that have one of a single count."""
    drives = tuple(Drive(drive.evidence) for drive in row.drives)
    blank = replace(
        row, dense=0, drives=drives, joint_ac=Fraction(0), joint_events=0, ac=0, mac=0,
        unnormalised=(),
    )  # fmt: skip
    yield CountColumn(key, "dense"), replace(blank, dense=1)
    yield CountColumn(key, "mac"), replace(blank, mac=1)
    yield CountColumn(key, "ac"), replace(blank, ac=1)
    yield CountColumn(key, "joint_ac"), replace(blank, joint_ac=Fraction(1))
    for place, drive in enumerate(drives):
        single = (
            ("ac", replace(drive, ac=Fraction(1))),
            ("events", replace(drive, events=1)),
            ("spikes", replace(drive, spikes=1)),
        )
        for what, one in single:
            each = (*drives[:place], one, *drives[place + 1 :])
            yield CountColumn(key, what, place), replace(blank, drives=each)
