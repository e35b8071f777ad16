"""Keep what has been counted so far; a report can be made of it after every batch."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from syops.ledger.ledger import Ledger
from syops.trace import inputs as given
from syops.trace.ann import AnnCounts
from syops.trace.spikes import Spikes


@dataclass
class CountSoFar:
    """Hold what has been counted so far.

    Attributes:
        model: the network.
        ledger: the rows of all passes.
        ann: what is to be known of the batches to count the same network as an ANN.
        first: what the model was called with first, on ``meta``; None before that.
        notes: sentences that a reader should know, each once and in order.
        ended: what ended the count early, in a sentence.
        batches: that were read and counted.
        at_batch: whether one of several batches is being read or counted.
        is_exact: whether the last batch was counted whole, or failed in a way that left nothing
            of it; not after an interrupt in the midst of it.
        samples: in all batches, as the user told; None where the ledger knows.
        steps: T of the batches; several where they differ, and None where it is not known.
        before: batches and samples that were counted earlier, and are in a checkpoint.
        share: the place of this process among several, and how many there are.
        weights: their fingerprint, once a batch was counted; None also where it is not known.
        states: the buffers that it leaves out, as they are states.
        spikes: those of each neuron, where they are counted.
        data: the sum of the fingerprints of all samples; None where that is not known.
        dependent: passes that read what an earlier one had computed, where calls are watched.
        in_training: the modules that were counted in training mode and do other work there.
    """

    model: nn.Module
    ledger: Ledger
    ann: AnnCounts
    first: given.Arguments | None = None
    notes: dict[str, None] = field(default_factory=dict)
    ended: tuple[str, ...] = ()
    batches: int = 0
    at_batch: bool = False
    is_exact: bool = True
    samples: int | None = None
    steps: set[int | None] = field(default_factory=set)
    before: tuple[int, int] = (0, 0)
    share: tuple[int, int] = (0, 1)
    weights: str | None = None
    states: frozenset[str] = frozenset()
    spikes: Spikes | None = None
    data: int | None = 0
    dependent: int = 0
    in_training: tuple[str, ...] = ()

    @property
    def batch(self) -> int:
        """The number of the batch that is being read or counted, from 0.

        What waits to be added may fail later than the batches behind it, and labels after theirs.
        """
        place, processes = self.share
        return place + processes * (self.before[0] + min(self.batches, self.ledger.passes))

    @property
    def time_steps(self) -> int | None:
        """T, where all batches have the same."""
        return next(iter(self.steps)) if len(self.steps) == 1 else None
