"""What cells look like: a delimiter is right if what it cuts looks like something."""

from __future__ import annotations

import re
from collections.abc import Sequence

_ROWS = 300  # lines whose cells are looked at
_COLUMNS = 60

_TYPES = re.compile(
    r"""\s*(?:
    (?P<number>
        [-+(]?[$€£¥]?[ ]?[-+]?(?:\d{1,3}(?:[ ,.'\xa0]\d{3})+|\d+)?(?:[.,]\d*)?
        (?:[eE][-+]?\d{1,3})?\)?[ ]?[%€$£]? (?<=[\d)%€$£.])
        | (?i:nan|[-+]?inf) )
    |(?P<date>
        (?:\d{4}[-/.]?\d{2}[-/.]?\d{2}|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}
          |\d{1,2}[-/. ][^\W\d_]{3,9}[-/., ]{1,2}\d{2,4}|[^\W\d_]{3,9}[. ]+\d{1,2},[ ]?\d{4})
        (?:[T ]+\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:[ ]?[AaPp]\.?[Mm]\.?)?
          [ ]?(?:Z|UTC|GMT|[-+]\d\d:?\d\d)?)?
        |\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:[ ]?[AaPp]\.?[Mm]\.?)? )
    |(?P<empty>)
    |(?P<known>
        (?i:true|false|yes|no|n/?a|null|none|unknown)|\\N|--?|\.|\?|[MFYN]
        |(?:https?|ftp|s3|file)://[^\s"<>]+|www\.[^\s"<>]+
        |[^\s@",;|<>]+@[^\s@",;|<>]+\.\w+
        |\d{1,3}(?:\.\d{1,3}){3}(?:[:/]\d+)?
        |[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}
        |\{.*\}|\[.*\] )
    |(?P<word>[^\W_](?:[\w.'’/+&()°-]*\w)?[.)%°]?)
    |(?P<text>[\w(¿¡«“'’][\w .'’/&()+%°“”«»?!–—-]*)
    |(?P<sentence>[\w(¿¡«“'’][\w\s.,:;'’/&()+%°“”«»?!–—\[\]@*-]*)
    )\s*""",
    re.VERBOSE | re.DOTALL,
)
_TYPE_SIZE = 200  # characters of a cell that tell its type
_WORTH = {
    "number": 1.0,
    "date": 1.0,
    "empty": 0.8,
    "known": 1.0,
    "word": 0.93,
    "text": 0.85,
    "sentence": 0.45,
}


class Types(dict[str, tuple[str, float]]):
    """What cells look like, and how much that speaks for their being cells; each is read once."""

    def __missing__(self, cell: str) -> tuple[str, float]:
        if found := _TYPES.fullmatch(cell[:_TYPE_SIZE]):
            kind = str(found.lastgroup)
            answer = kind, _WORTH[kind]
        elif cell[:1] in "\"'" or cell[-1:] in "\"'":
            answer = "torn", 0.1
        else:
            answer = "other", 0.3
        self[cell] = answer
        return answer


def is_one_value(line: str, types: Types) -> bool:
    """Whether a line is clearly one value; `1,5` could be two."""
    kind, worth = types[line]
    return worth == 1.0 and (kind != "number" or "," not in line)


def mean_worth(rows: Sequence[Sequence[str]], types: Types) -> float:
    """How much the cells of some of the rows speak for being cells, on average: 0 to 1."""
    total, count = 0.0, 0
    for row in rows[:: len(rows) // _ROWS + 1]:
        cells = row[:_COLUMNS]
        total += sum(types[cell][1] for cell in cells)
        count += len(cells)
    return total / count if count else 0.0


def has_numbers(rows: Sequence[Sequence[str]], types: Types) -> bool:
    """Whether a good part of the cells is numbers and dates."""
    cells = [cell for row in rows[:100] for cell in row]
    return sum(types[cell][0] in ("number", "date") for cell in cells) > 0.3 * len(cells)
