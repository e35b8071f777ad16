"""Keep what networks and torch print away from the result of a command."""

from __future__ import annotations

import logging
import sys
from contextlib import AbstractContextManager, redirect_stdout


def silence_torch() -> None:
    """Silence torch's warning that Triton is missing, which spikingjelly's GPU kernels cause."""
    logging.getLogger("torch._library.triton").setLevel(logging.ERROR)


def prints_aside() -> AbstractContextManager[object]:
    """Send what a network prints to standard error: standard output holds the result alone."""
    return redirect_stdout(sys.stderr)
