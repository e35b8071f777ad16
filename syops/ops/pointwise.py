"""Pointwise operators, evaluated on the truth table by the operator itself.

There is one rule for all of them: apply the operator to the tables instead of the tensors.
So the result has the operator's own semantics and the rounding of its dtype, and is exact
as long as the operands are given by tables over the same positions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, reduce
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from syops.ops.ranges import CLAMPS, MAX_VALUES, bounded, ended, outward, truncated
from syops.ops.rule import (
    COMPARES,
    COPY,
    Call,
    Cost,
    Free,
    Number,
    Rule,
    canonical,
    tallied,
    tensors_in,
)
from syops.ops.values import (
    ANALOG,
    EMPTY,
    INTEGER,
    LEARNED,
    UNKNOWN,
    UNSCALED,
    Atoms,
    Interval,
    Opaque,
    Scale,
    Shown,
    Signal,
    Table,
    constant,
    is_integer,
    kind_of,
    rescaled,
)

LONGEST_NAME = 120
"""Characters of the name of a factor; longer ones are told by their hash."""
MAX_ENTRIES = 256
"""Assignments that a table may have before its operands are re-based."""
ADDS = {"add", "sub", "rsub"}
ARITHMETIC = {
    *("mul", "div", "pow", "sqrt", "rsqrt"),
    *("reciprocal", "addcmul", "addcdiv", "lerp", "remainder", "fmod", "floor_divide", "frac"),
    *("ldexp", "deg2rad", "rad2deg"),
}
ACTIVATIONS = {
    *("relu", "leaky_relu", "rrelu_with_noise", "_prelu_kernel", "elu", "celu"),
    *("gelu", "silu", "mish", "sigmoid", "tanh", "hardtanh", "hardsigmoid", "hardswish"),
    *("softplus", "softshrink", "hardshrink", "threshold", "log_sigmoid_forward", "exp", "exp2"),
    *("expm1", "log", "log2", "log10", "log1p", "erf", "sin", "cos", "atan"),
}
COMPARISONS = {
    *("eq", "ne", "lt", "le", "gt", "ge"),
    *("logical_and", "logical_or", "logical_xor", "logical_not", "signbit"),
    *("isnan", "isinf", "isfinite", "isposinf", "isneginf"),
}
"""0 or 1, whatever they compare and whatever dtype they write it in."""
FREE = {
    COMPARES: (
        *COMPARISONS,
        *("heaviside", "maximum", "minimum", "fmax", "fmin", *CLAMPS.keys() - ACTIVATIONS),
    ),
    Free("changes signs"): (
        *("neg", "abs", "sign", "sgn", "copysign"),
        *("conj_physical", "_conj_physical"),
    ),
    Free("rounds"): ("round", "floor", "ceil", "trunc"),
    Free("works on bits"): (
        *("bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not", "nextafter", "frexp"),
        *("bitwise_left_shift", "bitwise_right_shift", "__lshift__", "__rshift__", "__ilshift__"),
        "__irshift__",
    ),
    Free("selects"): ("nan_to_num",),
}
"""Pointwise operators that cost nothing, by the reason why."""
INTEGER_CLOSED = {
    *("add", "sub", "rsub", "mul", "neg", "abs", "maximum", "minimum", "clone", "relu", *CLAMPS),
}
EXACT = {
    *("add", "sub", "rsub", "mul", "div"),
    *("neg", "abs", "sqrt", "reciprocal", "relu"),
    *("leaky_relu", "hardshrink", "softshrink", "threshold", "sign", "sgn", "heaviside"),
    *("round", "floor", "ceil", "trunc", "maximum", "minimum", "fmax", "fmin"),
    *("remainder", "fmod", "floor_divide", "lerp", "addcmul", "pow", "where", "masked_fill"),
    *("clone", "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not"),
    *(*CLAMPS, *COMPARISONS),
}
"""Operators whose result is rounded once, if at all, and so is the same number wherever it is
computed. Others differ in the last bit between the vectors of a kernel and what is left over."""


def signal(call: Call) -> Signal:
    """The signal of a pointwise result."""
    name = canonical(call.func)
    tensors = call.tensors
    signals = _with_masks(call, [call.signal(tensor) for tensor in tensors])
    if not isinstance(call.out, Tensor):
        return ANALOG
    if call.numbers_from_data and _has_real_number(call):
        return _opaque(call, name, [ANALOG] * len(signals))
    plain = all(isinstance(known, Table) and not known.scale for known in signals)
    if plain and not _is_exact(call, name, signals):
        return _one_number(call, signals) or _opaque(call, name, signals)
    return _evaluated(call, tensors, signals) if plain else _scaled(call, name, tensors, signals)


def has_threshold(call: Call) -> bool:
    """Whether values about which nothing finite is known are compared, as a neuron does."""
    return canonical(call.func) in {*COMPARISONS, *SIGN_LIKE, "heaviside"} and any(
        kind_of(call.signal(tensor)) in (ANALOG, INTEGER, UNKNOWN) for tensor in call.tensors
    )


def _with_masks(call: Call, signals: list[Signal]) -> list[Signal]:
    """Learned masks as sets of few values, where they meet what depends on data."""
    if LEARNED not in signals or not any(isinstance(s, Table) and s.atoms for s in signals):
        return signals
    found = []
    for tensor, known in zip(call.tensors, signals, strict=True):
        recipe = call.recipe(tensor) if known is LEARNED else None
        if recipe is not None and recipe.values:
            known = call.atoms.named((recipe.name, tuple(tensor.shape)), recipe.values)
        found.append(known)
    return found


def _one_number(call: Call, signals: Sequence[Signal]) -> Signal | None:
    """One number made of constants by what is not exact: a factor that is known by its name."""
    if call.out.numel() != 1 or not call.out.dtype.is_floating_point:
        return None
    if any(not isinstance(known, Table) or known.atoms for known in signals):
        return None
    told = [(s.values, t.dtype) for s, t in zip(signals, call.tensors, strict=True)]  # type: ignore[union-attr]
    template = _template(call.args), sorted((k, _template(v)) for k, v in call.kwargs.items())
    return Table((), (1,), Scale(shortened(f"{call.func.name()}{template!r}{told!r}")))


def shortened(name: str) -> str:
    """A name of bounded length."""
    return name if len(name) <= LONGEST_NAME else sha256(name.encode()).hexdigest()


def _has_real_number(call: Call) -> bool:
    """A number among the arguments that is not whole. (Whole ones are taken for constants.)"""
    numbers = (*call.args, *call.kwargs.values())
    return any(isinstance(value, float) and not value.is_integer() for value in numbers)


def masked_fill(call: Call) -> Signal:
    x, mask, value = call.args[:3]
    filler = call.signal(value) if isinstance(value, Tensor) else call.constant(value)
    known = call.signal(x), call.signal(mask), filler
    if all(isinstance(part, Table) and not part.scale for part in known):
        return _evaluated(call, call.tensors, [call.signal(t) for t in call.tensors])
    chosen = [x, value] if isinstance(value, Tensor) or filler == constant(0) else []
    return _amplitude(call, mask, chosen) or call.atoms.joined((known[0], filler))


def where(call: Call) -> Signal:
    known = [call.signal(tensor) for tensor in call.tensors]
    if all(isinstance(part, Table) and not part.scale for part in known):
        return _evaluated(call, call.tensors, known)
    return _amplitude(call, call.args[0], call.args[1:]) or call.atoms.joined(known[1:])


def _amplitude(call: Call, mask: Tensor, chosen: Sequence[Any]) -> Signal | None:
    """What a mask chooses where all is 0 or a multiple of one scale: spikes with an amplitude."""
    if not chosen or not call.out.dtype.is_floating_point:
        return None
    plain, scales = {id(mask): call.signal(mask)}, set()
    for tensor in (part for part in chosen if isinstance(part, Tensor)):
        known = call.signal(tensor)
        factor = _factor(call, tensor, known, among=())
        if factor is None:
            return None
        if set(factor.values) != {0}:
            scales.add(factor.scale)
        plain[id(tensor)] = rescaled(known, UNSCALED) if isinstance(known, Table) else constant(1)
    if len(scales) != 1 or not all(isinstance(part, Table) for part in plain.values()):
        return None
    signals = [plain[id(tensor)] for tensor in call.tensors]
    return rescaled(_evaluated(call, call.tensors, signals), scales.pop())


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
    if isinstance(known, Shown):
        return known if _keeps_class(known, source.dtype, out.dtype) else UNKNOWN
    if known is ANALOG and not (out.dtype.is_floating_point or out.dtype.is_complex):
        return INTEGER
    if not isinstance(known, Table):
        return known
    if source.shape != out.shape:
        moved = _broadcast(known, source, out, atoms)
        if not isinstance(moved, Table):
            return moved
        known = moved
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


def _keeps_class(known: Shown, before: torch.dtype, after: torch.dtype) -> bool:
    """Whether values of a class are still of it after a cast."""
    if before == after or known.name == "binary":
        return True
    if not after.is_floating_point:
        wide = known.name == "ternary" or after.itemsize >= before.itemsize
        return known.name != "analog" and wide and after.is_signed and not after.is_complex
    finer = before.is_floating_point and torch.finfo(after).eps <= torch.finfo(before).eps
    return finer or known.name != "analog"


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
    if name == "div":
        return call.kwargs.get("rounding_mode") is not None
    return name in ("floor", "ceil", "trunc", "floor_divide") or (
        name == "round" and not call.kwargs.get("decimals")
    )


def _is_exact(call: Call, name: str, signals: Sequence[Signal]) -> bool:
    """Whether a result on tables is the same number on every path through a kernel."""
    if name not in EXACT:
        return False
    if not call.out.dtype.is_floating_point:
        return True
    if name == "pow":
        exponent = call.arg("exponent")
        return not isinstance(exponent, Tensor) and exponent in (0, 1, 2, 3)
    if name == "div":
        return call.kwargs.get("rounding_mode") != "trunc"
    if name in ("add", "sub") and "alpha" not in call.kwargs:
        return True
    if name in ("add", "sub", "rsub"):
        return _fits(call, signals, (1, call.arg("alpha", 1)))
    if name == "addcmul":
        return _fits(call, signals, (3, call.arg("value", 1)))
    if name == "lerp":
        weight = call.arg("weight")
        return _fits(call, signals, (3, 1 if isinstance(weight, Tensor) else weight))
    return name != "round" or not call.kwargs.get("decimals")


def _fits(call: Call, signals: Sequence[Signal], product: tuple[int, float]) -> bool:
    """Whether a product inside of an operator needs no rounding, so that fusing changes nothing.

    ``product``: how many factors are elements of operands, and the number that is one, too.
    """
    factors, number = product
    if factors == 1 and abs(math.frexp(number)[0]) == 0.5:
        return True
    values = {value for known in signals if isinstance(known, Table) for value in known.values}
    values |= {1, number}
    step = min(_lowest_bit(value) for value in values)
    largest = max(2.0, *map(abs, values)) * 2
    return (largest / step) ** (factors + 1) <= 2 / torch.finfo(call.out.dtype).eps


def _lowest_bit(value: float) -> float:
    """The largest power of two, 1 at most, that a number is a multiple of."""
    numerator, denominator = float(value).as_integer_ratio()
    return 1 / denominator


def _scaled(call: Call, name: str, tensors: list[Tensor], signals: list[Signal]) -> Signal:
    """Spikes times factors that are not looked at: one number, or one for each channel."""
    floating = call.out.dtype.is_floating_point
    rounds = name == "round" or call.kwargs.get("rounding_mode")
    scale = None if rounds or not floating else _scale_of(call, name, tensors, signals)
    if scale is not None:
        plain = [
            rescaled(known, UNSCALED) if isinstance(known, Table) else constant(1)
            for known in signals
        ]
        return rescaled(_evaluated(call, tensors, plain), scale)
    opaque = [ANALOG if isinstance(known, Table) and known.scale else known for known in signals]
    return _opaque(call, name, opaque)


def _scale_of(call: Call, name: str, tensors: list[Tensor], signals: list[Signal]) -> Scale | None:
    """The factor of all values of a result, if it has one.

    Entry c of a table with factor u stands for c · u, rounded once. What is rounded more often gets
    a factor of its own, so that no difference is taken for 0 that is not.
    """
    if not any(isinstance(known, Table) for known in signals):
        return None
    factors = []
    for tensor, known in zip(tensors, signals, strict=True):
        factor = _factor(call, tensor, known)
        if factor is None:
            return None
        factors.append(factor)
    factors += [Factor(values=(arg,)) for arg in call.args if isinstance(arg, (int, float))]
    if name == "neg":
        return factors[0].scale
    if len(factors) != 2 or not all(factor.values for factor in factors):
        return None
    left, right = factors
    if name in ("add", "sub"):
        same = len(tensors) == 2 and left.scale == right.scale and call.arg("alpha", 1) == 1
        entries = (*left.values, *right.values)
        alike = len({abs(value) for value in entries if value}) <= 1
        return left.scale if same and (alike or _powers_of_two(entries)) else None
    if name == "mul":
        return _multiplied(left, right)
    return _divided(left, right) if name == "div" and tensors[0] is call.args[0] else None


@dataclass(frozen=True, slots=True)
class Factor:
    """A factor of a product: entries of a table, times its scale."""

    scale: Scale = UNSCALED
    values: tuple[int | float, ...] = (1,)
    learned: bool = False


def _factor(
    call: Call, tensor: Tensor, known: Signal, among: Sequence[Tensor] | None = None
) -> Factor | None:
    """What an operand of a product is a multiple of; None where it is no factor.

    ``among``: the other operands, which must have the shape of the result for the scale to lie
    along dimensions of it.
    """
    if isinstance(known, Table):
        return Factor(_scale_broadcast(known.scale, tensor, call.out), known.values)
    recipe = call.recipe(tensor) if known is LEARNED else None
    others = [t for t in call.tensors if t is not tensor] if among is None else among
    if recipe is None or any(other.shape != call.out.shape for other in others):
        return None
    first = call.out.dim() - tensor.dim()
    varying = zip(tensor.shape, tensor.stride(), strict=True)  # not where it was expanded
    dims = tuple(first + i for i, (size, stride) in enumerate(varying) if size != 1 and stride)
    return Factor(Scale(recipe.name, dims), learned=True)


def _multiplied(left: Factor, right: Factor) -> Scale | None:
    first, second = _powers_of_two(left.values), _powers_of_two(right.values)
    if left.scale and right.scale:
        names = sorted((left.scale.name, right.scale.name))
        return _made(f"({names[0]}*{names[1]})", left, right, first and second)
    scaled = left if left.scale else right
    return _made(scaled.scale.name, left, right, scaled.learned or first or second)


def _divided(left: Factor, right: Factor) -> Scale | None:
    if len(right.values) != 1 or 0 in right.values:
        return None
    exact = _powers_of_two(right.values)
    if not right.scale:
        return _made(left.scale.name, left, right, exact)
    name = f"({left.scale.name}/{right.scale.name})"
    return _made(name, left, right, exact and _powers_of_two(left.values))


def _made(name: str, left: Factor, right: Factor, once: bool) -> Scale | None:
    """A scale of that name, or of another one where more was rounded than the scale itself."""
    dims = {factor.scale.dims for factor in (left, right) if factor.scale.dims}
    if len(dims) > 1:
        return None
    name = name if once else f"{name} of {left.values!r}, {right.values!r}"
    return Scale(shortened(name), dims.pop() if dims else ())


def _powers_of_two(values: Sequence[float]) -> bool:
    """Whether all of them but 0 are powers of two, by which nothing is rounded."""
    return all(abs(math.frexp(value)[0]) == 0.5 for value in values if value)


def _scale_broadcast(scale: Scale, tensor: Tensor, out: Tensor) -> Scale:
    """A scale after its tensor was broadcast: dimensions were put before those that there were."""
    more = out.dim() - tensor.dim()
    return Scale(scale.name, tuple(dim + more for dim in scale.dims)) if scale.dims else scale


def _broadcast(table: Table, tensor: Tensor, out: Tensor, atoms: Atoms) -> Signal:
    """The signal of a tensor after it was broadcast."""
    plain = rescaled(table, UNSCALED)
    assert isinstance(plain, Table)
    moved = atoms.rebased(plain, ("expand", tuple(tensor.shape), tuple(out.shape)))
    return rescaled(moved, _scale_broadcast(table.scale, tensor, out))


def _evaluated(call: Call, tensors: Sequence[Tensor], signals: Sequence[Signal]) -> Signal:
    """The operator applied to its operands' tables."""
    tables = []
    for tensor, table in zip(tensors, signals, strict=True):
        assert isinstance(table, Table)
        if tensor.shape != call.out.shape:
            table = _broadcast(table, tensor, call.out, call.atoms)
            assert isinstance(table, Table)
        tables.append(table)
    tables = _within_limit(tables, call.atoms)
    atoms = sorted({atom for table in tables for atom in table.atoms}, key=lambda atom: atom.id)
    if math.prod(atom.size for atom in atoms) > MAX_VALUES:
        kinds = [INTEGER if is_integer(table) else ANALOG for table in tables]
        return _opaque(call, canonical(call.func), kinds)
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
        rebased = atoms.rebased(tables[largest])
        assert isinstance(rebased, Table)
        tables[largest] = rebased
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
    """1 operation per element: AC for a sum, or where only spikes meet; else MAC."""
    result = next(iter(tensors_in((call.out,))), None)
    if result is None or result.dtype == torch.bool:
        return ()
    name, elements = canonical(call.func), result.numel()
    operands = call.tensors
    if name in ADDS and len(operands) == 2:
        return tallied(call, "add", ac=elements)
    if name in ADDS or (
        name in ARITHMETIC and all(isinstance(call.signal(t), Table) for t in operands)
    ):
        return tallied(call, "elementwise", ac=elements)
    is_function = name not in ARITHMETIC and len(operands) == 1
    kind = "activation" if name in ACTIVATIONS or is_function else "elementwise"
    return tallied(call, kind, mac=elements)


POINTWISE = Rule(signal, cost)
"""The rule of every operator that torch tags as pointwise."""

RULES: dict[str, Rule] = {
    # Torch does not tag every form of these as pointwise.
    **dict.fromkeys((*ADDS, *ARITHMETIC, *ACTIVATIONS), POINTWISE),
    **{name: Rule(signal, reason) for reason, names in FREE.items() for name in names},
    "masked_fill": Rule(masked_fill, Free("selects")),
    "where": Rule(where, Free("selects")),
    "_to_copy": Rule(copied, COPY, moves=True),
    "copy": Rule(copied, COPY, moves=True),
}
