"""Price the events of a processor: synaptic operations, updates of neurons, spikes, time."""

from __future__ import annotations

from syops.cost.figures import Figures
from syops.cost.menu.asked import (
    Refused,
    name_of,
    neuron_rows,
    refuse_macs,
    spikes_sent,
    synaptic_rows,
)
from syops.cost.menu.setting import Constants, Setting
from syops.cost.pricing import PJ_PER_MJ


def kerasspiking(report: Figures, c: Constants, setting: Setting) -> float:
    """Return E = synops · e_s + updates · e_n, synops = mean rate · connections."""
    refuse_macs(report)
    updates = sum(row.dense for row in neuron_rows(report))
    return float(report.totals.ac) * c["synop_pj"] + updates * c["neuron_pj"]


def sana_fe(report: Figures, c: Constants, setting: Setting) -> float:
    """Return the energy of synaptic events, neuron updates, spikes, messages and their hops."""
    refuse_macs(report)
    along, across = setting.hops or (0.0, 0.0)
    message = c["message_pj"] + along * c["hop_east_west_pj"] + across * c["hop_north_south_pj"]
    total = 0.0
    for row, operations in synaptic_rows(report):
        if row.kind == "matmul":
            raise Refused(f"a product of two activations: {name_of(row)}")
        each = c["synapse_conv_pj" if row.kind == "conv" else "synapse_dense_pj"]
        total += operations.ac_events * each + operations.spikes * message
    updates = sum(row.dense for row in neuron_rows(report))
    total += updates * (c["soma_access_pj"] + c["soma_update_pj"])
    return total + spikes_sent(report) * c["soma_spike_pj"]


def spyx(report: Figures, c: Constants, setting: Setting) -> float:
    """Return SOP·(E_ACC + b·E_w) + N·T·(E_CMP + 2·b·E_u) + spikes·E_SUB."""
    refuse_macs(report)
    updates = sum(row.dense for row in neuron_rows(report))
    synops, bits = report.totals.ac_events, c["bits"]
    weights = synops * (c["accumulate_pj"] + bits * c["weight_pj_per_bit"])
    states = updates * (c["compare_pj"] + 2 * bits * c["state_pj_per_bit"])
    return weights + states + spikes_sent(report) * c["subtract_pj"]


def at_rest(report: Figures, c: Constants, setting: Setting) -> float:
    """Return the power at rest · latency."""
    if setting.latency_ms is None:
        raise Refused("how long an inference takes is not known: latency=, --latency")
    return c["resting_mw"] * setting.latency_ms * PJ_PER_MJ / 1000 * report.samples
