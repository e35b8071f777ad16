"""Count a network on a data set: batch after batch, with what is asked for beside the counts."""

from __future__ import annotations

from dataclasses import replace

from syops.ledger.ledger import Ledger
from syops.report.report import MeasuredReport
from syops.run.building import build_report, name_batch
from syops.run.keeping import Keeping, kept
from syops.run.loop import Batches, count_batches
from syops.run.progress import progress_bar
from syops.run.scores import Answers, Output
from syops.run.subject import Counting
from syops.run.tally import Tally


def count_data(
    counting: Counting,
    batches: Batches,
    *,
    output: Output,
    progress: bool | None,
    call: str,
    keeping: Keeping | None = None,
) -> MeasuredReport:
    """Count all batches, and return the report of them.

    Args:
        counting: what is counted, and how.
        batches: what the model is called with.
        output, progress: as of `syops.get_model_syops`.
        call: what was called for it.
        keeping: where the count is kept meanwhile.

    Raises:
        Exception: what a batch raises; it names the batch, and has a report of those before.
    """
    subject = counting.subject
    begun = None if keeping is None else keeping.begun
    tally = Tally(subject.model, Ledger(), subject.ann_counts())
    if begun is not None:
        tally.before = (begun.batches, begun.report.samples)
        tally.steps.add(begun.report.time_steps)
    answers = Answers(output, tally.notes)

    def report() -> MeasuredReport:
        if begun is not None and tally.first is None:
            return replace(begun.report, notes=(*begun.report.notes, *tally.notes))
        conventions, scores = counting.conventions, answers.scores()
        rest = build_report(
            MeasuredReport, tally, subject, counting.energy, conventions, scores, call
        )
        return rest if keeping is None else keeping.whole(rest)

    try:
        with (
            kept(keeping, tally, report) as saver,
            progress_bar(progress, batches.inputs, batches.limit, report, tally.before) as bar,
        ):
            count_batches(batches, counting, tally, (answers, *bar, *saver))
    except (Exception, KeyboardInterrupt) as error:
        if tally.at_batch:
            name_batch(error, tally, report)
        raise
    return report()
