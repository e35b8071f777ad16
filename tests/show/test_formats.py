"""Every format of one report made by hand, against files that were read through by eye.

``python -m tests.show.test_formats`` writes them anew: look at what changed before you keep it.
"""

import csv
import io
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from syops.errors import SyopsLookupError, SyopsTypeError, SyopsValueError
from syops.report.comparison import compare
from syops.show.formats.cells import cell_text
from syops.show.formats.csv import to_csv
from syops.show.formats.html import to_html
from syops.show.formats.latex import to_latex
from syops.show.formats.markdown import to_markdown
from syops.show.formats.text import abbreviated, to_text
from syops.show.table import Column
from syops.show.tabular import Table
from tests.support.reports import FIXED, LONG, MIXED, SMALL, analog

GOLDEN = Path(__file__).parent / "golden"
PARTS = {
    "depth": 2,
    "columns": "layer,O_ac,O_mac,DC,share",
    "sort": "mac",
    "top": 3,
    "units": ["M", "uJ"],
}
FORMS = {
    "report.txt": lambda: to_text(FIXED.table(), 80),
    "report-color.txt": lambda: to_text(FIXED.table(), 80, color=True),
    "report.md": FIXED.to_markdown,
    "report.tex": FIXED.to_latex,
    "report.csv": FIXED.to_csv,
    "report.html": FIXED.to_html,
    "parts.txt": lambda: to_text(FIXED.table(**PARTS)),
    "parts.md": lambda: FIXED.to_markdown(**PARTS),
    "parts.tex": lambda: FIXED.to_latex(**PARTS),
    "parts.csv": lambda: FIXED.to_csv(**PARTS),
    "bounds.txt": lambda: str(replace(FIXED, measured=False)),
    "comparison.txt": lambda: to_text(MIXED.table(), 80),
    "comparison.md": MIXED.to_markdown,
    "comparison.tex": MIXED.to_latex,
    "comparison.csv": MIXED.to_csv,
    "comparison.html": MIXED.to_html,
    "comparison.json": MIXED.to_json,
    "difference.txt": lambda: to_text(compare([FIXED, SMALL]).layers().table(), 80),
    "difference.csv": lambda: compare([FIXED, SMALL]).layers().to_csv(),
}


@pytest.mark.parametrize("name", FORMS)
def test_formats_match_golden_files(name):
    assert FORMS[name]() == (GOLDEN / name).read_text("utf-8")


# --- a table made by hand -----------------------------------------------------------------------

TABLE = Table(
    (
        Column("name", "network"),
        Column("T", "T", "integer"),
        Column("ec_mj", "EC", "energy", interval=True),
        Column("mac", "O_mac", "operations", "G"),
        Column("good", "good", "flag"),
        Column("change", "change", "share", signed=True),
    ),
    (
        ("a", 4, (0.5453, 6.5), 118_600_000, True, 0.25),
        ("b", 250, (7.3, 804.98), 1_587_800_000, False, -0.5),
        ("c", None, (4e-4, 4e-4), 0, None, 0.0),
    ),
)


def cells(text):
    return [line.split("  ") for line in text.splitlines()]


@pytest.mark.parametrize("shown_", [FIXED, MIXED, compare([FIXED, SMALL]).layers()])
def test_a_prompt_and_a_notebook_show_the_table(shown_):
    table = shown_.table()
    assert repr(shown_) == repr(table) == to_text(table, verbose=False)
    assert table._repr_html_() == to_html(table)


def test_values_as_text():
    names = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in to_markdown(TABLE).splitlines()
    ]
    assert names[0] == ["network", "T", "EC (mJ)", "O_mac (G)", "good", "change"]
    assert names[2:] == [
        ["a", "4", "[0.545, 6.50]", "0.119", "yes", "+25.0%"],
        ["b", "250", "[7.30, 805]", "1.59", "no", "-50.0%"],
        ["c", "-", "[0.000400, 0.000400]", "0", "-", "0.0%"],
    ]


