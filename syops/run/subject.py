"""Check what the user says of a network and of how to count it, and keep it in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from torch import nn

from syops.choices import AcCount, Graded, InputSignal, Signal, check_truth
from syops.cost.conventions import VALUES, AnyConvention, Convention, chosen
from syops.cost.energy import Energy, EnergyMap
from syops.cost.profiles import Profile, get_energy_model
from syops.errors import ForwardError, SyopsValueError
from syops.ledger.ledger import Ledger
from syops.ledger.samples import SampleCounts
from syops.ops.own import own_rules
from syops.ops.registry import finder
from syops.ops.rule import Rule
from syops.run.tally import CountSoFar
from syops.trace import inputs as given
from syops.trace.ann import AnnCounts
from syops.trace.axes import Axes, along
from syops.trace.input_signals import signal_names
from syops.trace.model import check_model, check_values, declared_signals, time_steps_of
from syops.trace.neurons import NeuronSignal
from syops.trace.paths import all_paths
from syops.trace.settings import Settings
from syops.trace.spikes import Spikes
from syops.trace.unroll import Call, Unroll, once


@dataclass(frozen=True)
class Subject:
    """A network and what the user says of it, checked.

    Attributes:
        model: the network; the one that was compiled, where it is a compiled one.
        batch_dim: the dimension of the first input that counts samples.
        neurons: the signals of neuron classes that the user names.
        rules: the rules of the user's own, by the operator.
        steps: T, or None where it is not known.
        is_told: whether the user said what T is.
        unroll: calls the network for each time-step of its input; None: it is called once.
        by_calls: a call of the network is one time-step.
    """

    model: nn.Module
    batch_dim: int
    neurons: Mapping[type, NeuronSignal]
    rules: Mapping[Any, Rule]
    steps: int | None
    is_told: bool
    unroll: Unroll | None = None
    by_calls: bool = False

    @classmethod
    def of(
        cls,
        model: nn.Module,
        batch_dim: int,
        neurons: Mapping[type[nn.Module], Signal] | None,
        rules: Mapping[Any, Rule] | None,
        time_steps: int | None = None,
        unroll: int | None = None,
        by_calls: bool = False,
    ) -> Self:
        signals, own = declared_signals(neurons), own_rules(rules)
        check_model(model)
        network = getattr(model, "_orig_mod", model)  # what torch.compile wraps
        steps, is_told = time_steps_of(network, time_steps), time_steps is not None
        if unroll is None:
            return cls(network, batch_dim, signals, own, steps, is_told, by_calls=by_calls)
        steps = steps if is_told else None  # a ``model.T`` is not what the input has
        called = Unroll.of(unroll)
        return cls(network, batch_dim, signals, own, steps, is_told, called, by_calls=True)

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
        return AnnCounts(self.steps, self.batch_dim, told.neurons, told.find, self.by_calls)

    @property
    def call(self) -> Call:
        """What calls the network on a batch."""
        return self.unroll or once

    def one_call(self, batch: given.Arguments) -> given.Arguments:
        """Return what the network is called with first in a batch."""
        return batch if self.unroll is None else self.unroll.step(batch, 0)

    def samples_of(self, batch: given.Arguments) -> int:
        """Return how many samples a batch holds."""
        return given.samples(self.one_call(batch), self.batch_dim)

    def batch_axis(self, batch: given.Arguments) -> int:
        """Return the dimension of a batch's first tensor that counts samples."""
        if self.unroll is None:
            return self.batch_dim
        dims, steps = given.first_tensor(batch).dim(), self.unroll.axis(batch)
        axis = self.batch_dim % (dims - 1)
        return axis + (axis >= steps)

    def time_axis(self, batch: given.Arguments) -> int | None:
        """Return the dimension of a batch that counts time-steps, if one does."""
        if self.unroll is not None:
            return self.unroll.axis(batch)
        return given.time_axis(given.first_tensor(batch), self.batch_dim, self.steps_of(batch))

    def axes(self, batch: given.Arguments, by_sample: bool = False) -> Axes:
        """Return where the time-steps, and samples, of a batch's first tensor are.

        As far as that is certain: a dimension that has as many positions as T alone need not be
        that of time.
        """
        shape = given.first_tensor(batch).shape
        time = None
        if self.unroll is not None:
            time = self.unroll.axis(batch)
        elif len(shape) > 1 and self.batch_dim % len(shape) == 1:
            time = 0 if self.steps_of(batch) in (None, shape[0]) else None
        known = None if time is None else along(shape, time, shape[time])
        dim = self.batch_axis(batch) % len(shape) if by_sample and shape else None
        if dim is None or shape[dim] == 1:
            return Axes(known)
        return Axes(known, along(shape, dim, shape[dim]))

    def steps_of(self, batch: given.Arguments) -> int | None:
        """Return T of a batch: the user may set ``model.T`` anew before each.

        Raises:
            SyopsValueError: ``time_steps`` is another number than the time-steps of the batch.
        """
        if self.unroll is None:
            follows = not (self.is_told or self.by_calls)
            return time_steps_of(self.model, None) if follows else self.steps
        steps = self.unroll.steps(batch)
        if self.steps not in (None, steps):
            raise SyopsValueError(
                f"time_steps={self.steps}, but dimension {self.unroll.dim} of the input, which "
                f"unroll names, has {steps}; leave time_steps out"
            )
        return steps

    def explained(self, error: ForwardError, batch: given.Arguments) -> ForwardError:
        """Return the error with what is wrong with a batch, where that is known."""
        if self.unroll is None:
            return given.explained(error, self.model, batch)
        shape = tuple(given.first_tensor(self.one_call(batch)).shape)
        return ForwardError(
            f"{error}; unroll={self.unroll.dim} calls the model with one time-step alone, of "
            f"shape {shape}; a model that takes back the states it returned needs a loop of your "
            "own, which count_syops counts"
        )

    def conventions(self, signals: Sequence[str]) -> dict[str, Any]:
        """Return what the counts depend on, as a report keeps it."""
        own = {"rules": ", ".join(sorted(map(str, self.rules)))} if self.rules else {}
        shared = {"batch_dim": self.batch_dim, "input_signal": ", ".join(signals)}
        loop: dict[str, Any] = {}
        if self.unroll is not None:
            loop = {"unroll": self.unroll.dim}
        elif self.by_calls:
            loop = {"time_loop": "caller"}
        return {**shared, **loop, **own}


