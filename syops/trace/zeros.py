"""Count the zeros among inputs, weights and activations of modules, with hooks on all modules.

Nothing is written onto the model: the hooks are global, and gone afterwards. What is counted is

* of layers (`LAYERS`) the pairs of an input and a weight that meet, and those in which neither is
  zero. Of a convolution on a batch that is one convolution of two sums: of the non-zero inputs of
  all samples, with the non-zero weights of all output channels;
* of neurons, and of modules in `torch.nn.modules.activation`, the outputs that are not zero;
* of neurons that make one time-step a call and keep a membrane potential in an attribute, the
  potentials that the call changed; at the first call of a batch, all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from syops._torch import unwatched
from syops.ledger.zeros import ZeroCounts, Zeros
from syops.ops.rule import tensors_in
from syops.trace.neurons import library_of, state_tensors, updating
from syops.trace.paths import paths_of

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LAYERS = (nn.Linear, *CONVOLUTIONS, *TRANSPOSED)
RECURRENT = (nn.RNNBase, nn.RNNCellBase)
"""Layers whose weights are looked at, but not what they do."""

_POTENTIALS = ("mem", "v", "v_mem")
"""What libraries call a membrane potential."""

_NO_ACTIVATIONS = (nn.MultiheadAttention, nn.Softmax, nn.Softmin, nn.LogSoftmax, nn.Softmax2d)


def pairs(
    layer: nn.Module, inputs: Tensor, weights: Tensor, output: Tensor, *, repeats: bool = True
) -> Tensor:
    """Return how many pairs of an input and a weight a layer multiplies.

    Args:
        layer: one of `LAYERS`.
        inputs: what it was called with: whether an input counts.
        weights: whether a weight counts.
        output: what it returned, whose shape is wanted.
        repeats: padding that repeats inputs lets them meet more weights; else it is of zeros.
    """
    if isinstance(layer, nn.Linear):
        return (inputs.reshape(-1, inputs.shape[-1]).sum(0) * weights.sum(0)).sum()
    assert isinstance(layer, CONVOLUTIONS + TRANSPOSED)
    dims, groups = weights.dim() - 2, layer.groups
    channels = inputs.shape[-dims - 1 :]
    x = inputs.reshape(-1, *channels).sum(0, keepdim=True).to(torch.float64)
    if isinstance(layer, TRANSPOSED):
        w = weights.sum(1, keepdim=True).to(torch.float64)
        return _transposed(layer, x, w, output).sum()
    w = weights.reshape(groups, -1, *weights.shape[1:]).sum(1).to(torch.float64)
    padding: Any = layer.padding
    if repeats and layer.padding_mode != "zeros":
        x, padding = F.pad(x, _sides(layer), mode=layer.padding_mode), 0
    convolve = (F.conv1d, F.conv2d, F.conv3d)[dims - 1]
    return convolve(x, w, None, layer.stride, padding, layer.dilation, groups).sum()


def _sides(layer: Any) -> list[int]:
    """Return how far each side is padded, from the last dimension on, as `F.pad` takes it."""
    sides: list[int] = []
    for dim in reversed(range(len(layer.kernel_size))):
        if layer.padding == "same":
            whole = layer.dilation[dim] * (layer.kernel_size[dim] - 1)
            sides += [whole // 2, whole - whole // 2]
        else:
            sides += [0, 0] if layer.padding == "valid" else [layer.padding[dim]] * 2
    return sides


def _transposed(layer: Any, x: Tensor, w: Tensor, output: Tensor) -> Tensor:
    dims = w.dim() - 2
    reached = [
        (x.shape[2 + i] - 1) * layer.stride[i]
        - 2 * layer.padding[i]
        + layer.dilation[i] * (layer.kernel_size[i] - 1)
        + 1
        for i in range(dims)
    ]
    beyond = [size - least for size, least in zip(output.shape[-dims:], reached, strict=True)]
    convolve: Callable[..., Tensor] = (
        F.conv_transpose1d,
        F.conv_transpose2d,
        F.conv_transpose3d,
    )[dims - 1]
    return convolve(x, w, None, layer.stride, layer.padding, beyond, layer.groups, layer.dilation)


def is_spiking(x: Tensor) -> Tensor:
    """Return whether all values are -1, 0 or 1."""
    return ((x == 0) | (x.abs() == 1)).all()


@dataclass
class _Reading:
    """What one call of a module left on the device."""

    module: nn.Module
    of_layer: bool
    values: int
    numbers: Sequence[Tensor] = ()
    potentials: int | None = None
    changed: Tensor | None = None

    def counts(self, path: str, is_first: bool) -> Zeros:
        """Return what was counted; ``is_first``: it is the module's first call of a batch."""
        numbers, name = [int(number) for number in self.numbers], type(self.module).__name__
        if self.of_layer:
            nonzero, dense, effective, spiking = numbers
            counts = 1, self.values, nonzero, dense, effective, effective * spiking
            return Zeros(path, name, "layer", *counts)
        found = Zeros(path, name, "activation", 1, self.values, *numbers)
        if self.potentials is None:
            return found
        changed = None if is_first or self.changed is None else int(self.changed)
        return replace(found, updates=self.potentials if changed is None else changed, timed=1)


