"""Energy models against the numbers of Horowitz (2014) and of SENECA's Table 3, files of one's own,
prices by layer, and what is not an energy model."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn

from syops import Report, get_model_bounds, get_model_syops
from syops.cost.energy import EnergyMap, EnergyModel
from syops.cost.profiles import get_energy_model, list_energy_models, load_energy_models
from syops.errors import SyopsFileError, SyopsLookupError, SyopsTypeError, SyopsValueError
from tests import ROOT

# Additions and multiplications at 45 nm and 0.9 V in pJ: Horowitz, ISSCC 2014, Fig. 1.1.9.
HOROWITZ = {
    "horowitz45-fp32": (0.9, 3.7),
    "horowitz45-fp16": (0.4, 1.1),
    "horowitz45-int8": (0.03, 0.2),
    "horowitz45-int32": (0.1, 3.1),
}

# Energy per synaptic operation in pJ: SENECA, Front. Neurosci. 17:1187252 (2023), Table 3.
PROCESSORS = {
    "odin": 12.7,
    "reckon": 5.3,
    "ubrain": 26,
    "truenorth": 2.5,
    "tianjic": 1.54,
    "neuronflow": 20,
    "loihi": 23.6,
    "spinnaker": 45,
    "spinnaker2": 10,
    "seneca": 2.8,
}
SPIKE_ONLY = {"odin", "reckon", "ubrain", "truenorth", "loihi"}


@pytest.mark.parametrize(("name", "costs"), HOROWITZ.items())
def test_an_ac_is_an_addition_and_a_mac_a_multiplication_more(name, costs):
    addition, multiplication = costs
    model = get_energy_model(name)
    assert model.e_ac_pj == addition
    assert model.e_mac_pj == pytest.approx(addition + multiplication, rel=1e-12)
    assert "Horowitz" in model.source
    assert "45 nm" in model.technology


@pytest.mark.parametrize(("name", "cost"), PROCESSORS.items())
def test_processors_by_synaptic_operation(name, cost):
    model = get_energy_model(name)
    assert (model.e_ac_pj, model.e_mac_pj) == (cost, None)
    assert model.spike_only is (name in SPIKE_ONLY)
    assert "Table 3 of G. Tang et al., SENECA" in model.source


def test_profiles_are_listed_the_default_first_with_what_a_reader_must_know():
    models = list_energy_models()
    assert [model.name for model in models] == [*HOROWITZ, *PROCESSORS]
    assert all(model.source and model.technology and model.includes for model in models)


def test_energy_is_the_sum_of_all_kinds_of_operations():
    model = EnergyModel("mine", e_ac_pj=0.5, e_mac_pj=4, e_spike_pj=0.1, e_neuron_pj=2)
    assert model.energy_pj(10, 3) == 17
    assert model.energy_pj(Fraction(1, 3), 0) == pytest.approx(1 / 6)
    assert model.price_pj("conv", 10, 3, spikes=7) == Fraction("17.7")
    assert model.price_pj("neuron", 10, 3) == 11


def test_prices_are_exact():
    """0.9 pJ is nine tenths, not the binary number nearest to it."""
    model = get_energy_model("horowitz45-fp32")
    assert model.price_pj("conv", 10**18 + 1, 0) == Fraction(9, 10) * (10**18 + 1)


def test_a_model_of_ones_own_is_returned_as_it_is():
    model = EnergyModel("mine", 1, 2)
    assert get_energy_model(model) is model
    with pytest.raises(FrozenInstanceError):
        model.e_ac_pj = 3


def test_costs_are_plain_floats_whatever_they_came_as():
    model = EnergyModel("mine", np.float32(0.5), Fraction(1, 2))
    assert (model.e_ac_pj, model.e_mac_pj) == (0.5, 0.5)
    assert {type(model.e_ac_pj), type(model.e_mac_pj)} == {float}


@pytest.mark.parametrize(
    ("text", "picojoules"),
    [
        ("0.9 pJ", 0.9),
        ("23.6nJ", 23_600),
        ("2.8e-12 J", 2.8),
        ("1E3 fJ", 1),
        (" 5 mJ ", 5e9),
        ("3 uJ", 3e6),
        ("3 \u00b5J", 3e6),
        ("3 \u03bcJ", 3e6),
    ],
)
def test_a_cost_with_a_unit(text, picojoules):
    assert EnergyModel("mine", text, 1).e_ac_pj == picojoules


@pytest.mark.parametrize("cost", ["0.9", "5 pW", "pJ", "", "1 2 pJ", "0,9 pJ", "1e-12 j"])
def test_a_cost_whose_unit_is_no_energy(cost):
    with pytest.raises(
        SyopsValueError, match=r"'mine': e_ac_pj must be .* unit of energy \(fJ, pJ"
    ):
        EnergyModel("mine", cost, 1)


@pytest.mark.parametrize("cost", [-0.1, float("nan"), float("inf"), "-1 pJ", "nan pJ", "inf J"])
@pytest.mark.parametrize("field", ["e_ac_pj", "e_mac_pj", "e_neuron_pj", "e_spike_pj"])
def test_a_cost_is_finite_and_not_negative(field, cost):
    costs = {"e_ac_pj": 1, "e_mac_pj": 1, field: cost}
    with pytest.raises(SyopsValueError, match=f"'mine': {field}"):
        EnergyModel("mine", **costs)


@pytest.mark.parametrize("cost", [None, True, 1j, [1]])
def test_a_cost_is_a_number(cost):
    with pytest.raises(SyopsTypeError, match="e_ac_pj"):
        EnergyModel("mine", cost, 0.9)


def test_the_other_fields_have_types_too():
    with pytest.raises(SyopsTypeError, match="'mine': spike_only must be true or false"):
        EnergyModel("mine", 1, 2, spike_only="yes")
    with pytest.raises(SyopsTypeError, match="'mine': source must be text"):
        EnergyModel("mine", 1, 2, source=3)


def test_an_unknown_profile_is_named_with_a_suggestion_and_all_known_ones():
    with pytest.raises(SyopsLookupError, match="'horowitz45-fp23'.*did you mean.*-fp32") as error:
        get_energy_model("horowitz45-fp23")
    assert all(name in str(error.value) for name in HOROWITZ)


@pytest.mark.parametrize("energy", [4.6, None, ["loihi"]])
def test_wrong_type_of_energy_model(energy):
    with pytest.raises(SyopsTypeError, match="energy"):
        get_energy_model(energy)


# Files


MINE = """\
[edge]
e_ac_pj = "0.2 pJ"
e_mac_pj = 1.5
source = "measured"

