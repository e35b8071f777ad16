"""Hold how often a classifier was right, by class: plain integers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest

from syops.errors import SyopsValueError

TOP = 5
"""How many classes a top-5 answer names."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Hold how often a classifier was right.

    Attributes:
        samples: of each class.
        correct: of these, those whose class has the largest logit; the first one, of equal ones.
        correct_top5: of these, those whose class is among the five with the largest logits.

    Raises:
        SyopsValueError: no sample at all, more classes in one list, or more right than there are.

    Examples:
        >>> scores = Scores(samples=(2, 2), correct=(2, 1), correct_top5=(2, 2))
        >>> scores.accuracy, scores + scores == Scores((4, 4), (4, 2), (4, 4))
        (0.75, True)
    """

    samples: tuple[int, ...]
    correct: tuple[int, ...]
    correct_top5: tuple[int, ...]

    def __post_init__(self) -> None:
        if not len(self.samples) == len(self.correct) == len(self.correct_top5):
            raise SyopsValueError("scores: samples, correct and correct_top5 are of other lengths")
        each = zip(self.samples, self.correct_top5, self.correct, strict=True)
        if not sum(self.samples) or not all(n >= five >= one >= 0 for n, five, one in each):
            raise SyopsValueError(
                "scores: expected samples >= correct_top5 >= correct >= 0 of each class, and at "
                "least one sample"
            )

    @property
    def accuracy(self) -> float:
        """The share of all samples that are right."""
        return sum(self.correct) / sum(self.samples)

    @property
    def accuracy_top5(self) -> float | None:
        """The same for the five classes with the largest logits; None of five or fewer classes."""
        return sum(self.correct_top5) / sum(self.samples) if len(self.samples) > TOP else None

    def __add__(self, other: Scores) -> Scores:
        def added(one: tuple[int, ...], two: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(a + b for a, b in zip_longest(one, two, fillvalue=0))

        return Scores(
            added(self.samples, other.samples),
            added(self.correct, other.correct),
            added(self.correct_top5, other.correct_top5),
        )
