"""Count the synaptic operations of spiking networks exactly, and price them in joules.

    from syops import get_model_syops
    print(get_model_syops(model, inputs))

The public names are loaded on first use, so that ``import syops`` does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from syops.lazy import loader

if TYPE_CHECKING:
    from syops.api import check_full_spike, count_syops, get_model_bounds, get_model_syops
    from syops.complexity.info import get_model_complexity_info
    from syops.cost.chips import Chip, get_chip, list_chips
    from syops.cost.energy import EnergyModel
    from syops.cost.layer import Layer
    from syops.cost.memory import MemoryModel
    from syops.cost.profiles import get_energy_model, list_energy_models, load_energy_models
    from syops.errors import SyopsError
    from syops.fold import fold_bn
    from syops.models import create_model, list_models
    from syops.models.nir import from_nir
    from syops.report.audit import Audit
    from syops.report.comparison import Comparison, compare
    from syops.report.fit import Fit
    from syops.report.memory import Memory
    from syops.report.report import MeasuredReport, Report

__all__ = [
    "Audit",
    "Chip",
    "Comparison",
    "EnergyModel",
    "Fit",
    "Layer",
    "MeasuredReport",
    "Memory",
    "MemoryModel",
    "Report",
    "SyopsError",
    "check_full_spike",
    "compare",
    "count_syops",
    "create_model",
    "fold_bn",
    "from_nir",
    "get_chip",
    "get_energy_model",
    "get_model_bounds",
    "get_model_complexity_info",
    "get_model_syops",
    "list_chips",
    "list_energy_models",
    "list_models",
    "load_energy_models",
]

_HOME = {
    "Audit": "report.audit",
    "Chip": "cost.chips",
    "Comparison": "report.comparison",
    "EnergyModel": "cost.energy",
    "Fit": "report.fit",
    "Layer": "cost.layer",
    "MeasuredReport": "report.report",
    "Memory": "report.memory",
    "MemoryModel": "cost.memory",
    "Report": "report.report",
    "SyopsError": "errors",
    "check_full_spike": "api",
    "compare": "report.comparison",
    "count_syops": "api",
    "create_model": "models",
    "fold_bn": "fold",
    "from_nir": "models.nir",
    "get_chip": "cost.chips",
    "get_energy_model": "cost.profiles",
    "get_model_bounds": "api",
    "get_model_complexity_info": "complexity.info",
    "get_model_syops": "api",
    "list_chips": "cost.chips",
    "list_energy_models": "cost.profiles",
    "list_models": "models",
    "load_energy_models": "cost.profiles",
}

_load = loader(__name__, _HOME)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        # With email and sockets it takes longer to import than all that is here.
        return import_module("importlib.metadata").version("syops")
    return _load(name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
