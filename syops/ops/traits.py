"""Read what the schema of an operator says of it, whatever it computes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from syops._torch import schema_of
from syops.ops.rule import canonical, tensors_in

Arguments = tuple[tuple[int, str], ...]
"""Places and names of arguments."""

SIZES = {
    *("dim", "dims", "dim0", "dim1", "dim2", "dimension", "size", "shape", "output_size", "n", "m"),
    *("normalized_shape", "repeats", "split_size", "split_sizes", "chunks", "groups"),
    *("upscale_factor", "downscale_factor"),
}
"""Numbers that tell how a result is laid out, and not which values it has."""


@dataclass(frozen=True, slots=True)
class Traits:
    """Hold what the schema of an operator says.

    Attributes:
        name: its canonical name.
        targets: the arguments that it writes into.
        outs: the names of those that are given as ``out=``.
        numbers: the arguments that may be numbers on which the values of its result depend.
    """

    name: str
    targets: Arguments
    outs: frozenset[str]
    numbers: Arguments
    is_random: bool
    dropout: int | None
    """The place of a probability without which it is not random."""

    def written(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Tensor]:
        """Return the tensors that the operator writes into."""
        return tensors_in(_given(self.targets, args, kwargs)) if self.targets else []

    def draws(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Return whether the result of a random operator is a matter of chance."""
        if self.dropout is None:
            return True
        default = args[self.dropout] if self.dropout < len(args) else 0.0
        return bool(kwargs.get("dropout_p", default) != 0)

    def numbers_in(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[complex]:
        """Return the numbers among the arguments on which the values of the result depend."""
        return _numbers(_given(self.numbers, args, kwargs))


def _given(wanted: Arguments, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    return [kwargs.get(n, args[p] if p < len(args) else None) for p, n in wanted]


def _numbers(value: Any) -> Iterator[complex]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, (int, float, complex)):
        yield value


@cache
def traits_of(func: Any) -> Traits:
    """Return the traits of an operator overload."""
    name, arguments = canonical(func), schema_of(func).arguments
    targets, numbers, dropout = [], [], None
    for place, argument in enumerate(arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            targets.append((place, argument.name))
        if argument.name == "dropout_p":
            dropout = place
        if argument.name not in SIZES and "bool" not in str(argument.type):
            numbers.append((place, argument.name))
    return Traits(
        name,
        tuple(targets),
        frozenset(argument.name for argument in arguments if argument.is_out),
        numbers=tuple(numbers),
        is_random=torch.Tag.nondeterministic_seeded in func.tags,
        dropout=dropout,
    )
