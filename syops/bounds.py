"""What the architecture alone determines: dense counts and classes, on ``meta``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from syops.frameworks import Lending
from syops.ledger import Ledger
from syops.observer import Observer
from syops.shadow import shadow
from syops.signals import ANALOG


def trace(
    model: nn.Module, shape: Sequence[int], *, batch_dim: int = 0, fold_bn: bool = True
) -> Ledger:
    """Follow one forward pass without values: no data, no weights, no arithmetic.

    Args:
        model: any module, which is not run: a shadow of it is.
        shape: of its input, an analog signal.
        batch_dim: dimension of the input that counts samples.
        fold_bn: whether normalisations are folded where possible.

    Returns:
        the rows: dense counts and derived signals, with no spikes counted.

    Raises:
        ForwardError: the model cannot run without values; names the layer.
    """
    ledger = Ledger()
    ledger.samples = shape[batch_dim]
    x = torch.empty(tuple(shape), device="meta")
    stand_in = shadow(model)
    with (
        torch.inference_mode(False),
        torch.no_grad(),
        torch.random.fork_rng(devices=()),
        Lending(stand_in) as lending,
        Observer(stand_in, ledger, fold_bn=fold_bn, values=False) as observer,
    ):
        lending.renew()
        observer.run((x,), {}, ANALOG)
    return ledger
