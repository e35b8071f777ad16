"""The paper's tables beside ours, as text."""

from collections.abc import Iterator, Sequence

from tabulate import tabulate

from syops.paper import Line, paired_sew, table2, table3, table4

STYLES = {"table": "simple", "markdown": "github"}


def render_tables(style: str = "table") -> str:
    """Tables 2, 3 and 4 of the paper beside what the architectures determine.

    Args:
        style: "table" for a terminal or "markdown".
    """
    return "\n\n".join(_sections(STYLES[style]))


def _sections(style: str) -> Iterator[str]:
    lines = table2()
    own = [line for line in lines if line.workload.model.startswith(("fsnn", "dsnn"))]
    yield "Table 2, ImageNet 224x224. O_mac in G and EC in mJ per image; ours minus printed."
    yield _table(
        ("network", "T", "BN", "O_mac", "ours", "diff", "EC", "ours", "diff"),
        [_of_table2(line) for line in lines],
        style,
    )
    yield (
        "The upper ends printed for FSNN and DSNN are those of other networks: the ACs of the SEW\n"
        "ResNet of the same depth on top of their own minimum. Eq. (15) with their own ACs gives:"
    )
    yield _table(
        ("network", "printed", "own min + SEW's ACs", "own, Eq. (15)", "O_ac printed", "mean rate"),
        [_upper_end(line, paired_sew(line, lines)) for line in own],
        style,
    )
    yield (
        "O_ac printed, in G, and the mean firing rate that it implies: O_ac / dense.\n\n"
        "Is the DC that is printed inside EC, in mJ? Table 2:"
    )
    yield _dc_table([line for line in lines if line.printed_dc is not None], style)
    yield "Table 3, event frames of 2x128x128, T = 16:"
    yield _dc_table(table3(), style)
    yield "Table 4, CIFAR100, 32x32, T = 4:"
    yield _dc_table(table4(), style)


def _of_table2(line: Line) -> Sequence[str]:
    printed, diff = "-", "-"
    if line.printed_o_mac is not None:
        printed = f"{line.printed_o_mac:.2f}"
        diff = f"{line.o_mac - line.printed_o_mac:+.3f}"
    printed_ec, ec_diff = "-", "-"
    if line.printed_ec is not None:
        printed_ec = _interval(line.printed_ec)
        ends = zip(line.ec, line.printed_ec, strict=True)
        ec_diff = " ".join(f"{ours - theirs:+.2f}" for ours, theirs in ends)
    operations = printed, f"{line.o_mac:.4f}", diff
    return (
        *(line.network, str(line.T), line.bn, *operations),
        *(printed_ec, _interval(line.ec), ec_diff),
    )


def _upper_end(line: Line, sew: Line) -> Sequence[str]:
    (low, high), (sew_low, sew_high) = line.ec, sew.ec
    printed = "-" if line.printed_ec is None else f"{line.printed_ec[1]:.2f}"
    rate = "-" if line.implied_rate is None else f"{line.implied_rate:.1%}"
    ac = "-" if line.printed_o_ac is None else f"{line.printed_o_ac:.2f}"
    return line.network, printed, f"{low + sew_high - sew_low:.2f}", f"{high:.2f}", ac, rate


def _dc_table(lines: Sequence[Line], style: str) -> str:
    rows = [
        (
            *(line.network, line.bn, f"{line.o_mac:.4f}", f"{line.dense_ac:.3f}"),
            *(_interval(line.ec), f"{line.printed_dc:.2f}", "yes" if line.dc_inside else "NO"),
        )
        for line in lines
    ]
    return _table(("network", "BN", "O_mac", "dense AC", "EC", "DC", "inside"), rows, style)


def _interval(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.2f}..{ends[1]:.2f}"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], style: str) -> str:
    aligned = ("left", *("right",) * (len(headings) - 1))
    return tabulate(rows, headings, tablefmt=style, disable_numparse=True, colalign=aligned)
