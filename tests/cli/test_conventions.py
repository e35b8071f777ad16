"""``--convention``, ``--conventions`` and ``syops conventions``, as a user runs them."""

import json
from pathlib import Path

import pytest

from syops.cost.conventions import list_conventions
from syops.report.report import Report
from tests.support.reports import BLIND, FIXED


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A current directory with a saved report, and files of conventions."""
    monkeypatch.chdir(tmp_path)
    Path("fixed.json").write_text(FIXED.to_json(), "utf-8")
    Path("blind.json").write_text(BLIND.to_json(), "utf-8")
    Path("mine.toml").write_text('[mine]\ngraded = "spikes"\ntitle = "as we count"\n', "utf-8")
    Path("bad.toml").write_text('[mine]\ngraded = "sometimes"\n', "utf-8")


def test_every_convention_is_listed_with_its_source(syops):
    code, out, _ = syops("conventions")
    assert code == 0
    for each in list_conventions():
        assert f"\n{each.name}:\n" in out
        assert each.title in out
    assert " ".join(list_conventions()[-1].gets_wrong.split()) in " ".join(out.split())


def test_conventions_of_a_file_and_bibtex(syops):
    assert "as we count" in syops("conventions", "mine.toml")[1]
    _, out, _ = syops("conventions", "--bibtex")
    assert out.count("@") == sum(bool(each.bibtex) for each in list_conventions())


@pytest.mark.parametrize("name", ["sdt", "mine.toml", "mine.toml:mine"])
def test_bounds_under_a_convention(syops, name):
    _, out, _ = syops("bounds", "sew_digits", "--convention", name, "--format", "json")
    assert Report.from_json(out).convention.graded == "spikes"


def test_saved_reports_under_several_conventions(syops):
    code, out, _ = syops(
        *("compare", "fixed.json", "blind.json", "--conventions", "dst,mine.toml,sinabs"),
        *("--format", "json"),
    )
    rows = json.loads(out)["rows"]
    assert code == 0
    assert [(row["network"], row["convention"]) for row in rows][:3] == [
        ("fixed", "dst"), ("fixed", "mine"), ("fixed", "sinabs"),
    ]  # fmt: skip
    assert rows[1]["why"].startswith("MACs here ACs: layer2.0.conv1")
    assert "needs a count on data with values=True" in rows[2]["why"]
    assert "fixed" in syops("compare", "fixed.json", "--conventions", "all")[1]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (
            ("bounds", "sew_digits", "--convention", "spikformr"),
            "unknown convention 'spikformr'; did",
        ),
        (("bounds", "sew_digits", "--convention", "no.toml"), "no.toml"),
        (
            ("bounds", "sew_digits", "--convention", "bad.toml"),
            "one of mac, ac, spikes; got 'somet",
        ),
        (("bounds", "sew_digits", "--convention", "sinabs"), "needs a count on data with values"),
        (("compare", "fixed.json", "--convention", "neurobench"), "needs a count on data"),
        (("compare", "fixed.json", "--conventions", "dst,"), "unknown convention ''"),
        (("compare", "fixed.json", "--conventions", "all", "--layers"), "a table of its own"),
        (("conventions", "bad.toml"), "bad.toml: convention 'mine': graded must be one of"),
    ],
)
def test_errors_are_one_line(syops, args, words):
    code, out, err = syops(*args)
    assert (code, out) == (2, "")
    assert words in err
    assert err.startswith("syops: error: ")
    assert err.count("\n") == 1
