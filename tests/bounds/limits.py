"""What each of these may cost, whatever it does: docs/BOUNDS.md tells them, and a test compares.

Bytes of a node's memory, but for those of Redis. They are what the suite insists on, with room for
an allocator that keeps pages it no longer needs.
"""

from __future__ import annotations

from typing import Final

KB: Final = 1_000
MB: Final = 1_000_000

IDLE_VIEWER: Final = 25 * KB
# Beside the page that it was being sent when it stopped reading.
STALLED_VIEWER: Final = IDLE_VIEWER + 20 * KB
# One that says as much as the connection takes, and reads nothing or all.
FLOODING_VIEWER: Final = 1 * MB
# A room whose chat is full of the longest messages, once, however many flood it.
FLOODED_ROOM: Final = 20 * MB
SLOW_UPLOAD: Final = 2 * MB
# One that sends one record as long as records may be, which needs all of it at once.
WORST_UPLOAD: Final = 24 * MB
LEFT_ROOM: Final = 2 * KB
# Of Redis, beside documents.
ROOM_IN_REDIS: Final = 4 * MB
USUAL_ROOM_IN_REDIS: Final = 200 * KB
