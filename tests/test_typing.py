"""``mypy --strict`` on the examples of README and docs, and on what must and must not pass."""

from __future__ import annotations

import ast
import builtins
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

PAGES = (
    "README.md",
    *(
        f"docs/{name}.md"
        for name in (
            *("own_network", "own_operators", "spike_only", "output", "energy", "folding"),
            *("networks", "dual_stream_training"),
        )
    ),
)
"""Those whose examples stand alone."""

GIVEN = {
    "Axes": "from matplotlib.axes import Axes",
    "ax": "from matplotlib.axes import Axes\nax: Axes",
    "compare": "from syops import compare",
    "get_model_syops": "from syops import get_model_syops",
    "labels": "import torch\nlabels: torch.Tensor",
    "loader": "from torch.utils.data import DataLoader\nloader: DataLoader[object]",
    "model": "from torch import nn\nmodel: nn.Module",
    "project": "from torch._library.custom_ops import CustomOpDef\nproject: CustomOpDef",
    "report": "from syops import MeasuredReport\nreport: MeasuredReport",
    "reports": "from syops import Report\nreports: list[Report]",
    "torch": "import torch",
    "x": "import torch\nx: torch.Tensor",
}
"""What the examples take for granted."""

PROMISED = """
from syops import MeasuredReport, Report, compare, count_syops, create_model
from syops import get_model_bounds, get_model_syops
from syops.cost.conventions import get_convention

measured = get_model_syops(model, x, graded="ac", ac="events", input_signal=["binary"])
figures: tuple[float, float, float] = (measured.dc_mj, measured.ac, measured.ac_events)
again: MeasuredReport = measured.priced("loihi").select("conv").merge(measured)
text: str = measured.to_csv(depth=1, columns="all", sort="dc_mj", top=3, units=["G", "mJ"])
side: str = compare({"a": measured, "b": Report.load("b.json")}, to="first").to_latex(top=1)
network = create_model("dsnn18", g="IAND", T=4)

bounds = get_model_bounds(model, (1, 3, 32, 32))
unknown: float = bounds.dc_mj  # type: ignore[assignment]
get_model_syops(model, x, graded="maybe")  # type: ignore[arg-type]
strict = get_convention("dst").but(graded="ac", norms="counted")
get_convention("dst").but(norms="none")  # type: ignore[arg-type]
get_convention("dst").but(norm="free")  # type: ignore[call-arg]
latex: str = measured.to_format("latex", depth=1, columns="all", top=3)
measured.to_format("latex", sorted="dc_mj")  # type: ignore[call-arg]
get_model_syops(model, x, input_signal=["spikes"])  # type: ignore[list-item]
with count_syops(model, samples=4, time_steps=2) as count:
    model(x)
counted: MeasuredReport = count.report
count_syops(model, time_steps="2")  # type: ignore[arg-type]
create_model("dsnn18", steps=4)  # type: ignore[call-arg]
measured.to_markdown(column="DC")  # type: ignore[call-arg]
measured.table(units="GJ")  # type: ignore[arg-type]
measured.plot("pie")  # type: ignore[arg-type]
"""
"""What passes; an ``ignore`` that is not needed is an error, too."""


def with_what_it_needs(code: str) -> str:
    """An example behind declarations of the names that it takes for granted."""
    nodes = list(ast.walk(ast.parse(code)))
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    bound = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    bound |= {n.name for n in nodes if isinstance(n, ast.FunctionDef)}
    bound |= {n.arg for n in nodes if isinstance(n, ast.arg)}
    bound |= {
        alias.asname or alias.name
        for n in nodes
        if isinstance(n, ast.Import | ast.ImportFrom)
        for alias in n.names
    }
    needed = sorted(used - bound - set(dir(builtins)))
    return "\n".join([*(GIVEN[name] for name in needed), code])


@pytest.mark.slow
@pytest.mark.once
def test_examples_pass_mypy_strict(tmp_path):
    pages = [(ROOT / page).read_text("utf-8") for page in PAGES]
    examples = [code for page in pages for code in re.findall(r"```python\n(.*?)```", page, re.S)]
    assert len(examples) > 10
    for i, code in enumerate([*examples, PROMISED]):
        (tmp_path / f"example{i}.py").write_text(with_what_it_needs(code), "utf-8")
    options = ("--strict", "--follow-imports=silent", f"--cache-dir={ROOT / '.mypy_cache/readme'}")
    found = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file=", *options, str(tmp_path)],
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
