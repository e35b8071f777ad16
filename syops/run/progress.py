"""Show how far a count is, and what a sample costs so far."""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from typing import Any

from tqdm import TqdmWarning

from syops.cost.pricing import PJ_PER_MJ
from syops.report.report import Report
from syops.run.loop import After, CountedBatch
from syops.trace import inputs as given
from syops.units import joules

with warnings.catch_warnings():
    # In a notebook without ipywidgets the bar is one of text, of which nobody needs to be told.
    warnings.simplefilter("ignore", TqdmWarning)
    from tqdm.auto import tqdm

LEAST_PAUSE = 1.0
"""Seconds between two readings of the counts, for which a GPU has to be waited for."""

SHARE = 0.02
"""Of the time, that readings take at most."""


@contextmanager
def progress_bar(
    wanted: bool | None,
    inputs: Any,
    limit: int | None,
    report: Callable[[], Report],
    before: tuple[int, int] = (0, 0),
    processes: int = 1,
) -> Iterator[tuple[After, ...]]:
    """Give what is to be called after each batch to have a progress bar.

    Without a bar tqdm has no part in it: its lock stays locked for other threads after an
    interrupt.

    Args:
        wanted: a bar or none; by default one for several batches on a terminal.
        inputs, limit: as of `syops.get_model_syops`.
        report: gives the report of what has been counted.
        before: batches and samples that were counted earlier.
        processes: that share the batches out; this one has about so many times fewer.
    """
    unit, total = _total(inputs, limit)
    single = given.is_single(inputs) or (unit == "batch" and total == 1)
    if not (not single and sys.stderr.isatty() if wanted is None else wanted):
        yield ()
        return
    done, total = before[unit == "sample"], total and math.ceil(total / processes)
    with tqdm(total=total, desc="syops", unit=f" {unit}", initial=done) as bar:
        yield (_Updates(bar, unit == "sample", report),)


def _total(inputs: Any, limit: int | None) -> tuple[str, int | None]:
    """Return the unit of the bar, and how many there are, where that is known."""
    samples = samples_in(inputs)
    if samples is not None or limit is not None:
        return "sample", min(n for n in (samples, limit) if n is not None)
    if given.is_single(inputs):
        return "batch", 1
    return "batch", len(inputs) if isinstance(inputs, Sized) else None


def samples_in(inputs: Any) -> int | None:
    """Return how many samples a DataLoader gives; None of anything else, or if it drops some."""
    own = getattr(inputs, "batch_size", None)  # None where the user makes the batches
    if own is None or getattr(inputs, "drop_last", True):
        return None
    sampler = getattr(inputs, "sampler", None)
    return len(sampler) if isinstance(sampler, Sized) else None


class _Updates:
    """Bring a bar forward after each batch, and tell the DC at times."""

    def __init__(self, bar: Any, by_samples: bool, report: Callable[[], Report]) -> None:
        self._bar = bar
        self._by_samples = by_samples
        self._report = report
        self._samples = 0
        self._began = self._next = time.monotonic()

    def __call__(self, found: CountedBatch) -> bool:
        self._samples += found.samples
        self._bar.update(found.samples if self._by_samples else 1)
        now = time.monotonic()
        if now >= self._next:
            found.settle()
            self._bar.set_postfix_str(self._postfix(now - self._began))
            done = time.monotonic()
            self._next = done + max(LEAST_PAUSE, (done - now) / SHARE)
        return False

    def _postfix(self, seconds: float) -> str:
        report = self._report()
        told = [] if report.dc_mj is None else [f"DC {joules(report.dc_mj)}{_give_or_take(report)}"]
        if not self._by_samples and seconds > 0:
            told.append(f"{self._samples / seconds:.0f} samples/s")
        return ", ".join(told)


def _give_or_take(report: Report) -> str:
    """Return half the 95 % confidence interval of the DC, if samples are told apart."""
    spread = report.spread
    width = None if spread is None else spread.dc.half_width
    return "" if width is None else f" ± {joules(width / PJ_PER_MJ)}"
