"""Corrections by a person: what can be read by, and what has to be cut again for it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from server.document.blocks import decompress
from server.document.cutter import BlockCutter
from server.document.dialect import (
    SKIP_LIMIT,
    TSV,
    Dialect,
    check_dialect,
    needs_cut,
)
from server.document.encodings import CHOICES
from server.document.intake import Intake
from server.document.pages import parse_block
from server.errors import BadMessage
from tests.document.reference import read_whole


@pytest.mark.parametrize(
    "wrong",
    [
        {"encoding": "klingon"},
        {"encoding": "rot13"},
        {"delimiter": "\n"},
        {"delimiter": "ab"},
        {"delimiter": "\ud800"},
        {"delimiter": "\0"},
        {"quote": "“"},
        {"quote": "x"},
        {"quote": "\t"},
        {"quote": '"', "escape": '"'},
        {"delimiter": ",", "escape": ","},
        {"escape": "\\\\"},
        {"comment": "a\n"},
        {"comment": '"'},
        {"comment": "§"},
        {"comment": "#" * 9},
        {"skip_lines": -1},
        {"skip_lines": SKIP_LIMIT + 1},
    ],
)
def test_what_nothing_can_be_read_by_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadMessage):
        check_dialect(Dialect(**wrong))


@pytest.mark.parametrize(
    "right",
    [
        {},
        {"encoding": "latin-1"},
        {"delimiter": "日", "quote": "'", "escape": "\\", "comment": "//"},
        {"delimiter": "", "quote": ""},
        {"delimiter": " ", "skip_space": True, "skip_lines": SKIP_LIMIT},
        {"encoding": "UTF-16LE", "delimiter": "\x01"},
    ],
)
def test_what_can_be_read_by_cuts(right: dict[str, Any]) -> None:
    dialect = check_dialect(Dialect(**right))
    assert dialect.encoding in dict(CHOICES)
    assert dialect == Dialect(**right | {"encoding": dialect.encoding})
    text = "".join(["x\n"] * (dialect.skip_lines + 1))
    intake = Intake(dialect=dialect)
    assert list(intake.feed(text.encode(dialect.encoding))) == []
    assert sum(len(blocks) for blocks in intake.finish()) == 1


@pytest.mark.parametrize(
    ("change", "without_marks", "with_marks"),
    [
        ({"header": False}, False, False),
        ({"encoding": "cp1252"}, False, False),
        ({"delimiter": ","}, False, True),
        ({"quote": ""}, False, True),
        ({"doublequote": False}, False, True),
        ({"quote": "'"}, True, True),
        ({"escape": "\\"}, True, True),
        ({"comment": "#"}, True, True),
        ({"skip_lines": 1}, True, True),
        ({"encoding": "utf-16-le"}, True, True),
        ({"encoding": "cp1252", "delimiter": "§"}, True, True),
    ],
)
def test_only_what_moves_the_ends_of_records_cuts_again(
    change: dict[str, Any], without_marks: bool, with_marks: bool
) -> None:
    new = replace(TSV, **change)
    assert needs_cut(TSV, new, marks=False) == without_marks
    assert needs_cut(TSV, new, marks=True) == with_marks


@given(
    st.lists(st.sampled_from(["a", "b", ",", "\t", "\n", '"', '""', "\r", ";"]), max_size=60),
    st.sampled_from([",", "\t", ";", ""]),
    st.sampled_from(['"', "'", ""]),
)
def test_what_is_not_cut_again_reads_as_if_it_were(
    pieces: list[str], delimiter: str, quote: str
) -> None:
    source = "".join(["a", *pieces]).encode()
    new = Dialect(delimiter=delimiter, quote=quote)
    cutter = BlockCutter(block_size=4)
    blocks = cutter.feed(source) + cutter.finish()
    assume(not needs_cut(cutter.dialect, new, marks="marks" in cutter.report.notes))
    rows = []
    for block in blocks:
        first = block.number == 0
        source_of_block = decompress(block.data)
        rows += parse_block(
            source_of_block, new, 0, 99, is_first_block=first, literal=block.literal
        )
    assert rows == read_whole(source.decode(), new)
