"""``syops compare`` and ``syops check``, as a user runs them."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from syops import compare
from syops.cost.profiles import get_energy_model
from syops.show.html import to_table_page
from tests.support.reports import BLIND, FIXED, SMALL


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A current directory with saved reports, whole and spoilt."""
    monkeypatch.chdir(tmp_path)
    for report in (SMALL, BLIND):
        tmp_path.joinpath(f"{report.model}.json").write_text(report.to_json(), "utf-8")
    tmp_path.joinpath("big.json").write_text(FIXED.to_json(), "utf-8")
    whole = SMALL.to_json()
    tmp_path.joinpath("cut.json").write_text(whole[: len(whole) // 2], "utf-8")
    tmp_path.joinpath("nan.json").write_text(whole.replace("4.6", "NaN"), "utf-8")
    tmp_path.joinpath("list.json").write_text("[1, 2]", "utf-8")
    tmp_path.joinpath("binary.json").write_bytes(b"\xff\xfe\x00")
    return tmp_path


# --- compare ------------------------------------------------------------------------------------


def test_saved_reports_in_every_format(syops):
    reports = replace(SMALL, model="small"), replace(FIXED, model="big")
    both = compare(reports)
    args = ("compare", "small.json", "big.json")
    assert syops(*args)[1] == f"{both}\n"
    for form in ("markdown", "latex", "csv"):
        arranged = ("--columns", "network,DC,ratio", "--sort", "dc", "--top", 1, "--units", "J")
        assert syops(*args, "--format", form)[1] == getattr(both, f"to_{form}")()
        assert syops(*args, "--format", form, *arranged)[1] == getattr(both, f"to_{form}")(
            columns=["name", "dc_mj", "ratio"], sort="dc_mj", top=1, units="J"
        )
    assert json.loads(syops(*args, "--format", "json")[1]) == json.loads(both.to_json())
    assert syops(*args, "--to", "first")[1] == f"{compare(reports, to='first')}\n"
    assert syops(*args, "--layers")[1] == f"{both.layers()}\n"
    layers = json.loads(syops(*args, "--layers", "--format", "json")[1])
    assert layers == json.loads(both.layers().to_json())
    assert syops(*args, "-o", "out.txt")[1] == ""
    command = "syops compare small.json big.json --format html"
    assert syops(*args, "--format", "html")[1] == both.to_page(command)
    page = to_table_page(
        "small and big, layer by layer", both.layers().to_html(), f"{command} --layers"
    )
    args = (*args, "--format", "html", "--layers")
    assert syops(*args)[1] == page


def test_networks_by_name_are_compared_by_their_bounds(syops):
    # 8 blocks of 16 and then 32 channels, 8x8 and then 4x4 pixels; see tests/models/test_demo.py.
    stem, classifier = 8 * 8 * 16 * 9, 32 * 10
    args = ("compare", "small.json", "fsnn_digits", "half=fsnn_digits", "--format", "csv")
    status, out, err = syops(*args, "--units", "G", "--columns", "network,T,O_ac,O_mac,DC")
    assert (status, err) == (0, "")
    lines = [line.split(",") for line in out.splitlines()]
    assert [line[0] for line in lines] == ["name", "small", "fsnn_digits", "half"]
    assert lines[2][1:] == ["4", "", f"{(stem + classifier) / 1e9}", ""]
    assert lines[3][1:] == lines[2][1:]
    twice = syops("compare", "fsnn_digits", "--set", "T=2", "--columns", "T", "--format", "csv")[1]
    assert twice.split() == ["time_steps", "2"]


def test_options_of_a_count_are_for_networks_by_name(syops):
    def macs(*options):
        columns = ("--format", "csv", "--columns", "O_mac", "--units", "k")
        return syops("compare", "sew_digits", *columns, *options)[1].split()[1]

    assert float(macs("--no-fold-bn")) > float(macs()) > float(macs("--graded", "ac"))


def test_energy_option_applies_to_every_network(syops):
    args = ("compare", "small.json", "fsnn_digits", "--energy", "horowitz45-int8")
    rows = json.loads(syops(*args, "--format", "json")[1])["rows"]
    model = get_energy_model("horowitz45-int8")
    assert rows[0]["dc_mj"] == pytest.approx(model.energy_pj(4e7, 1e7) * 1e-9)
    assert rows[1]["ec_mj"][0] == pytest.approx(model.energy_pj(0, rows[1]["mac"]) * 1e-9)
    unlike = syops("compare", "small.json", "fsnn_digits")[1]
    assert "Not alike: energy model mine in small; horowitz45-fp32 in fsnn_digits" in " ".join(
        unlike.split()
    )


def test_labels_of_networks(syops, here):
    here.joinpath("a=b.json").write_text(SMALL.to_json(), "utf-8")
    args = ("FSNN-18 (DST)=small.json", "x=y=small.json", "a=b.json", "small.json", "small.json")
    rows = syops("compare", *args, "--columns", "network", "--format", "csv")
    assert rows[0] == 2  # y=small.json does not exist
    args = tuple(arg for arg in args if not arg.startswith("x="))
    rows = syops("compare", *args, "--columns", "network", "--format", "csv")[1].splitlines()
    assert rows[1:] == ["FSNN-18 (DST)", "a=b", "small (1)", "small (2)"]


def test_reports_are_compared_without_torch(here):
    program = (
        "import sys\nfrom syops.cli import main\n"
        "try:\n    main(['compare', 'small.json', 'blind.json'])\n"
        "except SystemExit as done:\n    assert not done.code\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)


# --- check --------------------------------------------------------------------------------------


def test_check_within_budget(syops):
    limits = ("--max-dc", "82.1uJ", "--max-ec", "0.14mJ", "--max-ac", "40M", "--max-mac", "0.01G")
    status, out, err = syops("check", "small.json", *limits, "--max-energy-ratio", "60%")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "ok      DC is 82.0 µJ, within the limit of 82.1 µJ",
        "ok      EC at firing rate 1 is 136 µJ, within the limit of 140 µJ",
        "ok      O_ac is 40.0 M, within the limit of 40.0 M",
        "ok      O_mac is 10.0 M, within the limit of 10.0 M",
        "ok      E(SNN)/E(ANN) is 0.594, within the limit of 0.600",
    ]


def test_check_over_budget_lists_all_reasons(syops):
    args = ("big.json", "--max-dc", "2.5mJ", "--max-mac", "0.2G", "--full-spike", "--max-ac", "7G")
    status, out, err = syops("check", *args)
    assert status == 1
    assert [line.split(" ")[2] for line in err.splitlines()] == ["the", "graded"]
    lacking = " (the report is incomplete)"
    assert [line for line in out.splitlines() if line.startswith("FAILED")] == [
        f"FAILED  DC is 10.9 mJ, 336% above the limit of 2.50 mJ{lacking}",
        f"FAILED  O_mac is 1.15 G, 475% above the limit of 200 M{lacking}",
        f"FAILED  not full-spike: more than spikes reach layer2.0.conv1 (graded){lacking}",
    ]
    assert len(out.splitlines()) == 4


def test_check_names_unpriced_macs(syops, here):
    FIXED.priced("loihi").save(here / "chip.json")
    status, _, err = syops("check", "chip.json", "--max-mac", "2G")
    assert status == 0
    warnings = [line for line in err.splitlines() if ": warning: loihi processes" in line]
    assert "more than spikes reaches layer2.0.conv1" in warnings[0]
    assert len(warnings) == 2


def test_check_against_a_baseline(syops, here):
    worse = replace(SMALL, rows=(*SMALL.rows[:1], replace(SMALL.rows[1], path="x"), SMALL.rows[1]))
    here.joinpath("worse.json").write_text(worse.to_json(), "utf-8")
    # 36 µJ more than 82.
    assert syops("check", "worse.json", "--baseline", "worse.json")[0] == 0
    assert syops("check", "worse.json", "--baseline", "small.json")[0] == 1
    for tolerance, status in (("43.9%", 1), ("44%", 0), ("0.44", 0)):
        args = ("worse.json", "--baseline", "small.json", "--tolerance", tolerance)
        assert syops("check", *args)[0] == status


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["compare"], ["NETWORK"]),
        (["compare", "missing.json"], ["missing.json"]),
        (["compare", "dsnn81"], ["'dsnn81'", "did you mean 'dsnn18'"]),
        (["compare", "small.json", "cut.json"], ["cut.json"]),
        (["compare", "nan.json", "small.json"], ["nan.json"]),
        (["compare", "list.json"], ["list.json"]),
        (["compare", "binary.json"], ["binary.json"]),
        (
            ["compare", "small.json", "--columns", "dcc"],
            ["'dcc'", "columns: name, network_type"],
        ),
        (["compare", "small.json", "--sort", "dcc"], ["'dcc'"]),
        (["compare", "small.json", "--units", "mW"], ["'mW'", "known"]),
        (["compare", "small.json", "--to", "last"], ["--to", "last"]),
        (["compare", "small.json", "--layers"], ["--layers", "two", "got 1"]),
        (["compare", "small.json", "--no-fold-bn"], ["--fold-bn", "saved reports"]),
        (["compare", "small.json", "--set", "T=3"], ["--set", "saved reports"]),
        (["compare", "small.json", "--energy", "horowitz"], ["'horowitz'"]),
        (["compare", "small.json", "--format", "json", "--top", "1"], ["--top", "json"]),
        (["compare", "dsnn81", "-o", "no/where"], ["cannot write no/where"]),
        (["check"], ["REPORT"]),
        (["check", "small.json"], ["nothing to check", "--max-dc"]),
        (["check", "missing.json", "--full-spike"], ["missing.json"]),
        (["check", "cut.json", "--full-spike"], ["cut.json"]),
        (["check", "nan.json", "--full-spike"], ["nan.json"]),
        (["check", "small.json", "--baseline", "list.json"], ["list.json"]),
        (["check", "small.json", "--tolerance", "1%"], ["--tolerance", "--baseline"]),
        (["check", "small.json", "--max-dc", "2.5"], ["--max-dc", "'2.5'", "unit", "mJ"]),
        (["check", "small.json", "--max-dc", "nanmJ"], ["--max-dc", "'nanmJ'"]),
        (["check", "small.json", "--max-dc", "-1mJ"], ["--max-dc", "'-1mJ'", "at least 0"]),
        (["check", "small.json", "--max-dc", "2G"], ["--max-dc", "'2G'", "mJ"]),
        (["check", "small.json", "--max-mac", "2mJ"], ["--max-mac", "'2mJ'", "k, M, G, T"]),
        (["check", "small.json", "--max-ac", "inf"], ["--max-ac", "'inf'"]),
        (["check", "small.json", "--max-energy-ratio", "x"], ["--max-energy-ratio", "'x'"]),
        (["check", "small.json", "--baseline", "big.json"], ["cannot be compared", "BatchNorms"]),
        (["check", "blind.json", "--max-dc", "1mJ"], ["DC", "without data", "syops run"]),
        (["check", "blind.json", "--max-ac", "1G"], ["O_ac", "without data"]),
    ],
    ids=" ".join,
)
def test_usage_error_is_one_line_and_status_2(syops, args, words):
    status, out, err = syops(*args)
    assert (status, out) == (2, "")
    assert err.startswith("syops: error: ")
    assert err.count("\n") == 1
    assert [word for word in words if word not in err] == []
