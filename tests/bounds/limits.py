"""What each of these may cost, whatever it does: docs/BOUNDS.md tells them, and a test compares.

Bytes of a node's memory, but for those of Redis. They are what the suite insists on, with room for
an allocator that keeps pages it no longer needs.
"""

from __future__ import annotations

from typing import Final

KB: Final = 1_000
MB: Final = 1_000_000

IDLE_VIEWER: Final = 28 * KB
# Beside the page that it was being sent when it stopped reading.
STALLED_VIEWER: Final = IDLE_VIEWER + 16 * KB
# One that says as much as the connection takes, and reads nothing or all.
FLOODING_VIEWER: Final = 1 * MB
# Once, however many flood a room, and whatever with.
FLOODED_ROOM: Final = 20 * MB
SLOW_UPLOAD: Final = 2 * MB
# One that sends one record as long as records may be, which needs all of it at once, twice.
WORST_UPLOAD: Final = 40 * MB
# What stays of some of them at once.
ENDED_UPLOADS: Final = 10 * MB
# Of a process, once: the statistics by which encodings are guessed.
GUESSING: Final = 40 * MB
# And of an address that was only tried.
LEFT_ROOM: Final = 1 * KB
# Of Redis, beside documents.
ROOM_IN_REDIS: Final = 1_500 * KB
USUAL_ROOM_IN_REDIS: Final = 150 * KB
