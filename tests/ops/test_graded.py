"""One constant times integers is graded: pools, means, constants and learned scalars."""

from __future__ import annotations

import json
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from syops import Report, check_full_spike, get_model_bounds, get_model_syops
from syops.cost.proof import values_of
from syops.ops.classes import Seen, ValueEvidence, common_divisor, evidence_of
from syops.ops.values import TruthTable


class Then(nn.Module):
    """A function, and a linear layer on what it gives."""

    def __init__(self, function, width, outputs=3):
        super().__init__()
        self.function = function
        self.w = nn.Parameter(torch.tensor(0.37))
        self.fc = nn.Linear(width, outputs)

    def forward(self, *xs):
        y = self.function(self, *xs)
        return self.fc(y.flatten(1))


def spikes(*shape, seed=0, rate=0.4):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=generator) < rate).float()


def counted(function, *xs, outputs=3):
    """The linear layer's row under ``graded="ac"``, and what reaches it."""
    model = Then(function, 1, outputs).eval()
    with torch.no_grad():
        y = function(model, *xs).flatten(1)
    model.fc = nn.Linear(y.shape[1], outputs)
    report = get_model_syops(model, xs, graded="ac")
    (layer,) = [layer for layer in report.layers if layer.name == "fc"]
    return report, layer, y


def magnitudes(y, unit):
    return (y.double() / unit).round().abs().sum().item()


POOLS = st.fixed_dictionaries(
    {
        "kernel": st.integers(1, 3),
        "stride": st.integers(1, 3),
        "padding": st.integers(0, 1),
        "ceil_mode": st.booleans(),
        "count_include_pad": st.booleans(),
        "rank": st.integers(1, 3),
        "size": st.integers(4, 6),
        "seed": st.integers(0, 10**6),
        "spike": st.sampled_from([1, -1, 2, 0.5, 0.25]),
    }
)


@settings(max_examples=40, deadline=None)
@given(POOLS)
def test_average_pools_count_their_spikes_in_shares_of_the_window(pool):
    rank, kernel = pool["rank"], pool["kernel"]
    padding = min(pool["padding"], kernel // 2)
    options = {name: pool[name] for name in ("stride", "ceil_mode", "count_include_pad")}
    average = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[rank - 1]
    x = spikes(2, 2, *[pool["size"]] * rank, seed=pool["seed"])

    def function(model, x):
        return average((x > 0).float() * pool["spike"], kernel, padding=padding, **options)

    report, layer, y = counted(function, x)
    (row,) = [row for row in report.rows if row.path == "fc"]
    unit = row.drives[0].evidence.unit.size
    multiples = (y.double() / float(unit)).round()
    torch.testing.assert_close(multiples * float(unit), y.double(), rtol=1e-6, atol=1e-6)
    if not padding and not pool["ceil_mode"]:
        entries = kernel**rank
        assert (layer.signal == "graded") == (entries > 1)
        assert float(unit) == abs(pool["spike"]) / entries
    weights = multiples.abs() if layer.signal == "graded" else multiples != 0
    assert layer.ac * report.samples == weights.sum().item() * 3


FUNCTIONS = {
    "mean over T": (lambda m, x: (x > 0).float().mean(0), 6, (6, 2, 5)),
    "mean of all positions": (lambda m, x: (x > 0).float().mean((2, 3)), 49, (2, 3, 7, 7)),
    "sum over n": (lambda m, x: (x > 0).float().sum(1) / 4, 4, (2, 4, 5)),
    "adaptive": (lambda m, x: F.adaptive_avg_pool2d((x > 0).float(), 2), 9, (2, 3, 6, 6)),
    "global": (lambda m, x: F.adaptive_avg_pool2d((x > 0).float(), 1), 36, (2, 3, 6, 6)),
    "sum pool": (
        lambda m, x: F.avg_pool2d((x > 0).float(), 2, divisor_override=1), 1, (2, 3, 4, 4)),
    "two pools": (
        lambda m, x: F.avg_pool2d(F.avg_pool2d((x > 0).float(), 3), 2), 36, (2, 2, 6, 6)),
    "pool of integers": (
        lambda m, x: F.avg_pool2d(x.round().clamp(0, 2), 3), 9, (2, 2, 6, 6)),
    "NI-LIF, D = 4": (lambda m, x: x.round().clamp(0, 4) / 4, 4, (2, 7)),
    "NI-LIF, D = 3": (lambda m, x: x.clamp(0, 3).round() / 3, 3, (2, 7)),
    "NI-LIF, D = 255": (lambda m, x: (x * 60).round().clamp(0, 255) / 255, 255, (2, 7)),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_constant_times_integers_counts_like_the_integers(name):
    function, parts, shape = FUNCTIONS[name]
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 2
    report, layer, y = counted(function, x)
    assert layer.signal == "graded"
    assert layer.mac == 0
    assert layer.ac * report.samples == pytest.approx(magnitudes(y, 1 / parts) * 3)
    assert layer.ac_events == layer.ac
    mac = get_model_syops(Then(function, y.shape[1]), x)
    assert mac.layers[-1].signal == "graded"
    assert mac.layers[-1].ac == 0
    assert mac.layers[-1].mac == y.numel() * 3 / mac.samples


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 255), st.sampled_from([1.0, 4.0, 3.0, 0.1, 7.0]), st.integers(0, 10**6))
def test_a_constant_folded_into_the_weights_changes_no_count(largest, norm, seed):
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(seed)) * largest
    results = [
        counted(lambda m, x, d=d: x.round().clamp(0, largest) / d, x)[1] for d in (1.0, norm)
    ]
    assert results[0] == results[1]


