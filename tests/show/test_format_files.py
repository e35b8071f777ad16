"""A format is added by one file: the one in docs/adding.md writes tables where it is put."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import syops
from syops.errors import SyopsTypeError, SyopsValueError
from syops.report.comparison import compare
from syops.report.report import Report
from syops.show.formats import DEFAULT, FORMATS, WholeFormat
from tests.support.reports import FIXED, MIXED, SMALL

SOURCE = Path(syops.__file__).parent
PAGE = SOURCE.parent / "docs" / "adding.md"
OUTPUT = SOURCE.parent / "docs" / "output.md"
RESULTS = [FIXED, MIXED, compare([FIXED, SMALL]).layers(), FIXED.memory()]


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A folder where syops has one file more, and a report."""
    folder = tmp_path_factory.mktemp("formats")
    shutil.copytree(SOURCE, folder / "syops", copy_function=os.symlink)
    (page,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (folder / "syops" / "show" / "formats" / "rst.py").write_text(page)
    SMALL.save(folder / "small.json")
    return folder


def run(folder, *args):
    environment = os.environ | {"PYTHONPATH": str(folder)}
    command = [sys.executable, *args]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_added_format_on_the_command_line(extended):
    ran = run(extended, "-m", "syops", "compare", "small.json", "--format", "rst")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("Synaptic operations and energy per sample (mine)\n\n====")
    assert "\nRatio: DC over the energy" in ran.stdout
    wrong = run(extended, "-m", "syops", "compare", "small.json", "--format", "rts")
    assert "'rst'" in wrong.stderr
    assert "rst" in run(extended, "-m", "syops", "table2", "--help").stdout


def test_added_format_in_python(extended):
    script = """
from syops.report.report import Report
report = Report.load("small.json")
report.save("small.rst")
assert open("small.rst").read() == report.to_format("rst")
print(report.to_format("rst", columns="layer,O_mac", top=1))
try:
    Report.load("small.rst")
except ValueError as error:
    assert "only JSON holds a whole report" in str(error)
else:
    raise AssertionError
"""
    ran = run(extended, "-c", script)
    assert ran.returncode == 0, ran.stderr
    assert "layer  O_mac (M)\n" in ran.stdout
    assert "2 more rows not shown, but inside the total" in ran.stdout


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: type(result).__name__)
@pytest.mark.parametrize("name", FORMATS)
def test_every_result_in_every_format(result, name):
    if name == "html" and result in RESULTS[:2]:
        pytest.skip("with plots; test_html.py has these pages")
    own = {
        "table": result.to_text,
        "markdown": result.to_markdown,
        "latex": result.to_latex,
        "csv": result.to_csv,
        "json": lambda: f"{result.to_json()}\n",
        "html": result.to_page,
    }
    assert result.to_format(name) == own[name]()


@pytest.mark.parametrize("name", FORMATS)
def test_arrangement_of_a_format(name):
    if isinstance(FORMATS[name], WholeFormat):
        with pytest.raises(SyopsTypeError, match=f"top: {name} holds everything"):
            FIXED.to_format(name, top=1)
    else:
        assert FIXED.to_format(name, top=1, depth=1) != FIXED.to_format(name)
        assert "layer1.0.conv1" not in FIXED.to_format(name, depth=1, columns="layer")


def test_unknown_format_is_named():
    with pytest.raises(SyopsValueError, match="name must be one of .* got 'markdwon'.*'markdown'"):
        FIXED.to_format("markdwon")


def test_a_page_tells_the_command():
    page = FIXED.memory().to_format("html", command="syops run net --memory")
    assert page.startswith("<!DOCTYPE html>")
    assert "syops run net --memory" in page


def test_formats_are_told_apart_by_name_and_suffix():
    assert len({each.suffix for each in FORMATS.values()}) == len(FORMATS)
    assert {each.name for each in FORMATS.values()} == {*FORMATS}
    assert DEFAULT in FORMATS


def test_docs_list_every_format():
    page = OUTPUT.read_text("utf-8")
    before = "`--format` takes by name and `report.save` by suffix: "
    (listed,) = re.findall(rf"{before}(.*?)\.\s", page, re.S)
    told = dict(re.findall(r"`(\w+)` \(`(\.\w+)`", listed))
    assert told == {name: each.suffix for name, each in FORMATS.items()}
    assert {*re.findall(r"``(\.\w+)``", Report.save.__doc__)} == {*told.values()}
