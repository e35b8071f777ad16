"""Open what ``--data`` names: decide what kind of data it is, and read that in batches."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset

from syops.cli.output import note
from syops.dst.clips import SUFFIXES as CLIPS
from syops.dst.clips import Clips
from syops.errors import (
    SyopsError,
    SyopsFileError,
    SyopsLookupError,
    SyopsTypeError,
    SyopsValueError,
    first_line,
)
from syops.run.data import arrays, idx, images
from syops.run.data.folder import has_files
from syops.run.data.loader import Loader

BATCH_SIZE = 32
"""Samples of a batch, unless the user says otherwise."""


@dataclass(frozen=True)
class Reading:
    """Say how data is to be read.

    Attributes:
        batch_size, batch_dim, workers, shuffle, seed: as of `syops.run.data.loader.Loader`.
        labels: a file of labels.
        transform: what images become.
        image: channels, height and width of what the model takes.
        dtype: of the model's weights.
        time_steps: T, where it is known.
        bundled: whether the model is a bundled network.
    """

    batch_size: int | None
    batch_dim: int
    workers: int | None
    shuffle: bool
    seed: int
    labels: Path | None
    transform: images.Transform | None
    image: tuple[int, int, int]
    dtype: torch.dtype
    time_steps: int | None
    bundled: bool

    def loader(self, data: Dataset[Any]) -> Loader:
        """Return the batches of a data set."""
        return Loader(
            data,
            batch_size=self.batch_size or BATCH_SIZE,
            batch_dim=self.batch_dim,
            workers=self.workers or 0,
            shuffle=self.shuffle,
            seed=self.seed,
        )

    def read_labels(self) -> np.ndarray | None:
        """Return the labels of the file that the user names."""
        if self.labels is None:
            return None
        if idx.is_idx(self.labels):
            return idx.read_idx(self.labels)
        return arrays.read_labels(self.labels)

    def refuse(self, what: str, *names: str) -> None:
        """Refuse options that do not apply to data of a kind."""
        for name in names:
            if getattr(self, name):
                raise click.UsageError(f"--{name.replace('_', '-')} does not apply to {what}")


class DataKind(NamedTuple):
    """Say what one kind of data is, how to tell it from others, and how to open it."""

    what: str
    fits: Callable[[str], bool]
    open: Callable[[str, Reading], Iterable[Any]]


def open_data(name: str, reading: Reading) -> Iterable[Any]:
    """Return the batches of what the user names.

    Raises:
        SyopsFileError: there is no such file, or it cannot be read.
        SyopsLookupError: it is of no kind that is known, or cannot be imported.
        SyopsValueError: there are no samples, or not as many labels as samples.
    """
    source = next((source for source in SOURCES if source.fits(name)), None)
    if source is None:
        kinds = "; ".join(source.what for source in SOURCES)
        if Path(name).exists():
            raise SyopsLookupError(f"--data {name} is of no kind that can be read; known: {kinds}")
        raise SyopsFileError(f"--data {name} does not exist; expected one of: {kinds}")
    return source.open(name, reading)


def _arrays(name: str, reading: Reading) -> Loader:
    reading.refuse("a file of arrays", "transform")
    data = arrays.Arrays(Path(name), reading.batch_dim, reading.dtype, reading.read_labels())
    if data.has_bytes:
        note(f"{name} holds unsigned bytes, which are fed as 0 to 255; scale them if need be")
    return reading.loader(data)


def _idx(name: str, reading: Reading) -> Loader:
    reading.refuse("an IDX file", "transform")
    data = idx.IdxImages(Path(name), reading.read_labels())
    note(f"{name}: {len(data)} images, scaled to [0, 1]{_unlabelled(data)}")
    return reading.loader(data)


def _images(name: str, reading: Reading) -> Loader:
    channels, height, width = reading.image
    if channels not in (1, 3):
        raise SyopsValueError(f"--input-shape: images have 1 or 3 channels, not {channels}")
    transform: Callable[..., torch.Tensor] = partial(images.plain, channels=channels)
    done = "scaled to [0, 1], not resized and not normalised"
    if reading.transform == "imagenet":
        transform = partial(images.imagenet, size=reading.image)
        done = f"resized, cropped to {height}x{width} and normalised as for ImageNet"
    data = images.ImageFolder(Path(name), transform, reading.read_labels())
    note(f"{name}: {len(data)} images, {done}{_unlabelled(data)}")
    return reading.loader(data)


def _clips(name: str, reading: Reading) -> Loader:
    reading.refuse("event clips", "transform")
    if reading.time_steps is None:
        raise SyopsValueError("event clips are cut into T frames; give --time-steps T")
    if reading.bundled and reading.batch_dim != 1:
        raise SyopsValueError("bundled networks take clips as [T, N, ...]; give --batch-dim 1")
    size = reading.image[1:]
    data = Clips(Path(name), reading.time_steps, size, reading.read_labels())
    note(
        f"{name}: {len(data)} clips, each cut into {reading.time_steps} frames of equally many "
        f"events, {size[0]}x{size[1]}{_unlabelled(data)}"
    )
    return reading.loader(data)


def _unlabelled(data: Any) -> str:
    return "" if data.labels is not None else "; without labels"


def _called(name: str, reading: Reading) -> Iterable[Any]:
    """Return the loader that a function of the user's returns, or batches of its data set."""
    module, _, attribute = name.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        make = attrgetter(attribute)(import_module(module))
        made = make()
    except SyopsError:
        raise
    except Exception as error:
        raise SyopsLookupError(f"--data {name} cannot be called: {_in_words(error)}") from error
    reading.refuse(f"{name}, whose samples have labels themselves", "labels")
    reading.refuse(f"{name}, which makes its samples itself", "transform")
    if isinstance(made, Dataset) and not isinstance(made, IterableDataset):
        made = torch.utils.data.DataLoader(
            made,
            reading.batch_size or BATCH_SIZE,
            shuffle=reading.shuffle,
            num_workers=reading.workers or 0,
            generator=torch.Generator().manual_seed(reading.seed),
        )
    else:
        reading.refuse(f"{name}, which returns batches", "batch_size", "shuffle", "workers")
    if isinstance(made, str | bytes) or not isinstance(made, Iterable):
        raise SyopsTypeError(
            f"--data {name} returned {type(made).__name__}: expected a data set, or an iterable of "
            "batches such as a DataLoader"
        )
    return _Named(name, made, make)


