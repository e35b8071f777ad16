"""Check what the user says of a network and of how to count it, and keep it in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from torch import nn

from syops.choices import AC_COUNTS, GRADED, AcCount, Graded, InputSignal, Signal, choice
from syops.cost.energy import Energy, EnergyMap
from syops.cost.profiles import Profile, get_energy_model
from syops.ops.own import own_rules
from syops.ops.registry import finder
from syops.ops.rule import Rule
from syops.trace import inputs as given
from syops.trace.ann import AnnCounts
from syops.trace.neurons import NeuronSignal
from syops.trace.paths import all_paths
from syops.trace.settings import Settings


@dataclass(frozen=True)
class Subject:
    """A network and what the user says of it, checked.

    Attributes:
        model: the network; the one that was compiled, where it is a compiled one.
        batch_dim: the dimension of the first input that counts samples.
        neurons: the signals of neuron classes that the user names.
        rules: the rules of the user's own, by the operator.
        steps: T, or None where it is not known.
    """

    model: nn.Module
    batch_dim: int
    neurons: Mapping[type, NeuronSignal]
    rules: Mapping[Any, Rule]
    steps: int | None

    @classmethod
    def of(
        cls,
        model: nn.Module,
        batch_dim: int,
        neurons: Mapping[type[nn.Module], Signal] | None,
        rules: Mapping[Any, Rule] | None,
        time_steps: int | None = None,
    ) -> Self:
        signals, own = given.registered(neurons), own_rules(rules)
        given.check_model(model)
        network = getattr(model, "_orig_mod", model)  # what torch.compile wraps
        return cls(network, batch_dim, signals, own, given.time_steps(network, time_steps))

    @property
    def name(self) -> str:
        return type(self.model).__name__

    @property
    def settings(self) -> Settings:
        """What the observer of a pass is told."""
        return Settings(neurons=self.neurons, find=finder(self.rules))

    def ann_counts(self) -> AnnCounts:
        """Return an empty count of the same network as an ANN."""
        told = self.settings
        return AnnCounts(self.steps, self.batch_dim, told.neurons, told.find)

    def conventions(self, signals: Sequence[str], **chosen: bool | str) -> dict[str, Any]:
        """Return what the counts depend on, as a report keeps it."""
        own = {"rules": ", ".join(sorted(map(str, self.rules)))} if self.rules else {}
        shared = {"batch_dim": self.batch_dim, "input_signal": ", ".join(signals)}
        return {**chosen, **shared, **own}


@dataclass(frozen=True, kw_only=True)
class Counting:
    """How a network is counted on data, checked.

    Attributes:
        subject: the network, and what the user says of it.
        signals: what the inputs hold: one name for all tensors, or one each.
        energy: prices the operations.
        strict: an operator without a rule is an error.
        chosen: the conventions ``fold_bn``, ``graded`` and ``ac``.
    """

    subject: Subject
    signals: tuple[InputSignal, ...]
    energy: Energy
    strict: bool
    chosen: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        model: nn.Module,
        *,
        batch_dim: int,
        time_steps: int | None,
        fold_bn: bool,
        graded: Graded,
        ac: AcCount,
        strict: bool,
        input_signal: InputSignal | Sequence[InputSignal],
        neurons: Mapping[type[nn.Module], Signal] | None,
        rules: Mapping[Any, Rule] | None,
        energy: Profile | Mapping[str, Profile],
    ) -> Self:
        """Check the arguments of `syops.get_model_syops` that do not concern the data."""
        choice("graded", graded, GRADED)
        choice("ac", ac, AC_COUNTS)
        signals = given.signal_names(input_signal)
        energy_model = get_energy_model(energy)
        subject = Subject.of(model, batch_dim, neurons, rules, time_steps)
        _check_patterns(energy_model, subject.model)
        given.check_values(subject.model)
        return cls(
            subject=subject,
            signals=signals,
            energy=energy_model,
            strict=strict,
            chosen={"fold_bn": fold_bn, "graded": graded, "ac": ac},
        )

    @property
    def settings(self) -> Settings:
        """What the observer of a pass is told."""
        told = self.subject.settings
        return replace(told, graded=self.chosen["graded"], strict=self.strict)

    @property
    def conventions(self) -> dict[str, Any]:
        """What the counts depend on, as a report keeps it."""
        return self.subject.conventions(self.signals, **self.chosen)


def _check_patterns(energy: Energy, model: nn.Module) -> None:
    """Refuse patterns that match no module now rather than after the count."""
    if isinstance(energy, EnergyMap):
        paths = [(path, "") for path, _ in all_paths(model)]
        energy.check_patterns(paths, dtypes=False)