def test_csv_has_two_columns_for_an_interval_and_tells_units():
    first, *rows = csv.reader(io.StringIO(to_csv(TABLE)))
    assert first == ["name", "T", "ec_min_mj", "ec_max_mj", "mac_g", "good", "change"]
    assert rows[0] == ["a", "4", "0.5453", "6.5", "0.1186", "True", "0.25"]
    assert rows[2] == ["c", "", "0.0004", "0.0004", "0.0", "", "0.0"]
    in_joules = to_csv(TABLE.arranged(units="J", columns=["ec"]))
    assert in_joules.splitlines()[:2] == ["ec_min_j,ec_max_j", "0.0005453,0.0065"]


@pytest.mark.parametrize(
    ("sort", "names"),
    [("T", "bac"), ("ec", "bac"), ("network", "abc"), ("change", "bac"), ("GOOD", "abc")],
)
def test_sorting(sort, names):
    assert "".join(row[0] for row in TABLE.arranged(sort=sort).rows) == names


def test_columns_by_key_or_heading_in_any_case_and_order():
    for columns in ("O_MAC, network", ["mac", "name"], ("o_mac", "NETWORK")):
        table = TABLE.arranged(columns)
        assert [column.key for column in table.columns] == ["mac", "name"]
        assert table.rows[0] == (118_600_000, "a")


def test_csv_read_by_pandas_equals_the_frame():
    frame = TABLE.to_frame()
    assert list(frame["ec_max_mj"]) == [6.5, 804.98, 4e-4]
    read = pd.read_csv(io.StringIO(to_csv(TABLE)))
    numbers = frame.columns.drop("good")  # None or NaN
    pd.testing.assert_frame_equal(frame[numbers], read[numbers], check_dtype=False)
    layers = compare([FIXED, SMALL]).layers()
    assert layers.to_frame()["dc_diff_mj"].sum() == pytest.approx(SMALL.dc_mj - FIXED.dc_mj)


def test_all_columns():
    assert TABLE.arranged("all") == TABLE.arranged() == TABLE
    assert len(FIXED.table(columns="all").columns) > len(FIXED.table().columns)


@pytest.mark.parametrize("name", ["network_", "", "ecc", "mj"])
def test_a_column_that_does_not_exist(name):
    for arrangement in ({"columns": f"T,{name}"}, {"sort": name}):
        with pytest.raises(
            SyopsLookupError, match="known columns: name, T, ec_mj, mac, good, change"
        ):
            TABLE.arranged(**arrangement)


@pytest.mark.parametrize(
    ("of", "old", "new"),
    [
        (FIXED, "energy", "dc_mj"),
        (FIXED, "energy_mj", "dc_mj"),
        (MIXED, "rate", "mean_rate"),
        (MIXED, "dc_m", "dc_mj"),
    ],
)
def test_renamed_column_is_refused_with_its_name(of, old, new):
    with pytest.raises(SyopsLookupError, match=f"no such column: '{old}'; did you mean '{new}'"):
        of.table(columns=["name", old])


@pytest.mark.parametrize("of", [FIXED, MIXED, compare([SMALL, FIXED]).layers(), FIXED.memory()])
def test_columns_have_the_same_names_in_tables_csv_and_frames(of):
    keys = []
    for column in of.table(columns="all").columns:
        stem, unit = column.key.removesuffix("_mj"), "_mj" * column.key.endswith("_mj")
        ends = [f"{stem}_min{unit}", f"{stem}_max{unit}"] if column.interval else [column.key]
        keys += ends
    assert of.to_csv().splitlines()[0].split(",") == list(of.to_frame().columns) == keys


@pytest.mark.parametrize(
    ("of", "line"),
    [(FIXED, FIXED.layers[0]), (MIXED, MIXED.rows[0]), (FIXED.memory(), FIXED.memory().rows[0])],
)
def test_columns_are_called_as_attributes_are(of, line):
    for column in of.table(columns="all").columns:
        end = re.sub("_(min|max)_", "_", column.key)  # an end of an interval
        assert hasattr(line, column.key) or hasattr(line, end), column.key


@pytest.mark.parametrize("name", ["DC", "dc", "dc_mj", " Dc_mJ "])
def test_columns_are_found_by_key_or_heading(name):
    assert FIXED.table(columns=name).columns[0].key == "dc_mj"
    keys = [column.key for column in FIXED.table(columns="EC max, ec_max").columns]
    assert keys == ["ec_max_mj", "ec_max_mj"]


