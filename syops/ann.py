"""The same network as an ANN, for Eq. (6): one time-step, every synaptic operation a MAC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from syops import shadow
from syops.errors import first_line
from syops.frameworks import NeuronSignal
from syops.ledger import Ledger
from syops.rules import Call, Normalisation, Product, find
from syops.rules.base import tensors_in
from syops.signals import ANALOG, Atoms, Signal


class AnnMacs:
    """Adds up the MACs of the ANN over batches, traced once for each shape of batch.

    ``total`` is None where it cannot be known, and ``note`` says why.

    Args:
        model: the network.
        steps: T, None where it is not known.
        batch_dim: of the first tensor.
        neurons: signals of neuron classes beside those that are known.
    """

    def __init__(
        self,
        model: nn.Module,
        steps: int | None,
        batch_dim: int,
        neurons: Mapping[type, NeuronSignal],
    ) -> None:
        self._model = model
        self._steps = steps
        self._batch_dim = batch_dim
        self._neurons = neurons
        self._by_shape: dict[tuple[Any, ...], int] = {}
        self._snn_macs = 0
        self._shadow: nn.Module | None = None
        self.total: int | None = None if steps is None else 0
        self.note = ""

    def prepare(self, shapes: Shapes) -> None:
        """Copy the model, its states being fresh, if a batch of new shapes will need it."""
        if self.total is None or _key(shapes) in self._by_shape:
            return
        try:
            self._shadow = shadow.shadow(self._model, self._neurons)
        except Exception as error:  # whatever an attribute raises that cannot be copied
            self._give_up(f"the model cannot be copied: {first_line(error)}")

    def add(self, shapes: Shapes, ledger: Ledger) -> None:
        """A batch was counted: ``shapes`` is what the model was called with, on ``meta``."""
        if self.total is None or self._steps is None:
            return
        rows = ledger.rows
        before, self._snn_macs = self._snn_macs, sum(row.dense_mac for row in rows)
        key = _key(shapes)
        if self._shadow is not None:
            unfolded = {row.path for row in rows if row.kind == "norm" and row.mac}
            copied, self._shadow = self._shadow, None
            macs, why = one_step_macs(copied, *shapes, self._steps, self._batch_dim, unfolded)
            if macs is not None and self._steps > 1 and macs >= self._snn_macs - before:
                macs = None
                why = "the network does as much with T set to 1; its time-steps are set elsewhere"
            if macs is None:
                self._give_up(why)
                return
            self._by_shape[key] = macs
        self.total += self._by_shape[key]

    def _give_up(self, why: str) -> None:
        self.total, self.note = None, f"E(SNN)/E(ANN) is not available: {why}"


Shapes = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments on ``meta``."""


def _key(shapes: Shapes) -> tuple[Any, ...]:
    args, kwargs = shapes
    return tuple((t.shape, t.dtype) for t in tensors_in((*args, *kwargs.values())))


def one_step_macs(
    copy: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    steps: int,
    batch_dim: int,
    unfolded: set[str],
) -> tuple[int | None, str]:
    """MACs of one time-step on inputs of the given shapes.

    T is set to 1 where it is: the model's attribute ``T``, or the first dimension of the input
    (with ``batch_dim=1``). Normalisations cost what they did in the SNN: nothing if folded.

    Args:
        copy: a shadow of the network, its neurons reset.
        args, kwargs: what it was called with, on ``meta``.
        steps: T.
        batch_dim: of the first tensor.
        unfolded: the normalisations that could not be folded.

    Returns:
        the MACs of the whole batch, or None; and why there are none.
    """
    first = tensors_in((*args, *kwargs.values()))[0]
    has_time = batch_dim % first.dim() == 1
    if has_time:
        args, kwargs = tree_map(lambda leaf: leaf[:1] if leaf is first else leaf, (args, kwargs))
    try:
        if isinstance(getattr(copy, "T", None), int):
            setattr(copy, "T", 1)  # noqa: B010 (nn.Module types its attributes as tensors)
        elif not has_time and steps > 1:
            return None, (
                "T is neither an attribute of the model nor the first dimension of its input "
                "(with batch_dim=1)"
            )
        with torch.random.fork_rng(devices=()), _DenseCount(copy, unfolded) as count:
            copy(*args, **kwargs)
    except Exception as error:  # a model may do anything that is impossible without values
        return None, f"one step could not be traced: {first_line(error)}"
    return count.macs, ""


class _DenseCount(TorchDispatchMode):
    """Adds up the dense counts of what a model on ``meta`` does."""

    def __init__(self, model: nn.Module, unfolded: set[str]) -> None:
        super().__init__()
        self.macs = 0
        self._unfolded = unfolded
        self._where: list[str] = []
        for path, module in model.named_modules():
            self._follow(path, module)

    def _follow(self, path: str, module: nn.Module) -> None:
        def enter(*_: Any) -> None:
            self._where.append(path)

        def leave(*_: Any) -> None:
            self._where.pop()

        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        rule = find(func)
        if rule is None:
            with self:
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        out = shadow.call(func, args, kwargs)
        if rule is not None and rule.counted:
            operands = tensors_in((*args, *kwargs.values()))
            signals: dict[int, Signal] = {id(tensor): ANALOG for tensor in operands}
            call = Call(func, args, kwargs, out, operands, signals, Atoms(), lambda _: "")
            for cost in rule.cost(call):
                self._add(cost)
        return out

    def _add(self, cost: Any) -> None:
        match cost:
            case Product():
                self.macs += cost.dense
            case Normalisation() if self._where[-1] in self._unfolded:
                self.macs += 2 * cost.elements
