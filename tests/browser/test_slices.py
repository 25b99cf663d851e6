"""A file is read a piece at a time, and comes out as it is, in browsers of every age."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from playwright.async_api import Error

from tests.nodes.harness import Node

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = [pytest.mark.timeout(90), pytest.mark.processes, pytest.mark.slow]

# More than one stretch of the reader, which is no multiple of the piece.
SIZE = 9 * 1024 * 1024 + 17
PIECE = 250_000

# What Chromium says of it where it reads a stream, and where it reads a copy.
REFUSALS = r"network error|could not be (read|found)"

READ = """async ([start, piece]) => {
  const { Slices } = await import("/static/js/slices.js");
  const file = document.querySelector("input[type=file]").files[0];
  const all = new Uint8Array(file.size - start);
  const slices = new Slices(file, start, piece);
  const sizes = new Set();
  for (let at = 0; at < all.length; at += piece) {
    const chunk = await slices.next(Math.min(piece, all.length - at));
    sizes.add(chunk.byteLength);
    all.set(chunk, at);
  }
  slices.close();
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", all));
  return [Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join(""), sizes.size];
}"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "numbers.bin"
    numbers = b"".join(number.to_bytes(4, "big") for number in range(SIZE // 4 + 1))
    file.write_bytes(numbers[:SIZE])
    return file


@pytest_asyncio.fixture(loop_scope="session")
async def page(new_window: Callable[..., Any], node: Node, file: Path) -> Page:
    """A page of a node's, in which the file is chosen and nothing is done with it."""
    page = await (await new_window()).new_page()
    await page.goto(node.url)
    await page.set_content("<input type=file>")
    await page.set_input_files("input", file)
    # A file is what it was when its size was first asked for, which whoever sends it does at once.
    assert await page.evaluate("document.querySelector('input').files[0].size") == SIZE
    return page


@pytest.mark.parametrize("start", [0, 5, PIECE, SIZE - 1])
async def test_the_pieces_are_the_file_from_where_reading_begins(
    page: Page, file: Path, start: int
) -> None:
    read, _ = await page.evaluate(READ, [start, PIECE])
    assert read == hashlib.sha256(file.read_bytes()[start:]).hexdigest()


async def test_every_piece_but_the_last_has_the_length_that_was_asked_for(page: Page) -> None:
    _, sizes = await page.evaluate(READ, [0, PIECE])
    assert sizes == 2


async def test_a_browser_that_cannot_read_into_given_memory_reads_the_same(
    page: Page, file: Path
) -> None:
    await page.evaluate(
        """() => {
          Blob.prototype.stream = () => new ReadableStream();
        }"""
    )
    read, _ = await page.evaluate(READ, [0, PIECE])
    assert read == hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize("change", ["longer", "shorter", "other", "gone"])
async def test_a_file_that_was_changed_or_removed_meanwhile_is_no_longer_read(
    page: Page, file: Path, change: str
) -> None:
    before = file.stat()
    if change == "gone":
        file.unlink()
    else:
        now = {"longer": b"more", "shorter": b"", "other": b"o"}[change]
        file.write_bytes(now + file.read_bytes()[1:])
        # Chromium compares whole seconds.
        os.utime(file, (before.st_atime, before.st_mtime + 2))
    with pytest.raises(Error, match=REFUSALS):
        await page.evaluate(READ, [0, PIECE])
