"""Make event streams from images by saccades, cut them into frames, thin them in time.

An event camera's pixel sends an event whenever the logarithm of its intensity has changed by a
threshold: of polarity 1 where it grew, 0 where it shrank. CIFAR10-DVS and N-MNIST were recorded
from static images that moved before such a camera (Li et al. 2017; Orchard et al. 2015).
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from syops.errors import SyopsValueError

Slicing: TypeAlias = Literal["number", "time"]
"""Whether frames are of equally many events, or equally long."""


class Events(NamedTuple):
    """Hold events in the order of time: times, columns, rows, polarities (0, 1), all int64 [n]."""

    t: Tensor
    x: Tensor
    y: Tensor
    p: Tensor


def saccade_path(steps: int, reach: float) -> Tensor:
    """Return three equal moves around a triangle and back to the start, as for N-MNIST.

    Returns:
        displacements (dx, dy) in pixels, [steps + 1, 2].
    """
    corners = reach * torch.tensor(
        [[0.0, 0.0], [-0.5, math.sqrt(3) / 2], [0.5, math.sqrt(3) / 2], [0.0, 0.0]]
    )
    at = torch.linspace(0, 3, steps + 1).clamp(max=3 - 1e-6)
    side, part = at.long(), at.frac()[:, None]
    return corners[side] * (1 - part) + corners[side + 1] * part


def saccade_events(
    image: Tensor, *, steps: int = 48, reach: float = 2.0, threshold: float = 0.4
) -> Events:
    """Return what an event camera sends while ``image`` moves before it by three saccades.

    Args:
        image: intensities [H, W], between 0 and 1.
        steps: time stamps, from 1 to ``steps``.
        reach: length of a saccade in pixels; in between pixels the image is interpolated linearly.
        threshold: change of log(0.1 + intensity) that makes an event.

    Raises:
        SyopsValueError: ``image`` is not [H, W], or not in [0, 1]; a number is too small.

    Examples:
        >>> events = saccade_events(torch.eye(4), steps=3)
        >>> int(events.t.min()) >= 1 and int(events.t.max()) <= 3
        True
    """
    if image.dim() != 2 or not image.numel():
        raise SyopsValueError(f"image: expected the shape [H, W], got {tuple(image.shape)}")
    if not bool(((image >= 0) & (image <= 1)).all()):
        raise SyopsValueError("image: expected intensities between 0 and 1")
    if steps < 1 or not threshold > 0:
        raise SyopsValueError(f"expected steps >= 1, threshold > 0; got {steps}, {threshold}")
    seen = torch.log(0.1 + _moved(image.float(), saccade_path(steps, reach)))
    level, found = seen[0].clone(), torch.zeros(steps, 2, *image.shape)
    for now, counts in zip(seen[1:], found, strict=True):
        crossed = ((now - level) / threshold).trunc()
        level += crossed * threshold
        counts[0], counts[1] = crossed.clamp(min=0), (-crossed).clamp(min=0)
    time, shrank, y, x = found.nonzero(as_tuple=True)
    times = found[time, shrank, y, x].long()
    return Events(*(part.repeat_interleave(times) for part in (time + 1, x, y, 1 - shrank)))


def _moved(image: Tensor, path: Tensor) -> Tensor:
    """Return the image at each displacement, dark beyond its border: [len(path), H, W]."""
    height, width = image.shape
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    # In the coordinates of grid_sample a pixel is 2 / size wide.
    x = (2 * (columns - path[:, 0, None, None]) + 1) / width - 1
    y = (2 * (rows - path[:, 1, None, None]) + 1) / height - 1
    images = image.expand(len(path), 1, height, width)
    return F.grid_sample(images, torch.stack([x, y], -1), align_corners=False)[:, 0]


def integrate(events: Events, T: int, size: tuple[int, int], by: Slicing = "number") -> Tensor:
    """Count events in T frames.

    Args:
        events: in the order of time.
        T: number of frames.
        size: height and width.
        by: "number", frames of equally many events (Fang et al. 2021), or "time", equally long
            ones. What does not divide evenly goes to the last frame.

    Returns:
        counts [T, 2, H, W], float32, by polarity.

    Raises:
        SyopsValueError: T is below 1, ``by`` is unknown, or an event lies outside of the frame.

    Examples:
        >>> events = saccade_events(torch.eye(4))
        >>> frames = integrate(events, T=2, size=(4, 4))
        >>> frames.shape, int(frames.sum()) == len(events.t)
        (torch.Size([2, 2, 4, 4]), True)
    """
    if T < 1:
        raise SyopsValueError(f"T={T}: expected at least 1")
    height, width = size
    for name, values, limit in (
        ("x", events.x, width),
        ("y", events.y, height),
        ("p", events.p, 2),
    ):
        if values.numel() and not 0 <= int(values.min()) <= int(values.max()) < limit:
            raise SyopsValueError(f"events: {name} outside of 0..{limit - 1}")
    if by == "number":
        frame = torch.arange(len(events.t)) // max(1, len(events.t) // T)
    elif by == "time":
        start = events.t.min() if events.t.numel() else 0
        span = int(events.t.max() - start) + 1 if events.t.numel() else 1
        frame = (events.t - start) // max(1, span // T)
    else:
        raise SyopsValueError(f"by={by!r}: expected 'number' or 'time'")
    frames = torch.zeros(T, 2, height, width)
    place = (frame.clamp(max=T - 1), events.p, events.y, events.x)
    return frames.index_put_(place, torch.ones(len(events.t)), accumulate=True)


def random_temporal_delete(
    frames: Tensor, T_train: int, generator: torch.Generator | None = None
) -> Tensor:
    """Keep ``T_train`` random frames of a sequence [T, ...], in their order (Appendix C.1).

    Raises:
        SyopsValueError: ``T_train`` is not between 1 and T.

    Examples:
        >>> frames = torch.arange(8)
        >>> kept = random_temporal_delete(frames, T_train=3)
        >>> len(kept), bool((kept.diff() > 0).all())
        (3, True)
    """
    T = len(frames)
    if not 1 <= T_train <= T:
        raise SyopsValueError(
            f"T_train={T_train}: expected between 1 and the sequence's T={T}; frames are deleted, "
            "not added"
        )
    kept = torch.randperm(T, generator=generator)[:T_train].sort().values
    return frames[kept.to(frames.device)]