@dataclass(frozen=True, kw_only=True)
class Counting:
    """How a network is counted on data, checked.

    Attributes:
        subject: the network, and what the user says of it.
        signals: what the inputs hold: one name for all tensors, or one each.
        energy: prices the operations.
        strict: an operator without a rule is an error.
        values: whether each call is looked at by its values alone, too.
        convention: what the counts are taken for.
        by_sample: the samples of a batch are told apart.
        neuron_rates: the spikes of each neuron are counted.
    """

    subject: Subject
    signals: tuple[InputSignal, ...]
    energy: Energy
    strict: bool
    values: bool
    convention: Convention
    by_sample: bool = False
    neuron_rates: bool = False

    @classmethod
    def of(
        cls,
        model: nn.Module,
        *,
        batch_dim: int,
        time_steps: int | None,
        fold_bn: bool | None,
        graded: Graded | None,
        ac: AcCount | None,
        convention: AnyConvention,
        strict: bool,
        values: bool,
        input_signal: InputSignal | Sequence[InputSignal],
        neurons: Mapping[type[nn.Module], Signal] | None,
        rules: Mapping[Any, Rule] | None,
        energy: Profile | Mapping[str, Profile],
        unroll: int | None = None,
        by_calls: bool = False,
        by_sample: bool = False,
        neuron_rates: bool = False,
    ) -> Self:
        """Check the arguments of `syops.get_model_syops` that do not concern the data."""
        known = chosen(convention, graded, ac, fold_bn)
        signals = signal_names(input_signal)
        energy_model = get_energy_model(energy)
        subject = Subject.of(
            model, batch_dim, neurons, rules, time_steps, unroll, by_calls=by_calls
        )
        _check_patterns(energy_model, subject.model)
        check_truth("neuron_rates", neuron_rates)
        check_truth("strict", strict)
        check_truth("values", values)
        check_values(subject.model)
        return cls(
            subject=subject,
            signals=signals,
            energy=energy_model,
            strict=strict,
            values=values or bool(known.needs),
            convention=known,
            by_sample=by_sample,
            neuron_rates=neuron_rates,
        )

    def tally(self, samples: int | None = None) -> CountSoFar:
        """Return an empty tally; ``samples``: as of `CountSoFar`."""
        subject = self.subject
        spikes = Spikes(subject.model, subject.neurons) if self.neuron_rates else None
        ledger, ann = Ledger(), subject.ann_counts()
        if self.by_sample:
            ledger.by_sample = SampleCounts(self.convention.folds)
        return CountSoFar(subject.model, ledger, ann, samples=samples, spikes=spikes)

    @property
    def settings(self) -> Settings:
        """What the observer of a pass is told."""
        told = self.subject.settings
        return replace(told, strict=self.strict, by_values=self.values, by_sample=self.by_sample)

    @property
    def recorded(self) -> tuple[str, ...]:
        """What is measured besides."""
        return (VALUES,) if self.values else ()

    @property
    def conventions(self) -> dict[str, Any]:
        """What the counts depend on, as a report keeps it."""
        return self.subject.conventions(self.signals)


def _check_patterns(energy: Energy, model: nn.Module) -> None:
    """Refuse patterns that match no module now rather than after the count."""
    if isinstance(energy, EnergyMap):
        paths = [(path, "") for path, _ in all_paths(model)]
        energy.check_patterns(paths, dtypes=False)