def test_one_learned_scalar_is_a_unit():
    x = torch.randn(16, 6) * 3
    _, plain, _ = counted(lambda m, x: x.round().clamp(0, 5), x)
    for scaled in (lambda m, y: y * m.w, lambda m, y: y / m.w):
        _, layer, _ = counted(lambda m, x, scaled=scaled: scaled(m, x.round().clamp(0, 5)), x)
        assert layer.signal == "graded"
        assert (layer.ac, layer.ac_events) == (plain.ac, plain.ac_events)


class Halves(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        fired = (x > 0).float()
        return self.fc(fired / 2 if len(x) == 2 else fired / 3 if len(x) == 3 else fired)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(0, 10**6), st.randoms())
def test_units_are_joined_over_batches_and_merged_reports(sizes, seed, random):
    torch.manual_seed(seed)
    model = Halves()
    batches = [torch.randn(size, 4) for size in sizes]
    shares = {2: Fraction(1, 2), 3: Fraction(1, 3)}
    met = {shares.get(size, Fraction(1)) for size in sizes}
    unit = Fraction(1, math.lcm(*(share.denominator for share in met)))
    unit = next(iter(met)) if len(met) == 1 else unit
    whole = sum(int((x > 0).sum()) * shares.get(len(x), Fraction(1)) / unit for x in batches) * 3
    reports = [get_model_syops(model, x, graded="ac") for x in batches]
    random.shuffle(reports)
    merged = reports[0]
    for report in reports[1:]:
        merged = merged.merge(report)
    again = Report.from_json(merged.to_json())
    for report in (merged, again):
        assert report.totals.ac == whole
        assert report.totals.ac_events == whole


def test_reports_without_units_load():
    report, _, _ = counted(lambda m, x: x.round().clamp(0, 2), torch.randn(4, 5) * 2)
    content = json.loads(report.to_json())
    for row in content["rows"]:
        for drive in row["drives"]:
            (part,) = drive.pop("magnitudes") or [{"ac": "0", "events": 0}]
            drive["graded_ac"], drive["graded_events"] = part["ac"], part["events"]
    assert Report.from_json(json.dumps(content)).totals == report.totals


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([k / 4 for k in range(5)], "{0..4}/4"), ([0, 0.5, 1], "{0,1,2}/2"),
        ([k / 9 for k in range(10)], "{0..9}/9"), ([-0.5, 0, 0.5, 1], "{-1,0,1,2}/2"),
        ([0, 1, 2], "{0,1,2}"), ([0, 0.25], "{0,0.25}"),
    ],
)  # fmt: skip
def test_values_in_shares_are_printed(values, words):
    assert values_of(evidence_of(TruthTable((), tuple(values)))) == words


