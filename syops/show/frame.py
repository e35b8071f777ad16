"""Give the layers of a report as a pandas table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from syops.cost.figures import Figures
from syops.show.layers import layer_table

if TYPE_CHECKING:
    import pandas as pd


def frame_of(report: Figures, totals: bool) -> pd.DataFrame:
    """Return the layers as a pandas table; see `syops.report.report.Report.to_frame`."""
    frame = layer_table(report, every=True).to_frame()
    if totals:
        for name in ("dc_mj", "ec_min_mj", "ec_max_mj"):
            frame[name] *= report.samples
        exact = {"dense": [row.dense for row in report.effective_rows]}
        names = ("mac", "dense_ac", *(("ac", "ac_events") if report.measured else ()))
        exact |= {name: [getattr(v, name) for v in report.verdicts] for name in names}
        frame = frame.assign(**exact)
    return frame


def rates_frame_of(report: Figures) -> pd.DataFrame:
    """Return rates by time-step; see `syops.report.report.Report.rates_frame`."""
    import pandas as pd

    driven = [layer for layer in report.layers if layer.counted and layer.rate is not None]
    known = {layer.name: layer.rates for layer in driven if layer.rates is not None}
    steps = len(next(iter(known.values()), ()))
    rates = [known.get(layer.name, (None,) * steps) for layer in driven]
    names = pd.Index([layer.name for layer in driven], name="layer")
    columns = pd.RangeIndex(steps, name="time_step")
    return pd.DataFrame(rates, index=names, columns=columns, dtype=float)
