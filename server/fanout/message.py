"""What is published on a room's channel, read: a change, who is there, or a signal."""

from __future__ import annotations

from typing import Any

import msgspec

from server.fanout.backend import Change, Signal, numbered
from server.fanout.presence import Told


class _Message(msgspec.Struct):
    epoch: str = ""
    rev: int = 0
    mark: str = ""
    after: str = ""
    set: dict[str, Any] = {}
    fields: dict[str, str] = {}
    chat: dict[str, Any] | None = None
    here: int | None = None
    at: int = 0
    nodes: dict[str, Any] = {}
    signal: Any = msgspec.UNSET


_decoder = msgspec.json.Decoder(_Message)


def read(data: bytes) -> Change | Told | Signal:
    """Raises `msgspec.MsgspecError` on what nobody published."""
    message = _decoder.decode(data)
    if message.here is not None:
        return Told(here=message.here, at=message.at, nodes=message.nodes)
    if message.signal is not msgspec.UNSET:
        return Signal(message.signal)
    return Change(
        message.epoch,
        message.rev,
        message.set,
        numbered(message.chat, message.rev),
        message.fields,
        mark=message.mark,
        after=message.after,
    )
