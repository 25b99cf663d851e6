"""The naive peers: what one writes first, with the same libraries and without a thought of cost.

`python -m bench.naive send_json FILE` shows a TSV file to everyone who connects: for each page turn
it sends each viewer the page as JSON over that connection's own deflate. `send_str` is less naive:
it makes the JSON once a turn, and deflates it for each viewer.
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


class Room:
    """All viewers of the one table."""

    def __init__(self, rows: list[list[str]], *, once: bool) -> None:
        self._header, *self._rows = rows
        self._once = once
        self._viewers: set[web.WebSocketResponse] = set()

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        self._viewers.add(ws)
        try:
            async for message in ws:
                if message.type is WSMsgType.TEXT:
                    await self._turn(json.loads(message.data)["page_no"])
        finally:
            self._viewers.discard(ws)
        return ws

    async def _turn(self, page_no: int) -> None:
        first = (page_no - 1) * PAGE_SIZE
        page = {
            "type": "page",
            "page_no": page_no,
            "page_size": PAGE_SIZE,
            "total_number": len(self._rows),
            "first_row": first + 1,
            "header": self._header,
            "data": self._rows[first : first + PAGE_SIZE],
        }
        if self._once:
            text = json.dumps(page)
            for viewer in list(self._viewers):
                await viewer.send_str(text)
        else:
            for viewer in list(self._viewers):
                await viewer.send_json(page)


async def serve(path: str, *, once: bool) -> None:
    app = web.Application()
    app.router.add_get("/ws/{room}", Room(read(path), once=once).handle)
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
