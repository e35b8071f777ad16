"""Count trained NIR files, and the same networks in the libraries that ship them.

``python benchmarks/nir_files.py [FOLDER]``: sinabs' source distribution has a convolutional network
for N-MNIST, norse's a recurrent one for Braille. FOLDER holds the distributions; by default pip
downloads them. Inputs are seeded random spikes at rate 0.1.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import tarfile
import tempfile
import warnings
from pathlib import Path
from typing import Any

import nir
import norse.torch
import sinabs.nir
import torch
from norse.torch.functional.reset import reset_subtract
from torch import nn

from syops import from_nir, get_model_syops

FILES = {"sinabs": "scnn_mnist.nir", "norse": "braille.nir"}
STEPS = {"sinabs": 20, "norse": 256}
SAMPLES = 4


class First(nn.Module):
    """The first of what a network of nirtorch's returns; with ``loop``, step by step."""

    def __init__(self, network: nn.Module, loop: bool) -> None:
        super().__init__()
        self.network, self.loop = network, loop

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.loop:
            return self.network(x)[0]
        state, out = None, []
        for step in x:
            result, state = self.network(step, state)
            out.append(result)
        return torch.stack(out)


def file_of(library: str, folder: Path) -> Path:
    """Return the NIR file of a library, out of its source distribution."""
    if not list(folder.glob(f"{library}-*.tar.gz")):
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*command, "-q", "-d", str(folder), library], check=True)
    with tarfile.open(next(folder.glob(f"{library}-*.tar.gz"))) as archive:
        member = next(m for m in archive.getmembers() if m.name.endswith(FILES[library]))
        archive.extract(member, folder, filter="data")
    return folder / member.name


def drives(report: Any) -> list[Any]:
    """Return what drives each synaptic row, in no order."""
    return sorted(
        (row.operator, row.dense, [(d.evidence.signal, d.spikes, d.events, d.ac) for d in found])
        for row in report.rows
        if row.kind in ("conv", "linear") and (found := row.drives)
    )


def counted(library: str, path: Path) -> tuple[Any, Any, bool]:
    """Return the report of a file, that of its network in its library, and whether both agree."""
    graph, steps = nir.read(path), STEPS[library]
    shape = tuple(int(n) for n in graph.nodes["input"].input_type["input"])
    drawn = torch.rand(steps, SAMPLES, *shape, generator=torch.Generator().manual_seed(0))
    x = (drawn < 0.1).float()
    if library == "sinabs":
        ours = from_nir(path, neurons="sinabs")
        theirs = First(sinabs.nir.from_nir(graph, num_timesteps=steps), loop=False)
        told = get_model_syops(theirs, x.transpose(0, 1).flatten(0, 1))
    else:
        ours = from_nir(path, dt=1e-3)
        network = norse.torch.from_nir(graph, dt=1e-3, reset_method=reset_subtract)
        told = get_model_syops(First(network, loop=True), x, batch_dim=1, time_steps=steps)
    found = get_model_syops(ours, x, batch_dim=1, time_steps=steps)
    return found, told, drives(found) == drives(told)


def main() -> None:
    """Print a line for each file."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    given = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    print("| file | T | AC per sample (events) | MAC per sample | equal to its library |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for library, name in FILES.items():
            report, _, same = counted(library, file_of(library, given or Path(scratch)))
            print(
                f"| {library}: `{name}` | {STEPS[library]} | {report.ac_events:,.0f} | "
                f"{report.mac:,.0f} | {'yes' if same else 'NO'} |"
            )


if __name__ == "__main__":
    main()
