"""Everything else: constants, random numbers, reductions, pooling, normalisation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction

import torch

from syops.ops.pointwise import POINTWISE, converted
from syops.ops.ranges import MAX_VALUES
from syops.ops.rule import (
    COMPARES,
    COPY,
    Call,
    Cost,
    Free,
    Normalisation,
    Rule,
    analog,
    canonical,
    tallied,
    tensors_in,
)
from syops.ops.values import (
    ANALOG,
    EMPTY,
    INTEGER,
    LARGEST,
    LEARNED,
    Opaque,
    Signal,
    Table,
    averaged_scale,
    between,
    common_unit,
    constant,
    is_integer,
    part_of,
    split,
)

# Constants


def zeros(call: Call) -> Signal:
    return constant(0)


def ones(call: Call) -> Signal:
    return constant(1)


def full(call: Call) -> Signal:
    value = call.arg("fill_value", call.arg("value", call.arg("s")))
    if isinstance(value, torch.Tensor):
        return converted(value, call.signal(value), call.out, call.atoms)
    return call.constant(value)


def empty(call: Call) -> Signal:
    """Memory without values yet: what is written into it later is all that it carries."""
    return EMPTY


def integers(call: Call) -> Signal:
    """Positions, counts and the like."""
    return INTEGER


def counts(call: Call) -> Signal:
    """How many there are; sums of weights, where these are given."""
    return ANALOG if call.arg("weights") is not None else INTEGER


def arange(call: Call) -> Signal:
    steps = call.arg("start", 0), call.arg("step", 1)
    is_whole = all(float(value).is_integer() for value in steps)
    return INTEGER if is_whole or not call.out.dtype.is_floating_point else ANALOG


def shares(call: Call) -> Signal:
    """Shares of 1: a softmax, or random numbers of [0, 1)."""
    known = analog(call)
    return between(0, 1, known) if isinstance(known, Opaque) else known


def binary(call: Call) -> Signal:
    """Spikes, independent of all others."""
    return call.atoms.fresh((0, 1))


def randint(call: Call) -> Signal:
    low, high = call.arg("low", 0), call.arg("high")
    return call.atoms.fresh(tuple(range(low, high))) if high - low <= MAX_VALUES else INTEGER


# Reductions


def total(call: Call) -> Signal:
    """A sum of n integers of [a, b] is an integer of [n·a, n·b]."""
    known = call.signal(call.args[0])
    if not isinstance(known, Table):
        return known if known in (LEARNED, INTEGER) else ANALOG
    terms = call.args[0].numel() // max(1, call.out.numel())
    if not is_integer(known) or known == EMPTY:
        return averaged(call, {(terms, 1)})
    low, high = terms * int(min(known.values)), terms * int(max(known.values))
    return _integers_between(low, high, call)


def running_total(call: Call) -> Signal:
    known = call.signal(call.args[0])
    if not isinstance(known, Table) or not is_integer(known) or known == EMPTY:
        return analog(call)
    steps = call.args[0].shape[call.args[1]] if call.args[0].dim() else 1
    return _integers_between(
        min(steps * int(min(known.values)), int(min(known.values))),
        max(steps * int(max(known.values)), int(max(known.values))),
        call,
    )


def product(call: Call) -> Signal:
    """A product of n whole numbers is one of their products: an AND, where they are 0 or 1."""
    known = call.signal(call.args[0])
    if not isinstance(known, Table) or not is_integer(known) or known == EMPTY:
        return analog(call)
    x, running = call.args[0], canonical(call.func) == "cumprod"
    terms = x.shape[call.args[1]] if running and x.dim() else x.numel() // max(1, call.out.numel())
    factors = {int(value) for value in known.values}
    largest = max(map(abs, factors))
    made, met = {1}, factors if running else set()
    for _ in range(terms):
        after = {value * factor for value in made for factor in factors}
        met = met | after if running else after
        if len(met) > MAX_VALUES:
            return INTEGER
        if after == made:
            break
        made = after
    if largest > 1 and not _holds(call.out.dtype, largest**terms):
        return INTEGER if not call.out.dtype.is_floating_point else ANALOG
    values = sorted(met or {1})
    return call.atoms.fresh(values) if len(values) > 1 else constant(values[0])


def _holds(dtype: torch.dtype, largest: int) -> bool:
    """Whether a dtype has all whole numbers up to one."""
    if dtype.is_floating_point:
        return largest <= 2 / torch.finfo(dtype).eps
    return dtype != torch.bool and not dtype.is_complex and largest <= torch.iinfo(dtype).max


def _integers_between(low: int, high: int, call: Call) -> Signal:
    """Sums of integers. Half precision rounds one of 3003 to 3004: whole, but without an end."""
    dtype = call.out.dtype
    if dtype.is_complex:
        return ANALOG
    if dtype.is_floating_point and not _holds(dtype, max(abs(low), abs(high))):
        return INTEGER if max(abs(low), abs(high)) <= torch.finfo(dtype).max else ANALOG
    if not (dtype.is_floating_point or dtype == torch.bool):
        limits = torch.iinfo(dtype)
        if not limits.min <= low <= high <= limits.max:
            return INTEGER  # wrapped around
    if low == high:
        return constant(low)
    return call.atoms.fresh(tuple(range(low, high + 1))) if high - low < MAX_VALUES else INTEGER


def total_cost(call: Call) -> Sequence[Cost]:
    """1 AC per value that is added up."""
    return tallied(call, "pool", ac=call.args[0].numel())


def diagonal_cost(call: Call) -> Sequence[Cost]:
    """1 AC per value on the diagonal."""
    return tallied(call, "pool", ac=min(call.args[0].shape))


def power_cost(call: Call) -> Sequence[Cost]:
    """1 MAC per value that is multiplied or squared and added up."""
    return tallied(call, "pool", mac=call.args[0].numel())


def exponential_cost(call: Call) -> Sequence[Cost]:
    """1 MAC per value whose exponential is added up."""
    return tallied(call, "activation", mac=call.args[0].numel())


def added_cost(call: Call) -> Sequence[Cost]:
    """1 AC per value that is added to others, 1 MAC for a product, 0 for a comparison."""
    how = call.arg("reduce", "sum")
    source = call.arg("source", call.arg("src", call.arg("data")))
    index = call.arg("index")
    scatters = canonical(call.func).startswith("scatter")
    values = (index if scatters else source).numel()
    if how in ("amax", "amin", "max", "min"):
        return ()
    return tallied(call, "pool", **{"mac" if how == "prod" else "ac": values})


def loss_cost(call: Call) -> Sequence[Cost]:
    """1 MAC per value that is compared with a target."""
    return tallied(call, "elementwise", mac=call.args[0].numel())


def dropout_cost(call: Call) -> Sequence[Cost]:
    """1 MAC per element in training; else 0."""
    if call.arg("train") is False:
        return ()
    return tallied(call, "elementwise", mac=call.args[0].numel())


def extremum(call: Call) -> Signal | Sequence[Signal]:
    """One of the values of the operand, and perhaps where it was."""
    known = call.signal(call.args[0])
    values = call.atoms.joined((known,)) if isinstance(known, Table) else part_of(known)
    outputs = tensors_in((call.out,))
    if canonical(call.func) == "aminmax":
        return [call.atoms.joined((known,)) if isinstance(known, Table) else part_of(known)] * 2
    return [values, *[INTEGER] * (len(outputs) - 1)]


def predicate(call: Call) -> Signal:
    return call.atoms.fresh((False, True))


# Pooling


def mean(call: Call) -> Signal:
    """The sum over n entries, divided by n."""
    terms = call.args[0].numel() // max(1, call.out.numel())
    return averaged(call, {(terms, terms)})


def average_pool(call: Call) -> Signal:
    """The sum of the entries of a window, divided by what the window's place asks for."""
    known = call.signal(call.args[0])
    windows = average_windows(call) if isinstance(known, Table) else set()
    return averaged(call, windows)


