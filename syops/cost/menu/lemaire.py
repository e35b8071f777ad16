"""Price a chain of layers and neurons by the equations of Lemaire et al., as they are printed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from syops.cost.figures import Figures
from syops.cost.memory import MemoryModel
from syops.cost.menu.asked import Refused, adds_bias, name_of, output_channels
from syops.cost.menu.memory import interpolation
from syops.cost.menu.setting import Constants, Setting
from syops.ledger.rows import Operations, Row
from syops.ops.kinds import LAYERS

Work = tuple[dict[str, int], list[tuple[int, int]]]
"""Operations by name; and of each kind of access the bytes, and those of its buffer."""


@dataclass(frozen=True)
class _Sizes:
    """Hold the bytes of an element, a message and a queue, and samples · time-steps."""

    width: int
    message: int
    queue: int
    passes: int


def lemaire_counts(report: Figures, memory: MemoryModel) -> Work:
    """Count operations, addressing and accesses of a chain of layers and neurons.

    Args:
        report: the network.
        memory: the queues, and the bits of an element; 32 unless it says otherwise.

    Returns:
        the operations ``ac``, ``mac``, ``acc_addr`` and ``mac_addr``; and of each kind of access
        the bytes and those of its buffer.

    Raises:
        Refused: a network out of the paper's scope; names the row.
    """
    chain = _chain(report)
    message = memory.message_bytes
    sizes = _Sizes(
        memory.bytes_each("float32"),
        message,
        message * memory.queue,
        report.samples * (report.time_steps or 1),
    )
    counts = dict.fromkeys(("ac", "mac", "acc_addr", "mac_addr"), 0)
    accesses: list[tuple[int, int]] = []
    for place, (row, operations) in enumerate(chain):
        if row.kind == "neuron":
            work = _of_neuron(row, chain[place + 1][1].spikes, sizes)
        elif operations.mac:
            work = _of_dense_layer(row, _times(report, row), len(chain) == 1, sizes)
        else:
            work = _of_driven_layer(row, operations.spikes, sizes)
        for name, number in work[0].items():
            counts[name] += number
        accesses += work[1]
    return counts, accesses


def _of_neuron(row: Row, spikes: int, sizes: _Sizes) -> Work:
    """Return the work of neurons: reset, leak, their potentials, and the spikes that they send."""
    potentials = (sizes.width * row.dense, sizes.width * (row.dense // sizes.passes))
    leaks = row.dense if row.operator == "LIFNode" else 0
    sent = (sizes.message * spikes, sizes.queue)
    return {"ac": spikes, "mac": leaks}, [potentials, potentials, sent]


def _of_dense_layer(row: Row, times: int, is_alone: bool, sizes: _Sizes) -> Work:
    """Return the work of a layer that gets other values than spikes, called ``times`` times."""
    kernel, numel = _kernel(row), row.drives[0].numel
    table = row.weight_shape[0] * math.prod(kernel) if kernel else 0
    biases, parameters = _parameters(row, row.dense, sizes)
    read = row.dense if kernel else numel
    accesses = [(sizes.width * read, sizes.width * (numel // times)), parameters]
    if is_alone:
        accesses.append((sizes.width * row.written, sizes.width * (row.written // times)))
    addressed = numel + row.written + times * table
    return {"ac": biases, "mac": row.dense, "acc_addr": addressed}, accesses


def _of_driven_layer(row: Row, spikes: int, sizes: _Sizes) -> Work:
    """Return the work of a layer that gets spikes, each of which reaches its fan-out."""
    kernel = _kernel(row)
    outputs = output_channels(row) // row.groups
    uses = spikes * outputs * math.prod(kernel)
    reached = [-(-k // s) for k, s in zip(kernel, row.stride, strict=True)]
    biases, parameters = _parameters(row, uses, sizes)
    potentials = (sizes.width * uses, sizes.width * (row.written // sizes.passes))
    counts = {
        "ac": spikes * outputs * math.prod(reached) + biases,
        "acc_addr": uses,
        "mac_addr": 2 * spikes if kernel else 0,
    }
    return counts, [(sizes.message * spikes, sizes.queue), potentials, potentials, parameters]


def _kernel(row: Row) -> tuple[int, ...]:
    return row.weight_shape[2:] if row.kind == "conv" else ()


def _parameters(row: Row, uses: int, sizes: _Sizes) -> tuple[int, tuple[int, int]]:
    """Return the biases that a layer adds, and the accesses to its parameters."""
    has_bias = adds_bias(row)
    biases = row.written if has_bias else 0
    stored = row.weights + (output_channels(row) if has_bias else 0)
    return biases, (sizes.width * (uses + biases), sizes.width * stored)


def _chain(report: Figures) -> list[tuple[Row, Operations]]:
    """Return the layers and neurons of a network in which they take turns, layers at both ends."""
    found = [
        (row, operations)
        for row, operations in zip(report.effective_rows, report.operations, strict=True)
        if row.folded is None
    ]
    for place, (row, _) in enumerate(found):
        layer = row.operator in LAYERS and len(row.drives) == 1
        neuron = row.kind == "neuron" and row.operator in ("IFNode", "LIFNode")
        if not (neuron if place % 2 else layer):
            raise Refused(f"not a chain of layers and IF or LIF neurons: {name_of(row)}")
        if layer and not (row.weight_shape and (row.stride or row.kind != "conv")):
            raise Refused(f"its weights or its input differ in shape: {name_of(row)}")
    if len(found) % 2 == 0:
        what = name_of(found[-1][0]) if found else "nothing was counted"
        raise Refused(f"the spikes of the last neuron reach no layer, and are not counted: {what}")
    return found


def _times(report: Figures, row: Row) -> int:
    """Return how often a layer is called for a sample, over all samples.

    Raises:
        Refused: how many batches there were is not known.
    """
    if not report.passes:
        raise Refused(f"how many samples are in a batch is not known: {name_of(row)}")
    return max(1, report.samples * row.calls // report.passes)


def as_printed(report: Figures, c: Constants, setting: Setting) -> float:
    """Return Σ operations · their price + Σ bytes · (a price between those of three SRAMs)."""
    counts, accesses = lemaire_counts(report, setting.memory)
    prices = interpolation(c, 4)
    fetched = sum(read * float(prices.pj_per_byte(buffer)) for read, buffer in accesses)
    accumulates, products = counts["ac"] + counts["acc_addr"], counts["mac"] + counts["mac_addr"]
    return accumulates * c["add_pj"] + products * (c["multiply_pj"] + c["add_pj"]) + fetched
