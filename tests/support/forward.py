"""A forward pass that is watched from inside, as tests ask what is known of its tensors."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from syops.trace.forward import ForwardPass
from syops.trace.paths import Paths
from syops.trace.settings import Settings


def forward_pass(model: nn.Module, inputs: Sequence[Tensor]) -> ForwardPass:
    """One pass of a model over real tensors; `ForwardPass.start` begins it."""
    return ForwardPass(model, [("", model)], Paths(model), Settings(), inputs)
