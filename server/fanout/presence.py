"""What nodes say of their viewers, as Redis has it: `present.lua` writes it, here it is read."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from server.fanout.backend import JSON, Here

# A message may be overtaken by a younger one on another connection, by so many ms at most. What
# looks older than that comes from a clock that was set back.
OVERTAKEN = 10_000


class Told(msgspec.Struct):
    """What all nodes say, told at `at` (ms since 1970 on the clock of Redis)."""

    here: int
    at: int = 0
    nodes: dict[str, JSON] = {}

    def follows(self, before: int) -> bool:
        """Whether it is news to someone who was told at `before`."""
        return not before - OVERTAKEN < self.at < before

    def event(self) -> Here:
        return Here(self.here, self.nodes)


_told = msgspec.json.Decoder(Told)
_piece = msgspec.json.Decoder(dict[str, JSON])


def told(data: bytes) -> Told:
    return _told.decode(data)


def piece(node: str, detail: JSON) -> bytes:
    """One node's entry in the JSON object of all nodes."""
    return msgspec.json.encode({node: detail})[1:-1]


def stored(nodes: Mapping[bytes, bytes], now_ms: int) -> Told:
    """What all nodes say whose leases have not ended. Raises ValueError on what nobody wrote."""
    total = 0
    details: dict[str, JSON] = {}
    for value in nodes.values():
        ends, count, said = value.split(b" ", 2)
        if int(ends) > now_ms:
            total += int(count)
            details |= _piece.decode(b"{%b}" % said)
    return Told(here=total, at=now_ms, nodes=details)
