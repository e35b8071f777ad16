"""Hold what a user says of the hardware, which a count does not tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from syops.cost.energy import LARGEST
from syops.cost.memory import MemoryModel
from syops.errors import SyopsTypeError, SyopsValueError, shown
from syops.units import quantity

Constants = Mapping[str, float]
"""Those of a model, by name."""


@dataclass(frozen=True)
class Setting:
    """Hold what a user says of the hardware, which a count does not tell.

    Attributes:
        memory: the queues and the bits of the models that know memory, which have the prices.
        latency_ms: how long an inference takes, in ms.
        hops: from core to core that a message makes on average, east or west and north or south.

    Raises:
        SyopsTypeError, SyopsValueError: another sort of value, prices of memory, or a negative or
            infinite number.

    Examples:
        >>> Setting(latency_ms=0.5, hops=(1.5, 0)).hops
        (1.5, 0)
    """

    memory: MemoryModel = MemoryModel()
    latency_ms: float | None = None
    hops: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.memory, MemoryModel):
            raise SyopsTypeError(
                f"memory: expected a MemoryModel, got {type(self.memory).__name__}"
            )
        if self.memory.points != MemoryModel().points:
            raise SyopsValueError(
                "energy models have prices of memory of their own: give MemoryModel(queue=..., "
                "bits=...) without points, or call report.memory(model) for prices of yours"
            )
        if self.latency_ms is not None:
            _check_number(self.latency_ms, "latency must be a number of ms")
        if self.hops is not None:
            said = "hops must be two numbers, east or west and north or south"
            if not isinstance(self.hops, tuple | list) or len(self.hops) != 2:
                raise SyopsTypeError(f"{said}, got {shown(self.hops)}")
            for number in self.hops:
                _check_number(number, said)

    @property
    def told(self) -> tuple[str, ...]:
        """What differs from the defaults, in words."""
        found = []
        if self.memory.queue != MemoryModel().queue:
            found.append(f"queues of {self.memory.queue} messages")
        if self.memory.bits is not None:
            found.append(f"{self.memory.bits} bits for each weight, value and state")
        if self.latency_ms is not None:
            found.append(f"{quantity(self.latency_ms / 1000, 's')} for each inference")
        if self.hops is not None:
            found.append("{:g} and {:g} hops for each message".format(*self.hops))
        return tuple(found)


def _check_number(number: Any, said: str) -> None:
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise SyopsTypeError(f"{said}, got {shown(number)}")
    if not 0 <= number <= LARGEST:
        raise SyopsValueError(f"{said}, at least 0 and at most {LARGEST:g}, got {number!r}")
