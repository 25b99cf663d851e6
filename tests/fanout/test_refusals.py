"""What is written down of an error of Redis: why, and not what was asked."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError, ResponseError

from server.fanout.refusals import unavailable, why

ROOM = "00000000-0000-4000-8000-000000000001"


def test_an_error_without_a_word_is_told_by_its_kind() -> None:
    assert why(TimeoutError()) == "TimeoutError"


def test_of_a_refusal_it_is_what_redis_said() -> None:
    refusal = unavailable()
    refusal.__cause__ = ConnectionError("Authentication required.")
    assert why(refusal) == "Authentication required."
    assert "storage" in why(unavailable())


@pytest.mark.parametrize("said", ["it's full", 'so "full"', "(full), of bytes"])
async def test_what_was_asked_in_a_pipeline_is_left_out(said: str) -> None:
    client = Redis()
    error = ResponseError(said)
    client.pipeline().annotate_exception(error, 1, ["HGETALL", f"room:{{{ROOM}}}", "secret') x"])
    assert ROOM in str(error)
    assert why(error).replace("\\", "") == said
    await client.aclose()


def test_arguments_that_redis_repeats_are_left_out() -> None:
    error = ResponseError(
        f"unknown command 'FCALL', with args beginning with: 'append' 'room:{ROOM}' 'secret'"
    )
    assert why(error) == "unknown command 'FCALL'"
