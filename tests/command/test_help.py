"""What the help and docs/COMMAND_LINE.md say can be typed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from server.command import _parser, _with_default, main

PAGE = (Path(__file__).parents[2] / "docs" / "COMMAND_LINE.md").read_text("utf-8")
COMMANDS = ("serve", "push", "append")


def help_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"] if command else ["--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def commands_in(text: str) -> list[list[str]]:
    """Every `tablecast ...` in the examples, as a shell would split it."""
    examples = re.findall(r"^.*\btablecast\b.*$", text, flags=re.MULTILINE)
    found = []
    for line in examples:
        typed = re.split(" {2,}| #", line[line.index("tablecast") :])[0].rstrip(")")
        found.append(shlex.split(typed)[1:])
    return found


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_example_of_the_help_can_be_typed(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = help_of(command, capsys).split("examples:\n")[1].split("\n\n")[0]
    examples = commands_in(text)
    assert len(examples) >= 3
    for example in examples:
        _parser().parse_args(_with_default(example))


def test_every_example_of_the_page_can_be_typed() -> None:
    examples = commands_in(PAGE.split("```")[1])
    assert len(examples) >= 6
    for example in examples:
        _parser().parse_args(_with_default(example))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_on_the_page(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = set(re.findall(r"--[a-z]+", help_of(command, capsys).split("examples:")[0])) - {"--help"}
    assert told
    assert told <= set(re.findall(r"`(--[a-z]+)", PAGE))


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert re.fullmatch(r"tablecast (\d+\.\d+\.\d+|\(not installed\))\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["trips.tsv"], "tablecast push FILE"),
        (["push"], "FILE"),
        (["push", "a", "b"], "b"),
        (["append", "-", "--watch"], "--watch"),
        (["push", "a", "--port", "1"], "--port"),
    ],
)
def test_what_is_typed_wrongly_is_told_with_the_usage(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    errors = capsys.readouterr().err
    assert errors.startswith("usage: tablecast")
    assert says in errors
    assert "--help" in errors


def test_a_link_that_is_none_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", "a.tsv", "--to", "ftp://host"]) == 2
    assert "“ftp://host” is no address" in capsys.readouterr().err
