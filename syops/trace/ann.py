"""Count the same network as an ANN, for Eq. (6): one time-step, every synaptic operation a MAC."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn

from syops._torch import tree_leaves, tree_map
from syops.cost.later import Once
from syops.errors import first_line
from syops.ledger.ledger import Ledger
from syops.ledger.rows import Drive, Row
from syops.ops.classes import ValueEvidence
from syops.ops.registry import Find, find
from syops.ops.rule import input_tensors
from syops.ops.values import ANALOG
from syops.trace import meta as shadow
from syops.trace.bounds import follow
from syops.trace.neurons import NeuronSignal
from syops.trace.restore import plainly
from syops.trace.settings import Settings

Counted = tuple[tuple[Row, Hashable], ...]
"""The rows of a call, each with what tells it from the others."""

Shapes = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments on ``meta``."""


@dataclass(slots=True)
class _Batches:
    """Hold batches of the same shapes.

    Attributes:
        shapes: what the model was called with, on ``meta``.
        folded: the modules whose normalisation was folded, and the layers it was folded into.
        macs: multiply-accumulates of the SNN in one of them, were every synaptic operation one.
        states: names of buffers that are states, not weights.
        number: how many there are.
    """

    shapes: Shapes
    folded: Mapping[str, str]
    macs: int
    states: frozenset[str]
    number: int = 1


class Ann(NamedTuple):
    """Hold the rows of the ANN; None where they cannot be known, with the reason in ``note``."""

    rows: tuple[Row, ...] | None
    note: str = ""


class AnnCounts:
    """Note which batches are counted, and make the rows of the ANN when they are asked for.

    Args:
        steps: T, None where it is not known.
        batch_dim: of the first tensor.
        neurons: signals of neuron classes beside those that are known.
        find: gives the rule of an operator.
        by_calls: a call of the model is one time-step, so that there is nothing to set to 1.
    """

    def __init__(
        self,
        steps: int | None,
        batch_dim: int,
        neurons: Mapping[type, NeuronSignal],
        find: Find = find,
        by_calls: bool = False,
    ) -> None:
        self._find = find
        self._steps = 1 if by_calls else steps
        self._by_calls = by_calls
        self._batch_dim = batch_dim
        self._neurons = neurons
        self._batches: dict[tuple[Any, ...], _Batches] = {}
        self._shadow: shadow.Shadow | None = None
        self._why_not = ""
        self._refused = ""
        self._macs = 0

    def knows(self, shapes: Shapes) -> bool:
        """Return whether a batch of these shapes was noted, or need not be."""
        return self._steps is None or _key(shapes) in self._batches

    def prepare(self, model: nn.Module, shapes: Shapes, ledger: Ledger) -> None:
        """Copy the model before it first runs: it may be another one when the rows are asked for.

        Args:
            model: the network, reset.
            shapes: what it will be called with, on ``meta``.
            ledger: all that was counted so far.
        """
        if self.knows(shapes):
            return
        self._macs = _macs(ledger.rows)
        if self._shadow is None and not self._why_not:
            try:
                self._shadow = shadow.Shadow(model, self._neurons)
            except Exception as error:  # whatever an attribute raises that cannot be copied
                self._why_not = f"the model cannot be copied: {first_line(error)}"

    def refuse(self, why: str) -> None:
        """Note why there are no rows."""
        self._refused = why

    def add(self, shapes: Shapes, ledger: Ledger, states: frozenset[str]) -> None:
        """Note a batch that was counted.

        Args:
            shapes: what the model was called with, on ``meta``.
            ledger: all that was counted so far.
            states: names of buffers that are states, not weights.
        """
        if self._steps is None:
            return
        key = _key(shapes)
        if key in self._batches:
            self._batches[key].number += 1
        else:
            rows = ledger.rows
            macs = _macs(rows) - self._macs
            self._batches[key] = _Batches(shapes, _folded(rows), macs, states)

    def later(self) -> Once[Ann]:
        """Return what counts the batches noted so far as an ANN, when it is called.

        That is done now, where the model was called with what may change until then.
        """
        batches = tuple(map(replace, self._batches.values()))
        counted = Once(partial(self._counted, batches))
        if not all(isinstance(leaf, _STAYS) for leaf in tree_leaves([b.shapes for b in batches])):
            counted()
        return counted

    def _counted(self, batches: Sequence[_Batches]) -> Ann:
        if self._steps is None:
            return Ann(None)
        if self._refused or self._shadow is None:
            return _without(self._refused or self._why_not)
        ledger = Ledger()
        for each in batches:
            work = partial(
                one_step,
                *(self._shadow.twin(), *each.shapes, self._steps, self._batch_dim),
                *(each.folded, self._find, each.states, self._by_calls),
            )
            rows, why = plainly(work)
            if not why and self._steps > 1 and _macs(row for row, _ in rows) >= each.macs:
                why = "the network does as much with T set to 1; its time-steps are set elsewhere"
            if why:
                return _without(why)
            ledger.begin()
            for row, site in rows:
                ledger.add(row.times(each.number), site)
        return Ann(ledger.rows)


