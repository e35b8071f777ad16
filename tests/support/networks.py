"""Bundled networks as parameters of tests."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest

from syops.models import list_models
from tests.support.examples import some


def repeats(name: str) -> bool:
    """Whether a network is made of the blocks of a smaller one, more of them or wider ones."""
    return name.endswith(("34", "101", "152", "wide7b", "8_512", "8_768", "18_small"))


TINY = frozenset({"dsnn_digits", "fsnn_digits", "sew_digits", "spiking_digits"})
"""The networks for images of 8x8, one of each kind of residual connection."""

BLOCKS = TINY | {"resnet18", "preact_resnet18", "spikformer_4_384", "fsnn_7b"}
"""One network of each kind of block."""

SMALLEST = BLOCKS | {"dsnn18", "fsnn18", "sew_resnet18", "spiking_resnet18", "sew_7b"}
"""The smallest network of each family."""

DISTINCT = frozenset(name for name in list_models() if not repeats(name))
"""Those that do not repeat another one."""


def frame(name: str) -> tuple[int, int, int]:
    """A small image for a network that takes images: channels, height and width."""
    if name.endswith("_small"):
        return 1, 28, 28
    return (1, 8, 8) if "digits" in name else (3, 32, 32)


def bundled(
    names: Iterable[str] | None = None,
    *,
    quick: Collection[str] = DISTINCT,
    slow: Collection[str] = (),
) -> list[Any]:
    """Names of bundled networks, by default of all; those that are not quick are slow.

    Of those that are in neither collection, as they repeat the blocks of others, one of three is
    run unless SYOPS_EXAMPLES asks for all.
    """
    every = list_models() if names is None else list(names)
    named = {*quick, *slow}
    run = named.union(some([name for name in every if name not in named], one_of=3))
    return [
        name if name in quick else pytest.param(name, marks=pytest.mark.slow)
        for name in every
        if name in run
    ]
