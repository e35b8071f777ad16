"""Define every exception that syops raises on purpose.

Each exception derives from `SyopsError` and from the fitting builtin: ``except SyopsError`` catches
it, and so does ``except ValueError``, for instance. Its message names the layer or argument, and
says what was wrong and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from typing import Any


class SyopsError(Exception):
    """Report an error; every exception of syops derives from this class.

    Attributes:
        report: of a count that failed at one batch of many, a `syops.Report` of the batches before
            it; None where there are none.
    """

    report: Any = None


class SyopsValueError(SyopsError, ValueError):
    """Report a value of an argument or tensor that cannot be used."""


class SyopsTypeError(SyopsError, TypeError):
    """Report an argument of a type that cannot be used."""


class SyopsLookupError(SyopsError, LookupError):
    """Report a model, profile or keyword that does not exist."""


class SyopsFileError(SyopsError, OSError):
    """Report a file that is missing or corrupt, or that cannot be written."""


class SyopsImportError(SyopsError, ImportError):
    """Report a library that is not installed, or that does not fit the others."""


class SyopsRuntimeError(SyopsError, RuntimeError):
    """Report something that cannot be watched, or not at this time."""


class ForwardError(SyopsError, RuntimeError):
    """Report that the model failed on its input; the original error is the ``__cause__``."""


def shown(value: object, room: int = 60) -> str:
    """Return the start of ``repr(value)``, whatever that is, in one line."""
    try:
        text = repr(value)
    except Exception:  # of an integer of more digits than Python writes, say
        return f"a {type(value).__name__}"
    text = " ".join(line.strip() for line in text.splitlines())
    return text if len(text) <= room else f"{text[: room - 3]}..."


def first_of(names: Collection[str], most: int = 6) -> str:
    """Return the first of many names, and how many there are besides.

    >>> first_of(["conv1", "conv2", "fc"], most=2)
    'conv1, conv2 and 1 more'
    """
    more = len(names) - most
    return ", ".join(list(names)[:most]) + (f" and {more} more" if more > 0 else "")


_FEW = 6
"""Names that a question lists."""


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return a question that names what a name may stand for, and a space; "" if nothing is close.

    That is all names of which it is a part, if they are few, or else the closest one. Capitals do
    not matter.

    >>> did_you_mean("dsn18", ["dsnn18", "fsnn18"])
    "did you mean 'dsnn18'? "
    >>> did_you_mean("SNN", ["dsnn18", "fsnn18", "resnet18"])
    "did you mean 'dsnn18' or 'fsnn18'? "
    """
    said = str(name).lower()
    lowered = {each.lower(): each for each in known}
    wider = [each for each in lowered if said in each] if len(said) > 2 else []
    close = wider if 0 < len(wider) <= _FEW else difflib.get_close_matches(said, lowered, n=1)
    if not close:
        return ""
    *others, last = (repr(lowered[each]) for each in close)
    return f"did you mean {', '.join(others)}{' or ' if others else ''}{last}? "


def first_line(error: BaseException) -> str:
    """Return what an error of somebody else's says, in one line that a sentence can go on from."""
    return next(iter(str(error).strip().splitlines()), "").rstrip().removesuffix(".")


def with_type(error: BaseException) -> str:
    """Return the type of an error and the first line of what it says.

    >>> with_type(KeyError("T")), with_type(StopIteration())
    ("KeyError: 'T'", 'StopIteration')
    """
    return f"{type(error).__name__}: {first_line(error)}".rstrip(": ")
