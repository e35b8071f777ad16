"""What `--help` says, and what the shell completes."""

import re
import shlex

import pytest
from click.shell_completion import ShellComplete

from syops.cli import cli
from syops.models import list_models


def test_summaries_are_whole(syops):
    listed = " ".join(syops("--help")[1].partition("Commands:")[2].split())
    listed = listed.replace("time- steps", "time-steps")  # broken at a hyphen
    assert "..." not in listed
    for name, command in cli.commands.items():
        summary = " ".join(command.help.partition("\n\n")[0].split())
        assert f"{name} {summary}" in listed


@pytest.mark.parametrize("name", cli.commands)
def test_the_example_of_a_command_is_one_that_it_takes(syops, here, name):
    out = syops(name, "--help")[1]
    (example,) = re.findall(r"Example:\n +(syops .+)\n", out)
    program, command, *args = shlex.split(example)
    assert (program, command) == ("syops", name)
    (here / "report.json").write_text("{}")
    cli.commands[name].make_context(name, args)  # exits or fails on what it does not take


def completed(*args, incomplete=""):
    found = ShellComplete(cli, {}, "syops", "_SYOPS_COMPLETE").get_completions(
        list(args), incomplete
    )
    return [item.value for item in found], {item.type for item in found}


@pytest.mark.parametrize("command", ["run", "bounds", "audit", "compare", "fit"])
def test_names_of_models_are_completed(command):
    expected = [name for name in list_models() if name.startswith("dsnn")]
    assert completed(command, incomplete="dsnn") == (expected, {"plain"})


@pytest.mark.parametrize(
    ("args", "incomplete", "found"),
    [
        (["run", "--energy"], "lo", ["loihi"]),
        (["compare", "--convention"], "neuro", ["neurobench"]),
        (["fit", "--chip"], "loi", ["loihi", "loihi2"]),
        (["compare", "--to"], "", ["ann", "first"]),
    ],
)
def test_names_of_options_are_completed(args, incomplete, found):
    assert completed(*args, incomplete=incomplete) == (found, {"plain"})


def test_what_is_no_name_is_completed_as_a_file():
    assert completed("compare", incomplete="./rep") == (["./rep"], {"file"})


def test_the_shell_asks_through_the_environment(syops, monkeypatch):
    monkeypatch.setenv("_SYOPS_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "syops energy --for")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert syops() == (0, "plain,--format\n", "")
