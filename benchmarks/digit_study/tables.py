"""From the runs to the tables: means and standard deviations over the seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

ROWS = {
    ("spiking", False): "Spiking ResNet",
    ("spiking-DST", False): "Spiking ResNet (DST)",
    ("spiking-DST", True): "Spiking DSNN",
    ("fsnn-OR", False): "FSNN (OR)",
    ("fsnn-OR-DST", False): "FSNN (OR, DST)",
    ("fsnn-OR-DST", True): "DSNN (OR)",
    ("sew-IAND", False): "FSNN (IAND) = SEW (IAND)",
    ("fsnn-IAND-DST", False): "FSNN (IAND, DST)",
    ("fsnn-IAND-DST", True): "DSNN (IAND)",
    ("sew-ADD", False): "SEW (ADD)",
}
"""Table 2, by the label of a run and whether the AAP is in the network that is tested."""
MEASURED = ("accuracy", "o_ac", "dc_mj")
FIXED = ("T", "ec_min_mj", "ec_max_mj", "o_mac")
"""Numbers of the architecture, which no seed changes."""
ARCHITECTURE = ("ec_min_mj", "ec_max_mj", "o_mac")


def load(runs: Iterable[Path]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """From the JSON files of all runs: a line for each tested network, each block, each probe.

    The latter are |dL/ds_l| by block before and after training. The first runs were done without.
    """
    rows, blocks, probes = [], [], []
    for path in runs:
        content = json.loads(path.read_text(encoding="utf-8"))
        run = content["run"]
        of_run: dict[str, Any] = {
            "data": run["data"], "label": run["label"], "g": run["variant"]["g"] or "none",
            "dst": run["variant"]["dst"], "identity": run["identity"], "blocks": run["blocks"],
            "channels": run["channels"], "seed": run["seed"],
            "classifier": run["variant"].get("classifier", "shared"),
            "idea": run.get("idea", ""),
        }  # fmt: skip
        for row in content["rows"]:
            low, high = row.pop("ec_mj")
            aap = row.pop("network") == "with AAP"
            rows.append({**of_run, "aap": aap, **row, "ec_min_mj": low, "ec_max_mj": high})
        for number, block in enumerate(content["blocks"], 1):
            blocks.append({**of_run, "block": number, **block})
        for when, norms in content.get("gradients", {}).items():
            for number, norm in enumerate(norms, 1):
                probes.append({**of_run, "when": when, "block": number, "gradient": norm})
    return pd.DataFrame(rows), pd.DataFrame(blocks), pd.DataFrame(probes)


def with_shared_classifier(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the runs with one classifier for both streams and the recipe as it is."""
    return frame[(frame["classifier"] == "shared") & (frame["idea"] == "")]


def spread(frame: pd.DataFrame, by: list[str], values: tuple[str, ...]) -> pd.DataFrame:
    """Mean and sample standard deviation of ``values`` over the seeds."""
    groups = frame.groupby(by, sort=False)
    parts = {value: groups[value].mean() for value in values}
    parts |= {f"{value}_sd": groups[value].std() for value in values}
    return pd.DataFrame({"seeds": groups.size(), **parts}).reset_index()


def table2(rows: pd.DataFrame, data: str, blocks: int, channels: int) -> pd.DataFrame:
    """Networks of equal depth: accuracy, T, EC, O_ac, O_mac and DC, per sample."""
    chosen = with_shared_classifier(_of_size(rows, data, blocks, channels))
    keys = zip(chosen["label"], chosen["aap"], strict=True)
    named = chosen.assign(network=[ROWS.get(key) for key in keys]).dropna(subset="network")
    table = spread(named, ["network", *FIXED], MEASURED).set_index("network")
    order = [name for name in ROWS.values() if name in table.index]
    columns = ["seeds", "accuracy", "accuracy_sd", "T", "ec_min_mj", "ec_max_mj",
               "o_ac", "o_ac_sd", "o_mac", "dc_mj", "dc_mj_sd"]  # fmt: skip
    return table.loc[order, columns].reset_index()


def table3(rows: pd.DataFrame, data: str, blocks: int, channels: int) -> pd.DataFrame:
    """The functions g, trained by DST: the FSNN that is left, and the DSNN."""
    chosen = with_shared_classifier(_of_size(rows, data, blocks, channels))
    chosen = chosen[chosen["dst"] & (chosen["g"] != "none")]
    chosen = chosen.assign(network=["DSNN" if aap else "FSNN (DST)" for aap in chosen["aap"]])
    table = spread(chosen, ["network", "g"], ("accuracy", "dc_mj"))
    rank = {g: place for place, g in enumerate(("AND", "OR", "XOR", "IAND"))}
    by = table["g"].map(rank)
    return table.assign(rank=by).sort_values(["network", "rank"]).drop(columns="rank")


