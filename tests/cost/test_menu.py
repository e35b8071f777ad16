"""Models of energy: as spikingjelly computes them, and by hand."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from syops import Report, get_model_bounds, get_model_syops, list_energy_models
from syops.cli import cli
from syops.cost.memory import MemoryModel
from syops.cost.menu import estimates
from syops.cost.menu.lemaire import lemaire_counts
from syops.cost.menu.memory import step_bytes
from syops.errors import SyopsTypeError, SyopsValueError
from syops.models import create_model
from syops.models.calibration import calibrate
from tests import ROOT

activation_based = pytest.importorskip("spikingjelly.activation_based")
from spikingjelly.activation_based import functional, layer, neuron  # noqa: E402

from tests.support.chains import chain  # noqa: E402

counters = pytest.importorskip("spikingjelly.activation_based.op_counter")

T = 4
MODELS = {model.name: model for model in estimates.menu_models()}


def data(kind, *shape):
    values = torch.rand(T, 1, *shape, generator=torch.Generator().manual_seed(1))
    return (values < 0.4).float() if kind == "spikes" else values


def counted(network, x):
    functional.reset_net(network)
    return get_model_syops(network, x, batch_dim=1, time_steps=T)


def energy(report, name, memory=None):
    return next(each for each in report.energy_menu(memory).estimates if each.name == name)


@pytest.mark.parametrize(
    ("node", "kind", "queue"),
    [(neuron.IFNode, "real", 1000), (neuron.LIFNode, "spikes", 1000), (neuron.IFNode, "spikes", 9)],
)
def test_lemaire_and_step_are_what_spikingjelly_computes(node, kind, queue):
    network, x = chain(node, node), data(kind, 2, 12, 12)
    memory = MemoryModel(queue=queue)
    # Not strict, as a Flatten is refused otherwise.
    config = counters.LemaireEnergyConfig(strict=False, snn_fifo_capacity_elements=queue)
    told = counters.estimate_lemaire_energy(network, x, config=config)
    report = counted(network, x)
    found, accesses = lemaire_counts(report, memory)
    assert found == {name: told.counts[name] for name in found}
    assert found["ac"] > 5000
    names = [name for name in told.counts if name.endswith("_bytes")]
    assert sum(read for read, _ in accesses) == sum(told.counts[name] for name in names)
    assert energy(report, "lemaire-2022", memory).energy_mj == pytest.approx(told.total_pj * 1e-9)

    functional.reset_net(network)
    simple = counters.estimate_simple_energy(network, x).counts
    assert step_bytes(report, memory) == {
        "weights": simple["weight_read_bytes"],
        "biases": simple["bias_read_bytes"],
        "states": simple["neuron_state_read_bytes"] + simple["neuron_state_write_bytes"],
    }


def test_spikesim_is_what_spikingjelly_computes():
    network = nn.Sequential(layer.Conv2d(2, 70, 3), neuron.IFNode(), layer.Conv2d(70, 65, 1))
    functional.set_step_mode(network.eval(), "m")
    x = data("spikes", 2, 6, 6)
    told = counters.estimate_spikesim_energy(network, x).energy_total_pj
    found = energy(counted(network, x), "spikesim").energy_mj
    assert found == pytest.approx(told * 1e-9, rel=1e-12)


@pytest.fixture(scope="module")
def small():
    """20 inputs to 8 neurons to 3 results; the counts by hand."""
    torch.manual_seed(0)
    network = nn.Sequential(layer.Linear(20, 8), neuron.IFNode(), layer.Linear(8, 3, bias=False))
    functional.set_step_mode(network.eval(), "m")
    x = data("spikes", 20)
    hidden = network[:2](x)
    return counted(network, x), int(x.sum()), int(hidden.sum())


def test_processors_by_hand(small):
    report, first, second = small
    synops, updates = first * 8 + second * 3, 8 * T
    spiking = {
        "sana-fe-loihi": synops * 35.5 + (first + second) * 111 + updates * 72.8 + second * 69.3,
        "kerasspiking-loihi": synops * 27.1 + updates * 81,
        "kerasspiking-spinnaker": synops * 13300 + updates * 26000,
        "kerasspiking-spinnaker2": synops * 450 + updates * 2190,
        "spyx-honest": synops * (0.05448 + 8 * 20)
        + updates * (0.05448 + 2 * 8 * 0.25)
        + second * 0.05448,
    }
    for name, expected in spiking.items():
        assert energy(report, name).energy_mj == pytest.approx(expected * 1e-9), name


@pytest.mark.parametrize(("queue", "bits"), [(1000, None), (0, 8), (300, 16)])
def test_laws_of_memory_by_hand(small, queue, bits):
    report, first, second = small
    size = 4 if bits is None else bits // 8
    counts = [  # accesses, the bytes of each and those of their buffer; a message has 4 bytes
        (first * 8, size, 160 * size), (2 * first, 4, 4 * queue), (2 * first * 8, size, 8 * size),
        (2 * 8 * T, size, 8 * size),
        (second * 3, size, 24 * size), (2 * second, 4, 4 * queue), (2 * second * 3, size, 3 * size),
    ]  # fmt: skip
    synops = first * 8 + second * 3
    laws = {
        "lemaire-interpolated": lambda each, buffer: each * 1.25 * buffer / 8192,
        "lemaire-regression": lambda each, buffer: 1.09e-5 * 8 * buffer + 13.2,
        "lemaire-width": lambda each, buffer: 10 / (64 // (8 * each)),
    }
    memory = MemoryModel(queue=queue, bits=bits)
    for name, law in laws.items():
        expected = synops * 0.9 + sum(n * law(each, buffer) for n, each, buffer in counts)
        assert energy(report, name, memory).energy_mj == pytest.approx(expected * 1e-9), name
    stored = size * (synops + 8 * T) + 2 * size * 8 * T
    expected = synops * 0.9 + stored * 8 * 3.12
    assert energy(report, "step", memory).energy_mj == pytest.approx(expected * 1e-9)


def test_a_chain_in_8_bits_by_hand(small):
    """Messages keep their 4 bytes; addressing of a linear layer is its fan-out."""
    report, first, second = small
    synops, price = first * 8 + second * 3, 2.5 / 8192  # pJ a byte, for each byte of a buffer
    adds = synops + 8 * T + second + synops
    memory = (first * 8 + 8 * T) * 168 + 2 * first * 8 * 8 + 2 * 8 * T * 8
    memory += second * 3 * 24 + 2 * second * 3 * 3 + 4 * (first + 2 * second) * 4 * 10
    expected = adds * 0.1 + memory * price
    found = energy(report, "lemaire-2022", MemoryModel(queue=10, bits=8))
    assert found.energy_mj == pytest.approx(expected * 1e-9)


def test_spikes_of_neurons_are_exact_where_they_were_counted():
    """Two layers get the spikes of the first neuron, and none those of the last two."""

    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.left, self.right = (nn.Linear(6, 6, bias=False) for _ in range(3))
            self.spike, self.other, self.last = (neuron.IFNode() for _ in range(3))

        def forward(self, x):
            spikes = self.spike(self.first(x))
            return self.other(self.left(spikes)), self.last(self.right(spikes))

    torch.manual_seed(0)
    network = Branches()
    for parameter in network.parameters():
        parameter.data.abs_().mul_(3)
    x = (torch.rand(5, 6) < 0.4).float()
    hidden = (network.first(x) >= 1).float()
    sent = sum(int((layer(hidden) >= 1).sum()) for layer in (network.left, network.right))
    synops = int(x.sum()) * 6 + int(hidden.sum()) * 12
    messages = int(x.sum()) + 2 * int(hidden.sum())
    rest = synops * 35.5 + messages * 111 + 5 * 18 * 72.8
    for counted, spikes in ((True, int(hidden.sum()) + sent), (False, 2 * int(hidden.sum()))):
        report = get_model_syops(network, x, neuron_rates=counted)
        found = energy(report, "sana-fe-loihi").energy_mj
        assert found == pytest.approx((rest + spikes * 69.3) * 1e-9 / 5)
    mapped = report.energy_menu(hops=(1.5, 2))
    with_hops = next(each for each in mapped.estimates if each.name == "sana-fe-loihi").energy_mj
    assert with_hops - found == pytest.approx(messages * (1.5 * 3 + 2 * 4.2) * 1e-9 / 5)
    assert "Given: 1.5 and 2 hops for each message" in mapped.to_text()


def test_memory_is_not_added_to_what_takes_it_in(small):
    """A synaptic operation of a chip is more than arithmetic, and MACs have no price there."""
    on_chip = small[0].priced("loihi")
    for name in ("lemaire-interpolated", "lemaire-regression", "lemaire-width"):
        assert "priced as loihi" in energy(on_chip, name).refused
    assert energy(on_chip, "step").energy_mj == energy(small[0], "step").energy_mj
    said = "A synaptic operation of loihi is more than arithmetic"
    assert said in on_chip.baselines().to_text()
    assert said in on_chip.memory().to_text()
    assert "more than arithmetic" not in small[0].baselines().to_text()


def test_power_at_rest_counts_for_the_latency(small):
    report = small[0]
    assert energy(report, "speck-at-rest").refused.startswith("how long an inference takes")
    for latency in (10, "10 ms", "0.01 s"):
        (found,) = (
            each for each in report.energy_menu(latency=latency).estimates if "rest" in each.name
        )
        assert found.energy_mj == pytest.approx(0.42 * 0.01)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"latency": "10"}, SyopsValueError, "'10' is not a time with its unit"),
        ({"latency": -1}, SyopsValueError, "latency must be a number of ms, at least 0"),
        ({"latency": float("nan")}, SyopsValueError, "latency must be a number of ms"),
        ({"latency": True}, SyopsTypeError, "latency must be a number of ms, got True"),
        ({"hops": 2}, SyopsTypeError, "hops must be two numbers"),
        ({"hops": (1, float("inf"))}, SyopsValueError, "hops must be two numbers"),
        ({"hops": (1, "2")}, SyopsTypeError, "got '2'"),
    ],
)
def test_bad_settings(small, given, error, said):
    with pytest.raises(error, match=said):
        small[0].energy_menu(**given)


class Bare(nn.Module):
    """Weights that are not a module's own: their biases are not told apart by number."""

    def __init__(self, *biases):
        super().__init__()
        self.first, self.second = nn.Parameter(torch.rand(8, 20)), nn.Parameter(torch.rand(3, 8))
        self.biases = nn.ParameterList(biases)
        self.neuron = neuron.IFNode()

    def forward(self, x):
        hidden = self.neuron(nn.functional.linear(x, self.first))
        return nn.functional.linear(hidden, self.second, *self.biases)


