"""Run graphs of the Neuromorphic Intermediate Representation (NIR) by their equations.

A graph is run step by step on [T, N, ...]. An edge that closes a cycle carries what its source gave
at the step before, and nothing at the first step. What several edges bring is added up.

A file holds no dt, and libraries differ in what IF does: see `nir_nodes` for the equations.
(J. E. Pedersen et al., Neuromorphic intermediate representation, Nature Communications 15:8122,
2024.)
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib import import_module
from typing import Any, get_args

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
from syops.models.nir_nodes import INPUT, NODES, OUTPUT, Neuron, Neurons, made


def from_nir(graph: Any, *, dt: float = 1e-4, neurons: Neurons = "nir") -> NIRNetwork:
    """Return a module that runs an NIR graph, to be counted with ``batch_dim=1``.

    Args:
        graph: a ``nir.NIRGraph``, or the path of a file that holds one.
        dt: the time-step of neurons with time constants, in seconds.
        neurons: how IF neurons behave: "nir" as NIR defines them; "sinabs" with several spikes in
            a time-step and a lower limit of the potential.

    Returns:
        a module that takes [T, N, ...] and returns [T, N, ...]. It keeps no state between calls.

    Raises:
        SyopsImportError: the package nir is not installed.
        SyopsFileError: the file cannot be read.
        SyopsTypeError: ``graph`` is not an NIR graph.
        SyopsValueError: a node is of an unknown kind, or the graph cannot be run; the error names
            the node.

    Examples:
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
            if kind == INPUT:
                self.input_shape = tuple(int(n) for n in next(iter(node.input_type.values())))
            if kind == "NIRGraph":
                module: nn.Module = NIRNetwork(node, dt, neurons, f"{path}.")
            elif kind in NODES:
                module = made(kind, node, path, dt, neurons)
            else:
                raise SyopsValueError(
                    f"node {path!r} is a {kind}, which is not known; known: {', '.join(NODES)}"
                )
            self._names[str(name)] = key
            self.add_module(key, module)
        kinds = {str(name): type(node).__name__ for name, node in graph.nodes.items()}
        self._inputs = [name for name, kind in kinds.items() if kind == INPUT]
        self._outputs = [name for name, kind in kinds.items() if kind == OUTPUT]
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
            elif isinstance(module, Neuron):
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
