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
from torch import nn

from syops import compare, get_model_syops
from syops.cost.conventions import get_convention
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
    """The bars of one colour: {place: (start, end)}."""
    return {
        round(bar.get_y() + bar.get_height() / 2, 6): (
            pytest.approx(bar.get_x()),
            pytest.approx(bar.get_x() + bar.get_width()),
        )
        for bar in ax.patches
        if hasattr(bar, "get_height") and to_hex(bar.get_facecolor()) == color.lower()
    }


def whiskers(ax):
    """The thin lines of EC: {place: (start, end)}."""
    lines = [line for lines in ax.collections for line in lines.get_segments()]
    return {y: (pytest.approx(start), pytest.approx(end)) for (start, y), (end, _) in lines}


def names(ax):
    return [tick.get_text() for tick in ax.get_yticklabels()]


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


def test_energy_by_layer_has_acs_beside_macs_and_the_interval():
    ax = drawn(NET.plot())
    assert bars(ax, MAC) == {0: (0, 10), 1: (0, 0), 2: (0, 0), 3: (0, 1)}
    assert bars(ax, AC) == {0: (10, 10), 1: (0, 5), 2: (0, 1), 3: (1, 1)}
    assert whiskers(ax) == {1: (0, 20), 2: (0, 10)}
    assert ax.get_xlabel() == "energy per sample (µJ)"
    assert ax.get_xlim()[0] == 0
    assert 20 < ax.get_xlim()[1] < 25
    assert names(ax) == ["stem", "block.a.conv", "block.b.conv", "block.b.proj"]
    assert texts(ax) == ["10.0 µJ", "5.00 µJ", "1.00 µJ", "1.00 µJ"]
    assert sorted(legend(ax)) == ["AC, as measured", "EC, firing rates 0 to 1", "MAC"]
    first, last = (
        tick.get_window_extent().y0 for tick in ax.get_yticklabels()[:: len(names(ax)) - 1]
    )
    assert first > last  # the first layer is on top
    assert ax.get_title(loc="left") == "Net: energy by layer (mine)"


def test_spikes_that_are_priced_by_their_fan_out_are_drawn_so():
    ax = drawn(replace(NET, convention=get_convention("exact")).plot())
    assert bars(ax, AC) == {0: (10, 10), 1: (0, 4.5), 2: (0, 0.95), 3: (1, 1)}


def test_rows_outside_the_totals_are_drawn_if_they_are_asked_for():
    ax = drawn(NET.select(["neuron", "add"]).plot())
    assert names(ax) == ["spike", "block.b"]
    # 1500 MACs at 10 pJ, 2500 ACs at 1 pJ, whatever the firing rates.
    assert bars(ax, MAC) == {0: (0, 15), 1: (0, 2.5)}
    assert ax.get_xlabel() == "energy per sample (nJ)"
    assert "MAC, and AC outside synapses" in legend(ax)
    assert whiskers(ax) == {}


def test_macs_without_a_price_are_marked():
    chip = NET.priced("odin")
    ax = drawn(chip.plot())
    assert bars(ax, MAC) == {}
    assert bars(ax, AC)[1] == (0, 63.5)  # 5 M AC at 12.7 pJ
    (crosses,) = [line for line in ax.lines if line.get_label() == "MACs without a price"]
    assert crosses.get_ydata().tolist() == [0, 3]
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
    assert crosses.get_ydata().tolist() == [0, 3]
    assert mean.get_xdata() == [0.2, 0.2]
    assert texts(ax) == ["0.250", "0.100"]
    assert "mean of spike-driven synapses 0.200" in legend(ax)
    assert "spikes per neuron and time-step" in ax.get_xlabel()
    assert 0.25 < ax.get_xlim()[1] < 0.3


def test_energy_without_the_interval_is_as_long_as_what_was_measured():
    ax = drawn(NET.plot(ec=False))
    assert whiskers(ax) == {}
    assert bars(ax, AC)[1] == (0, 5)
    assert 10 < ax.get_xlim()[1] < 12.5
    assert_readable(ax.figure)


def test_energy_on_a_logarithmic_axis():
    ax = drawn(NET.plot(scale="log"))
    assert ax.get_xscale() == "log"
    dots = {line.get_label(): line.get_xydata().tolist() for line in ax.lines}
    assert dots["mostly MACs"] == [[pytest.approx(10), 0], [pytest.approx(1), 3]]
    assert dots["mostly ACs"] == [[pytest.approx(5), 1], [pytest.approx(1), 2]]
    assert bars(ax, MAC) == bars(ax, AC) == {}
    assert_readable(ax.figure)
    with pytest.raises(SyopsValueError, match="scale must be one of linear, log; got 'lgo'"):
        NET.plot(scale="lgo")


def test_modules_are_as_high_as_their_share():
    ax = drawn(NET.plot("modules"))
    found = {
        (patch.get_x(), round(17 * patch.get_y()), round(17 * patch.get_height()))
        for patch in ax.patches
        if patch.get_width() == 1
    }
    # stem, block; block.a, block.b; conv and proj in block.b: 17 µJ in all.
    assert found >= {(0, 0, 10), (0, 10, 7), (1, 10, 5), (1, 15, 2), (2, 15, 1), (2, 16, 1)}
    assert texts(ax)[:2] == ["stem  10.0 µJ", "block  7.00 µJ"]
    assert_readable(deep(163).plot("modules"))


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
    assert whiskers(ax) == {1: (0, 20), 2: (0, 10)}
    assert bars(ax, AC) == {}
    assert texts(ax) == ["10.0 µJ", "up to 20.0 µJ", "up to 10.0 µJ", "1.00 µJ"]
    assert ax.get_title(loc="left") == "Net: energy by layer (mine), without data"
    assert sorted(texts(drawn(BOUNDS.plot("cumulative")))) == ["EC max 41.0 µJ", "EC min 11.0 µJ"]
    with pytest.raises(SyopsValueError, match="Net: firing rates are not known without data"):
        BOUNDS.plot("rates")


