"""Answer what models of energy ask of a report, or refuse."""

from __future__ import annotations

from syops.cost.figures import Figures
from syops.errors import SyopsValueError, first_of
from syops.ledger.rows import Operations, Row
from syops.ops.kinds import SYNAPTIC

NAMED = 3
"""So many rows are named in a reason."""


class Refused(SyopsValueError):
    """Say why a model does not apply to a network."""


def synaptic_rows(report: Figures) -> list[tuple[Row, Operations]]:
    """Return the synaptic rows inside the totals, in the order of execution."""
    return [
        (row, operations)
        for row, operations in zip(report.effective_rows, report.operations, strict=True)
        if row.kind in report.kinds & set(SYNAPTIC)
    ]


def neuron_rows(report: Figures) -> list[Row]:
    """Return the rows of neurons.

    Raises:
        Refused: there is none.
    """
    found = [row for row in report.rows if row.kind == "neuron"]
    if not found:
        raise Refused("no neuron is known as one, so that its updates are not told apart")
    return found


def with_macs(report: Figures) -> list[str]:
    """Return the rows inside the totals that do MACs."""
    pairs = zip(report.effective_rows, report.operations, strict=True)
    return [
        name_of(row) for row, operations in pairs if row.kind in report.kinds and operations.mac
    ]


def refuse_macs(report: Figures) -> None:
    """Refuse a network that does MACs inside the totals."""
    macs = with_macs(report)
    if macs:
        raise Refused(f"no price for MACs: {first_of(macs, NAMED)}")


def name_of(row: Row) -> str:
    """Return how a reason names a row."""
    return f"{row.path or 'the model'} ({row.operator})"


def spikes_sent(report: Figures) -> int:
    """Return the spikes that neurons send.

    Where these were not counted they are those that reach any layer but the first, once for each.
    """
    if report.neuron_layers is not None:
        return sum(layer.spikes for layer in report.neuron_layers if not layer.analog)
    return sum(operations.spikes for _, operations in synaptic_rows(report)[1:])


def adds_bias(row: Row) -> bool:
    """Return whether a layer adds a bias, as the number of its module's parameters tells.

    Raises:
        Refused: that cannot be told: the module has other parameters, or an earlier row has them.
    """
    more = row.params - row.weights
    if row.kind == "matmul" or not more:
        return False
    if more != output_channels(row):
        raise Refused(f"whether a bias is added cannot be told: {name_of(row)}")
    return True


def output_channels(row: Row) -> int:
    """Return the channels of a result; the weights of a linear layer may lie either way."""
    if row.kind == "conv" and row.result_shape:
        return row.result_shape[0]
    return row.weights * row.written // max(1, row.dense)
