"""The command line: `tablecast serve`, which is also `python -m server`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import logging
import os
import resource
import signal
import sys
from collections.abc import Sequence

from aiohttp import web

from server.app import HUB, UPLOADS, make_app
from server.settings import Settings, SettingsError, variable

log = logging.getLogger("tablecast")

# Connections that wait to be accepted: a restart of the other nodes sends all their viewers here.
BACKLOG = 4096


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (2: used wrongly, 1: could not serve)."""
    arguments = _parser().parse_args(argv)
    _raise_open_files()
    _return_memory()
    environ = dict(os.environ)
    for name in ("host", "port", "redis_url"):
        value = getattr(arguments, name, None)
        if value is not None:
            environ[variable(name)] = value
    try:
        settings = Settings.from_env(environ)
    except SettingsError as error:
        print(f"tablecast: {error}", file=sys.stderr)
        return 2
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        asyncio.run(serve(settings))
    except OSError as error:
        print(
            f"tablecast: cannot listen on {settings.host}:{settings.port}: {error.strerror}. "
            "Choose another port with --port.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        pass
    return 0


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then send viewers to other nodes and end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    app = make_app(settings)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=5)
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port, backlog=BACKLOG)
        await site.start()
        port = runner.addresses[0][1]
        shown = "localhost" if settings.host in ("127.0.0.1", "0.0.0.0", "::") else settings.host
        where = "Redis" if settings.redis_url else "this process's memory"
        print(f"Tablecast serves on http://{shown}:{port} (rooms are kept in {where})", flush=True)
        await stop.wait()
        # A second signal ends at once, for whoever waits at a terminal.
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        log.info("draining %d viewers", len(app[HUB].viewers))
        # Without Redis there is no other node to spare from a storm of viewers.
        spread = settings.drain_time if settings.redis_url else 0
        app[UPLOADS].drain()
        await app[HUB].drain(spread)
    finally:
        await runner.cleanup()


def _return_memory() -> None:
    """Have glibc give large blocks back: pages that stalled viewers held would stay with us.

    Its threshold for that grows with use, to 32 MiB; set once (M_MMAP_THRESHOLD), it stays.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(-3, 128 * 1024)


def _raise_open_files() -> None:
    """Take as many open files as the system allows: each viewer is one, and shells start low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        # Some systems report a hard limit that they then refuse.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tablecast",
        description="Puts a table in front of a group: everyone sees the same page.",
        epilog="Every setting is also an environment variable: see docs/SETTINGS.md.",
    )
    parser.add_argument("command", nargs="?", default="serve", choices=["serve"], help="serve")
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", help="port to listen on (default 8080)")
    parser.add_argument("--redis", dest="redis_url", help="Redis URL (default: keep in memory)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
