"""Each reading is told of before it is taken: a plan takes the same ones of later passes."""

from __future__ import annotations

import gc
from itertools import pairwise

import torch
from spikingjelly.activation_based import neuron
from torch import Tensor, nn

from syops import get_model_syops
from syops.ops.fanout import FanOut
from syops.trace.gauge import Gauge

X = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
CALLS = {
    "spikes": (X, {}, FanOut(3), True),
    "look": (X, {}),
    "binary": (X,),
    "coincidences": (X[None], X[None]),
    "same": (X, 2),
}


def test_every_reading_is_told_of():
    assert CALLS.keys() == {name for name in vars(Gauge) if not name.startswith("_")}
    for name, args in CALLS.items():
        told = []
        gauge = Gauge(lambda scale: None, lambda *call, told=told: told.append(call))
        getattr(gauge, name)(*args)
        ((method, tensors, cache, others),) = told
        assert method == name
        again = Gauge(lambda scale: None)
        getattr(again, name)(*tensors, *(() if cache is None else ({},)), *others)
        for taken, retaken in ((gauge.counts, again.counts), (gauge.looks, again.looks)):
            assert [t.item() for t in retaken] == [t.item() for t in taken]


def test_no_pass_waits_for_the_device():
    """On an accelerator, to read one number is to wait until all kernels before it are done."""

    class Profiled(nn.Sequential):
        def forward(self, x):
            with torch.autograd.profiler.profile() as profiled:
                x = super().forward(x)
            kernels.update(event.key for event in profiled.key_averages())
            return x

    kernels = set()  # of all operators, also where no mode sees them
    model = Profiled(
        *(nn.Conv2d(1, 2, 3, padding=1), neuron.IFNode(), nn.Conv2d(2, 2, 3), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(72, 2)),
    ).eval()
    get_model_syops(model, [torch.rand(2, 1, 8, 8) for _ in range(3)], progress=False)
    assert "aten::sum" in kernels  # readings are taken
    assert "aten::_local_scalar_dense" not in kernels


def test_a_pass_that_waits_keeps_two_tensors():
    """Many small ones would keep the memory of what was between them from being used again."""
    layers = [(nn.Linear(4, 4), neuron.IFNode()) for _ in range(6)]
    net = nn.Sequential(*(part for layer in layers for part in layer))
    alive = []

    def batches():
        for seed in range(8):
            gc.collect()
            alive.append(sum(isinstance(each, Tensor) for each in gc.get_objects()))
            yield torch.rand(2, 4, generator=torch.Generator().manual_seed(seed)).round()

    report = get_model_syops(net, batches())
    assert report.passes == 8
    assert {after - before for before, after in pairwise(alive[3:])} <= {0, 1, 2}
