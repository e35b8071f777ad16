"""A network against the limits of chips, by hand."""

import ast
import importlib.util
import json
import math
from itertools import permutations
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from syops import Report, get_chip, get_model_bounds, get_model_syops, list_chips
from syops.cli import cli
from syops.cost.chips import LIMITS, Chip
from syops.cost.fit import kernel_memory, neuron_memory
from syops.errors import SyopsFileError, SyopsLookupError, SyopsTypeError, SyopsValueError
from tests import ROOT


class Spike(nn.Module):
    def forward(self, x):
        return (x > 0).to(x.dtype)


def bounds(model, shape, **how):
    return get_model_bounds(model, shape, **{"input_signal": "binary", "time_steps": 1} | how)


def perceptron(*sizes):
    pairs = zip(sizes, sizes[1:], strict=False)
    layers = [part for pair in pairs for part in (nn.Linear(*pair), Spike())]
    return nn.Sequential(*layers)


def speck(*cores):
    limits = {"kernel_memory": [k for k, _ in cores], "neuron_memory": [n for _, n in cores]}
    return Chip("small", "", False, limits, dict.fromkeys(limits, "here"))


def test_network_that_fits_and_one_that_does_not():
    fit = bounds(perceptron(300, 2000, 10), (1, 300)).fit("loihi", weight_bits=8)
    first, second = fit.rows
    assert (first.neurons, first.weights, first.synapses, first.fan_in) == (
        2000,
        600000,
        600000,
        300,
    )
    assert first.cores == 5  # 600000 weights of 8 bits in memories of 2^20; 2 for 2000 neurons
    assert (second.cores, fit.cores, fit.fits) == (1, 5, True)  # 620000 weights in all
    assert first.synops_per_core == 120000
    wide = bounds(perceptron(5000, 10), (1, 5000)).fit("loihi", weight_bits=8)
    assert [(e.limit, e.needed, e.allowed) for e in wide.rows[0].exceeds] == [
        ("fan_in", 5000, 4096)
    ]
    assert wide.fits is False


def test_layers_share_cores_where_the_chip_lets_them():
    report = bounds(perceptron(10, 100, 100, 100), (1, 10))
    assert report.fit("loihi", weight_bits=8).cores == 1
    assert report.fit("truenorth").cores == 2  # 300 neurons
    assert report.fit("speck", weight_bits=8).cores == 3


def test_weights_have_the_bits_of_their_dtype_unless_told():
    report = bounds(perceptron(10, 10), (1, 10))
    assert [e.limit for e in report.fit("loihi").rows[0].exceeds] == ["weight_bits"]
    assert report.fit("loihi", weight_bits=8).fits


def test_chip_without_the_limit_asked_for():
    report = bounds(perceptron(10, 10), (1, 10))
    with pytest.raises(SyopsLookupError, match="loihi2: no source here states fan_in"):
        report.fit("loihi2", limits=["fan_in"])
    with pytest.raises(SyopsLookupError, match="did you mean 'fan_in'"):
        report.fit("loihi2", limits=["fan_inn"])
    assert report.fit("loihi", limits=["fan_in"]).fits
    assert report.fit("loihi", limits=["fan_in"]).cores is None


def test_signals_that_a_chip_does_not_take_and_that_are_not_known():
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    fit = bounds(network, (1, 4)).fit("loihi2")
    assert [[e.limit for e in row.exceeds] for row in fit.rows] == [[], ["signals"]]
    open_ = bounds(nn.Linear(4, 4), (1, 4), input_signal="auto").fit("loihi2")
    assert (open_.fits, open_.rows[0].unknown) == (None, ("signals",))


@pytest.mark.parametrize("fused", [False, True])
def test_products_of_two_activations_have_no_weights_to_store(fused):
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.spike = nn.Linear(8, 8, bias=False), Spike()

        def forward(self, x):
            x = self.spike(self.embed(x))
            if fused:
                return nn.functional.scaled_dot_product_attention(x, x, x)
            return x @ x.transpose(-1, -2) @ x

    report = bounds(Attention(), (2, 5, 8))
    fit = report.fit("loihi", weight_bits=8)
    assert [row.weights for row in fit.rows] == [64, 0, 0]
    assert fit.rows[0].unknown == ()
    assert set(fit.rows[1].unknown) == {"weight_bits", "fan_in", "weight_memory_per_core"}
    assert fit.fits is None
    assert any("A product of two activations" in note for note in fit.notes)
    assert report.fit("loihi", ["neurons_per_core", "cores"]).fits
    assert [excess.limit for excess in report.fit("speck").rows[1].exceeds][:1] == ["operators"]


