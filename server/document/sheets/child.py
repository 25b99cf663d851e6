"""The process that reads one file: `python -m server.document.sheets.child ORDER`.

Writes a line of JSON (`sheets` and how many more are `left_out`, and the `sheet` that is read) and
then that sheet's records to standard output, or one line of JSON (`error`, `message`) to standard
error with exit code 1.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from server.document.sheets import Listing, SheetInfo, listing
from server.document.streams import PIECE_SIZE
from server.errors import TablecastError, TooLarge

_NICE = 10  # viewers go first
_SPOKEN_LIMIT = 1024 * 1024  # bytes that may be written to a file: only errors are


def main(argument: str) -> int:
    order = json.loads(argument)
    _limit(resource.RLIMIT_AS, order["memory"])
    _limit(resource.RLIMIT_CPU, order["seconds"])
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, _SPOKEN_LIMIT)
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    try:
        listed, sheet, lines = _open(order)
        head = {"sheets": listed.sheets, "left_out": listed.left_out, "sheet": sheet}
        sys.stdout.buffer.write(json.dumps(head).encode() + b"\n")
        _write(lines, sys.stdout.buffer)
    except TablecastError as error:
        return _tell(error)
    except MemoryError:
        return _say({"error": "MemoryError"})
    except BrokenPipeError:
        os._exit(1)  # nobody listens, and Python would complain about that at its end
    return 0


def _limit(what: int, most: int) -> None:
    """Set a limit, the hard one a little later so that the soft one's signal comes first."""
    soft, hard = resource.getrlimit(what)
    for given in (soft, hard):
        if given != resource.RLIM_INFINITY:
            most = min(most, given)
    above = most + 5 if what == resource.RLIMIT_CPU else most
    if hard != resource.RLIM_INFINITY:
        above = min(above, hard)
    with contextlib.suppress(OSError, ValueError):  # not every system has every limit
        resource.setrlimit(what, (most, above))


def _open(order: dict[str, Any]) -> tuple[Listing, SheetInfo | None, Iterable[str]]:
    path = Path(order["path"])
    # Each reader's library is loaded only where it is needed, and after the limits are set.
    if order["kind"] == "parquet":
        from server.document.sheets.columns import Columns

        columns = Columns(path)
        lines = () if order["only_list"] else columns.read()
        return listing(columns.sheets), columns.sheets[0], lines
    from server.document.sheets.workbook import Workbook

    workbook = Workbook(path, order["kind"], unpacked_limit=order["unpacked"])
    if order["only_list"]:
        return listing(workbook.sheets), None, ()
    chosen = workbook.choose(order["sheet"])
    sheet, lines = workbook.read(chosen)
    return listing(workbook.sheets, chosen), sheet, lines


def _write(lines: Iterable[str], out: BinaryIO) -> None:
    out.writelines(_pieces(lines))
    out.flush()


def _pieces(lines: Iterable[str]) -> Iterator[bytes]:
    held: list[str] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= PIECE_SIZE:
            yield "".join(held).encode("utf-8", "replace")
            held, size = [], 0
    yield "".join(held).encode("utf-8", "replace")


def _tell(error: TablecastError) -> int:
    told: dict[str, Any] = {"error": error.code, "message": error.message}
    if isinstance(error, TooLarge):
        told |= {"what": error.what, "limit": error.limit}
    return _say(told)


def _say(told: dict[str, Any]) -> int:
    sys.stdout.flush()
    print(json.dumps(told), file=sys.stderr)  # noqa: T201 - read by the other process
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
