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
