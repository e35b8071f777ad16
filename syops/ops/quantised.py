"""Describe quantised operators: weights of few bits in packed form, and values that are rounded.

A quantised tensor holds q, which stands for (q - zero_point) · scale. Its signal is that of the
values that it stands for. Zero is represented exactly, so that spikes stay spikes: {0, 1} becomes
{0, a} with one constant a.

Packed weights are not tensors. They are unpacked to see their sizes and their dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from syops.ops.fanout import FanOut
from syops.ops.pooling import window_max, window_max_cost
from syops.ops.rule import (
    COMPARES,
    COPY,
    Call,
    Cost,
    CostRule,
    Free,
    Normalisation,
    Operand,
    Product,
    Rule,
    Tally,
    analog,
)
from syops.ops.synaptic import convolution, linear, matmul
from syops.ops.values import ANALOG, INTEGER, LEARNED, Signal, TruthTable

ROUNDS = Free("rounds")

_TIE = 1e-3
"""How near to half a step a value may be before kernels round it in either direction."""


# Values


def quantised(call: Call) -> Signal:
    """Return the signal of values that are rounded to multiples of a scale, which is a number."""
    known, (scale, zero_point) = call.signal(call.args[0]), call.args[1:3]
    if (
        isinstance(scale, Tensor)
        or not isinstance(known, TruthTable)
        or known.scale
        or not known.values
    ):
        return analog(call)
    if call.numbers_from_data and not float(scale).is_integer():
        return ANALOG
    steps = [abs(value / scale) % 1 for value in known.values]
    if any(abs(step - 0.5) < _TIE for step in steps):
        return ANALOG
    low, high = _ends(call)
    rounded = (min(max(round(v / scale) + zero_point, low), high) for v in known.values)
    return replace(known, values=tuple((q - zero_point) * scale for q in rounded))


def _ends(call: Call) -> tuple[int, int]:
    """Return the least and the largest q."""
    low, high = call.arg("quant_min", None), call.arg("quant_max", None)
    if low is not None:
        return low, high
    if call.out.dtype == torch.qint32:
        return -(2**31), 2**31 - 1
    return (-128, 127) if call.out.dtype == torch.qint8 else (0, _LARGEST.get(call.out.dtype, 255))


_LARGEST = {torch.quint4x2: 15, torch.quint2x4: 3}


def fake_quantised(call: Call) -> Sequence[Signal]:
    """Return the signals of values that are rounded and stay floating-point, and of a mask."""
    mask = [call.atoms.fresh((0, 1)) for _ in call.outputs[1:]]
    return [quantised(call), *mask]


def observed(call: Call) -> Sequence[Signal]:
    """Return the signals of values that are rounded to a scale which they themselves change."""
    learned = call.signal(call.args[0]) is LEARNED
    mask = [call.atoms.fresh((0, 1)) for _ in call.outputs[1:]]
    return [LEARNED if learned else ANALOG, *mask]


def same(call: Call) -> Sequence[Signal]:
    """Return the signals of the operands: of the same values in another form."""
    return [call.signal(tensor) for tensor in call.tensors]


def integer(call: Call) -> Signal:
    """Return the signal of what is stored: integers, of which 0 does not stand for zero."""
    return LEARNED if analog(call) is LEARNED else INTEGER


_ROUNDING = {"round", "floor", "ceil", "trunc", "sign", "sgn", "_fused_moving_avg_obs_fq_helper"}


def makes_few_values(name: str, results: Iterable[Signal]) -> bool:
    """Return whether an operator rounds, or gives the two signs alone: {-1, 1} or {-1, 0, 1}.

    Weights of few bits are made so. A mask, {0, 1}, leaves a weight all its bits.
    """
    if name in _ROUNDING or "fake_quantize" in name:
        return True
    supports = (
        signal.support for signal in results if isinstance(signal, TruthTable) and signal.values
    )
    return any(min(support) < 0 < max(support) for support in supports)


# Packed weights


def _weights_of(call: Call) -> Any:
    """Return the packed weights among the arguments of a call."""
    return next(arg for arg in call.args[1:] if isinstance(arg, torch.ScriptObject))


def _packed(call: Call, weight: Tensor) -> Call:
    """Return a call in which an unpacked tensor is a weight."""
    return replace(call, signals={**call.signals, id(weight): LEARNED})


def _fixed(product: Product) -> Product:
    """Return a product whose weights are packed, so that nothing can be folded into them."""
    return replace(product, channel=None, kernel=None)


def _then(call: Call, product: Product, name: str) -> Sequence[Cost]:
    """Return a product, and what the operator of that name does to its results."""
    after: list[Cost] = [_fixed(product)]
    if "_add" in name:
        after.append(Tally("add", "add", ac=product.written))
    activation = next((each for each in ("relu", "tanh") if each in name), None)
    if activation is not None:
        after.append(Tally("activation", activation, mac=product.written))
    return after


def linear_cost(call: Call) -> Sequence[Cost]:
    """∏leading · in · out."""
    x = call.args[0]
    name = call.func.name()
    weight = _weights_of(call).unpack()[0]
    if "fp16" in name:
        weight = weight.half()  # stored so, and unpacked to float32
    return _then(call, linear(_packed(call, weight), x, weight), name)


def convolution_cost(call: Call, rank: int, transposed: bool = False) -> Sequence[Cost]:
    """N·C_out·(C_in/groups)·∏kernel·∏out; transposed: N·C_in·(C_out/groups)·∏kernel·∏in."""
    packed = _weights_of(call)
    weight = packed.unpack()[0]
    if rank == 1:
        weight = weight.squeeze(2)  # kept as [out, in, 1, kernel]
    product = convolution(
        _packed(call, weight),
        call.args[0],
        weight,
        stride=packed.stride()[-rank:],
        padding=packed.padding()[-rank:],
        dilation=packed.dilation()[-rank:],
        transposed=transposed,
        groups=packed.groups(),
    )
    return _then(call, product, call.func.name())


def matmul_cost(call: Call) -> Sequence[Cost]:
    """batch·m·k·n."""
    return (_fixed(matmul(call, *call.args[:2])),)


# Recurrent layers


def recurrent_cost(call: Call, gates: int) -> Sequence[Cost]:
    """Every weight matrix times what it is applied to; the hidden state is analog."""
    x, hx = call.args[0], call.arg("hx", None)
    state = hx[0] if isinstance(hx, (list, tuple)) else hx
    layers, both = call.arg("num_layers", None), 1 + call.arg("bidirectional", None)
    hidden, inputs = state.shape[-1], x.shape[-1]
    dtype = torch.float16 if call.arg("dtype", None) == torch.float16 else torch.qint8
    steps = x.numel() // inputs
    costs: list[Cost] = []
    for layer in range(layers):
        width = hidden * both if layer else inputs
        for _ in range(both):
            operands = () if layer else (Operand(x, FanOut(gates * hidden)),)
            costs += _matrices(steps, gates * hidden, width, hidden, operands, dtype)
    return costs


def cell_cost(call: Call, gates: int) -> Sequence[Cost]:
    """Both weight matrices times what they are applied to; the hidden state is analog."""
    x, state = call.args[0], call.arg("hx", None)
    state = state[0] if isinstance(state, (list, tuple)) else state
    outputs = gates * state.shape[-1]
    weight = call.arg("w_ih", None).unpack()[0]
    steps = x.numel() // max(1, x.shape[-1])
    operands = (Operand(x, FanOut(outputs)),)
    return _matrices(steps, outputs, x.shape[-1], state.shape[-1], operands, weight.dtype)


def _matrices(
    steps: int,
    outputs: int,
    inputs: int,
    hidden: int,
    operands: tuple[Operand, ...],
    dtype: torch.dtype,
) -> list[Cost]:
    """Return the products of one direction of one layer: those of its input and of its state."""
    return [
        Product(
            "recurrent",
            name,
            steps * outputs * width,
            driven,
            applied=torch.empty(outputs, width, dtype=dtype, device="meta"),
            written=steps * outputs,
        )
        for name, width, driven in (("input", inputs, operands), ("hidden", hidden, ()))
    ]


# Other layers


def norm_cost(call: Call) -> Sequence[Cost]:
    """2 MACs per element; its result is rounded, so that it is not folded."""
    x = call.args[0]
    name = call.func.name().removeprefix("quantized::").removesuffix("_relu").rstrip("123d")
    first = {
        "batch_norm": x.dim(),
        "layer_norm": x.dim() - len(call.args[1]) if name == "layer_norm" else 0,
        "group_norm": 1,
        "instance_norm": 2,
    }
    apart = tuple(range(first.get(name, 0)))
    return (Normalisation(name, x.numel(), x, affine=False, apart=apart),)


def activation_cost(call: Call) -> Sequence[Cost]:
    """1 MAC per element."""
    name = call.func.name().removeprefix("quantized::").partition(".")[0]
    return (Tally("activation", name, mac=call.out.numel()),)


def add_cost(call: Call) -> Sequence[Cost]:
    """1 AC per element."""
    return (Tally("add", "add", ac=call.out.numel()),)


def multiply_cost(call: Call) -> Sequence[Cost]:
    """1 MAC per element."""
    return (Tally("elementwise", "mul", mac=call.out.numel()),)


def _rules(cost: CostRule, names: Sequence[str], counted: bool = False) -> dict[str, Rule]:
    rule = Rule(analog, cost, counted=counted)
    return {f"quantized::{name}": rule for name in names}


def _convolutions(rank: int) -> dict[str, Rule]:
    forms = ("", "_relu", "_dynamic", *(("_add", "_add_relu") if rank == 2 else ()))
    plain: Callable[..., Any] = partial(convolution_cost, rank=rank)
    turned: Callable[..., Any] = partial(convolution_cost, rank=rank, transposed=True)
    turned.__doc__ = plain.__doc__ = convolution_cost.__doc__
    return _rules(plain, [f"conv{rank}d{form}" for form in forms], counted=True) | _rules(
        turned, [f"conv_transpose{rank}d{form}" for form in ("", "_dynamic")], counted=True
    )


def _recurrent(cost: Callable[..., Sequence[Cost]], gates: int) -> Rule:
    rule: Any = partial(cost, gates=gates)
    rule.__doc__ = cost.__doc__
    return Rule(analog, rule, counted=True)


_cell = partial(_recurrent, cell_cost)
_layers = partial(_recurrent, recurrent_cost)

RULES: dict[str, Rule] = {
    # Values are rounded, or told in another form.
    "quantize_per_tensor": Rule(quantised, ROUNDS),
    **dict.fromkeys(
        ("quantize_per_tensor_dynamic", "quantize_per_channel", "_make_per_tensor_quantized_tensor",
         "_make_per_channel_quantized_tensor"),
        Rule(analog, ROUNDS),
    ),
    "dequantize": Rule(same, Free("gives the same values in another form")),
    "int_repr": Rule(integer, Free("gives the same values in another form")),
    "fake_quantize_per_tensor_affine_cachemask": Rule(fake_quantised, ROUNDS),
    **dict.fromkeys(
        ("_fake_quantize_per_tensor_affine_cachemask_tensor_qparams",
         "fake_quantize_per_channel_affine_cachemask", "_fused_moving_avg_obs_fq_helper",
         "_fused_moving_avg_obs_fq_helper_functional"),
        Rule(observed, ROUNDS, observes=True),
    ),
    **dict.fromkeys(
        ("_fake_quantize_learnable_per_tensor_affine",
         "_fake_quantize_learnable_per_channel_affine"),
        Rule(observed, ROUNDS, observes=True),
    ),
    # Weights are applied.
    **_rules(
        linear_cost,
        ("linear", "linear_relu", "linear_leaky_relu", "linear_tanh", "linear_dynamic",
         "linear_relu_dynamic", "linear_dynamic_fp16", "linear_relu_dynamic_fp16",
         "linear_with_input_q_dq_qweight_dq_output_fp32",
         "linear_with_input_q_dq_qweight_dq_relu_output_fp32"),
        counted=True,
    ),
    **_convolutions(1),
    **_convolutions(2),
    **_convolutions(3),
    **_rules(matmul_cost, ("matmul",), counted=True),
    "quantized_lstm": _layers(4),
    "quantized_gru": _layers(3),
    "quantized::quantized_lstm_cell_dynamic": _cell(4),
    "quantized::quantized_gru_cell_dynamic": _cell(3),
    "quantized::quantized_rnn_relu_cell_dynamic": _cell(1),
    "quantized::quantized_rnn_tanh_cell_dynamic": _cell(1),
    # Other layers.
    **{
        f"quantized_max_pool{n}d": Rule(partial(window_max, rank=n), window_max_cost)
        for n in (1, 2, 3)
    },
    **{
        f"quantized::max_pool{n}d": Rule(partial(window_max, rank=n), window_max_cost)
        for n in (1, 2)
    },
    **_rules(
        norm_cost,
        ("batch_norm", "batch_norm_relu", "layer_norm", "group_norm", "instance_norm",
         *(f"batch_norm{n}d{form}" for n in (1, 2, 3) for form in ("", "_relu"))),
        counted=True,
    ),
    **_rules(
        activation_cost,
        ("relu6", "hardswish", "sigmoid", "elu", "celu", "leaky_relu", "prelu", "softmax",
         "threshold"),
    ),
    **_rules(COMPARES, ("clamp",)),
    **_rules(add_cost, ("add", "add_relu", "add_scalar", "add_scalar_relu")),
    **_rules(multiply_cost, ("mul", "mul_relu", "mul_scalar", "mul_scalar_relu")),
    **_rules(Free("moves values"), ("cat", "cat_relu")),
    **_rules(Free("looks values up"), ("embedding_byte", "embedding_4bit")),
    "quantized::dropout": Rule(same, COPY),
}  # fmt: skip
"""The rules of these operators."""
