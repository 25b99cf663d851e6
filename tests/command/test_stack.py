"""The commands through Nginx, to nodes that share their rooms."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.command.program import tablecast
from tests.room_client import table

pytestmark = pytest.mark.processes


async def test_files_and_rows_go_in_and_come_out_through_nginx(
    start_stack: Any, tmp_path: Path
) -> None:
    """More than the megabyte that Nginx takes for other requests."""
    stack = await start_stack(nodes=2)
    path = tmp_path / "a.tsv"
    path.write_bytes(table(100_000))
    more = b"".join(b"more%d\tof\tthem\n" % number for number in range(100_000))
    assert min(len(more), path.stat().st_size) > 1_500_000
    pushed = await tablecast("push", str(path), to=stack.url)
    assert (pushed.code, pushed.notes) == (0, "")
    link = pushed.out.strip()
    appended = await tablecast("append", "-", "--to", link, given=more)
    assert (appended.code, appended.errors) == (0, "tablecast: Added 100,000 rows.\n")
    room = link.replace("/t/", "/api/rooms/")
    expected = hashlib.sha256(path.read_bytes() + more).hexdigest()
    async with aiohttp.ClientSession() as session:
        for what in ("document", "rows.tsv"):
            async with session.get(f"{room}/{what}") as response:
                assert response.status == 200
                assert hashlib.sha256(await response.read()).hexdigest() == expected