class _Named:
    """Iterate over batches of the user's; an error of theirs names what they come from.

    Args:
        name: what they come from.
        batches: an iterable. An iterator, which can be read once, is made anew each time.
        make: makes it.
    """

    def __init__(self, name: str, batches: Any, make: Callable[[], Any]) -> None:
        self._name = name
        self._batches = batches
        self._make = make
        self.batch_size = getattr(batches, "batch_size", None)
        self.drop_last = getattr(batches, "drop_last", True)
        self.sampler = getattr(batches, "sampler", None)

    def __iter__(self) -> Iterator[Any]:
        try:
            is_iterator = isinstance(self._batches, Iterator)
            yield from self._make() if is_iterator else self._batches
        except SyopsError:
            raise
        except Exception as error:
            raise SyopsError(f"{self._name} failed: {_in_words(error)}") from error


def _in_words(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    # What a worker of torch's says ends with the error itself.
    line = lines[-1] if lines and "DataLoader worker" in lines[0] else first_line(error)
    return line if type(error).__name__ in line else f"{type(error).__name__}: {line}"


def _is_file(name: str, suffixes: tuple[str, ...]) -> bool:
    return Path(name).is_file() and name.lower().endswith(suffixes)


def _is_callable(name: str) -> bool:
    module, colon, attribute = name.partition(":")
    parts = [*module.split("."), *attribute.split(".")]
    return bool(colon) and all(part.isidentifier() for part in parts)


SOURCES = (
    DataKind("a file .npy, .npz, .pt or .pth", lambda x: _is_file(x, arrays.SUFFIXES), _arrays),
    DataKind(
        "an IDX file such as t10k-images-idx3-ubyte.gz", lambda x: _is_file(x, idx.SUFFIXES), _idx
    ),
    DataKind(
        "a folder of event clips (.npz)",
        lambda x: Path(x).is_dir() and has_files(Path(x), CLIPS),
        _clips,
    ),
    DataKind("a folder of images", lambda x: Path(x).is_dir(), _images),
    DataKind("package.module:callable, which returns a loader", _is_callable, _called),
)
"""All kinds of data, in the order in which they are tried."""
