"""Bundled networks as parameters of tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from syops.models import list_models

SMALLEST = frozenset(
    {
        *("dsnn18", "fsnn18", "sew_resnet18", "spiking_resnet18", "resnet18", "preact_resnet18"),
        *("dsnn_digits", "fsnn_digits", "sew_digits", "spiking_digits", "spikformer_4_384"),
        *("sew_7b", "fsnn_7b"),
    }
)


def repeats(name: str) -> bool:
    """Whether a network is made of the blocks of a smaller one, more of them or wider ones."""
    return name.endswith(("34", "101", "152", "wide7b", "8_512", "8_768"))


def bundled(names: Iterable[str] | None = None, *, smallest: bool = False) -> list[Any]:
    """Names of bundled networks, by default of all; what is slow is run by CI alone.

    That is a network that repeats another one; with ``smallest`` all but the smallest of a family.
    """
    return [
        pytest.param(name, marks=pytest.mark.slow)
        if repeats(name) or (smallest and name not in SMALLEST)
        else name
        for name in (list_models() if names is None else names)
    ]
