"""How bytes become records and cells."""

from __future__ import annotations

from msgspec import Struct


class Dialect(Struct, frozen=True, kw_only=True):
    """Delimiter and quote are one character each; `quote` "" means that quotes are ordinary text.

    `header`: record 0 names the columns.
    """

    encoding: str = "utf-8"
    delimiter: str = "\t"
    quote: str = '"'
    header: bool = True


TSV = Dialect()
