"""Note what a pass reads that an earlier pass of the same count computed.

Calls of a model that go on from each other are the time-steps of one batch, or training steps; a
count that takes each for samples of its own has to say so.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from syops.ops.rule import Call, Rule
from syops.ops.values import UNKNOWN, is_constant
from syops.trace.live import Tensors
from syops.trace.record import Before


class Earlier:
    """Mark what one pass computes, and note what it reads of an earlier one.

    Args:
        tensors: what is known of the live tensors.

    Attributes:
        shapes: of the tensors of an earlier pass that the model has read.
    """

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors
        self.shapes: set[torch.Size] = set()

    def read(self, tensors: Iterable[Tensor]) -> None:
        """Note which of these an earlier pass has computed."""
        known = [record for x in tensors if (record := self._tensors.find(x)) is not None]
        self.shapes.update(record.shape for record in known if record.earlier)

    def mark(self, rule: Rule | None, call: Call, before: Before, is_in_caller: bool) -> None:
        """Mark what an operator computes of data, and note what it reads of an earlier pass.

        Who calls the model, and what moves values alone, hands on both marks.
        """
        hands_on = is_in_caller or (rule is not None and rule.moves)
        targets = {id(target) for target, _ in before.writes}
        replaced = targets if rule is not None and (rule.overwrites or rule.moves) else set()
        read = [r for x, r in before.records if r is not None and id(x) not in replaced]
        earlier = [record for record in read if record.earlier]
        if not is_in_caller:
            self.shapes.update(record.shape for record in earlier)
            for x, record in before.records:  # a write into a view of a state tells of the state
                if record is None and self._tensors.known(x) == (None, UNKNOWN):
                    self._tensors.put(x, UNKNOWN)
        computed = not hands_on or any(record.computed for record in read)
        for tensor in call.outputs:
            record = self._tensors.latest(tensor)
            if not is_constant(record.signal):  # zeros_like(x)
                record.computed, record.earlier = computed, hands_on and bool(earlier)
        for _, aliases in before.writes:
            for _, record in self._tensors.rewritten(aliases):
                record.computed |= computed
