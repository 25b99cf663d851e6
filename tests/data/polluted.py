"""Clean tables, polluted in the ways that real files are, with what they should be understood as.

The kinds of pollution are those that G. Vitagliano and others counted in 3,712 files of open data
(Pollock: A Data Loading Benchmark, 2023), and some that tab-separated files have besides.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

Table = list[list[str]]


class Case(NamedTuple):
    """`quote` None: any; `rows`: what the table has, header first."""

    name: str
    text: str
    delimiter: str
    quote: str | None
    escape: str
    skip_lines: int
    rows: Table


_PEOPLE = ["Ada Lovelace", "Grace Hopper", "O'Neil, Sean", "Barbara Liskov", "Kay McNulty"]
_TOWNS = ["Leeds", "Newcastle upon Tyne", "York", "Stratford, Ontario", "Bath"]
_THINGS = ["Light-up jacket", "Men's boots, waterproof", "Tent (2 persons)", "Rope 8 mm"]


def _date(draw: random.Random) -> str:
    return f"20{draw.randrange(10, 26)}-{draw.randrange(1, 13):02}-{draw.randrange(1, 29):02}"


def _orders(draw: random.Random) -> Table:
    """Dates, times, prices, addresses of the web and long texts with commas."""
    head = ["DATE", "TIME", "Qty", "PRODUCTID", "Price", "Description", "URL", "Comments"]
    return [head] + [
        [
            f"{draw.randrange(1, 29):02}/{draw.randrange(1, 13):02}/2018",
            f"{draw.randrange(24):02}:{draw.randrange(60):02}",
            str(draw.randrange(9)),
            f"MG-{draw.randrange(1000, 9999)}",
            f"${draw.uniform(1, 90):.2f}",
            f"{draw.choice(_THINGS)}. It is light, warm and dry; from running to walking.",
            f"https://www.example.com/product/MG_{draw.randrange(9999)}",
            draw.choice(["", "returned", "sale"]),
        ]
        for _ in range(40)
    ]


def _staff(draw: random.Random) -> Table:
    """Names and places: hardly any numbers."""
    head = ["name", "place", "role", "since"]
    return [head] + [
        [
            draw.choice(_PEOPLE),
            draw.choice(_TOWNS),
            draw.choice(["engineer", "manager", "on leave", "engineer (part time)"]),
            _date(draw),
        ]
        for _ in range(40)
    ]


def _measures(draw: random.Random) -> Table:
    """Numbers only, under names."""
    return [["id", "x", "y", "z", "ok"]] + [
        [
            str(number),
            f"{draw.uniform(-9, 9):.4f}",
            f"{draw.uniform(0, 1):.2e}",
            str(draw.randrange(10**6)),
            draw.choice(["true", "false"]),
        ]
        for number in range(1, 41)
    ]


BASES: dict[str, Callable[[random.Random], Table]] = {
    "orders": _orders,
    "staff": _staff,
    "measures": _measures,
}


def write(
    rows: Table,
    *,
    delimiter: str = ",",
    quote: str = '"',
    escape: str = "",
    end: str = "\n",
    always: bool = False,
    space: str = "",
) -> str:
    """The table as text. Without a `quote` its cells must not need one."""

    def cell(text: str) -> str:
        if not quote:
            return text
        marks = (delimiter, quote, "\n", "\r")
        if always or any(mark in text for mark in marks) or (delimiter == " " and not text):
            return quote + text.replace(quote, (escape or quote) + quote) + quote
        return text

    return "".join((delimiter + space).join(map(cell, row)) + end for row in rows)


def cases() -> Iterator[Case]:
    for base, make in BASES.items():
        rows = make(random.Random(base))

        def case(
            name: str,
            text: str,
            delimiter: str = ",",
            *,
            quote: str | None = '"',
            escape: str = "",
            skip: int = 0,
            rows: Table = rows,
            base: str = base,
        ) -> Case:
            return Case(f"{base}: {name}", text, delimiter, quote, escape, skip, rows)

        plain = write(rows)
        yield case("plain", plain)
        for name, delimiter in (
            ("tab", "\t"),
            ("semicolon", ";"),
            ("pipe", "|"),
            ("caret", "^"),
            ("tilde", "~"),
            ("hash", "#"),
            ("0x01", "\x01"),
            ("unit separator", "\x1f"),
            ("broken bar", "¦"),
        ):
            yield case(f"delimiter {name}", write(rows, delimiter=delimiter), delimiter)
            yield case(
                f"delimiter {name}, all quoted",
                write(rows, delimiter=delimiter, always=True),
                delimiter,
            )
        yield case("space", write(rows, delimiter=" "), " ")
        yield case("space after comma", write(rows, space=" ", always=True))
        yield case("all quoted", write(rows, always=True))
        said = [rows[0], *([*row[:-1], f'the "{row[-1]}" one, or so'] for row in rows[1:])]
        yield case("quotes inside", write(said), rows=said)
        yield case("quotes inside escaped", write(said, escape="\\"), escape="\\", rows=said)
        bare = [[cell.replace("'", "") for cell in row] for row in rows]
        yield case("single quotes", write(bare, quote="'", always=True), quote="'", rows=bare)
        inches = [rows[0], *([row[0] + ' 5"', *row[1:]] for row in rows[1:])]
        yield case(
            "inches in tabs", write(inches, delimiter="\t", quote=""), "\t", quote=None, rows=inches
        )
        json = [rows[0], *([*row, f'{{"a": [1, 2], "b": "{row[0]}"}}'] for row in rows[1:])]
        json[0] = [*rows[0], "data"]
        tabs = write(json, delimiter="\t", quote="")
        yield case("JSON in tabs", tabs, "\t", quote=None, rows=json)
        yield case("JSON in commas", write(json), rows=json)
        long = [rows[0], *([*row[:-1], f"one\ntwo, {row[-1]}\n\nthree"] for row in rows[1:])]
        yield case("cells of many lines", write(long), rows=long)
        yield case("cells of many lines in tabs", write(long, delimiter="\t"), "\t", rows=long)
        lists = [rows[0], *([*row[:-1], f"a;b;c;{row[-1]}"] for row in rows[1:])]
        yield case("lists in cells", write(lists), rows=lists)
        yield case("ends \\r\\n", write(rows, end="\r\n"))
        yield case("ends \\r", write(rows, end="\r"))
        yield case("no last line end", plain.rstrip("\n"))
        yield case("blank lines at the end", plain + "\n\n")
        yield case("blank lines between", plain.replace("\n", "\n\n"))
        yield case("preamble of a line", "A report about things\n" + plain, skip=1)
        yield case("preamble", "A report, with a comma\nMade by: someone\n\n\n" + plain, skip=4)
        yield case("padded preamble", "Report" + "," * (len(rows[0]) - 1) + "\n" + plain, skip=1)
        yield case("footnotes", plain + "\nSource: our own figures, as ever\nSee there.\n")
        yield case("comments", "# made by hand, mostly\n# on a day\n" + plain, skip=2)
        yield case("no header", write(rows[1:]), rows=rows[1:])
        yield case("header alone", write(rows[:1]), rows=rows[:1])
        yield case("one row", write(rows[:2]), rows=rows[:2])
        units = [rows[0], [f"[{name.lower()}]" for name in rows[0]], *rows[1:]]
        yield case("row of units", write(units), rows=units)
        draw = random.Random(base)
        ragged = [rows[0], *(row[: draw.randrange(2, len(row) + 1)] for row in rows[1:])]
        yield case("short rows", write(ragged), rows=ragged)
        more = [[*row, *["x"] * (draw.random() < 0.3)] for row in rows]
        yield case("long rows", write(more, delimiter="\t"), "\t", rows=more)
        open_ends = [[*row, ""] for row in rows]
        yield case("delimiter at each end", write(open_ends), rows=open_ends)
        sparse = [
            rows[0],
            *([cell if draw.random() < 0.3 else "" for cell in row] for row in rows[1:]),
        ]
        yield case("mostly empty", write(sparse), rows=sparse)
    decimal = [
        ["x", "y", "z"],
        *([f"{n * 7 % 10},{n:02}", f"{n},5", f"{n * 1000 + 7},{n % 10}"] for n in range(1, 40)),
    ]
    yield Case("decimal commas", write(decimal, delimiter=";"), ";", None, "", 0, decimal)
    yield Case("decimal commas in tabs", write(decimal, delimiter="\t"), "\t", None, "", 0, decimal)
    pairs = [[f"key {n}", f"value {n}, and more"] for n in range(20)]
    yield Case("keys and values", write(pairs, delimiter="\t"), "\t", None, "", 0, pairs)
    column = [["word"], *([word] for word in ["one", "two", "three", "four", "five"])]
    yield Case("one column", write(column), "", None, "", 0, column)
    prose = [
        ["Call me Ishmael."],
        ["Some years ago, never mind how long precisely, I thought I would sail about a little"],
        ["and see the watery part of the world; it is a way I have of driving off the spleen."],
        ["Whenever I find myself growing grim about the mouth: that is the time for sea."],
    ]
    yield Case("lines of prose", write(prose, quote=""), "", None, "", 0, prose)
    moments = [[f"2024-01-{n:02} {n:02}:{n:02}:00"] for n in range(1, 24)]
    yield Case("one column of times", write(moments), "", None, "", 0, moments)
