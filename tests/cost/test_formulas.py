"""The formulas on the pages of the energy models, evaluated on counts made by hand."""

import ast
import math
import runpy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d

from syops import get_model_syops
from syops.cost.memory import MemoryModel
from syops.cost.menu.estimates import menu_models
from tests import ROOT

pytest.importorskip("spikingjelly.activation_based")
from spikingjelly.activation_based import functional, layer, neuron  # noqa: E402

from tests.support.chains import chain  # noqa: E402

T, N = 4, 2
MODELS = {model.name: model for model in menu_models()}
LAWS = ("lemaire-interpolated", "lemaire-regression", "lemaire-width")
FUNCTIONS = {"ceil": math.ceil, "floor": math.floor, "max": max, "interpolate": np.interp}


class Sums(ast.NodeTransformer):
    """Replace each ``Σ_name(term)`` by the sum of the term over what stands under that name."""

    def __init__(self, names):
        self.names = names

    def visit_Call(self, node):
        if not node.func.id.startswith("Σ_"):
            return self.generic_visit(node)
        term = ast.unparse(node.args[0])
        terms = (evaluate(term, self.names | each) for each in self.names[node.func.id])
        return ast.Constant(float(sum(terms)))


def parsed(text):
    return ast.parse(f"({text.replace('·', '*')})", mode="eval")


def evaluate(text, names):
    tree = ast.fix_missing_locations(Sums(names).visit(parsed(text)))
    return eval(compile(tree, text, "eval"), {"__builtins__": {}}, names)


def solve(model, symbols):
    """Return E in pJ, of the equations that are printed, the constants, and symbols by hand."""
    names = FUNCTIONS | dict(model.constants) | symbols
    for left, right in reversed(model.formula.items()):
        name, _, inside = left.rstrip(")").partition("(")
        arguments = inside.split(", ")
        names[name] = (
            (lambda *given, a=arguments, r=right: evaluate(r, names | dict(zip(a, given))))  # noqa: B905
            if inside
            else evaluate(right, names)
        )
    return names["E"]


def check(report, name, symbols, **setting):
    estimates = report.energy_menu(setting.pop("memory", None), **setting).estimates
    (told,) = (each for each in estimates if each.name == name)
    assert not told.refused
    assert told.energy_mj * 1e9 == pytest.approx(solve(MODELS[name], symbols), rel=1e-12), name


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_symbols_are_those_of_the_formula(model):
    arguments, used = set(), set()
    for left, right in model.formula.items():
        arguments |= {*left.rstrip(")").partition("(")[2].split(", ")}
        used |= {node.id for node in ast.walk(parsed(right)) if isinstance(node, ast.Name)}
    named = {symbol.partition("(")[0] for symbol in model.symbols}
    defined = {left.partition("(")[0] for left in model.formula}
    given = used - arguments - {*FUNCTIONS} - {*model.constants}
    assert given == named | defined - {"E"}, "each symbol is explained or an equation"
    assert {*model.constants} <= used


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_pages_show_the_formula(model):
    page = runpy.run_path(str(ROOT / "docs" / "catalogue.py"))["energy_pages"]()[model.name]
    for left, right in model.formula.items():
        assert f"{left} = {right.strip()}" in page.replace("\n    ", "\n")
    assert all(f"| `{symbol}` | {told} |" in page for symbol, told in model.symbols.items())
    assert model.gets_wrong[1:] in page


# A chain of two convolutions and a linear layer


def data(spiking):
    values = torch.rand(T, N, 2, 12, 12, generator=torch.Generator().manual_seed(1))
    return (values < 0.4).float() if spiking else values


def counted(network, x, size=N):
    functional.reset_net(network)
    return get_model_syops(network, list(x.split(size, 1)), batch_dim=1, time_steps=T)


def inputs_of(network, x):
    """Return what each of the three layers gets."""
    functional.reset_net(network)
    first = network[:2](x)
    return x, first, network[2:5](first)


def reached(spikes, out, in_each, side, **how):
    """Return the synapses that spikes reach: a convolution of ones counts them."""
    return int(conv2d(spikes.flatten(0, 1), torch.ones(out, in_each, side, side), **how).sum()) / N


def spikes_of(x):
    return int(x.sum()) / N


