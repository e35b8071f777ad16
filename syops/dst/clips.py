"""Read folders of event clips, in the form that spikingjelly writes: .npz with t, x, y and p."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from syops.dst.events import Events, integrate
from syops.errors import SyopsError, SyopsFileError, SyopsValueError, first_line
from syops.run.data.labels import as_labels


class Clips(Dataset[tuple[Tensor, int | None]]):
    """The event clips of a folder, cut into T frames of equally many events.

    Samples are counts of events [T, 2, H, W], float32; sub-folders are classes, in the order of
    their names. A file may also hold frames that are made already, as the array ``frames``.

    Args:
        folder: with clips, or with a sub-folder of clips for each class.
        T: number of frames.
        size: height and width of the sensor.
        labels: of each clip; by default the places of the sub-folders.

    Raises:
        SyopsValueError: there are no clips, or not as many labels.
    """

    def __init__(
        self, folder: Path, T: int, size: tuple[int, int], labels: np.ndarray | None = None
    ) -> None:
        self.paths = clips_in(folder)
        if not self.paths:
            raise SyopsValueError(f"the folder {folder} has no event clips (.npz)")
        self._T, self._size = T, size
        names = [path.relative_to(folder).parts[:-1] for path in self.paths]
        order = {name: place for place, name in enumerate(sorted({n[0] for n in names if n}))}
        own = [order[name[0]] for name in names if name]
        if labels is None and len(own) == len(self.paths):
            labels = np.array(own)
        self.labels = as_labels(labels, len(self.paths), folder)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int | None]:
        path = self.paths[index]
        try:
            frames = read_clip(path, self._T, self._size)
        except SyopsError as error:
            raise SyopsFileError(f"the clip {path} cannot be read: {error}") from error
        except Exception as error:
            told = f"{type(error).__name__}: {first_line(error)}"
            raise SyopsFileError(f"the clip {path} cannot be read: {told}") from error
        return frames, None if self.labels is None else int(self.labels[index])


def clips_in(folder: Path) -> list[Path]:
    """Return the clips of a folder and its sub-folders, in the order of their paths."""
    return sorted(folder.rglob("*.npz"))


def read_clip(path: Path, T: int, size: tuple[int, int]) -> Tensor:
    """Return the frames of a clip, [T, 2, H, W]."""
    with np.load(path, allow_pickle=False) as file:
        if "frames" in file:
            frames = torch.from_numpy(file["frames"].astype(np.float32))
            if tuple(frames.shape) != (T, 2, *size):
                raise SyopsValueError(
                    f"frames of shape {list(frames.shape)}; expected {[T, 2, *size]}"
                )
            return frames
        missing = [name for name in "txyp" if name not in file]
        if missing:
            raise SyopsValueError(f"there is no array {', '.join(missing)}; it has {file.files}")
        t, x, y, p = (torch.from_numpy(file[name].astype(np.int64)) for name in "txyp")
    if not len(t) == len(x) == len(y) == len(p):
        raise SyopsValueError("t, x, y and p are of different lengths")
    return integrate(Events(t, x, y, p), T, size)
