"""Join the processes that torchrun starts."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from syops.cli.imports import keeping_imports

if TYPE_CHECKING:
    import torch

PATIENCE = timedelta(minutes=30)
"""How long processes that are done wait for the others."""

_TOLD = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Place:
    """Know where this process is.

    Attributes:
        rank: its number; the first one prints.
        device: the one that it is to run on; None: where the model is.
    """

    rank: int = 0
    device: torch.device | None = None


@contextmanager
def joined(wanted: bool) -> Iterator[Place]:
    """Initialise torch's process group, of GPUs where there are any; leave it at the end.

    SIGTERM, which torchrun sends when another process has failed, becomes Ctrl-C meanwhile: the
    count ends after its batch, and what was counted is printed and kept.

    Raises:
        UsageError: torchrun has not started this process.
    """
    if not wanted:
        yield Place()
        return
    if missing := [name for name in _TOLD if name not in os.environ]:
        raise click.UsageError(
            f"--distributed needs torchrun, which sets {', '.join(missing)}: "
            "torchrun --nproc-per-node=K -m syops run ... --distributed"
        )

    with keeping_imports():
        import torch
        import torch.distributed as dist

    rank, local = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    device = None
    if torch.cuda.is_available():  # not run by the tests, for want of two GPUs
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)  # objects are gathered through it
    dist.init_process_group("gloo" if device is None else "nccl", timeout=PATIENCE)
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield Place(rank, device)
        dist.destroy_process_group()  # after an error it would wait for the others
    finally:
        signal.signal(signal.SIGTERM, before)
