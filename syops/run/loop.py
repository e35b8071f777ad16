"""Count batch after batch, and keep what a report is made of."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from syops._torch import tree_map
from syops.choices import InputSignal
from syops.errors import ForwardError
from syops.ledger.rows import Ledger
from syops.trace import inputs as given
from syops.trace.ann import AnnCounts
from syops.trace.observer import Observer, until_known
from syops.trace.restore import Place, Random, left_as_found, plainly
from syops.trace.states import Lending


@dataclass(frozen=True)
class Batches:
    """Hold what a model is called with, one batch after the other.

    Attributes:
        inputs, prepare, batch_dim, progress: as of `syops.get_model_syops`.
        signals: what the inputs hold: one name for all tensors, or one each.
        steps: T, or None where it is not known.
        home: the device to run on; None for a model without tensors.
    """

    inputs: Any
    prepare: Callable[[Any], Any] | None
    batch_dim: int
    signals: Sequence[InputSignal]
    steps: int | None
    home: torch.device | None
    progress: bool | None = None

    @property
    def is_single(self) -> bool:
        """Whether there is one batch alone, which then has no number."""
        return given.is_single(self.inputs)

    def arguments(self, dtype: torch.dtype) -> Iterable[given.Arguments]:
        """Yield the arguments of each forward pass, behind a progress bar where one is wanted.

        Without a bar tqdm has no part in it: its lock stays locked for other threads after an
        interrupt.
        """
        wanted = self.progress
        if wanted is None:
            wanted = self._number != 1 and sys.stderr.isatty()
        batches = given.batches(self.inputs, self.prepare, dtype)
        return tqdm(batches, total=self._number, desc="syops", unit="batch") if wanted else batches

    @property
    def _number(self) -> int | None:
        """How many batches there are, where that is known."""
        if self.is_single:
            return 1
        return len(self.inputs) if isinstance(self.inputs, Sized) else None


@dataclass
class Tally:
    """Hold what has been counted so far; a report can be made of it after every batch.

    Attributes:
        model: the network.
        ledger: the rows of all passes.
        ann: what is to be known of the batches to count the same network as an ANN.
        first: what the model was called with first, on ``meta``; None before that.
        notes: sentences that a reader should know, each once and in order.
        at_batch: whether one of several batches is being read or counted.
    """

    model: nn.Module
    ledger: Ledger
    ann: AnnCounts
    first: given.Arguments | None = None
    notes: dict[str, None] = field(default_factory=dict)
    at_batch: bool = False


def count_batches(batches: Batches, observer: Observer, tally: Tally) -> None:
    """Count every batch, and leave the model as it was found.

    Args:
        batches: what the model is called with.
        observer: watches the model, and fills the ledger of ``tally``.
        tally: what is counted; after an error, what was counted before it.
    """

    def watched() -> None:
        # States are lent when nobody else counts the model any more, which the observer ensures.
        place, lending = Place(tally.model, batches.home), Lending(tally.model)
        left_as_found(lambda: counted(place, lending), place, lending)

    def counted(place: Place, lending: Lending) -> None:
        place.begin()
        lending.begin()
        each = batches.arguments(given.weight_dtype(tally.model))
        tally.at_batch = not batches.is_single
        try:
            for batch in each:
                _count(batch, batches, observer, tally, lending)
        finally:
            observer.settle()
        tally.at_batch = False

    plainly(lambda: observer.watching(watched))


def _count(
    batch: given.Arguments, batches: Batches, observer: Observer, tally: Tally, lending: Lending
) -> None:
    """Check one batch, run the model on it, and add what was counted to ``tally``."""
    args, kwargs = tree_map(lambda leaf: given.usable(leaf, batches.home), batch)
    samples = given.samples((args, kwargs), batches.batch_dim)
    tensors = given.tensors_of((args, kwargs))
    names = given.signal_of_each(batches.signals, tensors)
    for name, tensor in zip(names, tensors, strict=True):
        given.check_signal(name, tensor)
    shapes = tree_map(given.on_meta, (args, kwargs))
    lending.renew()
    tally.notes.update(dict.fromkeys(lending.not_reset))
    if not tally.ann.knows(shapes):
        observer.settle()
        tally.ann.prepare(tally.model, shapes, tally.ledger)
    known = [None if name == "auto" else given.SIGNALS[name] for name in names]
    axis = given.time_axis(tensors[0], batches.batch_dim, batches.steps)
    run = partial(observer.run, args, kwargs, known, axis, samples)
    try:
        until_known(run, partial(_again, lending, Random.now()))
    except ForwardError as error:
        raise given.explained(error, tally.model, (args, kwargs)) from error.__cause__
    tally.first = tally.first or shapes
    tally.ann.add(shapes, tally.ledger, observer.states)


def _again(lending: Lending, generators: Random) -> None:
    """Put the model's states and the random generators back to before a pass."""
    generators.put_back()
    lending.renew()
