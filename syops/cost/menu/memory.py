"""Price the accesses to memory beside the arithmetic: laws of Lemaire et al., and STEP."""

from __future__ import annotations

from collections.abc import Callable

from syops.cost.figures import Figures
from syops.cost.memory import KIB, MIB, Access, MemoryFigures, MemoryModel, more_than_arithmetic
from syops.cost.menu.asked import Refused, adds_bias, neuron_rows, synaptic_rows
from syops.cost.menu.setting import Constants, Setting
from syops.cost.pricing import PJ_PER_MJ


def _accesses(report: Figures, model: MemoryModel, law: Callable[[Access], float]) -> float:
    """Return the report's DC and its accesses under a law, over all samples."""
    whole = more_than_arithmetic(report)
    if whole:
        raise Refused(
            f"the report is priced as {whole}, whose operations are more than arithmetic: "
            "priced('horowitz45-fp32') first"
        )
    figures = MemoryFigures.of(report, model)
    found = (access for row in figures.rows for access in row.accesses)
    memory = sum((access.count or 0.0) * law(access) for access in found if access.count)
    assert report.dc_mj is not None  # it was measured
    return report.dc_mj * PJ_PER_MJ * report.samples + memory * report.samples


def interpolation(c: Constants, width: int) -> MemoryModel:
    """Return prices of memory through the constants of Lemaire et al., each for ``width`` bytes."""
    sizes = {8 * KIB: "8_KiB", 32 * KIB: "32_KiB", MIB: "1_MiB"}
    points = [(size, c[f"pj_per_{width}_bytes_at_{name}"] / width) for size, name in sizes.items()]
    return MemoryModel(points=((0, 0.0), *points))


def interpolated(report: Figures, c: Constants, setting: Setting) -> float:
    """Return DC + accesses · (a price between those of SRAMs of three sizes)."""
    prices = interpolation(c, 8)

    def law(access: Access) -> float:
        return float(prices.pj_per_byte(access.buffer)) * access.bytes_each

    return _accesses(report, setting.memory, law)


def regression(report: Figures, c: Constants, setting: Setting) -> float:
    """Return DC + accesses · (slope · bits of the buffer + intercept)."""

    def law(access: Access) -> float:
        return c["slope_pj_per_bit"] * 8 * access.buffer + c["intercept_pj"]

    return _accesses(report, setting.memory, law)


def width(report: Figures, c: Constants, setting: Setting) -> float:
    """Return DC + accesses · (price of 64 bits / values in these)."""

    def law(access: Access) -> float:
        return c["pj_per_64_bits"] / max(1, 64 // (8 * access.bytes_each))

    return _accesses(report, setting.memory, law)


def step_bytes(report: Figures, memory: MemoryModel) -> dict[str, int]:
    """Return the bytes of weights, biases and states that are read or written, over all samples."""
    weights = biases = 0
    for row, operations in synaptic_rows(report):
        each = memory.bytes_each(row.dtype)
        weights += each * (operations.mac or operations.ac_events)
        biases += each * row.written if adds_bias(row) else 0
    states = sum(memory.bytes_each(row.dtype) * row.written for row in neuron_rows(report))
    return {"weights": weights, "biases": biases, "states": 2 * states}


def step(report: Figures, c: Constants, setting: Setting) -> float:
    """Return AC · E_ac + MAC · E_mac + bits that are read or written · E_mem."""
    totals = report.totals
    arithmetic = totals.ac_events * c["ac_pj"] + totals.mac * c["mac_pj"]
    stored = sum(step_bytes(report, setting.memory).values())
    return arithmetic + 8 * c["memory_pj_per_bit"] * stored
