"""`tablecast push`: a file or a pipe becomes the table that everyone in the room sees."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.accept.client import ROOM, Node, Slowly
from tests.accept.owned import OwnedRoom, owned_room
from tests.command.conftest import StartProgram, StartServer
from tests.command.program import PATIENCE, ROOT, sentence, tablecast
from tests.room_client import table

pytestmark = pytest.mark.processes


async def content(node: Node, link: str) -> bytes:
    room = link.rpartition("/")[2]
    async with node.http.get(f"/api/rooms/{room}/document") as response:
        assert response.status == 200, await response.text()
        return await response.read()


async def document(node: Node, link: str) -> Any:
    return (await node.registers(link.rpartition("/")[2]))["document"]


# What works


async def test_a_file_gets_a_link_that_leads_to_it(node: Node, tmp_path: Path) -> None:
    (tmp_path / "Umsätze 2026.tsv").write_bytes(table(5000))
    end = await tablecast("push", str(tmp_path / "Umsätze 2026.tsv"), to=node.url)
    assert (end.code, end.notes) == (0, "")
    link = end.out.rstrip("\n")
    assert link.startswith(f"{node.url}/t/")
    assert await content(node, link) == table(5000)
    shown = await document(node, link)
    assert (shown["name"], shown["size"]) == ("Umsätze 2026.tsv", len(table(5000)))
    async with node.http.get(link.removeprefix(node.url)) as page:
        assert page.status == 200


async def test_a_room_that_people_have_open_shows_the_file(node: Node, tmp_path: Path) -> None:
    await node.put(table(10))
    viewer = await node.join()
    (tmp_path / "new.tsv").write_bytes(table(300))
    link = f"{node.url}/t/{ROOM}"
    end = await tablecast("push", str(tmp_path / "new.tsv"), "--to", link, "--name", "other.tsv")
    assert (end.code, end.out, end.errors) == (0, f"{link}\n", "")
    await viewer.settles(lambda v: v.registers["document"]["rows"] == 300)
    assert viewer.registers["document"]["name"] == "other.tsv"


async def test_whoever_made_a_room_by_a_push_owns_it(node: Node, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(table(10))
    end = await tablecast("push", str(tmp_path / "a.tsv"), to=node.url)
    link, _, key = end.granted.partition("#key=")
    assert link == end.out.strip()
    assert key not in end.out
    room = OwnedRoom(node, link.rpartition("/")[2], key)
    await room.set_mode("presenting")
    refused = await tablecast("push", str(tmp_path / "a.tsv"), "--to", link)
    sentence(refused, "Only presenters send files")


@pytest.mark.parametrize("command", ["push", "append"])
@pytest.mark.parametrize("how", ["link", "option", "environment"])
async def test_a_key_opens_a_room_in_which_only_presenters_send(
    node: Node, tmp_path: Path, command: str, how: str
) -> None:
    room = await owned_room(node)
    (tmp_path / "a.tsv").write_bytes(table(10))
    link = f"{node.url}/t/{room.uuid}"
    arguments, environment = [command, str(tmp_path / "a.tsv"), "--to", link], {}
    if how == "link":
        arguments[-1] = f"{link}#key={room.presenter}"
    elif how == "option":
        arguments += ["--key", room.presenter]
    else:
        environment = {"TABLECAST_KEY": room.presenter}
    end = await tablecast(*arguments, environment=environment)
    assert (end.code, end.out) == (0, f"{link}\n"), end.errors
    wrong = await tablecast(*arguments[:3], link, "--key", "x" * 22)
    assert (wrong.code, wrong.errors.count("\n")) == (1, 1)
    assert "This key does not open this room" in wrong.errors


async def test_two_files_without_a_room_get_two_rooms(node: Node, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(table(10))
    links = {(await tablecast("push", str(tmp_path / "a.tsv"), to=node.url)).out for _ in range(2)}
    assert len(links) == 2


async def test_a_pipe_shows_its_rows_while_they_are_still_written(
    node: Node, start: StartProgram
) -> None:
    whole = table(20_000)
    program = await start("push", "-", "--name", "job.tsv", to=node.url)
    await program.write(whole[:300_000])
    link = await program.line()
    viewer = await node.join(link.rpartition("/")[2])
    await viewer.settles(lambda v: (v.registers.get("document") or {}).get("rows", 0) > 0)
    assert viewer.registers["document"]["complete"] is False
    end = await program.ended(whole[300_000:])
    assert (end.code, end.out, end.notes) == (0, "", "")
    assert await content(node, link) == whole
    assert (await document(node, link))["name"] == "job.tsv"


async def test_a_shell_gets_the_link_alone(node: Node) -> None:
    command = f'link=$(seq 1 100 | {sys.executable} -m server push -q -) && echo "<$link>"'
    process = await asyncio.create_subprocess_shell(
        command,
        cwd=ROOT,
        env=os.environ | {"TABLECAST_TO": node.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE):
        out, errors = await process.communicate()
    assert errors == b""
    assert out.startswith(f"<{node.url}/t/".encode())
    assert out.endswith(b">\n")


@pytest.mark.parametrize("how", ["redirected", "named pipe", "written as it is read"])
async def test_whatever_can_be_read_can_be_pushed(node: Node, tmp_path: Path, how: str) -> None:
    path = tmp_path / "a.tsv"
    if how == "redirected":
        path.write_bytes(table(1000))
        with path.open("rb") as file:
            end = await tablecast("push", "-", to=node.url, stdin=file)
        expected = table(1000)
    elif how == "named pipe":
        os.mkfifo(path)
        writing = asyncio.create_task(asyncio.to_thread(path.write_bytes, table(1000)))
        end = await tablecast("push", str(path), to=node.url)
        await writing
        expected = table(1000)
    else:
        expected = Path("/proc/cpuinfo").read_bytes()[:20]
        end = await tablecast("push", "/proc/cpuinfo", to=node.url)
    assert (end.code, end.notes) == (0, "")
    assert (await content(node, end.out.strip())).startswith(expected)


async def test_a_large_file_arrives_byte_for_byte_and_is_never_held_whole(
    node: Node, tmp_path: Path
) -> None:
    path = tmp_path / "large.tsv"
    path.write_bytes(table(1) + b"1\tsome words of a row that is not so short\n" * 1_500_000)
    code = (
        "import re, sys; from server.command import main; code = main(sys.argv[1:]);"
        "status = open('/proc/self/status').read();"
        "print(re.search(r'VmHWM:\\s*(\\d+)', status)[1], file=sys.stderr); sys.exit(code)"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, "push", str(path), "--to", node.url),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE):
        out, errors = await process.communicate()
    assert process.returncode == 0, errors
    link = out.decode().strip()
    sent = hashlib.sha256(path.read_bytes()).hexdigest()
    assert hashlib.sha256(await content(node, link)).hexdigest() == sent
    most = int(errors.split()[-1])  # KiB
    assert path.stat().st_size > 60_000_000
    assert most < 60_000  # Python with aiohttp takes about 45,000


async def test_a_terminal_shows_progress_and_is_left_clean(node: Node, tmp_path: Path) -> None:
    path = tmp_path / "trips.tsv"
    path.write_bytes(table(100_000))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    terminal = {"TERM": "xterm"}
    try:
        for quiet in (False, True):
            arguments = ["push", str(path), *(["-q"] if quiet else [])]
            end = await tablecast(*arguments, to=node.url, stderr=theirs, environment=terminal)
            assert end.code == 0
            os.set_blocking(ours, False)
            shown = b""
            try:
                while data := os.read(ours, 65_536):
                    shown += data
            except BlockingIOError:
                pass
            if quiet:
                assert shown == b""
            else:
                assert b"trips.tsv  [" in shown
                assert b"100 %" in shown
                progress, _, note = shown.rpartition(b"\r\x1b[K")
                assert b"100 %" in progress
                assert note.startswith(b"tablecast: For you alone: ")
    finally:
        os.close(ours)
        os.close(theirs)


# What is waited for, and what is tried again


async def test_an_upload_in_the_room_is_waited_for(node: Node, start: StartProgram) -> None:
    other = Slowly()
    uploading = asyncio.create_task(node.put(other))
    other.send(b"id\n1\n")
    viewer = await node.join()
    await viewer.settles(lambda v: v.registers.get("upload") is not None)
    program = await start("push", "-", "--to", f"{node.url}/t/{ROOM}")
    await program.write(table(100))
    program.end_input()
    note = await program.note()
    assert note.startswith("tablecast: ")
    assert "Trying again" in note
    other.end()
    await uploading
    assert (await program.ended()).code == 0
    assert await content(node, ROOM) == table(100)


async def test_a_server_that_is_busy_for_a_moment_is_asked_again(
    serve: StartServer, tmp_path: Path
) -> None:
    answers = [
        web.Response(status=502, text="<html>Bad Gateway</html>", content_type="text/html"),
        _problem(503, "draining", "This node is going away.", retry=True),
        _problem(429, "rate_limited", "Too fast.", retry=True),
    ]
    bodies: list[bytes] = []

    async def handler(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return answers.pop(0) if answers else web.json_response({"rows": 1})

    path = tmp_path / "a.tsv"
    path.write_bytes(table(10))
    end = await tablecast("push", str(path), "--to", f"{await serve(handler)}/t/{ROOM}")
    assert end.code == 0
    assert bodies == [table(10)] * 4
    assert end.errors.count("Trying again") == 1


async def test_a_connection_that_is_lost_is_made_again_for_a_file(
    serve: StartServer, tmp_path: Path
) -> None:
    bodies: list[bytes] = []

    async def handler(request: web.Request) -> web.Response:
        body = await request.read()
        if not bodies:
            assert request.transport is not None
            request.transport.abort()
        bodies.append(body)
        return web.json_response({"rows": 1})

    path = tmp_path / "a.tsv"
    path.write_bytes(table(10))
    end = await tablecast("push", str(path), "--to", f"{await serve(handler)}/t/{ROOM}")
    assert (end.code, bodies) == (0, [table(10)] * 2)


async def test_a_file_that_changes_while_it_is_read_is_sent_again_and_never_mixed(
    serve: StartServer, tmp_path: Path
) -> None:
    path = tmp_path / "a.tsv"
    before = table(300_000)
    path.write_bytes(before)
    bodies: list[bytes] = []

    async def handler(request: web.Request) -> web.Response:
        if not bodies:
            bodies.append(await request.content.readany())
            # One change, not a file that is emptied and then filled: that would be two.
            with path.open("r+b", buffering=0) as file:
                file.write(b"changed")
        body = await request.read()
        bodies.append(body)
        return web.json_response({"rows": 1})

    end = await tablecast("push", str(path), "--to", f"{await serve(handler)}/t/{ROOM}")
    assert end.code == 0
    assert "changed while it was read" in end.errors
    assert bodies[-1] == b"changed" + before[len(b"changed") :]
    # The first request broke off: nobody took the bytes for a whole file.
    assert len(bodies) == 2


async def test_a_file_that_never_stays_the_same_is_not_shown(node: Node, tmp_path: Path) -> None:
    await node.put(table(10))
    path = tmp_path / "a.tsv"
    path.write_bytes(table(1000))
    # Python imports this first: the file gets another time whenever it is read.
    (tmp_path / "sitecustomize.py").write_text(
        "import os\n"
        "from server.command import source\n"
        "body = source.File.body\n"
        "async def changing(file):\n"
        "    os.utime(file.path, ns=(1, os.stat(file.path).st_mtime_ns + 10**9))\n"
        "    async for piece in body(file):\n"
        "        yield piece\n"
        "source.File.body = changing\n"
    )
    end = await tablecast(
        *("push", str(path), "--to", f"{node.url}/t/{ROOM}"),
        environment={"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )
    assert end.code == 1
    assert "Sending it again" in end.errors
    assert "nothing of it is shown" in end.errors
    assert await content(node, ROOM) == table(10)


# What is refused


async def test_what_the_server_refuses_is_told_in_its_words(node: Node) -> None:
    end = await tablecast("push", "-", to=node.url, given=b"%PDF-1.7\n" + b"\0\1\2" * 500)
    assert end.code == 1
    assert "PDF" in end.notes
    assert end.notes.count("\n") == 1


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("missing", "There is no file"),
        ("directory", "is a directory"),
        ("secret", "permission denied"),
        ("empty", "There is nothing in"),
        ("x" * 300, "name too long"),
    ],
)
async def test_a_file_that_cannot_be_sent_is_told_in_one_sentence(
    node: Node, tmp_path: Path, what: str, says: str
) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "secret").write_bytes(table(1))
    (tmp_path / "secret").chmod(0)
    (tmp_path / "empty").touch()
    if what == "secret" and os.access(tmp_path / "secret", os.R_OK):
        pytest.skip("whoever runs this may read everything")
    end = await tablecast("push", str(tmp_path / what), to=node.url)
    assert end.code == 1
    sentence(end, says, what[:20])


async def test_nothing_in_a_pipe_makes_no_room(serve: StartServer) -> None:
    async def handler(request: web.Request) -> web.Response:
        raise AssertionError("nothing should be asked")

    end = await tablecast("push", "-", to=await serve(handler))
    assert end.code == 1
    sentence(end, "There is nothing in standard input")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (web.Response(text="<html>Welcome</html>", content_type="text/html"), "not as a Tablecast"),
        (web.json_response({"hello": 1}), "not as a Tablecast"),
        (web.json_response([1]), "not as a Tablecast"),
        (web.Response(text="{", content_type="application/json"), "not JSON"),
        (web.Response(status=404, text="nothing"), "HTTP 404"),
        (web.Response(status=301, headers={"Location": "https://new/"}), "https://new/"),
        (web.Response(status=401, text="who"), "a name and a password"),
        (web.Response(status=413, text="much"), "takes no file this large"),
    ],
)
async def test_a_server_that_is_no_tablecast_is_told_in_one_sentence(
    serve: StartServer, tmp_path: Path, answer: web.Response, says: str
) -> None:
    async def handler(request: web.Request) -> web.Response:
        await request.read()
        return answer

    path = tmp_path / "a.tsv"
    path.write_bytes(table(10))
    end = await tablecast("push", str(path), to=await serve(handler))
    assert end.code == 1
    sentence(end, says)


@pytest.mark.parametrize(
    ("to", "says"),
    [
        ("http://127.0.0.1:1", "Nothing answers at http://127.0.0.1:1"),
        ("http://no-such-host.invalid", "not known"),
    ],
)
async def test_a_server_that_is_not_there_is_told_in_one_sentence(
    tmp_path: Path, to: str, says: str
) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(table(10))
    end = await tablecast("push", str(path), "--to", to)
    assert end.code == 1
    sentence(end, says)


async def test_tls_that_is_none_is_told_in_one_sentence(node: Node, tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(table(10))
    end = await tablecast("push", str(path), "--to", node.url.replace("http:", "https:"))
    assert end.code == 1
    sentence(end, "TLS", "http://")


async def test_something_else_than_http_is_told_in_one_sentence(tmp_path: Path) -> None:
    async def chatter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await reader.read()
        writer.close()

    path = tmp_path / "a.tsv"
    path.write_bytes(table(10))
    async with await asyncio.start_server(chatter, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        end = await tablecast("push", str(path), "--to", f"http://127.0.0.1:{port}")
    assert end.code == 1
    sentence(end, f"http://127.0.0.1:{port}")


async def test_a_server_that_refuses_at_once_is_not_sent_the_rest(
    serve: StartServer, start: StartProgram
) -> None:
    async def handler(request: web.Request) -> web.Response:
        return _problem(413, "too_large", "This file is too large.", retry=False)

    program = await start("push", "-", "--to", f"{await serve(handler)}/t/{ROOM}")
    await program.write(b"id\n1\n")
    # The input stays open: nothing waits for its end.
    await program.line()
    async with asyncio.timeout(PATIENCE):
        assert await program.process.wait() == 1
    assert await program.note() == "tablecast: This file is too large."


# Ends


async def test_an_interrupted_push_leaves_the_table_that_was_there(
    node: Node, start: StartProgram
) -> None:
    await node.put(table(10))
    viewer = await node.join()
    program = await start("push", "-", "--to", f"{node.url}/t/{ROOM}")
    await program.write(table(20_000)[:400_000])
    await viewer.settles(lambda v: v.registers["document"]["complete"] is False)
    program.interrupt()
    async with asyncio.timeout(PATIENCE):
        assert await program.process.wait() == 130
    assert "Traceback" not in await program.note()
    await viewer.settles(lambda v: v.registers["document"]["complete"])
    assert await content(node, ROOM) == table(10)


async def test_a_silent_pipe_can_be_interrupted(node: Node, start: StartProgram) -> None:
    program = await start("push", "-", to=node.url)
    threads = Path(f"/proc/{program.process.pid}/task")
    async with asyncio.timeout(PATIENCE):
        while len(list(threads.iterdir())) < 2:  # one of them reads
            await asyncio.sleep(0.02)
    program.interrupt()
    async with asyncio.timeout(PATIENCE):
        assert await program.process.wait() == 130


@pytest.mark.parametrize("where", ["full", "closed"])
async def test_a_link_that_cannot_be_printed_is_told_on_stderr(
    node: Node, tmp_path: Path, where: str
) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(table(10))
    if where == "full":
        with open("/dev/full", "wb") as out:
            end = await tablecast("push", str(path), to=node.url, stdout=out)
    else:
        reading, writing = os.pipe()
        os.close(reading)
        end = await tablecast("push", str(path), to=node.url, stdout=writing)
        os.close(writing)
    assert end.code == 1
    assert f"{node.url}/t/" in end.errors
    assert end.errors.count("\n") == 1


def _problem(status: int, code: str, detail: str, *, retry: bool) -> web.Response:
    body = {"detail": detail, "code": code, "retry": retry}
    return web.Response(
        status=status, body=json.dumps(body).encode(), content_type="application/problem+json"
    )
