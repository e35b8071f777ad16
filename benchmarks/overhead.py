"""Measure what counting costs, against a plain forward pass and beside other counters.

    python benchmarks/overhead.py                          all work, as a table
    python benchmarks/overhead.py --only digits loop       some of it
    python benchmarks/overhead.py --alone                  without the other counters
    python benchmarks/overhead.py --save docs/overhead.md  the page of the documentation
    python benchmarks/overhead.py --device cuda            on a GPU

Torch runs on one thread, and the CPU time of the process is measured: work of other processes
counts only as far as it takes caches and memory away. Every round times each contestant once, so
that a slow moment of the machine hits all of them. Printed are ratios of least times: contestant
over plain passes. Peak memory is that of a process of its own, as a whole: torch, the model and
its batches included. On a GPU it is time on the clock between two synchronisations, and the memory
of the device; and no operation of the host may wait for the device inside of a pass.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import snntorch
import torch
from peers import PEERS, Batches, Contestant, plain
from spikingjelly.activation_based import neuron
from torch import Tensor, nn

from syops import get_model_syops
from syops.models import calibrate, create_model


class TimeLoop(nn.Module):
    """A convolutional network whose forward goes through the time-steps: all counters know it."""

    def __init__(self, steps: int = 8) -> None:
        super().__init__()
        self.T = steps
        self.body = nn.Sequential(
            *(nn.Conv2d(2, 32, 3, padding=1), neuron.IFNode(), nn.AvgPool2d(2)),
            *(nn.Conv2d(32, 64, 3, padding=1), neuron.IFNode(), nn.AvgPool2d(2)),
            *(nn.Flatten(), nn.Linear(64 * 64, 10)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.body(x) for _ in range(self.T)]).mean(0)


class Leaky(nn.Module):
    """The network of snnTorch's tutorials, in a loop of 100 steps."""

    def __init__(self, steps: int = 100) -> None:
        super().__init__()
        self.T = steps
        self.first, self.second = nn.Linear(784, 1000), nn.Linear(1000, 10)
        self.hidden, self.out = snntorch.Leaky(beta=0.95), snntorch.Leaky(beta=0.95)

    def forward(self, x: Tensor) -> Tensor:
        one, two = self.hidden.init_leaky(), self.out.init_leaky()
        spikes = []
        for _ in range(self.T):
            hidden, one = self.hidden(self.first(x), one)
            out, two = self.out(self.second(hidden), two)
            spikes.append(out)
        return torch.stack(spikes)


def dsnn18() -> nn.Module:
    model = create_model("dsnn18", T=4)
    calibrate(model, torch.randn(2, 3, 224, 224))
    return model


@dataclass(frozen=True)
class Work:
    """A model and its batches.

    Attributes:
        name: in words.
        model: makes it.
        shape: of a batch.
        batches: how many.
        aim: the ratio that was set as an aim; None for none.
    """

    name: str
    model: Callable[[], nn.Module]
    shape: tuple[int, ...]
    batches: int
    aim: float | None = None


WORK = {
    "one": Work("DSNN-18, 224×224, a batch of 2", dsnn18, (2, 3, 224, 224), 1, 1.08),
    "eight": Work("DSNN-18, 224×224, 8 batches of 2", dsnn18, (2, 3, 224, 224), 8, 1.03),
    "digits": Work(
        "digits, 100 batches of 1", lambda: create_model("dsnn_digits"), (1, 1, 8, 8), 100, 1.5
    ),
    "snntorch": Work("snnTorch loop of 100 steps, 3 batches of 128", Leaky, (128, 784), 3, 1.2),
    "loop": Work("CSNN in a loop of 8 steps, 8 batches of 8", TimeLoop, (8, 2, 32, 32), 8),
}


def counted(model: nn.Module) -> Contestant:
    """Count with this package."""

    def run(batches: Batches) -> object:
        inputs = batches if len(batches) > 1 else batches[0]
        return get_model_syops(model, inputs, progress=False)

    return run


# Time and memory


def seconds(run: Contestant, batches: Batches, device: torch.device) -> float:
    """Return the CPU time of a run, or on a GPU the time on the clock until all is done."""
    if device.type == "cpu":
        start = time.process_time()
        run(batches)
        return time.process_time() - start
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    run(batches)
    torch.cuda.synchronize(device)
    return time.perf_counter() - start


