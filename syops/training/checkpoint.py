"""Checkpoints: written whole or not at all, and refused by any other training."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from syops.errors import SyopsFileError, SyopsValueError, first_line

NAME = "checkpoint.pt"


def write_whole(path: Path, write: Any) -> None:
    """Let ``write(partial)`` write a file beside ``path``, and put it in its place.

    Raises:
        SyopsFileError: it cannot be written; what was at ``path`` before still is.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:  # torch.save raises RuntimeError
        raise SyopsFileError(f"cannot write {path}: {first_line(error)}") from error


def save(folder: Path, identity: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    """Write the checkpoint of a training into ``folder``.

    Args:
        folder: made if it does not exist.
        identity: what a training must have in common with this one to go on from here.
        content: state dicts and plain data.
    """
    both = {"identity": dict(identity), "content": dict(content)}
    write_whole(folder / NAME, lambda partial: torch.save(both, partial))


def refuse_to_overwrite(folder: Path) -> None:
    """Raise `SyopsFileError` if there is a checkpoint in ``folder``."""
    if (folder / NAME).exists():
        raise SyopsFileError(
            f"{folder} holds a checkpoint already: resume it, or choose another folder"
        )


def load(folder: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """The content of the checkpoint in ``folder``.

    Raises:
        SyopsFileError: there is none, or it cannot be read.
        SyopsValueError: it is that of another training; names what differs.
    """
    path = folder / NAME
    if not path.is_file():
        raise SyopsFileError(f"{path} does not exist: there is nothing to resume")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        saved, content = found["identity"], found["content"]
    except Exception as error:  # whatever a damaged file makes of torch.load
        raise SyopsFileError(
            f"{path} is no checkpoint of a training, or damaged ({type(error).__name__})"
        ) from error
    for key, value in identity.items():
        if saved.get(key) != value:
            raise SyopsValueError(
                f"{path} is that of another training: its {key} is {saved.get(key)!r}, not "
                f"{value!r}"
            )
    restored: dict[str, Any] = content
    return restored
