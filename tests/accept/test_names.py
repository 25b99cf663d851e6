"""Names that cannot pretend, and messages in which there is something to be seen."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.accept.names import (
    NAME_CHARACTERS,
    NAMELESS,
    clean_body,
    clean_color,
    clean_name,
)
from server.document.titles import MARKS
from server.errors import BadMessage

ANYTHING = st.text(st.characters(exclude_categories=[]), max_size=100)
HIDDEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("Otter", "Otter"),
        ("  Otter \t\n of  the\u3000river ", "Otter of the river"),
        ("Zoe\u0308", "Zoë"),
        ("李雷", "李雷"),
        ("אבי", "אבי"),
        ("🦦", "🦦"),
        ("O'Brien <b>&amp;", "O'Brien <b>&amp;"),
        ("x" * 41, "x" * 40),
        ("x" * 39 + " yz", "x" * 39),
        # Bidirectional overrides, embeddings, marks and isolates
        ("evil\u202egpj.exe", "evilgpj.exe"),
        (
            "\u202aa\u202bb\u202cc\u202dd\u2066e\u2067f\u2068g\u2069h\u200ei\u200fj\u061ck",
            "abcdefghijk",
        ),
        # Zero-width and other invisible ones
        ("a\u200bd\u200cm\u200di\u2060n\ufeff\u00ad\u180e", "admin"),
        ("A\u3164B\u115fC\u2800D\uffa0E", "ABCDE"),
        # Control characters, line and paragraph separators
        ("a\x00b\x1b[31mc\x7f\x85d", "ab[31mc d"),
        ("two\u2028lines\u2029more", "two lines more"),
        # Nothing to be seen
        ("", NAMELESS),
        (" \t\n", NAMELESS),
        ("\u200b\u202e\u2066", NAMELESS),
        ("\u0301\u0301", NAMELESS),
        ("\u3164\u2800", NAMELESS),
        ("\ud800", NAMELESS),
        ("\ue000\U000f0000", NAMELESS),
    ],
)
def test_a_name_shows_what_it_is(typed: str, name: str) -> None:
    assert clean_name(typed) == name


def test_marks_do_not_climb_over_the_lines_above() -> None:
    name = clean_name("Z" + "\u0335\u0336\u0337\u0338" * 20 + "o")
    assert name.startswith("Z")
    assert name.endswith("o")
    assert len(name) == 2 + MARKS


def test_a_name_of_a_megabyte_costs_no_more_than_a_long_one() -> None:
    assert clean_name("\u200b" * 1_000_000 + "x") == NAMELESS


@given(ANYTHING)
def test_every_name_is_one_line_of_visible_text(text: str) -> None:
    name = clean_name(text)
    assert 1 <= len(name) <= NAME_CHARACTERS
    assert name == name.strip() == " ".join(name.split())
    assert not any(unicodedata.category(each) in HIDDEN for each in name)
    assert clean_name(name) == name
    name.encode()


@given(ANYTHING)
def test_every_body_is_visible_text_or_nothing(text: str) -> None:
    body = clean_body(text)
    assert "\r" not in body
    assert not any(
        unicodedata.category(each) in ("Cc", "Cs") and each not in "\n\t" for each in body
    )
    assert clean_body(body) == body
    body.encode()


@pytest.mark.parametrize(
    ("typed", "body"),
    [
        ("one\r\ntwo\rthree\u2028four", "one\ntwo\nthree\nfour"),
        ("\n\n  indented\nline  \n\n", "  indented\nline"),
        ("bell\x07 and escape\x1b", "bell and escape"),
        ("\u200b \u202e", ""),
        ("👩\u200d👧", "👩\u200d👧"),
    ],
)
def test_a_body_keeps_its_lines(typed: str, body: str) -> None:
    assert clean_body(typed) == body


@pytest.mark.parametrize("color", [-1, 10, 10**30])
def test_there_are_ten_colours(color: int) -> None:
    with pytest.raises(BadMessage):
        clean_color(color, 3)
    assert [clean_color(each, 3) for each in (None, 0, 9)] == [3, 0, 9]
