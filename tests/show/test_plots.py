"""Figures: what is drawn is what was counted, and can be read."""

import subprocess
import sys
from dataclasses import replace
from itertools import combinations

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from sklearn.isotonic import IsotonicRegression
from torch import nn

from syops import compare, get_model_syops
from syops.errors import SyopsLookupError, SyopsTypeError, SyopsValueError
from syops.show.plots.axes import AC, BAND, MAC, spread
from tests import ROOT
from tests.support.plotted_reports import BOUNDS, NET, RUDE, deep
from tests.support.reports import FIXED, analog, spiking

pytestmark = pytest.mark.once


def drawn(figure):
    (ax,) = figure.axes
    return ax


def bars(ax, color):
    """The bars of one colour: {place: (bottom, top)}."""
    return {
        round(bar.get_x() + bar.get_width() / 2, 6): (
            pytest.approx(bar.get_y()),
            pytest.approx(bar.get_y() + bar.get_height()),
        )
        for bar in ax.patches
        if hasattr(bar, "get_height") and to_hex(bar.get_facecolor()) == color.lower()
    }


def stairs(ax, color):
    """Baseline and values of the steps of one colour."""
    (steps,) = [s for s in ax.patches if to_hex(s.get_facecolor()) == color.lower()]
    values, _, baseline = steps.get_data()
    return np.broadcast_to(baseline, values.shape).tolist(), values.tolist()


def texts(ax):
    return [text.get_text() for text in ax.texts]


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


# --- one network --------------------------------------------------------------------------------


def test_energy_by_layer_stacks_acs_on_macs_before_the_interval():
    ax = drawn(NET.plot())
    assert bars(ax, MAC) == {0: (0, 10), 1: (0, 0), 2: (0, 0), 3: (0, 1)}
    assert bars(ax, AC) == {0: (10, 10), 1: (0, 5), 2: (0, 1), 3: (1, 1)}
    assert bars(ax, BAND) == {1: (0, 20), 2: (0, 10)}
    assert ax.get_ylabel() == "energy per sample (µJ)"
    assert ax.get_ylim()[0] == 0
    assert 20 < ax.get_ylim()[1] < 25
    labels = [tick.get_text() for tick in ax.get_xticklabels()]
    assert labels == ["stem", "block.a.conv", "block.b.conv", "block.b.proj"]
    assert legend(ax) == ["EC, firing rates 0 to 1", "MAC", "AC, as measured"]
    assert ax.get_title(loc="left") == "Net: energy by layer (mine)"


def test_spikes_that_are_priced_by_their_fan_out_are_drawn_so():
    ax = drawn(replace(NET, conventions={"ac": "events"}).plot())
    assert bars(ax, AC) == {0: (10, 10), 1: (0, 4.5), 2: (0, 0.95), 3: (1, 1)}


def test_rows_outside_the_totals_are_drawn_if_they_are_asked_for():
    ax = drawn(NET.select(["neuron", "add"]).plot())
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["spike", "block.b"]
    # 1500 MACs at 10 pJ, 2500 ACs at 1 pJ, whatever the firing rates.
    assert bars(ax, MAC) == {0: (0, 15), 1: (0, 2.5)}
    assert ax.get_ylabel() == "energy per sample (nJ)"
    assert legend(ax)[0] == "MAC, and AC outside synapses"
    assert bars(ax, BAND) == {}


def test_macs_without_a_price_are_marked():
    chip = NET.priced("odin")
    ax = drawn(chip.plot())
    assert bars(ax, MAC) == {}
    assert bars(ax, AC)[1] == (0, 63.5)  # 5 M AC at 12.7 pJ
    (crosses,) = [line for line in ax.lines if line.get_label() == "MACs without a price"]
    assert crosses.get_xdata().tolist() == [0, 3]
    assert ax.get_title(loc="left") == "Net: energy by layer (odin)"
    assert sorted(texts(drawn(chip.plot("cumulative")))) == [
        "DC 76.2 µJ",
        "EC max 381 µJ",
        "EC min 0 J",
    ]


def test_a_profile_for_each_layer():
    ax = drawn(NET.priced({"stem": "horowitz45-int8", "*": "horowitz45-fp32"}).plot())
    assert bars(ax, MAC) == {0: (0, 0.23), 1: (0, 0), 2: (0, 0), 3: (0, 0.46)}
    assert bars(ax, AC)[1] == (0, 4.5)
    assert_readable(ax.figure)


