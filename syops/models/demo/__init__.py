"""Provide the trained networks and real data of the demo; see the model cards beside this file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from syops.errors import SyopsFileError
from syops.models.create import create_model
from syops.models.demo.measure import MeasuredNetwork, measure
from syops.run.data.idx import read_idx

FOLDER = Path(__file__).parent
NETWORKS = ("fsnn_digits", "dsnn_digits", "sew_digits")
"""The networks of which there are weights for the digits, as `syops.create_model` makes them by
default."""
FASHION_MNIST_NETWORKS = ("fsnn18_small", "dsnn18_small")
"""Those of which there are weights for Fashion-MNIST."""
PACKAGE = "dataset-fashion-mnist"
INSTALLED = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's `PACKAGE` puts its files."""
BATCH = 150
"""Samples that are counted at once."""


def weights(network: str) -> Path:
    """Return the file with the weights of one of `NETWORKS` or `FASHION_MNIST_NETWORKS`."""
    return FOLDER / f"{network}.safetensors"


def digits() -> tuple[Tensor, Tensor]:
    """Return the 450 digits on which the networks were not trained.

    Returns:
        images [450, 1, 8, 8] between 0 and 1, and labels [450], as `syops.dst.digits` splits.
    """
    with np.load(FOLDER / "digits.npz") as found:
        images, labels = found["images"], found["labels"]
    return torch.from_numpy(images)[:, None].float() / 16, torch.from_numpy(labels).long()


def fashion_mnist() -> tuple[Tensor, Tensor]:
    """Return the 10,000 test images of Fashion-MNIST, which syops does not ship.

    Returns:
        images [10000, 1, 28, 28] between 0 and 1, and labels [10000].

    Raises:
        SyopsFileError: Debian's package with them is not installed, or damaged.
    """
    if not INSTALLED.is_dir():
        raise SyopsFileError(
            f"Fashion-MNIST is not installed: {INSTALLED} does not exist. On Debian and Ubuntu: "
            f"apt-get install {PACKAGE}; elsewhere, put its IDX files there"
        )
    images = torch.tensor(read_idx(INSTALLED / "t10k-images-idx3-ubyte.gz"))
    labels = torch.tensor(read_idx(INSTALLED / "t10k-labels-idx1-ubyte.gz"))
    return images[:, None].float() / 255, labels.long()


def rows(data: str = "digits") -> list[MeasuredNetwork]:
    """Return the networks, tested and counted on the same data: a small Table 2, measured now.

    Args:
        data: "digits" or "fashion-mnist".
    """
    images, labels = digits() if data == "digits" else fashion_mnist()
    names = NETWORKS if data == "digits" else FASHION_MNIST_NETWORKS
    batches = list(zip(images.split(BATCH), labels.split(BATCH), strict=True))
    return [measure(name, create_model(name, weights=weights(name)), batches) for name in names]
