"""How many random examples a test tries: with SYOPS_EXAMPLES=1, eight times as many as usual.

Tests of which this is true bear the mark ``random_examples``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings

T = TypeVar("T")

random_examples = pytest.mark.random_examples

TIMES = float(os.environ.get("SYOPS_EXAMPLES", "0.125"))


def times(number: int) -> int:
    """A number of examples, multiplied as the environment says."""
    return math.ceil(number * TIMES)


def examples(number: int, *, derandomize: bool = True) -> Callable[[Callable], Callable]:
    """Mark a test by hypothesis, and set it up; by default each run tries the same examples."""
    setting = settings(
        deadline=None,
        max_examples=times(number),
        suppress_health_check=list(HealthCheck),
        derandomize=derandomize,
    )
    return lambda test: random_examples(setting(test))


def some(cases: Sequence[T], one_of: int) -> Sequence[T]:
    """Cases spread evenly over all: usually one of so many, with SYOPS_EXAMPLES=1 every one."""
    return cases if TIMES >= 1 else cases[::one_of]