def peak_bytes(run: Contestant, batches: Batches, device: torch.device) -> int:
    """Return the most memory that a process, or the device, holds during a run."""
    if device.type != "cpu":
        torch.cuda.reset_peak_memory_stats(device)
        run(batches)
        return int(torch.cuda.max_memory_allocated(device))
    read, write = os.pipe()
    if not (child := os.fork()):
        run(batches)
        os.write(write, str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as told:
        peak = int(told.read() or -1)
    os.waitpid(child, 0)
    return peak * 1024


@contextmanager
def without_waiting(model: nn.Module) -> Iterator[None]:
    """Make it an error to wait for the device while the model runs."""

    def begin(*_: Any) -> None:
        torch.cuda.set_sync_debug_mode("error")

    def end(*_: Any) -> None:
        torch.cuda.set_sync_debug_mode("default")

    handles = (
        model.register_forward_pre_hook(begin),
        model.register_forward_hook(end, always_call=True),
    )
    try:
        yield
    finally:
        end()
        for handle in handles:
            handle.remove()


# Rounds


@dataclass
class Measured:
    """What one contestant took: seconds of each round, bytes; or why it has no figure."""

    times: list[float]
    memory: int = 0
    failed: str = ""


def measure(
    work: Work,
    rounds: int,
    device: torch.device,
    peers: Mapping[str, Callable[[nn.Module], Contestant]],
) -> dict[str, Measured]:
    """Time plain passes, this package and its peers on some work, in turn."""
    torch.manual_seed(0)
    model = work.model().eval().to(device)
    batches = [torch.randn(work.shape, device=device) for _ in range(work.batches)]
    makers = {"plain passes": plain, "syops": counted, **peers}
    measured = {name: Measured([]) for name in makers}
    contestants: dict[str, Contestant] = {}
    for name, make in makers.items():
        try:
            contestants[name] = make(model)
            contestants[name](batches[:2])  # warm up
        except Exception as error:  # a peer may not know what this model is made of
            measured[name].failed = f"{type(error).__name__}: {str(error).splitlines()[0][:60]}"
            contestants.pop(name, None)
    if device.type == "cuda":
        with without_waiting(model):
            contestants["syops"](batches)
    for _ in range(rounds):
        for name, run in contestants.items():
            measured[name].times.append(seconds(run, batches, device))
    for name in ("plain passes", "syops"):
        measured[name].memory = peak_bytes(contestants[name], batches, device)
    return measured


def table(results: dict[str, dict[str, Measured]]) -> str:
    """Return the ratios of all contestants, as Markdown."""
    peers = [name for name in PEERS if all(name in measured for measured in results.values())]
    heads = ["", "plain passes", "syops", "aim", "memory", *peers]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    notes = []
    for key, measured in results.items():
        work, base = WORK[key], measured["plain passes"]
        least = min(base.times)

        def ratio(each: Measured, least: float = least) -> str:
            return f"{min(each.times) / least:.2f}" if each.times else "-"

        peaks = [each.memory / 2**20 for each in (base, measured["syops"])]
        cells = [
            work.name,
            f"{least:.3f} s",
            f"**{ratio(measured['syops'])}**",
            f"{work.aim:.2f}" if work.aim else "",
            "{:.0f} → {:.0f} MiB ({:.2f})".format(*peaks, peaks[1] / peaks[0]),
            *(ratio(measured[name]) for name in peers),
        ]
        lines.append("| " + " | ".join(cells) + " |")
        notes += [f"{name}, {work.name}: {m.failed}" for name, m in measured.items() if m.failed]
    return "\n".join([*lines, "", *(f"* {note}" for note in notes)])


def machine(device: torch.device) -> str:
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as lines:
            names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        name = names[0] if names else name
    if device.type == "cuda":
        name = f"{torch.cuda.get_device_name(device)}, {name}"
    return (
        f"{name}, {os.cpu_count()} CPUs, {torch.get_num_threads()} torch thread, "
        f"torch {torch.__version__}, Python {platform.python_version()}, "
        f"load {os.getloadavg()[0]:.1f}"
    )


PAGE = """# What counting costs

Made by `{command}`. Ratios of least times over {rounds} interleaved rounds: each contestant over
plain forward passes of the same model on the same batches, in one process. Memory: the most that
the process holds, in plain passes and counted, each in a process of its own. "-": a counter that
fails on the model, which is named below.

With `--device cuda` times are on the clock between synchronisations, memory is the device's, and it
is an error to wait for the device inside of a pass. That was not run: there was no GPU.

{machine}

{table}
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=WORK, default=list(WORK))
    parser.add_argument("--alone", action="store_true", help="without the other counters")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--save", type=Path, help="write the page of the documentation")
    args = parser.parse_args()

    torch.set_num_threads(1)
    device = torch.device(args.device)
    results: dict[str, dict[str, Measured]] = {}
    for key in args.only:
        results[key] = measure(WORK[key], args.rounds, device, {} if args.alone else PEERS)
        print(table({key: results[key]}), flush=True)
    options = "" if device.type == "cpu" else f" --device {device}"
    page = PAGE.format(
        command=f"python benchmarks/overhead.py{options}",
        rounds=args.rounds,
        machine=machine(device),
        table=table(results),
    )
    print(page)
    if args.save:
        args.save.write_text(page)


if __name__ == "__main__":
    main()
