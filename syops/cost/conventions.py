"""Class the rows of a count under a convention: what is an AC, what a MAC.

A count keeps what was measured; a `Convention` is a function of its rows to ACs and MACs. Those
that ship with syops are in ``conventions.toml`` beside this file, with their sources. A user's own
is an entry in a file of the same form. A report holds the convention that it is seen under, so that
a name cannot mean one thing in one report and another thing in the next.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Any, Literal, TypeAlias, TypedDict, Unpack, get_args, get_type_hints

from syops.choices import AcCount, Graded, choice
from syops.cost.entries import Entries, check_keys
from syops.errors import SyopsTypeError, SyopsValueError
from syops.ledger.rows import Drive, Operations, Row, row_names
from syops.ops.kinds import SPIKES, SYNAPTIC

GradedInputs: TypeAlias = Literal["mac", "ac", "spikes"]
Norms: TypeAlias = Literal["folded", "counted", "free"]
Repeats: TypeAlias = Literal["counted", "once"]
Pairs: TypeAlias = Literal["product", "min"]
Saturated: TypeAlias = Literal["ac", "mac"]
NeuronUpdates: TypeAlias = Literal["out", "in"]
Counter: TypeAlias = Literal["syops", "syops-0.0.5", "spikingjelly", "neurobench", "sinabs"]


class Switches(TypedDict, total=False):
    """Hold the arguments of `Convention.but`; None leaves a switch as it is."""

    graded: GradedInputs | None
    ac: AcCount | None
    norms: Norms | None
    repeats: Repeats | None
    pairs: Pairs | None
    saturated: Saturated | None
    neurons: NeuronUpdates | None
    counter: Counter | None


@dataclass(frozen=True, kw_only=True)
class Convention:
    """Say what counts as an AC, and what as a MAC.

    Attributes:
        name: what it is called in reports.
        title: what it does, in a line.
        source: the paper or the code that it is taken from.
        scope: what it counts.
        fidelity: "paper", the formula that is printed; "code", what the authors' program does; or
            "own".
        gets_wrong: where its figures mislead, or differ from those printed under it.
        bibtex: of the source, for a paper.
        graded: inputs of integers that are not spikes: MACs; as many ACs as their magnitude; or
            "spikes", an AC for each that is not zero.
        ac: firing rate · dense count, or the fan-out of every spike.
        norms: "folded" where they can be, "counted" all, or "free".
        repeats: MACs on the values of the time-step before, "counted" or done "once".
        pairs: the rate of a product of two spike tensors: "product" of both, or "min".
        saturated: a layer whose inputs all fire: "ac" or "mac".
        neurons: their updates, "out" of the totals or "in".
        counter: "syops", or the tool that it counts as; the other switches then do nothing.

    Raises:
        SyopsTypeError: a text that is none.
        SyopsValueError: a switch that has no such position.

    Examples:
        >>> get_convention("exact").ac
        'events'
        >>> Convention(name="mine", graded="ac").norms
        'folded'
    """

    name: str
    title: str = ""
    source: str = ""
    scope: str = ""
    fidelity: str = "own"
    gets_wrong: str = ""
    bibtex: str = ""
    graded: GradedInputs = "mac"
    ac: AcCount = "rate"
    norms: Norms = "folded"
    repeats: Repeats = "counted"
    pairs: Pairs = "product"
    saturated: Saturated = "ac"
    neurons: NeuronUpdates = "out"
    counter: Counter = "syops"

    def __post_init__(self) -> None:
        for name in TEXTS:
            if not isinstance(getattr(self, name), str):
                raise SyopsTypeError(
                    f"convention {self.name!r}: {name} must be text, got {getattr(self, name)!r}"
                )
        choice(f"convention {self.name!r}: fidelity", self.fidelity, FIDELITIES)
        for name, known in SWITCHES.items():
            choice(f"convention {self.name!r}: {name}", getattr(self, name), known)

    def but(self, **switches: Unpack[Switches]) -> Convention:
        """Return the same with some switches changed, which its name then says.

        Raises:
            SyopsValueError: a switch that has no such position.

        Examples:
            >>> get_convention("dst").but(graded="ac", ac=None).name
            'dst, graded=ac'
        """
        changed: dict[str, Any] = {
            name: value
            for name, value in switches.items()
            if value is not None and value != getattr(self, name)
        }
        if not changed:
            return self
        told = ", ".join(f"{name}={value}" for name, value in changed.items())
        return replace(self, name=f"{self.name}, {told}", fidelity="own", **changed)

    @property
    def needs(self) -> str:
        """What has to be measured besides: "values" of each call, or nothing."""
        return "" if self.counter == "syops" else VALUES

    @property
    def folds(self) -> bool:
        """Whether norms are taken to be folded where they can be."""
        return self.norms != "counted"


TEXTS = ("name", "title", "source", "scope", "fidelity", "gets_wrong", "bibtex")
FIDELITIES = ("paper", "code", "own")
SWITCHES: dict[str, tuple[str, ...]] = {
    field.name: get_args(get_type_hints(Convention)[field.name])
    for field in fields(Convention)
    if field.name not in TEXTS
}
"""The switches of a convention, each with its positions, the default first."""

AnyConvention = str | os.PathLike[str] | Convention
"""How a convention is named: one that ships with syops, a file, or the convention itself."""


def get_convention(convention: AnyConvention) -> Convention:
    """Return a convention, by its name or file.

    Args:
        convention: a `Convention`; the name of one that ships with syops; or a ``.toml`` file,
            with the name of the convention where it holds several (``my.toml:mine``).

    Raises:
        SyopsLookupError: a convention that does not exist.
        SyopsFileError: a file that cannot be read.
        SyopsValueError, SyopsTypeError: a file that holds no convention, or a wrong one; anything
            else.

    Examples:
        >>> get_convention("ilif").graded
        'ac'
    """
    if isinstance(convention, Convention):
        return convention
    if isinstance(convention, os.PathLike):
        convention = os.fspath(convention)
    if not isinstance(convention, str):
        raise SyopsTypeError(
            "convention must be a name, a .toml file or a Convention, got "
            f"{type(convention).__name__}"
        )
    return _CONVENTIONS.find(convention)


def chosen(
    convention: AnyConvention,
    graded: Graded | None = None,
    ac: AcCount | None = None,
    fold_bn: bool | None = None,
) -> Convention:
    """Return a convention with what its short cuts change.

    Raises:
        SyopsLookupError, SyopsFileError, SyopsValueError, SyopsTypeError: as `get_convention`.
    """
    if fold_bn is not None and not isinstance(fold_bn, bool):
        raise SyopsTypeError(f"fold_bn must be True or False, got {fold_bn!r}")
    if graded is not None:
        choice("graded", graded, get_args(Graded))
    if ac is not None:
        choice("ac", ac, get_args(AcCount))
    known = get_convention(convention)
    norms: Norms | None = None
    if fold_bn is not None and fold_bn != known.folds:
        norms = "folded" if fold_bn else "counted"
    return known.but(graded=graded, ac=ac, norms=norms)


def list_conventions() -> tuple[Convention, ...]:
    """Return the conventions that ship with syops, the default first.

    Examples:
        >>> [each.name for each in list_conventions()][:2]
        ['dst', 'exact']
    """
    return tuple(_CONVENTIONS.known.values())


def load_conventions(path: str | os.PathLike[str]) -> dict[str, Convention]:
    """Read the conventions of a TOML file: a table for each, its name the heading.

    Raises:
        SyopsFileError: the file cannot be read.
        SyopsTypeError, SyopsValueError: it is not TOML, holds no convention, or one with a key or a
            position of a switch that does not exist.
    """
    return _CONVENTIONS.load(path)


def _convention(name: str, entry: dict[str, Any], where: str) -> Convention:
    known = [field.name for field in fields(Convention) if field.name != "name"]
    check_keys(name, entry, known, where)
    try:
        return Convention(name=name, **entry)
    except (SyopsValueError, SyopsTypeError) as error:
        raise type(error)(f"{where}: {error}") from None


_CONVENTIONS = Entries(
    "convention", "conventions", "[my-convention]", "conventions.toml", _convention
)

DEFAULT = get_convention("dst")
MAGNITUDES = "magnitudes"
"""What a count records of graded operands; syops 0.1.0 did so with ``graded="ac"`` alone."""

VALUES = "values"
"""What a count records with ``values=True``: what each call looks like by its values alone."""

_SATURATED = 1 - Fraction(1, 10**6)
"""A firing rate above this is one of 100 %, as Spikingformer's code compares percentages."""


