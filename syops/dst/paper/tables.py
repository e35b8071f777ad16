"""Put the paper's tables beside ours."""

from collections.abc import Sequence
from dataclasses import replace

from syops.dst.paper import GIGA, Line, paired_sew, table2, table3, table4
from syops.show.table import Column
from syops.show.tabular import Table

NETWORK = Column("name", "network")
BN = Column("bn", "BN")
O_MAC = Column("mac", "O_mac", "count", "G", decimals=4)
EC = Column("ec_mj", "EC", "energy", "mJ", decimals=2, interval=True)


def tables() -> tuple[Table, ...]:
    """Return Tables 2, 3 and 4 of the paper beside what the architectures determine."""
    lines = table2()
    own = [line for line in lines if line.workload.model.startswith(("fsnn", "dsnn"))]
    return (
        _macs_and_ec(lines),
        _upper_ends(own, lines),
        _dc_table(
            [line for line in lines if line.printed_dc is not None],
            "Is the DC that Table 2 prints inside EC?",
        ),
        _dc_table(table3(), "Table 3, event frames of 2x128x128, T = 16"),
        _dc_table(table4(), "Table 4, CIFAR100, 32x32, T = 4"),
    )


def _macs_and_ec(lines: Sequence[Line]) -> Table:
    columns = (
        NETWORK,
        Column("time_steps", "T", "integer"),
        BN,
        Column("printed_mac", "O_mac", "count", "G", decimals=2),
        replace(O_MAC, heading="ours"),
        Column("mac_diff", "diff", "count", "G", decimals=3, signed=True),
        replace(EC, key="printed_ec_mj"),
        replace(EC, heading="ours"),
        replace(EC, key="ec_diff_mj", heading="diff", signed=True),
    )
    rows = []
    for line in lines:
        mac, mac_diff, ec_diff = line.printed_o_mac, None, None
        if mac is not None:
            mac, mac_diff = mac * GIGA, (line.o_mac - mac) * GIGA
        if line.printed_ec is not None:
            (low, high), (printed_low, printed_high) = line.ec, line.printed_ec
            ec_diff = low - printed_low, high - printed_high
        operations = mac, line.o_mac * GIGA, mac_diff
        energies = line.printed_ec, line.ec, ec_diff
        rows.append((line.network, line.T, line.bn, *operations, *energies))
    caption = "Table 2, ImageNet 224x224: O_mac and EC per image; ours minus printed"
    return Table(columns, tuple(rows), caption=caption)


def _upper_ends(own: Sequence[Line], lines: tuple[Line, ...]) -> Table:
    energy = replace(EC, interval=False)
    columns = (
        NETWORK,
        replace(energy, key="printed_mj", heading="printed"),
        replace(energy, key="with_sew_mj", heading="own min + SEW's ACs"),
        replace(energy, key="own_mj", heading="own, Eq. (15)"),
        Column("ac", "O_ac printed", "count", "G", decimals=2),
        Column("mean_rate", "mean rate", "share"),
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
        notes=("The mean rate is what the printed O_ac implies: O_ac / dense",),
    )


def _dc_table(lines: Sequence[Line], caption: str) -> Table:
    columns = (
        NETWORK,
        BN,
        O_MAC,
        Column("dense_ac", "dense AC", "count", "G", decimals=3),
        EC,
        Column("dc_mj", "DC", "energy", "mJ", decimals=2),
        Column("inside", "inside"),
    )
    rows = (
        (
            *(line.network, line.bn, line.o_mac * GIGA, line.dense_ac * GIGA),
            *(line.ec, line.printed_dc, "yes" if line.dc_inside else "NO"),
        )
        for line in lines
    )
    return Table(columns, tuple(rows), caption=caption)
