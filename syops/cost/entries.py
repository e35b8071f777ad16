"""Read named entries from TOML files: those that ship with syops, and a user's own."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Generic, TypeVar

from syops.errors import SyopsLookupError, SyopsValueError, did_you_mean, first_line
from syops.files import read_text

T = TypeVar("T")


@dataclass(frozen=True)
class Entries(Generic[T]):
    """Find entries of one sort by name, or in a file with a table for each.

    Attributes:
        sort: what an entry is, such as "energy profile".
        plural: several of them, as in "known profiles".
        heading: an example of the heading of an entry, such as "[my-chip]".
        shipped: the file beside this one with those that ship with syops.
        build: makes an entry of its name, its table, and the file to name in errors.
    """

    sort: str
    plural: str
    heading: str
    shipped: str
    build: Callable[[str, dict[str, Any], str], T]

    @cached_property
    def known(self) -> dict[str, T]:
        """Those that ship with syops, the default first."""
        text = resources.files("syops.cost").joinpath(self.shipped).read_text("utf-8")
        return self._parsed(text, self.shipped)

    def find(self, name: str) -> T:
        """Return an entry by its name, or of a ``.toml`` file: ``my.toml`` or ``my.toml:name``.

        Raises:
            SyopsLookupError: it does not exist.
            SyopsFileError: a file that cannot be read.
            SyopsValueError, SyopsTypeError: a file that holds no such entries, or a wrong one.
        """
        path, dot, entry = name.rpartition(".toml")
        if dot and (not entry or entry.startswith(":")):
            return self._from_file(Path(path + dot), entry[1:])
        return self._named(name, self.known, f"known {self.plural}")

    def load(self, path: str | os.PathLike[str]) -> dict[str, T]:
        """Read all entries of a file."""
        return self._parsed(read_text(Path(path)), str(path))

    def _from_file(self, path: Path, name: str) -> T:
        entries = self.load(path)
        if not name and len(entries) > 1:
            raise SyopsLookupError(
                f"{path} holds {len(entries)} {self.sort}s; say which, such as "
                f"{path}:{next(iter(entries))}; known: {', '.join(entries)}"
            )
        return self._named(name or next(iter(entries)), entries, f"{self.plural} in {path}")

    def _named(self, name: str, entries: Mapping[str, T], known: str) -> T:
        if name not in entries:
            hint = did_you_mean(name, entries)
            raise SyopsLookupError(
                f"unknown {self.sort} {name!r}; {hint}{known}: {', '.join(entries)}"
            )
        return entries[name]

    def _parsed(self, text: str, where: str) -> dict[str, T]:
        try:
            content = tomllib.loads(text)
        except (ValueError, RecursionError) as error:  # ValueError: an integer of 5000 digits too
            raise SyopsValueError(f"{where} is not TOML: {first_line(error)}") from error
        for name, entry in content.items():
            if not isinstance(entry, dict):
                raise SyopsValueError(
                    f"{where}: {name!r} stands outside of a {self.plural.removesuffix('s')}; put "
                    f"it under a heading such as {self.heading}"
                )
        if not content:
            raise SyopsValueError(f"{where} holds no {self.sort}, such as {self.heading}")
        return {name: self.build(name, entry, where) for name, entry in content.items()}


def check_keys(name: str, entry: Mapping[str, Any], known: list[str], where: str) -> None:
    """Refuse a key that means nothing.

    Raises:
        SyopsValueError: names the entry and the key.
    """
    for key in entry:
        if key not in known:
            hint = did_you_mean(key, known)
            raise SyopsValueError(
                f"{where}: [{name}]: unknown key {key!r}; {hint}known: {', '.join(known)}"
            )
