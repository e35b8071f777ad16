"""Tests, in the rooms of the package that they are about."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
