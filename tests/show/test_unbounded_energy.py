"""EC without an upper end, and figures that are only known to lie between two: in every format."""

from __future__ import annotations

import json
import math
import re
import warnings

import pytest
import torch
from torch import Tensor, nn

from syops import compare, get_model_bounds, get_model_syops
from syops.errors import SyopsValueError
from syops.report.gate import Limits, check
from syops.show.html import to_page

NOT_A_NUMBER = re.compile(r"(?<![a-z])(inf|-inf|nan|infinity%|nan%)(?![a-z])", re.IGNORECASE)


class Rounds(nn.Module):
    """A layer of MACs, one of spikes, one of integers without a bound, and one of MACs."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 64)
        self.c, self.d = nn.Linear(64, 5), nn.Linear(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.d(self.c(self.b((self.a(x) > 0).float()).round()))


def bounds(said: str = "analog", **more):
    return get_model_bounds(Rounds(), (1, 8), input_signal=said, time_steps=1, **more)


OPEN = bounds(graded="ac")
ALONE = get_model_bounds(nn.Linear(4, 3), (1, 4), input_signal="graded", graded="ac", time_steps=1)
FREE = get_model_bounds(
    nn.Linear(4, 3), (1, 4), input_signal="graded", graded="ac", energy={"*": "loihi"}
)
CLOSED = bounds()
EITHER = bounds("auto")
RUN = get_model_syops(Rounds(), torch.rand(1, 8) * 5, graded="ac", time_steps=1)
ALL = {"open": OPEN, "alone": ALONE, "free": FREE, "closed": CLOSED, "either": EITHER, "run": RUN}


@pytest.mark.parametrize("name", ALL)
def test_no_format_says_inf_or_nan(name):
    report = ALL[name]
    texts = {
        "text": str(report),
        "by depth": str(report.table(depth=1)),
        "units": str(report.table(units="M,J")),
        "markdown": report.to_markdown(),
        "csv": report.to_csv(),
        "latex": report.to_latex(),
        "table": report.to_html(),
        "notebook": report._repr_html_(),
        "page": to_page(report, None),
        "memory": str(report.memory()),
    }
    for what, text in texts.items():
        shown = text.replace("Infinity", "") if what == "page" else text
        assert not NOT_A_NUMBER.search(shown), (what, NOT_A_NUMBER.search(shown))
    for text in (report.to_json(), report.memory().to_json(), compare([report]).to_json()):
        json.loads(text, parse_constant=pytest.fail)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", ["energy", "cumulative"])
def test_pictures_draw_what_is_known_and_mark_what_has_no_end(name, kind, tmp_path):
    report = ALL[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = report.plot(kind)
        figure.savefig(tmp_path / "picture.png")
    (ax,) = figure.axes
    legend = [text.get_text() for text in ax.get_legend().get_texts()] if ax.get_legend() else []
    assert ("EC without an upper end" in legend) == math.isinf(report.ec_mj[1])
    known = max(end for layer in report.layers for end in layer.ec_mj if math.isfinite(end))
    label, end = ax.get_ylabel(), ax.get_ylim()[1]
    if kind == "energy":
        label, end = ax.get_xlabel(), ax.get_xlim()[1]
    unit = {"pJ": 1e-9, "nJ": 1e-6}[label.partition("(")[2].rstrip(")")]
    assert known <= end * unit <= max(20 * known, 2e-9)
    for patch in ax.patches:
        box = patch.get_path().get_extents(patch.get_transform())
        assert all(map(math.isfinite, (box.x0, box.x1, box.y0, box.y1)))


def test_a_comparison_draws_an_arrow_where_there_is_no_end(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = compare(ALL).plot()
        figure.savefig(tmp_path / "picture.png")
        with_accuracy = compare(ALL).plot("energy")
    for picture in (figure, with_accuracy):
        (ax,) = picture.axes
        assert all(map(math.isfinite, ax.get_xlim()))
        assert "EC without an upper end" in [t.get_text() for t in ax.get_legend().get_texts()]
    table = str(compare(ALL))
    assert "[0.704, none]" in table
    assert not NOT_A_NUMBER.search(table)
    assert not NOT_A_NUMBER.search(compare(ALL).to_latex() + compare(ALL).to_csv())


def test_differences_to_what_has_no_end_are_not_known():
    layers = compare({"open": OPEN, "run": RUN}).layers()
    assert not NOT_A_NUMBER.search(str(layers) + layers.to_csv())
    assert "none" in str(layers)
    json.loads(layers.to_json(), parse_constant=pytest.fail)


def test_the_layer_without_an_end_is_the_most_expensive_one():
    table = OPEN.table(sort="ec_max", top=1)
    assert table.rows[0][0] == "c"
    (row,) = [line for line in OPEN.to_csv().splitlines() if line.startswith("c,")]
    (kept,) = [line for line in CLOSED.to_csv().splitlines() if line.startswith("c,")]
    assert row.count(",") == kept.count(",")


def texts(report, limits, baseline=None):
    return [(finding.ok, finding.text) for finding in check(report, limits, baseline)]


def test_limits_on_what_has_no_upper_end():
    (found,) = texts(OPEN, Limits(ec_mj=1.0))
    assert found == (False, "EC at firing rate 1 has no upper end, above the limit of 1.00 mJ")
    (found,) = texts(OPEN, Limits(), RUN)
    assert found[0] is False
    assert "has no upper end, above the baseline's" in found[1]
    for report in (OPEN, RUN):
        with pytest.raises(SyopsValueError, match="baseline's EC.* has no upper end"):
            check(report, Limits(), OPEN)


def test_limits_on_what_lies_between_two_figures():
    """Layer a may do 128 MACs or none; c and d do 345."""
    assert (EITHER.mac, EITHER.totals.either) == (473, 128)
    assert texts(EITHER, Limits(mac=473)) == [(True, "O_mac is 473, within the limit of 473")]
    assert texts(EITHER, Limits(mac=300))[0][0] is False
    assert "345" in texts(EITHER, Limits(mac=300))[0][1]
    with pytest.raises(SyopsValueError, match=r"345 to 473.* is not known.*input_signal"):
        check(EITHER, Limits(mac=400))


def test_whether_a_network_is_full_spike_may_not_be_known():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

        def forward(self, x: Tensor) -> list[Tensor]:
            return [layer(x) for layer in self.layers]

    report = get_model_bounds(Twice(), (1, 4))
    assert (report.network_type, report.full_spike) == ("unknown", False)
    with pytest.raises(SyopsValueError, match=r"full-spike is not known.*layers\.1"):
        check(report, Limits(full_spike=True))
    for said, kind in (("binary", "FSNN"), ("analog", "ANN")):
        known = get_model_bounds(Twice(), (1, 4), input_signal=said)
        assert known.network_type == kind
    assert not texts(known, Limits(full_spike=True))[0][0]
