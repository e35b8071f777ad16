"""Read folders of images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from syops.errors import SyopsFileError, first_line
from syops.run.data.folder import LabelledFiles

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""The suffixes that `torchvision.datasets.ImageFolder` reads."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
IMAGENET_CROP = 224 / 256
"""Share of the resized image's shorter side that is kept."""

Transform: TypeAlias = Literal["plain", "imagenet"]
Size: TypeAlias = tuple[int, int, int]
"""Channels, height and width."""


class ImageFolder(LabelledFiles):
    """The images of a folder, as `torchvision.datasets.ImageFolder` reads them.

    Args:
        folder, labels: as of `LabelledFiles`.
        transform: makes of an image a sample.
    """

    what = "image"
    suffixes = SUFFIXES

    def __init__(
        self,
        folder: Path,
        transform: Callable[[Image.Image], Tensor],
        labels: np.ndarray | None = None,
    ) -> None:
        super().__init__(folder, labels)
        self._transform = transform

    def read(self, path: Path) -> Tensor:
        with Image.open(path) as image:
            return self._transform(image)


def plain(image: Image.Image, channels: int) -> Tensor:
    """Return an image scaled to [0, 1], in its own size: float32 [channels, height, width]."""
    return torch.from_numpy(_pixels(image, channels)).permute(2, 0, 1).contiguous()


def imagenet(image: Image.Image, size: Size) -> Tensor:
    """Return an image as ImageNet's networks expect it: float32 [channels, height, width].

    Resized so that the crop in its centre is 224/256 of the shorter side, which for 224 x 224 is
    torchvision's Resize(256) and CenterCrop(224); scaled to [0, 1] and normalised.
    """
    channels, height, width = size
    image = image.convert("RGB" if channels == 3 else "L")
    scale = max(height / image.height, width / image.width) / IMAGENET_CROP
    wide, high = int(image.width * scale + 1e-6), int(image.height * scale + 1e-6)
    image = image.resize((wide, high), Image.Resampling.BILINEAR)
    left, top = round((wide - width) / 2), round((high - height) / 2)
    pixels = _pixels(image.crop((left, top, left + width, top + height)), channels)
    mean, std = np.array([IMAGENET_MEAN, IMAGENET_STD], dtype=np.float32)
    if channels == 1:
        mean, std = mean.mean(keepdims=True), std.mean(keepdims=True)
    return torch.from_numpy((pixels - mean) / std).permute(2, 0, 1).contiguous()


def read_image(path: Path, size: Size) -> Tensor:
    """Read one photograph, upright, as `imagenet` makes it: [1, channels, height, width].

    Raises:
        SyopsFileError: the file is not an image.
    """
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            return imagenet(image, size).unsqueeze(0)
    except Exception as error:
        told = f"{type(error).__name__}: {first_line(error)}"
        raise SyopsFileError(f"the image {path} cannot be read: {told}") from error


def _pixels(image: Image.Image, channels: int) -> np.ndarray:
    """Return float32 [height, width, channels] in [0, 1]; ``channels`` is 3, or 1 for grey."""
    image = image.convert("RGB" if channels == 3 else "L")
    array = np.asarray(image, dtype=np.float32).reshape(image.height, image.width, channels)
    pixels: np.ndarray = array / np.float32(255)
    return pixels