def check_recorded(
    rows: Iterable[Row], convention: Convention, recorded: frozenset[str], model: str
) -> None:
    """Refuse a convention that needs what was not counted.

    Raises:
        SyopsValueError: names it, a layer, and what to do.
    """
    if convention.needs and convention.needs not in recorded:
        raise SyopsValueError(
            f"convention {convention.name!r} needs a count on data with values=True (--values)"
        )
    if convention.graded == "mac" or MAGNITUDES in recorded:
        return
    rows = list(rows)
    for name, row in zip(row_names(rows, model), rows, strict=True):
        if row.under(convention.folds).operations("mac").signal == "graded":
            raise SyopsValueError(
                f"convention {convention.name!r} needs the magnitudes of the integers that reach "
                f"{name}, which this report of an earlier version does not hold; count again"
            )


def classed(row: Row, convention: Convention) -> tuple[Row, Operations]:
    """Return a row as a convention sees it, with its class."""
    row = row.under(convention.folds)
    if row.kind == "norm" and convention.norms == "free":
        row = replace(row, mac=0)
    operations = row.operations(convention.graded)
    if row.kind not in SYNAPTIC:
        return row, operations
    spikes = [drive for drive in row.drives if drive.evidence.signal in SPIKES]
    if convention.pairs == "min" and len(spikes) == 2:
        operations = _lesser(row, operations, spikes)
    if (
        convention.saturated == "mac"
        and operations.rate is not None
        and operations.rate > _SATURATED
    ):
        operations = Operations(operations.signal, operations.rate, mac=row.dense)
    if convention.repeats == "once" and operations.mac and not operations.either:
        operations = replace(operations, mac=operations.mac - row.repeated)
    return row, operations


def _lesser(row: Row, operations: Operations, spikes: list[Drive]) -> Operations:
    """Return the class of a product of two spike tensors at the lesser of their rates."""
    rate = min(Fraction(drive.spikes, drive.numel or 1) for drive in spikes)
    return replace(operations, rate=rate, rates=None, ac=rate * row.dense)
