"""What tests of several rooms share."""

import gc
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
from tests.support.examples import random_examples, times

# Another process may have the processor.
settings.register_profile("patient", deadline=None, max_examples=times(100))
settings.load_profile("patient")


def pytest_collection_modifyitems(items):
    """Mark every test by hypothesis as one that tries random examples."""
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker(random_examples)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish():
    """Exempt what is there before the first test, libraries above all, from garbage collection.

    Otherwise each collection of the oldest objects looks at all of these once more.
    """
    gc.collect()
    gc.freeze()


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
