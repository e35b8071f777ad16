"""Hold `report.zeros()` against NeuroBench 2.3.0, and measure what ``zeros=True`` costs.

    pip install --no-deps neurobench==2.3.0 && python -m benchmarks.zeros

The networks are small ones in the style of NeuroBench's baselines: for speech commands (an SNN of
snnTorch, M5 as an ANN), DVS gestures, primate reaching (SNN and ANN), and some with pruned weights,
graded and ternary inputs. One is trained, the others have random weights. Exits with 1 if a metric
differs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import snntorch as snn
import torch
from neurobench.benchmarks import Benchmark
from neurobench.metrics.static import ConnectionSparsity, Footprint, ParameterCount
from neurobench.metrics.workload import ActivationSparsity, MembraneUpdates, SynapticOperations
from neurobench.models import SNNTorchModel, TorchModel
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.utils.data import DataLoader, TensorDataset

from syops import get_model_syops

METRICS = [
    [Footprint, ConnectionSparsity, ParameterCount],
    [ActivationSparsity, MembraneUpdates, SynapticOperations],
]


class Case(NamedTuple):
    """A network and its samples: [N, T, ...] for an SNN, [N, ...] for an ANN."""

    name: str
    model: nn.Module
    samples: Tensor
    spiking: bool


class ReadOut(nn.Module):
    """Return what a network gives twice, as spikes and as potentials."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        out = self.layers(x)
        return out, out


def leaky(**options: Any) -> nn.Module:
    return snn.Leaky(beta=0.9, init_hidden=True, **options)


def cases() -> Iterator[Case]:
    """Yield the networks."""
    torch.manual_seed(0)
    hidden = [layer for _ in range(2) for layer in (nn.Linear(64, 64), leaky())]
    speech = nn.Sequential(
        nn.Flatten(), nn.Linear(20, 64), leaky(), *hidden, nn.Linear(64, 35), leaky(output=True)
    )
    yield Case("speech SNN", speech, (torch.rand(6, 12, 20) < 0.3).float() * 1.0, True)
    m5 = nn.Sequential(
        nn.Conv1d(1, 8, 20, stride=4),
        *(nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(4)),
        nn.Conv1d(8, 16, 3, padding=1, padding_mode="reflect"),
        *(nn.BatchNorm1d(16), nn.ReLU(), nn.AvgPool1d(4), nn.Flatten()),
        nn.Linear(16 * 7, 35),
    )
    yield Case("speech M5", m5, torch.randn(6, 1, 500), False)
    gestures = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1, stride=2),
        *(leaky(), nn.Conv2d(8, 16, 3, padding=1, groups=2), leaky(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(16 * 16, 11), leaky(output=True)),
    )
    yield Case("gestures SNN", gestures, (torch.rand(5, 8, 2, 16, 16) < 0.1).float(), True)
    reaching = nn.Sequential(
        *(nn.Linear(96, 50, bias=False), leaky(reset_mechanism="zero")),
        *(nn.Linear(50, 2, bias=False), leaky(output=True, reset_mechanism="none")),
    )
    yield Case("reaching SNN", reaching, torch.randint(0, 3, (7, 10, 96)).float(), True)
    ann = nn.Sequential(
        *(nn.Linear(96, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5)),
        *(nn.Linear(32, 48), nn.Sigmoid(), nn.Linear(48, 2)),
    )
    yield Case("reaching ANN", ann, torch.randint(-1, 2, (9, 96)).float(), False)
    pruned = nn.Sequential(
        *(nn.Conv3d(1, 4, 3, padding=1, dilation=1), nn.ReLU(), nn.Conv3d(4, 4, 2, stride=2)),
        *(nn.ReLU(), nn.Flatten(), nn.Linear(4 * 27, 10)),
    )
    for layer in (pruned[0], pruned[2], pruned[5]):
        # With torch's hooks left in place NeuroBench adds the weights up, instead of counting them.
        prune.remove(prune.l1_unstructured(layer, "weight", 0.6), "weight")
    yield Case("pruned ANN", pruned, torch.relu(torch.randn(4, 1, 6, 6, 6)), False)
    quantised = nn.Sequential(nn.Linear(30, 20), leaky(), nn.Linear(20, 5), leaky(output=True))
    for layer in (quantised[0], quantised[2]):
        layer.weight.data = (layer.weight.data * 8).round() / 8
    yield Case("quantised SNN", quantised, torch.randint(-1, 2, (3, 6, 30)).float(), True)
    synaptic = nn.Sequential(
        nn.Linear(12, 9), snn.Synaptic(alpha=0.8, beta=0.7, init_hidden=True), nn.Linear(9, 4)
    )
    yield Case("synaptic SNN", ReadOut(synaptic), torch.rand(4, 9, 12), True)
    yield trained()