_STAYS = (Tensor, type(None), *shadow.IMMUTABLE)
"""What can be kept of a call; tensors are those without values."""


def _without(why: str) -> Ann:
    return Ann(None, f"E(SNN)/E(ANN) is not available: {why}")


def _macs(rows: Iterable[Row]) -> int:
    return sum(row.dense_mac for row in rows)


def _key(shapes: Shapes) -> tuple[Any, ...]:
    args, kwargs = shapes
    return tuple((t.shape, t.dtype) for t in input_tensors(args, kwargs))


def _folded(rows: tuple[Row, ...]) -> dict[str, str]:
    """Return the modules whose normalisation was folded, and the layers that it was folded into."""
    norms = [row for row in rows if row.kind == "norm"]
    unfolded = {row.path for row in norms if row.mac}
    return {row.path: row.folded or "" for row in norms if row.path not in unfolded}


def one_step(
    stand_in: shadow.Shadow,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    steps: int,
    batch_dim: int,
    folded: Mapping[str, str],
    find: Find = find,
    states: frozenset[str] = frozenset(),
    by_calls: bool = False,
) -> tuple[Counted, str]:
    """Return the rows of one time-step on inputs of the given shapes, with MACs alone.

    T is set to 1 where it is: the model's attribute ``T``, or the first dimension of the input
    (with ``batch_dim=1``). Normalisations cost what they did in the SNN: nothing if folded.

    Args:
        stand_in: a shadow of the network.
        args, kwargs: what it was called with, on ``meta``.
        steps: T.
        batch_dim: of the first tensor.
        folded: the modules whose normalisation was folded, and the layers it was folded into.
        find: gives the rule of an operator.
        states: names of buffers that are states, not weights.
        by_calls: the call is one time-step as it is.

    Returns:
        the rows of the whole batch; and why there are none, if they cannot be known.
    """
    copy = stand_in.module
    first = input_tensors(args, kwargs)[0]
    has_time = not by_calls and batch_dim % first.dim() == 1
    if has_time:
        args, kwargs = tree_map(lambda leaf: leaf[:1] if leaf is first else leaf, (args, kwargs))
    try:
        if not by_calls and isinstance(getattr(copy, "T", None), int):
            setattr(copy, "T", 1)  # noqa: B010 (nn.Module types its attributes as tensors)
        elif not has_time and steps > 1:
            return (), (
                "T is neither an attribute of the model nor the first dimension of its input "
                "(with batch_dim=1)"
            )
        for module in copy.modules():
            if isinstance(module, shadow.SilentNeuron):
                module.silent_signal = ANALOG  # as the activations of an ANN are
        ledger = Ledger()
        signals = [ANALOG] * len(input_tensors(args, kwargs))
        follow(
            stand_in,
            lambda observer: observer.run(args, kwargs, signals),
            ledger,
            Settings(find=find, states=states),
        )
    except Exception as error:  # a model may do anything that is impossible without values
        return (), f"one step could not be traced: {first_line(error)}"
    rows = (_of_ann(row, folded) for row in ledger.rows)
    return tuple(zip(rows, ledger.keys, strict=True)), ""


def _of_ann(row: Row, folded: Mapping[str, str]) -> Row:
    """Return a row of one time-step, as the ANN has it; ``folded`` is as `one_step` takes it."""
    if row.kind == "norm":
        row = replace(row, mac=row.dense, folded=None, note="")
        return row.folded_into(folded[row.path], "") if row.path in folded else row
    drives = tuple(Drive(_ANALOG, drive.numel) for drive in row.drives)
    kept = row.written if row.kind != "neuron" else 0  # its neurons keep nothing
    return replace(row, drives=drives, unnormalised=(), written=kept)


_ANALOG = ValueEvidence(analog=True)
