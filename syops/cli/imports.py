"""Import torch, and what is built on it, at the least cost."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import click


class ProcessArguments(list[str]):
    """The arguments of a process that runs nothing but the command."""


@contextmanager
def keeping_imports() -> Iterator[None]:
    """Import modules, and keep Python from looking for garbage in them, in a process of our own.

    Whenever objects have grown in number, and once more at exit, Python would walk through all
    200,000 of torch: a quarter of the time of a short command. In the process of somebody who calls
    the command from Python, their own garbage would be kept too, so nothing is changed there.
    """
    context = click.get_current_context(silent=True)
    if context is None or not isinstance(context.find_root().obj, ProcessArguments):
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
