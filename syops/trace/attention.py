"""Find the two products of an attention that is done by its parts.

Where no fused kernel takes its operands, q and k are scaled, perhaps, and multiplied, a softmax is
taken and multiplied with v. The two products are the rows that they are in a fused kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from syops.ops.rule import Call, Operand, Product, Softmax
from syops.ops.values import ANALOG, TruthTable, kind_of
from syops.trace.lineage import LayerResult
from syops.trace.live import Tensors
from syops.trace.record import Record


def in_attention(tensors: Tensors, product: Product) -> Product:
    """Return a product as a fused attention has it, if it is part of one; else as it is."""
    factors = [operand.tensor for operand in product.operands]
    if product.pairs is None and product.applied is not None:
        factors.append(product.applied)
    records = [tensors.find(tensor) for tensor in factors]
    softened = [record.softened if record is not None else None for record in records]
    scales = {record.scaled[0] if record and record.scaled else None for record in records}
    if any(softened) and not all(softened):
        # A layer may be applied to attention weights; torch's own softmax meets only values.
        if product.pairs is not None or Softmax.OF_ATTENTION in softened:
            values = zip(product.operands, softened, strict=False)
            return _attending("attn @ v", product, tuple(v for v, soft in values if not soft))
    elif product.pairs is not None and scales != {None}:
        left, right = (_unscaled(tensors, each) for each in product.operands)
        return replace(product, operands=(left, right), pairs=(left.tensor, right.tensor))
    elif len(scales) == 1 and None not in scales:
        return _attending(
            "q @ k", product, tuple(_unscaled(tensors, each) for each in product.operands)
        )
    return product


def _unscaled(tensors: Tensors, operand: Operand) -> Operand:
    """Return what an attention had before it scaled it: a factor folds into what comes after."""
    tensor = operand.tensor
    record = tensors.find(tensor)
    factor, source = record.scaled if record is not None and record.scaled else (1.0, None)
    if source is None or kind_of(source.signal) is ANALOG:
        return operand
    plain = tensor / factor
    near = plain.round()
    exact = (plain - near).abs() <= 4 * torch.finfo(plain.dtype).eps * near.abs()
    plain = torch.where(exact, near, plain)
    signal = source.signal
    if isinstance(signal, TruthTable):  # its positions may have been moved since
        signal = tensors.atoms.joined((signal,))
    tensors.put(plain, signal).step = source.step
    return replace(operand, tensor=plain)


def attend(
    tensors: Tensors,
    softmax: Softmax | None,
    outputs: Sequence[Tensor],
    read: Sequence[Record],
    own: LayerResult | None,
) -> None:
    """Note where in an attention results stand.

    Args:
        tensors: what is known of the live tensors.
        softmax: which one they are of what was read, if they are one.
        outputs: the results.
        read: the operands that stand in one.
        own: the results are the product of two activations.
    """
    scores = [record.scores for record in read if record.scores is not None]
    if softmax:
        for product in scores:
            product.operator = "q @ k"
    for out in outputs:
        whole = [record for record in read if record.shape.numel() <= out.numel()]
        record = tensors.latest(out)
        record.softened = next((r.softened for r in whole if r.softened), None)
        record.scores = own or next((r.scores for r in whole if r.scores is not None), None)
        if softmax:
            record.softened, record.scores = softmax if record.scores else None, None


def scale(tensors: Tensors, call: Call, record: Record | None) -> None:
    """Note what a result was before it was scaled by a number.

    Args:
        tensors: what is known of the live tensors.
        call: a call of an operator that multiplies with a number, as an attention does.
        record: what was known of its operand.
    """
    source, factor = call.args
    record = record or tensors.put(source, call.signal(source))
    tensors.latest(call.out).scaled = (float(factor), record)


def _attending(name: str, product: Product, operands: tuple[Operand, ...]) -> Product:
    """Return a product as one of an attention: what is learned in it is not a weight of a layer."""
    return replace(
        product,
        kind="matmul",
        operator=name,
        operands=operands,
        pairs=None,
        channel=None,
        weight="",
        kernel=None,
    )
