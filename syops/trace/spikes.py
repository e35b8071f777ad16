"""Count the spikes of each neuron, on the device that they are on.

The neurons are the modules of which a library's adapter says so, and those of the classes that the
user declares. Of each is read what its ``forward`` returns first, before any hook runs on it. Sums
are int64 tensors, of the shape of the neurons; nothing waits for the device before `layers` is
asked for.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from syops._torch import unwatched
from syops.ledger.neurons import NeuronLayer
from syops.ops.rule import input_tensors
from syops.ops.values import ANALOG
from syops.trace import counting
from syops.trace.neurons import NeuronSignal, updating
from syops.trace.neurons.library import Library
from syops.trace.paths import paths_of
from syops.trace.watch import inside

_PLAIN: tuple[NeuronSignal, ...] = ((0, 1), (-1, 0, 1))
"""What neurons send whose values need not be looked at."""


@dataclass
class _Sums:
    """What one module sent, in a pass or in all: as of `NeuronLayer`, on the device.

    Attributes:
        samples: the numbers of samples that its calls had.
    """

    calls: int = 0
    entries: int = 0
    spikes: Tensor | int = 0
    graded: Tensor | int = 0
    analog: Tensor | int = 0
    shapes: set[tuple[int, ...]] = field(default_factory=set)
    counts: Tensor | None = None
    entries_by_step: list[int] | None = field(default_factory=list)
    spikes_by_step: list[Tensor] = field(default_factory=list)
    samples: set[int] = field(default_factory=set)

    def forget_neurons(self) -> None:
        """Note that it is not known which neuron sent what."""
        self.shapes, self.counts = set(), None

    def forget_steps(self) -> None:
        """Note that it is not known at which time-step something was sent."""
        self.entries_by_step, self.spikes_by_step = None, []


class Spikes:
    """Count the spikes of each neuron of a network, pass by pass.

    Args:
        model: the network.
        declared: classes that the user calls neurons.
    """

    def __init__(self, model: nn.Module, declared: Mapping[type, NeuronSignal]) -> None:
        self._paths = neurons_of(model, declared)
        self._pass: dict[nn.Module, _Sums] = {}
        self._sums: dict[nn.Module, _Sums] = {}

    @property
    def layers(self) -> tuple[NeuronLayer, ...]:
        """What all passes came to that are complete, in the order of the network."""
        return tuple(
            _read(self._sums.get(module, _Sums()), path, type(module).__name__)
            for module, path in self._paths.items()
        )

    def begin(self) -> None:
        """Begin a pass, and forget one that was not completed."""
        self._pass = {}

    def sent(self, module: nn.Module, signal: NeuronSignal | None, output: Any) -> None:
        """Note what a module returned, if it is a neuron.

        Args:
            module: any of the network's.
            signal: the values that it can send, if that is known.
            output: all that it returned.
        """
        tensors = input_tensors((output,), {}) if module in self._paths else []
        if not tensors:
            return
        sums = self._pass.setdefault(module, _Sums())
        sums.calls += 1
        device = tensors[0].device.type
        # Under autocast, sums would be rounded.
        with unwatched(), torch.no_grad(), torch.autocast(device, enabled=False):
            parts = inside(tensors[0])
            for part in parts or tensors[:1]:
                x = counting.strided(part)
                _add(sums, x, None if parts else _by_step(x, module))
                _look(sums, x, signal)

    def complete(self, samples: int) -> None:
        """End a pass; ``samples``: in it, 0 where that is not known."""
        for module, found in self._pass.items():
            if samples and found.samples != {samples}:
                found.forget_neurons()
            self._sums[module] = _joined(self._sums.get(module), found)
        self._pass = {}


def neurons_of(model: nn.Module, declared: Mapping[type, NeuronSignal]) -> dict[nn.Module, str]:
    """Return the neurons of a network with their paths; none that is a part of another one."""
    found: dict[nn.Module, str] = {}
    for module, path in paths_of(model).items():
        library = updating(module)
        is_known = library is not None and library.sends_spikes(module)
        is_part = any(not outer or path.startswith(f"{outer}.") for outer in found.values())
        if (is_known or type(module) in declared) and not is_part:
            found[module] = path
    return found


def _by_step(x: Tensor, neuron: nn.Module) -> Tensor | None:
    """Return [T, N, ...] of what a neuron sent; None where its layout is not known."""
    library = updating(neuron)
    return None if library is None else _apart(x, neuron, library)


def _apart(x: Tensor, neuron: nn.Module, library: Library) -> Tensor:
    lies, (steps, _) = library.time_in(neuron), library.layout(neuron, x)
    if lies is None:
        x = x.unsqueeze(0)
    elif lies.inside:
        x = x.unflatten(lies.dim, (-1, steps)).movedim(lies.dim + 1, 0)
    else:
        x = x.movedim(lies.dim, 0)
    return x if x.dim() > 2 else x.unsqueeze(1)


def _add(sums: _Sums, x: Tensor, by_step: Tensor | None) -> None:
    """Add the spikes in one tensor; ``by_step``: the same as [T, N, ...], if that is known."""
    sums.entries += x.numel()
    if by_step is None:
        sums.spikes = sums.spikes + (x != 0).sum()
        sums.forget_neurons()
        sums.forget_steps()
        sums.samples.add(-1)
        return
    steps, samples, *shape = by_step.shape
    nonzero = (by_step != 0).to(torch.float32).reshape(steps, samples, math.prod(shape))
    per_neuron = counting.nonzero_per_position(nonzero, 1, True, first=1)
    per_step = per_neuron.sum(1)
    sums.spikes = sums.spikes + per_step.sum()
    sums.samples.add(samples)
    sums.shapes.add(tuple(shape))
    if len(sums.shapes) == 1:
        counts = per_neuron.sum(0)
        sums.counts = counts if sums.counts is None else sums.counts + counts
    else:
        sums.counts = None
    if sums.entries_by_step is not None:
        sums.entries_by_step += [samples * per_neuron.shape[1]] * steps
        sums.spikes_by_step.append(per_step)


def _look(sums: _Sums, x: Tensor, signal: NeuronSignal | None) -> None:
    """Count the values that are not spikes, where that is not known before."""
    if signal is ANALOG:
        sums.analog = sums.analog + x.numel()
    elif signal not in _PLAIN and x.dtype != torch.bool:
        is_integer = x == x.round() if x.dtype.is_floating_point else torch.ones_like(x) == 1
        is_plain = (x == 0) | (x.abs() == 1)
        sums.analog = sums.analog + (~is_integer).sum()
        sums.graded = sums.graded + (is_integer & ~is_plain).sum()


def _joined(whole: _Sums | None, found: _Sums) -> _Sums:
    """Add a pass to those before."""
    if found.spikes_by_step:
        found.spikes_by_step = [torch.cat(found.spikes_by_step)]
    if whole is None:
        return found
    shapes = whole.shapes | found.shapes
    has_counts = len(shapes) == 1 and whole.counts is not None and found.counts is not None
    joined = replace(
        whole,
        calls=whole.calls + found.calls,
        entries=whole.entries + found.entries,
        spikes=whole.spikes + found.spikes,
        graded=whole.graded + found.graded,
        analog=whole.analog + found.analog,
        shapes=shapes,
        counts=whole.counts + found.counts if has_counts else None,  # type: ignore[operator]
    )
    one, two = whole.entries_by_step, found.entries_by_step
    if one is None or two is None or len(one) != len(two):
        joined.forget_steps()
        return joined
    joined.entries_by_step = [a + b for a, b in zip(one, two, strict=True)]
    joined.spikes_by_step = [
        a + b for a, b in zip(whole.spikes_by_step, found.spikes_by_step, strict=True)
    ]
    return joined


def _read(sums: _Sums, path: str, name: str) -> NeuronLayer:
    """Read sums off the device."""
    counts, steps = None, None
    if sums.counts is not None:
        counts = array("q", sums.counts.tolist())
    if sums.entries_by_step is not None and sums.spikes_by_step:
        spikes = torch.cat(sums.spikes_by_step).tolist()
        steps = tuple(zip(sums.entries_by_step, spikes, strict=True))
    return NeuronLayer(
        path,
        name,
        sums.calls,
        sums.entries,
        int(sums.spikes),
        int(sums.graded),
        int(sums.analog),
        tuple(sorted(sums.shapes)),
        counts,
        steps,
    )
