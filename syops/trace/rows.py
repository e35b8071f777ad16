"""Costs -> rows of the ledger: what a rule tells of one call, and where it was executed."""

from __future__ import annotations

import sys
from collections.abc import Hashable
from fractions import Fraction
from functools import cache
from typing import Any

import torch
from torch import Tensor

from syops._torch import MODULE_CALL
from syops.ledger.rows import Row
from syops.ops.rule import Cost, Normalisation, Product, tensors_in

_NOTHING = Fraction(0)


def row_of(cost: Cost, path: str, params: int, out: Any) -> Row:
    """The row of one call.

    Args:
        cost: what it costs.
        path: the innermost module.
        params: parameters of that module, if they are not told yet.
        out: the operator's result.
    """
    ac = mac = weights = written = 0
    weight, dtype = "", tensors_in((out,))[0].dtype
    match cost:
        case Product():
            kind, dense, weight, written = cost.kind, cost.dense, cost.weight, cost.written
            if cost.applied is not None:
                dtype, weights = cost.applied.dtype, cost.applied.numel()
        case Normalisation():
            kind, dense, weights, written = "norm", 2 * cost.elements, params, cost.elements
            mac = dense
        case _:
            kind, dense, ac, mac = cost.kind, cost.ac + cost.mac, cost.ac, cost.mac
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
        ac,
        mac,
        weight=weight,
        dtype=_name(dtype),
        weights=weights,
        written=written,
    )


def neuron_row(path: str, name: str, params: int, out: Tensor, states: int) -> Row:
    """The row of one call of a neuron: one update for each element of its result.

    Args:
        path: the neuron's.
        name: its class.
        params: its parameters, if they are not told yet.
        out: its spikes.
        states: variables that it keeps from one time-step to the next.
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


_OWN = "syops.trace."
"""Where the modules lie whose frames are between an operator and the code that asked for it."""


def call_site() -> Hashable:
    """Where in the code of the innermost module we are: a loop stays at one place."""
    frame = _calling()
    chain: list[tuple[Any, int]] = []
    while frame is not None and frame.f_code is not MODULE_CALL:
        chain.append((frame.f_code, frame.f_lasti))
        frame = frame.f_back
    return tuple(chain)


def _calling() -> Any:
    """The frame of the code that asked for an operator."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_OWN):
        frame = frame.f_back
    return frame