@dataclass
class ZeroWatch:
    """Watch the modules of a network while it is entered.

    Args:
        model: the network.
    """

    model: nn.Module
    _calls: list[list[_Reading]] = field(default_factory=list)
    _before: dict[int, Tensor | None] = field(default_factory=dict)
    _handles: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._samples = 0
        self._dense: dict[Any, Tensor] = {}
        self._sums: dict[tuple[str, str], Zeros] = {}
        self._paths = paths_of(self.model)
        self._neurons = {m for m in self._paths if library_of(m) or updating(m)}
        states = {
            id(state)
            for neuron in self._neurons
            for state in state_tensors(library_of(neuron), neuron)
        }
        self.footprint = sum(
            tensor.numel() * tensor.element_size()
            for tensor in (*self.model.parameters(), *self.model.buffers())
            if id(tensor) not in states
        )
        inside = tuple(f"{self._paths[m]}." for m in self._neurons if self._paths[m])
        self._activations = {
            module
            for module, path in self._paths.items()
            if not path.startswith(inside) and (module in self._neurons or _is_activation(module))
        }
        self._sums |= {
            (path, "layer"): Zeros(path, type(module).__name__, "layer", **_weights(module))
            for module, path in self._paths.items()
            if isinstance(module, LAYERS + RECURRENT)
        }
        self._sums |= {
            (path, "activation"): Zeros(path, type(module).__name__, "activation")
            for module, path in self._paths.items()
            if module in self._activations
        }

    def __enter__(self) -> None:
        self._handles = [
            register_module_forward_pre_hook(self._entered),
            register_module_forward_hook(self._left),
        ]

    def __exit__(self, *raised: object) -> None:
        for handle in self._handles:
            handle.remove()

    @property
    def counts(self) -> ZeroCounts:
        """What was counted in all batches that are complete."""
        order = {path: place for place, path in enumerate(self._paths.values())}
        modules = sorted(self._sums.values(), key=lambda each: order[each.path])
        return ZeroCounts(self.footprint, self._samples, tuple(modules))

    def complete(self, calls: int, samples: int) -> None:
        """Take in a batch, in which the network was last called so often, once for each step."""
        self._samples += samples
        readings = [each for call in self._calls[-calls:] for each in call]
        self._calls.clear()
        self._before.clear()
        met: set[nn.Module] = set()
        for each in readings:
            is_first = each.module not in met
            met.add(each.module)
            found = each.counts(self._paths[each.module], is_first)
            key = found.path, found.kind
            self._sums[key] = self._sums[key] + found if key in self._sums else found

    def _entered(self, module: nn.Module, args: Any) -> None:
        if module is self.model:
            self._calls.append([])
        if module in self._neurons and module in self._activations:
            with unwatched():
                now = _potential(module)
                self._before[id(module)] = None if now is None else now.clone()

    def _left(self, module: nn.Module, args: Any, output: Any) -> None:
        is_layer = isinstance(module, LAYERS)
        if not self._calls or module not in self._paths:
            return
        if not (is_layer or module in self._activations):
            return
        with unwatched(), torch.no_grad():
            tensors = tensors_in(tuple(args))
            if is_layer and tensors and isinstance(output, Tensor):
                self._calls[-1].append(self._of_layer(module, tensors[0], output))
            elif not is_layer:
                sent = tensors_in((output,))
                if sent:
                    self._calls[-1].append(self._of_activation(module, tensors, sent[0]))

    def _of_layer(self, layer: nn.Module, x: Tensor, output: Tensor) -> _Reading:
        weight = layer.weight
        assert isinstance(weight, Tensor)
        some, weights, key = x != 0, weight != 0, (layer, x.shape, output.shape)
        if key not in self._dense:
            everything = torch.ones_like(some), torch.ones_like(weights)
            self._dense[key] = pairs(layer, *everything, output)
        numbers = some.sum(), self._dense[key], pairs(layer, some, weights, output), is_spiking(x)
        return _Reading(layer, True, x.numel(), numbers)

    def _of_activation(self, module: nn.Module, given: Sequence[Tensor], sent: Tensor) -> _Reading:
        reading = _Reading(module, False, sent.numel(), (sent.count_nonzero(),))
        library = updating(module)
        if module not in self._neurons or library is None or not given:
            return reading
        now, steps = _potential(module), library.layout(module, given[0])[0]
        if now is None or steps != 1:
            return reading
        reading.potentials = now.numel()
        before = self._before.get(id(module))
        if before is not None and before.shape == now.shape:
            reading.changed = (before != now).sum()
        return reading


def _potential(neuron: nn.Module) -> Tensor | None:
    """Return the membrane potential that a neuron keeps, if it does."""
    library = library_of(neuron)
    states = {} if library is None else library.states(neuron)
    found = [states.get(name) for name in _POTENTIALS]
    return next((value for value in found if isinstance(value, Tensor)), None)


def _is_activation(module: nn.Module) -> bool:
    kinds = type(module).__mro__
    known = any(kind.__module__ == "torch.nn.modules.activation" for kind in kinds)
    return known and not isinstance(module, _NO_ACTIVATIONS)


def _weights(module: nn.Module) -> dict[str, int]:
    """Return how many weights a layer has, and how many of them are zero."""
    recurrent = isinstance(module, RECURRENT)
    tensors: Any = list(module.parameters()) if recurrent else [module.weight]
    if any(isinstance(each, nn.UninitializedParameter) for each in tensors):
        return {}
    return {
        "weights": sum(math.prod(each.shape) for each in tensors),
        "zero_weights": sum(int((each == 0).sum()) for each in tensors),
    }
