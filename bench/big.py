"""A file of 1 GB: memory that it costs the node and the browser, and how soon its first page shows.

There is no naive peer here: the issue of a large file is whether it fits, not how it compares.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.chromium import Chromium
from bench.processes import Server, forget_peak, node, peak, redis, resident
from bench.report import Figure, alone, median, note, spread
from bench.scale import MB, Scale
from bench.tables import table
from bench.upload import put, registers

MEMORY_LIMIT = 100  # MB that a node, and that a browser may grow by
FIRST_PAGE_LIMIT = 300  # ms at the median
UPLOAD_WITHIN = 300.0  # seconds
SETTLE = 2.0  # seconds for a page that has just been loaded
SAMPLE_EVERY = 0.05

# Notes when a file was chosen, when the first row stood in the page, and when it had been painted.
WATCH = """
    window.bench = { chosen: 0, inserted: 0, painted: 0 };
    addEventListener("change", () => (bench.chosen ||= Date.now()), true);
    new MutationObserver(() => {
      if (bench.inserted || !document.querySelector("#table tbody td")) return;
      bench.inserted = Date.now();
      requestAnimationFrame(() => setTimeout(() => (bench.painted = Date.now())));
    }).observe(document, { subtree: true, childList: true });
"""
LIVE = "document.querySelector('#status[data-state=live]')"
IDLE = "document.querySelector('#upload-progress').hidden"
CANCEL = "document.querySelector('#upload-progress [data-action=cancel]:not([hidden])')?.click()"
FILE_INPUT = "input[type=file]"


def measure(scale: Scale) -> Iterator[Figure]:
    with TemporaryDirectory(prefix="tablecast-bench-") as directory:
        file = Path(directory, "large.tsv")
        with file.open("wb") as out:
            for piece in table(scale.big):
                out.write(piece)
        name = f"{scale.big / MB:,.0f} MB"
        yield from _by_put(scale, name)
        yield from _by_browser(file, name)
        yield from _first_pages(file, name, scale.first_pages)


def _by_put(scale: Scale, name: str) -> Iterator[Figure]:
    note(f"big: {name} by PUT")
    length = sum(map(len, table(scale.big)))
    with redis("--appendonly", "no") as storage, node(storage.url) as server:
        before = resident(server.pid)
        forget_peak(server.pid)
        seconds = put(server.port, str(uuid.uuid4()), table(scale.big), length)
        yield alone(
            f"{name} by PUT: growth of the node", _growth(server, before), "{:.0f} MB", MEMORY_LIMIT
        )
    yield alone(f"{name} by PUT: speed", length / MB / seconds, "{:.0f} MB/s")


def _by_browser(file: Path, name: str) -> Iterator[Figure]:
    note(f"big: {name} by Chromium")
    with redis("--appendonly", "no") as storage, node(storage.url) as server, Chromium() as browser:
        room = str(uuid.uuid4())
        window = browser.open(_url(server, room), script=WATCH)
        window.wait_for(LIVE)
        time.sleep(SETTLE)
        node_before, browser_before = resident(server.pid), browser.memory()
        forget_peak(server.pid)
        highest = browser_before
        started = time.perf_counter()
        window.choose(FILE_INPUT, file)
        window.wait_for("bench.painted")
        while not window.evaluate(IDLE):
            highest = max(highest, browser.memory())
            if time.perf_counter() - started > UPLOAD_WITHIN:
                raise TimeoutError("the upload by Chromium does not end")
            time.sleep(SAMPLE_EVERY)
        seconds = time.perf_counter() - started
        document = registers(server.port, room)["document"]
        if document["stored"] != file.stat().st_size:
            raise RuntimeError(f"not all of the file came: {document}")
        growth = _growth(server, node_before)
    yield alone(f"{name} by Chromium: growth of the node", growth, "{:.0f} MB", MEMORY_LIMIT)
    yield alone(
        f"{name} by Chromium: growth of the browser",
        (highest - browser_before) / MB,
        "{:.0f} MB",
        MEMORY_LIMIT,
    )
    yield alone(f"{name} by Chromium: speed", file.stat().st_size / MB / seconds, "{:.0f} MB/s")


def _first_pages(file: Path, name: str, count: int) -> Iterator[Figure]:
    sender_ms, viewer_ms = [], []
    with redis() as storage, node(storage.url) as server, Chromium() as browser:
        for number in range(count):
            note(f"big: first page of {name}, {number + 1} of {count}")
            url = _url(server, str(uuid.uuid4()))
            viewer = browser.open(url, script=WATCH)
            sender = browser.open(url, script=WATCH)
            for window in (viewer, sender):
                window.wait_for(LIVE)
            time.sleep(SETTLE)
            sender.choose(FILE_INPUT, file)
            for window in (viewer, sender):
                window.wait_for("bench.painted")
            chosen = sender.evaluate("bench.chosen")
            sender_ms.append(sender.evaluate("bench.painted") - chosen)
            viewer_ms.append(viewer.evaluate("bench.painted") - chosen)
            sender.evaluate(CANCEL)
            for window in (viewer, sender):
                window.wait_for(IDLE)
                window.close()
    for who, ms in (("the sender", sender_ms), ("another viewer", viewer_ms)):
        what = f"{name}: first page at {who}"
        yield alone(f"{what}, median of {count}", median(ms), "{:.0f} ms", FIRST_PAGE_LIMIT)
        yield spread(f"{what}, range of {count}", ms, "{:.0f}")


def _growth(server: Server, before: int) -> float:
    return (peak(server.pid) - before) / MB


def _url(server: Server, room: str) -> str:
    return f"http://127.0.0.1:{server.port}/t/{room}"
