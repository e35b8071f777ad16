"""What a loader or `prepare` changes in a model holds from the next batch on, and stays."""

import types

import pytest
import torch
from torch import nn

from syops import get_model_syops


class Gate(nn.Module):
    """Let inputs above a threshold pass as spikes, add them to a state, and apply weights."""

    def __init__(self):
        super().__init__()
        self.threshold = 0.0
        self.silent = []
        self.fired = torch.zeros(4)
        self.register_buffer("mask", torch.ones(4))
        self.fc = nn.Linear(4, 3)
        self.gain = nn.Identity()

    def forward(self, x):
        spikes = (x * self.mask > self.threshold).float()
        spikes[:, self.silent] = 0
        self.fired = self.fired + spikes.sum(0)
        return self.fc(self.gain(spikes))


def _attribute(model):
    model.threshold = 2.5


def _entry_of_a_list(model):
    model.silent += [0, 1]


def _buffer_in_place(model):
    model.mask[:2] = 0


def _buffer(model):
    model.mask = torch.tensor([0.0, 0.0, 1.0, 1.0])


def _method(model):
    def forward(self, x):
        return self.fc((x > 2.5).float())

    model.forward = types.MethodType(forward, model)


def _module(model):
    model.gain = nn.Sequential(nn.Threshold(0.5, 0.0), _Last())


class _Last(nn.Module):
    def forward(self, spikes):
        return torch.cat((torch.zeros_like(spikes[:, :2]), spikes[:, 2:]), 1)


CHANGES = [_attribute, _entry_of_a_list, _buffer_in_place, _buffer, _method, _module]
X = torch.tensor([[1.0, 2.0, 3.0, 4.0]])


@pytest.mark.parametrize("as_prepare", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_change_between_batches_is_counted(change, as_prepare):
    """Four spikes reach 3 synapses each in the first two batches, two of them in the last two."""
    model, drawn = Gate(), []

    def changed(x):
        if len(drawn) == 2:
            change(model)
        drawn.append(x)
        return x

    batches = [X] * 4
    if as_prepare:
        report = get_model_syops(model, batches, prepare=changed)
    else:
        report = get_model_syops(model, map(changed, batches))
    assert report.totals.ac_events == 2 * 4 * 3 + 2 * 2 * 3
    assert model.fired.tolist() == [0] * 4


@pytest.mark.parametrize("change", CHANGES)
def test_change_between_batches_stays(change):
    model, expected = Gate(), Gate()

    def batches():
        yield X
        change(model)
        yield X

    get_model_syops(model, batches())
    change(expected)
    assert model.threshold == expected.threshold
    assert model.silent == expected.silent
    assert model.mask.tolist() == expected.mask.tolist()
    assert vars(model).keys() == vars(expected).keys()
    assert type(model.gain) is type(expected.gain)


def test_states_of_a_pass_are_gone_between_batches_but_not_for_the_output():
    model, seen = Gate(), []

    def batches():
        for _ in range(3):
            yield X, torch.tensor([0])
            seen.append(model.fired.sum().item())

    def logits(out):
        seen.append(model.fired.sum().item())
        return out

    get_model_syops(model, batches(), output=logits)
    assert seen == [4, 0] * 3


class Repeats(nn.Module):
    """Apply a layer ``depth`` times at each of T time-steps."""

    T, depth = 2, 1

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        for _ in range(self.T * self.depth):
            self.fc(x)
        return x


def set_between(model, **attributes):
    yield X
    for name, value in attributes.items():
        setattr(model, name, value)
    yield X


def test_t_that_is_set_between_batches_is_not_told_as_one():
    model = Repeats()
    report = get_model_syops(model, set_between(model, T=3))
    assert report.totals.mac == (2 + 3) * 4 * 4
    assert report.time_steps is None
    told = Repeats()
    assert get_model_syops(told, set_between(told, T=3), time_steps=2).time_steps == 2


@pytest.mark.parametrize(
    ("attributes", "is_known"), [({}, True), ({"depth": 1}, True), ({"depth": 5}, False)]
)
def test_ratio_to_the_ann_of_a_network_that_was_changed_is_refused(attributes, is_known):
    model = Repeats()
    model.depth = 1
    report = get_model_syops(model, set_between(model, **attributes))
    assert (report.energy_ratio is not None) == is_known
    assert any("changed between two batches" in note for note in report.notes) != is_known


def test_forward_that_deletes_and_adds_attributes_has_not_changed_its_model():
    class Forgets(Repeats):
        def forward(self, x):
            del self.depth
            self.depth, self.seen = 1, x
            return super().forward(x)

    model = Forgets()
    model.depth = 1
    assert get_model_syops(model, [X] * 3).energy_ratio is not None


class _Trace:
    def __init__(self):
        self.sum = torch.zeros(4)


class _Traced(nn.Module):
    def __init__(self):
        super().__init__()
        self.traces = [_Trace()]
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        for trace in self.traces:
            trace.sum += 1
        return self.fc((x > self.traces[-1].sum).float())


def test_objects_that_a_list_gets_between_batches_are_put_back():
    model = _Traced()

    def batches():
        for number in range(4):
            if number == 2:
                model.traces.append(_Trace())
            yield torch.full((1, 4), 1.5)

    report = get_model_syops(model, batches(), input_signal="analog")
    assert [trace.sum.tolist() for trace in model.traces] == [[0.0] * 4] * 2
    assert {layer.path: layer.rate for layer in report.layers}["fc"] == 1
