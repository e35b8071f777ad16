"""Kill a count with SIGKILL again and again, and let the same command go on.

    python benchmarks/kills.py               100 kills at random moments
    python benchmarks/kills.py --kills 5

The network is tiny, draws random spikes, and reads its samples shuffled; each batch is written to
the checkpoint. A kill comes at a random moment of the count, or a little later. Whenever a
checkpoint is whole, what the command then prints is compared with what a run prints that nobody
killed: the whole report as JSON, the command line aside.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BATCHES = 60

MODULE = f"""
import sys
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(16, 8), nn.Linear(8, 10)
    def forward(self, x):
        spikes = (torch.rand_like(x) < x).float()
        return self.second((self.first(spikes) > 0).float())

class Samples(torch.utils.data.Dataset):
    def __init__(self):
        print("reading", file=sys.stderr, flush=True)
    def __len__(self):
        return {4 * BATCHES - 1}
    def __getitem__(self, index):
        return torch.rand(16, generator=torch.Generator().manual_seed(index)), index % 10
"""

CHECKPOINT = "count.checkpoint"


@dataclass
class Tried:
    """What became of the kills.

    Attributes:
        left: after each kill, how many batches the checkpoint had.
        counts: that were brought to their end.
        differ: of these, those whose report was not that of a run that nobody killed.
        seconds: that all took.
    """

    left: list[int] = field(default_factory=list)
    counts: int = 0
    differ: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        some = [batches for batches in self.left if 0 < batches < BATCHES]
        return (
            f"{len(self.left)} kills in {self.seconds:.0f} s: {self.left.count(0)} before the "
            f"first checkpoint, {len(some)} amid the count ({len(set(some))} different numbers of "
            f"batches), {self.left.count(BATCHES)} when all was counted; {self.counts} counts were "
            f"brought to their end, {self.differ} of them with another report than a count that "
            "nobody killed"
        )


def kept(folder: Path) -> int:
    """Return how many batches the checkpoint has; 0 if there is none."""
    path = folder / CHECKPOINT
    return json.loads(path.read_text().split("\n", 1)[1])["batches"] if path.exists() else 0


def run(folder: Path, *more: str, within: float | None = None) -> float:
    """Run the command; return the seconds that it counted for.

    Args:
        folder: where.
        more: options.
        within: seconds from the beginning of the count, after which it is killed.
    """
    network = ("noise:Net", "--data", "noise:Samples", "--batch-size", "4", "--shuffle")
    output = ("--format", "json", "--output", "report.json")
    call = [sys.executable, "-m", "syops", "run", *network, *output, *more]
    with subprocess.Popen(call, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = ""
        while "reading" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        began = time.monotonic()
        if within is not None:
            time.sleep(within)
            process.kill()
        said += process.communicate()[1]
        assert within is not None or process.returncode == 0, said
        return time.monotonic() - began


def report(folder: Path) -> dict[str, Any]:
    """Return what was written, the command line aside."""
    content: dict[str, Any] = json.loads((folder / "report.json").read_text())
    del content["provenance"]["calls"]
    return content


def try_kills(kills: int, seed: int) -> Tried:
    """Kill so many runs."""
    draw, tried, began = random.Random(seed), Tried(), time.monotonic()
    options = ("--checkpoint", CHECKPOINT, "--checkpoint-seconds", "0")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "noise.py").write_text(MODULE)
        run(folder)
        plain = report(folder)

        def finish() -> float:
            took = run(folder, *options)
            tried.counts += 1
            tried.differ += report(folder) != plain
            (folder / CHECKPOINT).unlink()
            return took

        took = finish()
        for _ in range(kills):
            run(folder, *options, within=draw.uniform(0, 0.8 * took))
            tried.left.append(kept(folder))
            if tried.left[-1] == BATCHES:
                finish()
        finish()
    tried.seconds = time.monotonic() - began
    return tried


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    tried = try_kills(chosen.kills, chosen.seed)
    print(tried)
    sys.exit(tried.differ > 0)


if __name__ == "__main__":
    main()
