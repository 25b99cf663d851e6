"""Everyone sees the same page: two Chromium windows on different nodes, behind a real Nginx."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.window import Window, two_windows, until
from tests.room_client import table

pytestmark = [pytest.mark.timeout(180), pytest.mark.processes]

MB = 1_000_000


@pytest.fixture
def big_file(tmp_path: Path) -> Path:
    """A TSV of 100 MB."""
    row = "\t".join(["{}", "alpha beta", "12.50", "2024-05-01", "a note of some length", "x" * 40])
    file = tmp_path / "big.tsv"
    with file.open("w") as out:
        out.write("id\tname\tprice\tdate\tnote\tfiller\n")
        size = number = 0
        while size < 100 * MB:
            lines = "".join(row.format(number + i + 1) + "\n" for i in range(10_000))
            number += 10_000
            size += out.write(lines)
    return file


async def test_a_file_dropped_in_one_window_shows_in_the_other_while_it_still_arrives(
    start_stack: Callable[..., Any], new_window: Callable[..., Any], big_file: Path
) -> None:
    stack = await start_stack(nodes=3)
    here, there = await two_windows(new_window, f"{stack.url}/t/{uuid.uuid4()}")
    await here.choose(big_file)
    await there.shows(1, "1")
    # The other window shows the first page while most of the file has not arrived.
    facts = await there.page.inner_text("#facts")
    assert "so far" in facts, facts
    assert await there.page.is_visible("#upload-progress")
    # Pages can be turned meanwhile, by anyone.
    await there.do("next")
    await here.shows(2, "101")
    await there.page.wait_for_selector("#upload-progress", state="hidden", timeout=90_000)
    await here.do("last")
    for window in (here, there):
        await window.page.wait_for_function(
            "() => Number(document.querySelector('#table').dataset.page) > 5000"
        )
    assert (await here.cells(1))[0] == (await there.cells(1))[0]
    assert here.errors == there.errors == []


async def test_turning_the_page_in_either_window_shows_in_both(
    start_stack: Callable[..., Any], new_window: Callable[..., Any], tmp_path: Path
) -> None:
    file = tmp_path / "trips.tsv"
    file.write_bytes(table(5_000))
    stack = await start_stack(nodes=3)
    # From the start page, as people do.
    start = await Window.open(new_window, stack.url)
    await start.choose(file)
    await start.page.wait_for_url("**/t/*")
    await start.shows(1, "1")
    here, there = await two_windows(new_window, start.page.url)
    for turner, action, page_no in [
        (here, "next", 2),
        (there, "last", 50),
        (start, "previous", 49),
        (there, "first", 1),
    ]:
        await turner.do(action)
        for window in (start, here, there):
            await window.shows(page_no, str((page_no - 1) * 100 + 1))
    await here.go_to(17)
    for window in (start, here, there):
        await window.shows(17, "1601")
    # A late joiner sees what the others see.
    late = await Window.open(new_window, start.page.url)
    await late.live()
    await late.shows(17, "1601")
    # And a newer file replaces the table for everyone.
    newer = tmp_path / "newer.tsv"
    newer.write_bytes(table(10, name="newer"))
    await there.choose(newer)
    for window in (start, here, there, late):
        await window.page.wait_for_selector('#table th:has-text("newer 1")')
        await window.shows(1, "1")
        assert window.errors == []


async def test_a_window_whose_node_is_killed_comes_back_on_another_with_the_same_page(
    start_stack: Callable[..., Any], new_window: Callable[..., Any], tmp_path: Path
) -> None:
    file = tmp_path / "trips.tsv"
    file.write_bytes(table(2_000))
    stack = await start_stack(nodes=3)
    here, there = await two_windows(new_window, f"{stack.url}/t/{uuid.uuid4()}")
    await here.choose(file)
    await there.shows(1, "1")
    await there.go_to(7)
    await here.shows(7, "601")
    killed = there.node
    stack.node(killed).kill()
    await until(lambda: there.node != killed)
    await there.live()
    await there.shows(7, "601")
    await there.do("next")
    await here.shows(8, "701")
    # Redis is restarted: both recover.
    await asyncio.to_thread(stack.redis.kill)
    for window in (here, there):
        await window.page.wait_for_selector("#status[data-state=degraded]")
    await asyncio.to_thread(stack.redis.start)
    await here.live()
    await there.live()
    await here.do("next")
    await there.shows(9, "801")
    await here.shows(9, "801")
    assert here.errors == there.errors == []
