"""Rooms that are used live on, with all that they show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from server.errors import Unavailable
from server.live import keeper as keeping
from server.live.keeper import Keeper

SHOWN = {"id": "new", "complete": True}
REGISTERS = {"document": SHOWN, "versions": [SHOWN, {"id": "old", "complete": True}]}


class Backend:
    def __init__(self) -> None:
        self.kept: list[tuple[str, Sequence[str]]] = []
        self.away = False

    async def keep(self, room: str, documents: Sequence[str]) -> None:
        if self.away:
            raise Unavailable("away")
        self.kept.append((room, documents))


def keeper_of(backend: Any, room_life: float = 1000) -> Keeper:
    return Keeper(backend, room_life)


async def test_all_versions_of_a_used_room_are_kept_and_each_seldom() -> None:
    backend = Backend()
    keeper = keeper_of(backend)
    for _ in range(3):
        await keeper.use("a", REGISTERS)
    await keeper.use("b", REGISTERS)
    assert backend.kept == [("a", ["new", "old"]), ("b", ["new", "old"])]


async def test_a_short_room_life_is_prolonged_in_time() -> None:
    backend = Backend()
    keeper = keeper_of(backend, room_life=0)
    await keeper.use("a", REGISTERS)
    await keeper.use("a", REGISTERS)
    assert len(backend.kept) == 2


async def test_what_could_not_be_kept_is_tried_again_at_the_next_use() -> None:
    backend = Backend()
    keeper = keeper_of(backend)
    backend.away = True
    await keeper.use("a", REGISTERS)
    backend.away = False
    await keeper.use("a", REGISTERS)
    assert len(backend.kept) == 1


async def test_blocks_of_an_upload_that_is_not_complete_keep_their_short_life() -> None:
    backend = Backend()
    await keeper_of(backend).use("a", {"document": {"id": "half", "complete": False}})
    assert backend.kept == [("a", [])]


async def test_a_room_that_was_never_used_or_is_deleted_is_let_go() -> None:
    backend = Backend()
    keeper = keeper_of(backend)
    await keeper.use("a", {})
    await keeper.use("b", {"deleted": {"time": 1}})
    assert backend.kept == []


async def test_a_room_with_a_life_of_its_own_is_prolonged_in_time() -> None:
    backend = Backend()
    keeper = keeper_of(backend)
    for _ in range(2):
        await keeper.use("a", {**REGISTERS, "life": 1e-9})
    assert len(backend.kept) == 2


async def test_the_memory_of_rooms_is_bounded(monkeypatch: Any) -> None:
    monkeypatch.setattr(keeping, "REMEMBERED", 2)
    backend = Backend()
    keeper = keeper_of(backend)
    for room in "abc":
        await keeper.use(room, REGISTERS)
    assert len(keeper._kept_at) == 2
