"""Each reading is told of before it is taken: a plan takes the same ones of later passes."""

from __future__ import annotations

import torch

from syops.ops.fanout import FanOut
from syops.trace.gauge import Gauge

X = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
CALLS = {
    "spikes": (X, {}, FanOut(3), True),
    "look": (X, {}),
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
