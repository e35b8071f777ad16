"""``python -m syops`` is the ``syops`` command."""

from syops.cli import main

main()
