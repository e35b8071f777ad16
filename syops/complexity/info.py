"""Stand in for syops-counter 0.0.5: its function, its arguments, what it returns and prints.

The counts are those of `syops.api.get_model_syops`. ``docs/from_syops_counter.md`` says where they
differ from those of 0.0.5, and why.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TextIO

import numpy as np
import torch
from torch import Tensor, nn

from syops.api import get_model_syops
from syops.complexity.custom import Hook, Substitutes
from syops.complexity.printed import Costs, Style, print_free, print_tree
from syops.cost.conventions import AnyConvention
from syops.cost.tools import known_to_005
from syops.errors import SyopsTypeError, SyopsValueError, shown
from syops.report.report import Report
from syops.trace.model import weight_dtype
from syops.trace.paths import all_paths

_RANDOM = (
    "get_model_complexity_info: without a dataloader the network is counted on one sample of "
    "random numbers; firing rates and ACs are not those of your data"
)


def get_model_complexity_info(
    model: nn.Module,
    input_res: tuple[int, ...],
    dataloader: Iterable[Any] | None = None,
    print_per_layer_stat: bool = True,
    as_strings: bool = True,
    input_constructor: Callable[[tuple[int, ...]], Mapping[str, Any]] | None = None,
    ost: TextIO | None = None,
    verbose: bool = False,
    ignore_modules: Iterable[type[nn.Module]] = (),
    custom_modules_hooks: Mapping[type[nn.Module], Hook] | None = None,
    backend: str = "pytorch",
    syops_units: str | None = None,
    param_units: str | None = None,
    output_precision: int = 2,
    convention: AnyConvention = "dst",
) -> tuple[list[str], str] | tuple[np.ndarray, int]:
    """Count a network for a script that was written for syops-counter 0.0.5.

    New code is better served by `get_model_syops`: its report has energies, bounds and warnings.

    Args:
        model: any module; it is left as it was found.
        input_res: the shape of a sample, for a random one where there is no ``dataloader``.
        dataloader: gives pairs of an input [N, ...], which is made float, and anything.
        print_per_layer_stat: print the tree of modules, each with what it costs itself.
        as_strings: return text instead of numbers.
        input_constructor: makes keyword arguments of the model from ``input_res``, where there is
            no ``dataloader``. The first dimension of the first tensor counts samples.
        ost: where to print; standard output by default.
        verbose: print which classes of modules cost nothing.
        ignore_modules: classes of modules whose own operations are left out.
        custom_modules_hooks: by class of module, what counts it instead of syops: a function of a
            copy of the module with the same parameters, the positional arguments and the output
            of one call, which adds [ops, ACs, MACs, 100 · rate] to the copy's ``__syops__``.
        backend: "pytorch".
        syops_units: "G Ops", "M Ops" or "K Ops"; None is what suits, anything else "Ops".
        param_units: "M" or "K"; None is what suits, anything else plain numbers.
        output_precision: decimals of figures in units.
        convention: what counts as an AC and what as a MAC; "syops-0.0.5" gives the ACs, MACs and
            rates of 0.0.5. See `get_model_syops`.

    Returns:
        ops and params. With ``as_strings`` [ops, ACs, MACs] and params as text; without, an array
        [ops, ACs, MACs, mean firing rate in percent] per sample, and an integer. Ops are those of
        a dense engine. The rate is NaN where no synaptic layer gets spikes.

    Warns:
        UserWarning: what may mislead, as `Report.warnings` has it; that the input was random.

    Raises:
        SyopsTypeError, SyopsValueError, SyopsLookupError, SyopsFileError: an argument that cannot
            be used.
        ForwardError: the model failed on the input.

    Examples:
        >>> loader = [(torch.eye(4), None)]
        >>> get_model_complexity_info(nn.Linear(4, 3), (4,), loader)
        Linear(15, 100.000% Params, 3.0 Ops, 100.000% ACs, 0.0 Ops, 0.000% MACs, 25.000% Spike Rate)
        (['12.0 Ops', '3.0 Ops', '0.0 Ops'], '15')
    """
    _check(model, input_res, backend)
    if input_constructor is not None and not callable(input_constructor):
        raise SyopsTypeError(
            f"input_constructor must be a function of input_res, got {shown(input_constructor)}"
        )
    if ost is not None and not callable(getattr(ost, "write", None)):
        raise SyopsTypeError(f"ost must be a stream to print to, got {shown(ost)}")
    for name, unit in (("syops_units", syops_units), ("param_units", param_units)):
        if not isinstance(unit, str | None):
            raise SyopsTypeError(f"{name} must be text such as 'M' or None, got {shown(unit)}")
    if not isinstance(output_precision, int):
        raise SyopsTypeError(f"output_precision must be an integer, got {shown(output_precision)}")
    ignored = _classes(ignore_modules)
    substitutes = Substitutes(model, custom_modules_hooks or {}, ignored)
    if dataloader is not None:
        inputs: Any = _Loader(dataloader, substitutes)
    elif input_constructor is not None:
        inputs = dict(_mapping(input_constructor(input_res)))
    else:
        drawn = torch.randn((1, *input_res), generator=torch.Generator().manual_seed(0))
        inputs = drawn.to(weight_dtype(model))
        warnings.warn(_RANDOM, stacklevel=2)
    with substitutes:
        whole = get_model_syops(model, inputs, output=False, convention=convention)
    modules = dict(all_paths(model))
    skipped = {path for path, module in modules.items() if type(module) in ignored}
    report = _without(whole, skipped, substitutes)
    for caution in report.warnings:
        warnings.warn(str(caution), stacklevel=2)
    custom = substitutes.costs(whole.samples)
    rates = _rates(report)
    counts = _totals(report, rates, custom.values())
    stream = sys.stdout if ost is None else ost
    style = Style(syops_units, param_units, output_precision)
    costs = Costs(report, rates, custom, counts)
    if verbose:
        print_free(model, costs, stream)
    if print_per_layer_stat:
        print_tree(model, costs, style, stream)
    if not as_strings:
        return counts, report.params
    return [style.ops(count) for count in counts[:3]], style.params(report.params)


# --- what is counted ------------------------------------------------------------------------------


class _Loader:
    """Give the first of each pair of a loader, as floats."""

    def __init__(self, loader: Iterable[Any], substitutes: Substitutes) -> None:
        if not isinstance(loader, Iterable):
            raise SyopsTypeError(
                f"dataloader must give pairs of an input and a label, got {shown(loader)}"
            )
        self._loader = loader
        self._substitutes = substitutes

    def __iter__(self) -> Iterator[Tensor]:
        for pair in self._loader:
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise SyopsTypeError(
                    "dataloader must give pairs of an input and a label, got a "
                    f"{type(pair).__name__}; call get_model_syops for batches of any form"
                )
            self._substitutes.next_batch()
            yield torch.as_tensor(pair[0]).float()


def _check(model: object, input_res: object, backend: object) -> None:
    if not isinstance(model, nn.Module):
        raise SyopsTypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    sizes = input_res if isinstance(input_res, tuple) else ()
    if not sizes or not all(type(size) is int and size > 0 for size in sizes):
        raise SyopsTypeError(
            "input_res must be a tuple of sizes, those of a sample such as (3, 224, 224), got "
            f"{shown(input_res)}"
        )
    if backend != "pytorch":
        raise SyopsValueError(f"backend must be 'pytorch', got {shown(backend)}")


def _classes(ignored: Iterable[type[nn.Module]]) -> frozenset[type[nn.Module]]:
    classes = list(ignored) if isinstance(ignored, Iterable) else [ignored]
    for each in classes:
        if not isinstance(each, type):
            raise SyopsTypeError(
                f"ignore_modules must be classes such as [nn.BatchNorm2d], got {shown(each)}"
            )
    return frozenset(classes)


def _mapping(made: object) -> Mapping[str, Any]:
    if not isinstance(made, Mapping):
        raise SyopsTypeError(
            "input_constructor must return a dict of keyword arguments of the model, got a "
            f"{type(made).__name__}"
        )
    return made


def _without(report: Report, skipped: set[str], substitutes: Substitutes) -> Report:
    """Return the report without modules that are ignored or counted by somebody else."""

    def kept(path: str) -> bool:
        return path not in skipped and not substitutes.covers(path)

    return replace(
        report,
        rows=tuple(row for row in report.rows if kept(row.path)),
        modules=tuple(calls for calls in report.modules if kept(calls.path)),
        unaccounted={
            where: calls for where, calls in report.unaccounted.items() if kept(_path_in(where))
        },
    )


def _path_in(where: str) -> str:
    """Return the path of the module in which an operator without a rule was met."""
    path = where.rpartition(" in ")[2]
    return "" if path == "the model" else path


def _rates(report: Report) -> dict[str, float] | None:
    """Return what 0.0.5 sums up as the rate of each module per sample; None for any other rate."""
    if report.convention.counter != "syops-0.0.5":
        return None
    sums: dict[str, float] = {}
    for calls in known_to_005(report.modules):
        share = float(100 * calls.mean / report.samples)
        sums[calls.path] = sums.get(calls.path, 0.0) + share
    return sums


def _totals(
    report: Report, rates: Mapping[str, float] | None, custom: Iterable[np.ndarray]
) -> np.ndarray:
    """Return [ops, ACs, MACs, percent] per sample; of 0.0.5 the percentages are summed too."""
    added = sum(custom, np.zeros(4))
    if rates is not None:
        rate = sum(rates.values()) + added[3]
    else:
        rate = float("nan") if report.mean_rate is None else 100 * report.mean_rate
    ops = np.array([report.mac + report.dense_ac, report.ac or 0.0, report.mac])
    return np.append(ops + added[:3], rate)
