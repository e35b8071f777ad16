"""The entry points: they check what the user gave, and orchestrate."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from contextlib import suppress
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map
from tqdm import tqdm

from syops.cost.energy import EnergyMap, Profile, get_energy_model
from syops.cost.later import later
from syops.cost.pricing import check_energy
from syops.errors import ForwardError, SyopsError, SyopsValueError
from syops.ledger.rows import Ledger
from syops.ledger.steps import History
from syops.ops.own import own_rules
from syops.ops.registry import finder
from syops.ops.rule import Rule
from syops.report.audit import Audit
from syops.report.report import Report
from syops.trace import inputs as given
from syops.trace.ann import AnnCounts
from syops.trace.bounds import trace
from syops.trace.observer import Observer, until_known
from syops.trace.paths import all_paths
from syops.trace.restore import Place, Random, device_of, left_as_found, plainly
from syops.trace.states import Lending


def get_model_syops(
    model: nn.Module,
    inputs: Any,
    *,
    batch_dim: int = 0,
    time_steps: int | None = None,
    fold_bn: bool = True,
    graded: str = "mac",
    ac: str = "rate",
    strict: bool = False,
    input_signal: str | Sequence[str] = "auto",
    neurons: Mapping[type[nn.Module], str] | None = None,
    rules: Mapping[Any, Rule] | None = None,
    prepare: Callable[[Any], Any] | None = None,
    energy: Profile | Mapping[str, Profile] = "horowitz45-fp32",
    progress: bool | None = None,
    device: torch.device | str | None = None,
) -> Report:
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
    """
    given.check_choice("graded", graded, ("mac", "ac"))
    given.check_choice("ac", ac, ("rate", "events"))
    signals = given.signal_names(input_signal, (given.AUTO, *given.SIGNALS))
    own_neurons, own = given.registered(neurons), own_rules(rules)
    find = finder(own)
    energy_model = get_energy_model(energy)
    given.check_model(model)
    if isinstance(energy_model, EnergyMap):  # now rather than after the count
        paths = [(path, "") for path, _ in all_paths(model)]
        energy_model.check_patterns(paths, dtypes=False)
    given.check_values(model)
    model = getattr(model, "_orig_mod", model)  # what torch.compile wraps
    steps = given.time_steps(model, time_steps)
    given.check_inputs(inputs, prepare)
    home = given.device(device) if device is not None else device_of(model)

    ledger = Ledger()
    ann = AnnCounts(steps, batch_dim, own_neurons, find)
    observer = Observer(model, ledger, graded=graded, strict=strict, neurons=own_neurons, find=find)

    first: given.Arguments | None = None
    is_at_batch = False
    notes: dict[str, None] = {}

    def count(place: Place, lending: Lending) -> None:
        """Count all batches; the first of them stays, on ``meta``."""
        nonlocal first, is_at_batch
        place.begin()
        lending.begin()
        batches = given.batches(inputs, prepare, given.weight_dtype(model))
        is_at_batch = not given.is_single(inputs)
        for batch in _with_bar(batches, inputs, progress):
            args, kwargs = tree_map(lambda leaf: given.usable(leaf, home), batch)
            samples = given.samples((args, kwargs), batch_dim)
            tensors = given.tensors_of((args, kwargs))
            names = given.signal_of_each(signals, tensors)
            for name, tensor in zip(names, tensors, strict=True):
                given.check_signal(name, tensor)
            shapes = tree_map(given.on_meta, (args, kwargs))
            lending.renew()
            notes.update(dict.fromkeys(lending.not_reset))
            ann.prepare(model, shapes, ledger)
            known = [given.SIGNALS.get(name) for name in names]
            axis = given.time_axis(tensors[0], batch_dim, steps)
            run = partial(observer.run, args, kwargs, known, axis)
            try:
                until_known(run, partial(_anew, lending, Random.now()))
            except ForwardError as error:
                raise _explained(error, model, (args, kwargs)) from error.__cause__
            ledger.samples += samples
            ledger.passes += 1
            first = first or shapes
            ann.add(shapes, ledger, observer.states)
        is_at_batch = False

    def watched() -> None:
        place, lending = Place(model, home), Lending(model)  # now that nobody else counts it
        left_as_found(lambda: count(place, lending), place, lending)

    def counted() -> Report:
        """The report of what has been counted so far."""
        if first is None:
            raise SyopsValueError(
                "inputs: the loader gave no batch; an iterator that was used up is empty"
            )
        rows = ledger.rows
        check_energy(energy_model, rows)
        as_ann, unseen = ann.later(), _unseen(model, ledger)
        return Report(
            model=type(model).__name__,
            rows=rows,
            samples=ledger.samples,
            energy=energy_model,
            time_steps=steps,
            params=_size(model),
            input_shape=tuple(given.first_tensor(first).shape),
            ann_rows=later(lambda: as_ann().rows),
            conventions={
                "fold_bn": fold_bn,
                "graded": graded,
                "ac": ac,
                "batch_dim": batch_dim,
                "input_signal": ", ".join(signals),
                **_told(own),
            },
            versions=dict(_versions()),
            unaccounted=ledger.unaccounted,
            prepared=ledger.prepared,
            updates=ledger.updates,
            notes=later(lambda: tuple(filter(None, (*notes, as_ann().note, unseen)))),
            passes=ledger.passes,
        )

    try:
        plainly(lambda: observer.watching(watched))
    except Exception as error:
        if is_at_batch:
            _name_batch(error, ledger, counted)
        raise
    return counted()


