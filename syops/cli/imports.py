"""Import torch, and what is built on it, at the least cost."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def for_good() -> Iterator[None]:
    """Import what stays until the program ends, and keep Python from looking for garbage in it.

    Whenever objects have grown in number, and once more at exit, Python would walk through all
    200,000 of torch: a quarter of the time of a short command.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