def test_an_ann_has_no_interval_and_no_rates():
    ann = replace(NET, rows=(analog("a", 2_000), analog("b", 4_000)))
    assert whiskers(drawn(ann.plot())) == {}
    assert texts(drawn(ann.plot("cumulative"))) == ["DC 30.0 nJ"]
    ax = drawn(ann.plot("rates"))
    assert legend(ax) == ["no spikes: MAC"]
    assert ax.get_xlim() == (0, 1)


def test_a_network_that_does_nothing_can_be_drawn():
    silent = replace(NET, rows=(spiking("a", 0, 0),))
    for kind in ("energy", "rates", "cumulative", "modules"):
        ax = drawn(silent.plot(kind))
        ax.figure.draw_without_rendering()
        assert (0, 1) in (ax.get_xlim(), ax.get_ylim())


@pytest.mark.parametrize(
    ("layers", "blocks"),
    [
        *[(1, 1), (25, 4), (26, 1), (300, 4)],
        *(pytest.param(n, 1, marks=pytest.mark.slow) for n in (10, 25, 48, 49, 300)),
        *(pytest.param(n, 4, marks=pytest.mark.slow) for n in (1, 26, 48, 49)),
    ],
)
def test_labels_stay_apart_and_inside_with_any_number_of_layers(layers, blocks):
    for kind in ("energy", "cumulative"):
        figure = deep(layers, blocks).plot(kind)
        assert_readable(figure)
        ax = drawn(figure)
        labels = ax.get_yticklabels() if kind == "energy" else ax.get_xticklabels()
        assert len(labels) >= min(layers, 3)
        assert ax.get_position().height > 0.4


def test_many_layers_are_drawn_by_block():
    # 112 layers, in 3 stages of 9 blocks of 4 layers and a last one of 1, and one left over.
    report = deep(112)
    ax = drawn(report.plot())
    assert names(ax)[:2] == ["stage0.0", "stage0.1"]
    assert names(ax)[-2:] == ["stage2.9", "stage3.0"]
    whole = sum(layer.dc_mj for layer in report.layers)
    drawn_ = [bars(ax, color) for color in (MAC, AC)]
    assert sum(e.expected - s.expected for found in drawn_ for s, e in found.values()) == (
        pytest.approx(whole * 1e3)
    )
    assert "112 layers by block" in ax.get_title(loc="left")
    flat = replace(NET, rows=tuple(spiking(f"conv{i}", 1000, 0.1) for i in range(100)))
    shown = names(drawn(flat.plot()))
    assert len(shown) == 34
    assert (shown[0], shown[-1]) == ("conv0 to conv2", "conv99")
    assert names(drawn(deep(25).plot())) == [layer.name for layer in deep(25).layers]
    assert names(drawn(deep(26).plot()))[:2] == ["stage0.0", "stage0.1"]
    flat = replace(NET, rows=flat.rows[:26])
    assert names(drawn(flat.plot())) == [layer.name for layer in flat.layers]


def test_labels_of_many_layers_are_those_of_blocks_along_the_axis():
    labels = {
        tick.get_position()[0]: tick.get_text()
        for tick in drawn(deep(112).plot("cumulative")).get_xticklabels()
    }
    assert labels[1.5] == "stage0.0"
    assert labels[5.5] == "stage0.1"
    assert list(labels.values())[-2:] == ["stage2.9", "stage3.0"]


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
    ax = drawn(figure)
    assert names(ax)[0][:9] == shown[:9]
    labels = [*ax.get_yticklabels(), *(t for t in ax.get_children() if ": energy" in str(t))]
    assert len(labels) == 3
    for label in labels:
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


def test_lines_to_the_names_of_networks_do_not_cross():
    places = [(0.9, 0.6), (0.1, 0.62), (0.5, 0.61), (0.7, 0.605)]
    reports = [network(f"n{i}", e, e, e, accuracy=a) for i, (e, a) in enumerate(places)]
    ax = drawn(compare(reports).plot("accuracy"))
    (leaders,) = [lines for lines in ax.collections if len(lines.get_segments()) == 4]
    lines = [line.tolist() for line in leaders.get_segments()]
    for (_, *one), (_, *other) in combinations(lines, 2):
        order = [(a[1] > b[1]) - (a[1] < b[1]) for a, b in zip(one, other, strict=True)]
        assert order[0] == order[1] != 0
    assert all(start[1] == bend[1] for start, bend, _ in lines)  # level, then to the name


@given(
    st.lists(st.floats(0, 1), max_size=12).map(sorted),
    st.floats(1e-3, 0.3),
)
def test_what_is_spread_keeps_its_distance_and_moves_as_little_as_it_can(places, gap):
    from sklearn.isotonic import IsotonicRegression  # which takes a second

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
    for kind in ("energy", "rates", "cumulative", "modules"):
        assert_readable(FIXED.plot(kind))
