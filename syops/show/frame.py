"""Give the layers of a report as a pandas table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from syops.cost.figures import Figures
from syops.errors import SyopsValueError
from syops.ledger.samples import Spread
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
        exact |= {name: [getattr(v, name) for v in report.operations] for name in names}
        frame = frame.assign(**exact)
    return frame


def rates_frame_of(report: Figures) -> pd.DataFrame:
    """Return rates by time-step; see `syops.report.report.Report.rates_frame`."""
    driven = [layer for layer in report.layers if layer.counted and layer.rate is not None]
    known = {layer.name: layer.rates for layer in driven if layer.rates is not None}
    return rates_by_step([(layer.name, known.get(layer.name)) for layer in driven], "layer")


def rates_by_step(rows: Sequence[tuple[str, Sequence[float] | None]], of: str) -> pd.DataFrame:
    """Return a line for each row, a column for each time-step; NaN where rates are not known.

    Args:
        rows: names and rates.
        of: what the names are of.
    """
    import pandas as pd

    steps = max((len(rates) for _, rates in rows if rates is not None), default=0)
    cells = [(None,) * steps if rates is None else rates for _, rates in rows]
    names = pd.Index([name for name, _ in rows], name=of)
    columns = pd.RangeIndex(steps, name="time_step")
    return pd.DataFrame(cells, index=names, columns=columns, dtype=float)


def spread_frame_of(report: Figures) -> pd.DataFrame:
    """Return how samples differ; see `syops.report.report.Report.spread_frame`."""
    import pandas as pd

    spread = report.spread
    if spread is None:
        raise SyopsValueError(f"spread_frame: {report.spread_reason}")
    classes = spread.by_class or {}
    names = pd.Index(["all", *classes], name="class", dtype=object)
    return pd.DataFrame(list(map(_spread_cells, (spread, *classes.values()))), index=names)


def _spread_cells(spread: Spread) -> dict[str, float | None]:
    cells: dict[str, float | None] = {"samples": spread.dc.number}
    for name, moments in (("ac", spread.ac), ("mac", spread.mac), ("dc_pj", spread.dc)):
        cells |= {
            f"{name}_mean": moments.mean,
            f"{name}_deviation": moments.deviation,
            f"{name}_half_width": moments.half_width,
            f"{name}_least": float(moments.least),
            f"{name}_most": float(moments.most),
        }
    return cells
