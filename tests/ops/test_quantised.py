"""Quantised layers: as many operations as the layers that they were made of, at their own dtype."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from syops import Report, get_model_bounds, get_model_syops
from syops.errors import ForwardError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torch.ao.quantization as ao

pytestmark = pytest.mark.filterwarnings("ignore")


class Spike(nn.Module):
    def forward(self, x):
        return (x > 0.3).to(x.dtype)


class Recurrent(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0]


class Static(nn.Module):
    """Spikes into a convolution, and spikes again into a linear layer."""

    def __init__(self):
        super().__init__()
        self.first, self.second = ao.QuantStub(), ao.QuantStub()
        self.conv = nn.Conv2d(2, 3, 3, padding=1, stride=2)
        self.relu, self.pool = nn.ReLU(), nn.MaxPool2d(2)
        self.head = nn.Linear(12, 5)
        self.back, self.out = ao.DeQuantStub(), ao.DeQuantStub()
        self.spike = Spike()

    def forward(self, x):
        x = self.back(self.pool(self.relu(self.conv(self.first(x)))))
        return self.out(self.head(self.second(self.spike(x).flatten(1))))


def spikes(*shape):
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(0)) < 0.3).float()


def synaptic(report):
    kinds = ("conv", "linear", "matmul", "recurrent")
    return [row for row in report.rows if row.kind in kinds]


def perceptron():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), Spike(), nn.Linear(16, 4)).eval()


def converted(fused=False):
    torch.manual_seed(0)
    network = Static().eval()
    network.qconfig = ao.QConfig(ao.default_observer, ao.default_per_channel_weight_observer)
    if fused:
        network = ao.fuse_modules(network, [["conv", "relu"]])
    network = ao.prepare(network)
    network(spikes(2, 2, 8, 8))
    return ao.convert(network)


@pytest.mark.parametrize(("dtype", "name"), [(torch.qint8, "qint8"), (torch.float16, "float16")])
def test_dynamic_linear_layers_count_as_float_ones(dtype, name):
    network, x = perceptron(), spikes(5, 8)
    plain = get_model_syops(network, x)
    report = get_model_syops(ao.quantize_dynamic(network, {nn.Linear}, dtype), x, strict=True)
    assert [row.dtype for row in synaptic(report)] == [name, name]
    assert [row.dense for row in synaptic(report)] == [row.dense for row in synaptic(plain)]
    assert synaptic(report)[0].drives[0].events == int(x.sum()) * 16
    assert (report.params, report.complete, report.mac) == (plain.params, True, 0)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_dynamic_recurrent_layers_have_the_products_of_their_matrices(kind):
    layer, gates = kind(6, 4, num_layers=2, bidirectional=True), 4 if kind is nn.LSTM else 3
    network = ao.quantize_dynamic(Recurrent(layer).eval(), {kind}, torch.qint8)
    x = spikes(3, 2, 6)
    report = get_model_syops(network, x, batch_dim=1, strict=True)
    units = 3 * 2 * gates * 4  # steps, samples, gates, hidden units
    inputs = [row.dense for row in report.rows if row.operator == "input"]
    assert sum(inputs) == 2 * units * 6 + 2 * units * 8
    assert sum(row.dense for row in report.rows if row.operator == "hidden") == 4 * units * 4
    assert report.totals.ac_events == int(x.sum()) * gates * 4 * 2
    assert report.params == sum(p.numel() for p in layer.parameters())
    assert {row.dtype for row in report.rows} == {"qint8"}


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTMCell, 4), (nn.GRUCell, 3), (nn.RNNCell, 1)])
def test_dynamic_recurrent_cells(kind, gates):
    cell = kind(6, 4)
    network = ao.quantize_dynamic(Recurrent(cell).eval(), {kind}, torch.qint8)
    x = spikes(2, 6)
    report = get_model_syops(network, x, strict=True)
    assert [row.dense for row in report.rows] == [2 * gates * 4 * 6, 2 * gates * 4 * 4]
    assert report.totals.ac_events == int(x.sum()) * gates * 4
    assert report.params == sum(p.numel() for p in cell.parameters())


@pytest.mark.parametrize("fused", [False, True])
def test_static_layers_keep_spikes_and_reach_what_float_ones_reach(fused):
    network, x = converted(fused), spikes(2, 2, 8, 8)
    report = get_model_syops(network, x, strict=True, input_signal="binary")
    conv, head = synaptic(report)
    again = network.spike(network.back(network.pool(network.relu(network.conv(network.first(x))))))
    reached = nn.functional.conv2d(x, torch.ones(3, 2, 3, 3), padding=1, stride=2).sum()
    assert (conv.drives[0].spikes, conv.drives[0].events) == (int(x.sum()), int(reached))
    assert (head.drives[0].spikes, head.drives[0].events) == (again.sum(), again.sum() * 5)
    assert [layer.signal for layer in report.layers if layer.kind in ("conv", "linear")] == [
        "scaled",
        "scaled",
    ]
    assert (report.mac, report.params, report.complete) == (0, 2 * 27 + 3 + 60 + 5, True)
    assert [row.dtype for row in (conv, head)] == ["qint8", "qint8"]


def test_static_layers_of_one_and_three_dimensions_and_turned():
    for layer, x in (
        (nn.Conv1d(2, 3, 3, padding=1), spikes(2, 2, 9)),
        (nn.Conv3d(2, 3, 2, stride=2), spikes(2, 2, 4, 4, 4)),
        (nn.ConvTranspose2d(2, 4, 3, stride=2, groups=2), spikes(2, 2, 5, 5)),
    ):
        network = nn.Sequential(ao.QuantStub(), layer, ao.DeQuantStub()).eval()
        network.qconfig = ao.QConfig(ao.default_observer, ao.default_weight_observer)
        network = ao.prepare(network)
        network(x)
        ones = type(layer)(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,
            layer.stride,
            layer.padding,
            groups=layer.groups,
            bias=False,
        )
        nn.init.ones_(ones.weight)
        report = get_model_syops(ao.convert(network), x, strict=True, input_signal="binary")
        plain = get_model_syops(nn.Sequential(ones), x)
        assert report.totals.ac_events == plain.totals.ac_events == int(ones(x).sum())
        assert report.totals.dense_ac == plain.totals.dense_ac


def test_real_values_stay_real_when_they_are_rounded():
    x = torch.rand(2, 2, 8, 8)
    conv, head = synaptic(get_model_syops(converted(), x, strict=True))
    report = get_model_syops(converted(), x)
    assert [layer.signal for layer in report.layers if layer.kind == "conv"] == ["analog"]
    assert report.mac == conv.dense / 2


@pytest.mark.parametrize("passes", [1, 3])
def test_fake_quantised_layers_have_weights_while_observers_run(passes):
    torch.manual_seed(0)
    network = Static().train()
    network.qconfig = ao.get_default_qat_qconfig("x86")
    network = ao.prepare_qat(network)
    network(spikes(2, 2, 8, 8))
    report = get_model_syops(
        network.eval(), [spikes(2, 2, 8, 8) for _ in range(passes)], strict=True
    )
    assert [(row.kind, row.weights) for row in synaptic(report)] == [("conv", 54), ("linear", 60)]
    assert report.complete
    assert priced_as_floats(report) == ("conv", "head")
    bounds = get_model_bounds(network, (1, 2, 8, 8))
    assert [row.dense * 2 * passes for row in synaptic(bounds)] == [
        row.dense for row in synaptic(report)
    ]


def test_fake_quantised_spikes_are_spikes_where_the_scale_is_a_number():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 3)

        def forward(self, x):
            return self.layer(torch.fake_quantize_per_tensor_affine(Spike()(x), 0.3, 3, 0, 255))

    x = spikes(4, 8)
    report = get_model_syops(Net(), x, strict=True)
    assert (report.mac, report.totals.ac_events) == (0, int(x.sum()) * 3)


def test_rounding_half_a_step_is_no_proof():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 3)

        def forward(self, x):  # 1 lies between two steps
            return self.layer(torch.fake_quantize_per_tensor_affine(Spike()(x), 2.0, 0, 0, 255))

    report = get_model_syops(Net(), spikes(4, 8))
    assert report.layers[0].signal == "analog"


class Binary(nn.Module):
    def forward(self, weight):
        return weight.sign() * weight.abs().mean()


class Ternary(nn.Module):
    def forward(self, weight):
        return torch.where(weight.abs() > 0.1, weight.sign(), torch.zeros_like(weight))


class Signs(nn.Module):
    def forward(self, weight):
        return torch.where(weight > 0, 1.0, -1.0)


class StraightThrough(nn.Module):
    def forward(self, weight):
        return weight + ((weight * 7).round() / 7 - weight).detach()


@pytest.mark.parametrize("how", [Binary, Ternary, Signs, StraightThrough])
def test_parametrised_weights_are_weights(how):
    network, x = perceptron(), spikes(5, 8)
    plain = get_model_syops(network, x)
    parametrize.register_parametrization(network[0], "weight", how())
    report = get_model_syops(network, x, strict=True)
    row = synaptic(report)[0]
    assert (row.kind, row.dense, row.weights) == ("linear", 5 * 128, 128)
    assert row.drives[0].events == int(x.sum()) * 16
    assert report.params == plain.params
    assert priced_as_floats(plain) == ()
    assert priced_as_floats(report) == ("0",)
    assert priced_as_floats(get_model_bounds(network, (5, 8))) == ("0",)
    prices = {"0": "horowitz45-int8", "*": "horowitz45-fp32"}
    assert priced_as_floats(report.priced(prices)) == ()
    (caution,) = (each for each in report.warnings if each.kind == "rounded")
    assert "energy={'0': 'horowitz45-int8', '*': 'horowitz45-fp32'}" in caution.advice
    assert Report.from_json(report.to_json()) == report


def priced_as_floats(report):
    return next((each.layers for each in report.warnings if each.kind == "rounded"), ())


class Connected(nn.Module):
    def forward(self, weight):
        return (weight > 0).float()


@pytest.mark.parametrize("how", [Signs, Connected])
def test_weights_of_few_values_are_no_second_activation(how):
    """A spike reaches all outputs; real numbers stay MACs, though the weights are 0 and 1."""
    network, x = nn.Linear(8, 6), spikes(5, 8)
    parametrize.register_parametrization(network, "weight", how())
    report = get_model_syops(network, x)
    assert (report.totals.ac_events, report.totals.ac, report.mac) == (int(x.sum()) * 6,) * 2 + (0,)
    real = get_model_syops(network, x + 0.5)
    assert (real.totals.mac, real.ac, real.ec_mj[0]) == (5 * 48, 0, real.dc_mj)
    assert priced_as_floats(real) == ("ParametrizedLinear",)


class Mask(nn.Module):
    def forward(self, weight):
        return weight * (weight.abs() > 0.1)


def test_weights_that_are_masked_or_normalised_are_no_rounded_ones():
    network = perceptron()
    parametrize.register_parametrization(network[0], "weight", Mask())
    nn.utils.parametrizations.weight_norm(network[2])
    assert priced_as_floats(get_model_syops(network, spikes(5, 8))) == ()


@pytest.mark.parametrize("kind", ["dynamic", "static"])
def test_several_batches_are_counted_as_one_each(kind):
    static = kind == "static"
    network = converted() if static else ao.quantize_dynamic(perceptron(), {nn.Linear}, torch.qint8)
    batches = [spikes(2, 2, 8, 8) if static else spikes(5, 8) for _ in range(3)]
    one = get_model_syops(network, batches[0], input_signal="binary")
    all_ = get_model_syops(network, batches, input_signal="binary", strict=True)
    assert all_.totals.ac_events == 3 * one.totals.ac_events > 0
    assert (all_.passes, all_.samples) == (3, 3 * one.samples)


def test_observers_are_left_as_found():
    network = Static().train()
    network.qconfig = ao.get_default_qat_qconfig("x86")
    network = ao.prepare_qat(network)
    network(spikes(2, 2, 8, 8))
    network.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    get_model_syops(network, [3 * spikes(2, 2, 8, 8)] * 2)
    after = network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_quantised_layers_are_priced_by_dtype():
    network = ao.quantize_dynamic(perceptron(), {nn.Linear}, torch.qint8)
    prices = {"qint8": "horowitz45-int8", "*": "horowitz45-fp32"}
    x = spikes(5, 8)
    report = get_model_syops(network, x, energy=prices, ac="events")
    assert report.dc_mj == pytest.approx(0.03e-9 * report.ac_events)


def test_bounds_of_packed_weights_say_which_layer_has_no_shape():
    network = ao.quantize_dynamic(perceptron(), {nn.Linear}, torch.qint8)
    with pytest.raises(ForwardError, match=r"failed in 0 \(Linear\)"):
        get_model_bounds(network, (1, 8))