def test_arrangements_that_make_no_sense():
    for arrangement, words in (
        ({"top": 0}, "top must be at least 1, got 0"),
        ({"columns": []}, "at least one"),
        ({"units": "GJ"}, "no such unit"),
    ):
        with pytest.raises(SyopsValueError, match=words):
            TABLE.arranged(**arrangement)


def test_hidden_rows_are_noted():
    assert TABLE.arranged(top=3) == TABLE
    assert TABLE.arranged(top=2).caption == "1 more row not shown"
    assert TABLE.arranged(top=1).caption == "2 more rows not shown"
    summed = replace(TABLE, total=TABLE.rows[0], caption="Nets").arranged(top=1)
    assert summed.caption == "Nets; 2 more rows not shown, but inside the total"


def test_the_most_expensive_layers_are_the_first_ones():
    top = FIXED.table(top=2)
    assert [row[0] for row in top.rows] == ["stem_#1", "layer1.0.conv1"]
    assert top.total == FIXED.table().total
    assert [row[0] for row in FIXED.table(top=1, sort="O_ac").rows] == ["layer1.0.conv1"]
    possible = replace(FIXED, measured=False).table(top=1)
    assert possible.rows[0][0] == "layer1.0.conv1"


# --- text ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [60, 80, 81, 100, 140])
def test_lines_are_as_wide_as_the_terminal_and_no_wider(width):
    lines = to_text(FIXED.table(), width).splitlines()
    assert max(map(len, lines)) <= max(width, 75)  # the other columns and a name of 12
    assert (LONG in "\n".join(lines)) == (width == 140)


def test_a_shortened_name_keeps_both_ends():
    assert abbreviated("abcdefghij", 10) == "abcdefghij"
    assert abbreviated("abcdefghijk", 10) == "ab..fghijk"


def names_in(table, width):
    return [line.split()[0] for line in to_text(table, width).splitlines()[2:]]


def test_names_are_cut_only_as_long_as_they_stay_different():
    names = [f"encoder.attention.{part}.projection" for part in ("query", "value", "q")]
    columns = (Column("name", "layer"), Column("n", "n", "integer"))
    table = Table(columns, tuple((name, 1) for name in names))
    for width in range(10, 40):
        assert len(set(names_in(table, width))) == 3
    assert names_in(table, 40) == names
    assert names_in(table, 24)[0] == "..query.projection"


def test_nothing_is_cut_in_a_file(tmp_path):
    FIXED.save(tmp_path / "report.txt")
    text = (tmp_path / "report.txt").read_text("utf-8")
    assert text == FIXED.to_text()
    assert LONG in text
    assert "mind the_gap" in text


def test_print_is_as_wide_as_the_terminal(monkeypatch):
    monkeypatch.setattr("sys.stdout", io.StringIO())
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "90")
    assert str(FIXED) == to_text(FIXED.table(), 90, verbose=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: False)
    assert LONG in str(FIXED)


def test_three_sentences_below_a_table_and_the_rest_on_request():
    table = replace(TABLE, summary=("one", "two\n  = 2"), notes=("three", "four", "five"))
    below = to_text(table, verbose=False).partition("c        ")[2]
    assert re.findall("one|two|three|four|five", below) == ["one", "two", "three"]
    assert below.endswith("2 more notes with --verbose, or to_text() in Python")
    assert to_text(table).endswith("four\nfive")


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        *((0.0, "rate", "0.000"), (4e-4, "rate", "<0.001"), (6e-4, "rate", "0.001")),
        *((0.0, "share", "0.0%"), (1e-5, "share", "<0.1%"), (0.0, "energy", "0")),
        *((0.0, "operations", "0"), (2.5, "count", "2.50"), (9999, "count", "9999")),
    ],
)
def test_only_zero_reads_as_zero(value, kind, text):
    assert cell_text(value, Column("x", "x", kind)) == text


