"""Print a network as syops-counter 0.0.5 does: the tree of modules, with the cost of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TextIO

import numpy as np
from torch import nn

from syops._torch import children_of, parameters_of
from syops.cost.layer import Layer, block_of
from syops.ops.kinds import SYNAPTIC
from syops.report.report import Report

_OPS = (("G Ops", 10**9), ("M Ops", 10**6), ("K Ops", 10**3))


def syops_to_string(syops: float, units: str | None = None, precision: int = 2) -> str:
    """Return a number of operations as 0.0.5 writes it.

    >>> syops_to_string(1_234_567), syops_to_string(12.0), syops_to_string(1e9, "M Ops")
    ('1.23 M Ops', '12.0 Ops', '1000.0 M Ops')
    """
    for name, size in _OPS:
        if units == name or (units is None and syops >= size):
            return f"{round(float(syops) / size, precision)} {name}"
    return f"{float(syops)} Ops"


def params_to_string(params: int, units: str | None = None, precision: int = 2) -> str:
    """Return a number of parameters as 0.0.5 writes it.

    >>> params_to_string(11_689_512), params_to_string(1500), params_to_string(10)
    ('11.69 M', '1.5 k', '10')
    """
    for name, size in (("M", 10**6), ("k", 10**3)):
        if units is None and params >= size:
            return f"{round(params / size, precision)} {name}"
        if units == name.upper():
            return f"{round(params / size, precision)} {units}"
    return str(params)


@dataclass(frozen=True)
class Style:
    """How figures are written: see `syops.complexity.info.get_model_complexity_info`."""

    syops_units: str | None
    param_units: str | None
    precision: int

    def ops(self, count: float) -> str:
        return syops_to_string(count, self.syops_units, self.precision)

    def params(self, count: int) -> str:
        return params_to_string(count, self.param_units, self.precision)


@dataclass(frozen=True)
class Costs:
    """Hold what the modules of a network cost.

    Attributes:
        report: the counts of syops.
        rates: of modules, as 0.0.5 sums them up per sample; None for those of syops.
        custom: [ops, ACs, MACs, percent] of the modules that functions of the user's count.
        totals: [ops, ACs, MACs, ...] of both.
    """

    report: Report
    rates: Mapping[str, float] | None
    custom: Mapping[str, np.ndarray]
    totals: np.ndarray

    def mean(self, percent: float) -> float:
        """Return the mean over batches of percentages that were summed up per sample."""
        return percent / 100 * self.report.samples / max(1, self.report.passes)


def print_tree(model: nn.Module, costs: Costs, style: Style, stream: TextIO) -> None:
    """Print the modules, each with its own parameters, ACs, MACs and firing rate."""
    layers: dict[str, list[Layer]] = {}
    for layer in costs.report.layers:
        layers.setdefault(layer.path, []).append(layer)

    def line(path: str, module: nn.Module) -> str:
        own = layers.get(path, [])
        params = sum(p.numel() for p in parameters_of(module).values() if p is not None)
        if not own and not params and path not in costs.custom:
            return ""
        return ", ".join(_parts(path, own, params, costs, style))

    def tree(path: str, module: nn.Module) -> list[str]:
        below = [
            (name, tree(f"{path}.{name}" if path else name, child))
            for name, child in children_of(module).items()
            if child is not None
        ]
        own, name = line(path, module), type(module).__name__
        if not below:
            return [f"{name}({own})"]
        inside = [own] * bool(own)
        for child, (first, *others) in below:
            inside += [f"({child}): {first}", *others]
        return [f"{name}(", *(f"  {each}" for each in inside), ")"]

    print("\n".join(tree("", model)), file=stream)


def _parts(path: str, own: list[Layer], params: int, costs: Costs, style: Style) -> Iterator[str]:
    """Yield what is said of one module."""
    custom, rates = costs.custom.get(path), costs.rates or {}
    counted = [layer for layer in own if layer.counted]
    ac, mac = (sum(getattr(each, what) or 0.0 for each in counted) for what in ("ac", "mac"))
    if custom is not None:
        ac, mac = ac + custom[1], mac + custom[2]
    _, all_ac, all_mac, *_ = costs.totals
    if params or counted or custom is not None:
        yield style.params(params)
        yield f"{_share(params, costs.report.params)} Params"
        yield style.ops(ac)
        yield f"{_share(ac, all_ac)} ACs"
        yield style.ops(mac)
        yield f"{_share(mac, all_mac)} MACs"
    synaptic = [layer for layer in counted if layer.kind in SYNAPTIC]
    if custom is not None:
        yield f"{costs.mean(custom[3]):.3%} Spike Rate"
    elif path in rates:
        yield f"{costs.mean(rates[path]):.3%} Spike Rate"
    elif synaptic:
        rate = block_of("", "", synaptic).rate
        yield "no spikes" if rate is None else f"{rate:.3%} Spike Rate"
    for layer in own:
        if layer.folded is not None:
            yield f"folded into {layer.folded}"
        elif not layer.counted:
            yield f"outside the totals: {layer.kind} {style.ops(layer.dense)}"


def _share(part: float, whole: float) -> str:
    return f"{part / whole if whole else 0.0:.3%}"


def print_free(model: nn.Module, costs: Costs, stream: TextIO) -> None:
    """Name each class of modules of which none costs anything, itself or with its parts.

    Parts of a neuron are not named: its update is a row of its own.
    """
    layers = costs.report.layers
    whole = [*costs.custom, *(layer.path for layer in layers if layer.kind == "neuron")]
    paths = {*costs.custom, *(layer.path for layer in layers)}
    busy = {path[:end] for path in paths for end in _ends(path)}
    kinds: dict[type[nn.Module], bool] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        is_part = any(path.startswith(f"{each}." if each else "") for each in whole)
        kinds[type(module)] = kinds.get(type(module), False) or path in busy or is_part
    for kind, is_busy in kinds.items():
        if not is_busy and kind not in (nn.Sequential, nn.ModuleList):
            print(f"Warning: module {kind.__name__} is treated as a zero-op.", file=stream)


def _ends(path: str) -> Iterator[int]:
    """Yield where the paths of the model, of the modules around a module and of itself end."""
    yield 0
    yield from (end for end, letter in enumerate(path) if letter == ".")
    yield len(path)
