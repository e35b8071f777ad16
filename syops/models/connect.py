"""Define the element-wise connection functions g(s, x) of a residual block (Table 1).

``s`` is the spike output of the block's residual mapping, s = SN(f(x)), and ``x`` its shortcut.
For spikes in {0, 1}, each function except ADD is the logical operation of its name: its result is a
spike again. ADD gives {0, 1, 2}. The functions are written as arithmetic, so that they are
differentiable. They take two tensors of one shape, or numbers.
"""

from collections.abc import Callable, Sequence
from typing import Any

from syops.errors import SyopsValueError

Connection = Callable[[Any, Any], Any]


def add(s: Any, x: Any) -> Any:
    """Return s + x, Eq. (9): the connection of SEW ResNet, not a spike."""
    return s + x


def and_(s: Any, x: Any) -> Any:
    """Return s and x."""
    return s * x


def iand(s: Any, x: Any) -> Any:
    """Return (not s) and x."""
    return (1 - s) * x


def or_(s: Any, x: Any) -> Any:
    """Return s or x."""
    return s + x - s * x


def xor(s: Any, x: Any) -> Any:
    """Return either s or x, not both."""
    return s * (1 - x) + x * (1 - s)


CONNECTIONS: dict[str, Connection] = {
    "ADD": add, "AND": and_, "IAND": iand, "OR": or_, "XOR": xor,
}  # fmt: skip
LOGICAL = ("AND", "IAND", "OR", "XOR")


def connection(g: str, allowed: Sequence[str] = tuple(CONNECTIONS)) -> Connection:
    """Return the function named ``g``; `SyopsValueError` if it is not one of ``allowed``."""
    if g not in allowed:
        only = ""
        if g in tuple(CONNECTIONS):
            only = f"; {g} would put non-spike values into a full-spike stream (see sew_resnet*)"
        raise SyopsValueError(f"g={g!r} is not one of {', '.join(allowed)}{only}")
    return CONNECTIONS[g]