def figure3(rows: pd.DataFrame, channels: int) -> pd.DataFrame:
    """Accuracy of Spiking ResNet by depth, without and with DST, for both ways to start."""
    rows = with_shared_classifier(rows)
    chosen = rows[
        (rows["data"] == "digits") & (rows["channels"] == channels) & (rows["g"] == "none")
    ]
    names = [
        "DSNN" if aap else "FSNN (DST)" if dst else "without DST"
        for aap, dst in zip(chosen["aap"], chosen["dst"], strict=True)
    ]
    table = spread(chosen.assign(network=names), ["identity", "network", "blocks"], ("accuracy",))
    return table.sort_values(["identity", "network", "blocks"])


def figure5(blocks: pd.DataFrame, data: str, depth: int, channels: int) -> pd.DataFrame:
    """Firing rates of o_l and s_l by block, of the trained networks of Table 3."""
    chosen = with_shared_classifier(_of_size(blocks, data, depth, channels))
    chosen = chosen[chosen["dst"] & (chosen["g"] != "none")]
    return spread(chosen, ["g", "block"], ("rate_o", "rate_s"))


def readings(rows: pd.DataFrame, data: str, blocks: int, channels: int) -> pd.DataFrame:
    """Accuracy by g without DST, and with it under both readings of Eq. (12).

    The streams have one classifier, or each its own; ``stream`` is the one that is tested: "spike",
    which is deployed, or "accumulated". SEW with g = IAND is the FSNN without DST.
    """
    chosen = _of_size(rows, data, blocks, channels)
    chosen = chosen[chosen["label"] != "sew-ADD"]
    training = ["none" if not dst else each for dst, each in
                zip(chosen["dst"], chosen["classifier"], strict=True)]  # fmt: skip
    stream = ["accumulated" if aap else "spike" for aap in chosen["aap"]]
    by = ["g", "dst", "stream", *ARCHITECTURE]
    return spread(chosen.assign(dst=training, stream=stream), by, MEASURED)


def at_depth(rows: pd.DataFrame, depths: Iterable[int], channels: int) -> pd.DataFrame:
    """Accuracy of Spiking ResNet whose blocks start as the identity, by what is done differently.

    ``idea`` is "" for the recipe as it is, or one of `digit_study.runs.IDEAS`.
    """
    chosen = rows[
        (rows["data"] == "digits") & (rows["channels"] == channels) & (rows["g"] == "none")
        & rows["identity"] & rows["blocks"].isin(list(depths))
    ]  # fmt: skip
    training = ["none" if not dst else each for dst, each in
                zip(chosen["dst"], chosen["classifier"], strict=True)]  # fmt: skip
    stream = ["accumulated" if aap else "spike" for aap in chosen["aap"]]
    return spread(
        chosen.assign(dst=training, stream=stream),
        ["blocks", "dst", "idea", "stream"],
        ("accuracy",),
    ).sort_values(["blocks", "dst", "idea", "stream"])


def figure6(initial: pd.DataFrame) -> pd.DataFrame:
    """Firing rates before training. The AAP and the surrogate have no part in them."""
    chosen = initial[~initial["identity"] & (initial["alpha"] == 2) & ~initial["dst"]]
    return spread(chosen, ["g", "block"], ("rate_o", "rate_s"))


