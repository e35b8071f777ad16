r"""Make a module of each node of a NIR graph, by its equation.

Neurons are integrated by Euler's method with the step dt, written out in torch, so that nothing
inside of them is hidden from a count:

=========  ======================================================================
LI         v += dt / tau · (v_leak - v + R I); gives v
LIF        as LI; z = [v > θ]; v -= z θ
CubaLI     I += dt / tau_syn · (w_in S - I); then as LI with tau_mem
CubaLIF    the same I; then as LIF with tau_mem
IF         v += R I; z = [v > θ]; v -= z θ
I          v += R I; gives v
=========  ======================================================================

Since NIR 1.0.6 neurons have a v_reset: where z, v is set to it. A file without one is older, and θ
is subtracted. With ``neurons="sinabs"`` IF gives trunc(v / θ) spikes at one step and keeps v at -θ
or above, as the `IAFSqueeze` that sinabs makes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from syops.errors import SyopsValueError, first_line

Neurons = Literal["nir", "sinabs"]
State = tuple[Tensor, ...]

INPUT, OUTPUT = "Input", "Output"


class Neuron(nn.Module):
    """A node with a state: give a result and the next state of an input and the last state."""

    leak: Tensor
    v_leak: Tensor
    r: Tensor
    v_threshold: Tensor
    v_reset: Tensor | None
    decay: Tensor
    w_in: Tensor

    def __init__(self, node: Any, *names: str) -> None:
        super().__init__()
        for name in names:
            self.register_buffer(name, _values(node, name))
        reset = getattr(node, "v_reset", None)
        self.register_buffer("v_reset", None if reset is None else _values(node, "v_reset"))

    def fire(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the spikes of a potential, and what they leave of it."""
        z = (v > self.v_threshold).to(v.dtype)
        if self.v_reset is None:
            return z, v - z * self.v_threshold
        return z, torch.where(z > 0, self.v_reset, v)


def _values(node: Any, name: str) -> Tensor:
    return torch.as_tensor(getattr(node, name)).float()