def _anew(lending: Lending, generators: Random) -> None:
    """Put the model and the random generators back to before a pass."""
    generators.put_back()
    lending.renew()


def _name_batch(error: Exception, ledger: Ledger, counted: Callable[[], Report]) -> None:
    """Say in an error at which batch it came, and give it the report of those before.

    What is raised stays the error that it is, also where that is somebody else's.
    """
    where = f"batch {ledger.passes} (the first is 0), after {ledger.samples} samples"
    report = None
    with suppress(SyopsError):
        report = counted()
    if isinstance(error, SyopsError):
        error.args = (f"{where}: {error}",)
        error.report = report
        return
    kept = ""
    with suppress(AttributeError, TypeError):  # of a class that takes no attributes
        if report is not None and not hasattr(error, "report"):
            setattr(error, "report", report)  # noqa: B010 (exceptions do not declare it)
            kept = "; its attribute `report` has what was counted before"
    error.add_note(f"syops: this was raised at {where}{kept}")


def _explained(error: ForwardError, model: nn.Module, arguments: given.Arguments) -> ForwardError:
    """The error with what is wrong with the inputs, where that is known."""
    why = given.why_it_failed(model, arguments)
    return ForwardError(f"{error}; {why}") if why else error


def get_model_bounds(
    model: nn.Module,
    inputs: Any,
    *,
    batch_dim: int = 0,
    time_steps: int | None = None,
    fold_bn: bool = True,
    graded: str = "mac",
    input_signal: str | Sequence[str] = "auto",
    neurons: Mapping[type[nn.Module], str] | None = None,
    rules: Mapping[Any, Rule] | None = None,
    energy: Profile | Mapping[str, Profile] = "horowitz45-fp32",
) -> Report:
    """What a spiking network can cost at all: without data, weights or arithmetic.

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
    """
    given.check_choice("graded", graded, ("mac", "ac"))
    energy_model = get_energy_model(energy)
    given.check_model(model)
    model = getattr(model, "_orig_mod", model)
    steps = given.time_steps(model, time_steps)
    ledger, shapes, _, states, conventions = _traced(
        model, inputs, batch_dim, fold_bn, input_signal, neurons, rules
    )
    ann = AnnCounts(steps, batch_dim, given.registered(neurons), finder(own_rules(rules)))
    plainly(lambda: ann.prepare(model, shapes, Ledger()))
    ann.add(shapes, ledger, states)
    as_ann, unseen = ann.later(), _unseen(model, ledger)
    rows = ledger.rows
    check_energy(energy_model, rows)
    return Report(
        model=type(model).__name__,
        rows=rows,
        samples=ledger.samples,
        energy=energy_model,
        time_steps=steps,
        params=_size(model),
        input_shape=tuple(given.first_tensor(shapes).shape),
        ann_rows=later(lambda: as_ann().rows),
        conventions={"graded": graded, **conventions},
        versions=dict(_versions()),
        unaccounted=ledger.unaccounted,
        prepared=ledger.prepared,
        updates=ledger.updates,
        notes=later(lambda: tuple(filter(None, (as_ann().note, unseen)))),
        passes=ledger.passes,
        measured=False,
    )


