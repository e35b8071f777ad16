"""Count the calls of a model in a loop that the user owns.

Several calls are one pass: T of them where each is one time-step, as if the loop over the steps
were in the model. Nothing is run that the user does not run, and nothing is reset.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Self

import torch
from torch import Tensor, nn

from syops._torch import tree_map
from syops.errors import SyopsError, SyopsRuntimeError, SyopsValueError
from syops.report.report import MeasuredReport
from syops.run import fingerprint
from syops.run.building import build_report
from syops.run.subject import Counting
from syops.run.tally import CountSoFar
from syops.trace import inputs as given
from syops.trace.axes import NOWHERE, Axes
from syops.trace.bounds import states_of
from syops.trace.calls import Calls
from syops.trace.input_signals import check_signal, signal_of_each
from syops.trace.model import in_training
from syops.trace.neurons import NeuronSignal
from syops.trace.neurons.library import SIGNALS
from syops.trace.observer import lazy_part
from syops.trace.paths import paths_of
from syops.trace.repeats import differ
from syops.trace.restore import left_as_found, plainly


class Count:
    """Watch the calls of a model, and report what they cost; see `syops.count_syops`.

    Examples:
        >>> from syops import count_syops
        >>> layer = nn.Linear(4, 3)
        >>> with count_syops(layer) as count:
        ...     _ = layer(torch.eye(4))
        >>> count.report.ac
        3.0
    """

    def __init__(self, counting: Counting, samples: int | None, call: str = "") -> None:
        self._counting = counting
        self._call = call
        self._tally = counting.tally(samples)
        self._loop: Loop | None = None

    def __enter__(self) -> Self:
        if self._loop is not None:
            raise SyopsRuntimeError("a count was begun already; call count_syops once for a block")
        self._loop = Loop(self._counting, self._tally)
        try:
            self._loop.observer.start()
            return self
        except BaseException:
            self._loop.observer.stop()
            raise

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            assert self._loop is not None
            end = self._loop.ended if kind is None else self._loop.broken_off
            left_as_found(end, Ending(self._loop.observer))
        except BaseException:  # an interrupt may come before anything is noted
            assert self._loop is not None
            self._loop.observer.stop()
            raise

    @property
    def report(self) -> MeasuredReport:
        """The counts of all batches that are complete: of those so far, inside of the block.

        Raises:
            SyopsValueError: no batch is complete; the number of samples is not known.
        """
        if self._loop is None:
            raise SyopsValueError("nothing is counted before the block: with count_syops(...): ...")
        self._loop.settle()
        counting = self._counting
        return build_report(
            MeasuredReport,
            self._tally,
            counting.subject,
            counting.energy,
            counting.convention,
            counting.conventions,
            call=self._call,
            recorded=counting.recorded,
        )


class Ending:
    """Stop an observer when everything is put back."""

    def __init__(self, observer: Calls) -> None:
        self._observer = observer

    def put_back(self) -> None:
        """Stop it; does no harm twice."""
        self._observer.stop()


class Loop:
    """Make passes of calls.

    A pass begins with a call of the model, or of a part of it by code that is not the model's. It
    is complete after T calls of the model; or of that part, if the model itself is not called. It
    ends with the call that begins the next one, since what follows the last call belongs to it.

    Args:
        counting: how the model is counted.
        tally: what is counted.

    Attributes:
        observer: watches the model.
    """

    def __init__(self, counting: Counting, tally: CountSoFar) -> None:
        subject = counting.subject
        self.observer = Calls(subject.model, tally.ledger, counting.settings, self, tally.spikes)
        self._counting = counting
        self._tally = tally
        self._steps = (subject.steps or 1) if subject.by_calls else 1
        self._first: nn.Module | None = None
        """What is called first in this pass."""
        self._calls = {True: 0, False: 0}
        """In this pass: of the model, and of the part that is called first."""
        self._shapes: given.Arguments | None = None
        self._samples = 0
        self._unknown = False
        self._last: Tensor | None = None
        self._spoiled: dict[str, None] = {}

    # Called by the observer

    def calls(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note that the model, or a part of it, is about to run."""
        is_model = module is self._tally.model
        with self.observer.aside():
            if self._is_complete and (is_model or module is self._first):
                self._close()
            batch = tree_map(lambda leaf: given.usable(leaf, None), (args, kwargs))
            shapes = tree_map(given.on_meta, batch)
            if self._tally.first is None and given.tensors_of(batch):
                self._begin(module, shapes)
            if not self.observer.is_open:
                self._open(module)
            if is_model or module is self._first:
                self._calls[is_model] += 1
            if is_model:
                self._check_samples(batch, shapes)
            self._hand_over(module, batch)

    def returned(self, module: nn.Module, output: Any) -> None:
        """Note that it has returned."""
        if lazy := lazy_part(output):
            self._tally.notes[
                f"the model, or a part of it, returned a {lazy}: of what that computes when it is "
                "read, layers and products with weights alone are counted; return a list instead"
            ] = None
        if module is self._tally.model:
            with self.observer.aside():
                self._spoiled.update(dict.fromkeys(sorted(self.observer.returned(output))))

    def failed(self) -> None:
        """Forget the pass that a call has failed in."""
        self.observer.drop()
        self._tally.notes[
            "a call of the model failed; the batch that it was part of is left out"
        ] = None

    # Called by the count

    def settle(self) -> None:
        """Add a pass that is complete to the counts, and check that a report can be made.

        Raises:
            SyopsValueError: no pass is complete; the number of samples is not known.
        """
        if self._is_complete:
            self._close()
        if not self._tally.ledger.passes:
            raise SyopsValueError(
                f"nothing is counted yet: time_steps={self._steps} calls of the model are one "
                f"batch, and {self._calls[True] or self._calls[False]} were made"
                if self._steps > 1
                else "nothing is counted: the model was not called in the block"
            )
        told, seen = self._tally.samples, self._tally.ledger.samples
        if told and seen not in (0, told):
            self._tally.notes[
                f"figures are divided by samples={told}; the model was called with {seen}, as "
                f"dimension {self._counting.subject.batch_dim} of its first input says"
            ] = None
        if not told and self._unknown:
            raise SyopsValueError(
                "samples: parts of the model were called and not the model, so that it is not "
                "known how many samples there were; say count_syops(..., samples=N)"
            )

    def ended(self) -> None:
        """End the last pass, and refuse what cannot be right.

        Raises:
            SyopsValueError: the last pass is not complete; the number of samples is not known.
            SyopsRuntimeError: layers ran where nothing can be seen; states were taken for weights.
        """
        self.observer.check_threads()
        if self.observer.is_open and not self._is_complete and self._calls[True]:
            called = self._calls[True]
            self.observer.drop()
            before = self._tally.ledger.passes
            raise SyopsValueError(
                f"time_steps={self._steps} says that so many calls of the model are one batch, but "
                + (
                    f"the last batch had {called}; the report has those before it"
                    if before
                    else f"there were {called}, so that nothing is counted"
                )
            )
        if self.observer.is_open:
            self._close()
        if self._spoiled:
            raise SyopsRuntimeError(
                f"{', '.join(self._spoiled)}: these buffers are states, but were taken for weights "
                "in the first batch, which cannot be counted again; hold states in plain "
                "attributes, or count a second block"
            )
        if self._tally.ledger.passes:
            self.settle()

    def broken_off(self) -> None:
        """End the last pass after an exception: it counts if it is complete."""
        if self._is_complete:
            with suppress(SyopsError):
                self._close()
        self.observer.drop()

    # Passes

    @property
    def _is_complete(self) -> bool:
        calls = self._calls[True] or self._calls[False]
        return self.observer.is_open and calls >= self._steps

    def _begin(self, module: nn.Module, shapes: given.Arguments) -> None:
        """Note at the first call what is to be said of the model, and find its states."""
        tally = self._tally
        tally.first = shapes
        tally.in_training = in_training(tally.model)
        if not tally.in_training and any(part.training for part in tally.model.modules()):
            tally.notes["the model was counted in training mode, as it is"] = None
        own = getattr(tally.model, "T", None)
        if self._steps > 1 and own == self._steps:
            tally.notes[
                f"the model has T = {own} itself; if each of its calls runs all time-steps, leave "
                "time_steps out"
            ] = None
        self._find_states(module, shapes)
        tally.weights = fingerprint.of_weights(tally.model, self.observer.states)

    def _open(self, module: nn.Module) -> None:
        self._first = module
        self._calls = {True: 0, False: 0}
        self._shapes, self._samples, self._last = None, 0, None
        self.observer.open()

    def _close(self) -> None:
        """Add a pass to the counts."""
        tally = self._tally
        if self._spoiled:
            self.observer.drop()
            return
        if not tally.samples:
            tally.dependent += self.observer.of_earlier(self._samples)
        self.observer.close(self._samples)
        tally.steps.add(self._counting.subject.steps)
        if self._shapes is None:
            self._unknown = True
            tally.ann.refuse("parts of the model were called apart from it")
        else:
            tally.ann.add(self._shapes, tally.ledger, self.observer.states)

    def _check_samples(self, batch: given.Arguments, shapes: given.Arguments) -> None:
        """Find out how many samples there are; the first call of a pass is that of the ANN too."""
        dim, tally = self._counting.subject.batch_dim, self._tally
        samples = 0
        with suppress(*((SyopsError,) if tally.samples else ())):
            samples = given.samples(batch, dim)
        if self._shapes is not None:
            if samples != self._samples and not tally.samples:
                raise SyopsValueError(
                    f"time_steps={self._steps} says that so many calls of the model are one batch, "
                    f"but one of them has {self._samples} samples and another one {samples}"
                )
            return
        self._samples, self._shapes = samples, shapes
        tally.ann.prepare(tally.model, shapes, tally.ledger)

    def _find_states(self, module: nn.Module, shapes: given.Arguments) -> None:
        """Find out on ``meta`` which buffers are states: no pass of the user's is run again."""
        path, told = paths_of(self._tally.model)[module], self._counting.settings
        found = plainly(lambda: states_of(module, shapes, told))
        self.observer.know(frozenset(f"{path}.{name}" if path else name for name in found))

    def _hand_over(self, module: nn.Module, batch: given.Arguments) -> None:
        """Tell the observer what the model, or a part of it, is called with."""
        is_model = module is self._tally.model
        tensors = given.tensors_of(batch)
        names = signal_of_each(self._counting.signals if is_model else ("auto",), tensors)
        signals: list[NeuronSignal | None] = []
        for name, tensor in zip(names, tensors, strict=True):
            if name == "auto" or self.observer.knows(tensor):
                signals.append(None)
            else:
                check_signal(name, tensor)
                signals.append(SIGNALS[name])
        call = self._calls[True] + self._calls[False]
        same = self._repeated(tensors[0], call) if tensors else None
        time = self._time(batch) if is_model else None
        self.observer.called(tensors, signals, call, same, time, self._axes(module, batch))

    def _axes(self, module: nn.Module, batch: given.Arguments) -> Axes:
        """Return the time-step that a call is, where each is one; or where they are in a batch."""
        subject, is_model = self._counting.subject, module is self._tally.model
        known = subject.axes(batch, self._counting.by_sample) if is_model else NOWHERE
        if not subject.by_calls:
            return known
        counts = is_model or module is self._first
        return Axes(self._calls[is_model] - 1, known.samples) if counts else NOWHERE

    def _time(self, batch: given.Arguments) -> tuple[int, bool] | None:
        """Return the dimension of the first tensor that counts time-steps, and if these differ."""
        subject = self._counting.subject
        axis = None if subject.by_calls else subject.time_axis(batch)
        differs = differ(given.first_tensor(batch), axis)
        return None if axis is None or differs is None else (axis, differs)

    def _repeated(self, x: Tensor, call: int) -> Tensor | None:
        """Return the input of the call before, if it holds the same; the first two mostly tell."""
        last, self._last = self._last, None
        if self._steps == 1 or (last is None and call > 1) or x.layout != torch.strided:
            return None
        same = last is None or (
            (last.shape, last.dtype, last.device) == (x.shape, x.dtype, x.device)
            and torch.equal(last, x)
        )
        self._last = x if same else None
        return last if same else None
