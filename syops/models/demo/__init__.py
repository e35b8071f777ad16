"""Provide the trained networks and real data of the demo; see MODEL_CARD.md beside this file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from syops.models.create import create_model
from syops.models.demo.measure import Row, measure

FOLDER = Path(__file__).parent
NETWORKS = ("fsnn_digits", "dsnn_digits", "sew_digits")
"""The networks of which there are weights, as `syops.create_model` makes them by default."""
BATCH = 150


def weights(network: str) -> Path:
    """Return the file with the weights of one of `NETWORKS`."""
    return FOLDER / f"{network}.safetensors"


def digits() -> tuple[Tensor, Tensor]:
    """Return the 450 digits on which the networks were not trained.

    Returns:
        images [450, 1, 8, 8] between 0 and 1, and labels [450], as `syops.dst.digits` splits.
    """
    with np.load(FOLDER / "digits.npz") as found:
        images, labels = found["images"], found["labels"]
    return torch.from_numpy(images)[:, None].float() / 16, torch.from_numpy(labels).long()


def rows() -> list[Row]:
    """Return the networks, tested and counted on the same digits: a small Table 2, measured now."""
    images, labels = digits()
    batches = list(zip(images.split(BATCH), labels.split(BATCH), strict=True))
    return [measure(name, create_model(name, weights=weights(name)), batches) for name in NETWORKS]
