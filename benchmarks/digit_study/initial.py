"""Firing rates and gradients of deep networks before any training: Figures 6 to 8."""

from __future__ import annotations

from typing import Any

import torch
from spikingjelly.activation_based import surrogate
from torch import nn

from syops import create_model
from syops.dst import digits, probe_blocks, seed_everything
from syops.models import attach_aap, zero_init_residual

CONNECTIONS = ("OR", "XOR", "IAND", "AND", None)
"""The functions g of blocks g(SN(f(x)), x); None: blocks SN(f(x) + x)."""
ALPHAS = (2.0, 3.0)
"""Slopes of the surrogate at the threshold are alpha / 2: 1 and 1.5."""
BLOCKS, CHANNELS, T, SAMPLES = 24, 8, 4, 64
"""50 layers: stem, 24 blocks of two convolutions, classifier."""


def deep_network(g: str | None, alpha: float, dst: bool, identity: bool) -> nn.Module:
    """IF neurons with V_th = 1; ``identity``: every block hands on what it gets, s_l = 0."""
    keywords: dict[str, Any] = {"g": g} if g else {}
    network = create_model(
        "fsnn_digits" if g else "spiking_digits",
        blocks=BLOCKS, channels=CHANNELS, T=T, v_threshold=1.0,
        surrogate=surrogate.ATan(alpha=alpha), **keywords,
    )  # fmt: skip
    if dst:
        network = attach_aap(network, classifier="shared")
    if identity:
        zero_init_residual(network)
    return network


def probe_initial(seeds: int) -> list[dict[str, Any]]:
    """Of every network, seed by seed: rates of o_l and s_l and |dL/ds_l| by block."""
    torch.set_num_threads(1)
    (x, y), _ = digits()
    found = []
    for seed in range(seeds):
        for identity in (False, True):
            for g in CONNECTIONS:
                for alpha in ALPHAS:
                    for dst in (False, True):
                        seed_everything(seed)
                        network = deep_network(g, alpha, dst, identity)
                        probes = probe_blocks(network, x[:SAMPLES], y[:SAMPLES])
                        found += [
                            {
                                "seed": seed, "identity": identity, "g": g or "none",
                                "alpha": alpha, "dst": dst, "block": number,
                                "rate_o": probe.rate_o, "rate_s": probe.rate_s,
                                "gradient": float(f"{probe.gradient:.4g}"),
                            }
                            for number, probe in enumerate(probes, 1)
                        ]  # fmt: skip
    return found
