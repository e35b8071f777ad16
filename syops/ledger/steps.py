"""Keep how each tensor of a forward pass was made, and from what; the audit reads it."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from itertools import count

from syops.ops.classes import ValueEvidence, evidence_of
from syops.ops.kinds import SPIKES
from syops.ops.values import LEARNED, Signal

INPUT, PARAMETER, WRITE = "input", "parameter", "write"
"""Steps that are not operators: what the model is given, what it learned, a write into a part."""


@dataclass(eq=False, slots=True)
class Step:
    """Describe one operator, at the place in the model where it made a tensor.

    Attributes:
        operator: its name, or that of a neuron's class.
        path: of the innermost module around it; of a parameter, its name.
        signal: what it made.
        inputs: the steps that made what it read.
        synaptic: whether it applies weights.
        site: where in the code of that module: the same in every round of a loop.
        symbol: how the operator is written between two operands; "" for most.
        number: steps are made one after the other.
    """

    operator: str
    path: str
    signal: Signal
    inputs: tuple[Step, ...] = ()
    synaptic: bool = False
    site: Hashable = None
    symbol: str = ""
    number: int = field(default_factory=count().__next__)

    @property
    def evidence(self) -> ValueEvidence:
        """What its signal says; without a look at data, unknown values may be any."""
        return evidence_of(self.signal)

    @property
    def spikes(self) -> bool:
        """Whether it makes nothing but spikes."""
        return self.evidence.signal in SPIKES

    @property
    def non_spikes(self) -> bool:
        """Whether it makes values that are neither spikes nor weights."""
        return self.signal is not LEARNED and not self.spikes

    @property
    def place(self) -> Hashable:
        """What steps of different rounds of a loop have in common."""
        return self.path, self.operator, self.site


@dataclass(frozen=True, slots=True)
class Arrival:
    """Say how an operand that arrived at a product was made.

    Attributes:
        step: as the model was run.
        folded: with the norm before the product folded into its weights.
    """

    step: Step
    folded: Step


class History:
    """Collect what the audit asks for beside the ledger.

    Attributes:
        arrivals: what arrived at each row of it.
        thresholds: the modules that compare values to a threshold.
        unknown: the operators without a rule that read more than spikes, in order.
    """

    def __init__(self) -> None:
        self.arrivals: dict[Hashable, list[tuple[Arrival, ...]]] = {}
        self.thresholds: set[str] = set()
        self.unknown: dict[str, None] = {}

    def arrive(self, key: Hashable, operands: tuple[Arrival, ...]) -> None:
        """Note that a product was executed."""
        self.arrivals.setdefault(key, []).append(operands)


def origin_of(step: Step) -> Step:
    """Return the step that made the values: the one before, if this one only hands them on."""
    inputs = step.inputs
    return inputs[0] if len(inputs) == 1 and inputs[0].evidence == step.evidence else step


def chain(step: Step) -> tuple[Step, ...]:
    """Return the steps from non-spikes back to the operator that made them, nearest first.

    It ends where weights were applied, or where all that was read are spikes. Of several ways it
    is a shortest, and of the rounds of a loop it has the first and the last, so that it does not
    run through all time-steps of a potential that integrates.
    """
    ways: deque[tuple[Step, ...]] = deque([(step,)])
    met = {id(step)}
    while True:
        way = ways.popleft()
        before = _non_spikes_read(way[-1])
        if not before:
            return _without_rounds(way)
        for source in before:
            if id(source) not in met:
                met.add(id(source))
                ways.append((*way, source))


def _without_rounds(way: tuple[Step, ...]) -> tuple[Step, ...]:
    """Return steps with only the first and last of those at one place in the code."""
    last = {step.place: number for number, step in enumerate(way)}
    kept, number = [], 0
    while number < len(way):
        first, number = number, last[way[number].place]
        kept += [way[first], way[number]] if first < number else [way[number]]
        number += 1
    return tuple(kept)


def _non_spikes_read(step: Step) -> list[Step]:
    """Return the operands that make a result no spike: those of its own class, if there are any."""
    if step.synaptic or step.spikes:
        return []
    read = [source for source in step.inputs if source.non_spikes]
    signal = step.evidence.signal
    return [s for s in read if s.evidence.signal == signal] or read


def leads_to(before: Step, after: Step) -> bool:
    """Return whether ``before`` had a part in the making of ``after``."""
    met, todo = {id(after)}, [after]
    while todo:
        step = todo.pop()
        if step is before:
            return True
        for source in step.inputs:
            if source.number >= before.number and id(source) not in met:
                met.add(id(source))
                todo.append(source)
    return False
