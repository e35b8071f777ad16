"""Prove that a network is full-spike, or find the operators that let non-spikes in; plain data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from syops.ledger.ledger import Ledger
from syops.ledger.rows import Row, ends, row_names
from syops.ledger.steps import INPUT, PARAMETER, WRITE, History, Step, chain, leads_to
from syops.ops.classes import ROUNDING, ValueEvidence
from syops.ops.kinds import SPIKES, SYNAPTIC
from syops.ops.values import Number

ARROW = "\u2190"


@dataclass(frozen=True)
class Link:
    """Name one operator on the path of values that are not spikes.

    Attributes:
        operator: its name, such as "add".
        path: the module in which it is executed, "" for the model itself.
        operands: what it combined, in words; empty where it only passes one tensor on.
        symbol: how it is written between two operands; "" for most.
    """

    operator: str
    path: str
    operands: tuple[str, ...] = ()
    symbol: str = ""

    def __str__(self) -> str:
        if self.operator == INPUT:
            return "the input"
        if not self.operator:
            return "a tensor that the model keeps"
        place = f"{self.operator} in {self.path or 'the model'}"
        between = f" {self.symbol} " if self.symbol else ", "
        return f"{place} ({between.join(self.operands)})" if self.operands else place


_SUMS = ("+", "-")
"""How the operators are written that a residual connection is made with."""


@dataclass(frozen=True)
class Cause:
    """Say why values that are not spikes reach a layer.

    Attributes:
        values: the set of them.
        links: the operators that made them and passed them on, nearest first.
    """

    values: str
    links: tuple[Link, ...]

    def __str__(self) -> str:
        return f" {ARROW} ".join([self.values, *map(str, self.links)])

    def shortened(self, limit: int) -> list[str]:
        """Return at most ``limit`` links in words; some before the last may be left out."""
        links = [str(link) for link in self.links]
        if len(links) > limit:
            links[limit - 1 : -1] = [f"... {len(links) - limit} more ..."]
        return links


@dataclass(frozen=True)
class ProofRow:
    """Say which values can arrive at one synaptic layer.

    Attributes:
        layer: the module's path, with the operator where one module has several rows.
        path: the module's path, "" for the model itself.
        kind, operator: as in a report.
        signal: "binary", "ternary", "scaled", "graded", "analog" or "unknown".
        values: the set of values that can arrive; of both operands, if two activations meet.
        verdict: "spike" (binary, ternary, or scaled by one constant), "graded" (integers, or one
            constant times integers, for chips with graded spikes), "analog", or "unknown" (an
            input that nothing is said of, or made by an operator without a rule).
        exempt: "first" or "last", if the layer is allowed not to be spike-only; else "".
        causes: why it is not spike-only.
        note: what a reader should know about it.
    """

    layer: str
    path: str
    kind: str
    operator: str
    signal: str
    values: str
    verdict: str
    exempt: str = ""
    causes: tuple[Cause, ...] = ()
    note: str = ""

    @property
    def offends(self) -> bool:
        """Whether the layer keeps the network from being full-spike."""
        return self.verdict != "spike" and not self.exempt


@dataclass(frozen=True)
class Lack:
    """Name operators outside the synapses that full-spike chips lack."""

    what: str
    where: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class Proof:
    """Say whether a network is full-spike, and which operators keep it from being so.

    Attributes:
        model: class name of the model.
        input_shape: of its first input.
        rows: one for each synaptic layer.
        unknown: operators that syops has no rule for and that read more than spikes, with the
            module: they may apply weights to it, so nothing is proven.
        lacks: operators outside the synapses that spike-only chips lack; no part of the verdict.
        conventions: allow, fold_bn, batch_dim, input_signal.
        versions: of syops and the libraries.
    """

    model: str
    input_shape: tuple[int, ...]
    rows: tuple[ProofRow, ...]
    unknown: tuple[str, ...] = ()
    lacks: tuple[Lack, ...] = ()
    conventions: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        model: str,
        ledger: Ledger,
        history: History,
        *,
        allow: Sequence[str],
        input_shape: tuple[int, ...],
        conventions: Mapping[str, Any],
        versions: Mapping[str, str],
    ) -> Self:
        """Build the proof from what a pass without values left in ``ledger`` and ``history``."""
        fold_bn = bool(conventions["fold_bn"])
        rows = tuple(row.under(fold_bn) for row in ledger.rows)
        named = list(zip(row_names(rows, model), rows, ledger.keys, strict=True))
        synaptic = [(name, row, key) for name, row, key in named if row.kind in SYNAPTIC]
        exempt = ends(rows)
        words = _Words()
        found = []
        for name, row, key in synaptic:
            end = exempt.get(row.layer, "")
            arrivals = [
                tuple(each.folded if fold_bn else each.step for each in call)
                for call in history.arrivals.get(key, [])
            ]
            found.append(_row(name, row, end if end in allow else "", arrivals, words))
        return cls(
            model,
            input_shape,
            tuple(found),
            tuple(history.unknown),
            tuple(_lacks(named, history.thresholds, ledger.unaccounted)),
            {"allow": list(allow), **conventions},
            versions,
        )

    @property
    def full_spike(self) -> bool:
        """Whether it is proven that only spikes reach the synapses of all layers but the exempt."""
        return not self.offending and not self.unknown

    @property
    def offending(self) -> tuple[ProofRow, ...]:
        """The layers that are not exempt, and that more than spikes reach or may reach."""
        return tuple(row for row in self.rows if row.offends)

    @property
    def refuted(self) -> bool:
        """Whether it is certain that more than spikes reach a layer that is not exempt."""
        return any(row.verdict != "unknown" for row in self.offending)


def _row(
    name: str, row: Row, exempt: str, arrivals: list[tuple[Step, ...]], words: _Words
) -> ProofRow:
    signal = row.operations("mac").signal
    verdict = "spike" if signal in SPIKES else signal
    values = " @ ".join(values_of(drive.evidence) for drive in row.drives) or "real"
    others = [d.evidence for d in row.drives if d.evidence.signal not in SPIKES]
    causes: tuple[Cause, ...] = ()
    note = ""
    if verdict != "spike":
        steps = [step for call in arrivals for step in call]
        causes = words.causes([step for step in steps if not step.spikes] or steps)
        if not row.drives:
            note = f"{row.operator} multiplies activations, none of them known to be spikes"
    elif others:
        note = f"spike-driven; the other operand is not a spike: {values_of(others[0])}"
    elif row.kind == "matmul" and len(row.drives) == 1:
        note = "spike-driven; the other operand is not a spike: real"
    return ProofRow(
        name, row.path, row.kind, row.operator, signal, values, verdict, exempt, causes, note
    )


class _Words:
    """Put steps into words, each once."""

    def __init__(self) -> None:
        self._chains: dict[int, tuple[Step, ...]] = {}
        self._links: dict[int, Link] = {}

    def causes(self, steps: Iterable[Step]) -> tuple[Cause, ...]:
        """Return why these are not spikes, once for each path in the code, over all time-steps."""
        found: dict[object, tuple[Step, ...]] = {}
        for step in steps:
            if id(step) not in self._chains:
                self._chains[id(step)] = chain(step)
            links = self._chains[id(step)]
            key = tuple(link.place for link in links)
            if key not in found or _extent(step) > _extent(found[key][0]):
                found[key] = links
        return tuple(dict.fromkeys(map(self._cause, found.values())))

    def _cause(self, links: tuple[Step, ...]) -> Cause:
        named = [self._link(link, link is links[-1]) for link in links]
        return Cause(values_of(links[0].evidence), tuple(named))

    def _link(self, step: Step, is_last: bool) -> Link:
        if id(step) not in self._links:
            read = step.inputs
            activations = [s for s in read if s.operator != PARAMETER]
            if step.operator == INPUT or (len(read) < 2 and not is_last):
                operands: tuple[str, ...] = ()
            elif step.synaptic:
                operands = tuple(f"on {_step_in_words(s)}" for s in activations[:1])
            else:
                operands = tuple(map(_step_in_words, read))
                if step.symbol in _SUMS and _is_residual(activations):
                    operands = (f"residual: {operands[0]}", *operands[1:])
            self._links[id(step)] = Link(step.operator, step.path, operands, step.symbol)
        return self._links[id(step)]


def _extent(step: Step) -> tuple[bool, bool, int]:
    """Return a key that orders steps by how many values they can make."""
    evidence = step.evidence
    return evidence.analog, evidence.integer, len(evidence.derived)


def _is_residual(operands: Sequence[Step]) -> bool:
    """Return whether a tensor is combined with something that was made from it."""
    if len(operands) != 2:
        return False
    left, right = operands
    return left is not right and (leads_to(left, right) or leads_to(right, left))


def _step_in_words(step: Step) -> str:
    values = values_of(step.evidence)
    if step.operator == PARAMETER:
        return f"parameter {step.path}".rstrip()
    what = f"spikes {values}" if step.spikes else values
    if step.operator == INPUT:
        return f"{what} from the input"
    if step.operator == WRITE or not step.operator:
        return what
    return f"{what} from {step.path or step.operator}"


def _shares(values: list[float], evidence: ValueEvidence) -> str:
    """Return multiples of 1/n in words, such as ``{0..9}/9`` or ``{0,1,3}/4``; else ""."""
    unit = evidence.unit
    if unit is None or evidence.signal != "graded" or unit.size >= 1:
        return ""
    parts = round(1 / unit.size)
    if abs(parts * unit.size - 1) > ROUNDING:
        return ""
    multiples = [round(value * parts) for value in values]
    whole = ValueEvidence(derived=frozenset(("", multiple) for multiple in multiples))
    return f"{values_of(whole)}/{parts}"


def values_of(evidence: ValueEvidence) -> str:
    """Name a set of values.

    ``{0,1,2}``, ``{0..17}``, ``{0..4}/4``, ``{0,a}`` with a constant, integers or real.
    """
    if evidence.analog:
        return "real"
    if evidence.unknown:
        return "unknown"
    if evidence.integer:
        return "integers"
    scales = sorted({scale for scale, value in evidence.derived if scale and value})
    letters = dict(zip(scales, "abcdefgh", strict=False))
    if scales:
        names = [
            _scaled(value, letters.get(scale, "z") if scale and value else "")
            for scale, value in sorted(evidence.derived, key=lambda part: part[1])
        ]
        return "{" + ",".join(dict.fromkeys(names)) + "}"
    values = sorted({value + 0.0 for _, value in evidence.derived} or {0.0})  # -0 is 0
    shares = _shares(values, evidence)
    if shares:
        return shares
    if len(values) > 4 and values == [values[0] + i for i in range(len(values))]:
        return f"{{{values[0]:g}..{values[-1]:g}}}"
    if len(values) > 6:
        return f"{{{values[0]:g},{values[1]:g},...,{values[-1]:g}}}"
    return "{" + ",".join(f"{value:g}" for value in values) + "}"


def _scaled(value: Number, letter: str) -> str:
    if not letter:
        return f"{float(value):g}"
    return {1.0: letter, -1.0: f"-{letter}"}.get(float(value), f"{float(value):g}{letter}")


_LACKS = {
    "pool": "averaging and sums over many values",
    "norm": "normalisation that is not folded",
    "elementwise": "multiplication of values that are not spikes",
    "activation": "activation functions",
}


def _lacks(
    named: Iterable[tuple[str, Row, object]],
    thresholds: set[str],
    unaccounted: Iterable[str],
) -> Iterator[Lack]:
    found: dict[str, list[str]] = {}
    for _, row, _ in named:
        foreign = (
            (row.kind == "pool" and (row.ac or row.mac))
            or (row.kind == "norm" and row.folded is None)
            or (row.kind in ("elementwise", "activation") and row.mac)
        )
        if not foreign:
            continue
        what = _LACKS[row.kind]
        if row.kind in ("elementwise", "activation") and row.path in thresholds:
            what = "arithmetic around a threshold, such as that of a neuron written out"
        place = row.path or "the model"
        found.setdefault(what, []).append(f"{row.operator} in {place}")
    for what, where in found.items():
        yield Lack(what, tuple(dict.fromkeys(where)))
    if places := tuple(unaccounted):
        yield Lack("operators that syops has no rule for", places)
