"""Other counters of synaptic operations, each as a function that runs a model on batches.

spikingjelly and sinabs have to be installed. Wheels of NeuroBench and of syops-counter 0.0.5, which
has the name of this package, are downloaded and unpacked into a temporary folder.
"""

from __future__ import annotations

import importlib.util
import io
import subprocess
import sys
import types
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from unittest.mock import MagicMock

import torch
from sinabs.synopcounter import SNNAnalyzer
from spikingjelly.activation_based import base, functional, layer, neuron, op_counter, surrogate
from torch import Tensor, nn

Batches = list[Tensor]
Contestant = Callable[[Batches], object]


def plain(model: nn.Module) -> Contestant:
    """Run the model, its neurons reset before each batch."""
    neurons = [module for module in model.modules() if isinstance(module, base.MemoryModule)]

    def run(batches: Batches) -> None:
        with torch.no_grad():
            for batch in batches:
                for each in neurons:
                    each.reset()
                model(batch)

    return run


def by_spikingjelly(model: nn.Module) -> Contestant:
    """Count with spikingjelly's counters of synaptic operations and of MACs."""

    def run(batches: Batches) -> None:
        counters = [op_counter.SynOpCounter(), op_counter.MACCounter()]
        with op_counter.DispatchCounterMode(counters):
            plain(model)(batches)

    return run


def by_sinabs(model: nn.Module) -> Contestant:
    """Count with the hooks of sinabs."""

    def run(batches: Batches) -> object:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            analyzer = SNNAnalyzer(model)
            try:
                plain(model)(batches)
                return [float(m.synops.sum()) for m in model.modules() if hasattr(m, "synops")]
            finally:
                for handle in analyzer.handles:
                    handle.remove()

    return run


def by_neurobench(model: nn.Module) -> Contestant:
    """Count with NeuroBench's `SynapticOperations`, after each batch as its benchmark does."""
    metrics = imported("neurobench", "metrics.workload", "models")
    run_plain = plain(model)

    def run(batches: Batches) -> object:
        wrapped, metric = metrics["models"].TorchModel(model), metrics["metrics.workload"]
        operations = metric.SynapticOperations()
        wrapped.register_hooks()
        try:
            for batch in batches:
                run_plain([batch])
                with torch.no_grad():
                    operations(wrapped, None, (batch, None))
                wrapped.reset_hooks()
            return operations.compute()
        finally:
            wrapped.cleanup_hooks()

    return run


def by_version_005(model: nn.Module) -> Contestant:
    """Count with syops-counter 0.0.5, told of spikingjelly's layers."""
    engine, ops = modules_of_005()
    hooks = {
        layer.Conv2d: ops.conv_syops_counter_hook,
        layer.Linear: ops.linear_syops_counter_hook,
        layer.BatchNorm2d: ops.bn_syops_counter_hook,
    }

    def run(batches: Batches) -> object:
        for module in model.modules():
            if isinstance(module, base.MemoryModule):
                module.reset()
        with redirect_stdout(io.StringIO()):
            return engine.get_syops_pytorch(
                model,
                tuple(batches[0].shape[1:]),
                [(batch, None) for batch in batches],
                print_per_layer_stat=False,
                custom_modules_hooks=hooks,
            )

    return run


PEERS: dict[str, Callable[[nn.Module], Contestant]] = {
    "spikingjelly SynOp + MAC": by_spikingjelly,
    "NeuroBench SynapticOperations": by_neurobench,
    "sinabs SNNAnalyzer": by_sinabs,
    "syops-counter 0.0.5": by_version_005,
}


def _unpacked(requirement: str) -> Path:
    """Return a folder with the files of a wheel, without what it depends on."""
    folder = Path(mkdtemp(prefix="overhead-"))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
    subprocess.run([*command, str(folder), requirement], check=True, stderr=subprocess.DEVNULL)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


@cache
def imported(package: str, *names: str, version: str = "") -> dict[str, Any]:
    """Import modules of a wheel; what they import and is not installed is a stub."""
    sys.path.append(str(_unpacked(f"{package}=={version}" if version else package)))
    while True:
        try:
            return {name: importlib.import_module(f"{package}.{name}") for name in names}
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith(package):
                raise
            sys.modules[error.name] = MagicMock()
            for name in [name for name in sys.modules if name.startswith(package)]:
                del sys.modules[name]


@cache
def modules_of_005() -> tuple[Any, Any]:
    """Import syops-counter 0.0.5 under another name.

    It asks for neurons by names of spikingjelly before 0.0.0.0.14, and shows a progress bar of a
    package that need not be here: it gets stubs of both.
    """
    root = _unpacked("syops==0.0.5") / "syops"
    name = "syops_0_0_5"
    spec = importlib.util.spec_from_file_location(
        name, root / "__init__.py", submodule_search_locations=[str(root)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    with _stubbed():
        sys.modules[name] = package
        spec.loader.exec_module(package)
    return sys.modules[f"{name}.engine"], sys.modules[f"{name}.ops"]


@contextmanager
def _stubbed() -> Iterator[None]:
    older: Any = types.ModuleType("neuron")
    for kind in ("IFNode", "LIFNode", "ParametricLIFNode"):
        setattr(older, kind, getattr(neuron, kind))
        setattr(older, f"MultiStep{kind}", type(f"MultiStep{kind}", (nn.Module,), {}))
    clock: Any = types.ModuleType("clock_driven")
    clock.neuron, clock.functional, clock.surrogate = older, functional, surrogate
    stubs: dict[str, Any] = {
        "progress": MagicMock(),
        "progress.bar": MagicMock(),
        "spikingjelly.clock_driven": clock,
        "spikingjelly.clock_driven.neuron": older,
    }
    found = {stub: sys.modules.get(stub) for stub in stubs}
    sys.modules.update(stubs)
    try:
        yield
    finally:
        for stub, before in found.items():
            if before is None:
                del sys.modules[stub]
            else:
                sys.modules[stub] = before
