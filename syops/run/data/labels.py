"""Check the labels of a data set."""

from __future__ import annotations

from typing import Any

import numpy as np

from syops.errors import SyopsValueError


def as_labels(labels: Any, samples: int, where: object) -> np.ndarray | None:
    """Return labels if there is one integer for each sample.

    Args:
        labels: an array, or None.
        samples: how many there are.
        where: what the samples were read from.

    Raises:
        SyopsValueError: there are more or fewer labels than samples, or they are not integers.
    """
    if labels is None:
        return None
    array = np.asarray(labels)
    if array.ndim != 1 or len(array) != samples:
        raise SyopsValueError(
            f"{where} has {samples} samples, and labels of shape {list(array.shape)}: expected "
            f"[{samples}]"
        )
    if array.dtype.kind not in "iu":
        raise SyopsValueError(f"{where} has labels of {array.dtype}: expected integers")
    return array