def test_busiest_core_does_what_spikes_reach_at_one_time_step():
    x = (torch.rand(3, 2, 300) < 0.2).float()  # [T, N, C]
    report = get_model_syops(
        nn.Linear(300, 2000), x, batch_dim=1, time_steps=3, input_signal="binary"
    )
    row = report.fit("loihi", weight_bits=8).rows[0]
    assert row.synops == pytest.approx(float(x.sum()) * 2000 / 3 / 2)
    assert row.synops_per_core == pytest.approx(row.synops / 5)
    assert row.neurons == 2000


def test_network_is_placed_on_cores_of_different_sizes_if_any_order_fits():
    network = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, bias=False), Spike(), nn.Conv2d(4, 8, 3, bias=False), Spike()),
        nn.Conv2d(8, 2, 1, bias=False),
    )
    report = bounds(network, (1, 1, 10, 10))
    needed = [(64, 256), (512, 512), (16, 128)]  # kernels, neurons: powers of two
    for cores in permutations([(64, 512), (512, 512), (16, 256)]):
        assert report.fit(speck(*cores)).fits
    fit = report.fit(speck((64, 512), (64, 256), (512, 512)))
    assert fit.fits
    assert not report.fit(speck((512, 512), (63, 512), (63, 512))).fits
    assert [row.cores for row in fit.rows] == [1, 1, 1]
    assert needed[0] == (kernel_memory((4, 1, 3, 3, 8, 8)), neuron_memory((4, 1, 3, 3, 8, 8)))


@pytest.mark.parametrize(
    ("conv", "size", "kernel", "neurons"),
    [
        (nn.Conv2d(2, 5, 3, padding=1), (2, 12, 9), 2 * 2 ** (4 + 3), 5 * 2 ** (4 + 4)),
        (nn.Conv2d(3, 16, 5, stride=2), (3, 20, 17), 3 * 2 ** (5 + 4), 16 * 2 ** (3 + 3)),
        (nn.Conv2d(1, 1, 1), (1, 1, 1), 1, 1),
    ],
)
def test_memories_of_speck_by_hand(conv, size, kernel, neurons):
    row = bounds(conv, (1, *size)).rows[0]
    features, channels, *sizes = row.weight_shape
    shape = features, channels, *sizes, *row.result_shape[1:]
    assert (kernel_memory(shape), neuron_memory(shape)) == (kernel, neurons)


def test_memories_of_the_cores_of_speck_are_those_of_sinabs():
    """Read, not imported: the import installs packages."""
    sinabs = importlib.util.find_spec("sinabs")
    if sinabs is None:
        pytest.skip("sinabs is not installed")
    path = Path(sinabs.origin).parent / "backend" / "dynapcnn" / "chips" / "dynapcnn.py"
    sizes = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List):
            entries = [ast.unparse(entry) for entry in node.value.elts]
            sizes[ast.unparse(node.targets[0])] = [
                math.prod(map(int, e.split("*"))) for e in entries if e[0].isdigit()
            ]
    limits = get_chip("speck").limits
    assert limits["kernel_memory"] == sizes["weight_memory_size"]
    assert limits["neuron_memory"] == sizes["neurons_memory_size"]


def test_every_limit_has_a_source_and_the_docs_table_is_the_file():
    page = (ROOT / "docs" / "chips.md").read_text()
    rows = [
        tuple(cell.strip() for cell in line.strip("|\n").split("|"))
        for line in page.splitlines()
        if line.startswith("| `")
    ]
    expected = [
        (f"`{chip.name}`", f"`{name}`", _in_words(limit), chip.sources[name])
        for chip in list_chips()
        for name, limit in chip.limits.items()
    ]
    assert rows == expected
    assert all(name in LIMITS for chip in list_chips() for name in chip.limits)


def _in_words(limit):
    return ", ".join(map(str, limit)) if isinstance(limit, list) else str(limit)