[chip]
e_ac_pj = "1 nJ"
spike_only = true

[hybrid]
e_ac_pj = 3
e_mac_pj = "none"
e_spike_pj = 0.25
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(MINE)
    return path


def test_energy_profiles_from_a_file(mine):
    assert get_energy_model(f"{mine}:edge") == EnergyModel("edge", 0.2, 1.5, source="measured")
    assert get_energy_model(f"{mine}:chip") == EnergyModel("chip", 1000, None, spike_only=True)
    assert get_energy_model(f"{mine}:hybrid") == EnergyModel("hybrid", 3, None, e_spike_pj=0.25)
    assert list(load_energy_models(mine)) == ["edge", "chip", "hybrid"]
    mine.write_text(MINE.partition("[chip]")[0])
    assert get_energy_model(mine) == get_energy_model(str(mine)) == get_energy_model(f"{mine}:edge")


def test_which_of_several_profiles_is_meant(mine):
    with pytest.raises(
        SyopsLookupError, match=r"holds 3 energy profiles; say which.*mine.toml:edge"
    ):
        get_energy_model(mine)
    with pytest.raises(SyopsLookupError, match=r"'chop'; did you mean 'chip'\? profiles in .*edge"):
        get_energy_model(f"{mine}:chop")


def test_energy_file_of_the_docs(tmp_path):
    page = (ROOT / "docs" / "energy.md").read_text("utf-8")
    path = tmp_path / "my.toml"
    path.write_text(page.partition("```toml\n")[2].partition("```")[0])
    chip = get_energy_model(path)
    assert (chip.e_ac_pj, chip.e_mac_pj, chip.e_neuron_pj) == (23.6, None, 81)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("[a]\ne_mac_pj = 1", SyopsValueError, r"\[a\]: e_ac_pj is missing"),
        ("[a]\ne_ac_pj = 1", SyopsValueError, r"\[a\]: e_mac_pj is missing; .*'none'"),
        ("[a]\ne_ac_pj = -1\ne_mac_pj = 1", SyopsValueError, "'a': e_ac_pj must be finite"),
        ("[a]\ne_ac_pj = nan\ne_mac_pj = 1", SyopsValueError, "'a': e_ac_pj must be finite"),
        ("[a]\ne_ac_pj = 1\ne_mac_pj = inf", SyopsValueError, "'a': e_mac_pj must be finite"),
        ("[a]\ne_ac_pj = 1\ne_mac_pj = '1 W'", SyopsValueError, "'a': e_mac_pj must .*energy"),
        ("[a]\ne_ac_pj = 1\ne_mac_pj = []", SyopsTypeError, "'a': e_mac_pj must be a number"),
        ("[a]\ne_ac_pj = 1\ne_mac = 1", SyopsValueError, "key 'e_mac'; did you mean 'e_mac_pj'"),
        ("[a]\nname = 'b'", SyopsValueError, "unknown key 'name'"),
        ("e_ac_pj = 1", SyopsValueError, r"'e_ac_pj' stands outside .* such as \[my-chip\]"),
        ("", SyopsValueError, "holds no energy profile"),
        ("[a", SyopsValueError, "is not TOML"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path, text, error, words):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(error, match=words) as raised:
        get_energy_model(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(SyopsFileError, match=r"cannot read .*missing.toml"):
        get_energy_model(str(tmp_path / "missing.toml"))
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SyopsFileError, match="not text in UTF-8"):
        get_energy_model(tmp_path / "bytes.toml")


