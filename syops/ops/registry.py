"""Find the rule of an operator, and say which of three states the operator is in.

An operator is counted, free for a stated reason, or named in the report: one that computes and has
no rule is named, so that an operator of a new version of torch cannot cost nothing in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from syops._torch import (
    can_be_taken_apart,
    is_made_of_others,
    reads_only_numbers,
    returns_only_numbers,
    schema_of,
)
from syops.ops import (
    constants,
    moves,
    norms,
    pointwise,
    pooling,
    quantised,
    reductions,
    sampling,
    selection,
    synaptic,
)
from syops.ops.rule import COPY, VIEW, Free, Rule, canonical, unknown

HOMES = (
    constants, moves, norms, pointwise, pooling, quantised, reductions, sampling, selection,
    synaptic,
)  # fmt: skip
"""Where rules stand, each in one place."""

RULES: dict[str, Rule] = {name: rule for home in HOMES for name, rule in home.RULES.items()}
"""Rules by the canonical name of operators of torch's, or by that of one overload."""

OPAQUE = {
    *("_choose_qparams_per_tensor", "choose_qparams_optimized", "_saturate_weight_to_fp16"),
    *("fbgemm_linear_fp16_weight", "fbgemm_linear_fp16_weight_fp32_activation"),
    *("fbgemm_linear_int8_weight", "fbgemm_linear_int8_weight_fp32_activation"),
    *("fbgemm_linear_quantize_weight", "fbgemm_pack_gemm_matrix_fp16"),
    *("fbgemm_pack_quantized_matrix", "_wrapped_linear_prepack"),
    *("_wrapped_quantized_linear_prepacked", "_rowwise_prune", "_sobol_engine_draw"),
    *("_sobol_engine_ff", "_sobol_engine_initialize_state", "_sobol_engine_scramble"),
}
"""Operators that are registered as if they called others, and compute themselves."""

_WHOLE = frozenset(norms.WHOLE.values())


@dataclass(frozen=True, slots=True)
class HasCost:
    """Mark an operator that has a cost; ``what`` says which."""

    what: str


@dataclass(frozen=True, slots=True)
class Named:
    """Mark an operator without a rule: the report names it."""


State = HasCost | Free | Named


def state(func: Any) -> State:
    """Say whether an operator overload is counted, free for a stated reason, or named."""
    rule = find(func)
    if rule is None:
        return Named()
    if isinstance(rule.cost, Free):
        return rule.cost
    return HasCost((rule.cost.__doc__ or "").partition("\n")[0])


Find = Callable[[Any], Rule | None]
"""How the rule of an operator is found."""


def finder(own: Mapping[Any, Rule]) -> Find:
    """Look up rules of the user's own first, by overload or by operator, then those of syops."""
    if not own:
        return find
    return lambda func: own.get(func) or own.get(func.overloadpacket) or find(func)


@cache
def find(func: Any) -> Rule | None:
    """Return the rule of an operator overload; None if there is none.

    What an operator calls is counted in place of it wherever torch does so by itself. Inside of
    inference mode torch hands such an operator over whole.
    """
    if is_composite(func):
        return PARTS
    if func.namespace in ("aten", "prims", "quantized"):
        name = canonical(func)
        rule = RULES.get(f"{name}.{schema_of(func).overload_name}") or RULES.get(name)
        if rule is not None:
            return rule
    if can_be_taken_apart(func) and canonical(func) not in OPAQUE:
        return PARTS
    if _is_tagged(func, torch.Tag.pointwise):
        return pointwise.POINTWISE
    return _by_schema(func)


def is_composite(func: Any) -> bool:
    """Return whether an operator does nothing but call others."""
    return is_made_of_others(func) and canonical(func) not in OPAQUE and func not in _WHOLE


def _is_tagged(func: Any, tag: torch.Tag) -> bool:
    """Return whether any form of an operator has a tag: torch does not tag every ``out=`` form."""
    packet = func.overloadpacket
    return any(tag in getattr(packet, name).tags for name in packet.overloads())


def _by_schema(func: Any) -> Rule | None:
    """Return the rule of an operator whose arguments and results rule out that it computes."""
    schema = schema_of(func)
    if reads_only_numbers(schema):
        return Rule(unknown, Free("takes no tensor"))
    if torch.Tag.inplace_view in func.tags:
        return Rule(unknown, VIEW)
    if _is_tagged(func, torch.Tag.view_copy):
        return Rule(unknown, COPY)
    if schema.is_mutable:
        return None
    if returns_only_numbers(schema):
        return Rule(unknown, Free("makes no tensor"), tells=True)
    if all(returned.alias_info is not None for returned in schema.returns):
        return Rule(unknown, VIEW)
    return None


PARTS = Rule(unknown, Free("made of other operators, which are counted"))
"""The rule of operators that do nothing but call others."""
