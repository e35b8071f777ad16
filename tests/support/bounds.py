"""What a run measures lies between the ends that were foretold; what is proven is so."""

from __future__ import annotations

import json

import pytest

from syops import check_full_spike, get_model_bounds
from syops.ops.kinds import SPIKES


def rows_of(report):
    return {row.key: layer for row, layer in zip(report.rows, report.layers, strict=True)}


def assert_within(run, bounds):
    """DC in EC, in all and row by row, and as many ACs and MACs as were foretold at most."""
    low, high = bounds.ec_mj
    assert low * (1 - 1e-9) <= run.dc_mj <= high * (1 + 1e-9)
    ends = rows_of(bounds)
    for key, layer in rows_of(run).items():
        end = ends[key]
        assert end.ec_mj[0] * (1 - 1e-9) <= layer.dc_mj <= end.ec_mj[1] * (1 + 1e-9), key
        assert layer.ac <= end.dense_ac * (1 + 1e-9), key
        assert layer.mac <= end.mac * (1 + 1e-9), key
        if layer.kind in ("linear", "matmul") and layer.signal != "graded":
            assert layer.ac_events <= layer.dense * (1 + 1e-9), key


def assert_foretold(net, inputs, runs, *, graded="mac", energy="horowitz45-fp32", **common):
    """Both invariants of some runs, and that the bounds are JSON and words."""
    bounds = get_model_bounds(net, inputs, graded=graded, energy=energy, **common)
    audit = check_full_spike(net, inputs, allow=(), **common)
    for run in runs:
        assert_within(run, bounds)
        for row, layer in zip(audit.rows, [v for v in run.layers if v.signal], strict=True):
            assert row.verdict != "spike" or layer.signal in SPIKES, row
    text = bounds.to_json()
    json.loads(text, parse_constant=pytest.fail)
    assert type(bounds).from_json(text) == bounds
    assert "inf" not in str(bounds).lower().replace("info", "")
