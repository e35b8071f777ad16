"""Count a network on a data set: batch after batch, with what is asked for beside the counts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from syops.errors import SyopsError, SyopsValueError
from syops.report.report import MeasuredReport, Report
from syops.run.building import build_report, name_batch
from syops.run.distributed import Group
from syops.run.keeping import Keeping, kept, properties
from syops.run.loop import Batches, count_batches
from syops.run.progress import progress_bar
from syops.run.scores import Answers, Output
from syops.run.spread import Labels, StopWhen, write_samples
from syops.run.subject import Counting, Subject
from syops.run.tally import CountSoFar
from syops.run.zeros import taken_in
from syops.trace import inputs as given
from syops.trace.zeros import ZeroWatch


@dataclass(frozen=True, kw_only=True)
class Work:
    """A network and the data that it is to be counted on.

    Attributes:
        counting: what is counted, and how.
        batches: what the model is called with.
        output, progress: as of `syops.get_model_syops`.
        call: what was called for it.
        checkpoint: the file that the count is kept in, and the seconds between two checkpoints.
        group: the processes that count together.
        stop_when, keep_samples: as of `syops.get_model_syops`; neither with a checkpoint nor in a
            group.
        zeros: as of `syops.get_model_syops`.
    """

    counting: Counting
    batches: Batches
    output: Output = None
    progress: bool | None = None
    call: str = ""
    checkpoint: tuple[Any, float] | None = None
    group: Group | None = None
    stop_when: float | None = None
    keep_samples: str | os.PathLike[str] | None = None
    zeros: bool = False

    def count(self) -> MeasuredReport:
        """Count all batches, and return the report of them; in a group, of all processes.

        Raises:
            Exception: what a batch raises; it names the batch, and has a report of those before.
        """
        if self.group is None:
            return self._count()
        own, error = None, None
        try:
            own = self._count()
        except (Exception, KeyboardInterrupt) as raised:
            found, error = getattr(raised, "report", None), raised
            own = found if isinstance(found, MeasuredReport) else None
        if self.group.has_none and isinstance(error, SyopsValueError):
            error = None
        return self.group.whole(own, error)

    def _count(self) -> MeasuredReport:
        """Count the batches of this process."""
        counting, keeping = self.counting, self._keeping()
        subject = counting.subject
        begun = None if keeping is None else keeping.begun
        tally = counting.tally()
        if self.group is not None:
            tally.share = self.group.share
        if begun is not None:
            tally.before = (begun.batches, begun.report.samples)
            tally.steps.add(begun.report.time_steps)
        counts = tally.ledger.by_sample
        answers = Answers(self.output, tally.notes)
        watch = ZeroWatch(subject.model) if self.zeros else None

        def report() -> MeasuredReport:
            if begun is not None and tally.first is None:
                return replace(begun.report, ended=tally.ended)
            conventions, scores = counting.conventions, answers.scores()
            rest = build_report(
                MeasuredReport,
                tally,
                subject,
                counting.energy,
                counting.convention,
                conventions,
                scores,
                self.call,
                None if watch is None else watch.counts,
                counting.recorded,
            )
            return rest if keeping is None else keeping.whole(rest)

        def unread(batches: Iterable[given.Batch], subject: Subject) -> Iterable[given.Batch]:
            own = batches if self.group is None else self.group.of(batches)
            return own if keeping is None else keeping.unread(own, subject)

        try:
            stop, notes = self.stop_when, tally.notes
            measured = () if watch is None else (taken_in(watch),)
            labels = () if counts is None else (Labels(counts),)
            ends = () if stop is None else (StopWhen(stop, report, notes),)
            with (
                watch or nullcontext(),
                kept(keeping, tally, report) as saver,
                self._bar(report, tally) as bar,
            ):
                batches = replace(self.batches, unread=unread)
                after = (*labels, answers, *measured, *ends, *bar, *saver)
                count_batches(batches, counting, tally, after)
        except (Exception, KeyboardInterrupt) as error:
            if tally.at_batch:
                name_batch(error, tally, report)
            raise
        found = report()
        if self.keep_samples is not None:
            try:
                write_samples(found, self.keep_samples)
            except SyopsError as error:
                error.report = found
                raise
        return found

    def _bar(self, report: Callable[[], Report], tally: CountSoFar) -> Any:
        """Return a progress bar, of the first process alone."""
        batches, (rank, processes) = self.batches, tally.share
        wanted = self.progress if not rank else False
        return progress_bar(wanted, batches.inputs, batches.limit, report, tally.before, processes)

    def _keeping(self) -> Keeping | None:
        if self.checkpoint is None:
            return None
        path, seconds = self.checkpoint
        batches = self.batches
        told = properties(
            self.counting,
            prepare=batches.prepare,
            output=self.output,
            limit=batches.limit,
            device=batches.home,
            zeros=self.zeros,
            share=(0, 1) if self.group is None else self.group.share,
        )
        return Keeping.at(path if self.group is None else self.group.path(path), seconds, told)
