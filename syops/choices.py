"""Name the words that arguments take, as types, and check that a value is one of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Literal, ParamSpec, TypeAlias, TypeVar, get_args

from syops.errors import SyopsTypeError, SyopsValueError, did_you_mean

T = TypeVar("T")
P = ParamSpec("P")

Graded: TypeAlias = Literal["mac", "ac"]
"""How an integer input that is not a spike is counted."""

AcCount: TypeAlias = Literal["rate", "events"]
"""Which count of ACs is priced: firing rate · dense, or the fan-out of every spike."""

Signal: TypeAlias = Literal["analog", "binary", "ternary", "graded"]
"""What a neuron or an input sends."""

InputSignal: TypeAlias = Literal["auto", "analog", "binary", "ternary", "graded"]
"""What an input holds: a `Signal`, or what the data shows."""

End: TypeAlias = Literal["first", "last"]
"""One of the two layers that a full-spike network may feed with more than spikes."""

GRADED: tuple[Graded, ...] = get_args(Graded)
AC_COUNTS: tuple[AcCount, ...] = get_args(AcCount)
SIGNALS: tuple[Signal, ...] = get_args(Signal)
INPUT_SIGNALS: tuple[InputSignal, ...] = get_args(InputSignal)
ENDS: tuple[End, ...] = get_args(End)


def check_truth(name: str, value: object) -> None:
    """Refuse an argument that is neither True nor False.

    Raises:
        SyopsTypeError: it is something else.
    """
    if not isinstance(value, bool):
        raise SyopsTypeError(f"{name} must be True or False, got {value!r}")


def choice(name: str, value: object, known: Iterable[T]) -> T:
    """Return the one of ``known`` that ``value`` is.

    Args:
        name: of the argument, for the error.

    Raises:
        SyopsValueError: it is none of them.

    >>> choice("graded", "ac", GRADED)
    'ac'
    """
    words = tuple(known)
    for word in words:
        if type(value) is type(word) and value == word:
            return word
    listed = ", ".join(map(str, words))
    hint = did_you_mean(value, map(str, words)).rstrip()
    raise SyopsValueError(f"{name} must be one of {listed}; got {value!r}{hint and f'; {hint}'}")


def checks_keywords(function: Callable[P, T]) -> Callable[P, T]:
    """Have a function refuse a keyword that it does not take by an error that names a close one.

    Raises:
        SyopsTypeError: at its call.
    """
    known = tuple(inspect.signature(function).parameters)

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        if unknown := next((name for name in kwargs if name not in known), None):
            raise SyopsTypeError(
                f"{function.__name__} has no argument {unknown!r}; "
                f"{did_you_mean(unknown, known)}known: {', '.join(known)}"
            )
        return function(*args, **kwargs)

    return called
