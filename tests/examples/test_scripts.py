"""The scripts in ``examples/`` do what they say."""

import os
import subprocess
import sys

import pytest

from syops import Report
from tests import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.once]
EXAMPLES = ROOT / "examples"


def run(*command):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "SYOPS": f"{sys.executable} -m syops"}
    return subprocess.run([*map(str, command)], capture_output=True, text=True, env=env)


def test_ci_gate_script(tmp_path):
    good = run(EXAMPLES / "ci_gate.sh", "fsnn_digits", "20uJ")
    assert (good.returncode, good.stdout.count("ok ")) == (0, 2), good.stderr
    spikes = run(EXAMPLES / "ci_gate.sh", "sew_digits", "1mJ")
    assert (spikes.returncode, spikes.stdout.count("FAILED")) == (1, 1), spikes.stderr


def test_paper_table_script(tmp_path):
    done = run(sys.executable, EXAMPLES / "paper_table.py", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert Report.load(tmp_path / "out" / "sew_digits.json").accuracy == 443 / 450
    assert r"fsnn\_digits" in (tmp_path / "out" / "table.tex").read_text("utf-8")
    assert (tmp_path / "out" / "accuracy-energy.pdf").read_bytes()[:4] == b"%PDF"
    assert "dsnn_digits" in (tmp_path / "out" / "comparison.html").read_text("utf-8")


def test_your_own_network_script():
    done = run(sys.executable, EXAMPLES / "your_own_network.py")
    assert done.returncode == 0, done.stderr
    assert "conv2" in done.stdout
    assert "per sample of 64" in done.stdout
