"""Describe normalisations, softmax, and the gates of recurrent cells."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from syops.ops.constants import shares
from syops.ops.rule import Call, Cost, Normalisation, Rule, Softmax, analog, canonical, tallied


def batch_norm_cost(call: Call) -> Sequence[Cost]:
    """2 MACs per element; 0 where it is folded."""
    trains = call.arg("training", call.arg("train", True))
    return _batch_norm(call, by_batch=bool(trains))


def batch_norm_in_use_cost(call: Call) -> Sequence[Cost]:
    """2 MACs per element; 0 where it is folded."""
    return _batch_norm(call, by_batch=False)


def _batch_norm(call: Call, by_batch: bool) -> Sequence[Cost]:
    x, fixed = call.args[0], call.arg("running_mean", None) is not None and not by_batch
    return (Normalisation("batch_norm", x.numel(), x, affine=fixed, apart=(1,)),)


def group_norm_cost(call: Call) -> Sequence[Cost]:
    """2 MACs per element."""
    x = call.args[0]
    return (Normalisation("group_norm", x.numel(), x, affine=False, apart=(0,)),)


def norm_cost(call: Call) -> Sequence[Cost]:
    """2 MACs per element.

    It normalises over the last dimensions, as many as the given shape has.
    """
    x, shape = call.args[0], call.args[1]
    name = canonical(call.func).removeprefix("native_").removeprefix("_fused_")
    apart = tuple(range(x.dim() - len(shape)))
    return (Normalisation(name, x.numel(), x, affine=False, apart=apart),)


def softmax_cost(call: Call) -> Sequence[Cost]:
    """1 MAC per element of the result."""
    return tallied(call, "activation", "softmax", mac=call.out.numel())


def gate_cost(call: Call) -> Sequence[Cost]:
    """1 MAC per element of the result."""
    return tallied(call, "activation", mac=call.out.numel())


def lstm_cost(call: Call) -> Sequence[Cost]:
    """5 ACs and 8 MACs per hidden unit: the gates and their products."""
    units = call.args[0].numel() // 4
    return (
        *tallied(call, "add", "lstm_cell", ac=5 * units),
        *tallied(call, "activation", "lstm_cell", mac=5 * units),
        *tallied(call, "elementwise", "lstm_cell", mac=3 * units),
    )


def gru_cost(call: Call) -> Sequence[Cost]:
    """5 ACs and 5 MACs per hidden unit: the gates and their products."""
    units = call.args[0].numel() // 3
    return (
        *tallied(call, "add", "gru_cell", ac=5 * units),
        *tallied(call, "activation", "gru_cell", mac=3 * units),
        *tallied(call, "elementwise", "gru_cell", mac=2 * units),
    )


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        ("native_batch_norm", "_native_batch_norm_legit", "cudnn_batch_norm", "miopen_batch_norm",
         "_batch_norm_with_update", "_batch_norm_no_update",
         "_native_batch_norm_legit_functional", "_batch_norm_with_update_functional"),
        Rule(analog, batch_norm_cost, counted=True),
    ),
    "_native_batch_norm_legit_no_training": Rule(analog, batch_norm_in_use_cost, counted=True),
    **dict.fromkeys(
        ("native_layer_norm", "rms_norm", "_fused_rms_norm"),
        Rule(analog, norm_cost, counted=True),
    ),
    "native_group_norm": Rule(analog, group_norm_cost, counted=True),
    **dict.fromkeys(("_softmax", "softmax"), Rule(shares, softmax_cost, softens=Softmax.ANY)),
    "_safe_softmax": Rule(shares, softmax_cost, softens=Softmax.OF_ATTENTION),
    **dict.fromkeys(("_log_softmax", "log_softmax"), Rule(analog, softmax_cost)),
    "glu": Rule(analog, gate_cost),
    "_thnn_fused_lstm_cell": Rule(analog, lstm_cost),
    "_thnn_fused_gru_cell": Rule(analog, gru_cost),
}  # fmt: skip
"""The rules of these operators."""

WHOLE = dict.fromkeys((torch.rms_norm, functional.rms_norm), torch.ops.aten.rms_norm.default)
"""Functions that are one operator, by convention, though torch makes it of others on the CPU."""
