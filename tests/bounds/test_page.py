"""docs/BOUNDS.md tells the bounds that are tested, and no others."""

from __future__ import annotations

import re
from pathlib import Path

from tests.bounds import limits, soak

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "BOUNDS.md").read_text("utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ")]


def figure(size: int) -> str:
    return f"{size / limits.MB:g} MB" if size >= limits.MB else f"{size / limits.KB:g} KB"


def test_each_bound_is_on_the_page() -> None:
    told = [row.split("|")[2].strip() for row in ROWS]
    figures = {name: value for name, value in vars(limits).items() if isinstance(value, int)}
    for name, value in figures.items():
        if name not in ("KB", "MB"):
            assert figure(value) in told, f"{name} is {figure(value)}"


def test_each_test_that_the_page_names_is_there() -> None:
    tests = "".join(path.read_text("utf-8") for path in HERE.glob("test_*.py"))
    there = set(re.findall(r"^(?:async )?def (test_\w+)", tests, re.MULTILINE))
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert named
    assert named <= there, named - there


def test_the_page_tells_what_the_soak_allows() -> None:
    assert f"{figure(soak.AN_HOUR)} an hour" in PAGE
    assert f"{figure(soak.NOISE)} of noise" in PAGE
    assert soak.PEOPLE == 60
    assert soak.STALLED == 20
