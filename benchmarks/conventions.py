"""Hold the conventions of tools against the tools: `python -m benchmarks.conventions`.

Prints the table of ``docs/conventions.md``; the exit status is 1 where a figure differs.
"""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass

import torch
from sinabs.synopcounter import SNNAnalyzer
from spikingjelly.activation_based import functional, op_counter
from torch import Tensor, nn

from benchmarks.peer_networks import CASES
from benchmarks.peers import imported, modules_of_005
from syops import get_model_syops

Figure = tuple[float, float]
"""ACs and MACs per sample, as a tool tells them."""


def spikingjelly(model: nn.Module, batches: list[Tensor]) -> Figure:
    """Return what its counters of synaptic operations and of MACs count."""
    synops, macs = op_counter.SynOpCounter(), op_counter.MACCounter()
    for batch in batches:
        functional.reset_net(model)
        with torch.no_grad(), op_counter.DispatchCounterMode([synops, macs]):
            model(batch)
    functional.reset_net(model)
    samples = sum(len(batch) for batch in batches)
    return synops.get_total() / samples, macs.get_total() / samples


def sinabs(model: nn.Module, batches: list[Tensor]) -> Figure:
    """Return what its analyser says of the model, averaged over batches."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        analyser = SNNAnalyzer(model)
    with torch.no_grad():
        for batch in batches:
            functional.reset_net(model)
            model(batch)
    synops = float(analyser.get_model_statistics(average=True)["synops"])
    for handle in analyser.handles:
        handle.remove()
    analyser.handles.clear()
    functional.reset_net(model)
    return synops, 0.0


def neurobench(model: nn.Module, batches: list[Tensor]) -> Figure:
    """Return the effective operations of its metric, after each batch as its benchmark does."""
    modules = imported("neurobench", "metrics.workload", "models", version="2.3.0")
    wrapped = modules["models"].TorchModel(model)
    metric = modules["metrics.workload"].SynapticOperations()
    wrapped.register_hooks()
    told: dict[str, float] = {}
    for batch in batches:
        functional.reset_net(model)
        with torch.no_grad():
            wrapped(batch)
            told = metric(wrapped, None, (batch, None))
        wrapped.reset_hooks()
    wrapped.cleanup_hooks()
    functional.reset_net(model)
    return told["Effective_ACs"], told["Effective_MACs"]


def version_005(model: nn.Module, batches: list[Tensor]) -> Figure:
    """Return the ACs and MACs of syops-counter 0.0.5."""
    _, ac, mac, _ = counts_of_005(model, batches)
    return ac, mac


def counts_of_005(model: nn.Module, batches: list[Tensor]) -> tuple[float, ...]:
    """Return the four numbers of syops-counter 0.0.5: ops, ACs, MACs and its sum of rates."""
    engine, _ = modules_of_005()
    functional.reset_net(model)
    with redirect_stdout(io.StringIO()):
        counts, _ = engine.get_syops_pytorch(
            model,
            tuple(batches[0].shape[1:]),
            [(batch, None) for batch in batches],
            print_per_layer_stat=False,
        )
    return tuple(map(float, counts))


TOOLS: dict[str, tuple[Callable[[nn.Module, list[Tensor]], Figure], float]] = {
    "syops-0.0.5": (version_005, 1e-7),
    "spikingjelly": (spikingjelly, 0.0),
    "neurobench": (neurobench, 0.0),
    "sinabs": (sinabs, 1e-7),
}
"""Each tool, and by what share of the dense count its floats may differ; 0: not at all."""


@dataclass(frozen=True)
class Compared:
    """The figures of a tool, ours under its convention and ours exact, and whether they fit.

    ``why``: what the convention does otherwise than the exact count.
    """

    theirs: Figure
    ours: Figure
    exact: Figure
    fits: bool
    why: str


def compared(name: str, tool: str) -> Compared:
    """Hold a convention against its tool on one network."""
    run, tolerance = TOOLS[tool]
    network, batches = CASES[name].built()
    theirs = run(network, batches)
    report = get_model_syops(network, batches, convention=tool)
    ours, exact = (report.ac, report.mac), report.under("exact")
    room = tolerance * (exact.dense_ac + exact.mac)
    fits = all(abs(a - b) <= room for a, b in zip(theirs, ours, strict=True))
    (row,) = report.conventions_table(tool).rows
    return Compared(theirs, ours, (exact.ac_events, exact.mac), fits, row.why)


def main() -> int:
    """Print a table of all networks and tools."""
    print("| network | tool | its AC, MAC | ours under its convention | ours, exact | why |")
    print("|---|---|---|---|---|---|")
    wrong = 0
    for name in CASES:
        for tool in TOOLS:
            found = compared(name, tool)
            figures = found.theirs, found.ours, found.exact
            cells = [", ".join(f"{each:.8g}" for each in pair) for pair in figures]
            cells[1] += "" if found.fits else " (differs)"
            wrong += not found.fits
            print(f"| {name} | {tool} | {' | '.join(cells)} | {found.why} |")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
