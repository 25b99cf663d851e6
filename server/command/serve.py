"""`tablecast serve`: one node, until a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import resource
import signal
from collections.abc import Mapping
from importlib import metadata

from aiohttp import web

from server import logs
from server.app import BACKEND, GATE, HUB, UPLOADS, make_app
from server.command.failures import Failure, Misuse
from server.command.link import KEY_VARIABLE, VARIABLE
from server.redis_url import BadUrl
from server.settings import Settings, SettingsError, variable

log = logging.getLogger("tablecast")

# Connections that wait to be accepted: a restart of the other nodes sends all their viewers here.
BACKLOG = 4096


def run(given: Mapping[str, str | None]) -> None:
    """Serve by the environment and what was `given` (by the names of settings), until a signal.

    Raises `Misuse` for a setting that is wrong, `Failure` where it cannot listen.
    """
    _raise_open_files()
    _return_memory()
    # Whoever pushes and serves on one machine has these variables in the environment of both.
    of_others = (VARIABLE, KEY_VARIABLE)
    environ = {name: text for name, text in os.environ.items() if name not in of_others}
    environ |= {variable(name): text for name, text in given.items() if text is not None}
    try:
        settings = Settings.from_env(environ)
    except SettingsError as error:
        raise Misuse(str(error)) from None
    logs.configure(settings.log_level, settings.log_format)
    try:
        # A second signal, for whoever does not want to wait for the end.
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(serve(settings))
    except SettingsError as error:
        raise Misuse(str(error)) from None
    except BadUrl as error:
        raise Misuse(f"{variable('redis_url')} {error}.") from None
    except OSError as error:
        raise Failure(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}. "
            "Choose another port with --port or TABLECAST_PORT."
        ) from None


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then send viewers to other nodes and end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.set_exception_handler(lambda _, context: logs.complain(context))
    app = make_app(settings)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=5)
    await runner.setup()
    try:
        await app[GATE].listen(runner, settings.host, settings.port, backlog=BACKLOG)
        port = runner.addresses[0][1]
        shown = "localhost" if settings.host in ("127.0.0.1", "0.0.0.0", "::") else settings.host
        where = "Redis" if settings.redis_url else "this process's memory"
        print(f"Tablecast serves on http://{shown}:{port} (rooms are kept in {where})", flush=True)
        log.info(
            "serving",
            extra=logs.about(
                version=metadata.version("tablecast"),
                node=settings.node,
                backend=app[BACKEND].name,
                viewers_limit=app[HUB].capacity,
            ),
        )
        await stop.wait()
        # A second signal ends at once, for whoever waits at a terminal.
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        began = loop.time()
        viewers, uploads = len(app[HUB].viewers), app[UPLOADS].running
        log.info("draining", extra=logs.about(viewers=viewers, uploads=uploads))
        # From now on it is not ready, whatever is still to be ended.
        app[HUB].draining = True
        # Without Redis there is no other node to spare from a storm of viewers.
        spread = settings.drain_time if settings.redis_url else 0
        await app[UPLOADS].drain()
        await app[HUB].drain(spread)
        log.info("drained", extra=logs.about(seconds=round(loop.time() - began, 3)))
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