def trained() -> Case:
    """Return an SNN that tells the ten means of random patterns apart, trained and pruned."""
    means = torch.rand(10, 40).square()
    labels = torch.arange(100) % 10
    spikes = (torch.rand(100, 8, 40) < means[labels].unsqueeze(1)).float()
    network, fresh = (
        nn.Sequential(nn.Linear(40, 32), leaky(), nn.Linear(32, 10), leaky(output=True))
        for _ in range(2)
    )
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(60):
        snn.utils.reset(network)
        sent = sum(network(spikes[:, t])[0] for t in range(spikes.shape[1]))
        nn.functional.cross_entropy(sent, labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    accuracy = (sent.argmax(1) == labels).float().mean()
    assert accuracy > 0.8, accuracy
    fresh.load_state_dict(network.state_dict())  # no states, which NeuroBench's footprint has
    prune.remove(prune.l1_unstructured(fresh[0], "weight", 0.5), "weight")
    return Case("trained SNN", fresh, spikes[:20], True)


def by_neurobench(case: Case, batch: int) -> dict[str, float]:
    """Return the metrics as NeuroBench's benchmark gives them."""
    wrapped: Any = (SNNTorchModel if case.spiking else TorchModel)(case.model)
    labels = torch.zeros(len(case.samples))
    loader = DataLoader(TensorDataset(case.samples, labels), batch_size=batch)
    with torch.no_grad():
        found = Benchmark(wrapped, loader, [], [lambda x: x], METRICS).run(quiet=True)
    operations = found.pop("SynapticOperations")
    return {**found, **operations}


def by_syops(case: Case, batch: int) -> dict[str, float]:
    """Return the same metrics of a report."""
    unroll = 1 if case.spiking else None
    batches = list(case.samples.split(batch))
    report = get_model_syops(case.model, batches, unroll=unroll, zeros=True, progress=False)
    zeros = report.zeros()
    return {
        "Footprint": zeros.footprint,
        "ConnectionSparsity": zeros.connection_sparsity or 0,
        "ParameterCount": report.params,
        "ActivationSparsity": zeros.activation_sparsity or 0,
        "MembraneUpdates": zeros.membrane_updates or 0,
        "Effective_MACs": zeros.effective_mac,
        "Effective_ACs": zeros.effective_ac,
        "Dense": zeros.dense,
    }


def differ(metric: str, theirs: float, ours: float) -> bool:
    """Return whether a metric differs; NeuroBench rounds one of them and averages another."""
    if metric == "ConnectionSparsity":
        return round(ours, 4) != theirs
    if metric == "ActivationSparsity":
        return abs(ours - theirs) > 1e-12
    return ours != theirs


def seconds(run: Callable[[], object]) -> float:
    """Return the least time of three runs."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def compare() -> int:
    """Print the metrics of both; return how many differ."""
    wrong = 0
    for case in cases():
        theirs, ours = by_neurobench(case, 4), by_syops(case, 4)
        for metric, value in theirs.items():
            off = differ(metric, value, ours[metric])
            wrong += off
            mark = "differs" if off else ""
            print(f"{case.name:14} {metric:19} {value:14.10g} {ours[metric]:14.10g} {mark}")
    return wrong


def costs() -> None:
    """Print how long a count takes, without and with zeros, and NeuroBench's benchmark."""
    for case in cases():
        if case.name not in ("speech SNN", "gestures SNN", "speech M5"):
            continue
        samples = case.samples.repeat(16, *(1,) * (case.samples.dim() - 1))
        larger = case._replace(samples=samples)
        unroll, batches = 1 if case.spiking else None, list(samples.split(32))

        def count(zeros: bool, of: Case = larger, step: Any = unroll, data: Any = batches) -> None:
            get_model_syops(of.model, data, unroll=step, zeros=zeros, progress=False)

        plain, zeroed = seconds(lambda: count(False)), seconds(lambda: count(True))
        theirs = seconds(lambda of=larger: by_neurobench(of, 32))
        print(
            f"{case.name:14} {plain:6.2f} s, with zeros {zeroed:6.2f} s, NeuroBench {theirs:6.2f} s"
        )


if __name__ == "__main__":
    failed = compare()
    costs()
    sys.exit(bool(failed))
