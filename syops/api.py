"""Define the entry points: check the arguments, trace the model, build the result."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Self, TypeVar

import torch
from torch import nn

from syops._torch import tree_map
from syops.choices import AC_COUNTS, ENDS, GRADED, AcCount, End, Graded, InputSignal, Signal, choice
from syops.cost.energy import Energy, EnergyMap
from syops.cost.later import later
from syops.cost.pricing import check_energy
from syops.cost.profiles import Profile, get_energy_model
from syops.errors import ForwardError, SyopsError, SyopsValueError
from syops.ledger.rows import Ledger
from syops.ledger.steps import History
from syops.ops.own import own_rules
from syops.ops.registry import finder
from syops.ops.rule import Rule
from syops.report.audit import Audit
from syops.report.report import MeasuredReport, Report
from syops.run.loop import Batches, Tally, count_batches
from syops.trace import inputs as given
from syops.trace.ann import AnnCounts
from syops.trace.bounds import trace
from syops.trace.neurons import NeuronSignal
from syops.trace.observer import Observer
from syops.trace.paths import all_paths
from syops.trace.replay import Plans
from syops.trace.restore import device_of, plainly
from syops.trace.settings import Settings

AnyReport = TypeVar("AnyReport", bound=Report)


def get_model_syops(
    model: nn.Module,
    inputs: Any,
    *,
    batch_dim: int = 0,
    time_steps: int | None = None,
    fold_bn: bool = True,
    graded: Graded = "mac",
    ac: AcCount = "rate",
    strict: bool = False,
    input_signal: InputSignal | Sequence[InputSignal] = "auto",
    neurons: Mapping[type[nn.Module], Signal] | None = None,
    rules: Mapping[Any, Rule] | None = None,
    prepare: Callable[[Any], Any] | None = None,
    energy: Profile | Mapping[str, Profile] = "horowitz45-fp32",
    progress: bool | None = None,
    device: torch.device | str | None = None,
) -> MeasuredReport:
    """Count the synaptic operations of a spiking network on data, and price them.

    The model runs in eval mode, without gradients, its neurons reset before each batch. It is
    left as it was found: training flags, states, buffers and hooks.

    Args:
        model: any module.
        inputs: what the model is called with: a tensor, a tuple of arguments, a dict of
            keyword arguments; or an iterable of batches such as a DataLoader. A batch is a
            tensor, a dict of keyword arguments, or a tuple or list whose first element is the
            input (labels are not fed to the model). NumPy arrays are made tensors; those of
            float64 get the dtype of the model's weights.
        batch_dim: dimension of the first tensor that counts samples; [T, N, ...] input: 1.
        time_steps: T; by default ``model.T`` if there is one.
        fold_bn: BatchNorms that can be folded into the layers before or after them cost nothing.
        graded: "mac", or "ac" to count an integer input as so many ACs as its magnitude.
        ac: the count that is priced: "rate" (firing rate · dense, the paper's) or "events"
            (the fan-out of every spike).
        strict: an operator without a rule is an error instead of being listed.
        input_signal: "auto" (looked up in the data), "analog", "binary", "ternary" or "graded";
            or a list, one for each tensor that the model is called with.
        neurons: classes of modules that are neurons and cannot be watched from inside, such as a
            fused kernel, with the signal of their first output: ``{FusedLIF: "binary"}``. What
            they send is checked.
        rules: what operators of your own cost, by the operator: ``{torch.ops.my.linear: rule}``;
            see `syops.ops`.
        prepare: makes of a batch what the model is called with: a tuple of arguments, a dict
            of keyword arguments, or one argument.
        energy: a profile, a ``.toml`` file with one, an `EnergyModel`, or a dict of these by
            layer or dtype of weights, such as ``{"conv1": "horowitz45-int8", "*": ...}``; see
            `get_energy_model`.
        progress: a progress bar; by default for several batches on a terminal.
        device: where to run; by default where the model is. Inputs are moved there.

    Returns:
        the counts per layer and per sample, and the energy that follows.

    Raises:
        SyopsTypeError: a model or batch that cannot be used.
        SyopsValueError: an argument out of range, an empty loader, NaN in what is looked at, a
            neuron that sends other values than ``neurons`` says.
        SyopsLookupError: an unknown energy profile.
        SyopsFileError: a file of energy profiles that cannot be read.
        ForwardError: the model failed on the input.

    An error at one batch of many names it, and has a report of those before it: ``error.report``.
    One that is not syops' own, raised by a data set, says it in a note (``error.__notes__``).

    Example:
        >>> spikes = torch.eye(4)  # 4 samples, each with one spike in 4
        >>> report = get_model_syops(nn.Linear(4, 3), spikes)
        >>> report.ac, report.mac, report.layers[0].rate
        (3.0, 0.0, 0.25)
        >>> f"{report.dc_mj:.1e} mJ"  # 3 ACs at 0.9 pJ
        '2.7e-09 mJ'
    """
    choice("graded", graded, GRADED)
    choice("ac", ac, AC_COUNTS)
    signals = given.signal_names(input_signal)
    energy_model = get_energy_model(energy)
    subject = _Subject.of(model, batch_dim, neurons, rules, time_steps)
    _check_patterns(energy_model, subject.model)
    given.check_values(subject.model)
    given.check_inputs(inputs, prepare)
    home = device_of(subject.model) if device is None else given.device(device)

    tally = Tally(subject.model, Ledger(), subject.ann_counts())
    batches = Batches(inputs, prepare, batch_dim, signals, subject.steps, home, progress)
    settings = replace(subject.settings, graded=graded, strict=strict)
    plans = None if batches.is_single else Plans()
    observer = Observer(subject.model, tally.ledger, settings, plans=plans)
    conventions = subject.conventions(signals, fold_bn=fold_bn, graded=graded, ac=ac)

    def report() -> MeasuredReport:
        return _report(MeasuredReport, tally, subject, energy_model, conventions)

    try:
        count_batches(batches, observer, tally)
    except Exception as error:
        if tally.at_batch:
            _name_batch(error, tally, report)
        raise
    return report()


def get_model_bounds(
    model: nn.Module,
    inputs: Any,
    *,
    batch_dim: int = 0,
    time_steps: int | None = None,
    fold_bn: bool = True,
    graded: Graded = "mac",
    input_signal: InputSignal | Sequence[InputSignal] = "auto",
    neurons: Mapping[type[nn.Module], Signal] | None = None,
    rules: Mapping[Any, Rule] | None = None,
    energy: Profile | Mapping[str, Profile] = "horowitz45-fp32",
) -> Report:
    """Return what a spiking network can cost at all: without data, weights or arithmetic.

    A copy of the model without values runs once on the ``meta`` device, where only shapes are
    worked out. The model itself is not run, and may lie on ``meta``.

    Args:
        model: any module.
        inputs: the shape of the input, with its batch dimension, such as ``(1, 3, 224, 224)``; or
            an example: a tensor, a tuple of arguments or a dict of keyword arguments, of which only
            shapes, dtypes and what ``input_signal="auto"`` asks for are used.
        batch_dim: dimension of the first tensor that counts samples; [T, N, ...] input: 1.
        time_steps: T; by default ``model.T`` if there is one.
        fold_bn: BatchNorms that can be folded into the layers before or after them cost nothing.
        graded: "mac", or "ac" to count an integer input as up to so many ACs as its largest
            magnitude, where that is known.
        input_signal: what inputs hold: "analog", "binary", "ternary" or "graded" (integers without
            a bound). "auto" reads it from an example, and the bounds hold for inputs of its class;
            of a shape, of zeros or of ones alone nothing can be read: a layer that may get spikes
            or not spans both. Or a list, one for each tensor that the model is called with.
        neurons: classes of modules that are neurons and cannot be watched from inside, such as a
            fused kernel, with the signal of their output: ``{FusedLIF: "binary"}``.
        rules: what operators of your own cost, by the operator: ``{torch.ops.my.linear: rule}``;
            see `syops.ops`.
        energy: a profile, a ``.toml`` file with one, an `EnergyModel`, or a dict of these by
            layer or dtype of weights, such as ``{"conv1": "horowitz45-int8", "*": ...}``; see
            `get_energy_model`.

    Returns:
        a report with ``measured == False``: dense counts and classes per layer, O_mac and EC per
        sample; the same network as an ANN, and the firing rate below which the SNN needs less
        energy. Firing rates, ACs and DC are None.

    Raises:
        SyopsTypeError: a model or input that cannot be used.
        SyopsValueError: an argument out of range.
        SyopsLookupError: an unknown energy profile.
        SyopsFileError: a file of energy profiles that cannot be read.
        ForwardError: the model cannot run without values; names the layer.

    Example:
        >>> report = get_model_bounds(nn.Linear(4, 3), (1, 4), input_signal="binary")
        >>> report.dense_ac, report.ec_mj  # 12 ACs at 0.9 pJ, if every input fires
        (12.0, (0.0, 1.08e-08))
    """
    choice("graded", graded, GRADED)
    energy_model = get_energy_model(energy)
    subject = _Subject.of(model, batch_dim, neurons, rules, time_steps)
    traced = _trace(subject, inputs, given.signal_names(input_signal))
    tally = Tally(subject.model, traced.ledger, subject.ann_counts(), traced.shapes)
    plainly(lambda: tally.ann.prepare(subject.model, traced.shapes, Ledger()))
    tally.ann.add(traced.shapes, traced.ledger, traced.states)
    conventions = subject.conventions(traced.signals, graded=graded, fold_bn=fold_bn)
    return _report(Report, tally, subject, energy_model, conventions)


def check_full_spike(
    model: nn.Module,
    inputs: Any,
    *,
    allow: Sequence[End] = ("first", "last"),
    batch_dim: int = 0,
    fold_bn: bool = True,
    input_signal: InputSignal | Sequence[InputSignal] = "auto",
    neurons: Mapping[type[nn.Module], Signal] | None = None,
    rules: Mapping[Any, Rule] | None = None,
) -> Audit:
    """Prove that only spikes reach the synapses of a network, or say what else does, and why.

    Runs as `get_model_bounds` does: what is found holds for all data and all weights.

    Args:
        allow: layers that need not be spike-only: "first" and "last", in the order of execution,
            as in the paper (the stem and the classifier).
        model, inputs, batch_dim, fold_bn, input_signal, neurons, rules: see `get_model_bounds`.

    Returns:
        the verdict; and for each synaptic layer the values that can arrive, with the operators
        that made them where they are no spikes.

    Raises:
        SyopsTypeError, SyopsValueError, ForwardError: see `get_model_bounds`.

    Example:
        >>> layers = (nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> audit = check_full_spike(nn.Sequential(*layers), (1, 4))
        >>> [(row.layer, row.verdict) for row in audit.offending]
        [('2', 'analog')]
    """
    if isinstance(allow, str) or not isinstance(allow, (tuple, list, set, frozenset)):
        raise SyopsValueError(
            f"allow must be a list that may hold 'first' and 'last', got {allow!r}"
        )
    allowed = {choice("allow", end, ENDS) for end in allow}
    subject = _Subject.of(model, batch_dim, neurons, rules)
    traced = _trace(subject, inputs, given.signal_names(input_signal))
    return Audit.of(
        subject.name,
        traced.ledger,
        traced.history,
        allow=tuple(end for end in ENDS if end in allowed),
        input_shape=tuple(given.first_tensor(traced.shapes).shape),
        conventions=subject.conventions(traced.signals, fold_bn=fold_bn),
        versions=dict(_versions()),
    )


# --- check ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Subject:
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


def _check_patterns(energy: Energy, model: nn.Module) -> None:
    """Refuse patterns that match no module now rather than after the count."""
    if isinstance(energy, EnergyMap):
        paths = [(path, "") for path, _ in all_paths(model)]
        energy.check_patterns(paths, dtypes=False)


# --- trace ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Trace:
    """One pass without values.

    Attributes:
        shapes: what the model was called with, on ``meta``.
        ledger: the dense counts and derived signals.
        history: how each tensor was made.
        states: the buffers that are states, not weights.
        signals: what the inputs hold, in words.
    """

    shapes: given.Arguments
    ledger: Ledger
    history: History
    states: frozenset[str]
    signals: tuple[str, ...]


def _trace(subject: _Subject, inputs: Any, names: tuple[InputSignal, ...]) -> _Trace:
    """Follow the network on ``meta``."""
    example = given.example(inputs, given.weight_dtype(subject.model))
    shapes: given.Arguments = tree_map(given.on_meta, example)
    ledger, history = Ledger(), History()
    ledger.samples = given.samples(shapes, subject.batch_dim)
    tensors = given.tensors_of(example)
    each = list(zip(given.signal_of_each(names, tensors), tensors, strict=True))
    signals = [given.bounded_by(name, tensor) for name, tensor in each]
    told = tuple(given.told(name, s) for (name, _), s in zip(each, signals, strict=True))

    try:
        states = plainly(
            lambda: trace(subject.model, shapes, signals, ledger, subject.settings, history)
        )
    except ForwardError as error:
        raise given.explained(error, subject.model, shapes) from error.__cause__
    return _Trace(shapes, ledger, history, states, told if "auto" in names else names)


# --- build ------------------------------------------------------------------------------------


def _report(
    kind: type[AnyReport],
    tally: Tally,
    subject: _Subject,
    energy: Energy,
    conventions: Mapping[str, Any],
) -> AnyReport:
    """Build the report of what has been counted so far."""
    if tally.first is None:
        raise SyopsValueError(
            "inputs: the loader gave no batch; an iterator that was used up is empty"
        )
    ledger, as_ann = tally.ledger, tally.ann.later()
    notes, unseen = tuple(tally.notes), _unseen(subject.name, tally.ledger)
    rows = ledger.rows
    check_energy(energy, rows)
    return kind(
        model=subject.name,
        rows=rows,
        samples=ledger.samples,
        energy=energy,
        time_steps=subject.steps,
        params=sum(parameter.numel() for parameter in subject.model.parameters()),
        input_shape=tuple(given.first_tensor(tally.first).shape),
        ann_rows=later(lambda: as_ann().rows),
        conventions=conventions,
        versions=dict(_versions()),
        unaccounted=ledger.unaccounted,
        prepared=ledger.prepared,
        updates=ledger.updates,
        notes=later(lambda: tuple(filter(None, (*notes, as_ann().note, unseen)))),
        passes=ledger.passes,
        measured=kind is MeasuredReport,
    )


def _unseen(model: str, ledger: Ledger) -> str:
    """Return a note on tensors that come from outside of what can be watched; "" without any."""
    if not ledger.unseen:
        return ""
    paths = ", ".join(path or model for path in ledger.unseen)
    return (
        f"{paths}: a tensor comes from outside of the run; if it was computed in the meantime (by "
        "NumPy, in another thread), that is not counted"
    )


def _name_batch(error: Exception, tally: Tally, report: Callable[[], Report]) -> None:
    """Say in an error at which batch it came, and attach the report of those before.

    The error stays the exception that it is, also where it is not one of syops.
    """
    ledger = tally.ledger
    where = f"batch {ledger.passes} (the first is 0), after {ledger.samples} samples"
    before = None
    with suppress(SyopsError):
        before = report()
    if isinstance(error, SyopsError):
        error.args = (f"{where}: {error}",)
        error.report = before
        return
    kept = ""
    with suppress(AttributeError, TypeError):  # of a class that takes no attributes
        if before is not None and not hasattr(error, "report"):
            setattr(error, "report", before)  # noqa: B010 (exceptions do not declare it)
            kept = "; its attribute `report` has what was counted before"
    error.add_note(f"syops: this was raised at {where}{kept}")


@cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("syops", "torch", "spikingjelly", "numpy"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