def test_firing_rates():
    ax = drawn(NET.plot("rates"))
    assert bars(ax, AC) == {1: (0, 0.25), 2: (0, 0.1)}
    (crosses, mean) = ax.lines[-2:]
    assert crosses.get_xdata().tolist() == [0, 3]
    assert mean.get_ydata() == [0.2, 0.2]
    assert "mean of spike-driven synapses 0.200" in legend(ax)
    assert "spikes per neuron and time-step" in ax.get_ylabel()
    assert 0.25 < ax.get_ylim()[1] < 0.3


def test_firing_rates_over_time():
    events = torch.stack([torch.eye(4)[:2], torch.ones(2, 4), torch.zeros(2, 4)])
    report = get_model_syops(nn.Linear(4, 3), events, batch_dim=1)
    figure = report.plot("rates_over_time")
    ax, bar = figure.axes
    (image,) = ax.get_images()
    assert image.get_array().tolist() == [[0.25], [1.0], [0.0]]
    assert image.get_clim() == (0, 1)
    assert bar.get_ylabel().startswith("firing rate of the input")
    assert "at each time-step" in report.to_page()


def test_time_steps_that_are_not_known_are_not_drawn():
    report = get_model_syops(nn.Linear(4, 3), torch.eye(4))
    with pytest.raises(SyopsValueError, match="give time_steps="):
        report.plot("rates_over_time")
    assert "at each time-step" not in report.to_page()


def test_cumulative_energy_ends_at_the_totals():
    ax = drawn(NET.plot("cumulative"))
    assert stairs(ax, MAC) == ([0] * 4, pytest.approx([10, 10, 10, 11]))
    assert stairs(ax, AC) == (pytest.approx([10, 10, 10, 11]), pytest.approx([10, 15, 16, 17]))
    assert stairs(ax, BAND)[1] == pytest.approx([10, 30, 40, 41])
    assert sorted(texts(ax)) == ["DC 17.0 µJ", "EC max 41.0 µJ", "EC min 11.0 µJ"]


def test_without_data_there_are_macs_and_the_interval():
    ax = drawn(BOUNDS.plot())
    assert bars(ax, MAC) == {0: (0, 10), 1: (0, 0), 2: (0, 0), 3: (0, 1)}
    assert bars(ax, BAND) == {1: (0, 20), 2: (0, 10)}
    assert bars(ax, AC) == {}
    assert ax.get_title(loc="left") == "Net: energy by layer (mine), without data"
    assert sorted(texts(drawn(BOUNDS.plot("cumulative")))) == ["EC max 41.0 µJ", "EC min 11.0 µJ"]
    with pytest.raises(SyopsValueError, match="Net: firing rates are not known without data"):
        BOUNDS.plot("rates")


def test_an_ann_has_no_interval_and_no_rates():
    ann = replace(NET, rows=(analog("a", 2_000), analog("b", 4_000)))
    assert bars(drawn(ann.plot()), BAND) == {}
    assert texts(drawn(ann.plot("cumulative"))) == ["DC 30.0 nJ"]
    ax = drawn(ann.plot("rates"))
    assert legend(ax) == ["no spikes: MAC"]
    assert ax.get_ylim() == (0, 1)


def test_a_network_that_does_nothing_can_be_drawn():
    silent = replace(NET, rows=(spiking("a", 0, 0),))
    for kind in ("energy", "rates", "cumulative"):
        ax = drawn(silent.plot(kind))
        ax.figure.draw_without_rendering()
        assert ax.get_ylim() == (0, 1)


@pytest.mark.parametrize(
    ("layers", "blocks"),
    [
        *[(1, 1), (10, 4), (48, 4), (49, 1), (300, 4)],
        *(pytest.param(n, 1, marks=pytest.mark.slow) for n in (10, 48, 300)),
        *(pytest.param(n, 4, marks=pytest.mark.slow) for n in (1, 49)),
    ],
)
def test_labels_stay_apart_and_inside_with_any_number_of_layers(layers, blocks):
    for kind in ("energy", "cumulative"):
        figure = deep(layers, blocks).plot(kind)
        assert_readable(figure)
        ax = drawn(figure)
        assert len(ax.get_xticklabels()) >= min(layers, 3)
        assert ax.get_position().height > 0.4


def test_labels_of_many_layers_are_those_of_blocks():
    # 112 layers, in 3 stages of 9 blocks of 4 layers and a last one of 1, and one left over.
    labels = {
        tick.get_position()[0]: tick.get_text()
        for tick in drawn(deep(112).plot()).get_xticklabels()
    }
    assert labels[1.5] == "stage0.0"
    assert labels[5.5] == "stage0.1"
    assert list(labels.values())[-2:] == ["stage2.9", "stage3.0"]
    flat = replace(NET, rows=tuple(spiking(f"conv{i}", 1000, 0.1) for i in range(100)))
    labels = [tick.get_text() for tick in drawn(flat.plot()).get_xticklabels()]
    assert labels == [f"conv{i}" for i in range(0, 100, 3)]


