"""How much is measured: enough for figures that repeat, or a sketch that shows that all works."""

from __future__ import annotations

from dataclasses import dataclass

MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes in bytes, the rest are counts."""

    rounds: int  # alternating runs of ours and the peer
    viewers: int
    turns: int  # in each round, to all viewers
    file: int  # document of ingest and cutter
    file_rounds: int  # a parse is noisier than a crowd
    large: int  # documents whose page turns are compared
    small: int
    page_turns: int  # in each of the two
    latency_turns: int
    big: int  # a document as large as people have them
    first_pages: int  # how often its first page is waited for
    crowd: int  # viewers of one room on one node
    crowd_turns: int
    idle: float  # seconds in which nobody does anything
    nginx_crowd: int
    storm: int  # viewers who come at once
    rooms: int
    room_viewers: int  # in each of them
    stalled: int
    stalled_runs: int  # of each side, in turns
    recoveries: int  # of each fault


FULL = Scale(
    rounds=3,
    viewers=1000,
    turns=30,
    file=100 * MB,
    file_rounds=5,
    large=1000 * MB,
    small=1 * MB,
    page_turns=120,
    latency_turns=100,
    big=1000 * MB,
    first_pages=9,
    crowd=10_000,
    crowd_turns=10,
    idle=30,
    nginx_crowd=8_000,
    storm=2_000,
    rooms=200,
    room_viewers=5,
    stalled=5_000,
    stalled_runs=20,
    recoveries=10,
)
QUICK = Scale(
    rounds=1,
    viewers=20,
    turns=3,
    file=2 * MB,
    file_rounds=1,
    large=4 * MB,
    small=1 * MB,
    page_turns=5,
    latency_turns=5,
    big=8 * MB,
    first_pages=1,
    crowd=40,
    crowd_turns=2,
    idle=1,
    nginx_crowd=40,
    storm=20,
    rooms=4,
    room_viewers=2,
    stalled=10,
    stalled_runs=2,
    recoveries=1,
)
