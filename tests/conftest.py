"""What tests of several rooms share."""

import os
import signal
import sys

# Before torch is imported: pytest-xdist has one process for each core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The first program that a test starts compiles the package for those that follow.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import pytest
from hypothesis import settings

from syops.cli import main

settings.register_profile("patient", deadline=None)  # another process may have the processor
settings.load_profile("patient")


# Programs that a shell starts with & ignore Ctrl-C, and so would what tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def syops(capfd):
    """Run the command in this process; gives exit status, standard output and standard error."""

    def run(*args):
        with pytest.raises(SystemExit) as exit_:
            main([str(arg) for arg in args])
        out, err = capfd.readouterr()
        return exit_.value.code or 0, out, err

    return run


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current directory; modules that are imported from it are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]