@pytest.mark.parametrize("bits", [None, 8, 64])
@pytest.mark.parametrize("queue", [1000, 3])
@pytest.mark.parametrize("spiking", [True, False])
def test_chain(spiking, queue, bits):
    network, memory = chain(neuron.IFNode, neuron.LIFNode), MemoryModel(queue=queue, bits=bits)
    report = counted(network, data(spiking))
    x, second, third = inputs_of(network, data(spiking))
    width = 4 if bits is None else bits // 8
    common = {"width": width, "message": 4, "queue": queue}
    first_results, second_results, third_results = 6 * 6 * 6, 4 * 6 * 6, 7
    first_macs = T * 6 * 6 * 6 * 2 * 9
    events = [
        reached(second, 4, 3, 5, padding=2, groups=2),
        spikes_of(third) * 7,
    ]
    if spiking:
        events.insert(0, reached(x, 6, 2, 3, padding=1, stride=2))

    # DC has ACs by firing rate, not by events.
    rates = [(second, T * 144 * 3 * 25), (third, T * 144 * 7)]
    rates += [(x, first_macs)] if spiking else []
    synops = sum(spikes_of(given) / (given.numel() / N) * dense for given, dense in rates)
    dc = synops * 0.9 + (0 if spiking else first_macs * 4.6)

    sizes = [(108, first_results), (300, second_results), (1008, third_results)]
    driven = [(second, 300, second_results), (third, 1008, third_results)]
    driven = [(x, 108, first_results), *driven] if spiking else driven
    dense = {
        "macs": first_macs,
        "reads": first_macs,
        "results": T * first_results,
        "weight_bytes": 108 * width,
        "input_bytes": 288 * width,
        "result_bytes": first_results * width,
    }
    accesses = common | {
        "DC": dc,
        "Σ_spiking": [
            {
                "events": event,
                "updates": event,
                "spikes": spikes_of(given),
                "weight_bytes": weights * width,
                "result_bytes": results * width,
            }
            for event, (given, weights, results) in zip(events, driven, strict=True)
        ],
        "Σ_dense": [] if spiking else [dense],
        "Σ_norm": [],
        "Σ_neuron": [
            {"states": T * neurons, "state_bytes": neurons * width}
            for neurons in (first_results, second_results)
        ],
    }
    for name in LAWS:
        check(report, name, accesses, memory=memory)

    biases = T * (first_results + third_results)
    macs = 0 if spiking else first_macs
    states = T * (first_results + second_results)
    stored = {"events": sum(events), "macs": macs, "norm_macs": 0, "biases": biases}
    check(report, "step", stored | {"states": states, "width": width}, memory=memory)

    shapes = [(6, 9, 4, 1, sizes[0], 6), (2, 25, 25, 1, sizes[1], 0), (7, 1, 1, 0, sizes[2], 7)]
    layers = [
        {
            "spikes": spikes_of(given),
            "outputs": outputs,
            "kernel": kernel,
            "reach": reach,
            "is_conv": is_conv,
            "biases": T * results if bias else 0,
            "weight_bytes": (weights + bias) * width,
            "result_bytes": results * width,
        }
        for given, (outputs, kernel, reach, is_conv, (weights, results), bias) in zip(
            (x, second, third), shapes, strict=True
        )
    ]
    dense |= {"inputs": T * 288, "addresses": 6 * 9, "biases": T * first_results}
    dense |= {"stored": 0, "stored_bytes": 0, "input_bytes": T * 288 * width}
    dense["weight_bytes"] = (108 + 6) * width
    nodes = [(second, first_results, 0), (third, second_results, 1)]
    terms = common | {
        "Σ_spiking": layers if spiking else layers[1:],
        "Σ_dense": [] if spiking else [dense],
        "Σ_neuron": [
            {
                "updates": T * neurons,
                "is_leaky": leaky,
                "sent": spikes_of(sent),
                "state_bytes": neurons * width,
            }
            for sent, neurons, leaky in nodes
        ],
    }
    check(report, "lemaire-2022", terms, memory=memory)


