"""Collect rows, and merge those of several counts, whatever their order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from types import CodeType

from syops.ledger.calls import ModuleCalls
from syops.ledger.rows import Row
from syops.ledger.samples import SampleCounts
from syops.ledger.updates import Updates

_Family = tuple[str, str, str, str]
_Key = tuple[_Family, Hashable]
"""The family of a row, and its call site."""


class Ledger:
    """Collect rows by call site, in the order in which the passes met them."""

    def __init__(self) -> None:
        self._rows = _Sheet()
        self._prepared = _Sheet()
        self.samples = 0
        self.passes = 0
        self.unaccounted: dict[str, int] = {}
        self.updates: tuple[Updates, ...] = ()
        self.modules: tuple[ModuleCalls, ...] = ()
        """The calls of modules by their values alone, where that was asked for."""
        self.by_sample: SampleCounts | None = None
        """The counts of each sample, where somebody asks."""
        self.unseen: dict[str, None] = {}
        """Modules that read a tensor which neither an operator made nor the model holds."""

    def begin(self) -> None:
        """Begin with the rows of a pass, or of several that did the same."""
        self._rows.begin()
        self._prepared.begin()

    def add(self, row: Row, site: Hashable) -> None:
        """Add one call. ``site`` tells call sites of one module apart."""
        self._rows.add(row, site)

    def prepare(self, row: Row, site: Hashable) -> None:
        """Add one call on weights alone, which needs to be done only once for all samples."""
        self._prepared.add(row, site)

    def skip(self, operator: str, calls: int = 1) -> None:
        """Note calls of an operator that has no rule."""
        self.unaccounted[operator] = self.unaccounted.get(operator, 0) + calls

    @property
    def keys(self) -> tuple[Hashable, ...]:
        """What `add` put each of `rows` under: its family and call site."""
        return tuple(key for key, _ in self._rows.in_order())

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows, the call sites of each family of rows numbered from 0."""
        return _numbered([row for _, row in self._rows.in_order()])

    @property
    def prepared(self) -> tuple[Row, ...]:
        """The products of weights alone, numbered likewise. They are in no total."""
        return _numbered([row for _, row in self._prepared.in_order()])


@dataclass(slots=True)
class _Entry:
    """Hold what was added under one key.

    Attributes:
        row: the sum.
        place: the least in a pass.
        met: the last pass that met it.
    """

    row: Row
    place: int
    met: int


class _Sheet:
    """Add rows up by call site, and remember the least place of each in a pass."""

    def __init__(self) -> None:
        self._entries: dict[_Key, _Entry] = {}
        self._pass = 0
        self._met = 0
        """Keys that this pass has met."""
        self._in_order: list[tuple[Hashable, Row]] | None = None

    def begin(self) -> None:
        self._pass += 1
        self._met = 0

    def add(self, row: Row, site: Hashable) -> None:
        self._in_order = None
        key = row.family, site
        entry = self._entries.get(key)  # once: code in the site takes long to hash
        if entry is None:
            self._entries[key] = _Entry(row, self._met, self._pass)
            self._met += 1
            return
        entry.row += row
        if entry.met != self._pass:
            entry.met, entry.place = self._pass, min(entry.place, self._met)
            self._met += 1

    def in_order(self) -> Sequence[tuple[Hashable, Row]]:
        """Return the rows with their keys, in canonical order."""
        if self._in_order is None:
            self._in_order = sorted(self._named(), key=lambda each: _order(each[1]))
        return self._in_order

    def _named(self) -> Iterator[tuple[Hashable, Row]]:
        """Yield the rows with their keys, each row with its place and the digest of its site."""
        same: Counter[tuple[_Family, str]] = Counter()
        for (family, site), entry in self._entries.items():
            call = _digest(site)
            same[family, call] += 1
            if same[family, call] > 1:  # code that was made at run time, of one name
                call = f"{call}-{same[family, call]}"
            yield (*family, site), replace(entry.row, place=entry.place, call=call)


def merge_rows(left: Iterable[Row], right: Iterable[Row]) -> tuple[Row, ...]:
    """Return the rows of two ledgers of the same network, added up exactly.

    The result does not depend on the order: rows are the same if their call sites are, and are
    sorted by their `Row.place`. Call sites are told by their numbers where they have no digest, as
    in reports of syops 0.1.0, or share none, as those of two versions of Python.
    """
    left, right = tuple(left), tuple(right)
    merged: dict[Hashable, Row] = {}
    for key, row in _keyed(left, right):
        merged[key] = merged[key] + row if key in merged else row
    return _numbered(sorted(merged.values(), key=_order))


def pairs(left: Sequence[Row], right: Sequence[Row]) -> Iterator[tuple[Row, Row]]:
    """Yield the rows that two ledgers of one network have in common."""
    known: dict[Hashable, Row] = {}
    for key, row in _keyed(left, right):
        if key in known:
            yield known[key], row
        known[key] = row


def _keyed(left: Sequence[Row], right: Sequence[Row]) -> Iterator[tuple[Hashable, Row]]:
    shared = {row.call for row in left} & {row.call for row in right}
    by_call = bool(shared) and all(row.call for row in (*left, *right))
    for row in (*left, *right):
        yield (row.family, row.call) if by_call else row.key, row


def _order(row: Row) -> tuple[int, _Family, str]:
    return row.place, row.family, row.call


def _numbered(rows: Iterable[Row]) -> tuple[Row, ...]:
    sites: Counter[_Family] = Counter()
    numbered = []
    for row in rows:
        family = row.family
        numbered.append(replace(row, site=sites[family]) if row.site != sites[family] else row)
        sites[family] += 1
    return tuple(numbered)


def _digest(site: Hashable) -> str:
    """Return a short name of a call site that is the same in every process."""
    return blake2b(repr(_plain(site)).encode(), digest_size=6).hexdigest()


def _plain(site: Hashable) -> Hashable:
    """Return a call site with code told by where it is written, not by where it lies in memory."""
    if isinstance(site, CodeType):
        return site.co_filename.rpartition("/")[2], site.co_qualname, site.co_firstlineno
    if isinstance(site, tuple):
        return tuple(map(_plain, site))
    return site
