"""Count batch after batch.

`count_batches` owns the loop over batches. What else is to be done with each batch is a function
that is called after it, an `After`: to compare the output with labels, to write a checkpoint, to
show how far the count is, to end it early.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from syops._torch import tree_leaves, tree_map
from syops.errors import ForwardError
from syops.run import fingerprint
from syops.run.interrupts import held_back
from syops.run.limit import limited
from syops.run.subject import Counting, Subject
from syops.run.tally import CountSoFar
from syops.trace import inputs as given
from syops.trace.bounds import states_of
from syops.trace.input_signals import check_signal, signal_of_each
from syops.trace.model import weight_dtype
from syops.trace.neurons.library import SIGNALS
from syops.trace.observer import Observer, until_known
from syops.trace.plan.tree import Plans
from syops.trace.restore import InEvalMode, OnDevice, Random, left_as_found, plainly
from syops.trace.states import Lending


def _all(batches: Iterable[given.Batch], subject: Subject) -> Iterable[given.Batch]:
    return batches


@dataclass(frozen=True)
class Batches:
    """Hold what a model is called with, one batch after the other.

    Attributes:
        inputs, prepare, limit: as of `syops.get_model_syops`.
        home: the device to run on; None for a model without tensors.
        unread: of all batches, those that are to be counted.
    """

    inputs: Any
    prepare: Callable[[Any], Any] | None
    home: torch.device | None
    limit: int | None = None
    unread: Callable[[Iterable[given.Batch], Subject], Iterable[given.Batch]] = _all

    @property
    def is_single(self) -> bool:
        """Whether there is one batch alone, which then has no number."""
        return given.is_single(self.inputs)

    def each(self, counting: Counting, notes: dict[str, None]) -> Iterable[given.Batch]:
        """Yield the batches; ``notes`` gets what a reader should know of how they end."""
        dtype = weight_dtype(counting.subject.model)
        batches = given.batches(self.inputs, self.prepare, dtype)
        subject = counting.subject
        return self.unread(limited(batches, self.limit, subject, notes), subject)


@dataclass(frozen=True)
class CountedBatch:
    """One batch that was counted.

    Attributes:
        arguments: what the model was called with, on the device that it runs on.
        output: what it returned; with ``unroll`` the list of what it returned at each time-step.
        samples: in the batch.
        labels: what came with the input, see `syops.trace.inputs.Batch`.
        steps: T, or None where it is not known.
        time_axis: the dimension of the first tensor that counts time-steps, if one does.
        by_calls: whether the output is a list, of each time-step.
        settle: adds to the ledger what waits to be added together with later batches. Without
            that the ledger may lack up to 64 batches, this one among them.
    """

    arguments: given.Arguments
    output: Any
    samples: int
    labels: Any
    steps: int | None
    time_axis: int | None
    by_calls: bool
    settle: Callable[[], None]


After = Callable[[CountedBatch], bool]
"""What is called after a batch; it returns whether the count ends there."""


def count_batches(
    batches: Batches, counting: Counting, tally: CountSoFar, after: Sequence[After] = ()
) -> None:
    """Count every batch, and leave the model as it was found.

    Args:
        batches: what the model is called with.
        counting: how it is counted.
        tally: what is counted; after an error, what was counted before it.
        after: what is called after each batch, in this order. All are called; the count ends
            early if one of them returns True.
    """
    learns = not batches.is_single and not counting.settings.by_values
    plans = Plans() if learns else None
    observer = Observer(
        tally.model, tally.ledger, counting.settings, plans=plans, spikes=tally.spikes
    )

    def watched() -> None:
        # States are lent when nobody else counts the model any more, which the observer ensures.
        place, mode = OnDevice(tally.model, batches.home), InEvalMode(tally.model)
        lending = Lending(tally.model)
        left_as_found(lambda: counted(place, mode, lending), place, mode, lending)

    def counted(place: OnDevice, mode: InEvalMode, lending: Lending) -> None:
        place.begin()
        mode.begin()
        each = batches.each(counting, tally.notes)
        tally.at_batch = not batches.is_single
        try:
            for batch in each:
                with held_back():
                    tally.is_exact = False
                    found = _count(batch, batches.home, counting, observer, tally, lending)
                    tally.is_exact = True
                    ends = [follow(found) for follow in after]
                    lending.put_back()
                    tally.batches += 1
                if any(ends):
                    break
        finally:
            with held_back():
                observer.settle()
        tally.at_batch = False

    plainly(lambda: observer.watching(watched))


def _count(
    given_batch: given.Batch,
    home: torch.device | None,
    counting: Counting,
    observer: Observer,
    tally: CountSoFar,
    lending: Lending,
) -> CountedBatch:
    """Check one batch, run the model on it, and add what was counted to ``tally``."""
    batch = tree_map(lambda leaf: given.plain(given.usable(leaf, home)), given_batch.arguments)
    args, kwargs = batch
    subject = counting.subject
    steps, called = subject.steps_of(batch), subject.one_call(batch)
    samples = given.samples(called, subject.batch_dim)
    tensors = given.tensors_of(batch)
    names = signal_of_each(counting.signals, tensors)
    for name, tensor in zip(names, tensors, strict=True):
        check_signal(name, tensor)
    shapes = tree_map(given.on_meta, called)
    lending.renew()
    tally.notes.update(dict.fromkeys((*lending.not_reset, *_told_of(given_batch))))
    if lending.has_changed:
        tally.ann.refuse("the model was changed between two batches")
    if not tally.ann.knows(shapes):
        observer.settle()
        tally.ann.prepare(tally.model, shapes, tally.ledger)
    if tally.first is None:
        on_meta = tree_map(given.on_meta, batch)
        observer.know(states_of(tally.model, on_meta, counting.settings, subject.call))
    source = fingerprint.of_batch(given_batch, samples, subject)
    known = [None if name == "auto" else SIGNALS[name] for name in names]
    axis = subject.time_axis(batch)
    axes = subject.axes(batch, counting.by_sample)
    run = partial(observer.run, args, kwargs, known, axis, samples, subject.call, axes)
    try:
        output = until_known(run, partial(_again, lending, Random.now()))
    except ForwardError as error:
        raise subject.explained(error, batch) from error.__cause__
    if tally.first is None:
        tally.states = observer.states
        tally.weights = fingerprint.of_weights(tally.model, tally.states)
    tally.first = tally.first or shapes
    tally.data = None if source is None or tally.data is None else tally.data + source
    tally.steps.add(steps)
    tally.ann.add(shapes, tally.ledger, observer.states)
    return CountedBatch(
        arguments=batch,
        output=output,
        samples=samples,
        labels=given_batch.labels,
        steps=steps,
        time_axis=axis,
        by_calls=subject.unroll is not None,
        settle=observer.settle,
    )


def _told_of(batch: given.Batch) -> Iterator[str]:
    """Yield notes on what the model does not get as the loader gave it."""
    if batch.parts > 2:
        yield (
            f"batches have {batch.parts} parts, of which the model got the first one; if it takes "
            "more, say so with prepare=, such as prepare=lambda batch: batch[:2]"
        )
    own = filter(given.is_of_own_class, tree_leaves(batch.arguments))
    for name in sorted({type(tensor).__name__ for tensor in own}):
        yield (
            f"the model got inputs of the class {name} as plain tensors: what becomes of others "
            "cannot be followed"
        )


def _again(lending: Lending, generators: Random) -> None:
    """Put the model's states and the random generators back to before a pass."""
    generators.put_back()
    lending.renew()