def test_long_names_are_folded_and_leave_room_for_the_picture():
    figure = replace(deep(40, name="x" * 80), model="Long" * 60).plot()
    assert_readable(figure)
    assert drawn(figure).get_position().height > 0.4


@pytest.mark.parametrize("name", [RUDE, "a$b^c$", "$", "100%_#{}\\", "line\nbreak", "层"])
@pytest.mark.filterwarnings("ignore:Glyph")
def test_names_are_shown_as_they_are(name, tmp_path):
    report = replace(NET, model=name, rows=(spiking(name, 1000, 0.1), analog(f"b.{name}", 10)))
    with matplotlib.rc_context({"text.usetex": False}):
        figure = report.plot()
        figure.savefig(tmp_path / "x.svg")
        figure.savefig(tmp_path / "x.pdf")
    shown = name.replace("\n", "\\n")
    assert drawn(figure).get_title(loc="left").startswith(shown[:9])
    assert drawn(figure).get_xticklabels()[0].get_text()[:9] == shown[:9]
    ax = drawn(figure)
    names = [*ax.get_xticklabels(), *(t for t in ax.get_children() if ": energy" in str(t))]
    assert len(names) == 3
    for label in names:
        assert not label.get_usetex()
        assert not label.get_parse_math()


def test_a_given_axes_is_drawn_into():
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert NET.plot("rates", ax=right) is figure
    assert not left.patches
    assert right.patches
    (sub, _) = Figure().subfigures(1, 2)
    assert NET.plot(ax=sub.subplots()) is sub.figure


def test_notebooks_are_given_a_picture():
    assert NET.plot()._repr_png_()[:8] == b"\x89PNG\r\n\x1a\n"


def test_invalid_arguments_of_plot():
    with pytest.raises(SyopsLookupError, match="no such plot: 'enrgy'; known: energy, rates, "):
        NET.plot("enrgy")
    with pytest.raises(SyopsTypeError, match="ax must be matplotlib Axes, got Figure"):
        NET.plot(ax=Figure())
    with pytest.raises(SyopsValueError, match="Net: nothing to plot, as no layer is inside"):
        NET.select(["pool"]).plot()
    with pytest.raises(SyopsLookupError, match="known: accuracy, energy"):
        compare([NET]).plot("rates")
    with pytest.raises(SyopsValueError, match="accuracy of none of the networks is known"):
        compare([NET]).plot("accuracy")
    with pytest.raises(SyopsTypeError, match="ax must be"):
        compare([NET]).plot(ax=3)


