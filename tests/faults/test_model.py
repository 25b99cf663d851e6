"""Random lives of a room on several nodes, with faults: all agree with a model when it is quiet.

The model is what was acknowledged: the table and the page that the last answers told, and each
message that everyone has seen once. What was said since may have been refused, or lost on its way.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from server.fanout.memory import MemoryBackend, MemoryStore
from tests.accept.client import Node
from tests.faults.copies import Copy
from tests.faults.proxy import FaultProxy, Kind
from tests.faults.watcher import Shown, Watcher, agree
from tests.faults.world import PATIENCE, World, WorldHere
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.processes, pytest.mark.timeout(900)]

MOST_VIEWERS = 6
PAGE = 100  # rows

T = TypeVar("T")


class WorldOfMemory(World):
    """Nodes that share the memory of the test; there is no connection to harm."""

    def __init__(self, redis: RedisServer, nodes: int) -> None:
        super().__init__(redis)
        self._count = nodes

    async def _start(self, ending: AsyncExitStack) -> None:
        store = MemoryStore()
        for number in range(self._count):
            backend = MemoryBackend(f"node-{number}", store=store)
            node = await ending.enter_async_context(Node(backend, {}))
            self.urls.append(node.url)

    def by(self, fault: str) -> float:
        return PATIENCE

    async def truth(self) -> Shown:
        return {}  # there is no other way to the store than that of the nodes


@dataclass
class Model:
    """What everyone must see."""

    name: str = ""
    rows: int = 0
    version: int = 0
    page_no: int = 0
    said: dict[str, str] = field(default_factory=dict)  # id -> body, all that was ever sent
    certain: list[str] = field(default_factory=list)  # ids, in the order they were acknowledged

    @property
    def pages(self) -> int:
        return max(1, -(-self.rows // PAGE))

    def copy(self) -> Model:
        return Model(
            self.name, self.rows, self.version, self.page_no, dict(self.said), list(self.certain)
        )


class Meeting(RuleBasedStateMachine):
    """One room; the world is shared by all runs, each of which has a room of its own."""

    world: ClassVar[World]
    run: ClassVar[Callable[[Coroutine[Any, Any, Any]], Any]]

    def __init__(self) -> None:
        super().__init__()
        self.world.room = str(uuid.uuid4())
        self.model = Model()
        self.viewers: list[Watcher] = []
        self.copy: tuple[Copy, Model] | None = None
        self.nodes = range(len(self.world.urls))
        self.pending: dict[str, tuple[Watcher, int]] = {}  # id -> speaker, and its losses then

    @initialize()
    def somebody_comes(self) -> None:
        self.do(self.join(0))

    def teardown(self) -> None:
        try:
            self.do(self.quiet())
        finally:
            for viewer in self.viewers:
                self.do(viewer.__aexit__())
            for proxy in self.world.proxies:
                proxy.heal()

    @staticmethod
    def do(job: Coroutine[Any, Any, T]) -> T:
        result: T = Meeting.run(job)
        return result

    # What people do

    @precondition(lambda self: len(self.viewers) < MOST_VIEWERS)
    @rule(node=st.integers(0, 2))
    def comes(self, node: int) -> None:
        self.do(self.join(node % len(self.nodes)))

    @precondition(lambda self: len(self.viewers) > 1)
    @rule(who=st.integers(0, MOST_VIEWERS))
    def leaves(self, who: int) -> None:
        viewer = self.viewers.pop(who % len(self.viewers))
        self.do(viewer.__aexit__())

    @rule(node=st.integers(0, 2), rows=st.integers(1, 650))
    def sends_a_file(self, node: int, rows: int) -> None:
        document = self.do(self.world.put(rows, name=f"t{rows}", node=node % len(self.nodes)))
        version = self.model.version + 1
        assert (document["version"], document["rows"]) == (version, rows)
        self.model.name, self.model.rows, self.model.version = f"t{rows} 1", rows, version
        self.model.page_no = 1

    @precondition(lambda self: self.model.version > 0)
    @rule(node=st.integers(0, 2), page=st.integers(0, 9))
    def turns_the_page(self, node: int, page: int) -> None:
        self.do(self.turn(node % len(self.nodes), 1 + page % self.model.pages))

    @precondition(lambda self: self.model.pages > 1)
    @rule(pages=st.lists(st.integers(0, 9), min_size=2, max_size=4))
    def several_turn_it_at_once(self, pages: list[int]) -> None:
        async def all_of_them() -> None:
            told = await asyncio.gather(
                *(
                    self.put_page(number % len(self.nodes), 1 + page % self.model.pages)
                    for number, page in enumerate(pages)
                )
            )
            self.model.page_no = max(told, key=lambda answer: answer["rev"])["page_no"]

        self.do(all_of_them())

    @rule(who=st.integers(0, MOST_VIEWERS), count=st.integers(1, 3))
    def says_something(self, who: int, count: int) -> None:
        viewer = self.viewers[who % len(self.viewers)]

        async def say() -> None:
            for _ in range(count):
                if viewer.connected:
                    body = f"message {len(self.model.said)}"
                    id = str(uuid.uuid4())
                    self.model.said[id] = body
                    self.pending[id] = viewer, viewer.losses
                    try:
                        await viewer.say("chat", id=id, body=body)
                    except (ConnectionError, RuntimeError):
                        return

        self.do(say())

    @rule(who=st.integers(0, MOST_VIEWERS))
    def loses_its_network(self, who: int) -> None:
        viewer = self.viewers[who % len(self.viewers)]
        if viewer.connected:
            viewer.vanish()

    # What happens to the nodes

    @precondition(lambda self: self.world.proxies)
    @rule(
        node=st.integers(0, 2),
        fault=st.sampled_from(["lose", "duplicate", "hold", "release", "backwards"]),
    )
    def a_message_is_harmed(self, node: int, fault: str) -> None:
        proxy = self.proxy(node)
        match fault:
            case "lose":
                proxy.lose()
            case "duplicate":
                proxy.duplicate()
            case "hold":
                proxy.hold()
            case "release":
                proxy.release()
            case "backwards":
                proxy.release(backwards=True)

    @precondition(lambda self: self.world.proxies)
    @rule(node=st.integers(0, 2), kind=st.sampled_from([*Kind]), reset=st.booleans())
    def a_connection_breaks(self, node: int, kind: Kind, reset: bool) -> None:
        proxy = self.proxy(node)
        (proxy.reset if reset else proxy.cut)(kind)

    @precondition(lambda self: self.world.proxies)
    @rule()
    def redis_is_copied(self) -> None:
        self.do(self.quiet())
        self.copy = self.do(Copy.of(self.world.raw, self.world.key)), self.model.copy()

    @precondition(lambda self: self.copy is not None)
    @rule()
    def redis_goes_back_to_the_copy(self) -> None:
        self.do(self.quiet())
        assert self.copy is not None
        copy, self.model = self.copy
        self.copy = None
        self.do(copy.restore())
        self.do(
            agree(
                self.viewers,
                PATIENCE,
                lambda w: (
                    [said["id"] for said in w.chat] == self.model.certain and self.is_right(w)
                ),
            )
        )

    # What must be so

    @rule()
    def all_becomes_quiet(self) -> None:
        self.do(self.quiet())

    @invariant()
    def nobody_is_refused_but_for_haste(self) -> None:
        codes = {error["code"] for viewer in self.viewers for error in viewer.errors}
        assert codes <= {"rate_limited", "unavailable"}

    async def quiet(self) -> None:
        """No fault is in force; everyone sees what the model says."""
        for proxy in self.world.proxies:
            proxy.heal()
        model = self.model
        await agree(self.viewers, PATIENCE, self.is_right)
        chat = [said["id"] for said in self.viewers[0].chat]
        bodies = [said["body"] for said in self.viewers[0].chat]
        assert bodies == [model.said[id] for id in chat], "only what was said, as it was said"
        assert [id for id in chat if id in set(model.certain)] == model.certain
        # What everyone has seen once is certain from now on.
        model.certain = chat
        self.pending.clear()

    def is_right(self, viewer: Watcher) -> bool:
        model = self.model
        document = viewer.registers.get("document")
        if viewer.here != len(self.viewers) or not self.is_answered(viewer):
            return False
        if document is None:
            return model.version == 0
        return (document["version"], document["rows"], document["complete"]) == (
            model.version,
            model.rows,
            True,
        ) and (viewer.page_no, viewer.header[1]) == (model.page_no, model.name)

    def is_answered(self, viewer: Watcher) -> bool:
        """It sees all that was seen before; and what it said it sees, or heard why not.

        Unless its connection broke meanwhile.
        """
        seen = {said["id"] for said in viewer.chat}
        heard = seen | {error.get("id") for error in viewer.errors}
        mine = [
            id
            for id, (speaker, losses) in self.pending.items()
            if speaker is viewer and speaker.losses == losses
        ]
        return seen >= set(self.model.certain) and heard >= set(mine)

    # Internal

    def proxy(self, node: int) -> FaultProxy:
        return self.world.proxies[node % len(self.nodes)]

    async def join(self, node: int) -> None:
        viewer = Watcher(self.world.urls[node], self.world.room, self.world.truth)
        self.viewers.append(await viewer.__aenter__())
        await viewer.waits(lambda w: w.connected, PATIENCE)

    async def turn(self, node: int, page_no: int) -> None:
        self.model.page_no = (await self.put_page(node, page_no))["page_no"]

    async def put_page(self, node: int, page_no: int) -> dict[str, Any]:
        answer = await self.world.ask("PUT", "/page", node=node, json={"page_no": page_no})
        assert answer["page_no"] == page_no
        return dict(answer)


@contextmanager
def living(world: World) -> Iterator[None]:
    """The world of all runs, with a loop of its own that runs while something is done."""
    with asyncio.Runner() as runner:
        Meeting.world = world
        Meeting.run = runner.run
        runner.run(world.__aenter__())
        try:
            yield
        finally:
            runner.run(world.__aexit__())


def profile(examples: int, steps: int, *, quick: bool) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=quick,
        database=None,
        phases=[Phase.generate] if quick else [Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


@pytest.mark.parametrize(
    ("nodes", "examples", "steps"),
    [(2, 8, 20), pytest.param(3, 60, 40, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("backend", ["memory", "redis"])
def test_whatever_people_do_and_whatever_breaks_all_agree_with_the_model(
    harmed_redis: RedisServer, backend: str, nodes: int, examples: int, steps: int
) -> None:
    random.seed(0)
    world: World = WorldHere(harmed_redis, nodes=nodes)
    if backend == "memory":
        world = WorldOfMemory(harmed_redis, nodes)
    with living(world):
        run_state_machine_as_test(Meeting, settings=profile(examples, steps, quick=examples == 8))