def test_a_column_has_one_unit():
    kinds = {"a": "operations", "b": "operations", "e": "energy"}
    columns = tuple(Column(key, key, kind) for key, kind in kinds.items())
    table = Table(columns, ((5e6, 0, 1e-3), (0, 2e9, 2e-6)))
    lines = [re.split(" {2,}", line.strip()) for line in to_text(table).splitlines()]
    assert lines[0] == ["a (G)", "b (G)", "e (nJ)"]
    assert lines[2:] == [["0.00500", "-", "1000"], ["-", "2.00", "2.00"]]
    assert to_csv(table).splitlines()[1] == "5000000.0,0,0.001"


def test_control_characters_are_escaped():
    assert cell_text("a\x1b[31mb\n", Column("x", "x")) == "a\\x1b[31mb\\n"


# --- HTML, Markdown -----------------------------------------------------------------------------


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.text = [], []

    def handle_starttag(self, tag, attrs):
        assert tag in {"table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td", "sub"}
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


EVIL = "<script>alert('x')</script>&amp;\"onload="


def test_names_cannot_break_out_of_html():
    report = replace(
        FIXED, model=EVIL, rows=(analog(EVIL, 10),), notes=(EVIL,), unaccounted={EVIL: 1}
    )
    page = Tags()
    page.feed(report.to_html())
    assert page.open == []
    assert "".join(page.text).count(EVIL) == 5


def test_names_cannot_break_out_of_a_markdown_cell():
    (row,) = [
        line
        for line in replace(FIXED, rows=(analog("a|b*c*`d`_e_[f](g)$h$", 10),))
        .to_markdown()
        .splitlines()
        if "analog" in line
    ]
    assert row.startswith(r"| a\|b\*c\*\`d\`\_e\_\[f](g)\$h\$ |")


# --- LaTeX --------------------------------------------------------------------------------------

LETTERS = "".join(map(chr, range(0x20, 0x2C0))) + "\u03bc\u2190\u2013\u6f22\U0001f600"


def compiled(folder, *tables):
    """Make a paper of tables; return its source and LaTeX's log."""
    head = r"\documentclass{article}\usepackage{booktabs,graphicx,longtable}\begin{document}"
    paper = "\n".join([head, *tables, r"\end{document}"])
    (folder / "paper.tex").write_text(paper, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    return (folder / "paper.log").read_text("latin-1")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex")
def test_latex_prints_names_as_they_are_and_within_their_column(tmp_path):
    names = [
        "--a---b",
        "?`c!`d",
        "``e",
        "encoder.layers.3.query",
        "TransformerBlockOfSpikes:mm#2",
        "漢" * 4,
    ]
    report = replace(FIXED, rows=tuple(analog(name, 1) for name in [*names, "long." * 10]))
    assert "Overfull" not in compiled(tmp_path, report.to_latex(columns="layer,O_mac"))
    if shutil.which("pdftotext"):
        text = subprocess.run(
            ["pdftotext", "-raw", "paper.pdf", "-"], cwd=tmp_path, capture_output=True, check=True
        ).stdout.decode()
        assert set(names[:3]) <= set(text.split())


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex")
def test_latex_compiles_whatever_the_names_are(tmp_path):
    names = [LETTERS[i : i + 20] for i in range(0, len(LETTERS), 20)] + ["[1]", "*"]
    rows = tuple(analog(f"layer{i}.conv", 10**i if i < 12 else i) for i in range(60))
    tables = [
        FIXED.to_latex(),
        FIXED.to_latex(**PARTS),
        FIXED.to_latex(columns="all"),
        replace(
            FIXED, model=" ".join(LETTERS[:200]), rows=tuple(analog(name, 1) for name in names)
        ).to_latex(),
        replace(FIXED, rows=rows).to_latex(units=["T", "J"]),
        to_latex(TABLE),
    ]
    assert [r"\begin{longtable}" in table for table in tables] == [False] * 4 + [True, False]
    log = compiled(tmp_path, *tables)
    assert "Missing character" not in log
    wide = [int(line) for line in re.findall(r"Overfull .* at lines (\d+)", log)]
    hostile = 1 + sum(table.count("\n") + 1 for table in tables[:3])
    assert all(line > hostile for line in wide)


def test_latex_has_the_caption_label_and_notes_of_its_user():
    text = FIXED.to_latex(caption=r"Energy of $N_1$~\cite{x}", label="tab:energy", notes="By hand.")
    assert r"\caption{Energy of $N_1$~\cite{x}}\label{tab:energy}\par" in text
    assert text.count("Warning: ") == 2
    assert text.partition(r"\usebox0\fi")[2].splitlines()[3] == "By hand."
    bare = MIXED.to_latex(notes=False)
    assert "Ratio: " not in bare
    assert "Warning: " in bare


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"label": "tab energy"}, SyopsValueError, "label: 'tab energy' cannot be referred to"),
        ({"label": "a}b"}, SyopsValueError, "label: "),
        ({"label": "a", "caption": ""}, SyopsValueError, "needs a caption"),
        ({"label": 3}, SyopsTypeError, "label must be text, got 3"),
        ({"caption": b"x"}, SyopsTypeError, "caption must be text"),
        ({"notes": None}, SyopsTypeError, "notes must be True, False or LaTeX, got None"),
    ],
)
def test_what_latex_cannot_have(given, error, words):
    with pytest.raises(error, match=words):
        FIXED.to_latex(**given)


