"""Hold how figures came about: what was called, and what it was called with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from syops.errors import SyopsValueError

HEXADECIMAL = 64
"""Digits of a fingerprint."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Say how a report came about. The versions of the libraries are beside it in the report.

    Attributes:
        calls: the command, or the call of Python; of merged reports all that differ, sorted.
        seeds: those of torch's random generator.
        weights: the SHA-256 of the names, shapes and values of all parameters and buffers, states
            aside; None where it is not known.
        data: of the samples that were counted: the sum of their SHA-256 modulo 2^256. It depends
            neither on their order nor on how they were split; None where it is not known.

    Examples:
        >>> one, two = Provenance(data=f"{3:064x}"), Provenance(data=f"{2**256 - 2:064x}")
        >>> int((one + two).data, 16)
        1
    """

    calls: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    weights: str | None = None
    data: str | None = None

    def __add__(self, other: Provenance) -> Provenance:
        """Return that of merged reports.

        Raises:
            SyopsValueError: the weights are others.
        """
        weights = {self.weights, other.weights} - {None}
        if len(weights) > 1:
            raise SyopsValueError(
                "reports of different weights cannot be merged: their fingerprints are "
                f"{short(self.weights)} and {short(other.weights)}"
            )
        known = self.weights is not None and other.weights is not None
        return Provenance(
            calls=tuple(sorted({*self.calls, *other.calls})),
            seeds=tuple(sorted({*self.seeds, *other.seeds})),
            weights=self.weights if known else None,
            data=added(self.data, other.data),
        )


def added(one: str | None, two: str | None) -> str | None:
    """Return the fingerprint of the samples of two data sets; None if that of one is not known."""
    if one is None or two is None:
        return None
    return fingerprint(int(one, 16) + int(two, 16))


def fingerprint(number: int) -> str:
    """Return a number modulo 2^256 in hexadecimal digits."""
    return f"{number % 16**HEXADECIMAL:0{HEXADECIMAL}x}"


def short(digits: str | None) -> str:
    """Return the start of a fingerprint, which tells it from others."""
    return "not known" if digits is None else digits[:12]


def merge_versions(one: Mapping[str, str], two: Mapping[str, str]) -> dict[str, str]:
    """Return the versions of both, all of a library where they differ.

    >>> merge_versions({"torch": "2.6.0"}, {"torch": "2.13.0", "numpy": "2.4.0"})
    {'torch': '2.13.0, 2.6.0', 'numpy': '2.4.0'}
    """
    return {
        name: _versions(filter(None, (one.get(name), two.get(name)))) for name in {**one, **two}
    }


def _versions(told: Iterable[str]) -> str:
    return ", ".join(sorted({version for each in told for version in each.split(", ")}))