@pytest.mark.parametrize("hops", [None, (1.5, 2)])
def test_processors(hops):
    network = chain(neuron.IFNode, neuron.LIFNode)
    report = counted(network, data(True))
    x, second, third = inputs_of(network, data(True))
    events = [
        reached(x, 6, 2, 3, padding=1, stride=2),
        reached(second, 4, 3, 5, padding=2, groups=2),
        spikes_of(third) * 7,
    ]
    sent = spikes_of(second) + spikes_of(third)
    updates = T * (216 + 144)
    along, across = hops or (0, 0)
    loihi = {
        "conv_events": events[0] + events[1],
        "dense_events": events[2],
        "received": spikes_of(x) + sent,
        "updates": updates,
        "sent": sent,
        "hops_along": along,
        "hops_across": across,
    }
    check(report, "sana-fe-loihi", loihi, hops=hops)
    check(report, "spyx-honest", {"events": sum(events), "updates": updates, "sent": sent})
    dense = [(x, T * 216 * 18), (second, T * 144 * 75), (third, T * 144 * 7)]
    synops = sum(spikes_of(given) * N / given.numel() * count for given, count in dense)
    for name in MODELS:
        if name.startswith("kerasspiking"):
            check(report, name, {"synops": synops, "updates": updates})
    check(report, "speck-at-rest", {"latency_ms": 2.5}, latency=2.5)


def test_spikesim():
    network = nn.Sequential(layer.Conv2d(2, 70, 3), neuron.IFNode(), layer.Conv2d(70, 65, 1))
    functional.set_step_mode(network.eval(), "m")
    convs = [
        {"positions": 100 * T, "inputs": 2, "outputs": 70, "kernel": 9},
        {"positions": 100 * T, "inputs": 70, "outputs": 65, "kernel": 1},
    ]
    check(counted(network, data(True)), "spikesim", {"Σ_conv": convs})


def test_one_layer_alone():
    """It stores its result; what it gets at all time-steps comes in one call."""
    network = nn.Sequential(layer.Conv2d(2, 6, 3))
    functional.set_step_mode(network.eval(), "m")
    macs, results = T * 600 * 18, T * 600
    dense = {
        "inputs": T * 288,
        "results": results,
        "addresses": 54,
        "biases": results,
        "macs": macs,
        "reads": macs,
        "stored": results,
        "weight_bytes": 114 * 4,
        "input_bytes": T * 288 * 4,
        "stored_bytes": results * 4,
    }
    none = {"Σ_spiking": [], "Σ_neuron": [], "width": 4, "message": 4, "queue": 1000}
    check(counted(network, data(False)), "lemaire-2022", none | {"Σ_dense": [dense]})


class Norms(nn.Module):
    """Two spike tensors are multiplied, and the product is normalised and weighted."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
        self.spike, self.other = neuron.IFNode(), neuron.IFNode()
        self.norm = nn.BatchNorm1d(6)

    def forward(self, x):
        return self.norm(self.spike(self.left(x)) @ self.other(self.right(x)).T)


def test_norms_and_products_of_spikes():
    torch.manual_seed(0)
    network = Norms().eval()
    for parameter in network.parameters():
        parameter.data.abs_().mul_(3)
    x = (torch.rand(6, 6) < 0.5).float()
    report = get_model_syops(network, x)
    left, right = ((x @ one.weight.T >= 1).float() for one in (network.left, network.right))
    given, met = int(x.sum()), int((left @ right.T).sum())
    rate = int(left.sum()) / 36 * int(right.sum()) / 36
    assert 0 < met < 6 * 6 * 6
    fan_out = int(left.sum()) * 6
    spiking = [
        {
            "events": given * 6 / 6,
            "updates": given * 6 / 6,
            "spikes": given / 6,
            "weight_bytes": 144,
            "result_bytes": 24,
        }
    ] * 2
    product = {
        "events": fan_out / 6,
        "updates": met / 6,
        "spikes": int(left.sum() + right.sum()) / 6,
        "weight_bytes": 24,
        "result_bytes": 24,
    }
    symbols = {
        "DC": 0.9 * (2 * given + rate * 36) + 4.6 * 12,
        "Σ_spiking": [*spiking, product],
        "Σ_dense": [],
        "Σ_norm": [{"elements": 6, "weight_bytes": 48, "result_bytes": 24}],
        "Σ_neuron": [{"states": 6, "state_bytes": 24}] * 2,
        "width": 4,
        "message": 4,
        "queue": 1000,
    }
    for name in LAWS:
        check(report, name, symbols)
    stored = {"events": (2 * given * 6 + met) / 6, "macs": 0, "norm_macs": 12, "biases": 0}
    check(report, "step", stored | {"states": 12, "width": 4})


@pytest.mark.parametrize("spiking", [True, False])
def test_energies_do_not_depend_on_the_size_of_a_batch(spiking):
    network = chain(neuron.IFNode, neuron.LIFNode)
    told = [
        [each.energy_mj for each in counted(network, data(spiking), size).energy_menu().estimates]
        for size in (1, N)
    ]
    assert told[0] == pytest.approx(told[1])
