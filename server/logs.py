"""What a node writes down: one line a record, as text or JSON, with ids and never with content.

The address of a room is all that it takes to enter it, so a room is written as `room_id`, from
which nobody gets back to the address. Messages of exceptions may hold what people sent (a cell, a
file's name), so of an exception only its type and its stack are written.
"""

from __future__ import annotations

import hashlib
import json
import logging
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

FIELDS: Final = "about"
# They write down addresses of requests, and commands; only what goes wrong is wanted of them.
LIBRARIES: Final = ("aiohttp", "asyncio", "redis", "opentelemetry", "urllib3")


def room_id(uuid: str) -> str:
    """A room as it is written down: the first 12 digits of the SHA-256 of its UUID."""
    return hashlib.sha256(uuid.encode()).hexdigest()[:12]


def about(room: str | None = None, **ids: str | int | float | None) -> dict[str, Any]:
    """The `extra` of a record: what it is about, by ids, codes and numbers; None is left out.

    `room` is the room's UUID. Nothing that anybody wrote or named may go in here.
    """
    fields = {} if room is None else {"room": room_id(room)}
    return {FIELDS: {**fields, **{name: value for name, value in ids.items() if value is not None}}}


def configure(level: str, format: str) -> None:
    """Send all records from `level` on to stderr, as `format` ("text" or "json") says."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(format))
    root = logging.getLogger()
    for former in list(root.handlers):
        root.removeHandler(former)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(max(logging.WARNING, root.level))


def formatter(format: str) -> logging.Formatter:
    return _Json() if format == "json" else _Text()


def complain(context: Mapping[str, Any]) -> None:
    """What an event loop has to say of errors that nobody awaits: without the task's repr."""
    error = context.get("exception")
    logging.getLogger("asyncio").error(
        "%s", context.get("message", "an error nobody awaits"), exc_info=error
    )


class _Formatter(logging.Formatter):
    def formatException(self, ei: Any) -> str:  # noqa: N802  the library's name
        return "\n".join(_stack(ei[1])) if ei and ei[1] is not None else ""

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        told: dict[str, Any] = getattr(record, FIELDS, {})
        return told

    def time(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def exception(self, record: logging.LogRecord) -> str:
        return self.formatException(record.exc_info) if record.exc_info else ""


class _Text(_Formatter):
    """`time LEVEL logger: message key=value ...`; a stack follows, indented."""

    def format(self, record: logging.LogRecord) -> str:
        message = _one_line(record.getMessage())
        line = f"{self.time(record)} {record.levelname} {record.name}: {message}"
        for name, value in self.fields(record).items():
            line += f" {name}={_one_line(str(value))}"
        if stack := self.exception(record):
            line += "\n" + "\n".join(f"    {part}" for part in stack.splitlines())
        return line


class _Json(_Formatter):
    """One object a line: `time`, `level`, `logger`, `message`, the fields, and `stack`."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": self.time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {name: value for name, value in self.fields(record).items() if name not in entry}
        if stack := self.exception(record):
            entry["stack"] = stack
        return json.dumps(entry, ensure_ascii=False, default=str)


def _one_line(text: str) -> str:
    """Nobody writes a record of his own into ours."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def _stack(error: BaseException | None) -> list[str]:
    """The types of an exception and of those it came from, each with where it was raised."""
    lines: list[str] = []
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        kind = type(error)
        code = getattr(error, "code", None)
        lines.append(
            f"{kind.__module__}.{kind.__qualname__}"
            + (f" ({code})" if isinstance(code, str | int) else "")
        )
        lines += [
            f"  {frame.filename}:{frame.lineno} in {frame.name}"
            for frame in traceback.extract_tb(error.__traceback__)
        ]
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                lines += [f"  {line}" for line in _stack(each)]
        cause = error.__cause__
        error = cause or (None if error.__suppress_context__ else error.__context__)
        if error is not None:
            lines.append("from")
    return lines