# A network whose counts are known by hand: per sample, T = 1, 3 of 4 inputs are spikes.


class Net(nn.Module):
    """Stem 4 -> 6 on analog values, spikes everywhere, 6 -> 5 twice, an analog classifier."""

    T = 1

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(4, 6)
        self.sn = neuron.IFNode(v_threshold=-1e9)
        self.hidden = nn.Linear(6, 5)
        self.small = nn.Linear(6, 5).to(torch.float16)
        self.fc = nn.Linear(5, 2)

    def forward(self, x):
        spikes = self.sn(self.stem(x))
        return self.fc(self.hidden(spikes) + self.small(spikes.to(torch.float16)))


X = torch.randn(2, 4)
AC = {"hidden": 30, "small": 30}
MAC = {"stem": 24, "fc": 10}


@pytest.fixture(scope="module")
def net() -> Report:
    return get_model_syops(Net(), X)


def energies(report: Report) -> dict[str, float]:
    """Energy of each counted row in pJ."""
    return {layer.path: layer.dc_mj * 1e9 for layer in report.layers if layer.counted}


def test_prices_by_layer_and_dtype(net):
    prices = {
        "stem": EnergyModel("a", 100, 7),
        "float16": EnergyModel("b", 2, 100),
        "f*": EnergyModel("c", 100, 3),
        "*": EnergyModel("d", 5, 100),
    }
    report = get_model_syops(Net(), X, energy=prices)
    expected = {"stem": 7 * 24, "hidden": 5 * 30, "small": 2 * 30, "fc": 3 * 10}
    assert energies(report) == pytest.approx(expected)
    assert report.dc_mj == pytest.approx(sum(expected.values()) / 1e9)
    low, high = report.ec_mj
    assert (low, high) == pytest.approx((198e-9, (198 + 210) * 1e-9))
    assert sum(layer.share for layer in report.layers) == pytest.approx(1)
    ann = {"stem": 7 * 24, "hidden": 100 * 30, "small": 100 * 30, "fc": 3 * 10}
    assert energies(report.ann) == pytest.approx(ann)
    assert report.energy_ratio == pytest.approx(sum(expected.values()) / sum(ann.values()))
    assert report.break_even_rate == pytest.approx((sum(ann.values()) - 198) / 210)
    assert report.select("linear").dc_mj == report.dc_mj
    assert report.merge(report).dc_mj == report.dc_mj
    assert Report.from_json(report.to_json()) == report
    assert report == net.priced(prices)
    assert get_model_bounds(Net(), X, energy=prices).ec_mj == report.ec_mj
    assert net.priced({"*": "loihi"}).dc_mj == net.priced("loihi").dc_mj


def test_the_first_pattern_that_matches_counts():
    rules = {"layer1.*": EnergyModel("a", 1, 1), "*conv": EnergyModel("b", 2, 2)}
    for order in permutations(rules):
        energy = get_energy_model({pattern: rules[pattern] for pattern in order})
        assert isinstance(energy, EnergyMap)
        assert energy.model_for("layer1.conv", "float32") is rules[order[0]]
    assert energy.model_for("layer2.conv", "float32").name == "b"
    assert energy.model_for("layer1.fc", "float32").name == "a"


@pytest.mark.parametrize(
    ("energy", "words"),
    [
        ({"stam": "loihi", "*": "loihi"}, "'stam' matches no layer.*did you mean 'stem'"),
        ({"float61": "loihi", "*": "loihi"}, "'float61' matches no layer and no dtype"),
        ({"stem": "loihi", "fc": "loihi"}, "no pattern matches .*'\\*'"),
        ({"*": "loihi", "stem": "seneca"}, "pattern 'stem' is never used: earlier patterns"),
        ({}, "at least one"),
    ],
)
def test_unused_patterns_are_refused(net, energy, words):
    for price in (net.priced, lambda energy: get_model_syops(Net(), X, energy=energy)):
        with pytest.raises(SyopsValueError, match=words):
            price(energy)


