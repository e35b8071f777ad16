"""Notes by which operators each tensor was made, where the proof asks for it."""

from __future__ import annotations

from torch import Tensor

from syops.ledger.steps import OVERWRITES, PARAMETER, WRITE, Arrival, History, Step, made
from syops.ops.moves import LIFTS
from syops.ops.pointwise import has_threshold
from syops.ops.rule import Call, Product, Rule, canonical, tensors_in
from syops.ops.values import LEARNED
from syops.trace.lineage import Unnormalised
from syops.trace.live import Before, Record, Tensors
from syops.trace.rows import call_site


def remember(
    history: History, tensors: Tensors, path: str, rule: Rule | None, call: Call, before: Before
) -> None:
    """Note how the results of an operator were made, in the module of that path."""
    site = call_site()
    costs = rule.cost(call) if rule is not None else ()
    name = canonical(call.func)
    operator = costs[0].operator if costs else name
    synaptic = any(isinstance(cost, Product) for cost in costs)
    moved = rule is not None and rule.moves
    inputs = tuple(step_of(tensors, tensor, record) for tensor, record in before.records)
    if name in LIFTS:  # a literal
        operator, inputs = "torch.tensor", ()
    if has_threshold(call):
        history.thresholds.add(path)
    for target, aliases in before.writes:
        read = inputs[1:] if name in OVERWRITES else inputs
        own = tensors.latest(target)
        own.step = made(operator, path, own.signal, read, synaptic, moved, site)
        for old, now in tensors.rewritten(aliases):
            if now is not own:
                parts = (old.step, own.step) if old.step else (own.step,)
                now.step = made(WRITE, path, now.signal, parts, moved=True)
    written = {id(target) for target, _ in before.writes}
    for tensor in tensors_in((call.out,)):
        if id(tensor) not in written:
            record = tensors.latest(tensor)
            record.step = made(operator, path, record.signal, inputs, synaptic, moved, site)


def step_of(tensors: Tensors, tensor: Tensor, record: Record | None = None) -> Step:
    """How a tensor was made; ``record``: what was known of it, if that was known."""
    record = record or tensors.find(tensor)
    if record is not None and record.step is not None:
        return record.step
    signal = tensors.signal(tensor)
    return Step(PARAMETER if signal is LEARNED else "", tensors.name(tensor), signal)


def arriving(tensors: Tensors, cost: Product, before: Unnormalised | None) -> tuple[Arrival, ...]:
    """How what arrives at a product was made; ``before``: what a norm before it read."""
    steps = (step_of(tensors, operand.tensor) for operand in cost.operands)
    folded = step_of(tensors, before.tensor) if before is not None else None
    return tuple(Arrival(step, folded or step) for step in steps)