def test_pyplot_and_the_users_settings_are_left_alone():
    script = """
import sys, matplotlib
matplotlib.rcParams["svg.fonttype"] = "path"
matplotlib.rcParams["text.color"] = "red"
settings = lambda: {k: matplotlib.rcParams[k] for k in matplotlib.rcParams if k != "backend"}
before = settings()
from tests.support.plotted_reports import NET
from syops.show.html import to_page
NET.plot().savefig("/dev/null", format="svg")
page = to_page(NET)
assert "#ff0000" not in page
assert settings() == before
assert "matplotlib.pyplot" not in sys.modules, "pyplot"
assert "torch" not in sys.modules, "torch"
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


# --- several networks ---------------------------------------------------------------------------


def network(name, low, high, dc=None, accuracy=None):
    """A network with EC from ``low`` to ``high`` mJ, at 1 pJ for an AC and 10 pJ for a MAC."""
    rows = [analog("stem", round(low * 1e8))]
    if high > low:
        rate = 0 if dc is None else (dc - low) / (high - low)
        rows.append(spiking("a", round((high - low) * 1e9), rate))
    return replace(
        NET,
        model=name,
        rows=(*rows, analog("fc", 0)),
        samples=1,
        measured=dc is not None,
        accuracy=accuracy,
    )


def spans(ax):
    """The intervals that are drawn, by height."""
    return {
        line.get_ydata()[0]: tuple(np.round(line.get_xdata(), 6).tolist())
        for line in ax.lines
        if to_hex(line.get_color()) == BAND.lower()
    }


def markers(ax):
    """The points that are drawn: {label: [(x, y)]}."""
    return {
        line.get_label(): sorted(np.round(line.get_xydata(), 6).tolist())
        for line in ax.lines
        if to_hex(line.get_color()) != BAND.lower()
    }


SNN = network("snn", 1, 5, dc=2, accuracy=0.7)
OTHER = network("other", 2, 3, accuracy=0.6)
ANN = network("ann", 8, 8, accuracy=0.75)
"""Without data, as it has no spikes whose rates could matter."""


def test_accuracy_against_energy():
    ax = drawn(compare([SNN, OTHER, ANN, network("unknown", 1, 2)]).plot())
    assert spans(ax) == {70: (1, 5), 60: (2, 3)}
    assert markers(ax) == {"DC, FSNN": [[2, 70]], "DC, ANN": [[8, 75]]}
    assert ax.get_xlabel() == "energy per sample (mJ)\naccuracy not known: unknown"
    assert ax.get_ylabel() == "accuracy (%)"
    assert sorted(texts(ax)) == ["ann", "other", "snn"]
    assert ax.get_xscale() == "linear"


def test_energy_of_networks_whose_accuracy_is_not_known():
    reports = [replace(report, accuracy=None) for report in (SNN, OTHER, ANN)]
    for ax in (
        drawn(compare(reports).plot()),
        drawn(compare([SNN, OTHER, ANN]).plot("energy")),
    ):
        assert [tick.get_text() for tick in ax.get_yticklabels()] == ["snn", "other", "ann"]
        assert spans(ax) == {0: (1, 5), -1: (2, 3)}
        assert markers(ax) == {"DC, FSNN": [[2, 0]], "DC, ANN": [[8, -2]]}
        assert ax.get_xlabel() == "energy per sample (mJ)"
        low, high = ax.get_ylim()
        assert low < -2 < 0 < high


def test_networks_far_apart_have_a_logarithmic_axis():
    ax = drawn(compare([SNN, network("large", 100, 300), network("free", 0, 4)]).plot("energy"))
    assert ax.get_xscale() == "log"
    assert ax.get_xlim()[0] < 1
    assert ax.get_xlim()[1] > 300
    assert_readable(ax.figure)


@pytest.mark.parametrize("kind", ["accuracy", "energy"])
@pytest.mark.parametrize("count", [1, 12, 40])
def test_names_of_networks_stay_apart(kind, count):
    reports = [
        network(f"network_{i}", 1 + i, 5 + 2 * i, 2 + i, accuracy=0.7 + 1e-4 * i)
        for i in range(count)
    ]
    assert_readable(compare(reports).plot(kind))


@given(
    st.lists(st.floats(0, 1), max_size=12).map(sorted),
    st.floats(1e-3, 0.3),
)
def test_what_is_spread_keeps_its_distance_and_moves_as_little_as_it_can(places, gap):
    moved = spread(places, gap)
    assert all(b - a >= gap - 1e-9 for a, b in zip(moved, moved[1:], strict=False))
    if places:
        steps = gap * np.arange(len(places))
        best = IsotonicRegression().fit_transform(np.arange(len(places)), places - steps) + steps
        assert moved == pytest.approx(best.tolist())


# --- what can be read ---------------------------------------------------------------------------


def assert_readable(figure):
    """No two labels touch, and all are on the paper, in type of 7 points or more."""
    figure.draw_without_rendering()
    (ax,) = figure.axes
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    ticks = [label for label in ax.get_xticklabels() if left <= label.get_position()[0] <= right]
    ticks += [label for label in ax.get_yticklabels() if bottom <= label.get_position()[1] <= top]
    labels = [*ticks, *ax.texts, *ax.get_legend().get_texts()]
    labels = [label for label in labels if label.get_text() and label.get_visible()]
    boxes = [label.get_window_extent() for label in labels]
    whole = figure.bbox
    for label, box in zip(labels, boxes, strict=True):
        assert label.get_fontsize() >= 7
        assert box.x0 >= whole.x0 - 1, label
        assert box.y0 >= whole.y0 - 1, label
        assert box.x1 <= whole.x1 + 1, label
        assert box.y1 <= whole.y1 + 1, label
    for (one, left), (two, right) in combinations(zip(labels, boxes, strict=True), 2):
        overlap = (
            min(left.x1, right.x1) - max(left.x0, right.x0),
            min(left.y1, right.y1) - max(left.y0, right.y0),
        )
        assert min(overlap) < 0.5, (one, two)


def test_a_report_with_hard_names_is_readable():
    for kind in ("energy", "rates", "cumulative"):
        assert_readable(FIXED.plot(kind))
