"""Accuracy from labels: which tensor is taken for logits, and exact counts by class."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from syops import get_model_syops
from syops.dst.data import get_data
from syops.dst.loop import evaluate
from syops.errors import SyopsLookupError, SyopsTypeError, SyopsValueError
from syops.ledger.scores import Scores
from syops.models import create_model
from syops.report.report import Report


class Fixed(nn.Module):
    """Return what a function makes of the input; T time-steps, if there are any."""

    def __init__(self, function, T=None):
        super().__init__()
        self.layer, self.function, self.T = nn.Identity(), function, T

    def forward(self, x):
        return self.function(self.layer(x) + 0)


def count(function, batches, T=None, **keywords):
    return get_model_syops(Fixed(function, T), batches, **keywords)


def why(report):
    return [note for note in report.notes if note.startswith("No accuracy")]


@given(st.data())
def test_scores_equal_sorting_sample_by_sample(data):
    classes, samples = data.draw(st.integers(2, 8)), data.draw(st.integers(1, 12))
    few = st.integers(0, 3)  # ties are common, as of firing rates
    row = st.lists(few, min_size=classes, max_size=classes)
    logits = torch.tensor([data.draw(row) for _ in range(samples)], dtype=torch.float32)
    labels = torch.tensor([data.draw(st.integers(0, classes - 1)) for _ in range(samples)])
    size = data.draw(st.integers(1, samples))
    batches = list(zip(logits.split(size), labels.split(size), strict=True))
    report = count(lambda x: x, batches)
    expected = torch.zeros(3, classes, dtype=torch.int64)
    for values, label in zip(logits.tolist(), labels.tolist(), strict=True):
        order = sorted(range(classes), key=lambda c: -values[c])  # stable: the first of equal ones
        expected[0, label] += 1
        expected[1, label] += order[0] == label
        expected[2, label] += label in order[:5]
    assert report.scores == Scores(*map(tuple, expected.tolist()))
    assert report.accuracy == int((logits.argmax(1) == labels).sum()) / samples


def test_splits_merged_in_any_order_are_equal():
    torch.manual_seed(0)
    logits, labels = torch.randn(20, 6), torch.randint(0, 6, (20,))
    whole = count(lambda x: x, [(logits, labels)])
    for seed in range(5):
        parts = torch.randperm(20).split(3)
        reports = [count(lambda x: x, [(logits[i], labels[i])]) for i in parts]
        random.Random(seed).shuffle(reports)
        merged = reports[0]
        for report in reports[1:]:
            merged = merged.merge(report)
        assert merged.scores == whole.scores
        assert merged.accuracy == whole.accuracy


def test_json_and_files_without_scores():
    report = count(lambda x: x, [(torch.eye(3), torch.tensor([0, 1, 1]))])
    text = report.to_json()
    assert Report.from_json(text) == report
    assert Report.from_json(text).scores == Scores((1, 2, 0), (1, 1, 0), (1, 2, 0))
    with pytest.raises(SyopsValueError, match="accuracy must be that of the scores"):
        Report.from_json(text.replace('"accuracy": 0.66', '"accuracy": 0.55'))
    bare = count(lambda x: x, [torch.eye(3)])
    without = bare.to_json().replace(' "scores": null,\n', "")
    assert '"scores"' not in without
    assert Report.from_json(without) == bare


def test_told_accuracy_replaces_the_measured_one():
    report = count(lambda x: x, [(torch.eye(3), torch.tensor([0, 1, 1]))])
    told = replace(report, accuracy=0.71)
    assert (told.accuracy, told.scores) == (0.71, None)
    assert replace(report, samples=3).scores == report.scores
    assert "2 of 3 samples" in str(report.table())
    assert "as told to syops" in str(told.table())


def test_mean_over_time_steps():
    spikes = torch.zeros(4, 3, 5)  # [T, N, classes]
    spikes[:, 0, 2], spikes[:3, 1, 4], spikes[3, 1, 0], spikes[1, 2, 1] = 1, 1, 1, 1
    labels = torch.tensor([2, 4, 0])
    report = count(lambda x: x, [(spikes, labels)], T=4, batch_dim=1)
    assert report.scores.correct == (0, 0, 1, 0, 1)
    batch_first = count(lambda x: x, [(spikes.transpose(0, 1), labels)], T=4)
    assert batch_first.accuracy is None
    assert "neither [N, classes] nor [T, N, classes]" in why(batch_first)[0]
    same = count(lambda x: x.transpose(0, 1), [(spikes[:3].transpose(0, 1), labels)], T=3)
    assert "is [T, N, classes] or [N, T, classes]" in why(same)[0]


def test_unroll_takes_the_mean_of_all_calls():
    steps = torch.tensor([[[1.0, 0, 0]], [[0, 1.0, 0]], [[0, 1.0, 0]]])  # [T, 1, 3]
    batches = [(steps, torch.tensor([1]))]
    assert count(lambda x: x, batches, unroll=0).accuracy == 1
    state = count(lambda x: (x, x * 2), batches, unroll=0)
    assert "0, 1 of the output fit" in why(state)[0]
    assert count(lambda x: (x, x * 2), batches, unroll=0, output=1).accuracy == 1
    assert count(lambda x: x, batches, unroll=0, output=lambda each: each[0]).accuracy == 0


def test_several_tensors_that_fit_are_not_guessed():
    x, y = torch.eye(3), torch.tensor([0, 1, 2])
    two = count(lambda x: {"spike": x, "sum": -x}, [(x, y)])
    assert two.accuracy is None
    assert "'spike', 'sum' of the output fit the labels" in why(two)[0]
    assert count(lambda x: {"spike": x, "sum": -x}, [(x, y)], output="spike").accuracy == 1
    assert count(lambda x: (x, x.sum()), [(x, y)]).accuracy == 1
    assert count(lambda x: {"logits": x, "state": -x}, [(x, y)]).accuracy == 1
    assert why(count(lambda x: (x, -x), [(x, y)], output=False)) == []
    with pytest.raises(SyopsLookupError, match="output='foo': the model's output has 'a'"):
        count(lambda x: {"a": x}, [(x, y)], output="foo")
    with pytest.raises(SyopsValueError, match=r"output: logits of shape \[3\]"):
        count(lambda x: x, [(x, y)], output=0)
    with pytest.raises(SyopsTypeError, match="output must be a function"):
        count(lambda x: x, [(x, y)], output=1.5)


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (torch.rand(3), "is float32 of shape [3]"),
        (torch.eye(3), "is float32 of shape [3, 3]"),
        (torch.tensor([1, 2]), "is int64 of shape [2]"),
    ],
)
def test_what_is_no_class_label_gives_a_note(labels, text):
    report = count(lambda x: x, [(torch.eye(3), labels)])
    assert report.accuracy is None
    assert text in why(report)[0]


def test_one_logit_nan_and_missing_labels_give_a_note():
    x, y = torch.eye(3), torch.tensor([0, 1, 2])
    assert "neither" in why(count(lambda x: x[:, :1], [(x, y)]))[0]
    divided = count(lambda x: x / x.sum(1, keepdim=True), [(torch.zeros(3, 3), y)])
    assert "3 of 3 samples hold NaN" in why(divided)[0]
    some = count(lambda x: x, [(x, y), (x, None)])
    assert some.accuracy is None
    assert "3 of 6 samples have no labels" in why(some)[0]
    assert why(count(lambda x: x, [x, (x,)])) == []


@pytest.mark.parametrize("wrong", [-1, 3])
def test_label_out_of_range_names_the_sample(wrong):
    batches = [(torch.eye(3), torch.tensor([0, 1, 2])), (torch.eye(3), torch.tensor([0, wrong, 2]))]
    with pytest.raises(SyopsValueError, match=f"sample 4 .* has the label {wrong}") as caught:
        count(lambda x: x, batches)
    assert caught.value.report.samples == 6
    assert count(lambda x: x, batches, output=False).accuracy is None


def test_output_is_not_changed():
    kept = []
    logits = torch.tensor([[0.0, 1.0, 2.0]])

    def model(x):
        kept.append((logits + x).clone())
        return kept[-1]

    count(model, [(torch.zeros(1, 3), torch.tensor([2]))])
    assert all(torch.equal(each, logits) for each in kept)


@pytest.mark.parametrize("name", ["fsnn_digits", "dsnn_digits"])
def test_bundled_networks_score_as_the_training_evaluates_them(name):
    torch.manual_seed(0)
    model = create_model(name, blocks=2, channels=8)
    _, test = get_data("digits", T=4)
    part = TensorDataset(*(tensor[:60] for tensor in test.tensors))
    for stream, accuracy in evaluate(model, part).items():
        output = stream if name == "dsnn_digits" else None
        report = get_model_syops(model, DataLoader(part, 25), output=output)
        assert report.accuracy == accuracy


# The limit


def test_limit_cuts_the_last_batch():
    torch.manual_seed(0)
    x, y = torch.randn(10, 4), torch.arange(10) % 3
    layer = nn.Linear(4, 3)
    whole = get_model_syops(layer, [(x[:7], y[:7])])
    for limit, sizes in ((7, 4), (7, 10), (7, 7), (7, 1)):
        batches = list(zip(x.split(sizes), y.split(sizes), strict=True))
        cut = get_model_syops(layer, batches, limit=limit)
        assert (cut.samples, cut.totals, cut.scores) == (7, whole.totals, whole.scores)
    assert get_model_syops(layer, x, limit=3).samples == 3
    assert get_model_syops(layer, [x], limit=30).samples == 10
    steps = torch.randn(5, 10, 4)
    assert get_model_syops(layer, [steps], unroll=0, limit=3).input_shape == (3, 4)
    assert get_model_syops(layer, [steps], batch_dim=1, limit=3).input_shape == (5, 3, 4)


def test_limit_reads_no_further_batch():
    def batches():
        yield torch.eye(4)
        raise AssertionError("read too far")

    assert get_model_syops(nn.Linear(4, 3), batches(), limit=4).samples == 4


def test_batches_that_cannot_be_cut_end_the_count_before():
    class Two(nn.Module):
        def forward(self, x, other):
            return x @ other

    batches = [((torch.eye(4), torch.ones(4, 2)), None), ((torch.ones(3, 4), torch.eye(4)), None)]
    report = get_model_syops(Two(), batches, limit=6)
    assert report.samples == 4
    assert any("ends 2 samples before limit=6" in note for note in report.notes)
    with pytest.raises(SyopsValueError, match="limit=2: the first batch has 3 samples"):
        get_model_syops(Two(), batches[1:], limit=2)
    for wrong in (0, -1):
        with pytest.raises(SyopsValueError, match="limit must be a positive"):
            get_model_syops(Two(), batches, limit=wrong)
