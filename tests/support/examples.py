"""How many random examples a test tries: with SYOPS_EXAMPLES=4, eight times as many as usual."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TypeVar

from hypothesis import HealthCheck, settings

T = TypeVar("T")

TIMES = float(os.environ.get("SYOPS_EXAMPLES", "0.5"))


def times(number: int) -> int:
    """A number of examples, multiplied as the environment says."""
    return math.ceil(number * TIMES)


def examples(number: int, *, derandomize: bool = True) -> settings:
    """Settings of a test by hypothesis; by default it tries the same examples in every run."""
    return settings(
        deadline=None,
        max_examples=times(number),
        suppress_health_check=list(HealthCheck),
        derandomize=derandomize,
    )


def some(cases: Sequence[T], one_of: int) -> Sequence[T]:
    """Cases spread evenly over all: usually one of so many, with SYOPS_EXAMPLES=1 every one."""
    return cases if TIMES >= 1 else cases[::one_of]
