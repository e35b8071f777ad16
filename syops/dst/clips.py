"""Read folders of event clips, in the form that spikingjelly writes: .npz with t, x, y and p."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from syops.dst.events import Events, integrate
from syops.errors import SyopsValueError
from syops.run.data.folder import LabelledFiles

SUFFIXES = (".npz",)


class Clips(LabelledFiles):
    """The event clips of a folder, cut into T frames of equally many events.

    Samples are counts of events [T, 2, H, W], float32. A file may also hold frames that are made
    already, as the array ``frames``.

    Args:
        folder, labels: as of `LabelledFiles`.
        T: number of frames.
        size: height and width of the sensor.
    """

    what = "clip"
    suffixes = SUFFIXES

    def __init__(
        self, folder: Path, T: int, size: tuple[int, int], labels: np.ndarray | None = None
    ) -> None:
        super().__init__(folder, labels)
        self._T, self._size = T, size

    def read(self, path: Path) -> Tensor:
        return read_clip(path, self._T, self._size)


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
