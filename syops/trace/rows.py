"""Make rows of the ledger: from what a rule tells of one call, and where the call was made."""

from __future__ import annotations

import sys
from fractions import Fraction
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor

from syops._torch import MODULE_CALL
from syops.ledger.rows import Row
from syops.ops.kinds import SPARSE
from syops.ops.rule import Cost, Normalisation, Product, Tally, tensors_in

CallSite = tuple[tuple[Any, int], ...]
"""Code and instruction of each frame from an operator out to the call of the module."""

_NOTHING = Fraction(0)
_PACKAGE = f"{__package__}."


def row_of(cost: Cost, path: str, params: int, out: Any, rounded: bool = False) -> Row:
    """Return the row of one call.

    Args:
        cost: what the call costs.
        path: the innermost module.
        params: number of parameters of that module; 0 if an earlier row has told it.
        out: the operator's result.
        rounded: the weights that are applied were rounded.
    """
    dtype = (out if isinstance(out, Tensor) else tensors_in((out,))[0]).dtype
    if isinstance(cost, Tally):
        return _tally_row(cost.kind, cost.operator, cost.ac, cost.mac, path, params, dtype)
    mac = weights = written = 0
    weight = ""
    weight_shape: tuple[int, ...] = ()
    result_shape: tuple[int, ...] = ()
    backward = (0, 0)
    note = ""
    match cost:
        case Product():
            kind, dense, weight, written = cost.kind, cost.dense, cost.weight, cost.written
            if cost.applied is not None:
                dtype, weights = cost.applied.dtype, cost.applied.numel()
                weight_shape = tuple(cost.applied.shape) if len(cost.operands) < 2 else ()
                note = "" if cost.applied.layout == torch.strided else SPARSE
            backward = _backward(cost)
            if kind == "conv":
                result_shape = tuple(out.shape[1:])
        case Normalisation():
            kind, dense, weights, written = "norm", 2 * cost.elements, params, cost.elements
            mac = dense
    return Row(
        path,
        kind,
        cost.operator,
        0,
        1,
        params,
        dense,
        (),
        _NOTHING,
        0,
        0,
        mac,
        weight=weight,
        dtype=_name(dtype),
        weights=weights,
        note=note,
        written=written,
        weight_shape=weight_shape,
        result_shape=result_shape,
        stride=cost.stride if isinstance(cost, Product) else (),
        groups=cost.groups if isinstance(cost, Product) else 1,
        rounded=rounded,
        backward=backward,
    )


@lru_cache(maxsize=4096, typed=True)
def _tally_row(
    kind: str, operator: str, ac: int, mac: int, path: str, params: int, dtype: torch.dtype
) -> Row:
    """Return the row of a call outside the synapses: one object for all that are alike."""
    return Row(
        path,
        kind,
        operator,
        calls=1,
        params=params,
        dense=ac + mac,
        ac=ac,
        mac=mac,
        dtype=_name(dtype),
    )


def _backward(cost: Product) -> tuple[int, int]:
    """Return the operations of the products that give the gradients of both factors.

    Each multiplies the gradient of the result with the other factor, term by term as forward.
    """
    if not torch.is_grad_enabled() or not cost.operands or cost.applied is None:
        return 0, 0
    factors = [operand.tensor for operand in cost.operands]
    factors += [cost.applied] if len(factors) == 1 else []
    first, second = (cost.dense if factor.requires_grad else 0 for factor in factors)
    return first, second


def neuron_row(path: str, name: str, params: int, out: Tensor, states: int) -> Row:
    """Return the row of one call of a neuron: one update for each element of its result.

    Args:
        path: the neuron's path.
        name: its class.
        params: number of its parameters; 0 if an earlier row has told it.
        out: its spikes.
        states: number of variables that it keeps from one time-step to the next.
    """
    updates = out.numel()
    return Row(
        path,
        "neuron",
        name,
        calls=1,
        params=params,
        dense=updates,
        mac=updates,
        dtype=_name(out.dtype),
        written=updates * states,
    )


@cache
def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def call_site() -> CallSite:
    """Return the place in the code of the innermost module that asked for an operator.

    Calls from one place are added up in one row; calls from two places are two rows. Take a module
    that is run for some time-steps in a loop of its own::

        def forward(self, x):                                 # [T, N, C]
            for step in x:
                state = torch.mm(torch.mm(step, self.w), self.u)  # two places, T calls each
            return self.head(state)                               # a place, one call

        def head(self, state):
            return torch.mm(state, self.w)

    A line number does not tell the first two products apart. The place is therefore the bytecode
    instruction that is being executed, ``f_lasti``, in each frame from the operator out to the call
    of the module: say, ``((forward, 48),)``, ``((forward, 66),)``, ``((head, 12), (forward, 90))``.
    The chain ends at the module's call: from wherever its caller calls it, the rows are the same.
    """
    frame = _calling()
    chain: list[tuple[Any, int]] = []
    while frame is not None and frame.f_code is not MODULE_CALL:
        chain.append((frame.f_code, frame.f_lasti))
        frame = frame.f_back
    return tuple(chain)


class CallSites:
    """Tell where in the code operators are called: each place by one object."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], CallSite] = {}

    def now(self) -> CallSite:
        """Return `call_site`."""
        frame = _calling()
        marks: list[int] = []
        while frame is not None and frame.f_code is not MODULE_CALL:
            marks += id(frame.f_code), frame.f_lasti
            frame = frame.f_back
        key = tuple(marks)
        site = self._known.get(key)
        if site is None:  # it keeps the code, so that no other one gets its address
            site = self._known[key] = call_site()
        return site


def is_called_at(site: CallSite) -> bool:
    """Return whether `call_site` would return ``site``."""
    frame = _calling()
    for place in site:
        if frame is None or (frame.f_code, frame.f_lasti) != place:
            return False
        frame = frame.f_back
    return frame is None or frame.f_code is MODULE_CALL


def _calling() -> Any:
    """Return the innermost frame that is not one of this package's."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_PACKAGE):
        frame = frame.f_back
    return frame
