"""Count the operations of a training step: forward, backward and those of the optimiser.

A product of the forward pass, y = x · w, has two in the backward pass, g being the gradient of y:

* that of the weights, x^T · g: every term of the forward product once more, with g in the place of
  the weight. Where x are spikes it is as spike-driven as the forward product: each spike adds g to
  as many weights as it reached. Its ACs are those of the forward product, to the integer.
* that of the input, g · w^T: as many terms, of real numbers: MACs.

A product of two activations, y = a · b, has g · b^T, driven by the spikes of b, and a^T · g, driven
by those of a. A product is counted if autograd recorded that its gradient is wanted: the input of
the network, and frozen weights, have none.

The loss is taken to depend on all that was recorded. Gradients are taken for real numbers,
however many of them are zero. Additions of gradients, and the backward passes of norms, neurons,
pooling and activations are outside of these products, and are not counted.

Plain SGD does, for each weight, a MAC (w - η·g), one more with momentum (μ·v + g) and one with
weight decay (g + λ·w), once for each batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, Literal, Self

from syops.cost.figures import Figures
from syops.cost.pricing import millijoules
from syops.errors import SyopsTypeError, SyopsValueError
from syops.ledger.rows import Drive, Row, row_names
from syops.ops.kinds import SPIKES, SYNAPTIC

Of = Literal["input", "weights", "left", "right"]
"""The factor whose gradient a product gives."""


@dataclass(frozen=True)
class BackwardProduct:
    """Hold the operations of one product of the backward pass, over all samples.

    Attributes:
        name, row: of the forward product.
        of: the factor whose gradient it gives.
        signal: of the factor that a gradient is multiplied with; "analog" for weights.
        dense: operations of a dense engine.
        ac: firing rate · dense; ``ac_events``: the terms that a spike has a part in.
        mac: operations without a spike.
    """

    name: str
    row: Row
    of: Of
    signal: str
    dense: int
    ac: Fraction = Fraction(0)
    ac_events: int = 0
    mac: int = 0


@dataclass(frozen=True, repr=False)
class TrainingFigures:
    """Hold what a training step costs, per sample.

    Attributes:
        report: the count, with the forward pass.
        optimizer_macs: MACs of the optimiser over all batches; 0 without an optimiser.
    """

    report: Figures
    optimizer_macs: int = 0

    @classmethod
    def of(cls, report: Figures, optimizer: Any = None) -> Self:
        """Return what a step costs; see `syops.report.report.Report.training`."""
        if not any(sum(row.backward) for row in report.rows):
            raise SyopsValueError(
                "training needs a count with gradients: with count_syops(model) as count: "
                "loss(model(x), y).backward(), and then count.report.training()"
            )
        unseen = [
            name
            for name, row in zip(row_names(report.rows, report.model), report.rows, strict=True)
            if row.kind in SYNAPTIC and row.dense and len(row.drives) < _factors_seen(row)
        ]
        if unseen:
            raise SyopsValueError(
                "training: the factors of a fused operator are not seen, nor what its backward "
                f"pass does: {', '.join(unseen)}"
            )
        each = 0 if optimizer is None else _macs_of(optimizer)
        return cls(report, each * report.passes)

    @cached_property
    def products(self) -> tuple[BackwardProduct, ...]:
        """All products of the backward pass, in the order of the forward pass."""
        return tuple(self._products())

    @property
    def without_gradient(self) -> tuple[str, ...]:
        """Products of the forward pass of which autograd recorded no gradient, by name."""
        rows = self.report.rows
        names = zip(row_names(rows, self.report.model), rows, strict=True)
        return tuple(
            name
            for name, row in names
            if row.kind in SYNAPTIC and row.dense and not any(row.backward)
        )

    @property
    def backward_ac(self) -> float:
        """ACs of the backward pass per sample, as the report's convention has them."""
        return self._per_sample(sum(map(self._ac, self.products)))

    @property
    def backward_mac(self) -> float:
        """MACs of the backward pass per sample."""
        return self._per_sample(sum(each.mac for each in self.products))

    @property
    def dense(self) -> float:
        """Synaptic operations of a dense engine per sample, forward and backward."""
        forward = sum(row.dense for row in self.report.rows if row.kind in SYNAPTIC)
        return self._per_sample(forward + sum(each.dense for each in self.products))

    @property
    def forward_mj(self) -> float | None:
        """Energy of the forward pass in mJ per sample: the report's DC."""
        return self.report.dc_mj

    @property
    def backward_mj(self) -> float | None:
        """Energy of the backward pass in mJ per sample; None where MACs have no price."""
        prices = [self.price_pj(each) for each in self.products]
        known = [price for price in prices if price is not None]
        if len(known) < len(prices):
            return None
        return millijoules(sum(known, Fraction(0)), self.report.samples)

    @property
    def optimizer_mj(self) -> float | None:
        """Energy of the optimiser in mJ per sample; None where MACs have no price."""
        model = self.report.energy.models[-1]
        if self.optimizer_macs and model.e_mac_pj is None:
            return None
        priced = model.price_pj("linear", 0, self.optimizer_macs)
        return millijoules(priced, self.report.samples)

    @property
    def total_mj(self) -> float | None:
        """Energy of a training step in mJ per sample."""
        parts = [self.forward_mj, self.backward_mj, self.optimizer_mj]
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None

    def price_pj(self, product: BackwardProduct) -> Fraction | None:
        """Return the energy of a product over all samples; None where MACs have no price."""
        row = product.row
        model = self.report.energy.model_for(row.path, row.dtype)
        if product.mac and model.mac_price(row.kind) is None:
            return None
        return model.price_pj(row.kind, self._ac(product), product.mac)

    def _ac(self, product: BackwardProduct) -> Fraction | int:
        events = self.report.convention.ac == "events"
        return product.ac_events if events else product.ac

    def _per_sample(self, count: Fraction | int) -> float:
        return float(count / self.report.samples)

    def _products(self) -> Iterator[BackwardProduct]:
        names = row_names(self.report.rows, self.report.model)
        for name, row in zip(names, self.report.rows, strict=True):
            first, second = row.backward
            match row.drives:
                case (only,):
                    yield from _driven(name, row, "weights", second, only)
                    yield from _driven(name, row, "input", first, None)
                case (left, right):
                    yield from _driven(name, row, "left", first, right)
                    yield from _driven(name, row, "right", second, left)
                case _:
                    pass


