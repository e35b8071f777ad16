"""The function of syops-counter 0.0.5: its arguments, what it returns and prints, our counts."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, neuron
from torch import nn

from syops import get_model_complexity_info, get_model_syops
from syops.complexity.printed import params_to_string, syops_to_string
from syops.errors import SyopsError, SyopsTypeError, SyopsValueError

SCRIPT = """
from syops import get_model_complexity_info

ops, params = get_model_complexity_info(model, (3, 224, 224), loader, as_strings=True,
                                        print_per_layer_stat=True, verbose=True)
print('{:<30}  {:<8}'.format('Computational complexity ACs:', ops[1]))
print('{:<30}  {:<8}'.format('Computational complexity MACs:', ops[2]))
print('{:<30}  {:<8}'.format('Number of parameters: ', params))
"""


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.sn, self.fc = neuron.IFNode(v_threshold=0.5), nn.Linear(3, 2, bias=False)
        self.register_buffer("mix", torch.rand(2, 2))

    def forward(self, x):
        return self.fc(self.sn(x)) @ self.mix


def network():
    """6 inputs to 3 neurons, which send them on doubled; half a spike more arrives than not."""
    stem = nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3))
    stem[0].weight.data = torch.eye(3, 6)
    nn.init.zeros_(stem[0].bias)
    return nn.Sequential(stem, nn.Dropout(0.5), Block())


LOADER = [
    (torch.tensor([[1, 0, 0, 0, 0, 2], [1, 1, 0, 0, 0, 0]]), torch.tensor([0, 1])),
    (torch.tensor([[1, 1, 1, 0, 0, 3]]), torch.tensor([1])),
]
"""Integers up to 3: 18 MACs at the stem; 1, 2 and 3 spikes at the block, of 2 ACs each; then 4 MACs
of a product of two numbers with a matrix."""


def test_a_script_of_syops_counter_runs_unchanged(capsys):
    exec(SCRIPT, {"model": network(), "loader": LOADER})
    assert capsys.readouterr().out == (
        "Warning: module Dropout is treated as a zero-op.\n"
        "Sequential(\n"
        "  (0): Sequential(\n"
        "    (0): Linear(21, 63.636% Params, 0.0 Ops, 0.000% ACs, 18.0 Ops, 81.818% MACs, "
        "no spikes)\n"
        "    (1): BatchNorm1d(6, 18.182% Params, 0.0 Ops, 0.000% ACs, 0.0 Ops, 0.000% MACs, "
        "folded into 0.0)\n"
        "  )\n"
        "  (1): Dropout()\n"
        "  (2): Block(\n"
        "    0, 0.000% Params, 0.0 Ops, 0.000% ACs, 4.0 Ops, 18.182% MACs, no spikes\n"
        "    (sn): IFNode(\n"
        "      outside the totals: neuron 3.0 Ops\n"
        "      (surrogate_function): Sigmoid()\n"
        "    )\n"
        "    (fc): Linear(6, 18.182% Params, 4.0 Ops, 100.000% ACs, 0.0 Ops, 0.000% MACs, "
        "66.667% Spike Rate)\n"
        "  )\n"
        ")\n"
        "Computational complexity ACs:   4.0 Ops \n"
        "Computational complexity MACs:  22.0 Ops\n"
        "Number of parameters:           33      \n"
    )


def quiet(*args, **more):
    return get_model_complexity_info(
        *args, **{"as_strings": False, "print_per_layer_stat": False} | more
    )


def test_numbers_are_those_of_a_report():
    counts, params = quiet(network(), (6,), LOADER)
    report = get_model_syops(network(), [x.float() for x, _ in LOADER])
    assert counts.shape == (4,)
    assert counts.tolist() == [28, report.ac, report.mac, 100 * report.mean_rate]
    assert (params, report.params) == (33, 33)


def test_the_convention_of_version_005_gives_its_numbers():
    """The bias of a call once, times the rate; a norm 2 operations a value, a neuron 1 AC each."""
    spikes = torch.tensor([[1.0, 0, 0, 0], [1, 1, 0, 1]])
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), neuron.IFNode()).eval()
    loader = [(spikes, None), (spikes + 0.5, None)]
    linear, norm = 2 * 4 * 3 + 3, 2 * 2 * 3
    counts, params = quiet(model, (4,), loader, convention="syops-0.0.5")
    ac = (linear * 0.5 + 2 * 6) / 4
    assert counts[1:3].tolist() == pytest.approx([ac, (linear + 2 * norm) / 4])
    assert counts[0] == pytest.approx((2 * linear + 2 * norm + 2 * 6) / 4)
    assert params == 21
    # One rate a call, 1 where it is not a spike: of the norm always, of the linear layer once.
    with torch.no_grad():
        sent = [float(model(x)[0].mean()) for x in (spikes, spikes + 0.5) if not model[2].reset()]
    assert counts[3] == pytest.approx(100 * (0.5 + 1 + 1 + 1 + sum(sent)) / 4)
    ignoring = quiet(model, (4,), loader, convention="syops-0.0.5", ignore_modules=[nn.Linear])
    assert ignoring[0][1:3].tolist() == [3, 2 * norm / 4]
    with pytest.raises(SyopsError, match="syops-0.0.6"):
        quiet(model, (4,), loader, convention="syops-0.0.6")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["conv-BN", "attention"])
def test_the_fourth_number_is_that_of_version_005(name):
    peers = pytest.importorskip("benchmarks.conventions", reason="sinabs is missing")
    model, batches = peers.CASES[name].built()
    told = peers.counts_of_005(model, batches)
    functional.reset_net(model)
    loader = [(batch, None) for batch in batches]
    counts, _ = quiet(model, batches[0].shape[1:], loader, convention="syops-0.0.5")
    assert counts[3] == pytest.approx(told[3], rel=1e-12)


def test_positional_arguments_stand_where_they_stood():
    stream = io.StringIO()
    found = get_model_complexity_info(
        network(), (6,), LOADER, True, True, None, stream, False, [], {}, "pytorch", "K Ops", "K", 4
    )
    assert found == (["0.028 K Ops", "0.004 K Ops", "0.022 K Ops"], "0.033 K")
    assert stream.getvalue().startswith("Sequential(")


def test_ignored_classes_are_left_out_alone():
    counts, _ = quiet(network(), (6,), LOADER, ignore_modules=[nn.Linear])
    assert counts[:3].tolist() == [4, 0, 4]
    assert np.isnan(counts[3])
    counts, _ = quiet(network(), (6,), LOADER, ignore_modules=[Block, nn.ReLU])
    assert counts[:3].tolist() == [24, 4, 18]


def test_custom_hooks_count_in_place_of_syops(capsys):
    seen = []

    def hook(module, inputs, output):
        assert isinstance(module, nn.Linear)
        seen.append(inputs[0].unique().numel())  # operators of no row: 'unique' has no rule
        module.__syops__ += np.array([100.0, 10.0, len(output) * module.in_features, 30.0])

    model = network()
    counts, _ = quiet(
        model, (6,), LOADER, custom_modules_hooks={nn.Linear: hook}, print_per_layer_stat=True
    )
    # Two layers, two calls of each, three samples; the products of the block stay.
    assert counts[:3].tolist() == pytest.approx([4 + 400 / 3, 40 / 3, 4 + 6 + 3])
    assert len(seen) == 4
    assert "15.000% Spike Rate" not in capsys.readouterr().out
    assert not any(hasattr(module, "__syops__") for module in model.modules())
    both = {"custom_modules_hooks": {nn.Linear: hook}, "ignore_modules": [nn.Linear]}
    assert quiet(model, (6,), LOADER, **both)[0][:3].tolist() == [4, 0, 4]


def test_custom_hooks_count_what_is_inside_too():
    def hook(module, inputs, output):
        inputs[0].unique()
        module.__syops__[1] += 7

    counts, _ = quiet(network(), (6,), LOADER, custom_modules_hooks={Block: hook})
    assert counts[:3].tolist() == pytest.approx([18, 14 / 3, 18])
    counts, _ = quiet(network(), (6,), LOADER, custom_modules_hooks={nn.Sequential: hook})
    assert counts[:3].tolist() == pytest.approx([0, 28 / 3, 0])


def test_custom_hooks_are_gone_after_an_error():
    def hook(module, inputs, output):
        raise KeyError("no such luck")

    before = [dict(table) for table in _global_hooks()]
    with pytest.raises(SyopsError, match="no such luck"):
        quiet(network(), (6,), LOADER, custom_modules_hooks={nn.Linear: hook})
    assert [dict(table) for table in _global_hooks()] == before


def _global_hooks():
    module = torch.nn.modules.module
    return module._global_forward_hooks, module._global_forward_pre_hooks


def test_the_model_is_left_as_found():
    model = network().train()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    quiet(model, (6,), LOADER)
    assert model.training
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_without_a_loader_the_input_is_random_and_said_to_be():
    model, generator = network(), torch.get_rng_state()
    with pytest.warns(UserWarning, match="one sample of random numbers"):
        counts, _ = quiet(model, (6,))
    assert torch.equal(torch.get_rng_state(), generator)
    assert counts[2] == 22
    assert counts.tolist() == quiet(model, (6,))[0].tolist()


def test_an_input_constructor_makes_keyword_arguments():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, *, left, right):
            return self.fc(left + right)

    def constructor(shape):
        return {"left": torch.rand(2, *shape), "right": torch.rand(2, *shape)}

    counts, params = quiet(Two(), (4,), input_constructor=constructor)
    assert counts[:3].tolist() == [12, 0, 12]
    assert params == 15


def test_what_misleads_is_a_warning():
    class Sums(nn.Module):
        def forward(self, x):
            return (x > 0).float() + (x > 1).float()

    model = nn.Sequential(nn.Linear(6, 6), Sums(), nn.Linear(6, 6), nn.Linear(6, 2))
    with pytest.warns(UserWarning, match="graded input"):
        quiet(model, (6,), LOADER)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"model": "net"}, SyopsTypeError, "model must be"),
        ({"input_res": 224}, SyopsTypeError, "input_res must be a tuple of sizes"),
        ({"input_res": ()}, SyopsTypeError, "input_res"),
        ({"input_res": (3, 0)}, SyopsTypeError, "input_res"),
        ({"backend": "aten"}, SyopsValueError, "backend must be 'pytorch', got 'aten'"),
        ({"dataloader": 3}, SyopsTypeError, "dataloader must give pairs"),
        ({"dataloader": [torch.ones(2, 6)]}, SyopsTypeError, "dataloader .* got a Tensor"),
        ({"dataloader": []}, SyopsValueError, "no batch"),
        ({"ignore_modules": ["Linear"]}, SyopsTypeError, "ignore_modules .* got 'Linear'"),
        ({"custom_modules_hooks": {"Linear": print}}, SyopsTypeError, "custom_modules_hooks"),
        (
            {"dataloader": None, "input_constructor": lambda shape: torch.ones(1, 6)},
            *(SyopsTypeError, "input_constructor must return a dict"),
        ),
        (
            {"custom_modules_hooks": {nn.Linear: lambda m, i, o: setattr(m, "__syops__", 1)}},
            *(SyopsError, "array of 4 numbers, got 1"),
        ),
        ({"ost": 3}, SyopsTypeError, "ost must be a stream to print to, got 3"),
        ({"syops_units": 3}, SyopsTypeError, "syops_units must be text such as 'M' or None, got 3"),
    ],
)
def test_bad_arguments(changes, error, said):
    given = {"model": network(), "input_res": (6,), "dataloader": LOADER} | changes
    with pytest.raises(error, match=said):
        quiet(**given)


@pytest.mark.parametrize(
    ("count", "units", "text"),
    [
        (999.0, None, "999.0 Ops"),
        (1000.0, None, "1.0 K Ops"),
        (2_345_678.0, None, "2.35 M Ops"),
        (10.0**12, None, "1000.0 G Ops"),
        (2_345_678.0, "K Ops", "2345.68 K Ops"),
        (5e6, "G Ops", "0.01 G Ops"),
        (5e6, "GMac", "5000000.0 Ops"),
    ],
)
def test_numbers_are_written_as_there(count, units, text):
    assert syops_to_string(count, units) == text


@pytest.mark.parametrize(
    ("count", "units", "text"),
    [(999, None, "999"), (1000, None, "1.0 k"), (11_690_000, None, "11.69 M")]
    + [(1500, "M", "0.0 M"), (1500, "K", "1.5 K"), (1500, "B", "1500")],
)
def test_parameters_are_written_as_there(count, units, text):
    assert params_to_string(count, units) == text
