"""A Chromium without a screen, driven over its debugging protocol with the least that can measure.

A test driver listens to a page's network, and so has every byte that the page sends copied to it,
through the very processes whose memory and time are to be measured. Here only what is asked for
is answered.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from bench.wire import TEXT, Viewer

START_WITHIN = 20.0  # seconds
STOP_WITHIN = 10.0
WAIT_WITHIN = 30.0
_POLL = 0.02
_FLAGS = (
    "--headless=new",
    # The sandbox needs what containers and root lack; nothing but our own pages is shown.
    "--no-sandbox",
    "--disable-gpu",
    # Nothing but our pages: no look-ups, updates or downloads of the browser's own.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-default-browser-check",
    "--no-first-run",
    # A window behind another one is still a viewer.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--remote-debugging-port=0",
)


def find_chromium() -> str | None:
    """The program to start, if this machine has one."""
    known = ("chromium", "chromium-headless-shell")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, known)), None)


class Chromium:
    """A browser with a profile of its own; a context manager."""

    def __enter__(self) -> Self:
        program = find_chromium()
        if program is None:
            raise FileNotFoundError("chromium is not installed; `make bench` installs it")
        self._profile = tempfile.TemporaryDirectory(
            prefix="tablecast-chromium-", ignore_cleanup_errors=True
        )
        self._process = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            port, path = self._address()
            self._link = Viewer(port, path, deflate=False)
        except BaseException:
            self._end()
            raise
        self._last = 0
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._link.socket.close()
        self._end()

    # API

    def call(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """The result of one command. Raises RuntimeError with what the browser says of a fault."""
        self._last += 1
        request: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if session:
            request["sessionId"] = session
        self._link.send(TEXT, msgspec.json.encode(request))
        while True:
            _, payload = self._link.receive()
            answer: dict[str, Any] = msgspec.json.decode(payload)
            if answer.get("id") != self._last:
                continue  # an event
            if "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']['message']}")
            result: dict[str, Any] = answer["result"]
            return result

    def open(self, url: str, *, script: str = "") -> Window:
        """A window of its own, sharing nothing with others; `script` runs before the page's own."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        window = Window(self, context, attached["sessionId"])
        window.call("Page.enable")
        window.call("Page.addScriptToEvaluateOnNewDocument", source=script)
        window.call("Page.navigate", url=url)
        return window

    def memory(self) -> int:
        """Bytes that all of the browser's processes hold; what several share is counted once."""
        processes = self.call("SystemInfo.getProcessInfo")["processInfo"]
        return sum(proportional(process["id"]) for process in processes)

    # Internal

    def _address(self) -> tuple[int, str]:
        file = Path(self._profile.name, "DevToolsActivePort")
        deadline = time.monotonic() + START_WITHIN
        while time.monotonic() < deadline and self._process.poll() is None:
            lines = file.read_text().split() if file.exists() else []
            if len(lines) == 2:
                return int(lines[0]), lines[1]
            time.sleep(_POLL)
        raise RuntimeError("chromium does not start")

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_WITHIN)
        self._profile.cleanup()


class Window:
    """One page. `evaluate` gives plain values only."""

    def __init__(self, browser: Chromium, context: str, session: str) -> None:
        self._browser = browser
        self._context = context
        self._session = session

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **parameters)

    def evaluate(self, expression: str) -> Any:
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait_for(self, expression: str, within: float = WAIT_WITHIN) -> None:
        deadline = time.monotonic() + within
        while not self.evaluate(f"Boolean({expression})"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{within:.0f} s passed before {expression}")
            time.sleep(_POLL)

    def choose(self, selector: str, file: Path) -> None:
        """Choose a file in an `<input type=file>`; the browser reads it from the disk."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def close(self) -> None:
        self._browser.call("Target.disposeBrowserContext", browserContextId=self._context)


def proportional(pid: int) -> int:
    """Bytes of a process, with its share of what it shares with others; 0 if it has ended.

    Pages of programs and libraries are left out: they are the disk's, and would seem to shrink as
    soon as another browser is started on this machine.
    """
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    kinds = ("Pss_Anon:", "Pss_Shmem:")
    return sum(int(line.split()[1]) for line in lines if line.startswith(kinds)) * 1024
