"""benchmarks/digits.py in its fast mode: the direction of what the paper claims."""

from __future__ import annotations

import csv
import json
import statistics
import subprocess
import sys

import pytest

from tests import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.once]
BENCHMARKS = ROOT / "benchmarks"


def benchmark(*arguments):
    return subprocess.run(
        [sys.executable, BENCHMARKS / "digits.py", *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    done = benchmark("--fast", "--folder", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def claims(results):
    return {claim["name"]: claim for claim in json.loads((results / "claims.json").read_text())}


HOLD = [
    # Table 2
    *(f"{data}: energy {g}" for data in ("digits", "digit-events") for g in ("OR", "IAND")),
    # Figure 3
    "depth, identity start: without DST",
    "depth, identity start: DSNN",
    "depth, identity start: DSNN above",
    "depth, identity start: FSNN (DST) above",  # of 4 and 12 blocks; not of 32 in the whole
    # Figure 6
    *("initial: order of o", "initial: silence of AND"),
    *(f"initial: stable s, {g}" for g in ("OR", "XOR", "IAND")),
    # Figures 7 and 8
    *(f"alpha {a}: with DST, {g}, identity" for a in (2, 3) for g in ("OR", "XOR", "IAND", "AND")),
    *(f"alpha {a}: {how} DST, AND" for a in (2, 3) for how in ("with", "without")),
    "alpha 3: without DST, spiking, explodes",
]


@pytest.mark.parametrize("name", HOLD)
def test_claims_of_the_paper_hold(claims, name):
    assert claims[name]["holds"], f"{claims[name]['text']}: {claims[name]['seen']}"


def test_tables_match_runs(results):
    """Table 2, in other words."""
    with (results / "table2-digits.csv").open() as file:
        table = {row["network"]: row for row in csv.DictReader(file)}
    runs = [
        json.loads(path.read_text()) for path in (results / "runs").glob("digits-fsnn-OR-DST-4x*")
    ]
    for name, tested in (("FSNN (OR, DST)", 0), ("DSNN (OR)", 1)):
        for key in ("accuracy", "dc_mj", "o_ac", "o_mac"):
            mean = statistics.mean(run["rows"][tested][key] for run in runs)
            assert float(table[name][key]) == pytest.approx(mean, rel=1e-5)
    (run,) = runs
    assert run["epochs"][-1]["accuracy"]["spike"] == run["rows"][0]["accuracy"]
    assert run["epochs"][-1]["accuracy"]["accumulated"] == run["rows"][1]["accuracy"]


@pytest.mark.parametrize("classifier", ["shared", "separate"])
def test_readings_match_runs(results, classifier):
    own = "-separate" if classifier == "separate" else ""
    (path,) = (results / "runs").glob(f"digits-fsnn-IAND-DST{own}-4x*")
    tested = json.loads(path.read_text())["rows"]
    with (results / "readings-digits.csv").open() as file:
        found = {
            row["stream"]: float(row["accuracy"])
            for row in csv.DictReader(file)
            if (row["g"], row["dst"]) == ("IAND", classifier)
        }
    assert found["spike"] == pytest.approx(tested[0]["accuracy"], rel=1e-5)
    assert found["accumulated"] == pytest.approx(tested[1]["accuracy"], rel=1e-5)


def test_finished_runs_are_not_repeated(results):
    files = [results / "initial.json", *(results / "runs").iterdir()]
    before = {path: path.stat().st_mtime_ns for path in files}
    lost = next(iter((results / "runs").glob("digit-events-sew-ADD*")))
    found = json.loads(lost.read_text())
    lost.unlink()
    done = benchmark("--fast", "--folder", results, "train")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1), done.stderr
    again = json.loads(lost.read_text())
    assert {**found, "seconds": 0} == {**again, "seconds": 0}  # a run is the same to the last bit
    del before[lost]
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_fast_mode_needs_its_own_folder():
    done = benchmark("--fast")
    assert done.returncode == 2
    assert "--folder" in done.stderr.splitlines()[-1]
