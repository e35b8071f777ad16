"""Compute attributes when they are first read."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")


class Once(Generic[T]):
    """Call a function once, whoever asks for its result first, then forget the function.

    A function that raised is called again.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self._work: Callable[[], T] | None = work
        self._lock = threading.RLock()

    def __call__(self) -> T:
        with self._lock:
            if self._work is not None:
                self._made = self._work()
                self._work = None
            return self._made


def later(work: Callable[[], T]) -> T:
    """Return a value for a field made by `late`: the result of ``work``, called when it is read.

    To a type checker it is that result.
    """
    return cast(T, Once(work))


def late(default: T) -> T:
    """Return a field of a dataclass that takes a plain value, or one that comes `later`.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Sum:
    ...     total: int = late(0)
    >>> Sum(later(lambda: 1 + 1)).total
    2
    """
    return cast(T, _Late(default))


class _Late:
    def __init__(self, default: Any) -> None:
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, holder: Any, owner: type) -> Any:
        if holder is None:  # dataclasses ask the class for the default
            return self._default
        value = vars(holder)[self._name]
        if isinstance(value, Once):
            value = vars(holder)[self._name] = value()
        return value

    def __set__(self, holder: Any, value: Any) -> None:
        vars(holder)[self._name] = value