@pytest.mark.parametrize("biases", [(), (torch.rand(3),)])
def test_biases_that_cannot_be_told_are_refused(biases):
    report = get_model_syops(Bare(*biases), (torch.rand(4, 20) < 0.4).float())
    for name in ("step", "lemaire-2022"):
        assert "whether a bias is added cannot be told: " in energy(report, name).refused


@pytest.mark.parametrize("bias", [True, False])
def test_biases_of_a_transposed_convolution(bias):
    network = nn.Sequential(nn.ConvTranspose2d(3, 4, 2, 2, groups=1, bias=bias), neuron.IFNode())
    report = get_model_syops(network, torch.rand(2, 3, 4, 4))
    stored = step_bytes(report, MemoryModel())
    assert stored["biases"] == (2 * 4 * 8 * 8 * 4 if bias else 0)


def test_models_refuse_by_name():
    real = get_model_syops(nn.Sequential(nn.Conv2d(1, 2, 3)), torch.rand(2, 1, 5, 5))
    assert energy(real, "loihi").refused == "no price for MACs: 0 (conv2d)"
    assert energy(real, "sana-fe-loihi").refused == "no price for MACs: 0 (conv2d)"
    spikes = torch.eye(4)
    bare = get_model_syops(nn.Sequential(nn.Linear(4, 3)), spikes)
    assert "no neuron is known" in energy(bare, "kerasspiking-loihi").refused
    assert energy(bare, "spikesim").refused == "not a conv2d of one shape: 0 (linear)"
    groups = get_model_syops(nn.Conv2d(4, 4, 1, groups=2), torch.ones(2, 4, 3, 3))
    assert "with groups" in energy(groups, "spikesim").refused
    pooled = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AvgPool2d(2), nn.Conv2d(2, 2, 1))
    refused = energy(get_model_syops(pooled, torch.rand(1, 1, 8, 8)), "lemaire-2022").refused
    assert refused == "not a chain of layers and IF or LIF neurons: 1 (avg_pool)"
    ends = nn.Sequential(layer.Linear(4, 3), neuron.IFNode())
    assert "reach no layer" in energy(get_model_syops(ends, spikes), "lemaire-2022").refused
    with pytest.raises(SyopsValueError, match="without points"):
        bare.energy_menu(MemoryModel(points=((0, 1),)))
    with pytest.raises(SyopsTypeError, match="expected a MemoryModel, got int"):
        bare.energy_menu(8)
    with pytest.raises(SyopsValueError, match="what was measured"):
        get_model_bounds(nn.Linear(4, 3), (1, 4)).energy_menu()


