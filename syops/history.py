"""How every tensor of a forward pass was made, and of what: the audit asks for it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from syops.signals import SPIKES, UNKNOWN, Evidence, Signal, evidence_of

INPUT, PARAMETER, WRITE = "input", "parameter", "write"
"""Steps that are no operators: what the model is given, what it learned, a write into a part."""
OVERWRITES = {
    *("copy", "fill", "zero", "uniform", "normal", "bernoulli", "random", "exponential"),
}
"""Operators that leave nothing of what their target held."""


@dataclass(eq=False, slots=True)
class Step:
    """One operator, at the place in the model where it made a tensor.

    Attributes:
        operator: its name, or that of a neuron's class.
        path: of the innermost module around it; of a parameter, its name.
        signal: what it made.
        inputs: the steps that made what it read.
        synaptic: whether it applies weights.
    """

    operator: str
    path: str
    signal: Signal
    inputs: tuple[Step, ...] = ()
    synaptic: bool = False

    @property
    def evidence(self) -> Evidence:
        """What its signal says; without a look at data, unknown values may be any."""
        return Evidence(analog=True) if self.signal is UNKNOWN else evidence_of(self.signal)

    @property
    def spikes(self) -> bool:
        """Whether it makes nothing but spikes."""
        return self.evidence.signal in SPIKES


class History:
    """What arrived at each row of a ledger, and which modules compare values to a threshold."""

    def __init__(self) -> None:
        self.arrivals: dict[Hashable, list[tuple[Step, ...]]] = {}
        self.thresholds: set[str] = set()

    def arrive(self, key: Hashable, steps: tuple[Step, ...]) -> None:
        """A product was executed; ``steps`` made its operands."""
        self.arrivals.setdefault(key, []).append(steps)


def made(
    operator: str,
    path: str,
    signal: Signal,
    inputs: tuple[Step, ...],
    synaptic: bool = False,
    moved: bool = False,
) -> Step:
    """A step; what only hands the values of one tensor on is none of its own."""
    step = Step(operator, path, signal, inputs, synaptic)
    return inputs[0] if moved and len(inputs) == 1 and inputs[0].evidence == step.evidence else step


def chain(step: Step) -> tuple[Step, ...]:
    """From values that are no spikes back to the operator that made them, nearest first.

    It ends where weights were applied, or where all that was read are spikes.
    """
    links = [step]
    while not links[-1].synaptic:
        before = [s for s in links[-1].inputs if not s.spikes and s.operator != PARAMETER]
        if not before:
            break
        links.append(before[0])
    return tuple(links)


def leads_to(before: Step, after: Step) -> bool:
    """Whether ``before`` had a part in the making of ``after``."""
    met, todo = {id(after)}, [after]
    while todo:
        step = todo.pop()
        if step is before:
            return True
        for source in step.inputs:
            if id(source) not in met:
                met.add(id(source))
                todo.append(source)
    return False
