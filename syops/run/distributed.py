"""Share the batches of a data set out to the processes of a group, and add up what they count.

Every process reads all batches, and runs the model on each K-th of them. They speak to each other
once, at the end: what each has counted, or the error that ended it, goes to all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from typing import Any, NamedTuple

import torch.distributed as dist
from torch.utils.data.distributed import DistributedSampler

from syops.errors import SyopsRuntimeError, SyopsTypeError, SyopsValueError, first_line
from syops.report.report import MeasuredReport, Report
from syops.run.fingerprint import of_first
from syops.trace import inputs as given


class Outcome(NamedTuple):
    """What became of the share of one process.

    Attributes:
        report: of its batches, as JSON; None without any.
        order: a digest of the beginnings of all batches, in the order in which it read them.
        error: what ended it early; "" if it came to its end.
    """

    report: str | None
    order: str
    error: str


class Group:
    """Know the place of this process among those that count together.

    Args:
        inputs: as of `syops.get_model_syops`.

    Raises:
        SyopsRuntimeError: no process group is initialised.
        SyopsTypeError: there is one batch alone.
        SyopsValueError: the loader gives each process a part of the data already.
    """

    def __init__(self, inputs: Any) -> None:
        if not (dist.is_available() and dist.is_initialized()):
            raise SyopsRuntimeError(
                "distributed: there is no process group; call torch.distributed."
                "init_process_group first, in each process that torchrun starts"
            )
        if given.is_single(inputs):
            raise SyopsTypeError(
                "distributed: one batch cannot be shared out; give a list of batches or a loader"
            )
        samplers = [getattr(inputs, name, None) for name in ("sampler", "batch_sampler")]
        samplers += [getattr(sampler, "sampler", None) for sampler in samplers]
        if any(isinstance(sampler, DistributedSampler) for sampler in samplers):
            raise SyopsValueError(
                "distributed: the loader has a DistributedSampler, which gives each process a part "
                "of the data, and some samples twice; give the loader of all data"
            )
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self._taken = 0
        self._ended = False
        self._order = sha256()

    @property
    def share(self) -> tuple[int, int]:
        """The place of this process, and how many there are."""
        return self.rank, self.size

    def path(self, path: str | os.PathLike[str]) -> str:
        """Return the checkpoint of this process."""
        return f"{os.fspath(path)}.{self.rank}-of-{self.size}"

    def of(self, batches: Iterable[given.Batch]) -> Iterator[given.Batch]:
        """Yield each ``size``-th batch from ``rank`` on."""
        for number, batch in enumerate(batches):
            self._order.update(of_first(batch.source))
            if number % self.size == self.rank:
                self._taken += 1
                yield batch
        self._ended = True

    @property
    def has_none(self) -> bool:
        """Whether all batches were read, and none of them was for this process."""
        return self._ended and not self._taken

    def whole(self, own: MeasuredReport | None, error: BaseException | None) -> MeasuredReport:
        """Return the report of all processes, in each of them.

        Args:
            own: of this process; None if it has counted nothing.
            error: what ended its count.

        Raises:
            SyopsRuntimeError: another process has failed or does not answer; the processes read
                other data.
            BaseException: ``error``, with the report of all processes.
        """
        message = "" if error is None else f"{type(error).__name__}: {first_line(error)}"
        text = None if own is None else own.to_json()
        outcome = Outcome(text, self._order.hexdigest(), message)
        outcomes: list[Any] = [None] * self.size
        try:
            # With NCCL it goes through the current CUDA device.
            dist.all_gather_object(outcomes, outcome)
        except RuntimeError as lost:
            if error is not None:
                raise error from lost
            raise self._failed(
                f"process {self.rank} of {self.size}: another process has died or does not answer "
                f"({first_line(lost)}); the report has what this one counted",
                own,
            ) from lost
        reports = [Report.from_json(each.report) for each in outcomes if each.report is not None]
        found = None
        if reports:
            found = replace(sum(reports[1:], reports[0]), input_shape=reports[0].input_shape)
        if error is not None:
            with suppress(AttributeError, TypeError):  # of a class that takes no attributes
                setattr(error, "report", found)  # noqa: B010 (exceptions do not declare it)
            raise error
        for rank, each in enumerate(outcomes):
            if each.error:
                raise self._failed(f"process {rank} of {self.size} failed: {each.error}", found)
        if len({each.order for each in outcomes}) > 1:
            raise SyopsRuntimeError(
                "distributed: the processes read other batches or in another order, so that "
                "samples were counted twice or not at all; a loader that shuffles needs the same "
                "seed in all of them"
            )
        if not isinstance(found, MeasuredReport):
            raise SyopsValueError("inputs: the loader gave no batch")
        return found

    def _failed(self, message: str, report: Report | None) -> SyopsRuntimeError:
        error = SyopsRuntimeError(message)
        if report is not None:
            error.report = replace(report, ended=(message, *report.ended))
        return error
