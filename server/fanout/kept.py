"""What a room keeps of its chat: the last messages, so many and of so many bytes in all."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from server.fanout.backend import JSON

CHAT_KEPT = 200  # messages a room remembers; older ones are gone for good
# Bytes of JSON that these have at most: all of them fit, unless most are as long as they may be and
# of characters that take several bytes.
CHAT_BYTES = 1024 * 1024

Message = Mapping[str, JSON]


def weight(message: Message) -> int:
    """Bytes of a message as it is stored, whether it has its `rev` already or not."""
    return len(msgspec.json.encode({name: message[name] for name in message if name != "rev"}))


class Chat:
    """The messages, each with its `rev`, the oldest first; `size`: their bytes.

    The last one is kept whatever its size, as `append.lua` does it too.
    """

    __slots__ = ("_messages", "size")

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self._messages: deque[tuple[Message, int]] = deque()
        self.size = 0
        for message in messages:
            self.append(message)

    def __iter__(self) -> Iterator[Message]:
        return (message for message, _ in self._messages)

    def append(self, message: Message) -> None:
        """Keep this one too, and let the oldest go that are too many."""
        self._messages.append((message, weight(message)))
        self.size += self._messages[-1][1]
        while len(self._messages) > 1 and (
            len(self._messages) > CHAT_KEPT or self.size > CHAT_BYTES
        ):
            _, size = self._messages.popleft()
            self.size -= size

    def find(self, id: JSON) -> Message | None:
        """The message that has this `id`; there is none without one."""
        if not id:
            return None
        return next((message for message in self if message.get("id") == id), None)