GOOD = '[a]\nchip = "A"\nshares_cores = true\n[a.limits]\nfan_in = 4\n[a.sources]\nfan_in = "me"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no chip"),
        ("[", "is not TOML"),
        ("a = 1", "stands outside of a chip"),
        (GOOD.replace("4", "0"), "fan_in must be from 1"),
        (GOOD.replace("4", "1.5"), "fan_in must be an integer"),
        (GOOD.replace("= 4", "= true"), "fan_in must be an integer"),
        (GOOD.replace('"me"', '""'), "fan_in has no source"),
        (GOOD.replace("fan_in = 4", "fanin = 4"), "did you mean 'fan_in'"),
        (GOOD.replace("true", '"yes"'), "shares_cores must be a bool"),
        (GOOD.replace('chip = "A"\n', ""), "chip is missing"),
        (GOOD + '[b]\nchip = "B"', "shares_cores is missing"),
        (
            GOOD.replace("fan_in = 4", 'fan_in = 4\nsignals = ["spiky"]'),
            "signals must be of binary",
        ),
        (GOOD.replace("fan_in = 4", "fan_in = 4\noperators = []"), "operators must be a list"),
    ],
)
def test_bad_files_say_what_is_wrong(tmp_path, text, words):
    path = tmp_path / "chips.toml"
    path.write_text(text)
    with pytest.raises(SyopsValueError, match=words):
        get_chip(path)
    result = CliRunner().invoke(cli, ["fit", "fsnn18", "--chip", str(path)])
    assert isinstance(result.exception, SyopsValueError)


def test_chips_in_files(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD + GOOD.replace("[a", "[b"))
    assert get_chip(f"{path}:b").limits == {"fan_in": 4}
    with pytest.raises(SyopsLookupError, match="holds 2 chips"):
        get_chip(path)
    with pytest.raises(SyopsLookupError, match="unknown chip 'c'"):
        get_chip(f"{path}:c")
    with pytest.raises(SyopsLookupError, match="did you mean 'loihi'"):
        get_chip("lohi")
    with pytest.raises(SyopsFileError):
        get_chip("nowhere.toml")


def test_bad_arguments():
    report = bounds(perceptron(10, 10), (1, 10))
    with pytest.raises(SyopsTypeError, match="limits must be a list of names"):
        report.fit("loihi", limits="fan_in")
    for bits in (0, 65, True, 8.0):
        with pytest.raises(SyopsValueError, match="weight_bits must be from 1 to 64"):
            report.fit("loihi", weight_bits=bits)


def test_command_and_every_format(tmp_path):
    saved = tmp_path / "report.json"
    bounds(perceptron(300, 2000, 10), (1, 300)).save(saved)
    run = CliRunner().invoke
    fits = run(cli, ["fit", str(saved), "--chip", "loihi", "--weight-bits", "8"], obj=[])
    assert (fits.exit_code, "Fits loihi" in fits.output) == (0, True)
    assert "At least 5 cores of 128" in fits.output
    not_ = run(cli, ["fit", str(saved), "--chip", "truenorth", "--format", "json"], obj=[])
    content = json.loads(not_.output[not_.output.index("{") :])
    assert (not_.exit_code, content["fits"], content["rows"][0]["exceeds"][0]["limit"]) == (
        1,
        False,
        "fan_in",
    )
    fit = Report.load(saved).fit("speck")
    for name in ("markdown", "csv", "latex", "html"):
        assert fit.to_format(name)
    assert run(cli, ["fit", str(saved), "--chip", "loihi", "--set", "T=4"], obj=[]).exit_code != 0


def test_shapes_survive_saving_and_merging_with_other_shapes():
    conv = nn.Conv2d(2, 3, 3)
    one, two = (get_model_syops(conv, torch.rand(1, 2, size, size)) for size in (8, 9))
    assert one.rows[0].result_shape == (3, 6, 6)
    assert Report.from_json(one.to_json()).rows[0].result_shape == (3, 6, 6)
    assert one.merge(two).rows[0].result_shape == ()
    assert one.merge(two).rows[0].weight_shape == (3, 2, 3, 3)
    assert one.merge(two).fit("speck").rows[0].unknown
