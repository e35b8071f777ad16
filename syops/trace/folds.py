"""Note which results of layers there are, and what reads them.

What can be folded is decided when the pass is over; see `syops.trace.foldable`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from syops._torch import parameters_of, tree_map, version_of
from syops.ops.rule import Call, Kernel, Normalisation, Operand, Product, Rule, tensors_in
from syops.ops.values import LEARNED
from syops.trace.aliasing import storage_of
from syops.trace.lineage import (
    LayerKey,
    LayerResult,
    LayerTrail,
    ResultView,
    Slots,
    Unnormalised,
    Use,
)
from syops.trace.live import Tensors
from syops.trace.paths import Paths
from syops.trace.record import Record
from syops.trace.weights import RECURRENT, applies_its_weights


class Folds:
    """Note results of layers in one forward pass, and what reads them.

    Args:
        tensors: what is known of the live tensors.
        where: the modules that are being run, with their paths; the innermost one is the last.
        paths: of all modules.

    Attributes:
        provenance: the results, and the weights that something else reads.
        unnormalised: what a norm read, by its result.
    """

    def __init__(
        self, tensors: Tensors, where: Sequence[tuple[str, nn.Module]], paths: Paths
    ) -> None:
        self.provenance = LayerTrail()
        self.unnormalised: Any = WeakIdKeyDictionary()  # Tensor: Unnormalised
        self._tensors = tensors
        self._where = where
        self._caller = where[0]
        self._paths = paths

    def result_of(self, cost: Product, call: Call) -> Made | None:
        """Return what a product with weights gives."""
        if len(cost.operands) != 1:
            return None
        path, module = self._where[-1]
        layer, slots = self._layer_of(cost, call)
        if layer is None and cost.channel is None:
            return None
        (operand,), kernel = cost.operands, cost.kernel
        parts = frozenset[str]()
        reads = None
        if layer is not None and kernel is not None and cost.applied is not None:
            weights = (cost.applied, kernel.bias)
            parts = parts.union(*(self._tensors.parts(w) for w in weights if w is not None))
            shifts = slots is None or bool(slots.bias)
            # A recurrent layer may go step by step or not, and add its bias apart or not.
            if shifts and kernel.even and not isinstance(module, RECURRENT):
                reads = self._read_by(operand)
        result = self.provenance.add(LayerResult(layer, path, parts, slots, reads))
        if cost.channel is None:
            result.uses.append(Use(cost.operator))
            return Made(result, operand.tensor)
        channels = call.out.shape[cost.channel]
        return Made(result, operand.tensor, ResultView((result,), cost.channel, channels))

    def before(self, made: Made | None) -> Unnormalised | None:
        """Return what a layer reads with the norm before it folded into it, if that may differ."""
        if made is None or made.result.reads is None:
            return None
        return self.unnormalised.get(made.read)

    def _layer_of(self, cost: Product, call: Call) -> tuple[LayerKey | None, Slots | None]:
        """Return the layer whose weights a product applies, if they can be changed."""
        kernel, applied = cost.kernel, cost.applied
        if kernel is None or applied is None or call.signal(applied) is not LEARNED:
            return None, None
        _, module = self._where[-1]
        path = self._paths.first(module)
        if (
            applies_its_weights(module)
            and self._is_own(module, "weight", applied)
            and (self._is_own(module, "bias", kernel.bias) or _adds_bias_apart(module, kernel))
        ):
            return LayerKey(path), None
        slots = self._slots_of(cost.weight, applied, kernel)
        return (LayerKey(path, cost.weight) if slots else None), slots

    def _is_own(self, module: nn.Module, name: str, tensor: Tensor | None) -> bool:
        """Return whether a tensor is a module's parameter of that name, or what is made of it."""
        parameters = parameters_of(module)
        if name not in parameters:
            return tensor is not None
        own = parameters[name]
        if own is None or tensor is None:
            return own is tensor
        return self._tensors.name(tensor) == self._tensors.name(own) != ""

    def _slots_of(self, name: str, applied: Tensor, kernel: Kernel) -> Slots | None:
        """Return where the weights of a function lie; None if they are not a whole parameter."""
        weight = self._tensors.weight(name) if name else None
        if weight is None or storage_of(weight) != storage_of(applied):
            return None
        if weight.layout != torch.strided:
            return None
        bias = ""
        if kernel.bias is not None:
            bias = self._tensors.name(kernel.bias)
            if not bias or self._tensors.weight(bias) is None:
                return None
        outputs, inputs = (_place(weight, applied, d) for d in (kernel.outputs, kernel.inputs))
        if outputs is None or inputs is None:
            return None
        return Slots(outputs, inputs, kernel.groups, kernel.transposed, bias)

    def _read_by(self, operand: Operand) -> ResultView | None:
        """Return the results that a product reads, where these can be folded into its weights."""
        record = self._tensors.find(operand.tensor)
        view = record.view if record else None
        if view is None or operand.channel != view.dim or view.biases:
            return None
        if any(result.of_other for result in view.results):
            before = self.unnormalised.get(operand.tensor)
            if before is None or before.is_stale:
                return None
        return view

    def normalised(self, cost: Normalisation, call: Call) -> Made | None:
        """Return what a BatchNorm gives that is a scale and a shift for each channel."""
        path, module = self._where[-1]
        learned = (tensor for tensor in call.tensors if tensor is not cost.input)
        if not (
            cost.affine
            and applies_its_weights(module)
            and all(call.signal(tensor) is LEARNED for tensor in learned)
        ):
            return None
        x, (out, *_) = cost.input, call.outputs
        record = self._tensors.find(x)
        view = record.view if record else None
        fits = view is not None and (view.dim, view.inner, view.channels) == (1, 1, x.shape[1])
        parts = frozenset[str]().union(
            *(self._tensors.parts(tensor) for tensor in call.tensors if tensor is not x)
        )
        layer = LayerKey(self._paths.first(module), is_norm=True)
        result = LayerResult(layer, path, parts, reads=view if fits else None, dims=x.dim())
        before = self.unnormalised.get(x)
        if before is None and result.reads is None:
            before = Unnormalised(layer, x)
        if before is not None:
            result.of_other = True
            self.unnormalised[out] = before
        return Made(self.provenance.add(result), x, ResultView((result,), 1, x.shape[1]))

    def move_unnormalised(
        self,
        rule: Rule,
        call: Call,
        outputs: Sequence[Tensor],
        watched: AbstractContextManager[Any],
    ) -> None:
        """Move what a norm read as its result is moved: a layer after both may get it instead.

        ``watched``: what makes the records of its results.
        """
        before = [self.unnormalised.get(tensor) for tensor in call.tensors]
        if any(each is None or each.is_stale or each.norm != before[0].norm for each in before):
            return
        inputs = {id(t): each.tensor for t, each in zip(call.tensors, before, strict=True)}
        args = tree_map(lambda leaf: inputs.get(id(leaf), leaf), call.args)
        with watched:
            # What a norm read need not lie in memory as a view of its result asks for.
            if rule.in_order and storage_of(call.out) == storage_of(call.args[0]):
                moved = args[0].reshape(call.out.shape)
            else:
                moved = call.func(*args, **call.kwargs)
        for out, tensor in zip(outputs, tensors_in((moved,)), strict=True):
            # Inside the dispatcher a view gets no part in the version counter of its base.
            self._tensors.latest(tensor).version = version_of(tensor)
            read = tuple(source for each in before for source in each.read)
            self.unnormalised[out] = Unnormalised(before[0].norm, tensor, read)

    def bias_added(
        self, call: Call, records: Sequence[tuple[Tensor, Record | None]]
    ) -> ResultView | None:
        """Return the view of a result that a learned value for each channel was added to.

        The addition costs nothing once it is folded, and is not a use of the result.
        """
        if len(records) != 2 or call.kwargs:
            return None
        (result, record), (bias, _) = records
        view = record.view if record else None
        if view is None or view.inner > 1 or call.signal(bias) is not LEARNED:
            return None
        shape = (1,) * (result.dim() - bias.dim()) + tuple(bias.shape)
        per_channel = len(shape) == result.dim() and all(
            size == (result.shape[dim] if dim == view.dim else 1) for dim, size in enumerate(shape)
        )
        if not per_channel:
            return None
        _, module = self._where[-1]
        own = LayerKey(self._paths.first(module))
        if isinstance(module, nn.Linear) and all(each.layer == own for each in view.results):
            return view
        self.read_weights([bias])
        return replace(view, biases=(*view.biases, self._tensors.name(bias)))

    def take(self, tensor: Tensor, what: str) -> None:
        """Note that something that is not a layer takes a tensor."""
        record = self._tensors.find(tensor)
        if record is not None:
            record.use(what)
        self.read_weights([tensor])

    def read_weights(self, tensors: Iterable[Tensor], returned: bool = False) -> None:
        """Note that something else than their layer reads weights among these tensors.

        Code that calls the model, such as an optimizer, is not part of what is folded, but for what
        the model has ``returned`` to it.
        """
        if self._where[-1] is self._caller and not returned:
            return
        for tensor in tensors:
            if self._tensors.signal(tensor) is LEARNED:
                self.provenance.read |= self._tensors.parts(tensor)


@dataclass(frozen=True, slots=True)
class Made:
    """Say what a cost gave: its result, what that read, and what is handed on of it.

    A product of two activations reads nothing that could be folded into it.
    """

    result: LayerResult
    read: Tensor | None = None
    view: ResultView | None = None


def _adds_bias_apart(module: nn.Module, kernel: Kernel) -> bool:
    """Return whether a linear layer applies its weights first, as to transposed inputs."""
    return isinstance(module, nn.Linear) and kernel.bias is None


def _place(weight: Tensor, applied: Tensor, dim: int) -> int | None:
    """Return the dimension of a parameter that is a dimension of a view of it."""
    if (weight.shape, weight.stride()) == (applied.shape, applied.stride()):
        return dim
    shape = applied.shape[dim], applied.stride(dim)
    places = zip(weight.shape, weight.stride(), strict=True)
    return next((place for place, known in enumerate(places) if known == shape), None)
