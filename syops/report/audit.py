"""Define `Audit`, which `check_full_spike` returns: a proof, with ways to show it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from syops.cost.proof import Proof
from syops.show.json import json_text
from syops.show.proof import render_proof


@dataclass(frozen=True, repr=False)
class Audit(Proof):
    """Show which values reach each synaptic layer, as `check_full_spike` has proved it.

    Examples:
        >>> from torch import nn
        >>> from syops import check_full_spike
        >>> print(check_full_spike(nn.Linear(4, 2), (1, 4), input_signal="binary"))
        Linear: spike-only
        <BLANKLINE>
        Input: binary, as input_signal says
    """

    def to_json(self) -> str:
        content = {"full_spike": self.full_spike, **asdict(self)}
        for told, row in zip(content["rows"], self.rows, strict=True):
            for cause, of in zip(told["causes"], row.causes, strict=True):
                cause["text"] = str(of)
        return json_text(content)

    def __str__(self) -> str:
        return render_proof(self)

    def __repr__(self) -> str:
        """Show the audit in words at a prompt."""
        return str(self)
