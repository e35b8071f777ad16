"""A training step: products of the backward pass, against autograd, torch's FLOPs and NeuroMC."""

import json

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from syops import Report, count_syops, get_model_syops
from syops.errors import SyopsTypeError, SyopsValueError
from tests.support import oracle


class Surrogate(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(context, gradient):
        return gradient * 0.5


class Spikes(nn.Module):
    def forward(self, x):
        return Surrogate.apply(x)


class Network(nn.Module):
    """Convolutions, linear layers and a product of spikes with spikes, two steps of each."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.conv = nn.Conv2d(4, 4, 3, stride=2, bias=False)  # torch counts groups too often
        self.up = nn.ConvTranspose2d(4, 2, 2, stride=2)
        self.frozen = nn.Linear(32, 6).requires_grad_(False)
        self.head = nn.Linear(6, 3)
        self.spike = Spikes()

    def forward(self, x):
        total = 0
        for _ in range(2):
            spikes = self.spike(self.conv(self.spike(self.stem(x))))
            spikes = self.spike(self.frozen(self.up(spikes).flatten(1)))
            attention = spikes.unsqueeze(2) @ spikes.unsqueeze(1)
            total = total + self.head(attention @ spikes.unsqueeze(2) @ torch.ones(1, 6))
        return total


def data(*shape):
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(0)) < 0.4).float()


def trained(model, *inputs):
    with count_syops(model) as count:
        model(*inputs).sum().backward()
    return count.report


def test_dense_sums_are_the_flops_of_torch():
    torch.manual_seed(0)
    network, x = Network(), torch.rand(3, 1, 6, 6)
    training = trained(network, x).training()
    with FlopCounterMode(display=False) as flops:
        network(x).sum().backward()
    assert 2 * 3 * training.dense == flops.get_total_flops()
    kinds = {(each.name, each.of): bool(each.mac) for each in training.products}
    assert kinds[("stem", "weights")] is True
    assert ("stem", "input") not in kinds
    assert ("frozen", "weights") not in kinds
    assert [kinds[("conv", of)] for of in ("weights", "input")] == [False, True]


LAYERS = {
    "linear": lambda: nn.Linear(6, 4),
    "conv": lambda: nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), groups=2),
    "dilated": lambda: nn.Conv1d(2, 3, 3, dilation=2, padding=2),
    "reflected": lambda: nn.Conv1d(2, 3, 3, padding=2, padding_mode="reflect"),
    "transposed": lambda: nn.ConvTranspose1d(2, 4, 3, stride=2, padding=1),
}
SHAPES = {"linear": (5, 6), "conv": (2, 4, 5, 4)}


@pytest.mark.parametrize("name", LAYERS)
def test_spikes_take_part_in_as_many_terms_as_the_gradient_of_ones_has(name):
    """With a gradient of ones, that of the weights is a sum of spikes: one for each term."""
    layer, x = LAYERS[name](), data(*SHAPES.get(name, (2, 2, 7)))
    report = trained(layer, x)
    (product,) = report.training().products
    assert (product.of, product.mac) == ("weights", 0)
    assert product.ac_events == layer.weight.grad.sum() > 0
    (row,) = report.rows
    assert product.dense == row.dense


def test_products_are_those_of_a_brute_force_oracle():
    """Every term of x^T g and of g w^T, one at a time."""
    spikes = data(3, 4)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 2, bias=False)

        def forward(self, x):
            return self.second(Surrogate.apply(self.first(x)))

    network = Net()
    training = trained(network, spikes).training()
    hidden = Surrogate.apply(network.first(spikes)).detach()
    found = {(each.name, each.of): each for each in training.products}
    for name, x, outputs in (("first", spikes, 5), ("second", hidden, 2)):
        active = oracle.activity(x)
        expected = oracle.matmul(active.T, torch.ones(3, outputs, dtype=torch.int64).numpy())
        product = found.pop((name, "weights"))
        assert (product.dense, product.ac_events) == (expected.dense, expected.events)
        assert product.ac == expected.ac
    of_input = found.pop(("second", "input"))
    ones = torch.ones(3, 2, dtype=torch.int64), torch.ones(2, 5, dtype=torch.int64)
    expected = oracle.matmul(*(each.numpy() for each in ones))
    assert (of_input.mac, of_input.ac_events) == (expected.dense, 0)
    assert found == {}


def test_products_of_a_network_over_time_are_those_of_the_oracle():
    """Every call of every layer, walked synapse by synapse."""
    torch.manual_seed(0)
    network, inputs = Network(), {}
    for name, layer in network.named_children():
        layer.register_forward_pre_hook(
            lambda layer, x, name=name: inputs.setdefault(name, []).append(x[0].detach())
        )
    with count_syops(network) as count:
        network(data(3, 1, 6, 6)).sum().backward()
    found = {(each.name, each.of): each for each in count.report.training().products}
    for name in ("stem", "conv", "head"):
        layer = getattr(network, name)
        counts = [oracle.count_of(layer, oracle.activity(x)) for x in inputs[name]]
        assert len(counts) == 2
        weights = found[(name, "weights")]
        assert weights.dense == sum(each.dense for each in counts)
        spiking = name != "head"  # the products of attention that reach it are integers
        assert weights.ac_events == (sum(each.events for each in counts) if spiking else 0)
        assert weights.mac == (0 if spiking else weights.dense)
        by_input = found.pop((name, "input"), None)  # that of the network wants no gradient
        assert (by_input and by_input.mac) == (None if name == "stem" else weights.dense)


def test_products_of_two_activations_are_driven_by_the_other_one():
    class Pair(nn.Module):
        def forward(self, a, b):
            return a @ b

    a, b = data(2, 3, 4).requires_grad_(), torch.rand(2, 4, 5).requires_grad_()
    products = {each.of: each for each in trained(Pair(), a, b).training().products}
    assert products["right"].ac_events == b.grad.sum() > 0  # a^T g, with g of ones
    assert (products["left"].ac_events, products["left"].mac) == (0, 2 * 3 * 4 * 5)


def test_energy_of_a_step_by_hand():
    layer, x = nn.Linear(6, 4), data(5, 6)
    report = trained(layer, x)
    optimizer = torch.optim.SGD(layer.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
    training, spikes = report.training(optimizer), int(x.sum())
    assert training.optimizer_macs == 3 * 28
    assert training.optimizer_mj == pytest.approx(84 * 4.6e-9 / 5)
    assert training.backward_mj == pytest.approx(spikes * 4 * 0.9e-9 / 5)
    assert training.total_mj == pytest.approx((2 * spikes * 4 * 0.9 + 84 * 4.6) * 1e-9 / 5)
    assert Report.from_json(report.to_json()).training(optimizer).total_mj == training.total_mj
    assert json.loads(training.to_json())["per_sample"]["total_mj"] == training.total_mj
    assert "Training step: " in training.to_text()
    on_chip = report.priced("loihi").training(optimizer)
    assert (on_chip.optimizer_mj, on_chip.total_mj) == (None, None)


def test_what_is_not_known_is_refused():
    layer, x = nn.Linear(6, 4), data(5, 6)
    with pytest.raises(SyopsValueError, match="needs a count with gradients"):
        get_model_syops(layer, x).training()

    class Attention(nn.Module):
        def forward(self, x):
            x = layer(x)
            return nn.functional.scaled_dot_product_attention(x, x, x)

    with pytest.raises(SyopsValueError, match=r"fused operator.*attn @ v"):
        trained(Attention(), data(2, 5, 6)).training()
    report = trained(layer, x)
    with pytest.raises(SyopsValueError, match="operations of Adam are not known, or have no price"):
        report.training(torch.optim.Adam(layer.parameters()))
    for more in ({"nesterov": True, "momentum": 0.9}, {"dampening": 0.5, "momentum": 0.9}):
        with pytest.raises(SyopsValueError, match="without nesterov and dampening"):
            report.training(torch.optim.SGD(layer.parameters(), **more))
    with pytest.raises(SyopsTypeError, match="one of torch.optim, got float"):
        report.training(0.1)


def test_classes_and_sums_are_those_of_neuromc():
    """Its cores: by spikes or dense. It traces the products of a linear layer a second time."""
    neuromc = pytest.importorskip("spikingjelly.activation_based.op_counter.neuromc")
    from spikingjelly.activation_based import functional, neuron

    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(1, 3, 3, padding=1), neuron.LIFNode(detach_reset=True)),
        *(nn.Conv2d(3, 4, 3, bias=False), neuron.LIFNode(), nn.Flatten(), nn.Linear(64, 5)),
    )
    for parameter in network.parameters():
        parameter.data.abs_()
    x, y = torch.rand(2, 1, 6, 6), torch.zeros(2, 5)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, weight_decay=0.1)
    with count_syops(network) as count:
        nn.functional.mse_loss(network(x), y).backward()
    training = count.report.training(optimizer)
    functional.reset_net(network)
    told = neuromc.estimate_neuromc_runtime_energy(
        network, x, target=y, loss_fn=nn.functional.mse_loss, optimizer=optimizer
    )
    cores = dict.fromkeys(("wg", "ann_we", "bp_grad"), 0)
    for part in told.mapping_summary:
        if part["source"] == "module" and part["phase"] == "backward":
            cores[part["core_type"]] += part["mac_count"]
    weights = [each for each in training.products if each.of == "weights"]
    assert cores["wg"] == sum(each.dense for each in weights if not each.mac) > 0
    assert cores["ann_we"] == sum(each.mac for each in weights) > 0
    inputs = sum(each.mac for each in training.products if each.of == "input")
    assert cores["bp_grad"] == inputs > 0
    optimiser = told.counts_by_process_key["with_opt"]
    assert optimiser["mul"] == optimiser["add"] == training.optimizer_macs


class Product(torch.autograd.Function):
    @staticmethod
    def forward(context, x, weight):
        context.save_for_backward(x, weight)
        return x @ weight

    @staticmethod
    def backward(context, gradient):
        x, weight = context.saved_tensors
        return gradient @ weight.t(), x.t() @ gradient


class Hidden(nn.Module):
    """A product whose gradient autograd does not see, between two that it sees."""

    def __init__(self, how):
        super().__init__()
        self.first, self.hidden, self.last = nn.Linear(6, 5), nn.Linear(5, 5), nn.Linear(5, 2)
        self.how = how

    def forward(self, x):
        return self.last(self.how(self.hidden, self.first(x)))


@pytest.mark.parametrize(
    ("how", "name"),
    [
        (lambda layer, x: checkpoint(layer, x, use_reentrant=True), "hidden"),
        (lambda layer, x: Product.apply(x, layer.weight), "Hidden"),  # in the model itself
    ],
    ids=["reentrant checkpoint", "function"],
)
def test_products_whose_gradient_is_not_seen_are_named(how, name):
    training = trained(Hidden(how), data(4, 6)).training()
    assert {each.name for each in training.products} == {"first", "last"}
    assert len(training.without_gradient) == 1
    assert name in training.without_gradient[0]
    warned, _, figures = str(training).partition("layer  ")
    assert training.without_gradient[0] in warned
    assert "Training step: at least" in figures
    plain = trained(Hidden(lambda layer, x: layer(x)), data(4, 6)).training()
    assert not plain.without_gradient
    assert "no gradient was recorded" not in str(plain)
    assert "at least" not in str(plain)
