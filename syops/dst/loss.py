"""Define the loss of dual-stream training."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from syops.errors import SyopsTypeError, SyopsValueError
from syops.models.parts import Streams


def dst_loss(
    outputs: Streams | Tensor,
    target: Tensor,
    criterion: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    weights: tuple[float, float] = (1.0, 1.0),
) -> Tensor:
    """Return L_c(O_s, y) + L_c(O_a, y), Eq. (12); L_c(O, y) of a network with one stream.

    With ``weights`` (w_s, w_a) it is w_s · L_c(O_s, y) + w_a · L_c(O_a, y), which is not in the
    paper.

    Args:
        outputs: what a bundled network returns: logits [N, classes], or `Streams` of two such.
        target: labels [N].
        criterion: L_c.
        weights: the weights of the spike stream and of the accumulated stream; a single stream has
            weight 1.

    Raises:
        SyopsTypeError: ``outputs`` are neither a tensor nor `Streams`.
        SyopsValueError: a label is not a class.

    Examples:
        >>> import torch
        >>> logits, labels = torch.zeros(4, 10), torch.arange(4)
        >>> both = dst_loss(Streams(logits, logits), labels)
        >>> bool(both == 2 * dst_loss(logits, labels))
        True
    """
    streams = outputs if isinstance(outputs, tuple) else (outputs,)
    logits = [stream for stream in streams if stream is not None]
    if len(logits) not in (1, 2) or not all(isinstance(stream, Tensor) for stream in logits):
        raise SyopsTypeError(
            f"outputs: expected logits or two streams of them, got {type(outputs).__name__}"
        )
    check_labels(target, classes=logits[0].shape[-1])
    losses = [criterion(stream, target) for stream in logits]
    if len(losses) == 1:
        return losses[0]
    spike, accumulated = weights
    return spike * losses[0] + accumulated * losses[1]


def check_labels(target: Tensor, classes: int) -> None:
    """Raise `SyopsValueError` unless labels are from 0 to ``classes`` - 1."""
    # What is not an integer is not a label, but something for a criterion such as the mean square.
    if target.is_floating_point() or not target.numel():
        return
    low, high = (int(end) for end in target.aminmax())
    if low < 0 or high >= classes:
        raise SyopsValueError(
            f"target: labels from {low} to {high}, but the network has the classes 0 to "
            f"{classes - 1}"
        )
