"""Files are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from syops.errors import SyopsFileError, first_line


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write(partial)`` write a file beside ``path``, and put it in its place.

    Raises:
        SyopsFileError: it cannot be written; what was at ``path`` before still is.
    """
    target = path.resolve()
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        try:
            write(partial)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:  # torch.save raises RuntimeError
        raise SyopsFileError(f"cannot write {path}: {_why(error)}") from error


def write_text(path: Path, text: str) -> None:
    """Write ``text``, in UTF-8. Raises `SyopsFileError` as `write_whole` does."""
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def read_text(path: Path) -> str:
    """Read text in UTF-8. Raises `SyopsFileError` if it cannot be read."""
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise SyopsFileError(f"cannot read {path}: {_why(error)}") from error
    except UnicodeDecodeError as error:
        raise SyopsFileError(f"cannot read {path}: it is not text in UTF-8") from error


def check_writable(path: Path) -> None:
    """Raise `SyopsFileError` if ``path`` cannot be written: before the work, not after it."""
    if path.exists() and not path.is_file():
        raise SyopsFileError(f"cannot write {path}: not a regular file")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise SyopsFileError(f"cannot write {path}: {_why(error)}") from error


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or first_line(error)