def rows_of(heading):
    page = (ROOT / "docs" / "energy.md").read_text()
    lines = page.split(f"## {heading}")[1].split("\n## ")[0].splitlines()
    cells = [
        [c.strip() for c in line.strip("|").split(" | ")] for line in lines if line[:3] == "| `"
    ]
    return [[c.strip("`") for c in row] for row in cells]


def test_every_constant_has_a_source_and_the_docs_tables_are_the_files():
    for model in MODELS.values():
        assert model.constants.keys() == model.sources.keys()
        assert all(source.strip() for source in model.sources.values())
        assert model.fidelity in ("paper", "code", "own")
        assert all((model.scope, model.refuses, model.source))
    assert MODELS.keys() == estimates.MODELS.keys()
    profiles = [
        [m.name, f"{m.e_ac_pj:g}", "none" if m.e_mac_pj is None else f"{m.e_mac_pj:g}", m.source]
        for m in list_energy_models()
    ]
    assert all(row[-1] for row in profiles)
    assert rows_of("Profiles: a price for each operation") == profiles
    assert rows_of("Other models") == [
        [m.name, m.fidelity, m.scope, m.refuses, m.source] for m in MODELS.values()
    ]
    interpolated = MODELS["lemaire-interpolated"].constants.values()
    assert [cost * 8 for _, cost in MemoryModel().points[1:]] == list(interpolated)
    assert rows_of("Their constants") == [
        [m.name, name, f"{value:g}", m.sources[name]]
        for m in MODELS.values()
        for name, value in m.constants.items()
    ]


