"""Price the cycles of crossbars: SpikeSim."""

from __future__ import annotations

import math

from syops.cost.figures import Figures
from syops.cost.menu.asked import Refused, name_of, synaptic_rows
from syops.cost.menu.setting import Constants, Setting
from syops.ops.kinds import PLANAR


def spikesim(report: Figures, c: Constants, setting: Setting) -> float:
    """Return Σ T · ceil(Ci/X) · ceil(Co/X) · Ho · Wo · E_cycle."""
    size = int(c["crossbar_size"])
    rows = size / 8
    control = c["htree_pj"] + c["memory_fetch_pj"] + c["tile_buffer_pj"]
    control += rows * (16 * c["subtraction_pj"] + c["temporary_buffer_pj"])
    control += rows * rows * (c["adc_pj"] + c["mux_pj"]) + c["neuron_pj"]
    total = 0.0
    for row, _ in synaptic_rows(report):
        if row.operator != PLANAR or len(row.weight_shape) != 4:
            raise Refused(f"not a conv2d of one shape: {name_of(row)}")
        if row.groups != 1:
            raise Refused(f"a convolution with groups: {name_of(row)}")
        outputs, inputs, *kernel = row.weight_shape
        cycles = row.written // max(1, outputs) * -(-inputs // size) * -(-outputs // size)
        total += cycles * (control + rows * math.prod(kernel) * c["rram_crossbar_pj"])
    if not total:
        raise Refused("no conv2d")
    return total
