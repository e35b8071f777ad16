"""The same network as an ANN, for Eq. (6): one time-step, every synaptic operation a MAC."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Set
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from syops import shadow
from syops.charging import call_site, neuron_row, row_of
from syops.errors import first_line
from syops.ledger import Drive, Ledger, Row
from syops.neurons import NeuronSignal
from syops.neurons.spikingjelly import decomposed
from syops.paths import Paths
from syops.rules import Call, Cost, Free, Normalisation, Product, Tally, find
from syops.rules.base import input_tensors, tensors_in
from syops.rules.registry import PARTS, Find
from syops.signals import ANALOG, LEARNED, Atoms, Evidence, Signal
from syops.tensors import storage_of, weights_of

Counted = tuple[tuple[Row, Hashable], ...]
"""The rows of a call, each with its call site."""


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

    def add(self, shapes: Shapes, ledger: Ledger, states: Set[str]) -> None:
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
    states: Set[str] = frozenset(),
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
        count = _DenseCount(copy, folded, find, states)

        def watched() -> None:
            with count:
                copy(*args, **kwargs)

        stand_in.run(watched)
    except Exception as error:  # a model may do anything that is impossible without values
        return (), f"one step could not be traced: {first_line(error)}"
    return tuple(count.rows), ""


class _DenseCount(TorchDispatchMode):
    """Collects the dense counts of what a model on ``meta`` does.

    Of signals it knows only which tensors are weights: those that lie where a parameter or a
    buffer lies, or were made of such tensors alone.
    """

    def __init__(
        self, model: nn.Module, folded: Mapping[str, str], find: Find, states: Set[str]
    ) -> None:
        super().__init__()
        self._find = find
        self.rows: list[tuple[Row, Hashable]] = []
        self._folded = folded
        self._where: list[tuple[str, nn.Module]] = [("", model)]
        self._paths = Paths(model)
        self._weights: dict[int, tuple[str, Tensor]] = {}
        self._params: dict[int, int] = {}
        for name, tensor in weights_of(model).items():
            if name not in states:
                self._weights.setdefault(storage_of(tensor), (name, tensor))
        for module in model.modules():
            silent = isinstance(module, shadow.SilentNeuron)
            own = module.parameters() if silent else module._parameters.values()
            self._params[id(module)] = sum(p.numel() for p in own if p is not None)
            module.register_forward_pre_hook(self._enter)
            module.register_forward_hook(self._leave)

    def _enter(self, module: nn.Module, args: Any) -> None:
        self._where.append((self._paths.of(module, *self._where[-1]), module))

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        path, _ = self._where.pop()
        if isinstance(module, shadow.SilentNeuron):
            params = self._params.pop(id(module), 0)
            # An ANN's neurons keep nothing.
            row = neuron_row(path, type(module).__name__, params, output, states=0)
            self.rows.append((row, None))

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        rule = self._find(func)
        if rule is None or rule is PARTS:
            with self:
                out = decomposed(func, args, kwargs)
            if out is not NotImplemented:
                return out
        out = shadow.call(func, args, kwargs)
        operands = tensors_in((*args, *kwargs.values()))
        learned = [storage_of(tensor) in self._weights for tensor in operands]
        if any(learned):
            self._follow_weights(func, all(learned), out)
        if rule is not None and not isinstance(rule.cost, Free):
            signals: dict[int, Signal] = {
                id(tensor): LEARNED if is_weight else ANALOG
                for tensor, is_weight in zip(operands, learned, strict=True)
            }
            call = Call(func, args, kwargs, out, operands, signals, Atoms(), self._name)
            prepared = bool(operands) and all(learned)
            for cost in rule.cost(call):
                if not (prepared and isinstance(cost, Product)):
                    self._add(cost, out)
        return out

    def _follow_weights(self, func: Any, alone: bool, out: Any) -> None:
        """What is made of weights alone are weights; a buffer that is written into is a state."""
        for tensor in tensors_in((out,)):
            if alone:
                self._weights.setdefault(storage_of(tensor), ("", tensor))
            elif func._schema.is_mutable:
                self._weights.pop(storage_of(tensor), None)

    def _name(self, tensor: Tensor) -> str:
        """The parameter that a tensor is, or is all of, moved."""
        name, whole = self._weights.get(storage_of(tensor), ("", tensor))
        return name if whole.numel() == tensor.numel() else ""

    def _add(self, cost: Cost, out: Any) -> None:
        path, module = self._where[-1]
        params = 0 if isinstance(cost, Tally) else self._params.pop(id(module), 0)
        row, site = row_of(cost, path, params, out), call_site()
        if isinstance(cost, Product):
            numels = (operand.tensor.numel() for operand in cost.operands)
            row = replace(row, drives=tuple(Drive(_ANALOG, numel) for numel in numels))
        elif isinstance(cost, Normalisation) and path in self._folded:
            row = row.folded_into(self._folded[path], "")
        self.rows.append((row, site))


_ANALOG = Evidence(analog=True)
