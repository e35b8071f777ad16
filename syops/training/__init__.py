"""Dual-stream training (DST), the method of the paper. The counter does not depend on it."""

from syops.training.data import EVENT_SETS, digit_events, digits, get_data
from syops.training.events import (
    Events,
    integrate,
    random_temporal_delete,
    saccade_events,
)
from syops.training.loop import DivergedError, Epoch, evaluate, fit, seed_everything
from syops.training.loss import dst_loss
from syops.training.probes import BlockProbe, probe_blocks
from syops.training.recipes import RECIPES, Recipe, get_recipe

__all__ = [
    "EVENT_SETS",
    "RECIPES",
    "BlockProbe",
    "DivergedError",
    "Epoch",
    "Events",
    "Recipe",
    "digit_events",
    "digits",
    "dst_loss",
    "evaluate",
    "fit",
    "get_data",
    "get_recipe",
    "integrate",
    "probe_blocks",
    "random_temporal_delete",
    "saccade_events",
    "seed_everything",
]
