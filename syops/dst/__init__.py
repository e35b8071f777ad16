"""Train networks by dual-stream training (DST), the paper's method. The counter does without it."""

from syops.dst.data import EVENT_SETS, digit_events, digits, get_data
from syops.dst.events import (
    Events,
    integrate,
    random_temporal_delete,
    saccade_events,
)
from syops.dst.loop import DivergedError, Epoch, evaluate, fit, seed_everything
from syops.dst.loss import dst_loss
from syops.dst.probes import BlockProbe, probe_blocks
from syops.dst.recipes import RECIPES, Recipe, get_recipe

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