def averaged(call: Call, windows: set[tuple[int, int]]) -> Signal:
    """Sums of some terms, divided by a divisor: one constant times integers.

    Divided by a power of two, such values are exact. Others are rounded, once or twice as the
    kernel likes, so that only a multiple of the constant is known of them, not the last bit.

    Args:
        call: what sums its first argument.
        windows: how many terms there are, and their divisor; all that occur.
    """
    known = call.signal(call.args[0])
    if not isinstance(known, Table) or known == EMPTY or not call.out.dtype.is_floating_point:
        return analog(call)
    if split(known.scale.name)[0]:
        return ANALOG
    size = common_unit(frozenset(abs(value) for value in known.values if value) or frozenset({1}))
    if size is None or not windows or any(not divisor for _, divisor in windows):
        return ANALOG
    multiples = [round(Fraction(value) / size) for value in known.values]
    low, high = min(multiples), max(multiples)
    if any(terms * (high - low) >= MAX_VALUES for terms, _ in windows):
        return ANALOG
    reached = {
        Fraction(k, divisor)
        for terms, divisor in windows
        for k in range(terms * low, terms * high + 1)
    }
    parts = math.lcm(*(value.denominator for value in reached))
    values = sorted(int(value * parts) for value in reached)
    divisor = math.gcd(*values) or 1
    largest = max(map(abs, values)) // divisor
    if largest > LARGEST and (parts > 1 or known.scale or size.denominator > 1):
        return ANALOG
    unit = size / parts
    sums = max(terms for terms, _ in windows) * max(abs(low), abs(high)) * size.numerator
    room = 2 / torch.finfo(call.out.dtype).eps
    whole = all(m * size == Fraction(v) for m, v in zip(multiples, known.values, strict=True))
    is_exact = whole and not known.scale and not unit.denominator & (unit.denominator - 1)
    if is_exact and sums <= room and max(map(abs, values)) * unit.numerator <= room:
        plain = [float(value * unit) for value in values]
        return call.atoms.fresh(plain) if len(plain) > 1 else constant(plain[0])
    table = call.atoms.fresh(values) if len(values) > 1 else constant(values[0])
    how = f"{call.func.name()}{tuple(call.args[0].shape[2:])}{tuple(call.out.shape[2:])}"
    return Table(table.atoms, table.values, averaged_scale(known.scale, unit, how))


