"""List hyper-parameters by name: those of Table 5, and those of the digits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, StepLR

from syops.errors import SyopsLookupError, SyopsTypeError, SyopsValueError, did_you_mean


@dataclass(frozen=True)
class Recipe:
    """Hold the hyper-parameters of a training.

    Attributes:
        epochs: passes through the training set.
        lr: learning rate at the start.
        batch_size: samples of one optimiser step, over all processes together.
        T: time-steps of the network, or frames of an event stream.
        schedule: "cosine" (half a period in ``period`` epochs) or "step" (times ``gamma`` every
            ``period`` epochs).
        period, gamma: see ``schedule``; a period of 0 is as long as all epochs.
        optimizer: "sgd" (with momentum 0.9) or "adamw".
        weight_decay: weight decay of the optimiser.
        T_train: frames left of T by random temporal delete; None: all.
        clip: largest norm of the gradient; None: any.
        streams: the weights of both losses of Eq. (12) in the course of training: "equal", as in
            the paper; "falling", where that of the accumulated stream falls from 1 to 0 in equal
            parts; "warm-up", where in the first quarter of the epochs the accumulated stream alone
            is trained.
    """

    epochs: int
    lr: float
    batch_size: int
    T: int
    schedule: str = "cosine"
    period: int = 0
    gamma: float = 0.1
    optimizer: str = "sgd"
    weight_decay: float = 0.0
    T_train: int | None = None
    clip: float | None = None
    streams: Literal["equal", "falling", "warm-up"] = "equal"

    def __post_init__(self) -> None:
        self._check_kinds()
        for name in ("epochs", "batch_size", "T"):
            if getattr(self, name) < 1:
                raise SyopsValueError(f"{name}={getattr(self, name)}: expected at least 1")
        if not self.lr > 0:
            raise SyopsValueError(f"lr={self.lr}: expected a number above 0")
        for name in ("period", "gamma", "weight_decay"):
            if getattr(self, name) < 0:
                raise SyopsValueError(f"{name}={getattr(self, name)}: expected at least 0")
        if self.schedule not in ("cosine", "step"):
            raise SyopsValueError(f"schedule={self.schedule!r}: expected 'cosine' or 'step'")
        if self.optimizer not in ("sgd", "adamw"):
            raise SyopsValueError(f"optimizer={self.optimizer!r}: expected 'sgd' or 'adamw'")
        if self.T_train is not None and not 1 <= self.T_train <= self.T:
            raise SyopsValueError(
                f"T_train={self.T_train}: expected between 1 and T={self.T}; frames are deleted, "
                "not added"
            )
        if self.clip is not None and not self.clip > 0:
            raise SyopsValueError(f"clip={self.clip}: expected a number above 0")

        if self.streams not in ("equal", "falling", "warm-up"):
            raise SyopsValueError(
                f"streams={self.streams!r}: expected 'equal', 'falling' or 'warm-up'"
            )

    def _check_kinds(self) -> None:
        whole = ("epochs", "batch_size", "T", "period", "T_train")
        for name in (*whole, "lr", "gamma", "weight_decay", "clip"):
            value, kind = getattr(self, name), int if name in whole else (int, float)
            if value is None and name in ("T_train", "clip"):
                continue
            if not isinstance(value, kind) or isinstance(value, bool):
                wanted = "an integer" if name in whole else "a number"
                raise SyopsTypeError(f"{name}={value!r}: expected {wanted}")

    def make_optimizer(self, model: nn.Module) -> Optimizer:
        """Return an optimiser for all parameters of ``model``."""
        if self.optimizer == "sgd":
            return SGD(model.parameters(), self.lr, momentum=0.9, weight_decay=self.weight_decay)
        return AdamW(model.parameters(), self.lr, weight_decay=self.weight_decay)

    def stream_weights(self, epoch: int) -> tuple[float, float]:
        """Return the weights of the losses of the spike and the accumulated stream in an epoch."""
        if self.streams == "falling":
            return 1.0, 1 - epoch / max(1, self.epochs - 1)
        if self.streams == "warm-up" and epoch < self.epochs // 4:
            return 0.0, 1.0
        return 1.0, 1.0

    def make_schedule(self, optimizer: Optimizer) -> LRScheduler:
        """Return a schedule that is advanced once an epoch."""
        period = self.period or self.epochs
        if self.schedule == "cosine":
            return CosineAnnealingLR(optimizer, period)
        return StepLR(optimizer, period, self.gamma)


# Table 5. Weight decay is not printed there: 0 in Fang et al. (2021), whose code these follow;
# CIFAR100 has the optimiser of Zhou et al. (2023), AdamW with 0.06, without their warm-up and
# augmentation (mixup, cutmix, random augment), which Table 5 does not have either.
RECIPES: dict[str, Recipe] = {
    "imagenet": Recipe(epochs=320, lr=0.1, batch_size=128, T=4, period=320),
    "dvsgesture": Recipe(
        epochs=192, lr=0.005, batch_size=16, T=16, schedule="step", period=64, T_train=12
    ),
    "cifar10dvs": Recipe(epochs=64, lr=0.01, batch_size=16, T=16, period=64),
    "cifar100": Recipe(
        epochs=310, lr=5e-4, batch_size=128, T=4, period=310, optimizer="adamw", weight_decay=0.06
    ),
    "digits": Recipe(epochs=12, lr=0.2, batch_size=32, T=4, clip=5.0),
    "digit-events": Recipe(epochs=10, lr=0.2, batch_size=16, T=4, clip=5.0),
}
"""The recipes by name: those of the paper's Table 5, and two for the digits."""


def get_recipe(name: str) -> Recipe:
    """Return a recipe by its name: one of the paper's Table 5, or one for the digits.

    Raises:
        SyopsLookupError: an unknown name.

    Examples:
        >>> get_recipe("digits").T
        4
    """
    if name not in RECIPES:
        hint = did_you_mean(name, RECIPES)
        raise SyopsLookupError(f"unknown recipe: {name!r}; {hint}known: {', '.join(RECIPES)}")
    return RECIPES[name]
