"""How many random examples a test tries: with SYOPS_EXAMPLES=10, ten times as many."""

from __future__ import annotations

import math
import os

from hypothesis import HealthCheck, settings

TIMES = float(os.environ.get("SYOPS_EXAMPLES", "1"))


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
