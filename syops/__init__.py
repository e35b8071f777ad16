"""Exact counts of the synaptic operations of spiking networks, and the energy that follows.

    from syops import get_model_syops
    print(get_model_syops(model, inputs))

The public names are loaded on first use, so that ``import syops`` does not import torch.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from syops.api import check_full_spike, get_model_bounds, get_model_syops
    from syops.audit import Audit
    from syops.comparison import Comparison, compare
    from syops.energy import EnergyModel, get_energy_model, list_energy_models, load_energy_models
    from syops.errors import SyopsError
    from syops.folding import fold_bn
    from syops.memory import Memory
    from syops.memory_figures import MemoryModel
    from syops.models import create_model, list_models
    from syops.report import Report
    from syops.summary import Layer

__all__ = [
    "Audit",
    "Comparison",
    "EnergyModel",
    "Layer",
    "Memory",
    "MemoryModel",
    "Report",
    "SyopsError",
    "check_full_spike",
    "compare",
    "create_model",
    "fold_bn",
    "get_energy_model",
    "get_model_bounds",
    "get_model_syops",
    "list_energy_models",
    "list_models",
    "load_energy_models",
]

_HOME = {
    "Audit": "audit",
    "Comparison": "comparison",
    "EnergyModel": "energy",
    "Layer": "summary",
    "Memory": "memory",
    "MemoryModel": "memory_figures",
    "Report": "report",
    "SyopsError": "errors",
    "check_full_spike": "api",
    "compare": "comparison",
    "create_model": "models",
    "fold_bn": "folding",
    "get_energy_model": "energy",
    "get_model_bounds": "api",
    "get_model_syops": "api",
    "list_energy_models": "energy",
    "list_models": "models",
    "load_energy_models": "energy",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("syops")
    if name in _HOME:
        return getattr(import_module(f"syops.{_HOME[name]}"), name)
    if name in ("get_model_complexity_info", "syops_to_string", "params_to_string"):
        from syops.errors import SyopsImportError  # an AttributeError would lose its message

        raise SyopsImportError(
            f"{name} is of the package syops-counter; here it is report = "
            "get_model_syops(model, inputs), with real inputs instead of a shape, and then "
            "report.ac, report.mac, report.params, or print(report)"
        )
    raise AttributeError(f"module 'syops' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
