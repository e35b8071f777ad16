"""Train a small convolutional SNN on Fashion-MNIST, and count it on the 10,000 test images.

    python benchmarks/fashion_mnist.py train FOLDER   # a few minutes of one core
    python benchmarks/fashion_mnist.py count FOLDER   # the table of docs/fashion_mnist.md

The data is Debian's package dataset-fashion-mnist: as installed, or downloaded into FOLDER.
"""

from __future__ import annotations

import argparse
import subprocess
from dataclasses import replace
from pathlib import Path

import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from syops.dst import get_recipe
from syops.dst.loop import Epoch, fit
from syops.run.data.idx import read_idx

PACKAGE = "dataset-fashion-mnist"
DATA = Path("usr/share/datasets/fashion-mnist")
RECIPE = replace(get_recipe("digits"), epochs=3, batch_size=64, lr=2e-3, optimizer="adamw")
TEST = "t10k-images-idx3-ubyte.gz"


class CSNN(nn.Module):
    """Two strided convolutions with LIF neurons, and a classifier, whose mean over T is returned.

    The pixels are the input of every time-step. The classifier gets spikes.
    """

    def __init__(self, T: int = 4, channels: int = 16) -> None:
        super().__init__()
        self.T = T
        self.conv1 = self._conv(1, channels)
        self.sn1 = self._neuron()
        self.conv2 = self._conv(channels, 2 * channels)
        self.sn2 = self._neuron()
        self.fc = nn.Linear(2 * channels * 7 * 7, 10)

    @staticmethod
    def _conv(in_channels: int, channels: int) -> nn.Sequential:
        return nn.Sequential(
            layer.Conv2d(in_channels, channels, 3, 2, 1, bias=False, step_mode="m"),
            layer.BatchNorm2d(channels, step_mode="m"),
        )

    @staticmethod
    def _neuron() -> nn.Module:
        return neuron.LIFNode(detach_reset=True, step_mode="m")

    def forward(self, x: Tensor) -> Tensor:
        functional.reset_net(self)
        x = x.expand(self.T, *x.shape)
        spikes = self.sn2(self.conv2(self.sn1(self.conv1(x))))
        return self.fc(spikes.flatten(2)).mean(0)


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
    model = CSNN()

    def told(epoch: Epoch) -> None:
        torch.save(model.state_dict(), folder / "weights.pt")
        accuracy = epoch.accuracy["spike"]
        print(f"epoch {epoch.epoch}: loss {epoch.loss:.3f}, test {accuracy:.2%}", flush=True)

    fit(model, split(where, "train"), split(where, "t10k"), RECIPE, name="csnn", on_epoch=told)


def count(folder: Path) -> None:
    """Count the 10,000 test images by the command that the documentation shows."""
    command = ["syops", "run", "fashion_mnist:CSNN", "--weights", str(folder / "weights.pt")]
    command += ["--data", str(data(folder) / TEST), "--batch-size", "100"]
    print("$", *command, flush=True)
    subprocess.run(command, check=True, cwd=Path(__file__).parent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("train", "count"))
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    given.folder = given.folder.resolve()
    given.folder.mkdir(parents=True, exist_ok=True)
    {"train": train, "count": count}[given.what](given.folder)


if __name__ == "__main__":
    main()
