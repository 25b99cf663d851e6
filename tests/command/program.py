"""`tablecast` as a shell starts it, and servers that answer as no Tablecast should."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from server.command.link import VARIABLE

ROOT = Path(__file__).parents[2]
PATIENCE = 20.0  # seconds; a machine that does much else starts Python slowly

_GRANT = re.compile(r"tablecast: For you alone: (\S+#key=\S{22}) \(.*\)\.\n")


class End(NamedTuple):
    code: int
    out: str
    errors: str

    @property
    def notes(self) -> str:
        """What it said on stderr, but for the link to own a new room by."""
        return _GRANT.sub("", self.errors, count=1)

    @property
    def granted(self) -> str:
        """The link to own the new room by."""
        found = _GRANT.match(self.errors)
        assert found is not None, self.errors
        return found[1]


class Program:
    """One run of the command line. Ended with `kill` in any case."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(
        cls, *arguments: str, to: str | None = None, environment: Any = (), **options: Any
    ) -> Program:
        """`to` stands in the environment, so that a test can name a server or nothing."""
        clean = {k: v for k, v in os.environ.items() if not k.upper().endswith("_PROXY")}
        clean = {k: v for k, v in clean.items() if not k.startswith("TABLECAST_")}
        if to is not None:
            clean[VARIABLE] = to
        pipes: dict[str, Any] = dict.fromkeys(
            ("stdin", "stdout", "stderr"), asyncio.subprocess.PIPE
        )
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "server", *arguments),
            cwd=ROOT,
            env=clean | dict(environment),
            **(pipes | options),
        )
        return cls(process)

    async def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        async with asyncio.timeout(PATIENCE):
            await self.process.stdin.drain()

    def end_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    async def line(self) -> str:
        """The next line of its result."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            return (await self.process.stdout.readline()).decode().rstrip("\n")

    async def note(self) -> str:
        """The next line that it says on stderr."""
        assert self.process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            return (await self.process.stderr.readline()).decode().rstrip("\n")

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    async def ended(self, given: bytes | None = None) -> End:
        """Wait for its end, `given` being the rest of its input."""
        async with asyncio.timeout(PATIENCE):
            # Without input a pipe would stay open.
            rest = (given or b"") if self.process.stdin is not None else None
            out, errors = await self.process.communicate(rest)
        assert self.process.returncode is not None
        end = End(self.process.returncode, (out or b"").decode(), (errors or b"").decode())
        assert "Traceback" not in end.errors, end.errors
        return end

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        async with asyncio.timeout(PATIENCE):
            await self.process.communicate()


async def tablecast(*arguments: str, given: bytes = b"", **options: Any) -> End:
    """Run it to its end."""
    program = await Program.start(*arguments, **options)
    try:
        return await program.ended(given)
    finally:
        await program.kill()


def sentence(end: End, *parts: str) -> None:
    """It said one sentence, with these parts, and no result."""
    assert end.out == ""
    assert end.errors.startswith("tablecast: "), end.errors
    assert end.errors.count("\n") == 1, end.errors
    assert end.errors.endswith(".\n"), end.errors
    for part in parts:
        assert part in end.errors, end.errors


def lines(rows: Sequence[Sequence[str]]) -> bytes:
    return "".join("\t".join(row) + "\n" for row in rows).encode()
