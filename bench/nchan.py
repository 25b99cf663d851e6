"""A peer that is not naive: nchan, which fans out in C inside Nginx.

It has no tables, no Redis and no state: whoever turns the page sends the page, and nchan passes
it on to 1,000 WebSockets, deflated once as ours is. So the figure is what delivering alone costs.
"""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.crowds import peers, play, send
from bench.load import Cost, Order
from bench.naive import PAGE_SIZE, read
from bench.processes import START_WITHIN, STOP_WITHIN, Server
from bench.report import Figure, at_most, median, note
from bench.scale import Scale
from tests.nodes.harness import free_port

MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")  # Debian's libnginx-mod-nchan
CONFIGURATION = """
load_module {module};
daemon off;
pid nginx.pid;
error_log stderr warn;
worker_processes 1;
worker_rlimit_nofile 20000;
{user}
events {{ worker_connections 8192; multi_accept on; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    tcp_nodelay on;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location /ws/ {{
            nchan_pubsub websocket;
            nchan_channel_id $uri;
            nchan_message_buffer_length 1;
            nchan_deflate_message_for_websocket on;
        }}
        location /health {{ return 200 ok; }}
    }}
}}
"""


def measure(scale: Scale) -> Iterator[Figure]:
    if not MODULE.exists():
        raise SystemExit(f"{MODULE} is missing; `apt-get install libnginx-mod-nchan` installs it")
    room = str(uuid.uuid4())
    found: dict[str, list[Cost]] = {"ours": [], "nchan": []}
    with peers() as both:
        pages = Path(both.file).with_suffix(".pages")
        pages.write_bytes(b"\n".join(_pages(both.file)))
        for number in range(scale.rounds):
            note(f"nchan: {scale.viewers:,} viewers, round {number + 1} of {scale.rounds}")
            with _nchan() as server:
                order = Order(
                    doors=[(server.port, f"/ws/{room}")],
                    pid=server.pid,
                    viewers=scale.viewers,
                    turns=scale.turns,
                    pages=str(pages),
                )
                found["nchan"].append(send("stay", order))
            with both.ours(room) as server:
                cost = play("stay", server, [room], viewers=scale.viewers, turns=scale.turns)
                found["ours"].append(cost)
    cpu = {side: [each for cost in costs for each in cost.cpu] for side, costs in found.items()}
    last = {side: [each for cost in costs for each in cost.last] for side, costs in found.items()}
    yield at_most(
        "peer nchan: CPU a delivered page",
        1e6 * median(cpu["ours"]),
        1e6 * median(cpu["nchan"]),
        "{:.1f} us",
    )
    yield at_most(
        f"peer nchan: last of {scale.viewers:,} viewers",
        1e3 * median(last["ours"]),
        1e3 * median(last["nchan"]),
        "{:.1f} ms",
    )


def _pages(file: str) -> Iterator[bytes]:
    """Each page as the other peers make it."""
    header, *rows = read(file)
    for first in range(0, len(rows), PAGE_SIZE):
        page = {
            "type": "page",
            "page_no": first // PAGE_SIZE + 1,
            "page_size": PAGE_SIZE,
            "total_number": len(rows),
            "first_row": first + 1,
            "header": header,
            "data": rows[first : first + PAGE_SIZE],
        }
        yield json.dumps(page).encode()


@contextmanager
def _nchan() -> Iterator[Server]:
    """An Nginx with one worker, which is the process that is told."""
    with TemporaryDirectory(prefix="tablecast-bench-") as directory:
        port = free_port()
        user = "user root;" if Path("/proc/self").owner() == "root" else ""
        Path(directory, "nginx.conf").write_text(
            CONFIGURATION.format(module=MODULE, port=port, user=user)
        )
        command = ["/usr/sbin/nginx", "-e", "stderr", "-p", directory, "-c", "nginx.conf"]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            _wait_for(f"http://127.0.0.1:{port}/health")
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            yield Server(int(children.read_text().split()[0]), port)
        finally:
            process.terminate()
            process.wait(STOP_WITHIN)


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + START_WITHIN
    while True:
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except (urllib.error.URLError, TimeoutError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
