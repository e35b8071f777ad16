"""Rates are those before padding, however a padded tensor reaches its convolution."""

import pytest
import torch
from torch import nn

from syops import get_model_syops


@pytest.mark.parametrize("how", ["cast", "autocast"])
def test_rate_before_padding_that_is_cast(how):
    """Autocast casts what a convolution reads after it was padded."""

    class Padded(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 5, 3, dtype=torch.float64 if how == "cast" else None)

        def forward(self, x):
            with torch.autocast("cpu", torch.bfloat16, enabled=how == "autocast"):
                padded = nn.functional.pad((x > 0).float(), (1, 1, 1, 1))
                return self.conv(padded.double() if how == "cast" else padded)

    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    report = get_model_syops(Padded(), x, input_signal="analog")
    (layer,) = (layer for layer in report.layers if layer.path == "conv")
    assert layer.rate == pytest.approx((x > 0).double().mean().item())
    assert layer.ac == pytest.approx((x > 0).sum().item() * 5 * 9 / 2)
