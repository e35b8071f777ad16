"""Make pages of the notebooks in ``examples/`` while MkDocs builds, as they were stored."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

_EXAMPLES = Path(__file__).parent.parent / "examples"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each notebook, and put it into the navigation."""
    pages = []
    for path in sorted(_EXAMPLES.glob("*.ipynb")):
        content = json.loads(path.read_text("utf-8"))
        page = File.generated(
            config, f"notebooks/{path.stem}.md", content="\n".join(_page(content))
        )
        files.append(page)
        pages.append(page.src_uri)
    (section,) = (part["Notebooks"] for part in config.nav or [] if "Notebooks" in part)
    section[1:] = pages
    return files


def _page(notebook: dict[str, Any]) -> Iterator[str]:
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            yield re.sub(r"\((\d\d-[\w-]+)\.ipynb\)", r"(\1.md)", source) + "\n"
            continue
        yield f"```python\n{source}\n```\n"
        for output in cell.get("outputs", ()):
            yield from _output(output)


def _output(output: dict[str, Any]) -> Iterator[str]:
    data = output.get("data", {})
    if "image/png" in data:
        yield f'<img alt="" src="data:image/png;base64,{"".join(data["image/png"]).strip()}">\n'
    elif "text/html" in data:
        lines = "".join(data["text/html"]).split("\n")
        yield (
            '<div style="overflow-x: auto; position: relative">'
            + "".join(line.strip() + " " for line in lines if line.strip())
            + "</div>\n"
        )
    else:
        text = "".join(output.get("text", data.get("text/plain", ())))
        yield f"```text\n{text.rstrip()}\n```\n"
