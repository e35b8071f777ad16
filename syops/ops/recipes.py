"""Tell how learned tensors were computed, by names: equal names are equal tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from syops.ops.factors import shortened
from syops.ops.rule import Call, Derivation, Rule
from syops.ops.values import LEARNED, TruthTable


def recipe_of(rule: Rule, call: Call, out: Tensor, place: int) -> Derivation | None:
    """Return the recipe of the ``place``-th result of an operator that read what is learned.

    None where not all that it read is known by name, or chance is involved.
    """
    if torch.Tag.nondeterministic_seeded in call.func.tags:
        return None
    names: dict[int, str] = {}
    for tensor in call.tensors:
        name = _named(call, tensor)
        if not name:
            return None
        names[id(tensor)] = name
    source = call.recipe(call.tensors[0]) if len(call.tensors) == 1 else None
    moves = rule.geometry or rule.casts
    if source is not None and moves and _is_unmoved(rule, call.tensors[0], out):
        return source
    text = f"{call.func.name()}{_text_of((call.args, call.kwargs), names)}[{place}]"
    return Derivation(shortened(text), _values(rule, out, source if moves else None))


def _named(call: Call, tensor: Tensor) -> str:
    known = call.signal(tensor)
    if known is LEARNED:
        recipe = call.recipe(tensor)
        return recipe.name if recipe else ""
    if isinstance(known, TruthTable) and not known.atoms and known.values and not known.scale:
        return f"{known.values[0]!r}:{tensor.dtype}:{tuple(tensor.shape)}"
    return ""


def _is_unmoved(rule: Rule, source: Tensor, out: Tensor) -> bool:
    """Return whether a result has the same elements in the same order, but for sizes of 1."""
    if source.dtype != out.dtype or source is out:
        return False
    sizes = [[size for size in tensor.shape if size != 1] for tensor in (source, out)]
    return sizes[0] == sizes[1] and (rule.in_order or rule.casts or not sizes[0])


def _values(rule: Rule, out: Tensor, source: Derivation | None) -> tuple[int, ...]:
    if out.dtype == torch.bool:
        return (0, 1)
    if rule.values and not out.is_complex():
        return rule.values
    fits = source is not None and (out.dtype.is_signed or min(source.values, default=0) >= 0)
    return source.values if source is not None and fits else ()


def _text_of(value: Any, names: Mapping[int, str]) -> str:
    if isinstance(value, Tensor):
        return names[id(value)]
    if isinstance(value, (list, tuple)):
        return f"({','.join(_text_of(item, names) for item in value)})"
    if isinstance(value, dict):
        return f"({','.join(f'{key}={_text_of(item, names)}' for key, item in value.items())})"
    return repr(value)
