"""SECURITY.md promises nothing that no test holds."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text("utf-8")
PROMISES = PAGE.split("\n## What holds\n")[1].split("\n## ")[0]
BULLETS = re.findall(r"^- (.*(?:\n  .*)*)$", PROMISES, re.MULTILINE)
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


def defined_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in tree.body if isinstance(node, kinds)}


@pytest.mark.parametrize("bullet", BULLETS, ids=lambda bullet: bullet[:50])
def test_every_promise_names_its_test(bullet: str) -> None:
    words = re.sub(r"`tests/[^`]+`", "", bullet).strip()
    assert words.endswith(".")
    assert words.count(". ") == 0, "one sentence, so that it is clear which one is held"
    assert re.search(r"`tests/[\w/]+\.py::test_\w+`$", bullet)


def test_nothing_is_promised_outside_of_the_list() -> None:
    rest = re.sub(r"^- .*(?:\n  .*)*$", "", PROMISES, flags=re.MULTILINE)
    assert all(line.startswith("### ") for line in rest.split("\n") if line)
    assert len(BULLETS) > 30


@pytest.mark.parametrize("path", sorted({path for path, _ in NAMED}))
def test_every_test_that_is_named_exists(path: str) -> None:
    wanted = {name for where, name in NAMED if where == path}
    assert (ROOT / path).is_file()
    assert wanted <= defined_in(ROOT / path)


def test_every_file_of_security_tests_holds_a_promise() -> None:
    files = {f"tests/security/{path.name}" for path in (ROOT / "tests/security").glob("test_*.py")}
    assert files <= {path for path, _ in NAMED}


def test_it_can_be_found() -> None:
    assert "(SECURITY.md)" in (ROOT / "README.md").read_text("utf-8")
