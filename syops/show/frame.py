"""The layers of a report as a pandas table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from syops.cost.figures import Figures

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    *("name", "kind", "signal", "calls", "params", "rate", "dense"),
    *("ac", "ac_events", "mac", "energy_mj", "share", "dense_ac", "folded"),
)


def frame_of(report: Figures, totals: bool) -> pd.DataFrame:
    """See `syops.report.report.Report.to_frame`."""
    import pandas as pd

    lines = [{column: getattr(layer, column) for column in COLUMNS} for layer in report.layers]
    if totals:
        for line, layer, row, verdict in zip(
            lines, report.layers, report.rows, report.verdicts, strict=True
        ):
            line |= {"dense": row.dense, "mac": verdict.mac, "dense_ac": verdict.dense_ac}
            if report.measured:
                energy = None if layer.energy_mj is None else layer.energy_mj * report.samples
                line |= {"ac": verdict.ac, "ac_events": verdict.ac_events, "energy_mj": energy}
    return pd.DataFrame(lines, columns=list(COLUMNS))
