"""Load the data sets of the paper, and scikit-learn's digits as images and as event streams."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from syops.dst.events import integrate, saccade_events
from syops.errors import (
    SyopsError,
    SyopsFileError,
    SyopsImportError,
    SyopsLookupError,
    first_line,
)

Pair = tuple[Dataset[Any], Dataset[Any]]
"""Training set and test set: pairs of an input and a label."""
EVENT_SETS = ("dvsgesture", "cifar10dvs", "digit-events")
"""Data sets whose samples are frames of events, [T, 2, H, W]."""


def digits() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Load scikit-learn's 1,797 handwritten digits, 8x8, grey: 1,347 to train, 450 to test.

    Returns:
        images [N, 1, 8, 8] between 0 and 1 and labels [N], for training and for test; the split is
        a fixed one, with as many of each digit in both.

    Examples:
        >>> (images, labels), test = digits()
        >>> images.shape, len(test[1])
        (torch.Size([1347, 1, 8, 8]), 450)
    """
    load_digits = _needed("sklearn.datasets", "the digits", "scikit-learn").load_digits
    split = _needed("sklearn.model_selection", "the digits", "scikit-learn").train_test_split
    found = load_digits()
    images, labels = found.images.astype(np.float32) / 16, found.target.astype(np.int64)
    x, x_test, y, y_test = split(images, labels, test_size=450, random_state=0, stratify=labels)
    train, test = (
        (torch.from_numpy(a)[:, None], torch.from_numpy(b)) for a, b in ((x, y), (x_test, y_test))
    )
    return train, test


def digit_events(T: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return the digits as an event camera sees them, 16x16, in T frames of equally many events.

    Returns:
        counts of events [N, T, 2, 16, 16] and labels [N], for training and for test; split as in
        `digits`.
    """
    return tuple((_recorded(images, T), labels) for images, labels in digits())  # type: ignore[return-value]


def _recorded(images: Tensor, T: int) -> Tensor:
    larger = F.interpolate(images, scale_factor=2, mode="bilinear")[:, 0].clamp(0, 1)
    size = int(larger.shape[1]), int(larger.shape[2])
    return torch.stack([integrate(saccade_events(image), T, size) for image in larger])


def get_data(name: str, T: int, root: Path | None = None) -> Pair:
    """Return a data set by the name of its recipe.

    Args:
        name: the name of a recipe; see `syops.dst.RECIPES`.
        T: frames into which streams of events are cut.
        root: the folder that holds the data; the digits need none.

    Raises:
        SyopsLookupError: an unknown name.
        SyopsImportError: the library that reads this data set is not installed.
        SyopsFileError: the folder does not exist, is not given, or does not hold this data set.

    Examples:
        >>> train, test = get_data("digits", T=4)
        >>> len(train), len(test)
        (1347, 450)
    """
    if name not in _LOADERS:
        raise SyopsLookupError(f"unknown data set: {name!r}; known: {', '.join(_LOADERS)}")
    try:
        return _LOADERS[name](T=T, root=root)
    except SyopsError:
        raise
    except Exception as error:  # each library has its own for files that are not there
        raise SyopsFileError(
            f"{name} cannot be read from {root} ({type(error).__name__}: {first_line(error)})"
        ) from error


def _digits(T: int, root: Path | None) -> Pair:
    train, test = digits()
    return TensorDataset(*train), TensorDataset(*test)


def _digit_events(T: int, root: Path | None) -> Pair:
    train, test = digit_events(T)
    return TensorDataset(*train), TensorDataset(*test)


def _imagenet(T: int, root: Path | None) -> Pair:
    """Load ImageNet: random flipped 224x224 crops to train, the centre to test (Appendix B)."""
    folder = _folder("imagenet", root)
    vision = _needed("torchvision", "ImageNet")
    tf = vision.transforms
    normal = [tf.ToTensor(), tf.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    train = tf.Compose([tf.RandomResizedCrop(224), tf.RandomHorizontalFlip(), *normal])
    test = tf.Compose([tf.Resize(256), tf.CenterCrop(224), *normal])
    image_folder = vision.datasets.ImageFolder
    return image_folder(folder / "train", train), image_folder(folder / "val", test)


def _cifar100(T: int, root: Path | None) -> Pair:
    folder = _folder("cifar100", root)
    vision = _needed("torchvision", "CIFAR100")
    tf = vision.transforms
    normal = [tf.ToTensor(), tf.Normalize((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))]
    crop = [tf.RandomCrop(32, padding=4), tf.RandomHorizontalFlip()]
    cifar = vision.datasets.CIFAR100
    return (
        cifar(folder, train=True, transform=tf.Compose([*crop, *normal])),
        cifar(folder, train=False, transform=tf.Compose(normal)),
    )


def _frames(module: str, class_name: str, T: int, folder: Path, **split: Any) -> Dataset[Any]:
    """Return a data set of spikingjelly, in T frames of equally many events."""
    needed = f"{module}, which needs torchvision and torchaudio,"
    dataset = getattr(_needed(module, class_name, needed), class_name)
    to_tensor = partial(torch.as_tensor, dtype=torch.float32)
    made: Dataset[Any] = dataset(
        folder, data_type="frame", frames_number=T, split_by="number", transform=to_tensor, **split
    )
    return made


def _dvsgesture(T: int, root: Path | None) -> Pair:
    folder = _folder("dvsgesture", root)
    of = partial(_frames, "spikingjelly.datasets.dvs128_gesture", "DVS128Gesture", T, folder)
    return of(train=True), of(train=False)


def _cifar10dvs(T: int, root: Path | None) -> Pair:
    """Load CIFAR10-DVS; the last tenth of each class is for tests, as in Fang et al. (2021)."""
    folder = _folder("cifar10dvs", root)
    whole: Any = _frames("spikingjelly.datasets.cifar10_dvs", "CIFAR10DVS", T, folder)
    labels = np.asarray(whole.targets)
    train, test = [], []
    for label in np.unique(labels):
        (places,) = np.nonzero(labels == label)
        cut = round(0.9 * len(places))
        train += places[:cut].tolist()
        test += places[cut:].tolist()
    return torch.utils.data.Subset(whole, train), torch.utils.data.Subset(whole, test)


_LOADERS: dict[str, Callable[..., Pair]] = {
    "imagenet": _imagenet,
    "dvsgesture": _dvsgesture,
    "cifar10dvs": _cifar10dvs,
    "cifar100": _cifar100,
    "digits": _digits,
    "digit-events": _digit_events,
}


def _folder(name: str, root: Path | None) -> Path:
    if root is None:
        raise SyopsFileError(f"{name} needs the folder that holds its data: --data FOLDER")
    if not root.is_dir():
        raise SyopsFileError(f"{name}: the data folder {root} does not exist")
    return root


def _needed(module: str, what: str, package: str = "") -> Any:
    """Return a module that reads a data set."""
    try:
        return import_module(module)
    except Exception as error:  # torchvision raises RuntimeError beside another torch
        raise SyopsImportError(
            f"{what} cannot be read: {package or module} cannot be imported "
            f"({type(error).__name__}: {error}); install one that fits this torch"
        ) from error
