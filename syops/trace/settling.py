"""Settle forward passes: read what was counted, and enter it into the ledger."""

from __future__ import annotations

from collections.abc import Sequence

from syops.errors import SyopsValueError
from syops.ledger.ledger import Ledger
from syops.ledger.rows import Row
from syops.ledger.steps import History
from syops.trace.account import Account
from syops.trace.by_sample import shares_of
from syops.trace.gauge import Gauge
from syops.trace.readings import Readings, Taken

_MOST = 64
"""Passes whose readings are kept until they are settled."""

Pass = tuple[Account, Taken, int]
"""What a pass comes to, its readings, and the samples in it."""


class Accounts:
    """Settle passes, those that came to the same together.

    Args:
        ledger: where they go.
        history: where what arrived at each product goes, if anybody asks.
    """

    def __init__(self, ledger: Ledger, history: History | None = None) -> None:
        self._ledger = ledger
        self._history = history
        self._open: list[Pass] = []

    def add(self, account: Account, gauge: Gauge, samples: int, wait: bool = False) -> None:
        """Note a pass.

        Args:
            account: what it comes to.
            gauge: its readings.
            samples: in it.
            wait: it can be settled later, with others, unless samples are told apart.

        Raises:
            SyopsValueError: see `settle`.
        """
        self._open.append((account, Taken.of(gauge.counts, gauge.looks), samples))
        if not wait or self._ledger.by_sample or len(self._open) == _MOST:
            self.settle()

    def settle(self) -> None:
        """Settle all passes that were noted.

        Raises:
            SyopsValueError: see `Account.rows`. The passes before that one are settled.
        """
        passes, self._open = self._open, []
        alike: dict[int, list[Pass]] = {}
        for each in passes:
            alike.setdefault(id(each[0]), []).append(each)
        try:
            settled = [(group, *_rows(group)) for group in alike.values()]
        except SyopsValueError:
            if len(passes) == 1:
                raise
            for each in passes:  # in their order: the first one that is wrong says so
                self._enter([each], *_rows([each]))
            return
        for group, readings, rows in settled:
            self._enter(group, readings, rows)

    def _enter(self, group: Sequence[Pass], readings: Readings, rows: Sequence[Row]) -> None:
        account, _, number = group[0]
        counts = self._ledger.by_sample
        if counts is not None and number:
            told = account, rows, readings, number, counts.fold_bn
            shares, unknown = shares_of(*told)
            for place, each in enumerate(shares):
                counts.add(self._ledger.samples + place * number, number, each, unknown)
        account.enter(rows, len(group), self._ledger, self._history)
        self._ledger.samples += sum(samples for _, _, samples in group)
        self._ledger.passes += len(group)


def _rows(group: Sequence[Pass]) -> tuple[Readings, list[Row]]:
    """Return the readings and the rows of passes that came to the same."""
    account, _, _ = group[0]
    readings = Readings([taken for _, taken, _ in group])
    return readings, account.rows(readings)