class _Integrator(Neuron):
    """LI and LIF, as the module's docstring says; CubaLI and CubaLIF have a current before it."""

    def __init__(self, node: Any, dt: float, tau: str, spikes: bool, current: bool) -> None:
        threshold = ("v_threshold",) if spikes else ()
        super().__init__(node, "v_leak", "r", *threshold, *(("w_in",) if current else ()))
        self._spikes, self._current = spikes, current
        self.register_buffer("leak", dt / _values(node, tau))
        if current:
            self.register_buffer("decay", dt / _values(node, "tau_syn"))

    def forward(self, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        v, i = state if state is not None else (torch.zeros_like(x), torch.zeros_like(x))
        if self._current:
            i = i + self.decay * (self.w_in * x - i)
            x = i
        v = v + self.leak * (self.v_leak - v + self.r * x)
        if not self._spikes:
            return v, (v, i)
        z, v = self.fire(v)
        return z, (v, i)


class _Accumulator(Neuron):
    """IF and I."""

    def __init__(self, node: Any, spikes: bool, neurons: Neurons) -> None:
        super().__init__(node, "r", *(("v_threshold",) if spikes else ()))
        self._spikes, self._several = spikes, neurons == "sinabs"

    def forward(self, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        (v,) = state if state is not None else (torch.zeros_like(x),)
        v = v + self.r * x
        if not self._spikes:
            return v, (v,)
        if not self._several:
            z, v = self.fire(v)
            return z, (v,)
        z = (v > 0) * torch.div(v, self.v_threshold, rounding_mode="trunc")
        v = v - z * self.v_threshold
        return z, (torch.relu(v + self.v_threshold) - self.v_threshold,)


class _Scale(nn.Module):
    scale: Tensor

    def __init__(self, node: Any) -> None:
        super().__init__()
        self.register_buffer("scale", _values(node, "scale"))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class _Threshold(nn.Module):
    threshold: Tensor

    def __init__(self, node: Any) -> None:
        super().__init__()
        self.register_buffer("threshold", _values(node, "threshold"))

    def forward(self, x: Tensor) -> Tensor:
        return (x > self.threshold).to(x.dtype)


class _SumPool(nn.Module):
    def __init__(self, node: Any) -> None:
        super().__init__()
        self._window, self._stride = _ints(node.kernel_size), _ints(node.stride)
        self._padding = _ints(node.padding)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(
            x, self._window, self._stride, self._padding, divisor_override=1
        )


def _ints(value: Any, rank: int = 2) -> tuple[int, ...]:
    """Return one size for each dimension."""
    found = [int(n) for n in torch.as_tensor(value).flatten().tolist()]
    return tuple(found * rank if len(found) == 1 else found)


def _linear(node: Any) -> nn.Module:
    weight = _values(node, "weight")
    if weight.dim() != 2:
        raise ValueError(f"its weights have the shape {tuple(weight.shape)}, not [out, in]")
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=hasattr(node, "bias"))
    return _filled(made, node)


def _convolution(node: Any) -> nn.Module:
    weight = _values(node, "weight")
    rank = weight.dim() - 2
    kind: Any = {1: nn.Conv1d, 2: nn.Conv2d}[rank]

    padding = node.padding if isinstance(node.padding, str) else _ints(node.padding, rank)
    groups = int(node.groups)
    made = kind(
        weight.shape[1] * groups,
        weight.shape[0],
        tuple(weight.shape[2:]),
        _ints(node.stride, rank),
        padding,
        _ints(node.dilation, rank),
        groups,
    )
    return _filled(made, node)


def _filled(module: Any, node: Any) -> nn.Module:
    with torch.no_grad():
        module.weight.copy_(_values(node, "weight"))
        if module.bias is not None:
            module.bias.copy_(_values(node, "bias"))
    return module


def _flatten(node: Any) -> nn.Module:
    start, end = int(node.start_dim), int(node.end_dim)
    return nn.Flatten(start + (start >= 0), end + (end >= 0))  # behind the samples


def _average(node: Any) -> nn.Module:
    sizes: Any = [_ints(getattr(node, name)) for name in ("kernel_size", "stride", "padding")]
    return nn.AvgPool2d(*sizes)


NODES: Mapping[str, Callable[[Any, float, Neurons], nn.Module]] = {
    INPUT: lambda node, dt, neurons: nn.Identity(),
    OUTPUT: lambda node, dt, neurons: nn.Identity(),
    "Identity": lambda node, dt, neurons: nn.Identity(),
    "Affine": lambda node, dt, neurons: _linear(node),
    "Linear": lambda node, dt, neurons: _linear(node),
    "Conv1d": lambda node, dt, neurons: _convolution(node),
    "Conv2d": lambda node, dt, neurons: _convolution(node),
    "Flatten": lambda node, dt, neurons: _flatten(node),
    "SumPool2d": lambda node, dt, neurons: _SumPool(node),
    "AvgPool2d": lambda node, dt, neurons: _average(node),
    "Scale": lambda node, dt, neurons: _Scale(node),
    "Threshold": lambda node, dt, neurons: _Threshold(node),
    "LI": lambda node, dt, neurons: _Integrator(node, dt, "tau", False, False),
    "LIF": lambda node, dt, neurons: _Integrator(node, dt, "tau", True, False),
    "CubaLI": lambda node, dt, neurons: _Integrator(node, dt, "tau_mem", False, True),
    "CubaLIF": lambda node, dt, neurons: _Integrator(node, dt, "tau_mem", True, True),
    "I": lambda node, dt, neurons: _Accumulator(node, False, neurons),
    "IF": lambda node, dt, neurons: _Accumulator(node, True, neurons),
}
"""What makes a module of a node, by its class."""


def made(kind: str, node: Any, path: str, dt: float, neurons: Neurons) -> nn.Module:
    """Return the module of a node.

    Raises:
        SyopsValueError: the node cannot be run; names it.
    """
    try:
        return NODES[kind](node, dt, neurons)
    except Exception as error:
        raise SyopsValueError(
            f"node {path!r} ({kind}) cannot be run: {type(error).__name__}: {first_line(error)}"
        ) from error
