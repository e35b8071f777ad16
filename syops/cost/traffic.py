"""Count how often a row reads and writes its buffers, and how large these are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice

from syops.cost.figures import Figures
from syops.ledger.rows import Operations, Row
from syops.ops.kinds import SPIKES, SYNAPTIC

Levels = tuple[int, int, int]
"""A count over all samples: as measured, at firing rate 0, at firing rate 1."""


def _always(count: int) -> Levels:
    return count, count, count


@dataclass(frozen=True)
class Part:
    """Hold the accesses to one buffer, over all samples."""

    reads: Levels = (0, 0, 0)
    writes: Levels = (0, 0, 0)
    bytes_each: int = 0
    buffer: int = 0

    def count(self, level: int) -> int:
        """Return the sum of reads and writes."""
        return self.reads[level] + self.writes[level]


_NONE = Part()


Parts = tuple[Part, Part, Part, Part]
"""Accesses to weights, inputs, states and outputs."""


def traffic(
    row: Row, operations: Operations, buffers: Buffers, each: int, message_bytes: int, queue: int
) -> list[Parts]:
    """Return what a row accesses: nothing, its accesses, or all that they may be without data.

    Args:
        row, operations: what was counted, and what follows.
        buffers: how large they are.
        each: bytes of an element.
        message_bytes: size of a spike in the queue of a layer.
        queue: messages that it holds.
    """
    if row.kind == "neuron" and row.written:
        states = _always(row.written)
        return [(_NONE, _NONE, Part(states, states, each, each * buffers.states(row)), _NONE)]
    if row.kind == "norm" and row.mac:
        elements = _always(row.mac // 2)
        size = each * buffers.results(row)
        weights = Part(_always(row.mac), bytes_each=each, buffer=each * row.weights)
        inputs = Part(elements, bytes_each=each, buffer=size)
        return [(weights, inputs, _NONE, Part(writes=elements, bytes_each=each, buffer=size))]
    if row.kind not in SYNAPTIC:
        return []
    return [
        _synaptic(row, driving, buffers, each, message_bytes, queue)
        for driving in _driving(row, operations)
    ]


def _synaptic(
    row: Row,
    driving: Sequence[int],
    buffers: Buffers,
    each: int,
    message_bytes: int,
    queue: int,
) -> Parts:
    """Return the accesses of a layer: for each event of the operands that drive it, or dense."""
    size = each * buffers.results(row)
    if not driving:
        once = row.drives[0].numel if row.drives and row.kind != "conv" else row.dense
        return (
            Part(_always(row.dense), bytes_each=each, buffer=each * buffers.weights(row, 0)),
            Part(_always(once), bytes_each=each, buffer=each * buffers.inputs(row, 0)),
            _NONE,
            Part(writes=_always(row.written), bytes_each=each, buffer=size),
        )
    first = driving[0]
    events = row.drives[first].events
    fan_outs = events, 0, row.dense
    updates = (row.joint_events if len(driving) == 2 else events), 0, row.dense
    drives = [row.drives[place] for place in driving]
    messages = sum(drive.spikes for drive in drives), 0, sum(drive.numel for drive in drives)
    return (
        Part(fan_outs, bytes_each=each, buffer=each * buffers.weights(row, first)),
        Part(messages, messages, message_bytes, message_bytes * queue),
        Part(updates, updates, each, size),
        _NONE,
    )


def _driving(row: Row, operations: Operations) -> Iterator[Sequence[int]]:
    """Yield the operands that may drive a row event by event; none where it is dense."""
    signals = [drive.evidence.signal for drive in row.drives]
    spikes = [i for i, signal in enumerate(signals) if signal in SPIKES]
    if operations.either:
        unknown = [i for i, signal in enumerate(signals) if signal == "unknown"]
        for number in range(len(unknown) + 1):
            yield from combinations(unknown, number)
    elif operations.mac:
        yield ()
    else:
        graded = (i for i, signal in enumerate(signals) if signal == "graded" == operations.signal)
        yield spikes or tuple(islice(graded, 1))


class Buffers:
    """Hold how many elements a layer keeps for one sample and one time-step.

    One time-step is what the ANN does. Where that is not known, it is an equal share of all.
    """

    def __init__(self, report: Figures) -> None:
        self._samples = report.samples
        self._steps = report.time_steps or 1
        self._ann = {row.key: row for row in report.ann_rows or ()}

    def results(self, row: Row) -> int:
        step = self._ann.get(row.key)
        return self._share(row.written, step.written if step else None)

    def inputs(self, row: Row, place: int) -> int:
        """Return the size of the operand in that place."""
        if place >= len(row.drives):
            return row.weights
        step = self._ann.get(row.key)
        known = step.drives[place].numel if step and place < len(step.drives) else None
        return self._share(row.drives[place].numel, known)

    def weights(self, row: Row, driven: int) -> int:
        """Return the size of what is applied: of two activations, the other one."""
        return self.inputs(row, 1 - driven) if len(row.drives) == 2 else row.weights

    def states(self, row: Row) -> int:
        step = self._ann.get(row.key)
        neurons = self._share(row.dense, step.dense if step else None)
        return neurons * row.written // row.dense if row.dense else 0

    def _share(self, all_steps: int, one_step: int | None) -> int:
        """Divide and round up: where batches differ in size, so may their samples."""
        if one_step is None:
            return -(-all_steps // (self._samples * self._steps))
        return -(-one_step // self._samples)


def itemsize(dtype: str) -> int:
    """Return the bytes of one element: 4 of ``float32``, 1 of ``bool``; 4 if several are mixed."""
    bits = re.search(r"\d+", dtype)
    return max(1, int(bits[0]) // 8) if bits else 1 if dtype == "bool" else 4