def test_pattern_matches_submodules():
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 2)))
    with pytest.raises(SyopsValueError, match=r"'0' matches no layer.*did you mean '0\.\*'"):
        get_model_syops(nn.ModuleDict({"0": model})["0"], X).priced({"0": "loihi", "*": "loihi"})


def test_a_bad_pattern_is_found_before_the_count():
    class Never(nn.Linear):
        def forward(self, x):
            raise AssertionError("counted")

    with pytest.raises(SyopsValueError, match="'stem' matches no layer"):
        get_model_syops(Never(4, 2), X, energy={"stem": "loihi", "*": "loihi"})


@pytest.mark.parametrize("energy", [{1: "loihi"}, {"*": {"*": "loihi"}}, {"*": 3}])
def test_dict_of_profiles(net, energy):
    with pytest.raises(SyopsTypeError, match="energy"):
        net.priced(energy)


# What has no price


def test_a_spike_only_chip_names_the_layers_that_it_cannot_run(net):
    report = net.priced("loihi")
    assert report.dc_mj == pytest.approx(60 * 23.6e-9)
    assert report.ec_mj == pytest.approx((0, 60 * 23.6e-9))
    assert [layer.dc_mj for layer in report.layers if layer.mac] == [None] * 3
    assert report.energy_ratio is report.break_even_rate is None
    (ends,) = map(str, report.warnings)
    assert "loihi" in ends
    assert "stem, fc (MACs not priced)" in ends
    assert report.to_frame(totals=True).dc_mj.isna().sum() == 3
    assert net.warnings == ()


def test_layers_between_are_said_apart_from_the_first_and_the_last():
    class Mixed(Net):
        def forward(self, x):
            a = self.hidden(self.stem(x))
            return self.fc(a) + self.fc(self.small(self.sn(self.stem(x)).half()).float())

    *_, offending, ends = map(
        str, get_model_bounds(Mixed(), X, energy="truenorth", input_signal="analog").warnings
    )
    assert "cannot run this network as it is: more than spikes reaches hidden" in offending
    assert "stem" not in offending
    assert "elsewhere: stem" in ends


def test_graded_spikes_are_no_spikes_for_a_spike_only_chip():
    """{0, 1, 2} counted as ACs has a price, but the chip takes no such spikes."""

    class Add(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.conv, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
            self.a, self.b = neuron.IFNode(), neuron.IFNode()

        def forward(self, x):
            x = self.first(x)
            return self.last(self.a(self.conv(self.a(x) + self.b(x))))

    report = get_model_bounds(Add(), X, energy="loihi", graded="ac")
    assert "reaches conv" in report.warnings[0].text
    (unpriced,) = report.priced("seneca").warnings
    assert str(unpriced) == "seneca has no price for a MAC; not priced: first"
    both = report.priced(EnergyModel("both", 1, 2, spike_only=True))
    assert both.warnings[0].text.endswith("conv")


def test_spikes_and_neuron_updates_have_prices_of_their_own(net):
    """Every one of 6 neurons fires, into two layers; at rate 0 nothing is routed."""
    report = net.priced(EnergyModel("routed", 1, 10, e_spike_pj=0.5, e_neuron_pj=3))
    assert (report.totals.spikes, report.totals.max_spikes) == (2 * 12, 2 * 12)
    assert report.dc_mj == pytest.approx((60 + 340 + 0.5 * 12) / 1e9)
    assert report.ec_mj == pytest.approx((340e-9, (60 + 340 + 6) / 1e9))
    neurons = report.select("neuron")
    assert neurons.dc_mj == pytest.approx(6 * 3e-9)
    assert neurons.ec_mj[0] == neurons.ec_mj[1] == neurons.dc_mj


def test_spike_independent_energy_is_in_both_ends_of_ec():
    """The residual add costs its 5 ACs at any firing rate."""
    report = get_model_syops(Net(), X).select(["add", "linear"])
    assert report.ec_mj == pytest.approx(((4.6 * 34 + 0.9 * 5) / 1e9, report.dc_mj))


def test_headline_figures_are_exact_sums_of_rows(net):
    """Prices that no binary number holds, added up over 3 rows of 1/3 sample."""
    thirds = replace(net, samples=3, energy=EnergyModel("odd", 0.1, 0.7))
    assert thirds.dc_mj == float(Fraction(2 * (60 + 7 * 34), 3 * 10**10))
