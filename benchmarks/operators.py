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
            f"The {len(functions)} operators `torch.ops.aten` of torch {version()}, each in one of "
            "three states. In-place forms stand with the others; an operator is in two tables "
            "where its forms differ. `python benchmarks/operators.py` writes this page, and a "
            "test holds it against the code.",
            "",
            "An operator that computes and has no rule is named in `report.unaccounted`. Operators "
            "of other libraries are free if they cannot compute (views, questions, what reads no "
            "tensor), one operation per element if they are tagged as pointwise, and else named.",
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
