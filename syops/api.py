"""Define the entry points: check the arguments, run or trace the model, hand back the result."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from syops.choices import (
    ENDS,
    AcCount,
    End,
    Graded,
    InputSignal,
    Signal,
    check_truth,
    checks_keywords,
    choice,
)
from syops.cost.conventions import AnyConvention, chosen
from syops.cost.profiles import Profile, get_energy_model
from syops.errors import SyopsTypeError, SyopsValueError
from syops.ledger.ledger import Ledger
from syops.ops.rule import Rule
from syops.report.audit import Audit
from syops.report.report import MeasuredReport, Report
from syops.run.building import build_report, versions
from syops.run.caller import Count
from syops.run.count import Work
from syops.run.distributed import Group
from syops.run.keeping import SECONDS, check_keeping
from syops.run.limit import check_limit
from syops.run.loop import Batches
from syops.run.naming import call_of
from syops.run.scores import Output, check_output
from syops.run.spread import check_path
from syops.run.subject import Counting, Subject
from syops.run.tally import CountSoFar
from syops.run.tracing import trace_on_meta
from syops.trace import inputs as given
from syops.trace.input_signals import signal_names
from syops.trace.restore import device_of, plainly


@checks_keywords
def get_model_syops(
    model: nn.Module,
    inputs: Any,
    *,
    batch_dim: int = 0,
    time_steps: int | None = None,
    unroll: int | None = None,
    convention: AnyConvention = "dst",
    fold_bn: bool | None = None,
    graded: Graded | None = None,
    ac: AcCount | None = None,
    strict: bool = False,
    values: bool = False,
    input_signal: InputSignal | Sequence[InputSignal] = "auto",
    neurons: Mapping[type[nn.Module], Signal] | None = None,
    rules: Mapping[Any, Rule] | None = None,
    prepare: Callable[[Any], Any] | None = None,
    energy: Profile | Mapping[str, Profile] = "horowitz45-fp32",
    output: Output = None,
    limit: int | None = None,
    spread: bool = False,
    stop_when: float | None = None,
    keep_samples: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    device: torch.device | str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_seconds: float = SECONDS,
    distributed: bool = False,
    zeros: bool = False,
    neuron_rates: bool = False,
) -> MeasuredReport:
    """Count the synaptic operations of a spiking network on data, and price them.

    The model runs in eval mode, without gradients, its neurons reset before each batch. It is
    left as it was found: training flags, states, buffers and hooks.

    Args:
        model: any module.
        inputs: what the model is called with: a tensor, a tuple of arguments, a dict of
            keyword arguments; or an iterable of batches such as a DataLoader. A batch is a
            tensor, a dict of keyword arguments, or a tuple or list whose first element is the
            input. The second of two, or ``labels`` of a dict, are labels: if they are integers, one
            for each sample, the accuracy is measured in the same pass. NumPy arrays are made
            tensors; those of float64 get the dtype of the model's weights.
        batch_dim: dimension of the first tensor that counts samples: 1 for [T, N, ...]. With
            ``unroll`` it is a dimension of the slice.
        time_steps: T; by default ``model.T`` if there is one.
        unroll: call the model once for each slice of its first tensor along this dimension, with
            its states kept, such as 0 for [T, N, ...]; T is the number of slices. A model that
            takes back the states that it returned needs a loop of your own: see `count_syops`.
        convention: what counts as an AC and what as a MAC: "dst", that of the DST paper; another
            one by name, a ``.toml`` file with one, or a `Convention`; see `get_convention`. What is
            measured does not depend on it: ``report.under(...)`` shows the same counts under
            another convention.
        fold_bn: whether BatchNorms that can be folded into the layers before or after them cost
            nothing; by default as the convention says, as are the next two.
        graded: "mac", or "ac" to count an integer input as as many ACs as its magnitude.
        ac: the count that is priced: "rate" (firing rate · dense, the paper's) or "events"
            (the fan-out of every spike).
        strict: an operator without a rule is an error instead of being listed.
        values: also class each call by its values alone, as other tools do. The conventions of
            these tools need it. It is slower: layers are computed twice, and what one batch taught
            does not speed up the next.
        input_signal: "auto" (looked up in the data), "analog", "binary", "ternary" or "graded";
            or a list, one for each tensor that the model is called with.
        neurons: classes of modules that are neurons and cannot be watched from inside, such as a
            fused kernel, with the signal of their first output: ``{FusedLIF: "binary"}``. Their
            outputs are checked.
        rules: what operators of your own cost, by the operator: ``{torch.ops.my.linear: rule}``;
            see `syops.ops`.
        prepare: turns a batch into what the model is called with: a tuple of arguments, a dict
            of keyword arguments, or one argument.
        energy: a profile, a ``.toml`` file with one, an `EnergyModel`, or a dict of these by
            layer or dtype of weights, such as ``{"conv1": "horowitz45-int8", "*": ...}``; see
            `get_energy_model`.
        output: the logits: a function of the model's output; or the index or name of a part of
            it, such as ``"accumulated"``; or False to measure no accuracy. By default it is the
            only tensor of the output with shape [N, classes], or [T, N, classes], of which the mean
            over T is taken. If there are several, a note says so instead of an accuracy. With
            ``unroll`` a function gets the list of all outputs; an index or name applies to each.
        limit: the largest number of samples to count; the last batch is cut.
        spread: record how samples differ: ``report.spread`` has standard deviation, 95 %
            confidence interval, minimum and maximum of AC, MAC and DC over samples, and of each
            class where there are labels. The counts of each sample stay in memory as long as the
            report: about 24 bytes for each layer and sample.
        stop_when: end the count once half the 95 % confidence interval of the DC is at most this
            share of its mean, such as 0.01; after 32 samples at least. Implies ``spread``.
        keep_samples: an ``.npz`` file that gets AC, MAC and DC of each sample in each layer.
            Implies ``spread``.
        progress: a progress bar, with the DC so far; by default for several batches on a terminal.
        device: where to run; by default where the model is. Inputs are moved there.
        checkpoint: a file to keep the count in. If it exists, the count resumes from it: the
            batches that it holds are read again and compared, not run. It is kept when the count is
            complete; the same call then returns its report.
        checkpoint_seconds: seconds between two checkpoints.
        distributed: share the batches among the processes of torch's default process group, which
            must be initialised. Rank r of K takes batches r, r + K, ... of the loader, which must
            give all batches to each process. Every process gets the report of all batches. Each
            has a checkpoint file of its own, such as ``count.0-of-2``.
        zeros: also measure zeros among inputs and weights of layers and among activations, for
            `Report.zeros`. A count takes up to half as long again; see ``docs/zeros.md``.
        neuron_rates: count the spikes of each neuron, for `Report.neuron_rates`. It takes 8 bytes
            for each neuron, and one more read of their outputs.

    Returns:
        the counts per layer and per sample, and the energy that follows.

    Raises:
        SyopsTypeError: a model or batch that cannot be used.
        SyopsValueError: an argument out of range, an empty loader, NaN where values are looked at,
            a neuron that sends other values than ``neurons`` says, a label that is not a class; a
            checkpoint of another model, other weights, data or conventions.
        SyopsLookupError: an unknown energy profile or convention; an output without the
            part that is named.
        SyopsFileError: a file of energy profiles or conventions that cannot be read; a checkpoint
            that is torn or cannot be written.
        ForwardError: the model failed on the input.
        SyopsRuntimeError: distributed: there is no process group; another process has failed or
            died, or has read other batches.

    An error at one batch of many names the batch, and holds a report of the batches before it:
    ``error.report``. An error that a data set raises names the batch in a note
    (``error.__notes__``). Ctrl-C ends the count after the current batch, and the
    `KeyboardInterrupt` holds a report too. A second Ctrl-C ends it at once, without a report.

    Examples:
        >>> spikes = torch.eye(4)  # 4 samples, each with one spike in 4
        >>> report = get_model_syops(nn.Linear(4, 3), spikes)
        >>> report.ac, report.mac, report.layers[0].rate
        (3.0, 0.0, 0.25)
        >>> f"{report.dc_mj:.1e} mJ"  # 3 ACs at 0.9 pJ
        '2.7e-09 mJ'
    """
    call = call_of(get_model_syops, locals())
    counting = Counting.of(
        model,
        batch_dim=batch_dim,
        time_steps=time_steps,
        unroll=unroll,
        fold_bn=fold_bn,
        graded=graded,
        ac=ac,
        convention=convention,
        strict=strict,
        values=values,
        input_signal=input_signal,
        neurons=neurons,
        rules=rules,
        energy=energy,
        by_sample=spread or stop_when is not None or keep_samples is not None,
        neuron_rates=neuron_rates,
    )
    given.check_inputs(inputs, prepare)
    if keep_samples is not None:
        check_path(keep_samples)
    check_output(output)
    check_limit(limit)
    check_truth("zeros", zeros)
    check_truth("spread", spread)
    if progress is not None:
        check_truth("progress", progress)
    network = counting.subject.model
    home = device_of(network) if device is None else given.device(device)
    if checkpoint is not None:
        check_keeping(checkpoint, checkpoint_seconds)
    for name, value in (("stop_when", stop_when), ("keep_samples", keep_samples)):
        if value is not None and (checkpoint is not None or distributed):
            raise SyopsValueError(
                f"{name} needs all samples in one process: leave out "
                + ("distributed" if distributed else "checkpoint")
            )
    work = Work(
        counting=counting,
        batches=Batches(inputs, prepare, home, limit),
        output=output,
        progress=progress,
        call=call,
        checkpoint=None if checkpoint is None else (checkpoint, checkpoint_seconds),
        group=Group(inputs) if distributed else None,
        stop_when=stop_when,
        keep_samples=keep_samples,
        zeros=zeros,
    )
    return work.count()


@checks_keywords
def count_syops(
    model: nn.Module,
    *,
    samples: int | None = None,
    batch_dim: int = 0,
    time_steps: int | None = None,
    convention: AnyConvention = "dst",
    fold_bn: bool | None = None,
    graded: Graded | None = None,
    ac: AcCount | None = None,
    strict: bool = False,
    values: bool = False,
    input_signal: InputSignal | Sequence[InputSignal] = "auto",
    neurons: Mapping[type[nn.Module], Signal] | None = None,
    rules: Mapping[Any, Rule] | None = None,
    energy: Profile | Mapping[str, Profile] = "horowitz45-fp32",
    spread: bool = False,
    neuron_rates: bool = False,
) -> Count:
    """Count the synaptic operations of the calls of a model that are made in a block.

    Use it around a loop of your own, over time-steps or over batches. Nothing else is run, and
    nothing is changed: the model keeps its mode, its states and its gradients. With
    ``time_steps`` the calls are counted as if the loop were in the model: T calls are one batch.
    Parts of the model that are called on their own are counted too, and so are products with its
    weights between the calls. Other work in the block, such as the loss and its gradients, is not
    counted. A layer that runs in another thread is an error.

    Args:
        samples: in the whole block. By default the sizes of ``batch_dim`` at the first of each T
            calls of the model; needed where only parts of it are called.
        batch_dim: dimension of the first tensor that the model is called with that counts samples.
        time_steps: T, if each call is one time-step. By default each call is a batch of its own,
            and T is ``model.T``, if there is one.
        input_signal: as in `get_model_syops`, for tensors from outside the block. The result of
            an earlier call, such as a membrane potential, is known.
        model, convention, fold_bn, graded, ac, strict, values, neurons, rules, energy,
            spread, neuron_rates: see `get_model_syops`.

    Returns:
        a context manager, which ``with`` binds to a name. Its ``report`` has the batches that are
        complete: during the block, at its end, and after an exception.

    Raises:
        SyopsTypeError, SyopsValueError, SyopsLookupError, SyopsFileError: see `get_model_syops`.
        SyopsValueError: T calls with different numbers of samples; at the end of the block, a last
            batch of fewer than T calls, or ``samples`` missing.
        SyopsRuntimeError: the model is being counted already; at its call, it is called in
            inference mode; at the end of the block, a layer ran in another thread.

    Examples:
        >>> net, x = nn.Linear(4, 3), torch.eye(4).repeat(5, 1, 1)  # [T, N, 4]
        >>> with count_syops(net, time_steps=5) as count:
        ...     current = sum(net(x[t]) for t in range(5))
        >>> count.report.ac, count.report.samples, count.report.energy_ratio < 0.25
        (15.0, 4, True)
    """
    call = call_of(count_syops, locals())
    if samples is not None and (isinstance(samples, bool) or not isinstance(samples, int)):
        raise SyopsTypeError(f"samples must be a positive integer, got {samples!r}")
    if samples is not None and samples < 1:
        raise SyopsValueError(f"samples must be a positive integer, got {samples!r}")
    counting = Counting.of(
        model,
        batch_dim=batch_dim,
        time_steps=time_steps,
        fold_bn=fold_bn,
        graded=graded,
        ac=ac,
        convention=convention,
        strict=strict,
        values=values,
        input_signal=input_signal,
        neurons=neurons,
        rules=rules,
        energy=energy,
        by_calls=time_steps is not None,
        by_sample=spread,
        neuron_rates=neuron_rates,
    )
    return Count(counting, samples, call)


@checks_keywords
def get_model_bounds(
    model: nn.Module,
    inputs: Any,
    *,
    batch_dim: int = 0,
    time_steps: int | None = None,
    unroll: int | None = None,
    convention: AnyConvention = "dst",
    fold_bn: bool | None = None,
    graded: Graded | None = None,
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
            an example: a tensor, a tuple of arguments or a dict of keyword arguments. Only its
            shapes and dtypes are used, and its values for ``input_signal="auto"``.
        batch_dim: dimension of the first tensor that counts samples: 1 for [T, N, ...]. With
            ``unroll`` it is a dimension of the slice.
        time_steps: T; by default ``model.T`` if there is one.
        unroll: see `get_model_syops`.
        convention: see `get_model_syops`.
        fold_bn: whether BatchNorms that can be folded into the layers before or after them cost
            nothing; by default as the convention says, as is the next one.
        graded: "mac", or "ac" to count an integer input as at most as many ACs as its largest
            magnitude, where that is known.
        input_signal: what inputs hold: "analog", "binary", "ternary" or "graded" (integers without
            a bound); or a list, one for each tensor that the model is called with. "auto" reads it
            from an example, and the bounds hold for inputs of that class. From a shape, or from
            zeros or ones alone, it cannot be read: the bounds then span both cases.
        neurons: classes of modules that are neurons and cannot be watched from inside, such as a
            fused kernel, with the signal of their first output: ``{FusedLIF: "binary"}``.
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
        SyopsLookupError: an unknown energy profile or convention.
        SyopsFileError: a file of energy profiles or conventions that cannot be read.
        ForwardError: the model cannot run without values; names the layer.

    Examples:
        >>> report = get_model_bounds(nn.Linear(4, 3), (1, 4), input_signal="binary")
        >>> report.dense_ac, report.ec_mj  # 12 ACs at 0.9 pJ, if every input fires
        (12.0, (0.0, 1.08e-08))
    """
    call = call_of(get_model_bounds, locals())
    known = chosen(convention, graded, None, fold_bn)
    energy_model = get_energy_model(energy)
    subject = Subject.of(model, batch_dim, neurons, rules, time_steps, unroll)
    traced = trace_on_meta(subject, inputs, signal_names(input_signal))
    tally = CountSoFar(subject.model, traced.ledger, subject.ann_counts(), traced.shapes)
    tally.steps.add(traced.steps)
    plainly(lambda: tally.ann.prepare(subject.model, traced.shapes, Ledger()))
    tally.ann.add(traced.shapes, traced.ledger, traced.states)
    conventions = subject.conventions(traced.signals)
    return build_report(Report, tally, subject, energy_model, known, conventions, call=call)


@checks_keywords
def check_full_spike(
    model: nn.Module,
    inputs: Any,
    *,
    allow: Sequence[End] = ("first", "last"),
    batch_dim: int = 0,
    unroll: int | None = None,
    fold_bn: bool = True,
    input_signal: InputSignal | Sequence[InputSignal] = "auto",
    neurons: Mapping[type[nn.Module], Signal] | None = None,
    rules: Mapping[Any, Rule] | None = None,
) -> Audit:
    """Prove that only spikes reach the synapses of a network, or say what else does, and why.

    The model is followed on the ``meta`` device, as in `get_model_bounds`, without data: the result
    holds for all data and all weights.

    Args:
        allow: layers that need not be spike-only: "first" and "last", in the order of execution,
            as in the paper (the stem and the classifier).
        model, inputs, batch_dim, unroll, fold_bn, input_signal, neurons, rules: see
            `get_model_bounds`.

    Returns:
        the verdict, and for each synaptic layer the values that can reach it. Where these are not
        spikes, the operators that made them.

    Raises:
        SyopsTypeError, SyopsValueError, ForwardError: see `get_model_bounds`.

    Examples:
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
    subject = Subject.of(model, batch_dim, neurons, rules, unroll=unroll)
    traced = trace_on_meta(subject, inputs, signal_names(input_signal))
    return Audit.of(
        subject.name,
        traced.ledger,
        traced.history,
        allow=tuple(end for end in ENDS if end in allowed),
        input_shape=tuple(given.first_tensor(traced.shapes).shape),
        conventions={"fold_bn": fold_bn, **subject.conventions(traced.signals)},
        versions=dict(versions()),
    )
