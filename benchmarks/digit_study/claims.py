"""What the paper claims, asked of the numbers; and the numbers, whatever the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Claim:
    """A sentence, whether it holds of the means, and what was seen.

    Attributes:
        name: where it was looked for, a colon, and what for.
    """

    name: str
    text: str
    holds: bool
    seen: str


def of_table2(table: pd.DataFrame, data: str) -> Iterator[Claim]:
    accuracy = table.set_index("network")["accuracy"]
    sd = table.set_index("network")["accuracy_sd"].fillna(0)
    dc = table.set_index("network")["dc_mj"]

    def told(name: str) -> str:
        return f"{accuracy[name]:.1%} ± {sd[name]:.1%}"

    for g, plain in (("OR", "FSNN (OR)"), ("IAND", "FSNN (IAND) = SEW (IAND)")):
        dst = f"FSNN ({g}, DST)"
        yield Claim(
            f"{data}: dst helps FSNN {g}",
            f"An FSNN with g = {g} is at least as accurate with DST as without",
            bool(accuracy[dst] >= accuracy[plain]),
            f"{told(dst)} with, {told(plain)} without",
        )
        fsnn, dsnn, sew = dc[dst], dc[f"DSNN ({g})"], dc["SEW (ADD)"]
        yield Claim(
            f"{data}: energy {g}",
            f"DC(FSNN) <= DC(DSNN) < DC(SEW ADD), g = {g}",
            bool(fsnn <= dsnn < sew),
            f"{1e3 * fsnn:.3g}, {1e3 * dsnn:.3g} and {1e3 * sew:.3g} µJ",
        )
    name = "Spiking ResNet"
    yield Claim(
        f"{data}: dst helps Spiking ResNet",
        "Spiking ResNet is at least as accurate with DST as without",
        bool(accuracy[f"{name} (DST)"] >= accuracy[name]),
        f"{told(f'{name} (DST)')} with, {told(name)} without",
    )


def of_table3(table: pd.DataFrame, data: str) -> Iterator[Claim]:
    for network in ("FSNN (DST)", "DSNN"):
        accuracy = table[table["network"] == network].set_index("g")["accuracy"]
        others = accuracy.drop("AND")
        yield Claim(
            f"{data}: AND collapses, {network}",
            f"With g = AND the {network} is far less accurate than with any other g",
            bool(accuracy["AND"] < others.min() - 0.1),
            ", ".join(f"{g} {accuracy[g]:.1%}" for g in accuracy.index),
        )


def of_readings(table: pd.DataFrame, data: str) -> Iterator[Claim]:
    """Whether the deployed network gains from DST with a classifier for each stream.

    With a shared one it is a claim of Table 2.
    """
    spike = table[table["stream"] == "spike"].set_index(["g", "dst"])

    def told(key: tuple[str, str]) -> str:
        return f"{spike.loc[key, 'accuracy']:.1%}"

    for g in ("none", "OR", "IAND"):
        name = "Spiking ResNet" if g == "none" else f"FSNN with g = {g}"
        with_dst, plain = (g, "separate"), (g, "none")
        yield Claim(
            f"{data}: dst with separate classifiers, {g}",
            f"{name}: at least as accurate with DST, a classifier for each stream, as without",
            bool(spike.loc[with_dst, "accuracy"] >= spike.loc[plain, "accuracy"]),
            f"{told(with_dst)} with, {told(plain)} without",
        )


def of_figure3(table: pd.DataFrame) -> Iterator[Claim]:
    for start in sorted(table["identity"].unique(), reverse=True):
        part = table[table["identity"] == start]
        lines = {
            name: group.set_index("blocks")["accuracy"]
            for name, group in part.groupby("network", sort=False)
        }
        how = "identity start" if start else "usual start"

        def told(line: pd.Series) -> str:
            return ", ".join(f"{blocks}: {share:.1%}" for blocks, share in line.items())

        plain = lines["without DST"]
        yield Claim(
            f"depth, {how}: without DST",
            "Without DST Spiking ResNet gets worse with depth",
            bool(plain.iloc[-1] < plain.iloc[0] - 0.1),
            told(plain),
        )
        for name in ("FSNN (DST)", "DSNN"):
            line = lines[name]
            yield Claim(
                f"depth, {how}: {name}",
                f"With DST it does not ({name})",
                bool(line.iloc[-1] >= line.iloc[0] - 0.1),
                told(line),
            )
            yield Claim(
                f"depth, {how}: {name} above",
                f"With DST it is more accurate at every depth ({name})",
                bool((line >= plain).all()),
                ", ".join(f"{b}: {line[b] - plain[b]:+.1%}" for b in line.index),
            )


def of_rates(table: pd.DataFrame, when: str) -> Iterator[Claim]:
    last = table["block"].max()
    o = table[table["block"] == last].set_index("g")["rate_o"]
    yield Claim(
        f"{when}: order of o",
        "Firing rates of the last o_l: OR > XOR > IAND > AND",
        bool(o["OR"] > o["XOR"] > o["IAND"] > o["AND"]),
        ", ".join(f"{g} {o[g]:.3f}" for g in ("OR", "XOR", "IAND", "AND")),
    )
    if when != "initial":
        return
    silent = table[(table["g"] == "AND") & (table["block"] > last // 2)]["rate_o"].max()
    yield Claim(
        "initial: silence of AND",
        "With g = AND the second half of the network is silent",
        bool(silent == 0),
        f"largest rate of o_l there: {silent:.2g}",
    )
    for g in ("OR", "XOR", "IAND"):
        s = table[table["g"] == g]["rate_s"]
        yield Claim(
            f"initial: stable s, {g}",
            f"With g = {g} the firing rate of s_l stays stable over the depth",
            bool(s.max() < 2 * s.min()),
            f"between {s.min():.3f} and {s.max():.3f}",
        )


def of_gradients(table: pd.DataFrame, alpha: float) -> Iterator[Claim]:
    def ends(identity: bool, g: str, dst: bool) -> tuple[float, float]:
        part = table[
            (table["identity"] == identity) & (table["g"] == g) & (table["dst"] == dst)
        ].sort_values("block")
        return float(part["gradient"].iloc[0]), float(part["gradient"].iloc[-1])

    def claim(
        name: str, text: str, at: tuple[bool, str, bool], holds: Callable[[float, float], bool]
    ) -> Claim:
        first, last = ends(*at)
        seen = f"first block {first:.2g}, last block {last:.2g}"
        return Claim(f"alpha {alpha:g}: {name}", text, holds(first, last), seen)

    def stable(first: float, last: float) -> bool:
        return 0.1 < first / last < 10 if last else False

    for g in ("OR", "XOR", "IAND", "AND"):
        # With AND s_l = 0 is not an identity on spikes; on the AAP it is, as with any g.
        blocks = "Blocks with s_l = 0" if g == "AND" else "Blocks that are the identity"
        yield claim(
            f"with DST, {g}, identity",
            f"{blocks}, DST, g = {g}: first and last within a factor of 10",
            (True, g, True),
            stable,
        )
    yield claim(
        "without DST, AND",
        "Without DST and with g = AND no gradient reaches the first block",
        (False, "AND", False),
        lambda first, last: first == 0,
    )
    yield claim(
        "with DST, AND",
        "With DST and g = AND the first block has a gradient",
        (False, "AND", True),
        lambda first, last: first > 0,
    )
    spiking = "Blocks SN(f(x) + x) that are the identity"
    if alpha == 2:
        text = f"{spiking}, without DST: the gradient vanishes by orders of magnitude"
        yield claim("without DST, spiking, vanishes", text, (True, "none", False),
                    lambda first, last: first < 0.01 * last)  # fmt: skip
    else:
        text = f"{spiking}, without DST: the gradient explodes by orders of magnitude"
        yield claim("without DST, spiking, explodes", text, (True, "none", False),
                    lambda first, last: first > 100 * last)  # fmt: skip
    text = f"{spiking}, DST: first and last within a factor of 10"
    yield claim("with DST, spiking, identity", text, (True, "none", True), stable)


def of_training(table: pd.DataFrame) -> Iterator[Claim]:
    """Whether DST keeps the gradient of deep networks alive while they are trained."""
    for blocks, group in table[table["identity"] & (table["g"] == "none")].groupby("blocks"):
        with_dst, plain = group[group["dst"] != "none"], group[group["dst"] == "none"]
        low, high = with_dst["ratio_after_min"].min(), with_dst["ratio_after_max"].max()
        yield Claim(
            f"{blocks} blocks, trained: with DST",
            "With DST, |dL/ds_l| of the first and the last block are within a factor of 10 after "
            "every training",
            bool(low > 0.1 and high < 10),
            f"first / last from {low:.2g} to {high:.2g}",
        )
        for row in plain.itertuples():
            yield Claim(
                f"{blocks} blocks, trained: without DST",
                "Without DST, |dL/ds_l| of the first block is less than a tenth of the last's "
                "after every training",
                bool(row.ratio_after_max < 0.1),
                f"first / last from {row.ratio_after_min:.2g} to {row.ratio_after_max:.2g}",
            )


def readable(found: list[Claim]) -> str:
    """A table in Markdown."""
    lines = [
        f"| {claim.name.partition(':')[0]} | {claim.text} | {'yes' if claim.holds else '**no**'} "
        f"| {claim.seen} |"
        for claim in found
    ]
    return "\n".join(["| where | claim | holds | seen |", "|---|---|---|---|", *lines, ""])
