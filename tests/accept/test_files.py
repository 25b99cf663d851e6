"""Files as people have them: opened right the first time, and it is said how."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from typing import Any

import pytest

from tests.accept.client import ROOM, Node

TEXT = "name;city;price\nGrüße;Köln;12,50\nÄpfel;Łódź;3,20\n"


def zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner/prices.csv", data)
    return out.getvalue()


PACKINGS: dict[str, Any] = {
    "plain": lambda data: data,
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zip": zipped,
}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1250"])
async def test_a_table_is_read_whatever_it_is_packed_and_written_in(
    node: Node, packing: str, encoding: str
) -> None:
    rows = [[f"Grüße {n}", "Łódź", f"{n},50"] for n in range(40)]
    text = "name;city;price\n" + "".join(";".join(row) + "\n" for row in rows)
    document = await node.put(PACKINGS[packing](text.encode(encoding)), name=f"prices.{packing}")
    viewer = await node.join()
    page = await viewer.shows(1)
    assert page["header"] == ["name", "city", "price"]
    assert page["data"] == rows
    assert document["dialect"]["delimiter"] == ";"
    assert document["report"]["records"] == 41
    assert document["report"]["ragged"] == 0
    assert document["complete"] is True


async def test_the_table_of_an_archive_has_its_own_name(node: Node) -> None:
    assert (await node.put(zipped(TEXT.encode()), name="all.zip"))["name"] == "prices.csv"
    packed = await node.put(gzip.compress(TEXT.encode()), name="trips.csv.gz")
    assert packed["name"] == "trips.csv"


async def test_bytes_that_are_no_text_are_shown_as_such_and_counted(node: Node) -> None:
    source = b"a\tb\n" + "ä\tö\n".encode() * 50 + b"x\xff\ty\x00\n"
    document = await node.put(source)
    viewer = await node.join()
    page = await viewer.shows(1)
    assert page["data"][-1] == ["x\ufffd", "y\ufffd"]
    assert document["report"]["replaced"] == 2


async def test_a_bomb_stops_at_the_limit_of_the_table(start_node: Any) -> None:
    node = await start_node(document_limit=1_000_000)
    bomb = gzip.compress(b"a\tb\n" + b"1\t2\n" * 20_000_000, compresslevel=9)
    problem = await node.refusal("PUT", f"/api/rooms/{ROOM}/document", 413, "too_large", data=bomb)
    assert "MiB" in problem["detail"] or "1,000,000" in problem["detail"]


async def test_a_quote_that_never_closes_does_not_swallow_the_rest(start_node: Any) -> None:
    node = await start_node(record_limit=100_000)
    rows = [f'{n}\t"open {n}\n' if n == 15_000 else f"{n}\tplain\n" for n in range(40_000)]
    document = await node.put(("id\tnote\n" + "".join(rows)).encode())
    assert document["rows"] == 40_000
    assert document["report"]["notes"] == ["runaway_quote"]
