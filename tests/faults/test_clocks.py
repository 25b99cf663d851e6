"""A node's own clock is wrong by hours, or jumps: what has a time on all nodes has Redis's."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.conftest import StartWorld
from tests.faults.test_uploads import DATA, Uploader, as_before, complete
from tests.faults.watcher import agree
from tests.faults.world import PATIENCE, World, WorldOfProcesses
from tests.nodes.harness import ROOT

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]

HOUR = 3600.0

# Python runs this before anything else. The clock is always as wrong as the file says.
WRONG_CLOCK = """
import time
from pathlib import Path

_right, _file = time.time, Path({file!r})

def _wrong():
    return _right() + float(_file.read_text() or 0)

time.time = _wrong
time.time_ns = lambda: int(_wrong() * 1e9)
"""


class WrongClock:
    """The wall clock of a process, set by hand."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "seconds"
        self._directory = directory / "clock"
        self._directory.mkdir()
        program = WRONG_CLOCK.format(file=str(self._file))
        (self._directory / "sitecustomize.py").write_text(program)
        self.be_wrong_by(0)

    def be_wrong_by(self, hours: float) -> None:
        self._file.write_text(str(hours * HOUR))

    @property
    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": f"{self._directory}:{ROOT}"}


@pytest.fixture
def clock(tmp_path: Path) -> WrongClock:
    clock = WrongClock(tmp_path)
    clock.be_wrong_by(3)
    program = "import time; print(time.time())"
    told = subprocess.run(
        [sys.executable, "-c", program], env=clock.environment, capture_output=True, check=True
    )
    assert abs(float(told.stdout) - time.time() - 3 * HOUR) < 60, "it is no wrong clock"
    clock.be_wrong_by(0)
    return clock


async def lease_is_right(world: World, uploader: Uploader) -> None:
    """Everyone is told a lease that ends soon, by Redis's clock."""
    seconds, _ = await world.redis_does("TIME")
    upload = (await world.ask("GET", ""))["set"]["upload"]
    assert upload["id"] == uploader.id
    assert 0 < upload["lease"] / 1000 - int(seconds) < 60


@pytest.mark.parametrize("hours", [-7, 7])
async def test_an_upload_begun_right_after_the_start_of_a_node_with_a_wrong_clock_has_a_right_lease(
    start_here: StartWorld, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    real = time.time
    monkeypatch.setattr("server.fanout.clock.time.time", lambda: real() + hours * HOUR)
    world = await start_here(nodes=1)
    monkeypatch.undo()
    uploader = Uploader(world.room)
    client = await uploader.connect(world.urls[0])
    await uploader.begin(client)
    await lease_is_right(world, uploader)
    await uploader.close()


@pytest.mark.slow
@pytest.mark.parametrize("hours", [-7, 7])
@pytest.mark.parametrize("when", ["from the start", "in the middle"])
async def test_an_upload_through_a_node_with_a_wrong_clock_is_like_any_other(
    start_processes: StartWorld, clock: WrongClock, hours: int, when: str
) -> None:
    """It is not given up by the others in the middle, nor held for hours after its node died."""
    if when == "from the start":
        clock.be_wrong_by(hours)
    world: WorldOfProcesses = await start_processes(
        settings={"TABLECAST_UPLOAD_LEASE": "2s", "TABLECAST_UPLOAD_PAUSE": "2s"},
        each=[clock.environment, {}],
    )
    await world.put(node=1)
    watchers = await world.watchers()
    await watchers[1].say("page", page_no=4)
    uploader = Uploader(world.room)
    client = await uploader.connect(world.urls[0])
    await uploader.begin(client)
    if when == "in the middle":
        clock.be_wrong_by(hours)
    for upto in range(100_000, len(DATA), 100_000):
        await uploader.send(client, upto - 100_000, upto)
        await lease_is_right(world, uploader)
        await asyncio.sleep(0.5)  # longer in all than the others wait for a silent node
    last = (len(DATA) - 1) // 100_000 * 100_000
    await uploader.send(client, last)
    await uploader.end(client)
    await agree(watchers, world.by("clock wrong"), complete)
    # And now one whose node dies: the others wait for its lease and no longer.
    await world.ask("PUT", "/page", node=1, json={"page_no": 2})
    again = Uploader(world.room)
    client = await again.connect(world.urls[0])
    await again.begin(client)
    world.nodes[0].kill()
    await watchers[1].waits(lambda w: w.registers.get("upload") is None, 2 * PATIENCE)
    assert complete(watchers[1])
    assert not as_before(watchers[1])
    await again.close()
    await uploader.close()


@pytest.mark.slow
async def test_nobody_notices_a_clock_that_jumps_back_and_forth(
    start_processes: StartWorld, clock: WrongClock
) -> None:
    world: WorldOfProcesses = await start_processes(each=[clock.environment, {}])
    await world.put()
    watchers = await world.watchers()
    for number, hours in enumerate((9, -9, 1000, 0)):
        clock.be_wrong_by(hours)
        await watchers[0].say("page", page_no=2 + number)
        await watchers[0].chats(f"{number}")
        await agree(
            watchers,
            world.by("clock wrong"),
            lambda w: (
                w.said[-1:] == [str(number)]  # noqa: B023
                and w.page_no == 2 + number  # noqa: B023
                and w.here == 2
            ),
        )
    times = [said["time"] / 1000 for said in watchers[1].chat]
    assert all(abs(at - time.time()) < 60 for at in times), "what is said has Redis's time"
    assert all(w.losses == 0 and True not in w.degradations for w in watchers)
