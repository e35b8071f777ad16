r"""Run graphs of the Neuromorphic Intermediate Representation (NIR) by their equations.

A graph is run step by step on [T, N, ...]. An edge that closes a cycle carries what its source gave
at the step before, and nothing at the first step. What several edges bring is added up. Neurons are
integrated by Euler's method with the step dt, written out in torch, so that nothing inside of them
is hidden from a count:

=========  ======================================================================
LI         v += dt / tau · (v_leak - v + R I); gives v
LIF        as LI; z = [v > θ]; v -= z θ
CubaLI     I += dt / tau_syn · (w_in S - I); then as LI with tau_mem
CubaLIF    the same I; then as LIF with tau_mem
IF         v += R I; z = [v > θ]; v -= z θ
I          v += R I; gives v
=========  ======================================================================

Since NIR 1.0.6 neurons have a v_reset: where z, v is set to it. A file without one is older, and θ
is subtracted. A file holds no dt, and libraries differ in what IF does. With ``neurons="sinabs"``
it gives trunc(v / θ) spikes at one step and keeps v at -θ or above, as the `IAFSqueeze` that sinabs
makes of it. (J. E. Pedersen et al., Neuromorphic intermediate representation, Nature Communications
15:8122, 2024.)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from syops.choices import choice
from syops.errors import (
    SyopsFileError,
    SyopsImportError,
    SyopsTypeError,
    SyopsValueError,
    first_line,
)

Neurons = Literal["nir", "sinabs"]
State = tuple[Tensor, ...]

_INPUT, _OUTPUT = "Input", "Output"


def from_nir(graph: Any, *, dt: float = 1e-4, neurons: Neurons = "nir") -> NIRNetwork:
    """Return a module that runs an NIR graph, to be counted with ``batch_dim=1``.

    Args:
        graph: a ``nir.NIRGraph``, or a file of one.
        dt: the time-step of neurons with time constants, in seconds.
        neurons: what IF neurons do: "nir", or "sinabs" for several spikes a step and a floor.

    Returns:
        a module that takes [T, N, ...] and returns [T, N, ...], without a state of its own.

    Raises:
        SyopsImportError: the package nir is not installed.
        SyopsFileError: the file cannot be read.
        SyopsTypeError: no NIR graph.
        SyopsValueError: a node of a kind that is not known, or a graph that cannot be run; names
            the node.

    Example:
        >>> import nir, numpy as np
        >>> from syops import get_model_syops
        >>> graph = nir.NIRGraph.from_list(
        ...     nir.Linear(np.ones((3, 4))), nir.IF(np.ones(3), np.full(3, 1.5))
        ... )
        >>> spikes = torch.eye(4).repeat(5, 1, 1)  # [T, N, C]
        >>> report = get_model_syops(from_nir(graph), spikes, batch_dim=1, time_steps=5)
        >>> report.ac_events  # 5 steps, one spike a sample, 3 synapses each
        15.0
    """
    choice("neurons", neurons, get_args(Neurons))
    if isinstance(dt, bool) or not isinstance(dt, int | float) or not 0 < dt < float("inf"):
        raise SyopsValueError(f"dt must be a positive number of seconds, got {dt!r}")
    nir = _package("nir")
    if isinstance(graph, str | os.PathLike):
        graph = _read(nir, os.fspath(graph))
    if not isinstance(graph, nir.NIRGraph):
        raise SyopsTypeError(
            f"graph: expected a nir.NIRGraph or a file of one, got {type(graph).__name__}"
        )
    return NIRNetwork(graph, dt, neurons)


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise SyopsImportError(
            f"NIR graphs need the package {name}: pip install syops[nir]"
        ) from error


def _read(nir: Any, path: str) -> Any:
    if not os.path.exists(path):
        raise SyopsFileError(f"cannot read {path}: no such file")
    try:
        graph = nir.read(path)
        with _package("h5py").File(path) as file:
            _forget_resets(graph, file["node"])
    except Exception as error:
        raise SyopsFileError(
            f"{path} cannot be read as an NIR graph: {type(error).__name__}: {first_line(error)}"
        ) from error
    return graph


def _forget_resets(graph: Any, group: Any) -> None:
    """Remove the potentials of reset that NIR sets to 0 where a file has none."""
    for name, node in graph.nodes.items():
        own = group["nodes"].get(str(name))
        if own is None:  # NIR has added it
            continue
        if hasattr(node, "nodes"):
            _forget_resets(node, own)
        elif hasattr(node, "v_reset") and "v_reset" not in own:
            node.v_reset = None


class NIRNetwork(nn.Module):
    """Run a graph on [T, N, ...].

    Attributes:
        input_shape: of one step of one sample; () where the graph does not say.
    """

    def __init__(self, graph: Any, dt: float, neurons: Neurons, place: str = "") -> None:
        super().__init__()
        self.input_shape: tuple[int, ...] = ()
        self._names: dict[str, str] = {}
        for name, node in graph.nodes.items():
            path = f"{place}{name}"
            key = "".join(c if c.isalnum() else "_" for c in str(name)) or "node"
            if hasattr(self, key):
                key = f"node_{len(self._names)}_{key}"
            kind = type(node).__name__
            if kind == _INPUT:
                self.input_shape = tuple(int(n) for n in next(iter(node.input_type.values())))
            if kind == "NIRGraph":
                made: nn.Module = NIRNetwork(node, dt, neurons, f"{path}.")
            elif kind in _NODES:
                made = _made(kind, node, path, dt, neurons)
            else:
                raise SyopsValueError(
                    f"node {path!r} is a {kind}, which is not known; known: {', '.join(_NODES)}"
                )
            self._names[str(name)] = key
            self.add_module(key, made)
        kinds = {str(name): type(node).__name__ for name, node in graph.nodes.items()}
        self._inputs = [name for name, kind in kinds.items() if kind == _INPUT]
        self._outputs = [name for name, kind in kinds.items() if kind == _OUTPUT]
        if len(self._inputs) != 1 or len(self._outputs) != 1:
            where = f"the graph {place.rstrip('.')!r}" if place else "the graph"
            raise SyopsValueError(f"{where} must have one Input and one Output")
        edges = [(str(source), str(target)) for source, target in graph.edges]
        self._order, self._sources = _scheduled(list(kinds), edges, self._inputs[0])

    def forward(self, x: Tensor) -> Tensor:
        """Run all steps, from silence."""
        memory: dict[str, Any] = {}
        return torch.stack([self.step(x[t], memory) for t in range(x.shape[0])])

    def step(self, x: Tensor, memory: dict[str, Any]) -> Tensor:
        """Run one step.

        Args:
            x: [N, ...].
            memory: states of neurons and what the nodes gave at the step before; written into.
        """
        given: dict[str, Tensor] = {}
        before: dict[str, Tensor] = memory.setdefault("given", {})
        for name in self._order:
            arriving = [x] if name == self._inputs[0] else []
            for source, is_back in self._sources[name]:
                sent = (before if is_back else given).get(source)
                if sent is not None:
                    arriving.append(sent)
            if not arriving:
                continue
            total = arriving[0]
            for more in arriving[1:]:
                total = total + more
            module = self.get_submodule(self._names[name])
            if isinstance(module, NIRNetwork):
                given[name] = module.step(total, memory.setdefault(name, {}))
            elif isinstance(module, _Neuron):
                given[name], memory[name] = module(total, memory.get(name))
            else:
                assert module is not None
                given[name] = module(total)
        memory["given"] = given
        return given[self._outputs[0]]


def _scheduled(
    names: Iterable[str], edges: list[tuple[str, str]], start: str
) -> tuple[list[str], dict[str, list[tuple[str, bool]]]]:
    """Return an order in which nodes run, and the sources of each: whether by an edge back.

    Edges back are those that close a cycle when one follows the edges from the input.
    """
    following: dict[str, list[str]] = {name: [] for name in names}
    for source, target in edges:
        if source not in following or target not in following:
            raise SyopsValueError(
                f"the edge from {source!r} to {target!r} is to a node that is not there"
            )
        following[source].append(target)
    back: set[tuple[str, str]] = set()
    order: list[str] = []
    state = dict.fromkeys(following, 0)
    for root in (start, *following):
        if state[root]:
            continue
        stack = [(root, iter(following[root]))]
        state[root] = 1
        while stack:
            name, rest = stack[-1]
            target = next(rest, "")
            if not target:
                state[name] = 2
                order.append(name)
                stack.pop()
            elif state[target] == 1:
                back.add((name, target))
            elif state[target] == 0:
                state[target] = 1
                stack.append((target, iter(following[target])))
    sources: dict[str, list[tuple[str, bool]]] = {name: [] for name in following}
    for source, target in edges:
        sources[target].append((source, (source, target) in back))
    return order[::-1], sources


# Nodes


class _Neuron(nn.Module):
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


class _Integrator(_Neuron):
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


class _Accumulator(_Neuron):
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


_NODES: Mapping[str, Callable[[Any, float, Neurons], nn.Module]] = {
    _INPUT: lambda node, dt, neurons: nn.Identity(),
    _OUTPUT: lambda node, dt, neurons: nn.Identity(),
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


def _made(kind: str, node: Any, path: str, dt: float, neurons: Neurons) -> nn.Module:
    try:
        return _NODES[kind](node, dt, neurons)
    except Exception as error:
        raise SyopsValueError(
            f"node {path!r} ({kind}) cannot be run: {type(error).__name__}: {first_line(error)}"
        ) from error
