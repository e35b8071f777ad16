"""Run the ``syops`` command for ``python -m syops``."""

from syops.cli import main

main()
