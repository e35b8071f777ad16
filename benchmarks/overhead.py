"""Measure what counting costs: a counted forward pass against a plain one, in CPU time.

    python benchmarks/overhead.py                     one pass of DSNN-18, T=4, 224x224, batch 2
    python benchmarks/overhead.py --ratio             that, and Eq. (6), which is counted when asked
    python benchmarks/overhead.py --steady            a data set: many batches in one call
    python benchmarks/overhead.py --model sew_resnet34 --batch 1 --repeat 20

Torch runs on one thread, and the CPU time of the process is measured: work of other processes
counts only as far as it takes caches and memory away. Every round times each contestant once, so
that a slow moment of the machine hits all of them. Printed is the ratio of the least times, and the
median over the rounds of (contestant / plain pass of the same round). Beside syops: spikingjelly's
SynOpCounter and MACCounter together, where the installed spikingjelly has them.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable

import torch
from spikingjelly.activation_based import base

from syops import get_model_syops
from syops.models import calibrate, create_model

try:
    from spikingjelly.activation_based import op_counter
except ImportError:
    op_counter = None

Contestant = Callable[[list[torch.Tensor]], object]


def plain(model: torch.nn.Module) -> Contestant:
    neurons = [module for module in model.modules() if isinstance(module, base.MemoryModule)]

    def run(batches: list[torch.Tensor]) -> None:
        with torch.no_grad():
            for batch in batches:
                for neuron in neurons:
                    neuron.reset()
                model(batch)

    return run


def counted(model: torch.nn.Module, ratio: bool = False) -> Contestant:
    def run(batches: list[torch.Tensor]) -> object:
        inputs = batches if len(batches) > 1 else batches[0]
        report = get_model_syops(model, inputs, progress=False)
        return report.energy_ratio if ratio else report

    return run


def counted_by_spikingjelly(model: torch.nn.Module) -> Contestant:
    def run(batches: list[torch.Tensor]) -> None:
        counters = [op_counter.SynOpCounter(), op_counter.MACCounter()]
        with op_counter.DispatchCounterMode(counters):
            plain(model)(batches)

    return run


def seconds(run: Contestant, batches: list[torch.Tensor]) -> float:
    start = time.process_time()
    run(batches)
    return time.process_time() - start


def machine() -> str:
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as lines:
            names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        name = names[0] if names else name
    return (
        f"{name}, {os.cpu_count()} CPUs, {torch.get_num_threads()} torch thread, "
        f"torch {torch.__version__}, Python {platform.python_version()}, "
        f"load {os.getloadavg()[0]:.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="dsnn18")
    parser.add_argument("--batch", type=int, default=2, help="images in a batch")
    parser.add_argument("--size", type=int, default=224, help="height and width of an image")
    parser.add_argument("--time-steps", type=int, default=4)
    parser.add_argument("--repeat", type=int, default=15, help="rounds")
    parser.add_argument("--ratio", action="store_true", help="ask for E(SNN)/E(ANN) as well")
    parser.add_argument("--steady", action="store_true", help="count many batches in one call")
    parser.add_argument("--batches", type=int, default=16, help="batches of a round, for --steady")
    args = parser.parse_args()

    torch.set_num_threads(1)
    print(machine())
    torch.manual_seed(0)
    model = create_model(args.model, T=args.time_steps).eval()
    number = args.batches if args.steady else 1
    batches = [torch.randn(args.batch, 3, args.size, args.size) for _ in range(number)]
    calibrate(model, batches[0])

    contestants = {"plain forward": plain(model), "syops": counted(model, args.ratio)}
    if op_counter is not None:
        contestants["spikingjelly SynOp+MAC"] = counted_by_spikingjelly(model)
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for run in contestants.values():
        run(batches[:1])  # warm up
    for _ in range(args.repeat):
        for name, run in contestants.items():
            times[name].append(seconds(run, batches))

    print(
        f"{args.model}, T={args.time_steps}, {args.size}x{args.size}, {number} batch(es) of "
        f"{args.batch}, {args.repeat} interleaved rounds"
    )
    print(f"{'':24}{'least s':>10}{'median s':>10}{'least ratio':>13}{'median ratio':>14}")
    for name, measured in times.items():
        ratios = [t / p for t, p in zip(measured, times["plain forward"], strict=True)]
        least = min(measured) / min(times["plain forward"])
        print(
            f"{name:24}{min(measured):10.4f}{statistics.median(measured):10.4f}"
            f"{least:13.3f}{statistics.median(ratios):14.3f}"
        )


if __name__ == "__main__":
    main()
