"""Keep how often each neuron of a network fired: plain integers, which add up exactly."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from operator import add


@dataclass(frozen=True)
class NeuronLayer:
    """Hold what the neurons of one module sent, over all samples and time-steps.

    Attributes:
        path: the module's.
        name: of its class.
        calls: how often it was called.
        entries: values that it sent.
        spikes: those that are not zero.
        graded: those that are integers, and neither -1, 0 nor 1.
        analog: those that are not integers.
        shapes: those that a sample has at a time-step, sorted; more than one if it changed, and
            none where it is not known which dimension has the samples.
        counts: the spikes of each neuron, in the order of the only one of ``shapes``; None where
            there is no such one.
        steps: entries and spikes at each time-step; None where those of some passes are not known,
            or their number differs.

    Examples:
        >>> layer = NeuronLayer("lif", "LIF", 2, 8, 3, 0, 0, ((2,),), array("q", [0, 3]))
        >>> layer.times, layer.tally, layer.histogram(4)
        (4, {0: 1, 3: 1}, (1, 0, 0, 1))
        >>> (layer + layer).counts
        array('q', [0, 6])
    """

    path: str
    name: str
    calls: int = 0
    entries: int = 0
    spikes: int = 0
    graded: int = 0
    analog: int = 0
    shapes: tuple[tuple[int, ...], ...] = ()
    counts: array[int] | None = None
    steps: tuple[tuple[int, int], ...] | None = None

    @property
    def times(self) -> int:
        """How often each neuron could have fired: samples times time-steps.

        0 where there are no ``counts``, or no neurons.
        """
        return 0 if not self.counts else self.entries // len(self.counts)

    @cached_property
    def tally(self) -> Mapping[int, int]:
        """How many neurons fired so often, by that number; empty without ``counts``."""
        return dict(sorted(Counter(self.counts or ()).items()))

    def histogram(self, bins: int) -> tuple[int, ...]:
        """Return the neurons whose rate is in each of so many equal parts of [0, 1].

        A part has its lower end, and the last one its upper end too.
        """
        found = [0] * bins
        for spikes, neurons in self.tally.items():
            found[min(spikes * bins // self.times, bins - 1)] += neurons
        return tuple(found)

    def __add__(self, other: NeuronLayer) -> NeuronLayer:
        """Return the same neurons on more data."""
        if not self.calls or not other.calls:
            return self if self.calls else other
        shapes = tuple(sorted({*self.shapes, *other.shapes}))
        counts = None
        if self.counts is not None and other.counts is not None and len(shapes) == 1:
            counts = array("q", map(add, self.counts, other.counts))
        return NeuronLayer(
            self.path,
            self.name,
            self.calls + other.calls,
            self.entries + other.entries,
            self.spikes + other.spikes,
            self.graded + other.graded,
            self.analog + other.analog,
            shapes,
            counts,
            _added(self.steps, other.steps),
        )


def _added(
    one: tuple[tuple[int, int], ...] | None, two: tuple[tuple[int, int], ...] | None
) -> tuple[tuple[int, int], ...] | None:
    if one is None or two is None or len(one) != len(two):
        return None
    return tuple((a + c, b + d) for (a, b), (c, d) in zip(one, two, strict=True))


def merge_neurons(
    one: Iterable[NeuronLayer] | None, two: Iterable[NeuronLayer] | None
) -> tuple[NeuronLayer, ...] | None:
    """Return the neurons of both, in the order of the network; None where one was not measured."""
    if one is None or two is None:
        return None
    sums: dict[str, NeuronLayer] = {}
    for layer in (*one, *two):
        sums[layer.path] = sums[layer.path] + layer if layer.path in sums else layer
    return tuple(sums.values())


def quantile_of(tally: Mapping[int, int], share: float) -> float:
    """Return a quantile of what a tally counts, between two neighbours in proportion.

    Args:
        tally: how many there are of each number, from the least number on; of one at least.
        share: between 0 and 1; 0.5 is the median.

    >>> quantile_of({0: 1, 3: 1}, 0.5), quantile_of({0: 3, 3: 1}, 0.75)
    (1.5, 0.75)
    """
    place = share * (sum(tally.values()) - 1)
    low, high = (_at(tally, end) for end in (math.floor(place), math.ceil(place)))
    return low + (high - low) * (place - math.floor(place))


def _at(tally: Mapping[int, int], place: int) -> int:
    """Return the number at a place, from 0, if all are put in a row."""
    for number, times in tally.items():
        place -= times
        if place < 0:
            return number
    raise IndexError("there are fewer")
