"""Write files whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from syops.errors import SyopsFileError, first_line


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write(partial)`` write a file beside ``path``, and put it in its place.

    A file that is there already keeps its mode, and a symbolic link stays one.

    Raises:
        SyopsFileError: it cannot be written; what was at ``path`` before still is.
    """
    try:
        target = path.resolve()  # through symbolic links, which stay
        partial = target.with_name(f".syops-{os.getpid()}-{threading.get_ident()}.partial")
        try:
            mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
            if mode is not None:
                partial.touch(0o600)  # not for others to read in the meantime
            write(partial)
            if mode is not None:
                partial.chmod(mode)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    except (OSError, RuntimeError, ValueError) as error:  # torch.save raises RuntimeError
        raise SyopsFileError(f"cannot write {path}: {_why(error)}") from error


def write_text(path: Path, text: str) -> None:
    """Write ``text``, in UTF-8. Raises `SyopsFileError` as `write_whole` does."""
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def read_text(path: Path) -> str:
    """Read text in UTF-8. Raises `SyopsFileError` if it cannot be read."""
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise SyopsFileError(f"cannot read {path}: it is not text in UTF-8") from error
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise SyopsFileError(f"cannot read {path}: {_why(error)}") from error


def check_writable(path: Path) -> None:
    """Raise `SyopsFileError` if ``path`` cannot be written: before the work, not after it."""
    try:
        target = path.resolve()
        if target.exists() and not target.is_file():
            raise SyopsFileError(f"cannot write {path}: not a regular file")
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except SyopsFileError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        raise SyopsFileError(f"cannot write {path}: {_why(error)}") from error


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or first_line(error)
