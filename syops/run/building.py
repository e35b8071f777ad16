"""Build the report of what has been counted, and say at which batch an error came."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

import torch
from torch import nn

from syops._torch import packed_in
from syops.cost.conventions import MAGNITUDES, Convention, check_recorded
from syops.cost.counts import kinds_under
from syops.cost.energy import Energy
from syops.cost.later import later
from syops.cost.pricing import check_energy
from syops.cost.spread import SampleTable
from syops.errors import SyopsError, SyopsValueError, with_type
from syops.ledger.ledger import Ledger
from syops.ledger.provenance import Provenance, fingerprint
from syops.ledger.scores import Scores
from syops.ledger.zeros import ZeroCounts
from syops.report.report import MeasuredReport, Report
from syops.run.subject import Subject
from syops.run.tally import CountSoFar
from syops.trace import inputs as given

AnyReport = TypeVar("AnyReport", bound=Report)


def build_report(
    kind: type[AnyReport],
    tally: CountSoFar,
    subject: Subject,
    energy: Energy,
    convention: Convention,
    conventions: Mapping[str, Any],
    scores: Scores | None = None,
    call: str = "",
    zero_counts: ZeroCounts | None = None,
    recorded: Iterable[str] = (),
) -> AnyReport:
    """Build the report of what has been counted so far; ``call``: what was called for it;
    ``recorded``: what was measured besides."""
    if tally.first is None:
        raise SyopsValueError(
            "inputs: the loader gave no batch; an iterator that was used up is empty"
        )
    ledger, as_ann = tally.ledger, tally.ann.later()
    notes, unseen = tuple(tally.notes), _unseen(subject.name, tally.ledger)
    rows = ledger.rows
    check_energy(energy, rows)
    measured = frozenset({MAGNITUDES, *recorded})
    check_recorded(rows, convention, measured, subject.name)
    return kind(
        model=subject.name,
        rows=rows,
        samples=tally.samples or ledger.samples,
        energy=energy,
        time_steps=tally.time_steps,
        params=_parameters(subject.model),
        input_shape=tuple(given.first_tensor(tally.first).shape),
        ann_rows=later(lambda: as_ann().rows),
        conventions=conventions,
        versions=dict(versions()),
        unaccounted=ledger.unaccounted,
        prepared=ledger.prepared,
        updates=ledger.updates,
        notes=later(lambda: tuple(filter(None, (*notes, as_ann().note, unseen)))),
        ended=tally.ended,
        dependent=tally.dependent,
        in_training=tally.in_training,
        passes=ledger.passes,
        measured=kind is MeasuredReport,
        scores=scores,
        convention=convention,
        kinds=kinds_under(convention),
        recorded=measured,
        modules=ledger.modules,
        zero_counts=zero_counts,
        neuron_layers=None if tally.spikes is None else tally.spikes.layers,
        sample_table=SampleTable(ledger.by_sample, ledger.keys) if ledger.by_sample else None,
        provenance=Provenance(
            calls=(call,) if call else (),
            seeds=(torch.initial_seed(),) if kind is MeasuredReport else (),
            weights=tally.weights,
            data=fingerprint(tally.data) if tally.data else None,
        ),
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


def name_batch(error: BaseException, tally: CountSoFar, report: Callable[[], Report]) -> None:
    """Say in an error at which batch it came, and attach the report of those before.

    The error stays the exception that it is, also where it is not one of syops. The report says
    in ``ended`` how it came about. After an interrupt in the midst of a batch there is none.
    """
    interrupted = isinstance(error, KeyboardInterrupt)
    samples = tally.before[1] + tally.ledger.samples
    where = f"batch {tally.batch} (the first is 0), after {samples} samples"
    why = "interrupted" if interrupted else f"ended by an error ({with_type(error)})"
    tally.ended = (f"the count was {why} at {where}",)
    before = None
    with suppress(SyopsError):
        before = None if interrupted and not tally.is_exact else report()
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
def versions() -> Mapping[str, str]:
    """Return the versions of syops and of what it counts with."""
    found = {"python": platform.python_version()}
    for package in ("syops", "torch", "spikingjelly", "numpy"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _parameters(model: nn.Module) -> int:
    """Return the number of parameters, each counted once, those in packed form too."""
    packed = sum(each.numel() for module in model.modules() for each in packed_in(module))
    return packed + sum(parameter.numel() for parameter in model.parameters())
