"""The architectures cost what the paper prints in Table 2, and full-spike networks are so."""

from __future__ import annotations

import re

import pytest
import torch

from syops import get_model_syops
from syops.models import create_model
from tests.support.networks import SMALLEST, bundled

G = 1e9
E_MAC, E_AC = 4.6e-12, 0.9e-12  # joules, 45 nm

# O_mac as worked out from the architectures and as printed; dense AC, in G per 224² image.
TABLE_2 = {
    "fsnn18": (0.1185, 0.12, 6.782),
    "fsnn34": (0.1185, 0.12, 14.181),
    "fsnn50": (0.1201, 0.12, 15.877),
    "fsnn101": (0.1201, 0.12, 30.725),
    "dsnn18": (0.1993, 0.20, 6.782),
    "dsnn34": (0.1993, 0.20, 14.181),
    "dsnn50": (1.368, 1.37, 16.082),
    "dsnn101": (1.368, 1.37, 30.931),
    "sew_resnet18": (2.754, 2.75, 4.162),
    "sew_resnet34": (6.463, 6.46, 7.861),
    "sew_resnet50": (5.137, 5.14, 10.944),
    "sew_resnet101": (8.671, 8.67, 22.299),
}
EC_WIDTH_PRINTED = {  # EC_max - EC_min in mJ, rounded on the way, of those whose own width it is
    "sew_resnet18": 3.75, "sew_resnet34": 7.06, "sew_resnet50": 9.86, "sew_resnet101": 20.09,
}  # fmt: skip


@pytest.mark.parametrize("name", bundled(TABLE_2, quick=SMALLEST))
def test_operations_of_the_imagenet_networks_are_those_of_table_2(name):
    o_mac, printed, dense_ac = TABLE_2[name]
    fold_bn = not name.startswith("sew")  # the paper counts BN for SEW only
    torch.manual_seed(0)
    report = get_model_syops(create_model(name), torch.randn(1, 3, 224, 224), fold_bn=fold_bn)
    assert report.mac / G == pytest.approx(o_mac, abs=0.001)
    assert round(report.mac / G, 2) == printed
    assert report.dense_ac / G == pytest.approx(dense_ac, abs=0.001)
    lowest, highest = report.ec_mj
    assert lowest == pytest.approx(E_MAC * report.mac * 1e3, rel=1e-12)
    assert highest == pytest.approx(lowest + E_AC * report.dense_ac * 1e3, rel=1e-12)
    if name in EC_WIDTH_PRINTED:
        assert highest - lowest == pytest.approx(EC_WIDTH_PRINTED[name], rel=0.003)


def hidden_signals(report) -> dict[str, str]:
    """The signal of every synaptic layer after the stem and before the classifier.

    The classifier takes a mean of spikes.
    """
    synaptic = {row.path: row.signal for row in report.layers if row.kind in ("conv", "linear")}
    assert synaptic.pop("conv1") == "analog"
    assert synaptic.pop("fc") == "graded"
    return synaptic


@pytest.mark.parametrize("name", bundled(["fsnn18", "fsnn34", "fsnn50", "fsnn101"], quick=SMALLEST))
@pytest.mark.parametrize("g", ["IAND", "OR", "XOR", "AND"])
def test_only_spikes_reach_the_synapses_of_a_full_spike_network(g, name):
    torch.manual_seed(0)
    report = get_model_syops(create_model(name, g=g, T=2), torch.randn(1, 3, 32, 32))
    signals = hidden_signals(report)
    assert len(signals) == {"fsnn18": 19, "fsnn34": 35, "fsnn50": 52, "fsnn101": 103}[name]
    assert set(signals.values()) == {"binary"}


@pytest.mark.parametrize("image", [torch.zeros, torch.randn], ids=["black", "noise"])
@pytest.mark.parametrize("name", bundled(["sew_resnet18", "sew_resnet50", "sew_resnet101"]))
def test_with_add_other_than_spikes_reach_the_blocks_whatever_the_data(name, image):
    """A black image makes no neuron fire, so that every tensor looks like spikes in the data."""
    torch.manual_seed(0)
    x = image(1, 3, 32, 32)
    report = get_model_syops(create_model(name, g="ADD", T=2), x, input_signal="analog")
    signals = hidden_signals(report)
    # A block's input goes through its first convolution and its shortcut's; only the first block
    # gets it from a neuron.
    takes_block_input = re.compile(r"layer[1-4]\.\d+\.(conv1|downsample\.0)")
    expected = {
        path: "graded"
        if takes_block_input.fullmatch(path) and not path.startswith("layer1.0.")
        else "binary"
        for path in signals
    }
    assert "graded" in expected.values()
    assert signals == expected


def test_both_streams_of_a_dsnn_are_told_apart_by_their_signals():
    """Spikes in the spike stream; what the accumulation pathway adds up is not a spike tensor."""
    torch.manual_seed(0)
    report = get_model_syops(create_model("dsnn18", T=2), torch.randn(1, 3, 32, 32))
    signals = hidden_signals(report)
    assert signals.pop("fc_acc") == "analog"
    for path, signal in signals.items():
        assert (signal == "binary") == (".aap." not in path), path