def _factors_seen(row: Row) -> int:
    """Return how many drives a row has, unless a fused operator hides a factor."""
    return 2 if row.kind == "matmul" else 1


def _driven(name: str, row: Row, of: Of, dense: int, by: Drive | None) -> Iterator[BackwardProduct]:
    """Yield a product, if its gradient is wanted; ``by``: the factor that may hold spikes."""
    if not dense:
        return
    signal = "analog" if by is None else by.evidence.signal
    if by is None or signal not in SPIKES:
        yield BackwardProduct(name, row, of, signal, dense, mac=dense)
        return
    if dense != row.dense:
        raise SyopsValueError(
            f"training: {name}: the gradient of its {of} was wanted in some calls only; which of "
            "its spikes were in these is not known"
        )
    yield BackwardProduct(name, row, of, signal, dense, by.ac, by.events)


def _macs_of(optimizer: Any) -> int:
    """Return the MACs of one step of an optimiser of torch.

    Raises:
        SyopsTypeError: no optimiser.
        SyopsValueError: one whose operations are not known.
    """
    groups = getattr(optimizer, "param_groups", None)
    if groups is None:
        raise SyopsTypeError(
            f"optimizer must be one of torch.optim, got {type(optimizer).__name__}"
        )
    is_sgd = type(optimizer).__name__ == "SGD"
    if not is_sgd or any(group["nesterov"] or group["dampening"] for group in groups):
        raise SyopsValueError(
            f"optimizer: the operations of {type(optimizer).__name__} are not known, or have no "
            "price (divisions, roots); those of SGD without nesterov and dampening are. Leave it "
            "out for forward and backward alone"
        )
    return sum(
        (1 + bool(group["momentum"]) + bool(group["weight_decay"])) * parameter.numel()
        for group in groups
        for parameter in group["params"]
        if parameter.requires_grad
    )
