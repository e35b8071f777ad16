"""Synaptic operators: the ones that apply weights, or one activation to another.

Each rule gives the dense count from shapes (bias adds excluded) and the operands whose
spikes drive it. One fused multiply-add is one operation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor

from syops.ops.fanout import FanOut, convolution_fan_out
from syops.ops.rule import (
    Call,
    CostRule,
    Kernel,
    Operand,
    Product,
    Rule,
    Tally,
    analog,
)
from syops.ops.values import LEARNED

RULES: dict[str, Rule] = {}


def synaptic(*names: str) -> Callable[[CostRule], CostRule]:
    def register(cost: CostRule) -> CostRule:
        RULES.update(dict.fromkeys(names, Rule(analog, cost, counted=True)))
        return cost

    return register


@synaptic("convolution", "_convolution", "convolution_overrideable")
def convolution_cost(call: Call) -> Sequence[Product]:
    """N·C_out·(C_in/groups)·∏kernel·∏out; transposed: N·C_in·(C_out/groups)·∏kernel·∏in."""
    x, weight, bias, stride, padding, dilation, transposed, _, groups = call.args[:9]
    return (
        convolution(
            call,
            x,
            weight,
            bias,
            stride=stride,
            padding=padding,
            dilation=dilation,
            transposed=transposed,
            groups=groups,
        ),
    )


def convolution(
    call: Call,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    transposed: bool = False,
    groups: int = 1,
) -> Product:
    r"""Describe an operator that convolves, as `torch.nn.functional.conv2d` does.

    Args:
        call: the call, whose result is [N, C_out, \*spatial].
        x: [N, C_in, \*spatial].
        weight: [C_out, C_in / groups, \*kernel]; transposed: [C_in, C_out / groups, \*kernel].
        bias: what is added to each channel, which is not counted.
        stride, padding, dilation: one number, or one for each spatial dimension.
        transposed: whether it is a transposed convolution.
        groups: in which channels are connected.
    """
    kernel, size, out = weight.shape[2:], x.shape[2:], call.out.shape[2:]
    connected = weight.shape[1] if transposed else weight.shape[0] // groups
    sites = x.numel() if transposed else x.shape[0] * x.shape[1] * math.prod(out)
    fan_out = convolution_fan_out(
        connected,
        tuple(size),
        tuple(kernel),
        tuple(out),
        _per_dim(stride, size),
        _per_dim(padding, size),
        _per_dim(dilation, size),
        transposed,
    )
    learned = call.signal(weight) is LEARNED
    even = not transposed and not any(_per_dim(padding, size))
    whole = bias is None or call.signal(bias) is LEARNED
    outputs = 1 if transposed else 0
    return Product(
        "conv",
        f"conv{'_transpose' if transposed else ''}{len(size)}d",
        sites * connected * math.prod(kernel),
        (Operand(x, fan_out, 1 if learned else None),),
        channel=1 if whole else None,
        weight=call.name(weight),
        applied=weight,
        written=call.out.numel(),
        kernel=Kernel(outputs, 1 - outputs, groups, transposed, even, bias) if whole else None,
        stride=_per_dim(stride, size),
        groups=groups,
    )


def linear(call: Call, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Product:
    """Describe an operator that does ``x @ weight.T``, as `torch.nn.functional.linear` does.

    Args:
        call: the call, whose result is [..., out].
        x: [..., in].
        weight: [out, in].
        bias: what is added to each feature, which is not counted.
    """
    outputs, inputs = weight.shape
    rows = x.numel() // max(1, inputs)
    by_x = Operand(x, FanOut(outputs), x.dim() - 1)
    by_weight = Operand(weight, FanOut(rows))
    learned = call.signal(x) is LEARNED, call.signal(weight) is LEARNED
    pairs = None
    match learned:
        case True, True:
            operands: tuple[Operand, ...] = ()
        case False, True:
            operands = (by_x,)
        case True, False:
            operands = (by_weight,)
        case _:
            operands = replace(by_x, channel=None), by_weight
            pairs = x.reshape(rows, inputs), weight.t()
    weights = x if learned == (True, False) else weight
    return Product(
        "linear" if len(operands) == 1 else "matmul",
        "linear" if len(operands) == 1 else "matmul",
        x.numel() * outputs,
        operands,
        pairs,
        channel=call.out.dim() - 1 if learned == (False, True) else None,
        weight=call.name(weights) if len(operands) == 1 else "",
        applied=weights,
        written=call.out.numel(),
        kernel=Kernel(0, 1, bias=bias) if learned == (False, True) else None,
    )


def _per_dim(value: int | Sequence[int], size: Sequence[int]) -> tuple[int, ...]:
    if isinstance(value, int):
        return (value,) * len(size)
    return tuple(value) * len(size) if len(value) == 1 else tuple(value)


@synaptic("mm", "bmm", "_int_mm", "_scaled_mm")
def mm(call: Call) -> Sequence[Product]:
    """batch·m·k·n."""
    return (matmul(call, *call.args[:2]),)


@synaptic("addmm")
def addmm(call: Call) -> Sequence[Product | Tally]:
    """m·k·n; what is added is a bias, which is not counted."""
    product = matmul(call, *call.args[1:3])
    bias, kernel = call.args[0], product.kernel
    is_whole = kernel is not None and bias.shape == call.out.shape[product.channel :]
    if kernel is None or not is_whole or call.kwargs or not _adds_bias(call):
        return _with_bias(call, product)
    return (replace(product, kernel=replace(kernel, bias=bias)),)


@synaptic("_addmm_activation", "baddbmm", "addbmm", "_sparse_addmm")
def addmm_in_batches(call: Call) -> Sequence[Product | Tally]:
    """batch·m·k·n; what is added is a bias, which is not counted."""
    return _with_bias(call, matmul(call, *call.args[1:3]))


def _with_bias(call: Call, product: Product) -> Sequence[Product | Tally]:
    """Return a product with something added, so that its weights cannot be changed alone."""
    if _adds_bias(call):
        return (replace(product, kernel=None),)
    return _added(call, replace(product, channel=None, kernel=None))


@synaptic("mv")
def mv(call: Call) -> Sequence[Product]:
    """m·k."""
    return (matmul(call, *call.args[:2]),)


@synaptic("addmv")
def addmv(call: Call) -> Sequence[Product | Tally]:
    """m·k; what is added is a bias, which is not counted."""
    return _added(call, matmul(call, *call.args[1:3]))


@synaptic("dot", "vdot")
def dot(call: Call) -> Sequence[Product]:
    """k."""
    return (matmul(call, *call.args[:2]),)


@synaptic("addr")
def addr(call: Call) -> Sequence[Product | Tally]:
    """m·n; what is added is a bias, which is not counted."""
    left, right = call.args[1:3]
    return _added(call, matmul(call, left, right, outer=True))


def _added(call: Call, product: Product) -> Sequence[Product | Tally]:
    """Return a product with something added: a bias, unless the product is what is learned."""
    if product.prepared and call.signal(call.args[0]) is not LEARNED:
        return product, Tally("add", "add", ac=product.written)
    return (product,)


def _adds_bias(call: Call) -> bool:
    """Return whether what is added is a learned value per column: not a residual."""
    added, columns = call.args[0], call.out.shape[-1]
    return call.signal(added) is LEARNED and added.numel() in (1, columns)


def matmul(call: Call, left: Tensor, right: Tensor, outer: bool = False) -> Product:
    """Describe an operator that does ``left @ right``.

    A factor that is learned takes the role of the weights. If both are activations, the product is
    driven by both.

    Args:
        call: the call, whose result is [..., m, n].
        left: [..., m, k], or [k].
        right: [..., k, n], or [k].
        outer: both are vectors, and the result is the table of their products.
    """
    if outer:
        pair = left.unsqueeze(1), right.unsqueeze(0)
    else:
        pair = (
            left if left.dim() > 1 else left.unsqueeze(0),
            right if right.dim() > 1 else right.unsqueeze(1),
        )
    m, n = pair[0].shape[-2], pair[1].shape[-1]
    dense = left.numel() * n
    by_left, by_right = Operand(left, FanOut(n)), Operand(right, FanOut(m))
    columns = call.out.dim() - 1 if call.out.dim() > 1 else None
    written = call.out.numel()
    match call.signal(left) is LEARNED, call.signal(right) is LEARNED:
        case True, True:
            return Product(
                "matmul", "matmul", dense, (), applied=right, written=written, prepared=True
            )
        case False, True:
            driven = Operand(left, FanOut(n), left.dim() - 1)
            weights, channel = right, columns
            kernel = Kernel(right.dim() - 1, right.dim() - 2)
        case True, False:
            driven = Operand(right, FanOut(m), max(0, right.dim() - 2))
            weights, channel = left, call.out.dim() - 2 if columns else None
            kernel = Kernel(left.dim() - 2, left.dim() - 1)
        case _:
            both = by_left, by_right
            return Product("matmul", "matmul", dense, both, pair, applied=right, written=written)
    return Product(
        "linear",
        "linear",
        dense,
        (driven,),
        channel=channel,
        weight=call.name(weights),
        applied=weights,
        written=written,
        kernel=kernel if _is_matrix(weights) and channel is not None else None,
    )


def _is_matrix(weights: Tensor) -> bool:
    """Return whether all batches get the same weights."""
    return weights.dim() > 1 and weights.numel() == weights.shape[-1] * weights.shape[-2]


@synaptic("_trilinear")
def trilinear(call: Call) -> Sequence[Product]:
    """nn.Bilinear: x1·W·x2, as many products of three factors as the contraction has terms."""
    operands = call.args[:3]
    expanded = call.args[3:6]
    shapes = [_unsqueezed(t.shape, dims) for t, dims in zip(operands, expanded, strict=True)]
    dense = math.prod(max(sizes) for sizes in zip(*shapes, strict=True))
    weight = operands[1]
    return (Product("linear", "bilinear", dense, (), applied=weight, written=call.out.numel()),)


def _unsqueezed(shape: Sequence[int], dims: Sequence[int]) -> list[int]:
    sizes = list(shape)
    for dim in sorted(dims):
        sizes.insert(dim, 1)
    return sizes


@synaptic(
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable",
)
def attention(call: Call) -> Sequence[Product | Tally]:
    """softmax(q·kᵀ)·v for q [..., L, d], k [..., S, d], v [..., S, e]; S·L weights each."""
    query, key, value = call.args[:3]
    heads = query.numel() // (query.shape[-1] * query.shape[-2])
    length, source = query.shape[-2], key.shape[-2]
    shared = heads * source * key.shape[-1] // key.numel()  # query heads for each key head
    keys = key.repeat_interleave(shared, -3) if shared > 1 else key
    by_query = Operand(query, FanOut(source))
    by_key, by_value = (Operand(x, FanOut(length * shared)) for x in (key, value))
    driven = tuple(o for o in (by_query, by_key) if call.signal(o.tensor) is not LEARNED)
    scores = Product(
        "matmul",
        "q @ k",
        query.numel() * source,
        driven,
        (query, keys.transpose(-1, -2)) if len(driven) == 2 else None,
        applied=key,
        written=heads * length * source,
        prepared=not driven,
    )
    mixed = Product(
        "matmul",
        "attn @ v",
        heads * length * source * value.shape[-1],
        (by_value,) if call.signal(value) is not LEARNED else (),
        applied=value,
        written=heads * length * value.shape[-1],
    )
    softmax = Tally("activation", "softmax", mac=scores.written, prepared=scores.prepared)
    return scores, softmax, mixed


@synaptic("_native_multi_head_attention")
def multi_head_attention(call: Call) -> Sequence[Product]:
    """The fused nn.MultiheadAttention: three projections in, attention, one out."""
    query, key, value, _, heads, qkv, _, projection = call.args[:8]
    return _multi_head(query, key, value, heads, qkv, projection)


def _multi_head(
    query: Tensor, key: Tensor, value: Tensor, heads: int, qkv: Tensor, projection: Tensor
) -> Sequence[Product]:
    width = query.shape[-1]
    projections = tuple(
        Product(
            "linear",
            f"{name} projection",
            tensor.numel() * width,
            (Operand(tensor, FanOut(width)),),
            applied=weight,
            written=tensor.numel(),
        )
        for name, tensor, weight in zip(
            ("query", "key", "value"), (query, key, value), qkv.chunk(3), strict=True
        )
    )
    source, written = key.shape[-2], query.numel()
    scores, weighed = written * source, written // width * heads * source
    dense = written * width
    return (
        *projections,
        Product("matmul", "q @ k", scores, (), applied=key, written=weighed),
        Product("matmul", "attn @ v", scores, (), applied=value, written=written),
        Product("linear", "output projection", dense, (), applied=projection, written=written),
    )


@synaptic("_transformer_encoder_layer_fwd")
def encoder_layer(call: Call) -> Sequence[Product]:
    """The fused nn.TransformerEncoderLayer: attention and two linear layers."""
    x, _, heads, qkv, _, projection = call.args[:6]
    first, second = call.arg("ffn_weight_1"), call.arg("ffn_weight_2")
    hidden = x.numel() // x.shape[-1] * first.shape[0]
    dense = x.numel() * first.shape[0]
    return (
        *_multi_head(x, x, x, heads, qkv, projection),
        Product("linear", "feed-forward 1", dense, (), applied=first, written=hidden),
        Product("linear", "feed-forward 2", dense, (), applied=second, written=x.numel()),
    )


@synaptic("mkldnn_rnn_layer")
def recurrent_layer(call: Call) -> Sequence[Product]:
    """One direction of one layer of an LSTM: every weight matrix times what it is applied to."""
    x, w_input, w_hidden = call.args[:3]
    steps = x.numel() // x.shape[-1]
    return tuple(
        Product(
            "recurrent",
            operator,
            steps * weight.numel(),
            driven,
            weight=call.name(weight),
            applied=weight,
            written=steps * weight.shape[0],
        )
        for operator, weight, driven in (
            ("input", w_input, (Operand(x, FanOut(w_input.shape[0])),)),
            ("hidden", w_hidden, ()),
        )
    )
