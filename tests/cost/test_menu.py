"""Models of energy: as spikingjelly computes them, and by hand."""

import json

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from syops import Report, get_model_bounds, get_model_syops, list_energy_models
from syops.cli import cli
from syops.cost import menu
from syops.errors import SyopsValueError
from tests import ROOT

activation_based = pytest.importorskip("spikingjelly.activation_based")
from spikingjelly.activation_based import functional, layer, neuron  # noqa: E402

counters = pytest.importorskip("spikingjelly.activation_based.op_counter")

T = 4
MODELS = {model.name: model for model in menu.menu_models()}


def chain(node):
    torch.manual_seed(0)
    network = nn.Sequential(
        layer.Conv2d(2, 6, 3, padding=1, stride=2),
        node(),
        layer.Conv2d(6, 4, 5, padding=2, groups=2, bias=False),
        node(),
        layer.Flatten(),
        layer.Linear(144, 7),
    )
    for parameter in network.parameters():
        parameter.data.abs_()
    functional.set_step_mode(network, "m")
    return network.eval()


def data(kind, *shape):
    values = torch.rand(T, 1, *shape, generator=torch.Generator().manual_seed(1))
    return (values < 0.4).float() if kind == "spikes" else values


def counted(network, x):
    functional.reset_net(network)
    return get_model_syops(network, x, batch_dim=1, time_steps=T)


def energy(report, name):
    return next(each for each in menu.estimates(report) if each.name == name)


@pytest.mark.parametrize("node", [neuron.IFNode, neuron.LIFNode])
@pytest.mark.parametrize("kind", ["spikes", "real"])
def test_lemaire_and_step_are_what_spikingjelly_computes(node, kind):
    network, x = chain(node), data(kind, 2, 12, 12)
    config = counters.LemaireEnergyConfig(strict=False)  # a Flatten is refused otherwise
    told = counters.estimate_lemaire_energy(network, x, config=config)
    report = counted(network, x)
    found, accesses = menu.lemaire_counts(report, 1000)
    assert found == {name: told.counts[name] for name in found}
    assert found["ac"] > 5000
    names = [name for name in told.counts if name.endswith("_bytes")]
    assert sum(read for read, _ in accesses) == sum(told.counts[name] for name in names)
    assert energy(report, "lemaire-2022").energy_mj == pytest.approx(told.total_pj * 1e-9)

    functional.reset_net(network)
    simple = counters.estimate_simple_energy(network, x).counts
    assert menu.step_bytes(report) == {
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


def test_laws_of_memory_by_hand(small):
    report, first, second = small
    counts = [  # accesses and the bytes of their buffer, of 4 bytes each
        (first * 8, 640), (2 * first, 4000), (2 * first * 8, 32),
        (2 * 8 * T, 32),
        (second * 3, 96), (2 * second, 4000), (2 * second * 3, 12),
    ]  # fmt: skip
    arithmetic = (first * 8 + second * 3) * 0.9
    laws = {
        "lemaire-interpolated": lambda size: 4 * 1.25 * size / 8192,
        "lemaire-regression": lambda size: 1.09e-5 * 8 * size + 13.2,
        "lemaire-width": lambda size: 10 / 2,
    }
    for name, law in laws.items():
        expected = arithmetic + sum(number * law(size) for number, size in counts)
        assert energy(report, name).energy_mj == pytest.approx(expected * 1e-9), name


def test_step_by_hand(small):
    report, first, second = small
    synops = first * 8 + second * 3
    stored = 4 * (synops + 8 * T) + 2 * 4 * 8 * T
    expected = synops * 0.9 + stored * 8 * 3.12
    assert energy(report, "step").energy_mj == pytest.approx(expected * 1e-9)


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
    with pytest.raises(SyopsValueError, match="what was measured"):
        get_model_bounds(nn.Linear(4, 3), (1, 4)).energy_menu()


def rows_of(heading):
    page = (ROOT / "docs" / "energy_models.md").read_text()
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
    assert MODELS.keys() == menu.MODELS.keys()
    profiles = [
        [m.name, f"{m.e_ac_pj:g}", "none" if m.e_mac_pj is None else f"{m.e_mac_pj:g}", m.source]
        for m in list_energy_models()
    ]
    assert all(row[-1] for row in profiles)
    assert rows_of("Profiles: a price for each operation") == profiles
    assert rows_of("Other models") == [
        [m.name, m.fidelity, m.scope, m.refuses, m.source] for m in MODELS.values()
    ]
    assert rows_of("Their constants") == [
        [m.name, name, f"{value:g}", m.sources[name]]
        for m in MODELS.values()
        for name, value in m.constants.items()
    ]


def test_command(small, tmp_path):
    report, _, _ = small
    saved, run = tmp_path / "net.json", CliRunner().invoke
    report.save(saved)
    result = run(cli, ["energy", "--compare", str(saved)], obj=[])
    assert (result.exit_code, "Spread: " in result.output) == (0, True)
    assert all(model in result.output for model in MODELS)
    content = json.loads(
        run(cli, ["energy", "--compare", str(saved), "--format", "json"], obj=[]).stdout
    )
    assert content["spread"] == Report.load(saved).energy_menu().spread > 100
    for bad in (["energy", "--top", "3"], ["energy", str(saved), "--compare", str(saved)]):
        assert run(cli, bad, obj=[]).exit_code == 2
    (tmp_path / "no.json").write_text("{}")
    assert run(cli, ["energy", "--compare", str(tmp_path / "no.json")], obj=[]).exit_code != 0
    for name in ("markdown", "csv", "latex", "html"):
        assert report.energy_menu().to_format(name)
