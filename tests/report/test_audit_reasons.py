"""The audit says why in few words, however long a network runs, and what it cannot tell."""

from __future__ import annotations

import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn

from syops import check_full_spike


class Loop(nn.Module):
    """fc1, T rounds of a function of the net, a state and what fc1 gives, fc2 on its result."""

    def __init__(self, function, T):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(6, 5), nn.Linear(5, 4), nn.Linear(4, 2)
        self.sn, self.function, self.T = neuron.IFNode(), function, T
        self.kept = torch.zeros(5)

    def forward(self, x):
        state, out = None, 0
        for _ in range(self.T):
            state, z = self.function(self, state, self.fc1(x))
            out = out + self.fc2(z)
        return self.fc3(out)


def leaky(net, v, x):
    v = x if v is None else 0.5 * v + x
    return v, v


def from_what_is_kept(net, v, x):
    v = (net.kept if v is None else v) * 0.9 + 0.1 * net.sn(x)
    return v, v


def counting(net, count, x):
    count = net.sn(x) if count is None else count + net.sn(x)
    return count, count


def told(function, T):
    rows = {
        r.layer: r
        for r in check_full_spike(Loop(function, T), (2, 6), allow=(), input_signal="analog").rows
    }
    return [str(cause) for cause in rows["fc2"].causes]


@pytest.mark.parametrize(
    ("function", "causes"),
    [
        (leaky, ["real ← linear in fc1 (on real from the input)",
                 "real ← add in the model (real from mul + real from fc1)"
                 " ← linear in fc1 (on real from the input)"]),
        (from_what_is_kept, ["unknown ← add in the model (unknown from mul"
                             " + spikes {0,0.1} from mul) ← mul in the model"
                             " ← a tensor that the model keeps"]),
        (counting, ["{0..60} ← add in the model ({0..59} from add + spikes {0,1} from sn)"
                    " ← add in the model (spikes {0,1} from sn + spikes {0,1} from sn)"]),
    ],
)  # fmt: skip
def test_causes_in_a_loop_are_listed_once(function, causes):
    long = told(function, 60)
    assert len(long) <= 3
    assert len(max(long, key=len)) < 400
    assert set(causes) <= set(long)
    # A second round has all the places in the code that a sixtieth has.
    assert len(told(function, 4)) == len(long)


def test_scaled_spikes_end_the_chain_of_causes():
    """{0, 1} and {0, 0.5} at one layer are not spikes, though each of them is."""

    def function(net, state, x):
        spikes = net.sn(x)
        return 0, spikes if state is None else 0.5 * spikes

    assert told(function, 2) == [
        "{0,1} ← IFNode in sn (real from fc1)",
        "{0,0.5} ← mul in the model (spikes {0,1} from sn)",
    ]


def test_literal_tensor_is_named_as_a_cause():
    rates = [0.5, 0.5, 1, 1, 1]

    def function(net, state, x):
        return 0, net.sn(x) * torch.tensor(rates)

    assert told(function, 2) == [
        "unknown ← mul in the model (spikes {0,1} from sn * unknown from torch.tensor)"
        " ← torch.tensor in the model"
    ]


@torch.library.custom_op("syops_test::apply", mutates_args=())
def apply(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x @ weight


@apply.register_fake
def _(x, weight):
    return x.new_empty(x.shape[0], weight.shape[1])


class Unknown(nn.Module):
    """An operator without a rule applies weights."""

    def __init__(self, between):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(6, 5), nn.Linear(4, 2)
        self.sn1, self.sn2 = neuron.IFNode(), neuron.IFNode()
        self.weight, self.between = nn.Parameter(torch.ones(5, 4)), between

    def forward(self, x):
        s = self.between(self.sn1(self.fc1(x)))
        return self.fc2(self.sn2(apply(s, self.weight)))


def test_an_operator_without_a_rule_proves_nothing_where_it_reads_more_than_spikes():
    assert check_full_spike(Unknown(lambda s: s), (2, 6)).full_spike
    assert check_full_spike(Unknown(lambda s: s + s), (2, 6)).full_spike  # of another size
    audit = check_full_spike(Unknown(lambda s: s + s.flip(0)), (2, 6))
    assert not audit.full_spike
    assert not audit.offending
    assert audit.unknown == ("syops_test::apply in the model",)
    assert "not proven to be spike-only" in str(audit)
    assert "syops_test::apply" in str(audit)


def test_command_reports_unknown_operators(here, syops):
    (here / "net.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.fc1, self.fc2 = torch.nn.Linear(6, 5), torch.nn.Linear(5, 2)\n"
        "    def forward(self, x):\n"
        "        x = self.fc1(x)\n"
        "        x = torch.linalg.qr(x).R\n"
        "        return self.fc2((x > 0).float())\n"
    )
    status, out, err = syops("audit", "net:Net", "--input-shape", "2,6")
    assert status == 2, err
    assert "not proven to be spike-only: no rule says what aten::linalg_qr" in out


def test_a_network_without_synapses_is_called_so():
    assert "no synaptic layers" in str(check_full_spike(nn.ReLU(), (2, 6)))
