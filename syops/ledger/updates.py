"""Keep how far the neurons of a network were brought forward in time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Updates:
    """Say how far one neuron's states were brought forward in time, summed over its calls.

    Attributes:
        path: the neuron's.
        calls: how often it was called.
        starts: the calls that found its states as a reset leaves them.
        steps: time-steps that the calls went through.
        samples: samples that were brought forward, summed over these steps.
    """

    path: str
    calls: int
    starts: int
    steps: int
    samples: int

    def __add__(self, other: Updates) -> Updates:
        return Updates(
            self.path,
            self.calls + other.calls,
            self.starts + other.starts,
            self.steps + other.steps,
            self.samples + other.samples,
        )

    def times(self, number: int) -> Updates:
        """Return the sum of so many that are like this one."""
        counts = self.calls, self.starts, self.steps, self.samples
        return Updates(self.path, *(count * number for count in counts))


def merge_updates(*parts: Updates) -> tuple[Updates, ...]:
    """Return one entry for each neuron."""
    by_path: dict[str, Updates] = {}
    for part in parts:
        known = by_path.get(part.path)
        by_path[part.path] = part if known is None else known + part
    return tuple(by_path[path] for path in sorted(by_path))
