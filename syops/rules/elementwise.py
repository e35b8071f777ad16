"""Pointwise operators, evaluated on the truth table by the operator itself.

There is one rule for all of them: apply the operator to the tables instead of the tensors.
So the result has the operator's own semantics and the rounding of its dtype, and is exact
as long as the operands are given by tables over the same positions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, lru_cache, reduce
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from syops.rules.base import Call, Cost, Number, Rule, Tally, canonical
from syops.rules.ranges import CLAMPS, MAX_VALUES, bounded, ended, outward, truncated
from syops.signals import (
    ANALOG,
    EMPTY,
    INTEGER,
    LEARNED,
    UNKNOWN,
    Atoms,
    Interval,
    Opaque,
    Signal,
    Table,
    is_integer,
    kind_of,
)

MAX_ENTRIES = 256
"""Assignments that a table may have before its operands are re-based."""
ADDS = {"add", "sub", "rsub", "subtract"}
ARITHMETIC = {
    *("mul", "div", "divide", "true_divide", "multiply", "pow", "square", "sqrt", "rsqrt"),
    *("reciprocal", "addcmul", "addcdiv", "lerp", "remainder", "fmod", "floor_divide"),
}
ACTIVATIONS = {
    *("relu", "relu6", "leaky_relu", "rrelu_with_noise", "prelu", "_prelu_kernel", "elu", "celu"),
    *("selu", "gelu", "silu", "mish", "sigmoid", "tanh", "hardtanh", "hardsigmoid", "hardswish"),
    *("softplus", "softshrink", "hardshrink", "threshold", "log_sigmoid_forward", "exp", "exp2"),
    *("expm1", "log", "log2", "log10", "log1p", "erf", "sin", "cos", "atan", "arctan"),
}
COMPARISONS = {
    *("eq", "ne", "lt", "le", "gt", "ge", "greater", "greater_equal", "less", "less_equal"),
    *("not_equal", "logical_and", "logical_or", "logical_xor", "logical_not", "signbit"),
    *("isnan", "isinf", "isfinite", "isposinf", "isneginf"),
}
"""0 or 1, whatever they compare and whatever dtype they write it in."""
INTEGER_CLOSED = {
    *("add", "sub", "rsub", "mul", "neg", "abs", "maximum", "minimum", "clone", "relu", *CLAMPS),
}
EXACT = {
    *("add", "sub", "rsub", "subtract", "mul", "multiply", "div", "divide", "true_divide"),
    *("neg", "negative", "abs", "absolute", "square", "sqrt", "reciprocal", "relu", "relu6"),
    *("leaky_relu", "hardshrink", "softshrink", "threshold", "sign", "sgn", "heaviside"),
    *("round", "floor", "ceil", "trunc", "fix", "maximum", "minimum", "fmax", "fmin"),
    *("remainder", "fmod", "floor_divide", "lerp", "addcmul", "pow", "where", "masked_fill"),
    *("clone", "positive", "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not"),
    *(*CLAMPS, *COMPARISONS),
}
"""Operators whose result is rounded once, if at all, and so is the same number wherever it is
computed. Others differ in the last bit between the vectors of a kernel and what is left over."""


def signal(call: Call) -> Signal:
    """The signal of a pointwise result."""
    name = canonical(call.func)
    tensors = call.tensors
    signals = [call.signal(tensor) for tensor in tensors]
    if not isinstance(call.out, Tensor):
        return ANALOG
    if call.numbers_from_data and _has_real_number(call):
        return _opaque(call, name, [ANALOG] * len(signals))
    plain = all(isinstance(known, Table) and not known.scale for known in signals)
    if plain and not _is_exact(call, name):
        return _opaque(call, name, signals)
    return _evaluated(call, tensors) if plain else _scaled(call, name, tensors, signals)


def has_threshold(call: Call) -> bool:
    """Whether values about which nothing finite is known are compared, as a neuron does."""
    return canonical(call.func) in {*COMPARISONS, *SIGN_LIKE, "heaviside"} and any(
        kind_of(call.signal(tensor)) in (ANALOG, INTEGER, UNKNOWN) for tensor in call.tensors
    )


def _has_real_number(call: Call) -> bool:
    """A number among the arguments that is not whole. (Whole ones are taken for constants.)"""
    numbers = (*call.args, *call.kwargs.values())
    return any(isinstance(value, float) and not value.is_integer() for value in numbers)


def masked_fill(call: Call) -> Signal:
    x, mask, value = call.args[:3]
    filler = call.signal(value) if isinstance(value, Tensor) else call.constant(value)
    known = call.signal(x), call.signal(mask), filler
    if all(isinstance(part, Table) and not part.scale for part in known):
        return _evaluated(call, call.tensors)
    return call.atoms.joined((known[0], filler))


def where(call: Call) -> Signal:
    known = [call.signal(tensor) for tensor in call.tensors]
    if all(isinstance(part, Table) and not part.scale for part in known):
        return _evaluated(call, call.tensors)
    return call.atoms.joined(known[1:])


def copied(call: Call) -> Signal:
    """``_to_copy`` and ``copy_``: the source's values in the result's dtype and shape."""
    source = call.args[0] if canonical(call.func) == "_to_copy" else call.args[1]
    return converted(source, call.signal(source), call.out, call.atoms)


def converted(source: Tensor, known: Signal, out: Tensor, atoms: Atoms) -> Signal:
    """The signal of ``source`` after a cast and broadcast to ``out``."""
    if known == EMPTY:
        return EMPTY
    if out.dtype == torch.bool and not isinstance(known, Table):
        return atoms.fresh((False, True))
    if isinstance(known, Interval):
        return _interval_converted(known, out, atoms)
    if known is ANALOG and not (out.dtype.is_floating_point or out.dtype.is_complex):
        return INTEGER
    if not isinstance(known, Table):
        return known
    if source.shape != out.shape:
        known = atoms.rebased(known, ("expand", tuple(source.shape), tuple(out.shape)))
    if source.dtype == out.dtype:
        return known
    if known.scale:
        return known if out.dtype.is_floating_point else ANALOG
    cast = torch.ops.aten._to_copy.default
    operand = (known.values, tuple(range(len(known.atoms))), source.dtype, False)
    sizes = tuple(atom.size for atom in known.atoms)
    values = _apply(cast, ((_SLOT,), (("dtype", out.dtype),)), (operand,), sizes, out.dtype)
    return ANALOG if values is None else Table(known.atoms, values)


def _interval_converted(known: Interval, out: Tensor, atoms: Atoms) -> Signal:
    """A cast to integers cuts off what follows the point."""
    ends, kind = (known.low, known.high), known.kind
    if out.dtype.is_complex:
        return kind
    if out.dtype.is_floating_point:
        return ended(outward(ends, out.dtype), kind, out.dtype, atoms)
    if kind is ANALOG or all(map(math.isfinite, ends)):
        kind = INTEGER
    return ended(truncated(ends), kind, out.dtype, atoms)


SIGN_LIKE = {"sign": (-1, 0, 1), "sgn": (-1, 0, 1)}


def _opaque(call: Call, name: str, signals: Sequence[Signal]) -> Signal:
    """At least one operand about which nothing finite is known, or a result that is not exact."""
    if LEARNED in signals and all(
        known is LEARNED or (isinstance(known, Table) and not known.atoms) for known in signals
    ):
        return LEARNED
    if call.out.dtype == torch.bool or name in COMPARISONS:
        return call.atoms.fresh((0, 1))
    if name in SIGN_LIKE and not call.out.is_complex():
        return call.atoms.fresh(SIGN_LIKE[name])
    if name == "heaviside":
        step = call.atoms.fresh((0, 1))
        return call.atoms.joined((step, signals[1]))
    kind = _kind(call, name, [kind_of(known) for known in signals])
    from_data = call.numbers_from_data and _has_real_number(call)
    return kind if from_data else bounded(call, name, kind, signals)


def _kind(call: Call, name: str, kinds: Sequence[Table | Opaque]) -> Opaque:
    """What a result is about whose values nothing finite is known."""
    if _rounds(call, name):
        return INTEGER
    if ANALOG in kinds or LEARNED in kinds:
        return ANALOG
    if UNKNOWN in kinds:
        return UNKNOWN
    whole = all(s is INTEGER or (isinstance(s, Table) and is_integer(s)) for s in kinds)
    scalars = [v for v in (*call.args, *call.kwargs.values()) if isinstance(v, float)]
    closed = name in INTEGER_CLOSED and all(value.is_integer() for value in scalars)
    return INTEGER if whole and closed else ANALOG


def _rounds(call: Call, name: str) -> bool:
    """Whether the result is made of whole numbers: how a neuron with many spikes fires."""
    if name in ("div", "divide"):
        return call.kwargs.get("rounding_mode") is not None
    return name in ("floor", "ceil", "trunc", "fix", "floor_divide") or (
        name == "round" and not call.kwargs.get("decimals")
    )


def _is_exact(call: Call, name: str) -> bool:
    """Whether a result on tables is the same number on every path through a kernel."""
    if name not in EXACT:
        return False
    if not call.out.dtype.is_floating_point:
        return True
    if name == "pow":
        exponent = call.arg("exponent")
        return not isinstance(exponent, Tensor) and exponent in (0, 1, 2, 3)
    if name in ("div", "divide"):
        return call.kwargs.get("rounding_mode") != "trunc"
    if name in ("add", "sub", "rsub"):
        return _fits(call, (1, call.arg("alpha", 1)))
    if name == "addcmul":
        return _fits(call, (3, call.arg("value", 1)))
    if name == "lerp":
        weight = call.arg("weight")
        return _fits(call, (3, 1 if isinstance(weight, Tensor) else weight))
    return name != "round" or not call.kwargs.get("decimals")


def _fits(call: Call, product: tuple[int, float]) -> bool:
    """Whether a product inside of an operator needs no rounding, so that fusing changes nothing.

    ``product``: how many factors are elements of operands, and the number that is one, too.
    """
    factors, number = product
    if factors == 1 and abs(math.frexp(number)[0]) == 0.5:
        return True
    values = {value for t in call.tensors for value in call.signal(t).values}  # type: ignore[union-attr]
    values |= {1, number}
    step = min(_lowest_bit(value) for value in values)
    largest = max(2.0, *map(abs, values)) * 2
    return (largest / step) ** (factors + 1) <= 2 / torch.finfo(call.out.dtype).eps


def _lowest_bit(value: float) -> float:
    """The largest power of two, 1 at most, that a number is a multiple of."""
    numerator, denominator = float(value).as_integer_ratio()
    return 1 / denominator


def _scaled(call: Call, name: str, tensors: list[Tensor], signals: list[Signal]) -> Signal:
    """Spikes times constants that are not looked at: one-element parameters."""
    tables = [known for known in signals if isinstance(known, Table)]
    scales = [table.scale for table in tables if table.scale]
    floating = call.out.dtype.is_floating_point
    if tables and floating and not call.kwargs.get("rounding_mode"):
        if len(tables) == len(signals):
            linear = (
                name == "mul"
                or (name in ("div", "neg") and len(tables) == 1)
                or (name in ("add", "sub") and len(tables) == len(scales) == 2)
            )
            shared = name in ("add", "sub") and len(set(scales)) == 1
            if linear and (shared or name not in ("add", "sub")):
                scale = scales[0] if shared else "*".join(sorted(scales))
                return _with_scale(_evaluated(call, tensors, unscaled=True), scale)
        elif len(signals) == 2 and isinstance(signals[0], Table) and name in ("mul", "div"):
            factor = _parameter_factor(call, tensors[0], tensors[1])
            if factor:
                return _with_scale(signals[0], "*".join(sorted([*scales, f"{name} {factor}"])))
        elif len(signals) == 2 and name == "mul":
            factor = _parameter_factor(call, tensors[1], tensors[0])
            if factor:
                return _with_scale(tables[0], "*".join(sorted([*scales, f"mul {factor}"])))
    opaque = [ANALOG if isinstance(known, Table) and known.scale else known for known in signals]
    return _opaque(call, name, opaque)


def _parameter_factor(call: Call, spikes: Tensor, factor: Tensor) -> str:
    if call.signal(factor) is LEARNED and factor.numel() == 1 and spikes.shape == call.out.shape:
        return call.name(factor)
    return ""


def _with_scale(signal: Signal, scale: str) -> Signal:
    return Table(signal.atoms, signal.values, scale) if isinstance(signal, Table) else signal


def _evaluated(call: Call, tensors: list[Tensor], unscaled: bool = False) -> Signal:
    """The operator applied to its operands' tables."""
    tables = []
    for tensor in tensors:
        table = call.signal(tensor)
        assert isinstance(table, Table)
        if unscaled:
            table = Table(table.atoms, table.values)
        if tensor.shape != call.out.shape:
            table = call.atoms.rebased(
                table, ("expand", tuple(tensor.shape), tuple(call.out.shape))
            )
        tables.append(table)
    tables = _within_limit(tables, call.atoms)
    atoms = sorted({atom for table in tables for atom in table.atoms}, key=lambda atom: atom.id)
    if math.prod(atom.size for atom in atoms) > MAX_VALUES:
        kinds = [INTEGER if is_integer(table) else ANALOG for table in tables]
        return ANALOG if unscaled else _opaque(call, canonical(call.func), kinds)
    template = _template(call.args), tuple((k, _template(v)) for k, v in call.kwargs.items())
    operands = tuple(
        (table.values, tuple(atoms.index(a) for a in table.atoms), tensor.dtype, tensor.dim() == 0)
        for table, tensor in zip(tables, tensors, strict=True)
    )
    sizes = tuple(atom.size for atom in atoms)
    values = _apply(_returning(call.func), template, operands, sizes, call.out.dtype)
    if values is None:
        return call.atoms.fresh((False, True)) if call.out.dtype == torch.bool else ANALOG
    if len(set(values)) == 1:
        return Table((), values[:1])
    result = Table(tuple(atoms), values)
    return result if len(values) <= MAX_ENTRIES else call.atoms.rebased(result)


