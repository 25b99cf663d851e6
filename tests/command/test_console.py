"""What is said on a terminal."""

from __future__ import annotations

import pytest

from server.command.console import amount, duration, line, printable, shortened


def test_the_progress_line_says_what_how_far_how_fast_and_how_long() -> None:
    drawn = line("trips.tsv", 450_000_000, 1_000_000_000, 85_000_000, 100)
    assert drawn == (
        "trips.tsv  [###########-------------]  45 %  450 MB of 1.0 GB  85 MB/s  6 s left"
    )


def test_a_pipe_has_neither_an_end_nor_a_percentage() -> None:
    assert line("standard input", 1500, None, 10, 80) == "standard input  1.5 kB  10 bytes/s"


def test_what_is_sent_but_not_yet_answered_is_finishing() -> None:
    drawn = line("a", 10, 10, 5, 80)
    assert "100 %" in drawn
    assert drawn.endswith("finishing")


@pytest.mark.parametrize("width", [1, 5, 20, 40, 60, 80, 200])
@pytest.mark.parametrize("size", [None, 0, 1, 10**12])
def test_the_progress_line_never_breaks(width: int, size: int | None) -> None:
    for done in (0, 1, 10**9, 2 * 10**12):
        for rate in (0.0, 0.001, 1e12):
            assert len(line("x" * 300, done, size, rate, width)) < width or width == 1


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (9949, "9.9 kB"),
        (9950, "10 kB"),
        (999_400, "999 kB"),
        (999_600, "1.0 MB"),
        (1_073_741_824, "1.1 GB"),
        (5_000_000_000_000, "5,000 GB"),
    ],
)
def test_bytes_are_said_as_people_say_them(count: int, text: str) -> None:
    assert amount(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (3840, "1 h 4 min")],
)
def test_time_is_said_as_people_say_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_name_cannot_move_the_cursor() -> None:
    assert printable("a\x1b[2Jb\rc\n") == "a\ufffd[2Jb\ufffdc\ufffd"


def test_a_long_name_keeps_both_ends() -> None:
    assert shortened("a" * 30 + "z" * 30, 11) == "aaaa...zzzz"
    assert shortened("short", 11) == "short"
