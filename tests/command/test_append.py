"""`tablecast append`: rows of a file or a running job join the table that people look at."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from server.command.append import QUIET, RowEnds
from tests.accept.client import ROOM, Node, Slowly
from tests.command.conftest import StartProgram, StartServer
from tests.command.program import PATIENCE, ROOT, sentence, tablecast
from tests.room_client import table

pytestmark = pytest.mark.processes


async def content(node: Node, room: str = ROOM) -> bytes:
    async with node.http.get(f"/api/rooms/{room}/document") as response:
        assert response.status == 200, await response.text()
        return await response.read()


def answers(**more: Any) -> Any:
    """What a server tells of a room with a table."""
    return {"set": {"document": {"rows": 1, "dialect": {"quote": '"', "escape": ""}, **more}}}


def problem(status: int, code: str, detail: str, **more: Any) -> web.Response:
    body = {"detail": detail, "code": code, "retry": True, **more}
    return web.Response(
        status=status, body=json.dumps(body).encode(), content_type="application/problem+json"
    )


# What works


async def test_the_rows_of_a_file_are_added(node: Node, tmp_path: Path) -> None:
    await node.put(b"id\tname\n1\tone\n")
    path = tmp_path / "more.tsv"
    path.write_bytes(b"2\ttwo\n3\tthree")
    link = f"{node.url}/t/{ROOM}"
    end = await tablecast("append", str(path), "--to", link)
    assert (end.code, end.out, end.errors) == (0, f"{link}\n", "tablecast: Added 2 rows.\n")
    assert await content(node) == b"id\tname\n1\tone\n2\ttwo\n3\tthree"


async def test_a_line_shows_while_the_job_that_wrote_it_still_runs(
    node: Node, start: StartProgram
) -> None:
    await node.put(b"id\tname\n1\tone\n")
    viewer = await node.join()
    program = await start("append", "-", "--to", f"{node.url}/t/{ROOM}")
    await program.line()
    for number in (2, 3, 4):
        began = time.monotonic()
        await program.write(b"%d\tmore\n" % number)
        await viewer.settles(lambda v, n=number: v.registers["document"]["rows"] == n)
        # The first line also waits for the door to open.
        assert number == 2 or time.monotonic() - began < 1
    end = await program.ended()
    assert (end.code, end.errors) == (0, "tablecast: Added 3 rows.\n")


async def test_half_a_line_waits_for_its_other_half(node: Node, start: StartProgram) -> None:
    await node.put(b"id\tname\n1\tone\n")
    viewer = await node.join()
    program = await start("append", "-", "--to", f"{node.url}/t/{ROOM}")
    await program.write(b"2\ttwo\n3\tth")
    await viewer.settles(lambda v: v.registers["document"]["rows"] == 2)
    # Longer than the silence after which a request ends: it would end in the middle of a row.
    await asyncio.sleep(QUIET * 1.2)
    await program.write(b"ree\n")
    await viewer.settles(lambda v: v.registers["document"]["rows"] == 3)
    await program.ended()
    assert await content(node) == b"id\tname\n1\tone\n2\ttwo\n3\tthree\n"


async def test_silence_between_lines_does_no_harm(node: Node, start: StartProgram) -> None:
    await node.put(b"id\tname\n")
    viewer = await node.join()
    program = await start("append", "-", "--to", f"{node.url}/t/{ROOM}")
    for number in (1, 2):
        await program.write(b'%d\t"a quoted\ncell"\n' % number)
        await viewer.settles(lambda v, n=number: v.registers["document"]["rows"] == n)
        await asyncio.sleep(QUIET * 1.2)
    end = await program.ended(b"3\tlast\n")
    assert end.errors == "tablecast: Added 3 rows.\n"
    assert (await node.registers())["document"]["rows"] == 3


async def test_a_log_that_is_followed_shows_its_new_lines(node: Node, tmp_path: Path) -> None:
    await node.put(b"id\tname\n")
    viewer = await node.join()
    log = tmp_path / "log.tsv"
    log.write_bytes(b"0\told\n")
    process = await asyncio.create_subprocess_shell(
        f"exec tail -n 0 -f {log} | exec {sys.executable} -m server append -q -",
        cwd=ROOT,
        env=os.environ | {"TABLECAST_TO": f"{node.url}/t/{ROOM}"},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        for number in itertools.count(1):
            # Until tail has begun to look, lines are old ones to it.
            with log.open("ab") as file:
                file.write(b"%d\tnew\n" % number)
            if (await node.registers())["document"]["rows"]:
                break
            assert number < PATIENCE / 0.1
            await asyncio.sleep(0.1)
        rows = (await node.registers())["document"]["rows"]
        with log.open("ab") as file:
            file.write(b"last\tnew\n")
        await viewer.settles(lambda v: v.registers["document"]["rows"] > rows)
    finally:
        os.killpg(process.pid, 15)
        async with asyncio.timeout(PATIENCE):
            await process.communicate()


async def test_a_job_without_a_room_gets_one_and_its_first_line_names_the_columns(
    node: Node, start: StartProgram
) -> None:
    program = await start("append", "-", "--name", "job.tsv", to=node.url)
    await program.write(b"id\tname\n1\tone\n")
    link = await program.line()
    assert link.startswith(f"{node.url}/t/")
    room = link.rpartition("/")[2]
    viewer = await node.join(room)
    await viewer.settles(lambda v: (v.registers.get("document") or {}).get("rows") == 1)
    assert viewer.registers["document"]["name"] == "job.tsv"
    end = await program.ended(b"2\ttwo\n")
    assert end.notes == "tablecast: Added 2 rows.\n"
    assert await content(node, room) == b"id\tname\n1\tone\n2\ttwo\n"


async def test_a_file_without_a_room_is_a_new_table(node: Node, tmp_path: Path) -> None:
    path = tmp_path / "trips.tsv"
    path.write_bytes(table(500))
    end = await tablecast("append", str(path), to=node.url)
    assert (end.code, end.notes) == (0, "tablecast: Added 500 rows.\n")
    room = end.out.strip().rpartition("/")[2]
    assert await content(node, room) == table(500)
    assert (await node.registers(room))["document"]["name"] == "trips.tsv"


async def test_two_jobs_lose_no_row_and_split_none(node: Node, tmp_path: Path) -> None:
    await node.put(b"id\tname\n")
    wholes = []
    for job in (b"a", b"b"):
        path = tmp_path / job.decode()
        path.write_bytes(b"".join(b"%s%d\tsome words\n" % (job, n) for n in range(20_000)))
        wholes.append(path)
    link = f"{node.url}/t/{ROOM}"
    ends = await asyncio.gather(*(tablecast("append", str(p), "--to", link) for p in wholes))
    assert [end.code for end in ends] == [0, 0]
    rows = (await content(node)).splitlines()[1:]
    for path in wholes:
        mine = [row for row in rows if row.startswith(path.name.encode())]
        assert mine == path.read_bytes().splitlines()
    assert len(rows) == 40_000


# What is waited for, and what is refused


async def test_an_upload_in_the_room_is_waited_for(node: Node, start: StartProgram) -> None:
    other = Slowly()
    uploading = asyncio.create_task(node.put(other))
    other.send(b"id\tname\n1\tone\n")
    viewer = await node.join()
    await viewer.settles(lambda v: v.registers.get("upload") is not None)
    program = await start("append", "-", "--to", f"{node.url}/t/{ROOM}")
    await program.write(b"2\ttwo\n")
    assert "Trying again" in await program.note()
    other.end()
    await uploading
    assert (await program.ended()).code == 0
    assert await content(node) == b"id\tname\n1\tone\n2\ttwo\n"


async def test_rows_of_another_width_than_the_table_are_told_of(node: Node) -> None:
    await node.put(b"a\tb\tc\n1\t2\t3\n", name="t.tsv")
    link = f"{node.url}/t/{ROOM}"
    end = await tablecast("append", "-", to=link, given=b"1,2,3\n" * 120)
    assert end.code == 0
    assert "Added 120 rows." in end.errors
    width = "another number of columns than the table"
    assert f"120 of these rows have {width} (1 instead of 3)." in end.errors
    end = await tablecast("append", "-", to=link, given=b'1\t2\t3\n"x\ty"\t2\n')
    assert f"1 of these rows has {width} (2 instead of 3)." in end.errors
    end = await tablecast("append", "-", to=link, given=b"1\t2\n")
    assert f"This row has {width} (2 instead of 3)." in end.errors
    end = await tablecast("append", "-", to=link, given=b"1\t2\t3\n")
    assert width not in end.errors


async def test_rows_that_were_not_taken_are_sent_again(serve: StartServer) -> None:
    refusals = [
        problem(429, "rate_limited", "Too fast."),
        problem(503, "draining", "This node restarts.", rows_added=0),
    ]
    bodies = []

    async def handler(request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.json_response(answers())
        bodies.append(await request.read())
        return refusals.pop(0) if refusals else web.json_response({"rows_added": 2})

    end = await tablecast("append", "-", to=f"{await serve(handler)}/t/{ROOM}", given=b"1\n2\n")
    assert end.code == 0
    assert bodies == [b"1\n2\n"] * 3


@pytest.mark.parametrize("answer", ["some rows were taken", "nobody knows", "connection lost"])
async def test_rows_that_may_have_been_taken_are_never_sent_twice(
    serve: StartServer, answer: str
) -> None:
    bodies = []

    async def handler(request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.json_response(answers())
        bodies.append(await request.read())
        if answer == "connection lost":
            assert request.transport is not None
            request.transport.abort()
        more = {"rows_added": 1} if answer == "some rows were taken" else {}
        return problem(503, "draining", "This node restarts.", **more)

    link = f"{await serve(handler)}/t/{ROOM}"
    end = await tablecast("append", "-", to=link, given=b"1\n2\n")
    assert (end.code, end.out) == (1, f"{link}\n")
    assert end.errors.count("\n") == 1
    assert bodies == [b"1\n2\n"]
    if answer == "connection lost":
        assert "nobody knows how many of the next 4 bytes" in end.errors


async def test_a_server_that_goes_away_is_noticed_while_the_job_is_silent(
    serve: StartServer, start: StartProgram
) -> None:
    async def handler(request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.json_response(answers())
        await request.content.readany()
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    program = await start("append", "-", to=f"{await serve(handler)}/t/{ROOM}")
    await program.write(b"1\n")
    async with asyncio.timeout(PATIENCE):
        assert await program.process.wait() == 1
    assert "connection" in await program.note()


async def test_nothing_is_no_table_but_may_be_added_to_one(node: Node) -> None:
    end = await tablecast("append", "-", to=node.url)
    assert end.code == 1
    sentence(end, "There is nothing in standard input")
    await node.put(table(1))
    end = await tablecast("append", "-", to=f"{node.url}/t/{ROOM}")
    assert (end.code, end.errors) == (0, "tablecast: Added 0 rows.\n")
    assert await content(node) == table(1)


async def test_a_wrong_address_is_told_before_the_first_row_comes(start: StartProgram) -> None:
    program = await start("append", "-", to=f"http://127.0.0.1:1/t/{ROOM}")
    async with asyncio.timeout(PATIENCE):
        assert await program.process.wait() == 1
    assert "Nothing answers at" in await program.note()


async def test_a_file_that_is_not_there_makes_no_room(node: Node, tmp_path: Path) -> None:
    end = await tablecast("append", str(tmp_path / "none.tsv"), to=node.url)
    assert end.code == 1
    sentence(end, "There is no file")


async def test_an_interrupted_append_keeps_the_rows_that_came(
    node: Node, start: StartProgram
) -> None:
    await node.put(b"id\tname\n")
    viewer = await node.join()
    program = await start("append", "-", to=f"{node.url}/t/{ROOM}")
    await program.write(b"1\tone\n2\ttw")
    await viewer.settles(lambda v: v.registers["document"]["rows"] == 1)
    program.interrupt()
    async with asyncio.timeout(PATIENCE):
        assert await program.process.wait() == 130
    assert await program.note() == ""
    assert await content(node) == b"id\tname\n1\tone\n"


# Where a row ends


@pytest.mark.parametrize(
    ("quote", "escape", "text", "ends"),
    [
        ('"', "", "a\nb\nc", [2, 4]),
        ('"', "", 'a\n"b\nc"\nd\n', [2, 8, 10]),
        ('"', "", '"a""\n"\nb', [7]),
        ("'", "", "'a\n'\n\"\n", [5, 7]),
        ("", "", 'a"\nb\n', [3, 5]),
        ('"', "\\", '"a\\"\nb"\nc\n', [8, 10]),
        ("", "\\", "a\\\nb\nc\\\\\nd", [5, 9]),
        ('"', "", "no end", []),
    ],
)
def test_a_row_ends_neither_in_quotes_nor_after_an_escape(
    quote: str, escape: str, text: str, ends: list[int]
) -> None:
    data = text.encode()
    for cut in range(len(data) + 1):
        # However the stream was cut, the same ends are found.
        rows = RowEnds(quote.encode(), escape.encode())
        at_end = rows.feed(data[:cut]) if cut else False
        assert not cut or at_end == (cut in ends)
        later = [end for end in ends if end > cut]
        assert rows.last(data[cut:]) == (later[-1] - cut if later else 0)
