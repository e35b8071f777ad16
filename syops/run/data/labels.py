"""Check the labels of a data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from syops.errors import SyopsValueError


def as_labels(labels: np.ndarray | None, samples: int, path: Path) -> np.ndarray | None:
    """Return labels if they are as many as the samples.

    Args:
        labels: one for each sample, or None.
        samples: how many there are.
        path: what the samples were read from.

    Raises:
        SyopsValueError: there are more or fewer labels than samples, or they are no integers.
    """
    if labels is None:
        return None
    if labels.ndim != 1 or len(labels) != samples:
        raise SyopsValueError(
            f"{path} has {samples} samples and labels of shape {list(labels.shape)}: expected "
            f"[{samples}]"
        )
    if labels.dtype.kind not in "iu":
        raise SyopsValueError(f"the labels of {path} are of {labels.dtype}: expected integers")
    return labels
