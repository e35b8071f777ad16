"""Bundled networks as parameters of tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from syops.models import list_models


def repeats(name: str) -> bool:
    """Whether a network is made of the blocks of a smaller one, more of them or wider ones."""
    return name.endswith(("34", "101", "152", "wide7b", "8_512", "8_768"))


def bundled(names: Iterable[str] | None = None) -> list[Any]:
    """Names of bundled networks, by default of all; only CI runs those that repeat others."""
    return [
        pytest.param(name, marks=pytest.mark.slow) if repeats(name) else name
        for name in (list_models() if names is None else names)
    ]
