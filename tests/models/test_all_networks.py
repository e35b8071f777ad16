"""What holds of every bundled network."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from syops import create_model, get_model_bounds
from syops.models import list_models
from tests.support.examples import some
from tests.support.networks import SMALLEST, TINY, bundled, frame, repeats
from tests.support.versions import differentiable

NAMES = list_models()
DUAL = [name for name in NAMES if name.startswith("dsnn")]
SPIKE_ONLY = [name for name in NAMES if re.match("fsnn|spiking", name)]
# The AAP's down-samplings: in the first stage they get the stem's spikes, afterwards sums.
AAP = re.compile(r"layer[1-7]\.(\d+|widen)\.aap\.(depthwise|pointwise)")


def small(name: str) -> tuple[dict[str, Any], tuple[int, ...], bool]:
    """Keywords that make a network quick, the shape of a sample, whether it takes events."""
    T = {} if name.startswith("resnet") else {"T": 2}
    if "7b" in name:
        return T, (2, 128, 128), True
    if name.endswith(("digits", "_small")):
        return T, frame(name), False
    return T, (3, 32, 32) if name == "spikformer_4_384" else (3, 48, 48), False


def batch(name: str, n: int) -> torch.Tensor:
    _, shape, events = small(name)
    generator = torch.Generator().manual_seed(n)
    return torch.rand((2, n, *shape) if events else (n, *shape), generator=generator)


def streams(out: Any) -> tuple[torch.Tensor, ...]:
    return tuple(out) if isinstance(out, tuple) else (out,)


@pytest.mark.parametrize("name", bundled(quick=TINY, slow=SMALLEST | {"dsnn50"}))
def test_forward_and_backward(name):
    torch.manual_seed(0)
    model = create_model(name, num_classes=5, **small(name)[0])
    for training, n in ((True, 1), (False, 2)):
        model.train(training).zero_grad()
        outs = streams(model(batch(name, n)))
        assert len(outs) == (2 if name in DUAL else 1)
        assert all(out.shape == (n, 5) and out.isfinite().all() for out in outs)
        sum(F.cross_entropy(out, torch.arange(n)) for out in outs).backward()
        missing = {key for key, p in model.named_parameters() if p.grad is None}
        if differentiable(training):
            assert not missing
        else:
            assert not {key for key in missing if key.startswith("fc.")}


@pytest.mark.parametrize("name", bundled(quick=TINY, slow=SMALLEST))
def test_states_do_not_outlive_a_call(name):
    torch.manual_seed(0)
    model = create_model(name, num_classes=5, **small(name)[0]).eval()
    with torch.no_grad():
        first = streams(model(batch(name, 1)))
        model(batch(name, 2))
        again = streams(model(batch(name, 1)))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def signals(name: str, **keywords: Any) -> dict[str, str]:
    """The class of every synaptic layer, proven without data."""
    fewer, shape, events = small(name)
    with torch.device("meta"):
        model = create_model(name, **fewer, **keywords)
    ledger = get_model_bounds(
        model,
        (2, 1, *shape) if events else (1, *shape),
        batch_dim=int(events),
        input_signal="analog",
    )
    assert not ledger.unaccounted
    synaptic = (row for row in ledger.rows if row.kind in ("conv", "linear", "matmul"))
    return {f"{row.path}:{row.operator}": row.operations("mac").signal for row in synaptic}


def not_spikes(found: dict[str, str]) -> set[str]:
    return {name.partition(":")[0] for name, signal in found.items() if signal != "binary"}


def with_g(names: list[str]) -> list[Any]:
    """Each with every connection function it takes, and DSNN and FSNN with both spike streams.

    All of them of the smallest network of a family; of others more than one is slow, and one of
    three of these is run unless SYOPS_EXAMPLES asks for all.
    """
    every: list[dict[str, Any]] = [{"g": g} for g in ("IAND", "AND", "OR", "XOR")]
    every += [{"residual": "spiking"}]
    quick, slow = [], []
    for name in names:
        for i, keywords in enumerate(every if re.match("[df]snn", name) else [{}]):
            is_slow = repeats(name) or (i and name not in SMALLEST)
            (slow if is_slow else quick).append((name, keywords))
    return quick + [pytest.param(*case, marks=pytest.mark.slow) for case in some(slow, one_of=3)]


@pytest.mark.parametrize(("name", "keywords"), with_g(SPIKE_ONLY))
def test_only_spikes_reach_the_synapses_of_a_full_spike_network(name, keywords):
    assert not_spikes(signals(name, **keywords)) == {"conv1", "fc"}


@pytest.mark.parametrize(("name", "keywords"), with_g(DUAL))
def test_of_a_dsnn_only_the_down_samplings_of_the_aap_get_no_spikes(name, keywords):
    found = signals(name, **keywords)
    layers = {key.partition(":")[0] for key in found}
    aap = {path for path in layers if AAP.fullmatch(path)}
    in_first_stage = {path for path in aap if path.startswith("layer1.0.")}
    assert not_spikes(found) == {"conv1", "fc", "fc_acc"} | aap - in_first_stage


@pytest.mark.parametrize("name", bundled(name for name in NAMES if name.startswith("sew")))
def test_add_brings_graded_spikes_to_the_synapses(name):
    found = signals(name, g="ADD")
    assert "graded" in found.values()
    assert not_spikes(signals(name, g="IAND")) == {"conv1", "fc"}


@pytest.mark.parametrize("name", bundled(name for name in NAMES if name.startswith("spikformer")))
@pytest.mark.parametrize("keywords", [{"g": "IAND"}, {"g": "IAND", "aap": True}, {"g": "ADD"}])
def test_only_logical_g_makes_spikformer_spike_only(name, keywords):
    rest = not_spikes(signals(name, **keywords)) - {"fc_acc"}
    if keywords["g"] == "ADD":
        assert rest > {"conv1", "fc"}
    else:
        assert rest == {"conv1", "fc"}
