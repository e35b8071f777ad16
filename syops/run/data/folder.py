"""Read folders of files that are samples, whose sub-folders are classes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from syops.errors import SyopsError, SyopsFileError, SyopsValueError, first_line
from syops.run.data.labels import as_labels


class LabelledFiles(Dataset[tuple[Tensor, int | None]]):
    """The files of a folder, one a sample; sub-folders are classes, in the order of their names.

    Samples are in the order of their paths. A subclass says how a file is read.

    Args:
        folder: with files, or with a sub-folder of files for each class.
        labels: of each file; by default the places of the sub-folders.

    Attributes:
        what: what one file is called.
        suffixes: of the files, in lower case.

    Raises:
        SyopsValueError: there are no files, files beside sub-folders, a sub-folder without files,
            or not as many labels.
    """

    what: str
    suffixes: Collection[str]

    def __init__(self, folder: Path, labels: np.ndarray | None = None) -> None:
        self.paths, own = _files_in(folder, self.what, self.suffixes)
        self.labels = as_labels(own if labels is None else labels, len(self.paths), folder)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int | None]:
        path = self.paths[index]
        try:
            sample = self.read(path)
        except Exception as error:
            name = "" if isinstance(error, SyopsError) else f"{type(error).__name__}: "
            told = f"{name}{first_line(error)}"
            raise SyopsFileError(f"the {self.what} {path} cannot be read: {told}") from error
        return sample, None if self.labels is None else int(self.labels[index])

    @abstractmethod
    def read(self, path: Path) -> Tensor:
        """Return the sample in a file."""


def has_files(folder: Path, suffixes: Collection[str]) -> bool:
    """Return whether a folder, or one inside it, has files with these suffixes."""
    return bool(_with_suffix(folder.rglob("*"), suffixes))


def _files_in(
    folder: Path, what: str, suffixes: Collection[str]
) -> tuple[list[Path], np.ndarray | None]:
    """Return the files of a folder, and their classes; None for these if it is flat."""
    flat = _with_suffix(folder.iterdir(), suffixes)
    inner = sorted(path for path in folder.iterdir() if path.is_dir())
    if flat and inner:
        raise SyopsValueError(
            f"the folder {folder} has {what}s, such as {flat[0].name}, beside sub-folders: put all "
            "of them into sub-folders, which are classes, or none"
        )
    classes = [_with_suffix(path.rglob("*"), suffixes) for path in inner]
    if not flat and not any(classes):
        raise SyopsValueError(f"the folder {folder} has no {what}s ({', '.join(suffixes)})")
    for path, files in zip(inner, classes, strict=True):
        if not files:  # it would shift the labels of all classes after it
            raise SyopsValueError(
                f"the folder {path} has no {what}s, but would be a class; remove it"
            )
    if flat:
        return flat, None
    labels = [place for place, files in enumerate(classes) for _ in files]
    return [path for files in classes for path in files], np.array(labels)


def _with_suffix(paths: Iterable[Path], suffixes: Collection[str]) -> list[Path]:
    return sorted(path for path in paths if path.suffix.lower() in suffixes and path.is_file())