def _within_limit(tables: list[Table], atoms: Atoms) -> list[Table]:
    """Re-base the largest operands until the joint table is small enough."""
    tables = list(tables)
    while _entries(tables) > MAX_ENTRIES:
        sizes = [len(t.values) if len(t.atoms) > 1 else 0 for t in tables]
        largest = sizes.index(max(sizes))
        if not sizes[largest]:
            break
        tables[largest] = atoms.rebased(tables[largest])
    return tables


def _entries(tables: Sequence[Table]) -> int:
    return math.prod(atom.size for atom in {a: None for t in tables for a in t.atoms})


class _Slot:
    """Marks where a tensor stood in an argument list."""


_SLOT = _Slot()


def _template(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _SLOT
    if isinstance(value, (list, tuple)):
        return tuple(_template(item) for item in value)
    return Number(value) if isinstance(value, (int, float, complex)) else value


Values = tuple[int | float, ...]
Operand = tuple[Values, tuple[int, ...], torch.dtype, bool]


@cache
def _returning(func: Any) -> Any:
    """The form of an operator that returns its result, for one that writes it to ``out=``."""
    has_out = any(argument.is_out for argument in func._schema.arguments)
    return func._overloadpacket if has_out else func


@lru_cache(maxsize=4096)
def _apply(
    func: Any,
    template: tuple[Any, Any],
    operands: tuple[Operand, ...],
    sizes: tuple[int, ...],
    out: torch.dtype,
) -> Values | None:
    """Values of ``func`` for all assignments, or None where one of them is not finite.

    ``operands``: values, the positions of its atoms among all, dtype, and whether the tensor
    is zero-dimensional (those take part in type promotion differently). ``out``: dtype of the
    result.
    """
    try:
        remaining = iter(_tables(operands, sizes))
        args = _filled(template[0], remaining)
        kwargs = {name: _filled(value, remaining) for name, value in template[1]}
        kwargs.pop("device", None)
        kwargs.pop("memory_format", None)
        result = func(*_unbroadcast(func, args, sizes), **kwargs)
    except (RuntimeError, TypeError, ValueError, NotImplementedError):
        return None
    if result.dtype != out:
        if isinstance(func, OpOverload):
            return None
        result = result.to(out)  # what ``out=`` asks for
    full = result.expand(sizes or (1,)).reshape(-1)
    if full.is_complex() or not bool(torch.isfinite(full).all()):
        return None
    return tuple(full.tolist())


def _tables(operands: tuple[Operand, ...], sizes: tuple[int, ...]) -> list[Tensor]:
    """Each operand's values as a tensor with one dimension for each atom of all."""
    dtypes = [dtype for _, _, dtype, is_scalar in operands if not is_scalar]
    tables = []
    for values, positions, dtype, is_scalar in operands:
        table = torch.tensor(values, dtype=dtype, device="cpu")
        if is_scalar and not positions:
            tables.append(table.reshape(()))
            continue
        if is_scalar and dtypes:  # here it has dimensions, and must promote as if it had none
            common = reduce(torch.promote_types, dtypes)
            promoted = torch.result_type(table.new_empty(1, dtype=common), table.new_empty(()))
            if promoted != torch.promote_types(common, dtype):
                table = table.to(promoted)
        shape = [1] * max(1, len(sizes))
        for position in positions:
            shape[position] = sizes[position]
        tables.append(table.reshape(shape))
    return tables


def _filled(template: Any, tensors: Any) -> Any:
    if template is _SLOT:
        return next(tensors)
    if isinstance(template, Number):
        return template.value
    if isinstance(template, tuple):
        return tuple(_filled(item, tensors) for item in template)
    return template


def _unbroadcast(func: Any, args: tuple[Any, ...], sizes: tuple[int, ...]) -> tuple[Any, ...]:
    """In-place forms write into their first operand, which must have the full shape."""
    if (
        isinstance(func, OpOverload)
        and func._schema.is_mutable
        and args
        and isinstance(args[0], Tensor)
    ):
        return (args[0].expand(sizes or (1,)).clone(), *args[1:])
    return args


def cost(call: Call) -> Sequence[Cost]:
    """One operation per element of the result: an AC where all operands are spike-like."""
    name = canonical(call.func)
    if not isinstance(call.out, Tensor) or name in COMPARISONS or call.out.dtype == torch.bool:
        return ()
    operands = call.tensors
    if all(call.signal(tensor) is LEARNED for tensor in operands):
        return ()
    elements = call.out.numel()
    if name in ACTIVATIONS:
        return (Tally("activation", name, mac=elements),)
    if name in ADDS and len(operands) == 2:
        return (Tally("add", name, ac=elements),)
    if name in ADDS or (
        name in ARITHMETIC and all(isinstance(call.signal(t), Table) for t in operands)
    ):
        return (Tally("elementwise", name, ac=elements),)
    if name in ARITHMETIC:
        return (Tally("elementwise", name, mac=elements),)
    return ()


POINTWISE = Rule(signal, cost)
"""The rule of every operator that torch tags as pointwise."""

RULES: dict[str, Rule] = {
    # Torch does not tag every form of these as pointwise.
    **dict.fromkeys(
        (*ADDS, *ARITHMETIC, *ACTIVATIONS, *COMPARISONS, "abs", "heaviside"), POINTWISE
    ),
    "masked_fill": Rule(masked_fill),
    "where": Rule(where),
    "_to_copy": Rule(copied, moves=True),
    "copy": Rule(copied, moves=True),
}
