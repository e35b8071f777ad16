"""The stored results of benchmarks/digits.py: tables against the runs that they are of."""

from __future__ import annotations

import csv
import json
import math

import pytest

from tests import ROOT

RESULTS = ROOT / "benchmarks" / "results" / "digits"


@pytest.fixture
def study(monkeypatch):
    pytest.importorskip("pandas")
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from digit_study import ship, tables

    return tables, ship


def lines(name):
    with (RESULTS / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def runs(pattern):
    found = sorted((RESULTS / "runs").glob(f"{pattern}-seed?.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in found]


@pytest.mark.parametrize(
    ("pattern", "of"),
    [
        ("digits-spiking-32x8-identity-long", ("digits", "32", "none", "none", "long")),
        ("digits-spiking-DST-32x8-identity-long", ("digits", "32", "none", "shared", "long")),
        ("digit-events-fsnn-IAND-DST-separate-4x8", ("digit-events", "4", "IAND", "separate", "")),
    ],
)
def test_gradients_match_runs(pattern, of):
    keys = "data", "blocks", "g", "dst", "idea"
    (line,) = (line for line in lines("gradients") if tuple(line[key] for key in keys) == of)
    for when in ("before", "after"):
        norms = [run["gradients"][when] for run in runs(pattern)]
        ratios = [each[0] / each[-1] for each in norms]
        middle = math.prod(ratios) ** (1 / 3)
        assert float(line[f"ratio_{when}"]) == pytest.approx(middle, rel=1e-5)
        assert float(line[f"ratio_{when}_min"]) == pytest.approx(min(ratios), rel=1e-5)
        assert float(line[f"ratio_{when}_max"]) == pytest.approx(max(ratios), rel=1e-5)


@pytest.mark.parametrize("data", ["digits", "digit-events"])
def test_macs_and_ec_are_those_of_the_architecture_in_both_readings(data):
    for stream in ("spike", "accumulated"):
        found = {
            (line["o_mac"], line["ec_min_mj"], line["ec_max_mj"])
            for line in lines(f"readings-{data}")
            if line["stream"] == stream
        }
        assert len(found) == 1


def test_the_demo_shows_the_row_that_its_rule_chooses(study):
    """By hand: within both deviations of the best FSNN, trained by DST, least DC."""
    tables, ship = study
    import pandas as pd

    spike = [line for line in lines("readings-digits") if line["stream"] == "spike"]
    best = max(spike, key=lambda line: float(line["accuracy"]))
    near = [
        line
        for line in spike
        if float(best["accuracy"]) - float(line["accuracy"])
        <= float(best["accuracy_sd"]) + float(line["accuracy_sd"])
    ]
    chosen = min(
        (line for line in near if line["dst"] != "none"), key=lambda line: float(line["dc_mj"])
    )
    rule = tables.demo_row(pd.read_csv(RESULTS / "readings-digits.csv", keep_default_na=False))
    assert rule == (chosen["g"], chosen["dst"])
    dst, _ = ship.shipped()
    assert (dst.variant.g, dst.variant.classifier, dst.seed) == (*rule, 0)


def test_the_rule_prefers_the_cheap_one_only_where_seeds_cannot_tell(study):
    tables, _ = study
    import pandas as pd

    def table(accuracy):
        return pd.DataFrame(
            {
                "g": ["OR", "IAND", "IAND"],
                "dst": ["shared", "shared", "none"],
                "stream": "spike",
                "accuracy": [0.98, accuracy, 0.97],
                "accuracy_sd": [0.005, 0.005, 0.005],
                "dc_mj": [2.0, 1.0, 0.5],
            }
        )

    assert tables.demo_row(table(0.972)) == ("IAND", "shared")
    assert tables.demo_row(table(0.969)) == ("OR", "shared")
