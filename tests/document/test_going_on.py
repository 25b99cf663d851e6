"""A table that is cut in several goes is the one that is cut in one."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.document.blocks import Block
from server.document.cutter import CutSoFar
from server.document.intake import Intake
from tests.properties import examples

BLOCK = 120
RECORD = 600


def blocks_of(intake: Intake, data: bytes, chunk: int, *, ends: bool) -> list[Block]:
    blocks: list[Block] = []
    for start in range(0, len(data), chunk):
        for some in intake.feed(data[start : start + chunk]):
            blocks += some
    if ends:
        for some in intake.finish():
            blocks += some
    return blocks


def intake_for(so_far: CutSoFar | None = None) -> Intake:
    return Intake(name="t.csv", block_size=BLOCK, record_limit=RECORD, so_far=so_far)


def in_one_go(data: bytes) -> tuple[list[Block], CutSoFar]:
    intake = intake_for()
    blocks = blocks_of(intake, data, 1 << 20, ends=True)
    return blocks, intake.so_far


def in_goes(data: bytes, cuts: list[int], chunk: int) -> tuple[list[Block], CutSoFar]:
    """Cut `data`, breaking off at each of `cuts` and going on from what is whole."""
    blocks: list[Block] = []
    so_far: CutSoFar | None = None
    for cut in [*cuts, len(data)]:
        start = so_far.stored if so_far is not None else 0
        intake = intake_for(so_far)
        blocks += blocks_of(intake, data[start : max(start, cut)], chunk, ends=cut == len(data))
        if intake.blocks:
            assert intake.is_plain
            so_far = intake.so_far
        if cut == len(data):
            break
    assert so_far is not None
    return blocks, so_far


CELLS = st.sampled_from(
    ["1", "22", "x y", '"a, b"', '"two\nlines"', '"say ""so"""', '5" pipe', "", "ä", "\0", "#"]
)
RECORDS = st.lists(st.lists(CELLS, min_size=1, max_size=5), min_size=1, max_size=60)


@settings(max_examples=examples(100), deadline=None)
@given(
    records=RECORDS,
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    runaway=st.none() | st.integers(0, 60),
    cuts=st.lists(st.integers(0, 100_000), max_size=6),
    chunk=st.integers(1, 300),
)
def test_however_often_it_is_broken_off_blocks_rows_and_report_are_the_same(
    records: list[list[str]], end: str, runaway: int | None, cuts: list[int], chunk: int
) -> None:
    lines = ["id,name,value", "1,one,two", *(",".join(record) for record in records)]
    if runaway is not None:
        lines.insert(min(len(lines), 2 + runaway), '3,"never closed,4')
        lines += [f"{number},after,it" for number in range(80)]
    # The sample by which a file is understood must be whole before a first block.
    rows = [f"{number},name {number},{number * 7}" for number in range(4000)]
    data = (end.join([*rows, *lines]) + end).encode()
    whole, known = in_one_go(data)
    past_sample = len(data) - 66_000
    places = sorted(66_000 + cut % past_sample for cut in cuts)
    blocks, so_far = in_goes(data, places, chunk * 97)
    assert blocks == whole
    assert so_far == known


@pytest.mark.parametrize("seed", range(6))
def test_ragged_rows_are_counted_once_and_named_by_their_number(seed: int) -> None:
    chance = random.Random(seed)
    rows = [
        "\t".join(["x"] * (3 if chance.random() > 0.001 else chance.randint(1, 5)))
        for _ in range(60_000)
    ]
    data = ("\n".join(rows) + "\n").encode()
    whole, known = in_one_go(data)
    cuts = sorted(chance.randrange(70_000, len(data)) for _ in range(5))
    blocks, so_far = in_goes(data, cuts, 50_000)
    assert so_far.report == known.report
    assert so_far.report.ragged > 10
    assert blocks == whole
