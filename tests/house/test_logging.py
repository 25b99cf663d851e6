"""Records of the log name things by ids that open nothing, as tests/operations sees in them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVER = Path(__file__).parents[2] / "server"
LOGGERS = {"log", "_log"}
# What a room is entered by, and what somebody wrote, named or asked for. `about` takes the room.
SECRET = {"room", "uuid", "name", "body", "text", "key", "token", "path", "url", "data", "message"}


def last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def calls(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node


@pytest.mark.parametrize("path", sorted(SERVER.rglob("*.py")), ids=lambda path: path.name)
def test_no_record_and_no_task_is_made_of_what_must_not_be_written_down(path: Path) -> None:
    for call in calls(path):
        assert isinstance(call.func, ast.Attribute)
        where = f"{path.name}:{call.lineno}"
        if isinstance(call.func.value, ast.Name) and call.func.value.id in LOGGERS:
            assert isinstance(call.args[0], ast.Constant), f"{where}: the message is no constant"
            named = {last_name(each) for argument in call.args[1:] for each in names(argument)}
            assert not named & SECRET, f"{where} writes {named & SECRET} down"
        if call.func.attr == "create_task":
            for keyword in call.keywords:
                named = {last_name(each) for each in names(keyword.value)}
                assert not named & (SECRET - {"name"}), (
                    f"{where}: a task's name is written down too"
                )


def names(node: ast.expr) -> Iterator[ast.expr]:
    for each in ast.walk(node):
        if isinstance(each, ast.Name | ast.Attribute):
            yield each
