"""Go on with a count that a file holds, and keep it there from time to time."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from syops.errors import SyopsError, SyopsFileError, SyopsTypeError, SyopsValueError, shown
from syops.files import check_writable
from syops.ledger.provenance import fingerprint
from syops.report.report import MeasuredReport
from syops.run.building import versions
from syops.run.checkpoint import Checkpoint, read, write
from syops.run.fingerprint import of_batch, of_weights
from syops.run.loop import CountedBatch
from syops.run.naming import in_letters
from syops.run.scores import Output
from syops.run.subject import Counting, Subject
from syops.run.tally import CountSoFar
from syops.trace import inputs as given
from syops.trace.restore import Random

SECONDS = 60.0
"""Between two checkpoints, unless the user says otherwise."""


@dataclass(frozen=True)
class Keeping:
    """Say where a count is kept.

    Attributes:
        path: the file.
        seconds: between two checkpoints.
        begun: the count that the file holds; None without one.
        count: what is counted, each property by its name, weights and the libraries aside.
    """

    path: Path
    seconds: float
    begun: Checkpoint | None
    count: Mapping[str, str]

    @classmethod
    def at(cls, path: str | os.PathLike[str], seconds: float, count: Mapping[str, str]) -> Keeping:
        """Read what a file holds, if it is there.

        Raises:
            SyopsFileError: it is torn, no checkpoint, or cannot be written.
        """
        where = Path(path)
        begun = read(where)
        check_writable(where)
        return cls(where, seconds, begun, count)

    def check(self, tally: CountSoFar) -> None:
        """Refuse to go on with another count than the file holds.

        Raises:
            SyopsValueError: says what is different; the weights cannot be told from others.
        """
        states = self.begun.states if self.begun is not None else ()
        weights = of_weights(tally.model, states)
        if weights is None:
            raise SyopsValueError(
                "checkpoint: the weights cannot be read byte by byte, so that a count could not be "
                "told from one of other weights"
            )
        if self.begun is not None:
            self.begun.check({"weights": weights, **self.count}, self.path)

    def unread(self, batches: Iterable[given.Batch], subject: Subject) -> Iterator[given.Batch]:
        """Return the batches that are not counted yet; those that are, are read and compared.

        Raises:
            SyopsValueError: they are not the same.
        """
        each = iter(batches)
        if self.begun is None:
            return each
        report, found, samples = self.begun.report, 0, 0
        for number in range(self.begun.batches):
            try:
                batch = next(each, None)
            except Exception as error:
                error.add_note(f"syops: this was raised at batch {number}, which {self.path} has")
                raise
            if batch is None:
                break
            of_this = subject.samples_of(batch.arguments)
            samples += of_this
            found += of_batch(batch, of_this, subject) or 0
        if samples != report.samples:
            raise SyopsValueError(
                f"{self.path} is the checkpoint of other data or batches: its "
                f"{self.begun.batches} batches hold {report.samples} samples, and as many hold "
                f"{samples} now. Give the batch size that it was begun with"
            )
        if fingerprint(found) != report.provenance.data:
            raise SyopsValueError(
                f"{self.path} is the checkpoint of other data: its {report.samples} samples are "
                f"not the first ones that are read now. A loader that shuffles or draws "
                "needs the same seed each time, such as torch.manual_seed before this call"
            )
        self.begun.random.put_back()
        return each

    def whole(self, rest: MeasuredReport) -> MeasuredReport:
        """Return the report of what the file holds and of what was counted since."""
        if self.begun is None:
            return rest
        before = self.begun.report
        both = before + rest
        provenance = replace(both.provenance, calls=rest.provenance.calls)
        return replace(both, input_shape=before.input_shape, provenance=provenance)


def properties(
    counting: Counting,
    *,
    prepare: Callable[[Any], Any] | None,
    output: Output,
    limit: int | None,
    device: torch.device | None,
    zeros: bool = False,
    share: tuple[int, int] = (0, 1),
) -> dict[str, str]:
    """Return what two counts must have in common for one to go on with the other.

    Weights and data aside, which are compared by their fingerprints.
    """
    subject = counting.subject
    found = {
        "model": subject.name,
        "time_steps": subject.steps,
        "conventions": dict(sorted(counting.conventions.items())),
        "recorded": ", ".join(sorted(counting.recorded)),
        "neurons": {kind.__qualname__: str(signal) for kind, signal in subject.neurons.items()},
        "prepare": prepare,
        "output": output,
        "limit": limit,
        "device": None if device is None else device.type,
        "spread": counting.by_sample,
        "neuron_rates": counting.neuron_rates,
        "zeros": zeros,
        "process": "{} of {}".format(*share),
        "versions": dict(versions()),
    }
    told = {name: in_letters(value) for name, value in found.items()}
    return told | {"convention": repr(counting.convention), "energy": repr(counting.energy)}


def check_keeping(path: object, seconds: object) -> None:
    """Refuse a file that is none, and a time between two checkpoints that is none."""
    if not isinstance(path, str | os.PathLike):
        raise SyopsTypeError(f"checkpoint must be a path, got {type(path).__name__}")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise SyopsTypeError(f"checkpoint_seconds must be a number, got {shown(seconds)}")
    if not 0 <= seconds < math.inf:
        raise SyopsValueError(f"checkpoint_seconds must be 0 or more, got {shown(seconds)}")


class Saver:
    """Write a checkpoint after a batch, when it is time.

    Args:
        keeping: where.
        tally: what has been counted since.
        report: gives the report of everything that has been counted.
    """

    def __init__(
        self, keeping: Keeping, tally: CountSoFar, report: Callable[[], MeasuredReport]
    ) -> None:
        self._keeping = keeping
        self._tally = tally
        self._report = report
        self._before = self._kept = keeping.begun.batches if keeping.begun is not None else 0
        self._batches = 0
        self._random = Random.now()
        self._next = time.monotonic() + keeping.seconds

    def __call__(self, found: CountedBatch) -> bool:
        """Note a batch, see `syops.run.loop.After`.

        Raises:
            SyopsFileError: the checkpoint cannot be written.
            SyopsValueError: batches that could not be compared later.
        """
        self._batches += 1
        self._random = Random.now()
        if self._tally.data is None:
            raise SyopsValueError(
                "checkpoint: batches hold objects that cannot be read byte by byte, so that they "
                "could not be told from others; give tensors, arrays and plain values"
            )
        if time.monotonic() >= self._next:
            found.settle()
            self.save()
        return False

    def save(self) -> None:
        """Write all batches that were counted, if there are new ones and none is in doubt."""
        tally, batches = self._tally, self._before + self._batches
        is_whole = tally.ledger.passes == self._batches and tally.data is not None
        if batches == self._kept or not is_whole:
            return
        report = self._report()
        count = {"weights": str(tally.weights), **self._keeping.count}
        made = Checkpoint(count, batches, tally.states, self._random, report)
        try:
            write(self._keeping.path, made)
        except SyopsFileError as error:
            kept = f"still has the first {self._kept} batches" if self._kept else "was not written"
            failed = SyopsFileError(f"{error}; the checkpoint {kept}")
            failed.report = report
            raise failed from error
        self._kept = batches
        self._next = time.monotonic() + self._keeping.seconds


@contextmanager
def kept(
    keeping: Keeping | None, tally: CountSoFar, report: Callable[[], MeasuredReport]
) -> Iterator[tuple[Saver, ...]]:
    """Give what is to be called after each batch to keep a count; keep the rest at the end.

    Also what was counted before an error.
    """
    if keeping is None:
        yield ()
        return
    keeping.check(tally)
    saver = Saver(keeping, tally, report)
    try:
        yield (saver,)
    except BaseException as error:
        if tally.is_exact or isinstance(error, Exception):
            with suppress(SyopsError):
                saver.save()
        raise
    saver.save()
