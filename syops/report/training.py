"""Show what a training step of a network costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from syops.cost.pricing import millijoules
from syops.cost.training import BackwardProduct, TrainingFigures
from syops.report.worked_out import WorkedOut
from syops.show.sentences import incomplete, warnings_in_words
from syops.show.table import Column, Value
from syops.show.tabular import Table
from syops.units import joules

COLUMNS = (
    Column("name", "layer"),
    Column("of", "gradient of"),
    Column("signal", "signal", "signal"),
    Column("dense", "dense", "count"),
    Column("ac", "O_ac", "operations"),
    Column("mac", "O_mac", "operations"),
    Column("energy_mj", "energy", "energy"),
)
"""All that can be told of a product of the backward pass."""

_SUMS = (
    *("dense", "backward_ac", "backward_mac", "forward_mj", "backward_mj", "optimizer_mj"),
    "total_mj",
)


@dataclass(frozen=True, repr=False)
class Training(TrainingFigures, WorkedOut):
    """What `syops.report.report.Report.training` returns: figures, with ways to show them.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from syops import count_syops
        >>> layer = nn.Linear(4, 3)
        >>> with count_syops(layer) as count:
        ...     layer(torch.eye(4)).sum().backward()
        >>> training = count.report.training(torch.optim.SGD(layer.parameters()))
        >>> training.backward_ac, training.backward_mac  # an input needs no gradient
        (3.0, 0.0)
        >>> training.optimizer_macs  # 12 weights and 3 biases
        15
    """

    @property
    def _shown(self) -> Sequence[str]:
        return [column.key for column in COLUMNS]

    @property
    def _whole(self) -> Table:
        dense = sum(each.dense for each in self.products) / self.report.samples
        sums = dense, self.backward_ac, self.backward_mac, self.backward_mj
        return Table(
            COLUMNS,
            tuple(map(self._values, self.products)),
            (f"total{incomplete(self.report)}", "", "", *sums),
            f"{self.report.model}: backward pass, per sample",
            tuple(self._findings()),
            tuple(self._notes()),
            (*warnings_in_words(self.report), *self._unseen()),
        )

    def _content(self) -> dict[str, Any]:
        keys = [column.key for column in COLUMNS]
        return {
            "per_sample": {name: getattr(self, name) for name in _SUMS},
            "optimizer_macs": self.optimizer_macs,
            "products": [
                dict(zip(keys, self._values(each), strict=True)) for each in self.products
            ],
            "notes": [*self._unseen(), *self._notes()],
        }

    def _values(self, product: BackwardProduct) -> tuple[Value, ...]:
        price = self.price_pj(product)
        return (
            product.name,
            product.of,
            product.signal,
            self._per_sample(product.dense),
            self._per_sample(self._ac(product)),
            self._per_sample(product.mac),
            None if price is None else millijoules(price, self.report.samples),
        )

    def _findings(self) -> Iterator[str]:
        parts = {"forward": self.forward_mj, "backward": self.backward_mj}
        if self.optimizer_macs:
            parts["optimiser"] = self.optimizer_mj
        told = [f"{name} {joules(part)}" for name, part in parts.items() if part is not None]
        if self.total_mj is not None:
            least = "at least " if self.without_gradient else ""
            yield f"Training step: {least}{joules(self.total_mj)} = {' + '.join(told)}"
        elif told:
            yield f"{', '.join(told)}; other MACs have no price"

    def _notes(self) -> Iterator[str]:
        yield (
            "Not counted: the backward passes of norms, neurons, pooling and activations, and sums "
            "of gradients. Gradients are taken for real numbers, whatever zeros they hold"
        )

    def _unseen(self) -> Iterator[str]:
        if self.without_gradient:
            names = ", ".join(self.without_gradient)
            yield (
                f"Warning: no gradient was recorded, so no backward pass is counted, of {names}. "
                "That is right for frozen layers and under no_grad; inside functions of your own "
                "(torch.autograd.Function) and of checkpoint(use_reentrant=True) gradients are "
                "worked out unseen, and the figures are too small"
            )