def average_windows(call: Call) -> set[tuple[int, int]]:
    """How many entries the windows of an average pooling have, with the divisor of each."""
    rank = int(call.func._schema.name[-2])
    inputs, outputs = call.args[0].shape[-rank:], call.out.shape[-rank:]
    if call.arg("kernel_size") is None:
        along = [_adaptive_windows(*sizes) for sizes in zip(inputs, outputs, strict=True)]
        return {(math.prod(w), math.prod(w)) for w in itertools.product(*along)}
    kernel = _each(call.arg("kernel_size"), rank)
    stride = _each(call.arg("stride") or kernel, rank)
    padding = _each(call.arg("padding", 0), rank)
    shapes = zip(inputs, outputs, kernel, stride, padding, strict=True)
    padded = call.arg("count_include_pad", True)
    override = call.arg("divisor_override")
    windows = set()
    for combined in itertools.product(*(_padded_windows(*shape) for shape in shapes)):
        terms = math.prod(entries for entries, _ in combined)
        filled = math.prod(places for _, places in combined)
        windows.add((terms, override or (filled if padded else terms)))
    return windows


def _each(value: int | Sequence[int], rank: int) -> list[int]:
    """One number a dimension."""
    values = [value] if isinstance(value, int) else list(value)
    return values * rank if len(values) == 1 else values


