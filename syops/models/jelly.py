"""Import the parts of spikingjelly that the bundled networks are built from, if it is installed."""

from importlib.metadata import PackageNotFoundError, version

from syops.errors import SyopsImportError

OLDEST = "0.0.0.0.14"
"""The first version with ``activation_based``."""


def _installed() -> str:
    try:
        return f"{version('spikingjelly')} is installed"
    except PackageNotFoundError:
        return "none is installed"


try:
    from spikingjelly.activation_based import base, functional, layer, neuron, surrogate
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("spikingjelly"):
        raise
    raise SyopsImportError(
        f"the bundled networks and their training need spikingjelly >= {OLDEST}, and "
        f"{_installed()} (pip install -U spikingjelly); your own network needs no other version "
        "than it is written for"
    ) from error

__all__ = ["base", "functional", "layer", "neuron", "surrogate"]