def gradients(initial: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """Figures 7 and 8: |dL/ds_l| before training."""
    chosen = initial[initial["alpha"] == alpha]
    return spread(chosen, ["identity", "g", "dst", "block"], ("gradient",))


def gradients_of_training(probes: pd.DataFrame) -> pd.DataFrame:
    """|dL/ds_l| of the first and the last block before and after training, and their ratio.

    Geometric means over the seeds, as norms differ by orders of magnitude; of the ratio the least
    and the largest, too. L is the loss that is trained, of both streams where there is DST: the
    norm does not tell from which of them it comes.
    """
    found = []
    keys = ["data", "blocks", "channels", "identity", "g", "dst", "classifier", "idea"]
    for key, group in probes.groupby(keys, sort=False):
        line = dict(zip(keys, key, strict=True))
        classifier = line.pop("classifier")
        line["dst"] = classifier if line["dst"] else "none"
        line["seeds"] = group["seed"].nunique()
        for when, part in group.groupby("when", sort=False):
            by_block = part.pivot(index="seed", columns="block", values="gradient")
            first, last = by_block[by_block.columns.min()], by_block[by_block.columns.max()]
            ratio = first / last
            line |= {f"first_{when}": _geometric(first), f"last_{when}": _geometric(last),
                     f"ratio_{when}": _geometric(ratio), f"ratio_{when}_min": ratio.min(),
                     f"ratio_{when}_max": ratio.max()}  # fmt: skip
        found.append(line)
    table = pd.DataFrame(found)
    return table.sort_values(["data", "identity", "blocks", "g", "dst", "idea"])


def _geometric(values: pd.Series) -> float:
    """The geometric mean of numbers of which none is negative."""
    return math.exp(values.map(math.log).mean()) if values.gt(0).all() else 0.0


def demo_row(table: pd.DataFrame) -> tuple[str, str]:
    """Return g and the classifiers of the FSNN that ``syops demo`` shows, from `readings`.

    Of the networks of spikes whose mean accuracy is behind the best one's by no more than both
    standard deviations together, which three seeds cannot tell apart, it is the one of least DC
    that was trained by DST, as a DSNN stands beside it. No single seed is looked at.
    """
    spike = table[table["stream"] == "spike"]
    best = spike.loc[spike["accuracy"].idxmax()]
    behind = best["accuracy"] - spike["accuracy"]
    near = spike[(behind <= spike["accuracy_sd"] + best["accuracy_sd"]) & (spike["dst"] != "none")]
    chosen = near.loc[near["dc_mj"].idxmin()]
    return str(chosen["g"]), str(chosen["dst"])


def _of_size(frame: pd.DataFrame, data: str, blocks: int, channels: int) -> pd.DataFrame:
    return frame[
        (frame["data"] == data)
        & (frame["blocks"] == blocks)
        & (frame["channels"] == channels)
        & ~frame["identity"]
    ]


def readable2(table: pd.DataFrame) -> str:
    """Table 2 in Markdown, energies in µJ and operations in thousands."""
    lines = [
        f"| {row.network} | {_percent(row.accuracy, row.accuracy_sd)} | {row.T} | "
        f"{1e3 * row.ec_min_mj:.3f}..{1e3 * row.ec_max_mj:.2f} | "
        f"{row.o_ac / 1e3:,.0f} ± {row.o_ac_sd / 1e3:,.0f} | {row.o_mac / 1e3:,.1f} | "
        f"{1e3 * row.dc_mj:.2f} ± {1e3 * row.dc_mj_sd:.2f} |"
        for row in table.itertuples()
    ]
    head = "| network | accuracy, % | T | EC, µJ | O_ac, k | O_mac, k | DC, µJ |"
    return "\n".join([head, "|---|--:|--:|--:|--:|--:|--:|", *lines, ""])


def readable3(table: pd.DataFrame) -> str:
    """Table 3 in Markdown."""
    lines = [
        f"| {row.network} | {row.g} | {_percent(row.accuracy, row.accuracy_sd)} | "
        f"{1e3 * row.dc_mj:.2f} |"
        for row in table.itertuples()
    ]
    return "\n".join(["| network | g | accuracy, % | DC, µJ |", "|---|---|--:|--:|", *lines, ""])


def readable_readings(table: pd.DataFrame) -> str:
    """Both readings in Markdown, a line for each g."""
    columns = [("none", "spike"), *((dst, stream) for dst in ("shared", "separate")
                                    for stream in ("spike", "accumulated"))]  # fmt: skip
    found = {
        (row.g, row.dst, row.stream): _percent(row.accuracy, row.accuracy_sd)
        for row in table.itertuples()
    }
    lines = [
        "| " + " | ".join(["none (spiking)" if g == "none" else g,
                           *(found.get((g, *column), "–") for column in columns)]) + " |"
        for g in ("none", "OR", "XOR", "IAND", "AND")
    ]  # fmt: skip
    head = ("| g | no DST | DST, shared: spike | accumulated | DST, separate: spike | "
            "accumulated |")  # fmt: skip
    return "\n".join([head, "|---|--:|--:|--:|--:|--:|", *lines, ""])


def readable_gradients(table: pd.DataFrame) -> str:
    """`gradients_of_training` in Markdown."""

    def norm(value: float) -> str:
        return f"{value:.1e}"

    def kind(g: str, identity: bool) -> str:
        return f"{'spiking' if g == 'none' else g}{', identity' * identity}"

    lines = [
        f"| {row.data} | {kind(row.g, row.identity)} | {row.blocks} | {row.dst} | "
        f"{row.idea or '–'} | {norm(row.first_before)} | {norm(row.last_before)} | "
        f"{norm(row.first_after)} | {norm(row.last_after)} | "
        f"{row.ratio_after:.2g} ({row.ratio_after_min:.2g}..{row.ratio_after_max:.2g}) |"
        for row in table.itertuples()
    ]  # fmt: skip
    head = ("| data | blocks | number | DST, classifiers | changed | before: first | last | "
            "after: first | last | first / last, over the seeds |")  # fmt: skip
    return "\n".join([head, "|---|---|--:|---|---|--:|--:|--:|--:|--:|", *lines, ""])


def readable_depth(table: pd.DataFrame) -> str:
    """Accuracies at depth in Markdown, of the stream that is deployed and the accumulated one."""
    lines = []
    for (blocks, dst, idea), group in table.groupby(["blocks", "dst", "idea"]):
        of = group.set_index("stream")
        cells = [
            _percent(of.loc[stream, "accuracy"], of.loc[stream, "accuracy_sd"])
            if stream in of.index else "–"
            for stream in ("spike", "accumulated")
        ]  # fmt: skip
        lines.append(f"| {blocks} | {dst} | {idea or '–'} | {' | '.join(cells)} |")
    head = "| blocks | DST, classifiers | changed | spike stream, % | accumulated, % |"
    return "\n".join([head, "|--:|---|---|--:|--:|", *lines, ""])


def _percent(mean: float, sd: float) -> str:
    one_seed = sd != sd
    return f"{100 * mean:.1f}" if one_seed else f"{100 * mean:.1f} ± {100 * sd:.1f}"
