"""Write checkpoints whole or not at all, and refuse those of another training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from syops.errors import SyopsFileError, SyopsValueError
from syops.files import write_whole

NAME = "checkpoint.pt"


def save(folder: Path, identity: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    """Write the checkpoint of a training into ``folder``.

    Args:
        folder: made if it does not exist.
        identity: what a training must have in common with this one to go on from here.
        content: state dicts and plain data.
    """
    both = {"identity": dict(identity), "content": dict(content)}

    def write(partial: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(both, partial)

    write_whole(folder / NAME, write)


def refuse_to_overwrite(folder: Path) -> None:
    """Raise `SyopsFileError` if there is a checkpoint in ``folder``, or it is not a folder."""
    if folder.exists() and not folder.is_dir():
        raise SyopsFileError(f"{folder} is a file: results need a folder")
    if (folder / NAME).exists():
        raise SyopsFileError(
            f"{folder} holds a checkpoint already: resume it, or choose another folder"
        )


def load(folder: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of the checkpoint in ``folder``.

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
            f"{path} is not a checkpoint of a training, or damaged ({type(error).__name__})"
        ) from error
    for key, value in identity.items():
        if saved.get(key) != value:
            raise SyopsValueError(
                f"{path} is that of another training: its {key} is {saved.get(key)!r}, not "
                f"{value!r}"
            )
    restored: dict[str, Any] = content
    return restored