def test_the_audit_names_the_shares():
    model = Then(lambda m, x: F.avg_pool2d((x > 0).float(), 3), 8)
    audit = check_full_spike(nn.Sequential(model), (1, 2, 6, 6), allow=())
    (row,) = audit.rows
    assert (row.verdict, row.values) == ("graded", "{0..9}/9")


def test_bounds_take_the_largest_multiple():
    model = Then(lambda m, x: F.avg_pool2d((x > 0).float(), 3), 8)
    bounds = get_model_bounds(model, (1, 2, 6, 6), graded="ac")
    assert bounds.totals.dense_ac == 9 * 8 * 3


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: F.avg_pool2d((x > 0).float(), 16),  # {0..256}/256
        lambda m, x: F.avg_pool2d(x, 2),
        lambda m, x: F.avg_pool2d((x > 0).float() * m.w + (x > 0.5).float(), 2),
        lambda m, x: F.avg_pool2d(torch.where(x > 0, 1.0, 2**0.5), 2),
        lambda m, x: F.avg_pool2d((x > 0).float(), 2).sqrt(),
    ],
)
def test_no_common_unit_is_analog(function):
    _, layer, _ = counted(function, torch.randn(2, 1, 16, 16))
    assert layer.signal == "analog"


def test_rounded_constants_are_not_equal():
    third, next_to_it = 1 / 3, math.nextafter(1 / 3, 1)
    assert common_divisor(frozenset({third, next_to_it})) is None
    assert common_divisor(frozenset({third, 2 / 3})) == Fraction(third)


def test_data_never_gives_units():
    seen = ValueEvidence(seen=Seen(0, 0.5, False))
    assert seen.signal == "analog"
    twos = ValueEvidence(seen=Seen(0, 2, True))
    assert (twos.signal, twos.unit.size) == ("graded", 1)
    halves = ValueEvidence(derived=frozenset({("", 0), ("", 0.5)}))
    ones = ValueEvidence(seen=Seen(0, 1, True))
    assert halves.signal == "scaled"
    assert (halves.join(ones).signal, halves.join(ones).largest) == ("graded", 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("terms", [255, 256, 257, 2047, 2048, 2051, 3003])
@pytest.mark.parametrize("sums", [lambda x: x.sum(-1, keepdim=True), lambda x: x.cumsum(-1)])
def test_sums_that_half_precision_rounds_have_no_upper_end(dtype, terms, sums):
    """3003 ones are 3004 in float16: a set {0..3003} would be no proof."""

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(1, 3, dtype=dtype)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(sums(x).unsqueeze(-1))

    ones = torch.ones(2, terms, dtype=dtype)
    made = sums(ones).double()
    common = {"input_signal": "binary", "graded": "ac"}
    run = get_model_syops(Counting(), ones, **common)
    bounds = get_model_bounds(Counting(), ones, **common)
    assert run.totals.ac == run.totals.ac_events == 3 * int(made.sum())
    assert run.totals.ac <= bounds.totals.dense_ac
    exact = terms <= 2 / torch.finfo(dtype).eps
    assert math.isinf(bounds.totals.dense_ac) is not exact
    (row,) = check_full_spike(Counting(), ones, input_signal="binary", allow=()).rows
    assert row.values == (f"{{0..{terms}}}" if exact else "integers")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("input_signal", ["auto", "binary", "ternary"])
@pytest.mark.parametrize("autocast", [False, True])
def test_counts_of_half_precision_spikes_are_exact(dtype, input_signal, autocast):
    """More spikes than the dtype tells apart, in every dimension that is summed over."""
    conv = nn.Conv2d(3, 5, 3, padding=1, dtype=torch.float32 if autocast else dtype)
    ones = torch.ones(701, 3, 5, 5, dtype=conv.weight.dtype)
    with torch.autocast("cpu", dtype, enabled=autocast):
        totals = get_model_syops(conv, ones, input_signal=input_signal).totals
    assert (totals.spikes, totals.ac) == (701 * 75, 701 * 75 * 45)
    assert totals.ac_events == 701 * 3 * 5 * (5 * 3 - 2) ** 2
