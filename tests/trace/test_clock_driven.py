"""Networks of ``spikingjelly.clock_driven``, which most published code is written for."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from syops import SyopsError, check_full_spike, get_model_bounds, get_model_syops
from syops.fold import fold_bn, plan_folding
from syops.models import list_models

pytest.importorskip("spikingjelly.clock_driven", reason="spikingjelly before 0.0.0.0.14")
from spikingjelly.clock_driven import functional, layer, neuron, surrogate  # noqa: E402

T, N = 4, 3

SINGLE = {
    "IFNode": neuron.IFNode,
    "LIFNode": neuron.LIFNode,
    "LIFNode, soft reset": lambda: neuron.LIFNode(v_reset=None),
    "LIFNode, sigmoid": lambda: neuron.LIFNode(surrogate_function=surrogate.Sigmoid()),
    "ParametricLIFNode": neuron.ParametricLIFNode,
    "QIFNode": neuron.QIFNode,
    "EIFNode": neuron.EIFNode,
}
MULTI = {
    "MultiStepIFNode": neuron.MultiStepIFNode,
    "MultiStepLIFNode": neuron.MultiStepLIFNode,
    "MultiStepLIFNode, torch": lambda: neuron.MultiStepLIFNode(detach_reset=True, backend="torch"),
    "MultiStepParametricLIFNode": neuron.MultiStepParametricLIFNode,
    "MultiStepEIFNode": neuron.MultiStepEIFNode,
}


class Stepwise(nn.Module):
    """A network in a loop over time-steps, as the tutorials have it."""

    T = T

    def __init__(self, make):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.sn1, self.pool = make(), nn.MaxPool2d(2)
        self.conv2, self.bn2 = nn.Conv2d(4, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.sn2, self.fc = make(), nn.Linear(6 * 16, 5)

    def forward(self, x):
        current = self.bn1(self.conv1(x))
        out = 0
        for _ in range(self.T):
            spikes = self.pool(self.sn1(current))
            out = out + self.fc(self.sn2(self.bn2(self.conv2(spikes))).flatten(1))
        return out / self.T


def bn2d(channels):
    return layer.SeqToANNContainer(nn.BatchNorm2d(channels))


def tdbn(channels):
    return layer.MultiStepThresholdDependentBatchNorm2d(1.0, 1.0, channels)


class Sequence(nn.Module):
    """A network of multi-step modules, as SEW ResNet and Spikformer are written."""

    T = T

    def __init__(self, make, norm=bn2d):
        super().__init__()
        self.conv1 = layer.SeqToANNContainer(nn.Conv2d(1, 4, 3, padding=1))
        self.bn1, self.sn1 = norm(4), make()
        self.pool = layer.SeqToANNContainer(nn.MaxPool2d(2))
        self.conv2 = layer.SeqToANNContainer(nn.Conv2d(4, 6, 3, padding=1, bias=False))
        self.bn2, self.sn2, self.fc = norm(6), make(), nn.Linear(6 * 16, 5)

    def forward(self, x):
        x = self.bn1(self.conv1(x.unsqueeze(0))).expand(self.T, -1, -1, -1, -1)
        x = self.sn2(self.bn2(self.conv2(self.pool(self.sn1(x)))))
        return self.fc(x.flatten(2)).mean(0)


NETWORKS = {
    **{name: (Stepwise, (make,)) for name, make in SINGLE.items()},
    **{name: (Sequence, (make,)) for name, make in MULTI.items()},
    "tdBN": (Sequence, (neuron.MultiStepLIFNode, tdbn)),
}


@pytest.fixture(params=NETWORKS)
def net(request):
    torch.manual_seed(0)
    cls, arguments = NETWORKS[request.param]
    made = cls(*arguments)
    for module in made.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.1, 1)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, -0.5, 1)
    return made


def image():
    return torch.rand(N, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 3


def spikes_into(net, x):
    """The spikes that arrive at the layers, by hand, times the synapses that each reaches."""
    found = {}

    def arrive(path):
        def hook(module, args):
            (spikes,) = args
            assert set(spikes.unique().tolist()) <= {0, 1}
            fan_out = 5 if path == "fc" else 9 * 6
            found[path] = found.get(path, 0) + int(spikes.sum()) * fan_out

        return hook

    hooks = [
        module.register_forward_pre_hook(arrive(path))
        for path, module in net.named_modules()
        if path in ("conv2", "conv2.0", "fc") and isinstance(module, nn.Conv2d | nn.Linear)
    ]
    functional.reset_net(net)
    with torch.no_grad():
        net.eval()(x)
    for hook in hooks:
        hook.remove()
    functional.reset_net(net)
    return found


def test_counts_are_those_of_the_spikes(net):
    x = image()
    truth = spikes_into(net, x)
    report = get_model_syops(net, x)
    assert {row.path: row.drives[0].ac for row in report.rows if row.path in truth} == truth
    assert report.full_spike
    assert report.time_steps == T
    assert report.mac == 64 * 9 * 4  # the stem, once
    assert report.energy_ratio is not None
    assert [warning.kind for warning in report.warnings] == []
    known = [neuron for neuron in report.updates if neuron.path in ("sn1", "sn2")]
    assert {(each.starts, each.steps, each.samples) for each in known} == {(1, T, T * N)}


def test_models_are_left_as_found(net):
    x = image()
    net.train()
    with torch.no_grad():
        net(x)
    before = {
        (path, name): value
        for path, module in net.named_modules()
        for name, value in getattr(module, "_memories", {}).items()
    }
    held = {key: value.clone() for key, value in before.items() if hasattr(value, "clone")}
    counted = get_model_syops(net, x)
    get_model_bounds(net, x)
    check_full_spike(net, x)
    for (path, name), value in before.items():
        now = net.get_submodule(path)._memories[name]
        assert now is value
        assert (path, name) not in held or torch.equal(now, held[path, name])
    assert net.training
    functional.reset_net(net)
    assert get_model_syops(net, x).rows == counted.rows


def test_bounds_and_audit(net):
    report = get_model_bounds(net, (N, 1, 8, 8))
    low, high = report.ec_mj
    assert low <= get_model_syops(net, image()).dc_mj <= high
    assert report.ann_mac == 64 * 9 * 4 + 16 * 9 * 4 * 6 + 96 * 5
    assert check_full_spike(net, (N, 1, 8, 8)).full_spike


def test_folded_networks_give_the_same(net):
    x = image()
    norms = 2
    assert len(plan_folding(net, x).folded) == norms
    folded = fold_bn(net, x)
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in folded.modules())
    functional.reset_net(net.eval()), functional.reset_net(folded)
    with torch.no_grad():
        torch.testing.assert_close(folded(x), net(x), atol=1e-4, rtol=1e-4)
    functional.reset_net(folded)
    assert get_model_syops(folded, x).mac == get_model_syops(net, x).mac


def test_neurons_that_send_analog_values():
    net = Stepwise(lambda: neuron.LIFNode(surrogate_function=surrogate.ATan(spiking=False)))
    assert not check_full_spike(net, (N, 1, 8, 8)).full_spike
    net = Stepwise(lambda: neuron.LIAFNode(torch.relu, True))
    assert not check_full_spike(net, (N, 1, 8, 8)).full_spike


def test_recurrent_weights_are_counted():
    net = nn.Sequential(
        layer.LinearRecurrentContainer(neuron.LIFNode(), 6, 6), nn.Linear(6, 2, bias=False)
    )
    report = get_model_syops(net, torch.rand(3, 6))
    assert {row.path for row in report.rows if row.kind == "linear"} == {"0.rc", "1"}


def test_states_reset_at_every_step_are_told():
    class Forgets(Stepwise):
        def forward(self, x):
            out = 0
            for _ in range(self.T):
                functional.reset_net(self)
                out = out + self.fc(self.sn2(self.conv2(self.pool(self.sn1(x)))).flatten(1))
            return out

    net = Forgets(neuron.LIFNode)
    net.conv2 = nn.Conv2d(1, 6, 3, padding=1)
    assert "reset" in [warning.kind for warning in get_model_syops(net, image()).warnings]


def test_bundled_networks_say_what_they_need():
    assert "fsnn18" in list_models()
    with pytest.raises(SyopsError, match=r"need spikingjelly >= 0\.0\.0\.0\.14, and 0\.0\.0"):
        from syops.models import create_model  # noqa: F401
    with pytest.raises(ImportError, match=r"your own network needs no other version"):
        from syops.dst import fit  # noqa: F401


NET = """
from torch import nn
from spikingjelly.clock_driven import neuron

def build():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), neuron.LIFNode(), nn.Flatten(),
                         nn.Linear(144, 2))
"""


def command(*arguments, folder):
    return subprocess.run(
        [sys.executable, "-m", "syops", *arguments], capture_output=True, text=True, cwd=folder
    )


@pytest.mark.parametrize(
    "arguments", [["models"], ["run", "fsnn18"], ["bounds", "sew_7b"], ["demo"], ["table2"]]
)
def test_commands_on_bundled_networks_end_in_one_line(arguments, tmp_path):
    done = command(*arguments, folder=tmp_path)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("syops: ")]
    assert "need spikingjelly >= 0.0.0.0.14" in line
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["run", "bounds", "audit"])
def test_commands_on_ones_own_network(name, tmp_path):
    (tmp_path / "own.py").write_text(NET)
    done = command(name, "own:build", "--input-shape", "1,3,8,8", folder=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert "Sequential" in done.stdout
