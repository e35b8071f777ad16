"""Hold what calls look like by their values alone, as tools see them that look at a batch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Literal

Look = Literal["binary", "ternary", "two", "other"]
"""What a batch holds: {0, 1}; {-1, 0, 1}; at most two values in [0, 1]; or anything else."""

BINARY: frozenset[Look] = frozenset({"binary"})
TERNARY: frozenset[Look] = frozenset({"binary", "ternary"})
TWO: frozenset[Look] = frozenset({"binary", "two"})


@dataclass(frozen=True, slots=True)
class ByValue:
    """Split the operations of a synaptic row by what the operands of each call hold.

    Attributes:
        events: synapses that were reached in the calls with a {0, 1} operand: by its spikes, or by
            coincidences if both hold {0, 1}.
        dense: operations of all other calls.
    """

    events: int = 0
    dense: int = 0

    def __add__(self, other: ByValue) -> ByValue:
        return ByValue(self.events + other.events, self.dense + other.dense)


@dataclass(frozen=True, slots=True)
class ModuleCalls:
    """Hold the calls of one module whose values look alike, summed.

    Attributes:
        path: the module's path in the model.
        kind: of the rows of its operations.
        module: its class, such as "torch.nn.modules.conv.Conv2d".
        base: the layer of torch that it is a subclass of, such as "Conv2d".
        look: what its input holds; of activations and neurons the result of the first sample.
        calls: how many.
        operations: what syops-counter 0.0.5 calls its operations, additions of biases included.
        mean: the sum of the rates that 0.0.5 takes, each a float32 mean, or 1.
        at_mean: operations times rate, summed over calls.
        effective: synapses with a weight that is not 0 that entries that are not 0 reach.
        per_sample: the sum of the entries, each times its fan-out, over the size of the first
            dimension, summed over calls.
    """

    path: str
    kind: str
    module: str
    base: str
    look: Look
    calls: int = 0
    operations: int = 0
    mean: Fraction = Fraction(0)
    at_mean: Fraction = Fraction(0)
    effective: int = 0
    per_sample: Fraction = Fraction(0)

    @property
    def key(self) -> tuple[str, str, str, str, Look]:
        return self.path, self.kind, self.module, self.base, self.look

    def __add__(self, other: ModuleCalls) -> ModuleCalls:
        sums = (getattr(self, name) + getattr(other, name) for name in SUMS)
        return ModuleCalls(*self.key, *sums)


SUMS = tuple(each.name for each in fields(ModuleCalls))[5:]
"""What adds up over calls."""


def merge_calls(calls: Iterable[ModuleCalls]) -> tuple[ModuleCalls, ...]:
    """Return one entry for each module and look, in the order of their names."""
    merged: dict[tuple[str, ...], ModuleCalls] = {}
    for each in calls:
        merged[each.key] = merged[each.key] + each if each.key in merged else each
    return tuple(merged[key] for key in sorted(merged))
