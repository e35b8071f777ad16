"""The notebooks run, and say what is stored in them.

    python -m tests.examples.test_notebooks [NAME ...]

runs them and stores their outputs.
"""

import html
import math
import os
import re
import sys
import tempfile

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from tests import ROOT

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
TOLERANCE = {"": 0.02, "trained-here": 0.5}
"""Of figures, by the tag of a cell: another CPU rounds otherwise, and training magnifies it."""
LARGEST = 600_000
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:[.,]\d+)*(?:e-?\d+)?")
VERSION = re.compile(r"\d+(?:\.\d+){2,}[\w.+]*")
OWN_PATH = re.compile(r"(?<![\w.])/(?:home|root|tmp|usr|opt|mnt|Users)/")


class _ThisInterpreter(KernelSpecManager):
    """Every kernel is the interpreter that runs the tests, whatever is installed elsewhere."""

    def get_kernel_spec(self, kernel_name):
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


def run(path, folder):
    """Run a notebook in ``folder``; raises `nbclient.exceptions.CellExecutionError`."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        km=AsyncKernelManager(kernel_spec_manager=_ThisInterpreter()),
        resources={"metadata": {"path": str(folder)}},
        timeout=300,
        record_timing=False,
    )
    root = str(ROOT)
    found = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    # torch misses Triton aloud where there is no GPU, when spikingjelly registers its kernels.
    quiet = {"TORCH_LOGS": "-torch._library.triton"}
    client.execute(env={**os.environ, **quiet, "IPYTHONDIR": str(folder), "PYTHONPATH": found})
    return notebook


def outputs(cell):
    """What a cell shows, as (kind, text); of a picture only that there is one."""
    streams = {}
    found = []
    for output in cell.outputs:
        if output.output_type == "stream":
            streams[output.name] = streams.get(output.name, "") + output.text
            continue
        for kind, content in sorted(output.data.items()):
            if kind == "text/html":
                content = re.sub(r"<style.*?</style>", "", content, flags=re.DOTALL)
                content = html.unescape(re.sub(r"<[^>]+>", " ", content))
            found.append((kind, "" if kind.startswith("image/") else content))
    return [*streams.items(), *found]


def figures(text):
    """The figures of a text, without versions."""
    return [float(number.replace(",", "")) for number in NUMBER.findall(VERSION.sub("", text))]


def words(text):
    """A text without its figures, and without what only their width makes of it."""
    return re.sub(r"-{2,}", "--", " ".join(NUMBER.sub("#", VERSION.sub("#", text)).split()))


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_outputs_match_a_new_run(path, tmp_path):
    stored = nbformat.read(path, as_version=4)
    new = run(path, tmp_path)
    for old_cell, new_cell in zip(stored.cells, new.cells, strict=True):
        if old_cell.cell_type != "code":
            continue
        was, now = outputs(old_cell), outputs(new_cell)
        assert [kind for kind, _ in was] == [kind for kind, _ in now], new_cell.source
        tag = next(iter(old_cell.metadata.get("tags", [])), "")
        for (_, before), (_, after) in zip(was, now, strict=True):
            assert words(before) == words(after)
            for old, figure in zip(figures(before), figures(after), strict=True):
                assert math.isclose(old, figure, rel_tol=TOLERANCE[tag]), (old, figure, after)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_file_is_clean(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata == METADATA
    assert path.stat().st_size < LARGEST
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    told = [told for cell in code for told in outputs(cell)]
    assert told
    assert not [text for kind, text in told if kind == "stderr"]
    assert not OWN_PATH.search(path.read_text("utf-8"))


def store(path):
    with tempfile.TemporaryDirectory() as folder:
        notebook = run(path, folder)
    notebook.metadata = METADATA
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for path in NOTEBOOKS:
        if not sys.argv[1:] or path.stem in sys.argv[1:]:
            store(path)
