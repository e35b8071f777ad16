"""Put the paper's tables beside ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from syops.dst.paper import (
    GIGA,
    PaperRow,
    Reading,
    equal_as_printed,
    paired_sew,
    table2,
    table3,
    table4,
)
from syops.show.table import Column, Value
from syops.show.tabular import Table

NETWORK = Column("name", "network")
STEPS = Column("time_steps", "T", "integer")
REFERENCE = Column("reference", "reference")
O_MAC = Column("mac", "O_mac", "count", "G", decimals=4)
EC = Column("ec_mj", "EC", "energy", "mJ", decimals=2, interval=True)
END = replace(EC, interval=False)
DC = Column("dc_mj", "DC", "energy", "mJ", decimals=2)


def tables() -> tuple[Table, ...]:
    """Return Tables 2, 3 and 4 of the paper beside what the architectures determine.

    Of each network both readings: BatchNorms folded, and BatchNorms counted as 2 MACs an element.
    """
    lines, events = table2(), table3()
    own = [line for line in lines if line.workload.model.startswith(("fsnn", "dsnn"))]
    return (
        _macs(lines),
        _ends(lines, 0, _OF_ROUNDED),
        _ends(lines, 1),
        _upper_ends(own, lines),
        _inside(lines),
        *(
            _possible(
                [line for line in events if line.data == data],
                f"Table 3, {data}, event frames of 2x128x128, T = 16. SEW: Fang 2021a",
            )
            for data in dict.fromkeys(line.data for line in events)
        ),
        _possible(table4(), "Table 4, CIFAR100, 32x32, T = 4. Spikformer: Zhou 2023"),
    )


_OF_ROUNDED = ("The EC min that is printed is 4.6 pJ times the rounded O_mac: 4.6 x 2.75 = 12.65",)
_NO_CLASSIFIER = (
    "0.15 and 0.24 leave the classifier out: without it td-BN's counted 0.1554 is 0.1548, and "
    "0.2454 is 0.2434",
)


def _macs(lines: Sequence[PaperRow]) -> Table:
    return _side_by_side(
        lines,
        "O_mac",
        O_MAC,
        lambda line: line.printed_o_mac,
        lambda each: each.o_mac,
        _NO_CLASSIFIER,
    )


def _ends(lines: Sequence[PaperRow], end: int, notes: tuple[str, ...] = ()) -> Table:
    """Return the lower (0) or upper (1) ends of EC."""

    def printed(line: PaperRow) -> float | None:
        return None if line.printed_ec is None else line.printed_ec[end]

    quantity = f"EC {('min', 'max')[end]}"
    return _side_by_side(lines, quantity, END, printed, lambda each: each.ec[end], notes)


def _side_by_side(
    lines: Sequence[PaperRow],
    quantity: str,
    column: Column,
    printed: Callable[[PaperRow], float | None],
    ours: Callable[[Reading], float],
    notes: tuple[str, ...] = (),
) -> Table:
    """Return one printed quantity beside both readings, and which of them is equal to it."""
    size = GIGA if column.kind == "count" else 1.0
    columns = (
        *(NETWORK, STEPS, REFERENCE),
        replace(column, key="printed", heading="printed", decimals=2),
        replace(column, key="folded", heading="folded"),
        replace(column, key="counted", heading="counted"),
        Column("equal", "equal"),
    )
    rows = []
    for line in lines:
        told, pair = printed(line), [ours(line.folded), ours(line.counted)]
        equal = which(*(equal_as_printed(told, value) for value in pair))
        figures = [None if value is None else value * size for value in (told, *pair)]
        rows.append((line.network, line.T, reference(line), *figures, equal))
    caption = (
        f"Table 2, ImageNet 224x224: {quantity} per image, as printed, with BatchNorms folded and "
        "with BatchNorms counted; which of the two is equal at printed precision"
    )
    return Table(columns, tuple(rows), caption=caption, notes=notes)


def reference(line: PaperRow) -> str:
    """Return whose network it is, in short: "Fang 2021a"."""
    return line.source.replace(" et al.", "")


def which(folded: bool | None, counted: bool | None) -> str | None:
    """Return whether something holds, and for which reading; None where that is not known.

    >>> which(True, True), which(False, True), which(False, False)
    ('yes, both', 'yes, counted', 'no')
    """
    if folded is None or counted is None:
        return None
    if folded and counted:
        return "yes, both"
    return "yes, folded" if folded else "yes, counted" if counted else "no"


def _upper_ends(own: Sequence[PaperRow], lines: tuple[PaperRow, ...]) -> Table:
    columns = (
        NETWORK,
        replace(END, key="printed_mj", heading="printed"),
        replace(END, key="with_sew_mj", heading="own min + SEW's ACs"),
        replace(END, key="own_mj", heading="own, Eq. (15)"),
        Column("ac", "O_ac printed", "count", "G", decimals=2),
        Column("mean_rate", "rate", "share"),
    )
    rows = []
    for line in own:
        (low, high), (sew_low, sew_high) = line.ec, paired_sew(line, lines).ec
        printed = None if line.printed_ec is None else line.printed_ec[1]
        ac = None if line.printed_o_ac is None else line.printed_o_ac * GIGA
        rows.append((line.network, printed, low + sew_high - sew_low, high, ac, line.implied_rate))
    return Table(
        columns,
        tuple(rows),
        caption="The upper ends printed for FSNN and DSNN are those of other networks: the ACs of "
        "the SEW ResNet of the same depth on top of their own minimum. Eq. (15) with their own "
        "ACs gives:",
        notes=("The rate is the mean one that the printed O_ac implies: O_ac / dense",),
    )


def _inside(lines: Sequence[PaperRow]) -> Table:
    rows = (
        (line.network, line.T, reference(line), line.printed_dc, _is_inside(line))
        for line in lines
        if line.printed_dc is not None
    )
    columns = (NETWORK, STEPS, REFERENCE, DC, Column("inside", "inside"))
    return Table(columns, tuple(rows), caption="Is the DC that Table 2 prints inside our EC?")


def _is_inside(line: PaperRow) -> str | None:
    return which(line.dc_inside(line.folded), line.dc_inside(line.counted))


def _possible(lines: Sequence[PaperRow], caption: str) -> Table:
    """Return EC under both readings, and whether the printed DC lies inside."""
    columns = (
        NETWORK,
        replace(EC, key="ec_folded_mj", heading="EC, folded"),
        replace(EC, key="ec_counted_mj", heading="EC, counted"),
        DC,
        Column("inside", "inside"),
    )
    rows = (
        (line.network, line.folded.ec, line.counted.ec, line.printed_dc, _is_inside(line))
        for line in lines
    )
    return Table(columns, tuple(rows), caption=caption)


def data() -> Table:
    """Return all figures of the three tables as one: a row for each network and reading."""
    columns = (
        Column("table", "table", "integer"),
        NETWORK,
        Column("data", "data"),
        STEPS,
        Column("reference", "reference"),
        Column("bn", "BN"),
        Column("mac", "O_mac", "count"),
        Column("dense_ac", "dense AC", "count"),
        EC,
        Column("printed_ac", "O_ac printed", "count"),
        Column("printed_mac", "O_mac printed", "count"),
        replace(EC, key="printed_ec_mj", heading="EC printed"),
        Column("printed_dc_mj", "DC printed", "energy", "mJ"),
        Column("mac_equal", "O_mac equal", "flag"),
        Column("ec_min_equal", "EC min equal", "flag"),
        Column("ec_max_equal", "EC max equal", "flag"),
        Column("dc_inside", "DC inside", "flag"),
    )
    return Table(columns, tuple(_records()))


def _records() -> Iterator[tuple[Value, ...]]:
    shown = {2: (table2(), "ImageNet"), 3: (table3(), ""), 4: (table4(), "CIFAR100")}
    for number, (lines, on) in shown.items():
        for line in lines:
            for bn, reading in (("folded", line.folded), ("counted", line.counted)):
                low, high = line.printed_ec or (None, None)
                yield (
                    *(number, line.network, line.data or on, line.T, line.source, bn),
                    *(round(reading.o_mac * GIGA), round(reading.dense_ac * GIGA), reading.ec),
                    *(_giga(line.printed_o_ac), _giga(line.printed_o_mac)),
                    *(line.printed_ec, line.printed_dc),
                    equal_as_printed(line.printed_o_mac, reading.o_mac),
                    equal_as_printed(low, reading.ec[0]),
                    equal_as_printed(high, reading.ec[1]),
                    line.dc_inside(reading),
                )


def _giga(value: float | None) -> int | None:
    return None if value is None else round(value * GIGA)
