"""`python -m tests.faults.sleeper URL ROOM`: a viewer in a process of its own, to be stopped.

It prints a line of JSON with what it shows whenever that changes.
"""

from __future__ import annotations

import asyncio
import json
import sys

from tests.faults.watcher import FOR_EVER, Watcher


async def main(url: str, room: str) -> None:
    said = ""
    async with Watcher(url, room) as watcher:
        while True:
            shown = {"page_no": watcher.page_no, "said": watcher.said, "rev": watcher.rev}
            if (line := json.dumps(shown)) != said:
                said = line
                sys.stdout.write(line + "\n")
                sys.stdout.flush()
            watcher.news.clear()
            await asyncio.wait_for(watcher.news.wait(), FOR_EVER)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
