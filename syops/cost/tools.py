"""See a count as other tools do, which tell spikes by the values of each call.

syops-counter 0.0.5, NeuroBench and sinabs hook modules: their rows are made of `ModuleCalls`.
spikingjelly's `SynOpCounter` and `MACCounter` see operators, as syops does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction

from syops.ledger.calls import TERNARY, TWO, ModuleCalls
from syops.ledger.rows import Operations, Row
from syops.ops.kinds import BATCH_NORM, SYNAPTIC

Classed = tuple[Row, Operations]


def by_spikingjelly(rows: Iterable[Row], calls: object, samples: int) -> list[Classed]:
    """Return the rows with the ACs of `SynOpCounter` and the MACs of `MACCounter`."""
    return [(row, _as_spikingjelly(row)) for row in rows]


def _as_spikingjelly(row: Row) -> Operations:
    if row.kind in SYNAPTIC:
        seen = row.by_value
        signal = "other" if seen.dense else "binary"
        return _operations(signal, seen.events, seen.dense, row.dense - seen.dense)
    if row.kind == "norm":
        has_weights = row.operator == BATCH_NORM and row.weights
        return Operations("", None, mac=row.written if has_weights else 0)
    return row.operations("mac")


def by_neurobench(rows: object, calls: Iterable[ModuleCalls], samples: int) -> list[Classed]:
    """Return the layers with the effective operations of `SynapticOperations`.

    The model itself is not a layer there, if it is one.
    """
    return [
        (_row(each), _split(each, each.effective, each.look in TERNARY))
        for each in calls
        if each.path and each.base in ("Linear", "Conv1d", "Conv2d", "Conv3d")
    ]


def by_sinabs(rows: object, calls: Iterable[ModuleCalls], samples: int) -> list[Classed]:
    """Return the layers with the synaptic operations of `SNNAnalyzer`, averaged over calls."""
    entries = [each for each in calls if each.base in ("Linear", "Conv2d")]
    number = dict.fromkeys((each.path for each in entries), 0)
    for each in entries:
        number[each.path] += each.calls
    return [
        (_row(each), _operations(each.look, each.per_sample * samples / number[each.path], 0, 0))
        for each in entries
    ]


def known_to_005(calls: Iterable[ModuleCalls]) -> list[ModuleCalls]:
    """Return the calls that syops-counter 0.0.5 counts: of a subclass it counts nothing."""
    return [each for each in calls if not each.base or each.module.startswith("torch.nn.")]


def by_version_005(rows: object, calls: Iterable[ModuleCalls], samples: int) -> list[Classed]:
    """Return the modules of exactly the classes that syops-counter 0.0.5 knows."""
    found = []
    for each in known_to_005(calls):
        if each.kind == "neuron":
            operations = _operations(each.look, each.operations, 0, each.operations)
        elif each.look in TWO:
            operations = _operations(each.look, each.at_mean, 0, each.operations)
        else:
            operations = _operations(each.look, 0, each.operations, 0)
        found.append((_row(each), operations))
    return found


TOOLS: dict[str, Callable[[Sequence[Row], Sequence[ModuleCalls], int], list[Classed]]] = {
    "spikingjelly": by_spikingjelly,
    "neurobench": by_neurobench,
    "sinabs": by_sinabs,
    "syops-0.0.5": by_version_005,
}
"""How each tool sees rows, the calls of modules, and so many samples."""

MODULE_TOOLS = frozenset(TOOLS) - {"spikingjelly"}
"""The tools whose rows are modules, of all kinds that they count."""


def _split(call: ModuleCalls, operations: int, spiking: bool) -> Operations:
    if spiking:
        return _operations(call.look, operations, 0, call.operations)
    return _operations(call.look, 0, operations, 0)


def _operations(signal: str, ac: Fraction | int, mac: int, dense_ac: int) -> Operations:
    return Operations(signal, None, Fraction(ac), round(ac), mac, dense_ac)


def _row(call: ModuleCalls) -> Row:
    """Return a row of the calls of a module that look alike."""
    return Row(
        call.path, call.kind, call.look, calls=call.calls, dense=call.operations, call=call.module
    )
