"""Merging counts: whatever the order, and whichever call sites each of them met."""

import random
from functools import reduce

import pytest
import torch
from torch import nn

from syops import MeasuredReport, Report, get_model_syops
from tests.support.examples import random_examples, times


class Branching(nn.Module):
    """Which products are done depends on the data; all have one module and one operator."""

    def __init__(self):
        super().__init__()
        self.small = nn.Parameter(torch.ones(4, 2))
        self.large = nn.Parameter(torch.ones(4, 8))
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        spikes = (x > 0).float()
        kind = int(x[0, 0].item())
        if kind > 1:
            torch.mm(spikes * 1, self.small + 0 * x.sum())
        if kind > 2:
            self.fc(spikes)
        return torch.mm(spikes, self.large + 0 * x.sum())


def batch(kind, seed):
    x = torch.randint(-1, 2, (2, 4), generator=torch.Generator().manual_seed(seed)).float()
    x[0, 0] = kind
    return x


def counted(batches):
    torch.manual_seed(0)  # equal weights
    return get_model_syops(Branching(), batches, input_signal="analog", progress=False)


def of(report):
    """What must not depend on how the batches were shared out."""
    return (
        *(report.rows, report.samples, report.passes, report.notes, report.input_shape),
        dict(report.unaccounted),
    )


def test_call_sites_met_in_one_part_only_are_not_mixed_up():
    one, two = counted([batch(1, 0)]), counted([batch(2, 1)])
    merged = one.merge(two)
    assert {row.dense: row.calls for row in merged.rows if row.kind == "matmul"} == {
        2 * 4 * 2: 1,
        2 * 2 * 4 * 8: 2,
    }
    assert of(merged) == of(two.merge(one)) == of(counted([batch(1, 0), batch(2, 1)]))


@random_examples
@pytest.mark.parametrize("seed", range(times(24)))
def test_any_split_and_any_order_of_merging_gives_the_same_rows(seed):
    draw = random.Random(seed)
    batches = [batch(draw.choice((1, 2, 3)), 10 * seed + i) for i in range(draw.randint(2, 6))]
    whole = counted(batches)
    mixed = draw.sample(batches, len(batches))
    cuts = sorted(draw.sample(range(1, len(mixed)), draw.randint(1, len(mixed) - 1)))
    parts = [
        counted(mixed[start:end])
        for start, end in zip([0, *cuts], [*cuts, len(mixed)], strict=True)
    ]
    while len(parts) > 1:
        one, two = (parts.pop(draw.randrange(len(parts))) for _ in range(2))
        parts.append(one.merge(two))
    (merged,) = parts
    assert of(merged) == of(whole)
    assert merged.totals == whole.totals
    assert merged.layers == whole.layers
    assert Report.from_json(merged.to_json()).rows == whole.rows


def test_reports_without_call_sites_are_merged_by_their_numbers():
    """As those of syops 0.1.0, or of another version of Python."""
    report = counted([batch(2, 0), batch(2, 1)])
    parts = [counted([batch(2, i)]) for i in range(2)]
    old = [
        Report.from_json(_without_calls(part.to_json())) if i else part
        for i, part in enumerate(parts)
    ]
    merged = reduce(MeasuredReport.merge, (Report.from_json(old[0].to_json()), old[1]))
    assert [(row.key, row.calls, row.dense) for row in merged.rows] == [
        (row.key, row.calls, row.dense) for row in report.rows
    ]


def _without_calls(text):
    lines = [line for line in text.splitlines() if '"call":' not in line]
    return "\n".join(lines).replace(",\n  }", "\n  }").replace(",\n   }", "\n   }")
