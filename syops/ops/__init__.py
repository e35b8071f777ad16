"""Know what each operator costs, and which values come out of it.

There is one record (`Rule`) for each operator, found by the operator's name. No code outside of
`ops` asks for the name of an operator. To add an operator of torch, add an entry to ``RULES`` in
the file that fits: `synaptic`, `sampling`, `norms`, `pointwise`, `selection`, `moves`,
`reductions`, `pooling`, `quantised`, `constants`.

An operator of your own needs a `Rule` with two functions of the `Call`. The first says which
values come out: `analog`, `binary`, or `unknown`, whose values are read from the data. The second
says what the call costs: a list of `Product` (which `linear`, `matmul` and `convolution` make) and
`Tally` (work outside the synapses). An operator that costs nothing has `Free` in its place:

>>> import torch
>>> from syops import get_model_syops
>>> from syops.ops import Rule, analog, linear
>>> @torch.library.custom_op("docs::project", mutates_args=())
... def project(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
...     return x @ weight.T
>>> @project.register_fake  # for bounds and audits, which have no values
... def _(x, weight):
...     return x.new_empty(*x.shape[:-1], weight.shape[0])
>>> class Net(torch.nn.Module):
...     def __init__(self):
...         super().__init__()
...         self.weight = torch.nn.Parameter(torch.randn(10, 8))
...     def forward(self, x):
...         return project(x, self.weight)
>>> def cost(call):
...     return linear(call, call.arg("x"), call.arg("weight"))
>>> report = get_model_syops(Net(), torch.ones(4, 8), rules={project: Rule(analog, cost)})
>>> [(row.operator, row.weight, row.dense) for row in report.rows]
[('linear', 'weight', 320)]
>>> report.totals.ac_events
320

An operator that only passes values on has ``moves=True``. `Rule` has further attributes for such
operators, for example where a dimension with channels goes.

The rules of one call of `get_model_syops`, `get_model_bounds` or `check_full_spike` hold for that
call alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from syops.lazy import loader

if TYPE_CHECKING:
    from syops.ops.constants import binary
    from syops.ops.fanout import FanOut
    from syops.ops.registry import find
    from syops.ops.rule import (
        Call,
        Cost,
        Free,
        Normalisation,
        Operand,
        Product,
        Rule,
        Tally,
        analog,
        unknown,
    )
    from syops.ops.synaptic import convolution, linear, matmul

__all__ = [
    "Call",
    "Cost",
    "FanOut",
    "Free",
    "Normalisation",
    "Operand",
    "Product",
    "Rule",
    "Tally",
    "analog",
    "binary",
    "convolution",
    "find",
    "linear",
    "matmul",
    "unknown",
]

_HOME = {
    "Call": "rule",
    "Cost": "rule",
    "FanOut": "fanout",
    "Free": "rule",
    "Normalisation": "rule",
    "Operand": "rule",
    "Product": "rule",
    "Rule": "rule",
    "Tally": "rule",
    "analog": "rule",
    "binary": "constants",
    "convolution": "synaptic",
    "find": "registry",
    "linear": "synaptic",
    "matmul": "synaptic",
    "unknown": "rule",
}
"""Loaded on first use: `values`, `kinds` and `fanout` need no torch, the others do."""

__getattr__ = loader(__name__, _HOME)


def __dir__() -> list[str]:
    return __all__