def check_full_spike(
    model: nn.Module,
    inputs: Any,
    *,
    allow: Sequence[str] = ("first", "last"),
    batch_dim: int = 0,
    fold_bn: bool = True,
    input_signal: str | Sequence[str] = "auto",
    neurons: Mapping[type[nn.Module], str] | None = None,
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
    """
    if isinstance(allow, str) or not isinstance(allow, (tuple, list, set, frozenset)):
        raise SyopsValueError(f"allow must be a list of 'first' and 'last', got {allow!r}")
    for name in allow:
        given.check_choice("allow", name, ("first", "last"))
    ledger, shapes, history, _, conventions = _traced(
        model, inputs, batch_dim, fold_bn, input_signal, neurons, rules
    )
    return Audit.of(
        type(model).__name__,
        ledger,
        history,
        allow=tuple(name for name in ("first", "last") if name in allow),
        input_shape=tuple(given.first_tensor(shapes).shape),
        conventions=conventions,
        versions=dict(_versions()),
    )


def _traced(
    model: nn.Module,
    inputs: Any,
    batch_dim: int,
    fold_bn: bool,
    input_signal: str | Sequence[str],
    neurons: Mapping[type[nn.Module], str] | None,
    rules: Mapping[Any, Rule] | None,
) -> tuple[Ledger, given.Arguments, History, frozenset[str], dict[str, Any]]:
    """One pass without values.

    Returns:
        the counts, what the model was called with, the history of its tensors, the buffers that
        are states, and the conventions.
    """
    names = given.signal_names(input_signal, (given.AUTO, *given.SIGNALS))
    own_neurons, own = given.registered(neurons), own_rules(rules)
    given.check_model(model)
    model = getattr(model, "_orig_mod", model)
    example = given.example(inputs, given.weight_dtype(model))
    shapes: given.Arguments = tree_map(given.on_meta, example)
    ledger, history = Ledger(), History()
    ledger.samples = given.samples(shapes, batch_dim)
    ledger.passes = 1
    tensors = given.tensors_of(example)
    each = list(zip(given.signal_of_each(names, tensors), tensors, strict=True))
    signals = [given.bounded_by(name, tensor) for name, tensor in each]
    told = (given.told(name, s) for (name, _), s in zip(each, signals, strict=True))
    try:
        states = plainly(
            lambda: trace(
                model,
                shapes,
                signals,
                ledger,
                neurons=own_neurons,
                find=finder(own),
                history=history,
            )
        )
    except ForwardError as error:
        raise _explained(error, model, shapes) from error.__cause__
    conventions = {
        "fold_bn": fold_bn,
        "batch_dim": batch_dim,
        "input_signal": ", ".join(told if given.AUTO in names else names),
    }
    conventions |= _told(own)
    return ledger, shapes, history, states, conventions


def _told(own: Mapping[Any, Rule]) -> dict[str, str]:
    """The operators that were counted by rules of the user's own."""
    return {"rules": ", ".join(sorted(map(str, own)))} if own else {}


def _unseen(model: nn.Module, ledger: Ledger) -> str:
    """What is to be said where a tensor came from outside of what can be watched."""
    if not ledger.unseen:
        return ""
    paths = ", ".join(path or type(model).__name__ for path in ledger.unseen)
    return (
        f"{paths}: a tensor comes from outside of the run; if it was computed in the meantime (by "
        "NumPy, in another thread), that is not counted"
    )


def _size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _with_bar(
    batches: Iterable[given.Arguments], inputs: Any, progress: bool | None
) -> Iterable[given.Arguments]:
    """The batches, with a progress bar where one is wanted.

    Where it is not, tqdm has no part in it: its lock stays locked for other threads after an
    interrupt.
    """
    total = 1 if given.is_single(inputs) else len(inputs) if isinstance(inputs, Sized) else None
    wanted = total != 1 and sys.stderr.isatty() if progress is None else progress
    return tqdm(batches, total=total, desc="syops", unit="batch") if wanted else batches


@cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("syops", "torch", "spikingjelly", "numpy"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
