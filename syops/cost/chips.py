"""Find the limits of chips, by name and in files.

Those that ship with syops are in ``chips.toml`` beside this file. Every limit has a source there
that states it. What no source states is not a limit here, and asking for it is an error.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from syops.errors import (
    SyopsLookupError,
    SyopsTypeError,
    SyopsValueError,
    did_you_mean,
    first_line,
    shown,
)
from syops.files import read_text
from syops.ops.kinds import SPIKES

LIMITS: Mapping[str, str] = {
    "operators": "what layers may be",
    "signals": "what layers may get",
    "weight_bits": "bits of a weight",
    "fan_in": "synapses of a neuron",
    "kernel_size": "height and width of a kernel",
    "features": "output channels of a layer",
    "feature_size": "height and width of a layer's output",
    "neurons_per_core": "neurons of a core",
    "synapses_per_core": "connections of a core, each with a weight of its own",
    "weight_memory_per_core": "bits of a core for weights",
    "kernel_memory": "weights of each core",
    "neuron_memory": "neurons of each core",
    "neurons": "neurons of the chip",
    "weights": "weights of the chip",
    "cores": "cores of the chip",
}
"""The limits that are checked, and what each is of."""

_LISTS = {"operators": str, "signals": str, "kernel_memory": int, "neuron_memory": int}
"""Limits that are lists, and of what."""

LARGEST = 10**15
"""Limits above it are refused."""


@dataclass(frozen=True)
class Chip:
    """Hold the limits of a chip.

    Attributes:
        name: its name in reports.
        chip: the chip in words.
        shares_cores: whether several layers may lie on one core.
        limits: each limit by its name; see `LIMITS`.
        sources: the source of each limit.

    Raises:
        SyopsValueError: a limit that is unknown, out of range, or without a source.

    Examples:
        >>> get_chip("loihi").limits["neurons_per_core"]
        1024
    """

    name: str
    chip: str
    shares_cores: bool
    limits: Mapping[str, Any]
    sources: Mapping[str, str]

    def __post_init__(self) -> None:
        for name, limit in self.limits.items():
            if name not in LIMITS:
                hint = did_you_mean(name, LIMITS)
                known = ", ".join(LIMITS)
                raise SyopsValueError(
                    f"{self._label}: unknown limit {name!r}; {hint}known: {known}"
                )
            self._check(name, limit)
            if not isinstance(self.sources.get(name), str) or not self.sources[name].strip():
                raise SyopsValueError(f"{self._label}: {name} has no source that states it")
        for name in self.sources:
            if name not in self.limits:
                raise SyopsValueError(f"{self._label}: a source for {name!r}, which is no limit")
        pair = [self.limits.get(name, ()) for name in ("kernel_memory", "neuron_memory")]
        if len(pair[0]) != len(pair[1]):
            raise SyopsValueError(
                f"{self._label}: kernel_memory and neuron_memory must have an entry for each core"
            )

    @property
    def _label(self) -> str:
        return f"chip {self.name!r}"

    @property
    def cores(self) -> int | None:
        """The number of cores; None where no source states it."""
        return len(self.limits.get("kernel_memory", ())) or self.limits.get("cores")

    def stated(self, names: Mapping[str, Any] | tuple[str, ...]) -> tuple[str, ...]:
        """Return the limits of these names, all that there are if none is given.

        Raises:
            SyopsLookupError: one that no source states, or that does not exist.
        """
        for name in names:
            if name not in LIMITS:
                hint = did_you_mean(name, LIMITS)
                raise SyopsLookupError(f"unknown limit {name!r}; {hint}known: {', '.join(LIMITS)}")
            if name not in self.limits:
                raise SyopsLookupError(
                    f"{self.name}: no source here states {name} ({LIMITS[name]}); stated: "
                    f"{', '.join(self.limits)}"
                )
        return tuple(name for name in LIMITS if name in (names or self.limits))

    def _check(self, name: str, limit: Any) -> None:
        of = _LISTS.get(name, int)
        items: Sequence[Any] = (
            limit if name in _LISTS and isinstance(limit, list | tuple) else [limit]
        )
        if name in _LISTS and not (isinstance(limit, list | tuple) and limit):
            raise SyopsValueError(f"{self._label}: {name} must be a list, got {shown(limit)}")
        for item in items:
            if type(item) is not of:
                kind = "text" if of is str else "an integer"
                raise SyopsValueError(f"{self._label}: {name} must be {kind}, got {shown(item)}")
            if isinstance(item, int) and not 1 <= item <= LARGEST:
                raise SyopsValueError(
                    f"{self._label}: {name} must be from 1 to {LARGEST:g}, got {shown(item)}"
                )
            if name == "signals" and item not in (*SPIKES, "graded", "analog"):
                raise SyopsValueError(
                    f"{self._label}: signals must be of {', '.join(SPIKES)}, graded, analog; got "
                    f"{shown(item)}"
                )


def list_chips() -> tuple[Chip, ...]:
    """Return the chips that ship with syops.

    Examples:
        >>> [chip.name for chip in list_chips()]
        ['loihi', 'loihi2', 'truenorth', 'speck']
    """
    return tuple(_chips().values())


def get_chip(chip: str | os.PathLike[str] | Chip) -> Chip:
    """Return the limits of a chip, by its name or file.

    Args:
        chip: a `Chip`; the name of one that ships with syops; a ``.toml`` file, with the name where
            it holds several (``mine.toml:chip``).

    Raises:
        SyopsTypeError: neither a name, a file nor a chip.
        SyopsLookupError: a chip that does not exist.
        SyopsFileError: a file that cannot be read.
        SyopsValueError: a file that holds no chips, or an impossible limit.

    Examples:
        >>> get_chip("speck").cores
        9
    """
    if isinstance(chip, Chip):
        return chip
    if not isinstance(chip, str | os.PathLike):
        raise SyopsTypeError(f"chip must be a name, a .toml file or a Chip, got {shown(chip)}")
    path, dot, name = os.fspath(chip).rpartition(".toml")
    if not dot or (name and not name.startswith(":")):
        return _named(os.fspath(chip), _chips(), "known chips")
    chips = _parsed(read_text(Path(path + dot)), path + dot)
    if not name and len(chips) > 1:
        raise SyopsLookupError(
            f"{path + dot} holds {len(chips)} chips; say which, such as "
            f"{path + dot}:{next(iter(chips))}; known: {', '.join(chips)}"
        )
    return _named(name[1:] or next(iter(chips)), chips, f"chips in {path + dot}")


def _named(name: str, chips: Mapping[str, Chip], known: str) -> Chip:
    if name not in chips:
        hint = did_you_mean(name, chips)
        raise SyopsLookupError(f"unknown chip {name!r}; {hint}{known}: {', '.join(chips)}")
    return chips[name]


@cache
def _chips() -> dict[str, Chip]:
    text = resources.files("syops.cost").joinpath("chips.toml").read_text("utf-8")
    return _parsed(text, "chips.toml")


def _parsed(text: str, where: str) -> dict[str, Chip]:
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise SyopsValueError(f"{where} is not TOML: {first_line(error)}") from error
    if not content:
        raise SyopsValueError(f"{where} holds no chip, such as [my-chip]")
    return {name: _chip(name, entry, where) for name, entry in content.items()}


_KEYS = {"chip": str, "shares_cores": bool, "limits": dict, "sources": dict}


def _chip(name: str, entry: Any, where: str) -> Chip:
    if not isinstance(entry, dict):
        raise SyopsValueError(f"{where}: {name!r} stands outside of a chip, such as [my-chip]")
    for key in entry:
        if key not in _KEYS:
            hint = did_you_mean(key, _KEYS)
            raise SyopsValueError(
                f"{where}: [{name}]: unknown key {key!r}; {hint}known: {', '.join(_KEYS)}"
            )
    for key, kind in _KEYS.items():
        if key not in entry:
            raise SyopsValueError(f"{where}: [{name}]: {key} is missing")
        if type(entry[key]) is not kind:
            raise SyopsValueError(
                f"{where}: [{name}]: {key} must be a {kind.__name__}, got {shown(entry[key])}"
            )
    try:
        return Chip(name, **entry)
    except SyopsValueError as error:
        raise SyopsValueError(f"{where}: {error}") from None
