"""Write the table of the states of all operators of torch: ``python benchmarks/operators.py``.

The page is what `syops.ops.registry.state` says of the torch that is installed; a test holds the
two together.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import torch

from syops._torch import operators_of
from syops.ops.registry import HasCost, Named, State, state
from syops.ops.rule import Free, canonical

PAGE = Path(__file__).parent.parent / "docs" / "operators.md"


def page() -> str:
    """The page, in Markdown."""
    functions = operators_of("aten")
    by_state: dict[State, set[str]] = defaultdict(set)
    for function in functions:
        by_state[state(function)].add(canonical(function))
    counted = {s.what: names for s, names in by_state.items() if isinstance(s, HasCost)}
    free = {s.reason: names for s, names in by_state.items() if isinstance(s, Free)}
    named = by_state[Named()]
    totals = [sum(map(len, group.values())) for group in (counted, free)]
    return "\n".join(
        [
            "# Operators",
            "",
            f"torch {version()} has {len(functions)} operators in `torch.ops.aten`. Each is in one "
            "of three states:",
            "",
            "* **counted**: it has a rule, which says what a call costs;",
            "* **free**: it costs nothing, for a stated reason;",
            "* **named**: it computes and has no rule. If a model uses it, `report.unaccounted` "
            "names it and the report is incomplete. A "
            "[rule of your own](own_operators.md) mends that.",
            "",
            "An operator and its in-place form share one entry. An operator whose forms are in "
            "different states is in two tables. An operator of another library is free if it "
            "cannot compute (it gives a view, a property of a tensor, or takes no tensor). It is "
            "one operation per element if it is tagged as pointwise. Otherwise it is named.",
            "",
            "Symbols: a matrix product is [m, k] times [k, n], `batch` times. N is the number of "
            "samples, C_in and C_out are numbers of channels, ∏ is a product over the dimensions "
            "of a kernel, an input or a result.",
            "",
            "`python benchmarks/operators.py` writes this page, and a test holds it to the code.",
            "",
            f"## Counted ({totals[0]})",
            "",
            *_table("what one call costs", counted),
            "",
            f"## Free ({totals[1]})",
            "",
            *_table("why", free),
            "",
            f"## Named ({len(named)})",
            "",
            *_names(named),
            "",
        ]
    )


def version() -> str:
    """The version of torch without what it was built for."""
    return torch.__version__.partition("+")[0]


def _table(title: str, groups: dict[str, set[str]]) -> list[str]:
    rows = [f"| {said} | {', '.join(_names(groups[said]))} |" for said in sorted(groups)]
    return [f"| {title} | operators |", "|---|---|", *rows]


def _names(names: set[str]) -> list[str]:
    return [", ".join(f"`{name}`" for name in sorted(names))]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
