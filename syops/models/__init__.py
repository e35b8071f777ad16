"""The reference workloads: the networks of the paper, by name."""

from typing import TYPE_CHECKING

from syops.lazy import loader
from syops.models.catalogue import input_shape, list_models

if TYPE_CHECKING:
    from syops.models.calibration import calibrate
    from syops.models.create import create_model
    from syops.models.surgery import attach_aap, detach_aap, zero_init_residual

__all__ = [
    "attach_aap",
    "calibrate",
    "create_model",
    "detach_aap",
    "input_shape",
    "list_models",
    "zero_init_residual",
]

_HOME = {
    "attach_aap": "surgery",
    "calibrate": "calibration",
    "create_model": "create",
    "detach_aap": "surgery",
    "zero_init_residual": "surgery",
}

__getattr__ = loader(__name__, _HOME)
"""Load what makes or changes models on first use: listing them needs no torch."""
