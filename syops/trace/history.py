"""Note by which operators each tensor was made, where the proof asks for it."""

from __future__ import annotations

from torch import Tensor

from syops.ledger.steps import PARAMETER, WRITE, Arrival, History, Step, origin_of
from syops.ops.rule import Call, Free, Product, Rule, canonical, unknown
from syops.ops.values import ANALOG, INTEGER, LEARNED, UNKNOWN, Signal, kind_of
from syops.trace.lineage import Unnormalised
from syops.trace.live import Tensors
from syops.trace.record import Before, Record
from syops.trace.rows import call_site

_NO_RULE = Rule(unknown, Free("not known"))


def remember(
    history: History, tensors: Tensors, path: str, rule: Rule | None, call: Call, before: Before
) -> None:
    """Note how the results of an operator were made, in the module of that path."""
    rule = rule or _NO_RULE
    site, costs = call_site(), rule.cost(call)
    operator = costs[0].operator if costs else canonical(call.func)
    is_synaptic = any(isinstance(cost, Product) for cost in costs)
    inputs = tuple(step_of(tensors, tensor, record) for tensor, record in before.records)
    if rule.lifts:
        operator, inputs = "torch.tensor", ()
    if rule.compares and any(_is_endless(signal) for signal in call.signals.values()):
        history.thresholds.add(path)

    def made(signal: Signal, read: tuple[Step, ...]) -> Step:
        step = Step(operator, path, signal, read, is_synaptic, site, rule.symbol)
        return origin_of(step) if rule.moves else step

    for target, aliases in before.writes:
        is_first = bool(before.records) and before.records[0][0] is target
        own = tensors.latest(target)
        own.step = made(own.signal, inputs[1:] if rule.overwrites and is_first else inputs)
        for old, now in tensors.rewritten(aliases):
            if now is not own:
                parts = (old.step, own.step) if old.step else (own.step,)
                now.step = origin_of(Step(WRITE, path, now.signal, parts))
    written = {id(target) for target, _ in before.writes}
    for tensor in call.outputs:
        if id(tensor) not in written:
            record = tensors.latest(tensor)
            record.step = made(record.signal, inputs)


def _is_endless(signal: Signal) -> bool:
    """Return whether nothing finite is known of values, as of a membrane potential."""
    return kind_of(signal) in (ANALOG, INTEGER, UNKNOWN)


def step_of(tensors: Tensors, tensor: Tensor, record: Record | None = None) -> Step:
    """Return how a tensor was made; ``record``: what was known of it, if that was known."""
    record = record or tensors.find(tensor)
    if record is not None and record.step is not None:
        return record.step
    signal = tensors.signal(tensor)
    return Step(PARAMETER if signal is LEARNED else "", tensors.name(tensor), signal)


def arriving(tensors: Tensors, cost: Product, before: Unnormalised | None) -> tuple[Arrival, ...]:
    """Return how what arrives at a product was made; ``before``: what a norm before it read."""
    steps = (step_of(tensors, operand.tensor) for operand in cost.operands)
    folded = step_of(tensors, before.tensor) if before is not None else None
    return tuple(Arrival(step, folded or step) for step in steps)
