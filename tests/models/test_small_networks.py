"""The networks of 18 layers for images of 28x28: sizes and costs, by hand."""

import pytest
import torch

from syops import get_model_bounds
from syops.errors import SyopsLookupError, SyopsValueError
from syops.models import create_model

STAGES = ((7, 8, 8), (4, 8, 16), (2, 16, 32), (2, 32, 64))
"""Of each stage: height and width, channels before it and in it. Two blocks of two convolutions."""
STEM, CLASSIFIER = 14 * 14 * 8 * 9, 64 * 10


def convolutions(shortcuts_and_sums):
    """Synapses of the blocks in one time-step; with ADD, of those that get sums alone."""
    found = 0
    for place, (size, before, channels) in enumerate(STAGES):
        pixels, square = size * size, 9 * channels * channels
        first = 9 * before * channels + (before * channels if before != channels else 0)
        if not shortcuts_and_sums:
            found += pixels * (first + 3 * square)
        else:  # the stem hands on spikes, every block a sum
            found += pixels * ((first if place else 0) + square)
    return found


def bounds(name, **keywords):
    with torch.device("meta"):
        model = create_model(name, **keywords)
    return get_model_bounds(model, (1, 1, 28, 28), input_signal="analog")


def test_costs_by_hand():
    fsnn, sew, ann = (bounds(f"{kind}18_small") for kind in ("fsnn", "sew_resnet", "resnet"))
    dense = convolutions(shortcuts_and_sums=False)
    assert fsnn.mac == STEM + CLASSIFIER
    assert fsnn.ec_mj == pytest.approx((4.6e-9 * fsnn.mac, 4.6e-9 * fsnn.mac + 0.9e-9 * 4 * dense))
    assert sew.mac - fsnn.mac == 4 * convolutions(shortcuts_and_sums=True)
    assert ann.mac == STEM + CLASSIFIER + dense


def test_what_the_aap_costs_by_hand():
    """Depthwise where it strides, pointwise, and the classifier once more."""
    strided = 4 * 4 * (9 * 8 + 8 * 16) + 2 * 2 * (9 * 16 + 16 * 32)
    kept = 2 * 2 * 32 * 64
    dsnn, fsnn = bounds("dsnn18_small"), bounds("fsnn18_small")
    # The first down-sampling is of sums in every time-step, as the others are.
    assert dsnn.mac - fsnn.mac == 4 * (strided + kept) + CLASSIFIER


def test_sizes_are_keywords():
    assert create_model("fsnn18_small", channels=4, num_classes=3).fc.weight.shape == (3, 32)
    with pytest.raises(SyopsValueError, match="channels"):
        create_model("fsnn18_small", channels=0)
    with pytest.raises(SyopsLookupError, match="T"):
        create_model("resnet18_small", T=4)
    with pytest.raises(SyopsValueError, match="at least 16x16"):
        create_model("resnet18_small")(torch.zeros(1, 1, 8, 8))
