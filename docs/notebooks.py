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
_STYLE = """<style>
:host {
  --jp-layout-color0: var(--md-default-bg-color);
  display: block; overflow-x: auto; position: relative; font-size: .65rem; margin: 1em 0
}
table { border-collapse: collapse; border: 0 }
:is(th, td) { padding: .25em .7em; border: 0; border-bottom: 1px solid #8884 }
caption { text-align: left; padding: .25em .7em }
</style>""".replace("\n", " ")
"""How tables without a style of their own are shown. What a notebook shows is a document by itself,
so that the styles of the site do not reach into it: its details and tables looked broken."""


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
        shown = "".join(line.strip() + " " for line in lines if line.strip())
        yield f'<div><template shadowrootmode="open">{_STYLE}{shown}</template></div>\n'
    else:
        text = "".join(output.get("text", data.get("text/plain", ())))
        yield f"```text\n{text.rstrip()}\n```\n"
