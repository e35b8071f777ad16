"""Keep a count in a file from time to time, so that it can go on after the process has died.

A checkpoint is the report of all batches so far, as JSON, with how many of them there are, what
count it is of, and the states of the random generators. A count that goes on reads these batches
again without running the model, and checks that they are the same.

The first line of the file holds its version and the SHA-256 of the rest. It appears whole or not
at all; a disk that lost a part of it is told by the checksum.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from syops.errors import SyopsFileError, SyopsValueError, shown
from syops.files import read_text, write_whole
from syops.ledger.provenance import HEXADECIMAL, short
from syops.report.report import MeasuredReport, Report
from syops.show.fields import Fields, parsed
from syops.trace.restore import Random

VERSION = 1
"""Of the layout of the file."""


@dataclass(frozen=True)
class Checkpoint:
    """A count up to some batch.

    Attributes:
        count: what it is a count of, each property by its name.
        batches: that were counted.
        states: names of buffers that are states, not weights.
        random: the states of the random generators behind the last of these batches.
        report: of all batches.
    """

    count: Mapping[str, str]
    batches: int
    states: frozenset[str]
    random: Random
    report: MeasuredReport

    def check(self, count: Mapping[str, str], path: Path) -> None:
        """Refuse to go on with another count.

        Raises:
            SyopsValueError: says in what the counts differ.
        """
        differ = [name for name in count if self.count.get(name) != count[name]]
        if differ:
            told = "; ".join(
                f"{name}: there {_in_words(self.count.get(name))}, here {_in_words(count[name])}"
                for name in differ
            )
            raise SyopsValueError(
                f"{path} is the checkpoint of another count ({told}); give another file, or remove "
                "it to count anew"
            )


def _in_words(value: str | None) -> str:
    is_digest = value is not None and len(value) == HEXADECIMAL and value.isalnum()
    return short(value) if is_digest else str(value)


# Files


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, which replaces the one before.

    Raises:
        SyopsFileError: it cannot be written; what was there before still is.
    """
    body = json.dumps(
        {
            "count": dict(checkpoint.count),
            "batches": checkpoint.batches,
            "states": sorted(checkpoint.states),
            "random": _random_to_json(checkpoint.random),
            "report": checkpoint.report.to_json(),
        },
        ensure_ascii=True,
    ).encode()
    head = {"syops checkpoint": VERSION, "sha256": sha256(body).hexdigest()}

    def write_to(partial: Path) -> None:
        with partial.open("wb") as file:
            file.write(json.dumps(head).encode() + b"\n" + body)
            file.flush()
            os.fsync(file.fileno())

    write_whole(path, write_to)


def read(path: Path) -> Checkpoint | None:
    """Return the checkpoint in a file; None if there is no file.

    Raises:
        SyopsFileError: the file cannot be read, is torn, or is not a checkpoint of this version.
    """
    if not path.exists():
        return None
    line, _, body = read_text(path).partition("\n")
    instead = "; nothing is counted. Remove it to count anew, or give another file"
    try:
        head = Fields(parsed(line))
        version, digest = head.get("syops checkpoint"), head.text("sha256")
    except (ValueError, RecursionError) as error:
        raise SyopsFileError(f"{path} is not a checkpoint, or a torn one{instead}") from error
    if version != VERSION:
        raise SyopsFileError(
            f"{path} is a checkpoint of version {shown(version)}, this syops reads {VERSION}; go "
            "on with the version of syops that wrote it"
        )
    if sha256(body.encode()).hexdigest() != digest:
        raise SyopsFileError(f"{path} is torn or was changed: its checksum is wrong{instead}")
    try:
        content = Fields(parsed(body))
        report = Report.from_json(content.text("report"))
        if not isinstance(report, MeasuredReport):
            content.refuse("report", "one of a run on data")
        return Checkpoint(
            count=content.mapping("count", (str,)),
            batches=content.count("batches", least=1),
            states=frozenset(content.values("states", str)),
            random=_random_from_json(content.inner("random")),
            report=report,
        )
    except (ValueError, TypeError, RecursionError) as error:
        raise SyopsFileError(f"{path} is a damaged checkpoint ({error}){instead}") from error


def _random_to_json(found: Random) -> dict[str, Any]:
    version, words, gauss = found.python
    numpy = None
    if found.numpy is not None:
        name, keys, *rest = found.numpy
        numpy = [name, keys.tolist(), *rest]
    return {
        "python": [version, list(words), gauss],
        "numpy": numpy,
        "torch": _hex(found.torch),
        "cuda": None if found.cuda is None else [_hex(state) for state in found.cuda],
    }


def _random_from_json(content: Fields) -> Random:
    version, words, gauss = content.get("python")
    numpy, cuda = content.get("numpy"), content.get("cuda")
    if numpy is not None:
        name, keys, *rest = numpy
        numpy = (name, np.array(keys, dtype=np.uint32), *rest)
    return Random(
        (version, tuple(words), gauss),
        numpy,
        _state(content.text("torch")),
        None if cuda is None else [_state(each) for each in cuda],
    )


def _hex(state: torch.Tensor) -> str:
    return state.numpy().tobytes().hex()


def _state(digits: str) -> torch.Tensor:
    return torch.frombuffer(bytearray.fromhex(digits), dtype=torch.uint8)
