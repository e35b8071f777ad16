"""Train a small full-spike network on Fashion-MNIST, and count it on the test images.

    python benchmarks/fashion_mnist.py train FOLDER   # about 10 minutes of one core
    python benchmarks/fashion_mnist.py count FOLDER   # the tables of docs/fashion_mnist.md

The data is Debian's package dataset-fashion-mnist: as installed, or downloaded into FOLDER.
"""

from __future__ import annotations

import argparse
import subprocess
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils.data import TensorDataset

from syops.dst import get_recipe
from syops.dst.loop import Epoch, fit
from syops.models import create_model
from syops.run.data.idx import read_idx

PACKAGE = "dataset-fashion-mnist"
DATA = Path("usr/share/datasets/fashion-mnist")
NETWORK = {"blocks": 2, "channels": 8, "T": 4}
RECIPE = replace(
    get_recipe("digits"), epochs=2, batch_size=64, lr=2e-3, optimizer="adamw", weight_decay=1e-4
)
TEST = "t10k-images-idx3-ubyte.gz"


def data(folder: Path) -> Path:
    """Return where the data set is; it is downloaded if it is not installed."""
    installed, unpacked = Path("/") / DATA, folder / DATA
    if installed.is_dir():
        return installed
    if not unpacked.is_dir():
        subprocess.run(["apt-get", "download", PACKAGE], cwd=folder, check=True)
        (package,) = folder.glob(f"{PACKAGE}_*.deb")
        subprocess.run(["dpkg", "-x", package.name, "."], cwd=folder, check=True)
    return unpacked


def split(folder: Path, name: str) -> TensorDataset:
    """Return images [N, 1, 28, 28] between 0 and 1, and labels [N]."""
    images = torch.from_numpy(read_idx(folder / f"{name}-images-idx3-ubyte.gz").copy())
    labels = torch.from_numpy(read_idx(folder / f"{name}-labels-idx1-ubyte.gz").copy())
    return TensorDataset(images[:, None] / 255, labels.long())


def train(folder: Path) -> None:
    """Train the network on 60,000 images; its weights are written to FOLDER/weights.pt."""
    where = data(folder)
    torch.manual_seed(0)
    model = create_model("fsnn_digits", **NETWORK)

    def told(epoch: Epoch) -> None:
        torch.save(model.state_dict(), folder / "weights.pt")
        print(f"epoch {epoch.epoch}: loss {epoch.loss:.3f}, test {epoch.accuracy}", flush=True)

    fit(model, split(where, "train"), split(where, "t10k"), RECIPE, name="fsnn", on_epoch=told)


def count(folder: Path) -> None:
    """Count the 10,000 test images by the command that the documentation shows."""
    options = [part for name, value in NETWORK.items() for part in ("--set", f"{name}={value}")]
    images = data(folder) / TEST
    command = ["syops", "run", "fsnn_digits", *options, "--weights", str(folder / "weights.pt")]
    command += ["--data", str(images), "--batch-size", "100"]
    print("$", *command, flush=True)
    subprocess.run(command, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("train", "count"))
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    {"train": train, "count": count}[given.what](given.folder)


if __name__ == "__main__":
    main()
