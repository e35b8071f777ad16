"""What differs between the versions of spikingjelly that the tests run on."""

from importlib.metadata import version

import pytest

OLD = version("spikingjelly").startswith("0.")

needs_2 = pytest.mark.skipif(OLD, reason="about what spikingjelly has since version 2")


def differentiable(training: bool) -> bool:
    """Whether gradients come through spikingjelly's neurons: before 2.0 not in eval mode."""
    return training or not OLD
