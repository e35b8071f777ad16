"""What differs between the versions of spikingjelly that the tests run on."""

from importlib.metadata import version

import pytest

try:
    from spikingjelly.activation_based import base, neuron
except ModuleNotFoundError:  # before 0.0.0.0.14
    from spikingjelly.clock_driven import base, neuron

__all__ = ["OLD", "base", "differentiable", "needs_2", "neuron"]

OLD = version("spikingjelly").startswith("0.")

needs_2 = pytest.mark.skipif(OLD, reason="about what spikingjelly has since version 2")


def differentiable(training: bool) -> bool:
    """Whether gradients come through spikingjelly's neurons: before 2.0 not in eval mode."""
    return training or not OLD
