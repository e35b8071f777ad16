"""Record block by block what happens in a network: firing rates and sizes of gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from syops.dst.loss import dst_loss
from syops.errors import SyopsTypeError
from syops.models.blocks import Block
from syops.models.jelly import base


@dataclass(frozen=True)
class BlockProbe:
    """Hold the firing rates and the gradient of one residual block.

    Attributes:
        path: path of the block in its network.
        rate_o: firing rate of its output o_l: the share of entries that are not zero.
        rate_s: firing rate of s_l, Eq. (10); None for a block without a g, whose s_l is not a spike
            tensor.
        gradient: the norm of dL/ds_l.
    """

    path: str
    rate_o: float
    rate_s: float | None
    gradient: float


def probe_blocks(
    model: nn.Module, x: Tensor, y: Tensor, *, training: bool = True
) -> list[BlockProbe]:
    """Return firing rates and gradient amplitudes of all blocks, from the first to the last.

    They are those of one batch, with the loss of Eq. (12), as in Figures 5 to 8 of the paper. The
    model's modes, buffers and gradients are not changed.

    Args:
        model: a bundled residual network.
        x: images [N, C, H, W] or frames [T, N, C, H, W].
        y: labels [N].
        training: run in train mode, as in a training step; otherwise in eval mode, as in a test.

    Raises:
        SyopsTypeError: the model has no residual blocks of `syops.models.blocks`.
        SyopsValueError: a label is not a class.

    Examples:
        >>> import torch
        >>> from syops.models import create_model
        >>> network = create_model("dsnn_digits", blocks=2)
        >>> [block.path for block in probe_blocks(network, torch.rand(2, 1, 8, 8), torch.arange(2))]
        ['layer1.0', 'layer2.0']
    """
    blocks = {path: part for path, part in model.named_modules() if isinstance(part, Block)}
    if not blocks:
        raise SyopsTypeError(f"model: {type(model).__name__} has no residual blocks to look into")
    s: dict[str, Tensor] = {}
    o: dict[str, Tensor] = {}
    hooks = []
    for path, block in blocks.items():
        source = block.sn if block.g is not None else block.last_norms()[-1]
        hooks.append(source.register_forward_hook(lambda m, args, out, p=path: s.update({p: out})))
        hooks.append(
            block.register_forward_hook(lambda m, args, out, p=path: o.update({p: out.spike}))
        )
    try:
        with _in_mode(model, training), torch.enable_grad():
            loss = dst_loss(model(x), y)
            gradients = torch.autograd.grad(loss, list(s.values()), allow_unused=True)
    finally:
        for hook in hooks:
            hook.remove()
    amplitude = {
        path: 0.0 if gradient is None else float(gradient.norm())
        for path, gradient in zip(s, gradients, strict=True)
    }
    return [
        BlockProbe(
            path,
            _rate(o[path]),
            _rate(s[path]) if block.g is not None else None,
            amplitude[path],
        )
        for path, block in blocks.items()
    ]


def _rate(spikes: Tensor) -> float:
    return int(spikes.count_nonzero()) / spikes.numel()


@contextmanager
def _in_mode(model: nn.Module, training: bool) -> Iterator[None]:
    """Enter train or eval mode; put modes and buffers back afterwards.

    Neurons stay in train mode: they send the same spikes in both, but before spikingjelly 2 they
    let gradients through in that one only.
    """
    modes = {part: part.training for part in model.modules()}
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    for part in modes:
        part.training = training or isinstance(part, base.MemoryModule)
    try:
        yield
    finally:
        for part, before in modes.items():
            part.training = before
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
