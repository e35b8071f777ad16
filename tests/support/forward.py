"""A forward pass that is watched from inside, as tests ask what is known of its tensors."""

from __future__ import annotations

from torch import nn

from syops.trace.forward import ForwardPass
from syops.trace.gauge import Gauge
from syops.trace.live import Tensors
from syops.trace.paths import Paths
from syops.trace.settings import Settings
from syops.trace.watch import Watch


def forward_pass(model: nn.Module) -> tuple[ForwardPass, Watch]:
    """One pass of a model over real tensors, and what watches it once it is started."""
    called = "", model
    where, settings = [("", model), called], Settings()
    tensors = Tensors(model)
    watch = Watch(where, settings.find, reads=True)
    watch.listener = found = ForwardPass(
        model, where, Paths(model), settings, watch, tensors, Gauge(tensors.factor)
    )
    return found, watch
