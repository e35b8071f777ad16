"""Keep exact integer counts per layer, which add up over calls and batches, and merge.

A row keeps what was counted, and what was derived or seen of its operands. `Row.operations` decides
which of the operations are ACs and which are MACs, once, when the report is made.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import zip_longest

from syops.ledger.calls import ByValue
from syops.ops.classes import LARGEST, Unit, ValueEvidence
from syops.ops.kinds import RESAMPLING, SPIKES, SYNAPTIC


@dataclass(frozen=True, slots=True)
class Magnitudes:
    """Hold the counts of a `Drive` with each entry weighted by its magnitude.

    The magnitude is counted in the ``unit`` of the calls that were measured.
    """

    unit: Unit = Unit()
    ac: Fraction = Fraction(0)
    events: int = 0

    def under(self, unit: Unit) -> Magnitudes:
        """Return the same, counted in another unit."""
        ratio = (self.unit.size / unit.size).limit_denominator(LARGEST)
        return Magnitudes(unit, self.ac * ratio, int(self.events * ratio))


@dataclass(frozen=True, slots=True)
class Drive:
    """Hold what one operand of a synaptic row did, summed over calls.

    ``ac`` is Σ spikes · dense / numel, ``events`` the synapses that its spikes reached.
    ``magnitudes`` has one entry for each unit that was met. ``steps`` has ``numel`` and ``spikes``
    of each time-step, from the first one on; None where those of some calls are not known.
    """

    evidence: ValueEvidence = field(default_factory=ValueEvidence)
    numel: int = 0
    spikes: int = 0
    ac: Fraction = Fraction(0)
    events: int = 0
    magnitudes: tuple[Magnitudes, ...] = ()
    steps: tuple[tuple[int, int], ...] | None = None

    @property
    def rates(self) -> tuple[Fraction, ...] | None:
        """The firing rate at each time-step.

        None where it is not known, or where the steps do not have as many elements each.
        """
        if not self.steps or not self.numel or len({numel for numel, _ in self.steps}) > 1:
            return None
        return tuple(Fraction(spikes, numel) for numel, spikes in self.steps)

    def in_units(self) -> Magnitudes:
        """Return everything counted in the unit of all that was derived or seen."""
        unit = self.evidence.unit or Unit()
        parts = [part.under(unit) for part in self.magnitudes]
        ac = sum((part.ac for part in parts), Fraction(0))
        return Magnitudes(unit, ac, sum(part.events for part in parts))

    def __add__(self, other: Drive) -> Drive:
        return Drive(
            self.evidence.join(other.evidence),
            self.numel + other.numel,
            self.spikes + other.spikes,
            self.ac + other.ac,
            self.events + other.events,
            joined_magnitudes(*self.magnitudes, *other.magnitudes),
            _added_steps(self.steps, other.steps),
        )


def _added_steps(
    left: tuple[tuple[int, int], ...] | None, right: tuple[tuple[int, int], ...] | None
) -> tuple[tuple[int, int], ...] | None:
    if left is None or right is None:
        return None
    pairs = zip_longest(left, right, fillvalue=(0, 0))
    return tuple((n + m, spikes + others) for (n, spikes), (m, others) in pairs)


def joined_magnitudes(*parts: Magnitudes) -> tuple[Magnitudes, ...]:
    """Return one entry a unit, those without counts left out."""
    by_unit: dict[Unit, Magnitudes] = {}
    for part in parts:
        known = by_unit.get(part.unit, Magnitudes(part.unit))
        total = Magnitudes(part.unit, known.ac + part.ac, known.events + part.events)
        by_unit[part.unit] = total
    kept = (part for part in by_unit.values() if part.ac or part.events)
    return tuple(sorted(kept, key=lambda part: (part.unit.scale, part.unit.size)))


@dataclass(frozen=True, slots=True)
class Operations:
    """Hold a row's class and what follows from it.

    ``dense_ac`` is what ``ac`` would be at rate 1, infinite where no bound is known;
    ``max_spikes`` what ``spikes``, the spikes that reach it, would be. ``either`` are operations
    that may be ACs or MACs, which is not known without data: they are in ``dense_ac`` and in
    ``mac``, each of which is an upper end. ``rates`` is ``rate`` at each time-step.
    """

    signal: str
    rate: Fraction | None
    ac: Fraction = Fraction(0)
    ac_events: int = 0
    mac: int = 0
    dense_ac: int | float = 0
    spikes: int = 0
    max_spikes: int = 0
    either: int = 0
    rates: tuple[Fraction, ...] | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Hold the counts of one (module path, operator, call site within the module).

    Attributes:
        path: the module's path in the model, "" for the model itself.
        kind: one of `KINDS`.
        operator: what was executed there, such as "conv2d".
        weight: the parameter that is applied, where it is one.
        dtype: of what is applied to the input; for other kinds of rows of the result.
        weights: number of elements of what is applied: weights, or an activation in their role.
        written: elements of its results; of a neuron those of its states, at every update.
        site: number of the call site, among those of the same path, kind, operator and weight.
        calls: how often it was executed.
        params: parameters of the module, told by its first row only.
        dense: synaptic operations of a dense engine; for other kinds the operations done.
        drives: one or two operands, none where the product is analog throughout.
        weight_shape: of what is applied, where these are weights; () where it differed.
        stride, groups: of a convolution; () and 1 elsewhere.
        backward: operations of the two products that give the gradients of what drives it and of
            what is applied, where gradients were recorded.
        rounded: an operator that rounds had a part in making the weights, which may need few bits.
        result_shape: channels and spatial sizes of a convolution's result; () where it differed.
        unnormalised: the operand, if the norm before it is folded into the weights; empty where
            that makes no difference.
        joint_ac, joint_events: rate · rate · dense, and coincidences, of two operands.
        repeated: synaptic operations on the same values as at the time-step before, which no
            neuron had a part in.
        changed: such operations on other values than at the time-step before.
        by_value: its operations split by the values of each call, where that was asked for.
        place: of the row among those of a pass, the least of all passes; rows are in this order.
        call: a digest of the call site, the same in every process; "" in reports of syops 0.1.0.
            Rows are equal if they say the same, wherever in the code that was done.
        ac, mac: operations of a kind whose cost does not depend on signals; of a normalisation,
            those of the calls that cannot be folded.
        folded: the layers that a normalisation can be folded into.
        note: what a reader should know about it.
    """

    path: str
    kind: str
    operator: str
    site: int = 0
    calls: int = 0
    params: int = 0
    dense: int = 0
    drives: tuple[Drive, ...] = ()
    joint_ac: Fraction = Fraction(0)
    joint_events: int = 0
    ac: int = 0
    mac: int = 0
    folded: str | None = None
    note: str = ""
    weight: str = ""
    dtype: str = ""
    weights: int = 0
    written: int = 0
    unnormalised: tuple[Drive, ...] = ()
    repeated: int = 0
    changed: int = 0
    by_value: ByValue = ByValue()
    weight_shape: tuple[int, ...] = ()
    result_shape: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    groups: int = 1
    rounded: bool = False
    backward: tuple[int, int] = (0, 0)
    place: int = field(default=0, compare=False)
    call: str = field(default="", compare=False)

    @property
    def family(self) -> tuple[str, str, str, str]:
        return self.path, self.kind, self.operator, self.weight

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        return *self.family, self.site

    @property
    def layer(self) -> Hashable:
        """What makes rows one layer: the same weights, wherever they are applied."""
        return (self.path, self.weight) if self.weight else self.key

    @property
    def dense_mac(self) -> int:
        """What it would be as an ANN: every synaptic operation a MAC."""
        return self.dense if self.kind in SYNAPTIC else self.mac if self.kind == "norm" else 0

    def driven_by(
        self,
        drives: tuple[Drive, ...],
        joint_ac: Fraction,
        joint_events: int,
        unnormalised: tuple[Drive, ...] = (),
    ) -> Row:
        """Return one call of a synaptic row, with what drove it."""
        return Row(
            self.path,
            self.kind,
            self.operator,
            self.site,
            self.calls,
            self.params,
            self.dense,
            drives,
            joint_ac,
            joint_events,
            note=self.note,
            weight=self.weight,
            dtype=self.dtype,
            weights=self.weights,
            written=self.written,
            unnormalised=unnormalised,
            weight_shape=self.weight_shape,
            result_shape=self.result_shape,
            stride=self.stride,
            groups=self.groups,
            rounded=self.rounded,
            backward=self.backward,
        )

    def folded_into(self, path: str, note: str) -> Row:
        """Return one call of a normalisation that costs nothing."""
        return replace(self, mac=0, folded=path, note=note)

    def under(self, fold_bn: bool) -> Row:
        """Return the row with norms folded where they can be, or with all of them counted."""
        if fold_bn:
            return replace(self, drives=self.unnormalised) if self.unnormalised else self
        if self.kind != "norm":
            return self
        return replace(self, mac=self.dense, folded=None, note="")

    def __add__(self, other: Row) -> Row:
        """Return the same row of two ledgers."""
        unnormalised: tuple[Drive, ...] = ()
        if self.unnormalised or other.unnormalised:
            unnormalised = _added(self.under(True).drives, other.under(True).drives)
        return replace(
            self,
            calls=self.calls + other.calls,
            params=max(self.params, other.params),
            dense=self.dense + other.dense,
            drives=_added(self.drives, other.drives),
            unnormalised=unnormalised,
            joint_ac=self.joint_ac + other.joint_ac,
            joint_events=self.joint_events + other.joint_events,
            ac=self.ac + other.ac,
            mac=self.mac + other.mac,
            folded=_both(self.folded, other.folded),
            note=max(self.note, other.note),
            dtype=self.dtype if self.dtype == other.dtype else "mixed",
            weights=max(self.weights, other.weights),
            written=self.written + other.written,
            repeated=self.repeated + other.repeated,
            changed=self.changed + other.changed,
            by_value=self.by_value + other.by_value,
            weight_shape=_alike(self.weight_shape, other.weight_shape),
            result_shape=_alike(self.result_shape, other.result_shape),
            stride=_alike(self.stride, other.stride),
            rounded=self.rounded or other.rounded,
            backward=(
                self.backward[0] + other.backward[0],
                self.backward[1] + other.backward[1],
            ),
            place=min(self.place, other.place),
        )

    def times(self, number: int) -> Row:
        """Return the sum of so many rows like this one, at least one."""
        if number == 1:
            return self
        half = self.times(number // 2)
        return half + half + self if number % 2 else half + half

    def operations(self, graded: str) -> Operations:
        """Class the row: one spike operand makes it AC, otherwise it is MAC.

        ``graded``: "mac"; "ac" to count a graded input as so many ACs as its magnitude in units;
        or "spikes" to count each entry that is not zero as one.
        """
        if self.kind not in SYNAPTIC:
            return Operations("", None, Fraction(self.ac), self.ac, self.mac, self.ac)
        signals = [drive.evidence.signal for drive in self.drives]
        spikes = [d for d, s in zip(self.drives, signals, strict=True) if s in SPIKES]
        counts: tuple[Fraction, int, int, int | float]
        names = sorted((s for s in signals if s in SPIKES), key=SPIKES.index)
        if len(spikes) == 2:
            rate = _rate(spikes[0]) * _rate(spikes[1])
            counts = self.joint_ac, self.joint_events, 0, self.dense
            return Operations(names[-1], rate, *counts, *_spikes(spikes))
        if spikes:
            (drive,) = spikes
            counts = drive.ac, drive.events, 0, self.dense
            return Operations(names[-1], _rate(drive), *counts, *_spikes(spikes), rates=drive.rates)
        if "unknown" in signals and self.dense:
            most = math.inf if graded == "ac" else self.dense
            _, spikes_at_most = _spikes(self.drives)
            return Operations(
                "unknown",
                None,
                mac=self.dense,
                dense_ac=most,
                max_spikes=spikes_at_most,
                either=self.dense,
            )
        if "graded" in signals:
            drive = self.drives[signals.index("graded")]
            if graded == "spikes":
                counts = drive.ac, drive.events, 0, self.dense
                return Operations(
                    "graded", _rate(drive), *counts, *_spikes([drive]), rates=drive.rates
                )
            if graded == "ac":
                upper = _times(self.dense, drive.evidence.largest)
                magnitudes = drive.in_units()
                counts = magnitudes.ac, magnitudes.events, 0, upper
                return Operations(
                    "graded", _rate(drive), *counts, *_spikes([drive]), rates=drive.rates
                )
            if len(set(signals)) == 1:
                return Operations("graded", None, mac=self.dense)
        return Operations("analog", None, mac=self.dense)


def _times(dense: int, largest: float) -> int | float:
    """Return the operations at the largest magnitude; infinite where that has no bound."""
    return dense * int(largest) if math.isfinite(largest) else largest if dense else 0


def _added(left: tuple[Drive, ...], right: tuple[Drive, ...]) -> tuple[Drive, ...]:
    left = left or (Drive(steps=()),) * len(right)
    right = right or (Drive(steps=()),) * len(left)
    return tuple(a + b for a, b in zip(left, right, strict=True))


def _alike(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape that two counts have in common."""
    return left if left == right else ()


def _both(left: str | None, right: str | None) -> str | None:
    """Return the layers that a norm was folded into in two counts; None if one counted it."""
    if left is None or right is None or left == right:
        return left if left == right else None
    return ", ".join(sorted({*left.split(", "), *right.split(", ")}))


def _rate(drive: Drive) -> Fraction:
    return Fraction(drive.spikes, drive.numel) if drive.numel else Fraction(0)


def _spikes(drives: Iterable[Drive]) -> tuple[int, int]:
    """Return the spikes that arrived, and those that would at rate 1."""
    drives = list(drives)
    return sum(drive.spikes for drive in drives), sum(drive.numel for drive in drives)


def ends(rows: Iterable[Row]) -> dict[Hashable, str]:
    """Return which synaptic layers are executed "first" and "last"."""
    layers = [
        row.layer
        for row in rows
        if row.kind in SYNAPTIC and not row.operator.startswith(RESAMPLING)
    ]
    return {layers[-1]: "last", layers[0]: "first"} if layers else {}


def row_names(rows: Iterable[Row], model: str) -> list[str]:
    """Return a name for each row: its module's path, with the operator where that has several."""
    rows = list(rows)
    by_path: dict[str, set[str]] = {}
    by_operator: dict[tuple[str, str], int] = {}
    for row in rows:
        by_path.setdefault(row.path, set()).add(row.operator)
        family = row.path, row.operator
        by_operator[family] = by_operator.get(family, 0) + 1
    names, met = [], dict.fromkeys(by_operator, 0)
    for row in rows:
        family = row.path, row.operator
        met[family] += 1
        path = row.path or model
        several = by_operator[family] > 1
        if several or len(by_path[row.path]) > 1:
            path += f":{row.operator}"
        names.append(f"{path}#{met[family]}" if several else path)
    return names