def test_latex_breaks_long_text_and_lets_long_notes_leave_the_float():
    why = "needs a count on data, which looks at each call by its values alone"
    columns = (Column("name", "name"), Column("n", "n", "count"), Column("why", "why"))
    table = Table(columns, (("a", 1, why), ("b", 2, "")), notes=("[Sic] " + "long " * 700,))
    text = to_latex(table)
    assert r"\begin{tabular}{lrp{0.4\linewidth}}" in text
    assert rf"a & 1 & \raggedright {why} \tabularnewline" in text
    float_, rest = text.split(r"\end{table}")
    assert "long long" not in float_
    assert "\n{}[Sic] long" in rest


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex")
def test_latex_of_long_text_compiles_within_the_line(tmp_path):
    columns = (Column("name", "name"), Column("why", "why"))
    table = Table(columns, tuple((f"[{i}", "a reason in words " * 5) for i in range(3)))
    assert "Overfull" not in compiled(tmp_path, to_latex(table))


def test_only_an_x_that_multiplies_is_a_times_sign():
    table = replace(TABLE, caption="resnet50x4, 0xff, 2x3x8: x = 3 x 0.9 pJ")
    assert r"{resnet50x4, 0xff, 2$\times$3$\times$8: x = 3 $\times$ 0.9 pJ}" in to_latex(table)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex")
def test_latex_of_a_wide_table_stays_readable(tmp_path):
    """Narrow, wide and far too wide: as it is, in smaller letters, shrunk, which the log says."""
    few = "layer,kind,signal,rate,O_ac,O_mac,DC"
    shrunk = []
    for i, columns in enumerate(("layer,DC", few, "all")):
        folder = tmp_path / str(i)
        folder.mkdir()
        shrunk.append("table shrunk" in compiled(folder, FIXED.to_latex(columns=columns)))
    assert shrunk == [False, False, True]


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="no pdftotext")
def test_latex_repeats_headings_and_numbers_a_long_table_once(tmp_path):
    rows = tuple(analog(f"layer{i}.conv", 10) for i in range(120))
    compiled(tmp_path, replace(FIXED, rows=rows).to_latex(label="tab:long"), r"See \ref{tab:long}.")
    text = subprocess.run(
        ["pdftotext", "-raw", "paper.pdf", "-"], cwd=tmp_path, capture_output=True, check=True
    ).stdout.decode()
    pages = text.count("\f")
    assert pages >= 3
    assert text.count("Table 1: ") == 1
    assert text.count("share\n") == text.count("continued\n") + 1
    assert text.count("continued on the next page") == text.count("continued\n") >= 1


def test_html_of_an_empty_table():
    empty = Table((Column("name", "network"),), ())
    assert to_html(empty).count("<tr>") == 1
    assert to_text(empty) == "network\n-------"
    assert to_csv(empty) == "name\n"


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, form in FORMS.items():
        (GOLDEN / name).write_text(form(), encoding="utf-8")
