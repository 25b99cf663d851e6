"""The naive peers: what one writes first, with the same libraries and without a thought of cost.

`python -m bench.naive send_json FILE` shows a TSV file in every room, from its first page on: for
each page turn it sends each viewer of the room the page as JSON over that connection's own deflate.
`send_str` is less naive: it makes the JSON once a turn, and deflates it for each viewer.
`python -m bench.naive parse FILE` reads a TSV file (CSV, if its name ends in .csv) as a list of
rows and prints what that took; `parse_no_gc` is less naive: it turns the garbage collector off,
which otherwise walks the growing list again and again.
"""

from __future__ import annotations

import asyncio
import csv
import gc
import json
import resource
import sys
import time

from aiohttp import WSMsgType, web

PAGE_SIZE = 100
HEARTBEAT = 15.0  # seconds, as a node's


class Door:
    """All rooms; each shows the one table to its viewers."""

    def __init__(self, rows: list[list[str]], *, once: bool) -> None:
        self._rows = rows
        self._once = once
        self._rooms: dict[str, Room] = {}

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        name = request.match_info["room"]
        room = self._rooms.setdefault(name, Room(self._rows, once=self._once))
        return await room.handle(request)


class Room:
    """All who look at the table together."""

    def __init__(self, rows: list[list[str]], *, once: bool) -> None:
        self._header, *self._rows = rows
        self._once = once
        self._page_no = 1
        self._viewers: set[web.WebSocketResponse] = set()

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(heartbeat=HEARTBEAT)
        await ws.prepare(request)
        await ws.send_json(self._page())
        self._viewers.add(ws)
        try:
            async for message in ws:
                if message.type is WSMsgType.TEXT:
                    await self._turn(json.loads(message.data)["page_no"])
        finally:
            self._viewers.discard(ws)
        return ws

    async def _turn(self, page_no: int) -> None:
        self._page_no = page_no
        page = self._page()
        if self._once:
            text = json.dumps(page)
            for viewer in list(self._viewers):
                await viewer.send_str(text)
        else:
            for viewer in list(self._viewers):
                await viewer.send_json(page)

    def _page(self) -> dict[str, object]:
        first = (self._page_no - 1) * PAGE_SIZE
        return {
            "type": "page",
            "page_no": self._page_no,
            "page_size": PAGE_SIZE,
            "total_number": len(self._rows),
            "first_row": first + 1,
            "header": self._header,
            "data": self._rows[first : first + PAGE_SIZE],
        }


async def serve(path: str, *, once: bool) -> None:
    app = web.Application()
    app.router.add_get("/ws/{room}", Door(read(path), once=once).handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


def read(path: str) -> list[list[str]]:
    delimiter = "," if path.endswith(".csv") else "\t"
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter=delimiter))


def parse(path: str) -> None:
    """Print seconds and peak bytes of reading the whole file."""
    started = time.perf_counter()
    rows = read(path)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak": peak, "rows": len(rows)}))


if __name__ == "__main__":
    command, file_path = sys.argv[1:]
    if command.startswith("parse"):
        if command == "parse_no_gc":
            gc.disable()
        parse(file_path)
    else:
        asyncio.run(serve(file_path, once=command == "send_str"))