def _adaptive_windows(size: int, outputs: int) -> set[int]:
    return {-(-(i + 1) * size // outputs) - i * size // outputs for i in range(outputs)}


def _padded_windows(
    size: int, outputs: int, kernel: int, stride: int, padding: int
) -> set[tuple[int, int]]:
    """Entries of each window along one dimension, and its places with those of the padding."""
    windows = set()
    for i in range(outputs):
        start = i * stride - padding
        end = min(start + kernel, size + padding)
        windows.add((max(0, min(end, size) - max(start, 0)), end - start))
    return windows


def average_pool_cost(call: Call) -> Sequence[Cost]:
    """1 AC per entry of a window; adaptive windows cover their input once."""
    x, out = call.args[0], call.out
    kernel = call.arg("kernel_size")
    entries = x.numel()
    if kernel is not None:
        spatial = call.func._schema.name[-2]
        sizes = list(kernel) * int(spatial) if len(kernel) == 1 else list(kernel)
        entries = out.numel() * math.prod(sizes)
    return tallied(call, "pool", "avg_pool", ac=entries)


# Normalisation


def batch_norm_cost(call: Call) -> Sequence[Cost]:
    """2 MACs per element; 0 where it is folded."""
    x, mean = call.args[0], call.arg("running_mean")
    name = call.func._schema.name.partition("::")[2]
    trains = call.arg("training", call.arg("train", "no_training" not in name))
    return (Normalisation("batch_norm", x.numel(), x, affine=mean is not None and not trains),)


def norm_cost(call: Call) -> Sequence[Cost]:
    """2 MACs per element."""
    x = call.args[0]
    name = call.func._schema.name.partition("::")[2].removeprefix("native_")
    return (Normalisation(name.removeprefix("_fused_"), x.numel(), x, affine=False),)


def softmax_cost(call: Call) -> Sequence[Cost]:
    """1 MAC per element of the result."""
    return tallied(call, "activation", "softmax", mac=call.out.numel())


def gate_cost(call: Call) -> Sequence[Cost]:
    """1 MAC per element of the result."""
    return tallied(call, "activation", mac=call.out.numel())


# Recurrent cells, whose products came before


def lstm_cost(call: Call) -> Sequence[Cost]:
    """5 AC, 8 MAC per hidden unit: gates, and what they multiply."""
    units = call.args[0].numel() // 4
    return (
        *tallied(call, "add", "lstm_cell", ac=5 * units),
        *tallied(call, "activation", "lstm_cell", mac=5 * units),
        *tallied(call, "elementwise", "lstm_cell", mac=3 * units),
    )


def gru_cost(call: Call) -> Sequence[Cost]:
    """5 AC, 5 MAC per hidden unit: gates, and what they multiply."""
    units = call.args[0].numel() // 3
    return (
        *tallied(call, "add", "gru_cell", ac=5 * units),
        *tallied(call, "activation", "gru_cell", mac=3 * units),
        *tallied(call, "elementwise", "gru_cell", mac=2 * units),
    )


SOFTMAX = ("_softmax", "softmax", "_safe_softmax")
RANDOM = Free("draws random numbers")
CONSTANT = Free("a constant")
POSITIONS = Free("finds positions")

RULES: dict[str, Rule] = {
    **dict.fromkeys(("zeros", "zeros_like", "new_zeros", "zero"), Rule(zeros, CONSTANT)),
    **dict.fromkeys(("ones", "ones_like", "new_ones"), Rule(ones, CONSTANT)),
    **dict.fromkeys(
        ("full", "full_like", "new_full", "fill", "scalar_tensor"), Rule(full, CONSTANT)
    ),
    **dict.fromkeys(
        ("empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided",
         "empty_permuted"),
        Rule(empty, Free("memory without values")),
    ),
    "arange": Rule(arange, CONSTANT),
    **dict.fromkeys(("linspace", "logspace"), Rule(analog, CONSTANT)),
    "eye": Rule(binary, CONSTANT),
    **dict.fromkeys(("tril_indices", "triu_indices"), Rule(integers, CONSTANT)),
    **dict.fromkeys(
        ("argmax", "argmin", "nonzero", "nonzero_static", "searchsorted", "bucketize"),
        Rule(integers, POSITIONS),
    ),
    # Random numbers.
    "bernoulli": Rule(binary, RANDOM),
    **dict.fromkeys(("randint", "randint_like"), Rule(randint, RANDOM)),
    **dict.fromkeys(("rand", "rand_like"), Rule(shares, RANDOM)),
    **dict.fromkeys(("randperm", "multinomial"), Rule(integers, RANDOM)),
    **dict.fromkeys(
        ("randn", "randn_like", "normal", "uniform", "exponential", "random", "cauchy",
         "log_normal", "geometric", "poisson", "binomial", "_standard_gamma",
         "_sample_dirichlet", "normal_functional"),
        Rule(analog, RANDOM),
    ),
    **dict.fromkeys(("native_dropout", "_fused_dropout"), Rule(analog, dropout_cost)),
    # Reductions.
    **dict.fromkeys(("sum", "nansum"), Rule(total, total_cost)),
    "mean": Rule(mean, total_cost),
    "cumsum": Rule(running_total, total_cost),
    **dict.fromkeys(("count_nonzero", "bincount", "histc"), Rule(counts, total_cost)),
    "trace": Rule(analog, diagonal_cost),
    **dict.fromkeys(("prod", "cumprod"), Rule(product, power_cost)),
    **dict.fromkeys(
        ("std", "var", "var_mean", "std_mean", "norm", "linalg_vector_norm", "linalg__powsum",
         "renorm", "dist"),
        Rule(analog, power_cost),
    ),
    **dict.fromkeys(
        ("logsumexp", "logcumsumexp", "_logcumsumexp"), Rule(analog, exponential_cost)
    ),
    **dict.fromkeys(
        ("scatter_add", "scatter_reduce", "index_add", "index_reduce", "segment_reduce"),
        Rule(analog, added_cost),
    ),
    **dict.fromkeys(("col2im", "unfold_backward"), Rule(analog, total_cost)),
    **dict.fromkeys(
        ("amax", "amin", "max", "min", "sort", "topk", "median", "nanmedian", "kthvalue", "mode",
         "cummax", "cummin", "aminmax", "_aminmax", "unique_consecutive", "_unique", "_unique2",
         "unique_dim", "unique_dim_consecutive"),
        Rule(extremum, COMPARES),
    ),
    **dict.fromkeys(
        ("any", "all", "equal", "isin", "_is_all_true", "_is_any_true"),
        Rule(predicate, COMPARES),
    ),
    **dict.fromkeys(
        ("avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "_adaptive_avg_pool2d",
         "_adaptive_avg_pool3d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
        Rule(average_pool, average_pool_cost),
    ),
    # Normalisations.
    **dict.fromkeys(
        ("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training",
         "cudnn_batch_norm", "miopen_batch_norm", "_batch_norm_with_update",
         "_batch_norm_no_update", "_native_batch_norm_legit_functional",
         "_batch_norm_with_update_functional"),
        Rule(analog, batch_norm_cost, counted=True),
    ),
    **dict.fromkeys(
        ("native_layer_norm", "native_group_norm", "_fused_rms_norm"),
        Rule(analog, norm_cost, counted=True),
    ),
    # Functions.
    **dict.fromkeys(SOFTMAX, Rule(shares, softmax_cost)),
    **dict.fromkeys(("_log_softmax", "log_softmax"), Rule(analog, softmax_cost)),
    "glu": Rule(analog, gate_cost),
    "_thnn_fused_lstm_cell": Rule(analog, lstm_cost),
    "_thnn_fused_gru_cell": Rule(analog, gru_cost),
    **dict.fromkeys(("polar", "linalg_cross"), POINTWISE),
    **dict.fromkeys(
        ("mse_loss", "smooth_l1_loss", "huber_loss", "soft_margin_loss", "binary_cross_entropy",
         "binary_cross_entropy_with_logits"),
        Rule(analog, loss_cost),
    ),
    # Copies of values, and questions about them.
    "embedding": Rule(analog, Free("looks values up")),
    **dict.fromkeys(("complex", "view_as_real", "view_as_complex"), Rule(analog, COPY)),
    **dict.fromkeys(
        ("_local_scalar_dense", "item", "is_same_size", "_assert_async"),
        Rule(analog, Free("makes no tensor")),
    ),
}  # fmt: skip
