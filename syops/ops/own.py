"""Validate the user's own rules, and let their errors name the operator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from syops._torch import OpOverload, OpOverloadPacket, overload_of
from syops.errors import (
    SyopsError,
    SyopsRuntimeError,
    SyopsTypeError,
    SyopsValueError,
    first_line,
)
from syops.ops.kinds import KINDS, SYNAPTIC
from syops.ops.registry import is_composite
from syops.ops.rule import Call, Cost, Free, Normalisation, Product, Rule, Tally
from syops.ops.values import Interval, Opaque, Signal, TruthTable

T = TypeVar("T")
TALLIES = tuple(kind for kind in KINDS if kind not in (*SYNAPTIC, "norm"))


def own_rules(rules: Mapping[Any, Rule] | None) -> dict[Any, Rule]:
    """Return the rules that the user gives, by the operators that torch's dispatcher sees.

    Raises:
        SyopsTypeError: a key that is not an operator, or a value that is not a rule.
        SyopsValueError: a rule for an operator that only calls others, which would not be asked.
    """
    if rules is None:
        return {}
    if not isinstance(rules, Mapping):
        raise SyopsTypeError(
            "rules: expected a dict such as {torch.ops.my_library.my_operator: rule}, got "
            f"{type(rules).__name__}"
        )
    found = {}
    for key, rule in rules.items():
        operator = overload_of(key)
        if not isinstance(operator, (OpOverload, OpOverloadPacket)):
            raise SyopsTypeError(
                "rules: expected operators such as torch.ops.my_library.my_operator as keys, "
                f"got {key!r}"
            )
        if not isinstance(rule, Rule):
            raise SyopsTypeError(f"rules: expected a syops.ops.Rule for {operator}, got {rule!r}")
        if all(map(is_composite, _overloads(operator))):
            raise SyopsValueError(
                f"rules: {operator} only calls other operators, and these are counted: a rule for "
                "it is never asked"
            )
        found[operator] = _checked(str(operator), rule)
    return found


def _overloads(operator: Any) -> list[Any]:
    if isinstance(operator, OpOverload):
        return [operator]
    return [getattr(operator, name) for name in operator.overloads()]


def _checked(name: str, rule: Rule) -> Rule:
    """Return the rule, with errors that name its operator."""

    def signal(call: Call) -> Signal | list[Signal]:
        given = _asked(name, rule.signal, call)
        several = isinstance(given, Iterable)
        signals = list(given) if isinstance(given, Iterable) else [given]
        for one in signals:
            if not isinstance(one, (Opaque, Interval, TruthTable)):
                raise SyopsTypeError(
                    f"rules: the signal of {name} must be one for its result, or a list of one "
                    f"for each; got {one!r}; see syops.ops.analog, binary and unknown"
                )
        return signals if several else signals[0]

    def cost(call: Call) -> tuple[Cost, ...]:
        given = _asked(name, rule.cost, call)
        costs = (given,) if isinstance(given, Cost) else given
        if not isinstance(costs, (list, tuple)):
            raise SyopsTypeError(f"rules: {_expected(name)}, got {given!r}")
        for one in costs:
            match one:
                case Product():
                    _check_kind(name, one.kind, SYNAPTIC)
                case Tally():
                    _check_kind(name, one.kind, TALLIES)
                case Normalisation():
                    pass
                case _:
                    raise SyopsTypeError(f"rules: {_expected(name)}, got {one!r}")
        return tuple(costs)

    asked = rule.cost if isinstance(rule.cost, Free) else cost
    return replace(rule, signal=signal, cost=asked, own=True)


def _asked(name: str, ask: Callable[[Call], T], call: Call) -> T:
    try:
        return ask(call)
    except SyopsError:
        raise
    except Exception as error:
        raise SyopsRuntimeError(
            f"rules: the rule of {name} failed: {type(error).__name__}: {first_line(error)}"
        ) from error


def _expected(name: str) -> str:
    return f"the cost of {name} must be a Product, Normalisation or Tally, or a list of them"


def _check_kind(name: str, kind: str, known: Iterable[str]) -> None:
    if kind not in known:
        raise SyopsValueError(
            f"rules: the cost of {name} is of the kind {kind!r}; known: {', '.join(known)}"
        )
