"""The table of Fashion-MNIST in the docs: against the runs that it is of."""

import json

from tests import ROOT

RUNS = ROOT / "benchmarks" / "results" / "fashion-mnist" / "runs"


def test_the_table_has_what_the_runs_came_to():
    page = (ROOT / "docs" / "fashion_mnist.md").read_text("utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines()]
    told = {row[0]: row[1:] for row in rows if len(row) == 8 and row[1].endswith("%")}
    runs = [json.loads(path.read_text("utf-8")) for path in RUNS.glob("*.json")]
    found = {row["name"]: row for run in runs for row in run["rows"]}
    assert told.keys() == found.keys()
    for name, (accuracy, steps, ac, mac, dc, ec, ratio) in told.items():
        row = found[name]
        assert accuracy == f"{row['accuracy']:.2%}"
        assert int(steps) == row["time_steps"]
        assert (ac, mac) == (f"{row['ac'] / 1e3:,.0f}", f"{row['mac'] / 1e3:,.1f}")
        priced = (0.9 * row["ac"] + 4.6 * row["mac"]) * 1e-6  # µJ, by hand
        assert dc == f"{priced:.2f}"
        assert ec == "..".join(f"{1e3 * end:.2f}" for end in row["ec_mj"])
        assert ratio == f"{row['energy_ratio']:.3f}"
