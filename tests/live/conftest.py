"""A room for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.live.one_room import Room


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    room = Room()
    yield room
    room.live.retire()
