"""Hold how forward passes are counted: the user's choices, and facts about the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from syops.ops.registry import Find, find
from syops.trace.neurons.library import NeuronSignal


@dataclass(frozen=True, slots=True)
class Settings:
    """Say how forward passes are counted.

    Attributes:
        strict: an operator without a rule is an error.
        by_values: whether each call is also looked at as tools do that see values alone.
        values: False for a shadow on ``meta``: dense counts and derived signals only.
        neurons: signals of neuron classes beside those that are known.
        find: gives the rule of an operator.
        states: names of buffers that are known to be states, not weights.
        hooked: the modules, each with "_forward_hooks" or "_forward_pre_hooks", that have hooks
            which do not run here: they may do anything with what goes in or comes out.
        by_sample: the samples of a batch are told apart.
        by_caller: other code calls the model, and what one call computes may reach a later one.
    """

    strict: bool = False
    by_values: bool = False
    values: bool = True
    neurons: Mapping[type, NeuronSignal] = field(default_factory=dict)
    find: Find = find
    states: frozenset[str] = frozenset()
    hooked: frozenset[tuple[str, str]] = frozenset()
    by_sample: bool = False
    by_caller: bool = False
