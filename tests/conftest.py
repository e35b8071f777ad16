"""What tests of the command share."""

import pytest

from syops.cli import main


@pytest.fixture
def syops(capfd):
    """Runs the command; gives exit status, standard output and standard error."""

    def run(*args):
        with pytest.raises(SystemExit) as exit_:
            main([str(arg) for arg in args])
        out, err = capfd.readouterr()
        return exit_.value.code or 0, out, err

    return run
