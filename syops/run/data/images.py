"""Read folders of images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from syops.errors import SyopsFileError, SyopsValueError, first_line
from syops.run.data.labels import as_labels

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""The suffixes that `torchvision.datasets.ImageFolder` reads."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
IMAGENET_CROP = 224 / 256
"""Share of the resized image's shorter side that is kept."""

Transform: TypeAlias = Literal["plain", "imagenet"]
Size: TypeAlias = tuple[int, int, int]
"""Channels, height and width."""


class ImageFolder(Dataset[tuple[Tensor, int | None]]):
    """The images of a folder; sub-folders are classes, in the order of their names.

    Samples are in the order of their paths, as in `torchvision.datasets.ImageFolder`.

    Args:
        folder: with images, or with a sub-folder of images for each class.
        transform: makes of an image a sample.
        labels: of each image; by default the places of the sub-folders.

    Raises:
        SyopsValueError: there are no images, or not as many labels.
    """

    def __init__(
        self,
        folder: Path,
        transform: Callable[[Image.Image], Tensor],
        labels: np.ndarray | None = None,
    ) -> None:
        self.paths, classes = images_in(folder)
        if not self.paths:
            raise SyopsValueError(f"the folder {folder} has no images ({', '.join(SUFFIXES)})")
        self._transform = transform
        if labels is None and classes:
            own = [classes[path.relative_to(folder).parts[0]] for path in self.paths]
            labels = np.array(own)
        self.labels = as_labels(labels, len(self.paths), folder)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int | None]:
        path = self.paths[index]
        try:
            with Image.open(path) as image:
                sample = self._transform(image)
        except Exception as error:
            told = f"{type(error).__name__}: {first_line(error)}"
            raise SyopsFileError(f"the image {path} cannot be read: {told}") from error
        return sample, None if self.labels is None else int(self.labels[index])


def images_in(folder: Path) -> tuple[list[Path], dict[str, int]]:
    """Return the images of a folder, and its classes by name; none if it is flat.

    Raises:
        SyopsValueError: there are images beside sub-folders.
    """

    def images(paths: list[Path]) -> list[Path]:
        return sorted(path for path in paths if path.suffix.lower() in SUFFIXES and path.is_file())

    flat = images(list(folder.iterdir()))
    inner = sorted(path for path in folder.iterdir() if path.is_dir())
    if flat and inner:
        raise SyopsValueError(
            f"the folder {folder} has images, such as {flat[0].name}, beside sub-folders: put all "
            "of them into sub-folders, which are classes, or none"
        )
    if not inner:
        return flat, {}
    classes = {path.name: place for place, path in enumerate(inner)}
    return [image for path in inner for image in images(list(path.rglob("*")))], classes


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