def test_command(small, tmp_path):
    report, _, _ = small
    saved, run = tmp_path / "net.json", CliRunner().invoke
    report.save(saved)
    command = ["energy", "--compare", str(saved)]
    result = run(cli, command, obj=[])
    assert (result.exit_code, "Spread: " in result.output) == (0, True)
    assert all(model in result.output for model in MODELS)
    content = json.loads(run(cli, [*command, "--format", "json"], obj=[]).stdout)
    assert content["spread"] == Report.load(saved).energy_menu().spread > 100
    smaller = run(cli, [*command, "--queue", "0", "--bits", "8", "--format", "json"], obj=[])
    told = {each["name"]: each["energy_mj"] for each in json.loads(smaller.stdout)["estimates"]}
    assert told["step"] == pytest.approx(energy(report, "step", MemoryModel(bits=8)).energy_mj)
    at_rest = run(
        cli, [*command, "--latency", "1ms", "--hops", "1", "2", "--format", "json"], obj=[]
    )
    told = {each["name"]: each["energy_mj"] for each in json.loads(at_rest.stdout)["estimates"]}
    assert told["speck-at-rest"] == pytest.approx(0.42e-3)
    assert told["sana-fe-loihi"] > energy(report, "sana-fe-loihi").energy_mj
    (tmp_path / "no.json").write_text("{}")
    for bad, said in (
        (["energy", "--top", "3"], "--top needs --compare"),
        (["energy", "--bits", "8"], "--bits needs --compare"),
        (["energy", "--latency", "1ms"], "--latency needs --compare"),
        ([*command, "--latency", "1"], "'1' is not a time with its unit"),
        ([*command, "--hops", "1", "-2"], "not in the range"),
        ([*command, "--set", "T=1"], "--set does not apply to a saved report"),
        (["energy", str(saved), "--compare", str(saved)], "give one"),
        (["energy", "--compare", "nowhere"], "unknown model: 'nowhere'"),
        (["energy", "--compare", str(tmp_path / "no.json")], "no.json"),
    ):
        failed = run(cli, bad, obj=[])
        assert failed.exit_code, bad
        assert said in f"{failed.output}{failed.exception}"
    for name in ("markdown", "csv", "latex", "html"):
        assert report.energy_menu().to_format(name)


def test_command_counts_a_network(tmp_path):
    x = torch.ones(2, 1, 8, 8)
    np.save(tmp_path / "x.npy", x.numpy())
    command = ["energy", "--compare", "fsnn_digits", "--set", "T=2", "--format", "json"]
    result = CliRunner().invoke(cli, [*command, "--input", str(tmp_path / "x.npy")], obj=[])
    energies = {e["name"]: e["energy_mj"] for e in json.loads(result.stdout)["estimates"]}
    torch.manual_seed(0)
    network = create_model("fsnn_digits", T=2)
    calibrate(network, x)
    assert energies["horowitz45-fp32"] == get_model_syops(network, x).dc_mj
