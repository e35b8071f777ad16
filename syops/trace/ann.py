"""The same network as an ANN, for Eq. (6): one time-step, every synaptic operation a MAC."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from syops._torch import tree_map
from syops.errors import first_line
from syops.ledger.rows import Drive, Ledger, Row
from syops.ops.registry import Find, find
from syops.ops.rule import input_tensors
from syops.ops.values import ANALOG, Evidence
from syops.trace import meta as shadow
from syops.trace.bounds import follow
from syops.trace.neurons import NeuronSignal
from syops.trace.settings import Settings

Counted = tuple[tuple[Row, Hashable], ...]
"""The rows of a call, each with what tells it from the others."""


class AnnCounts:
    """Adds up the rows of the ANN over batches, traced once for each shape of batch.

    ``rows`` are None where they cannot be known, and ``note`` says why.

    Args:
        model: the network.
        steps: T, None where it is not known.
        batch_dim: of the first tensor.
        neurons: signals of neuron classes beside those that are known.
        find: gives the rule of an operator.
    """

    def __init__(
        self,
        model: nn.Module,
        steps: int | None,
        batch_dim: int,
        neurons: Mapping[type, NeuronSignal],
        find: Find = find,
    ) -> None:
        self._model = model
        self._find = find
        self._steps = steps
        self._batch_dim = batch_dim
        self._neurons = neurons
        self._by_shape: dict[tuple[Any, ...], Counted] = {}
        self._ledger: Ledger | None = None if steps is None else Ledger()
        self._snn_macs = 0
        self._shadow: shadow.Shadow | None = None
        self.note = ""

    @property
    def rows(self) -> tuple[Row, ...] | None:
        return None if self._ledger is None else self._ledger.rows

    def prepare(self, shapes: Shapes) -> None:
        """Copy the model before it runs, if a batch of new shapes will need the copy."""
        if self._ledger is None or _key(shapes) in self._by_shape:
            return
        try:
            self._shadow = shadow.Shadow(self._model, self._neurons)
        except Exception as error:  # whatever an attribute raises that cannot be copied
            self._give_up(f"the model cannot be copied: {first_line(error)}")

    def add(self, shapes: Shapes, ledger: Ledger, states: frozenset[str]) -> None:
        """A batch was counted.

        Args:
            shapes: what the model was called with, on ``meta``.
            ledger: all that was counted.
            states: names of buffers that are states, not weights.
        """
        if self._ledger is None or self._steps is None:
            return
        rows = ledger.rows
        before, self._snn_macs = self._snn_macs, sum(row.dense_mac for row in rows)
        key = _key(shapes)
        if self._shadow is not None:
            copied, self._shadow = self._shadow, None
            counted, why = one_step(
                copied, *shapes, self._steps, self._batch_dim, _folded(rows), self._find, states
            )
            macs = sum(row.dense_mac for row, _ in counted)
            if not why and self._steps > 1 and macs >= self._snn_macs - before:
                why = "the network does as much with T set to 1; its time-steps are set elsewhere"
            if why:
                self._give_up(why)
                return
            self._by_shape[key] = counted
        for row, site in self._by_shape[key]:
            self._ledger.add(row, site)

    def _give_up(self, why: str) -> None:
        self._ledger, self.note = None, f"E(SNN)/E(ANN) is not available: {why}"


Shapes = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments on ``meta``."""


def _key(shapes: Shapes) -> tuple[Any, ...]:
    args, kwargs = shapes
    return tuple((t.shape, t.dtype) for t in input_tensors(args, kwargs))


def _folded(rows: tuple[Row, ...]) -> dict[str, str]:
    """The modules whose normalisation was folded, and the layers that it was folded into."""
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
) -> tuple[Counted, str]:
    """The rows of one time-step on inputs of the given shapes, every synaptic operation a MAC.

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

    Returns:
        the rows of the whole batch; and why there are none, if they cannot be known.
    """
    copy = stand_in.module
    first = input_tensors(args, kwargs)[0]
    has_time = batch_dim % first.dim() == 1
    if has_time:
        args, kwargs = tree_map(lambda leaf: leaf[:1] if leaf is first else leaf, (args, kwargs))
    try:
        if isinstance(getattr(copy, "T", None), int):
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
            is_lent=True,
        )
    except Exception as error:  # a model may do anything that is impossible without values
        return (), f"one step could not be traced: {first_line(error)}"
    rows = (_of_ann(row, folded) for row in ledger.rows)
    return tuple(zip(rows, ledger.keys, strict=True)), ""


def _of_ann(row: Row, folded: Mapping[str, str]) -> Row:
    """A row of one time-step, as the ANN has it; ``folded`` is as `one_step` takes it."""
    if row.kind == "norm":
        row = replace(row, mac=row.dense, folded=None, note="")
        return row.folded_into(folded[row.path], "") if row.path in folded else row
    drives = tuple(Drive(_ANALOG, drive.numel) for drive in row.drives)
    kept = row.written if row.kind != "neuron" else 0  # its neurons keep nothing
    return replace(row, drives=drives, unnormalised=(), written=kept)


_ANALOG = Evidence(analog=True)
