"""Read the fields of a JSON object, and check each.

Each value in a file is checked, since the file may be cut off or written by another program.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from fractions import Fraction
from typing import Any, NoReturn, TypeVar

from syops.errors import SyopsValueError, shown

T = TypeVar("T")
LARGEST_COUNT = 10**30
LARGEST_NUMBER = 1e200
"""What a file may say at most, so that no figure that follows from it overflows."""


class Fields:
    """The fields of a JSON object, each checked when it is asked for.

    Args:
        content: the object.
        place: where it stands in the report.

    Raises:
        SyopsValueError: from every method: the field is missing or of a wrong type or range.
    """

    def __init__(self, content: Any, place: str = "") -> None:
        self._content: dict[str, Any] = content
        self._place = place
        if not isinstance(content, dict):
            raise SyopsValueError(f"{place or 'it'} must be an object, got {shown(content)}")

    def get(self, key: str) -> Any:
        if key not in self._content:
            raise SyopsValueError(f"{self._named(key)} is missing")
        return self._content[key]

    def has(self, key: str) -> bool:
        return key in self._content

    def text(self, key: str, known: Collection[str] = ()) -> str:
        value = self.get(key)
        if not isinstance(value, str):
            self.refuse(key, "text")
        if known and value not in known:
            self.refuse(key, f"one of {', '.join(known)}")
        return value

    def dtype(self, key: str) -> str:
        """Return the name of a dtype of torch's, "mixed", or "" where there is none."""
        name = self.text(key)
        return name if _DTYPE.fullmatch(name) else self.refuse(key, "a dtype such as 'float32'")

    def truth(self, key: str) -> bool:
        value = self.get(key)
        return value if isinstance(value, bool) else self.refuse(key, "true or false")

    def count(self, key: str, least: int = 0) -> int:
        value = self.get(key)
        known = isinstance(value, int) and not isinstance(value, bool)
        if not known or value < least:
            self.refuse(key, f"an integer, at least {least}")
        if value > LARGEST_COUNT:
            self.refuse(key, f"at most {MOST}")
        return value

    def counts(self, key: str) -> tuple[int, ...]:
        """Return a list of integers from 0."""
        items = self.values(key, int)
        if not all(0 <= item <= LARGEST_COUNT for item in items):
            self.refuse(key, f"a list of integers from 0 to {MOST}")
        return tuple(items)

    def number(self, key: str) -> float:
        value = self.get(key)
        known = isinstance(value, int | float) and not isinstance(value, bool)
        if not known or not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
            self.refuse(key, "a finite number")
        return value

    def fraction(self, key: str) -> Fraction:
        value = self.get(key)
        if not isinstance(value, str) or not _FRACTION.fullmatch(value):
            self.refuse(key, "a fraction such as '3/8'")
        found = Fraction(value)
        if found > LARGEST_COUNT:
            self.refuse(key, f"a fraction, at most {MOST}")
        return found

    def optional(self, key: str, read: Callable[[Fields, str], T]) -> T | None:
        """Return a field, or None if it is null."""
        return None if self.get(key) is None else read(self, key)

    def inner(self, key: str) -> Fields:
        return Fields(self.get(key), self._named(key))

    def each(self, key: str, read: Callable[[Fields], T]) -> tuple[T, ...]:
        """Return a list of objects."""
        place = self._named(key)
        items = self._items(key)
        return tuple(read(Fields(item, f"{place}[{i}]")) for i, item in enumerate(items))

    def values(self, key: str, kind: type[T], known: Collection[str] = ()) -> list[T]:
        items = self._items(key)
        if not all(type(item) is kind and (not known or item in known) for item in items):
            self.refuse(key, f"a list of {' or '.join(known) or kind.__name__}")
        return items

    def mapping(self, key: str, kinds: tuple[type, ...]) -> dict[str, Any]:
        content = self.inner(key)._content
        if not all(type(value) in kinds for value in content.values()):
            self.refuse(key, f"an object of {' or '.join(kind.__name__ for kind in kinds)}")
        return content

    def plain(self) -> dict[str, Any]:
        return self._content

    def _items(self, key: str) -> list[Any]:
        value = self.get(key)
        return value if isinstance(value, list) else self.refuse(key, "a list")

    def _named(self, key: str) -> str:
        return f"{self._place}.{key}" if self._place else key

    def refuse(self, key: str, wanted: str) -> NoReturn:
        raise SyopsValueError(f"{self._named(key)} must be {wanted}, got {shown(self.get(key))}")


MOST = f"{LARGEST_COUNT:.0e}".replace("+", "")
_FRACTION = re.compile(r"[0-9]{1,4000}(/0{0,4000}[1-9][0-9]{0,3999})?")
"""Python reads no integers of more than 4300 digits."""
_DTYPE = re.compile(r"|mixed|bool|[a-z]{1,8}[1-9][0-9]{0,2}(_?[a-z][a-z0-9_]{0,20})?")
"""``float32``, ``quint4x2``, ``float8_e4m3fn``: a width has at most three digits."""


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{shown(twice)} stands twice in one object")
    return content


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"it holds {constant}, which is not a number")


def parsed(text: str) -> Any:
    """Return what JSON says, without NaN, names that stand twice, and halves of surrogate pairs.

    Raises:
        ValueError, RecursionError: it says none.
    """
    content = json.loads(text, parse_constant=_no_number, object_pairs_hook=_once_each)
    json.dumps(content, ensure_ascii=False).encode()
    return content
