"""Whoever asks for much waits for it, and nobody else does."""

from __future__ import annotations

import asyncio
import threading

import pytest

from server.live.work import FOR, Work, in_thread


async def ask(
    work: Work, done: list[str], asker: str, name: str, until: asyncio.Event | None = None
) -> None:
    FOR.set(asker)
    async with work.piece():
        if until is not None:
            await until.wait()
        done.append(name)


async def waiting(work: Work, count: int) -> None:
    async with asyncio.timeout(10):
        while work.waiting != count:
            await asyncio.sleep(0)


async def all_of(*jobs: asyncio.Task[None]) -> None:
    async with asyncio.timeout(10):
        await asyncio.gather(*jobs)


async def test_askers_take_turns_however_much_one_asks_for() -> None:
    work, done, go = Work(), list[str](), asyncio.Event()
    first = asyncio.create_task(ask(work, done, "many", "first", go))
    many = [asyncio.create_task(ask(work, done, "many", f"m{n}")) for n in range(4)]
    await waiting(work, 4)
    one = asyncio.create_task(ask(work, done, "one", "one"))
    other = asyncio.create_task(ask(work, done, "other", "other"))
    await waiting(work, 6)
    go.set()
    await all_of(first, *many, one, other)
    assert done == ["first", "m0", "one", "other", "m1", "m2", "m3"]


async def test_one_piece_is_done_at_a_time_and_others_have_their_turn_in_between() -> None:
    work, running = Work(), 0
    turns = 0

    async def piece() -> None:
        nonlocal running
        async with work.piece():
            running += 1
            assert running == 1
            await asyncio.sleep(0)
            running -= 1

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    await all_of(*(asyncio.create_task(piece()) for _ in range(10)))
    beside.cancel()
    assert turns >= 10
    assert work.waiting == 0


async def test_who_gives_up_waiting_leaves_the_turn_to_the_next() -> None:
    work, done = Work(), list[str]()
    async with work.piece():
        gone = [asyncio.create_task(ask(work, done, name, name)) for name in "bcb"]
        last = asyncio.create_task(ask(work, done, "d", "last"))
        await waiting(work, 4)
        gone[0].cancel()
        gone[2].cancel()
        await waiting(work, 2)
    gone[1].cancel()  # it has just been given the turn
    await all_of(last)
    assert done == ["last"]
    assert work.waiting == 0


async def test_a_piece_that_fails_ends_its_turn() -> None:
    work = Work()
    with pytest.raises(ValueError, match="broken"):
        async with work.piece():
            raise ValueError("broken")
    async with asyncio.timeout(10), work.piece():
        pass


async def test_a_piece_in_a_thread_lasts_as_long_as_the_thread_even_if_it_is_cancelled() -> None:
    work, done, go = Work(), list[str](), threading.Event()

    def make() -> None:
        assert go.wait(10)
        done.append("thread")

    async def piece() -> None:
        async with work.piece():
            await in_thread(make)

    gone = asyncio.create_task(piece())
    await asyncio.sleep(0.01)
    last = asyncio.create_task(ask(work, done, "last", "last"))
    await waiting(work, 1)
    for _ in range(2):
        gone.cancel()
        await asyncio.sleep(0.01)
    assert (gone.done(), work.waiting) == (False, 1)
    go.set()
    await all_of(last)
    assert done == ["thread", "last"]
    assert gone.cancelled()


async def test_what_a_thread_raises_is_raised() -> None:
    def fail() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await in_thread(fail)
