"""Redis with passwords, users and TLS: nodes come in with what is right, else say what is wrong.

A node that is not let in lives and is not ready, whatever keeps it out. Its log says why, without
the password. It serves as soon as it is let in.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import pytest
import redis

from server.redis_url import Address
from tests.cluster.locks import PASSWORD, SENTINELS_PASSWORD, Authority, Lock, shown
from tests.cluster.redis_cluster import RedisCluster
from tests.cluster.sentinels import SERVICE, Watched
from tests.cluster.test_cluster import rooms_of_all
from tests.cluster.turning import FAILOVER
from tests.fanout.conftest import need_redis_server
from tests.nodes.harness import POLL, Node, free_port
from tests.redis_server import RedisServer
from tests.room_client import RoomClient, table

pytestmark = [pytest.mark.processes, pytest.mark.slow, pytest.mark.timeout(120)]

WITHIN = 10.0  # seconds
WRONG = "wrong-4723"
USERS = "user-4724"
SECRETS = (PASSWORD, SENTINELS_PASSWORD, WRONG, USERS)
WRONG_PASSWORD = "invalid username-password pair"
NO_PASSWORD = "Authentication required"
UNKNOWN = "certificate verify failed"

# What a node may do, as docs/SETTINGS.md has it.
LEAST = "~tablecast:* &tablecast:* +@all -@admin -@dangerous +time +info +cluster|slots"
SETTINGS = Path(__file__).parents[2] / "docs" / "SETTINGS.md"

StartNode = Callable[[str], Node]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[StartNode]:
    """`node(url)`: one that is not started yet, ended after the test."""
    made: list[Node] = []

    def make(url: str) -> Node:
        settings = {"TABLECAST_LOG_LEVEL": "debug"}
        made.append(Node(f"node-{len(made) + 1}", tmp_path, redis_url=url, settings=settings))
        return made[-1]

    yield make
    for each in made:
        each.kill()
        assert shown(SECRETS, each.output()) == []


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that has signed nothing."""
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


async def serves(node: Node, *rooms: str) -> None:
    """It is ready, and viewers of each room see a table and the page that somebody turns to."""
    await node.wait_for(f"{node.url}/readyz", timeout=FAILOVER)
    for room in rooms or (str(uuid.uuid4()),):
        async with RoomClient(node.url, room) as one, RoomClient(node.url, room) as other:
            await one.upload("trips.tsv", table(500))
            await one.say("page", page_no=3)
            for viewer in (one, other):
                await viewer.shows(3)


async def stays_outside(node: Node, why: str) -> None:
    """Start it: it lives, is not ready, says why, and ends when it is asked to."""
    await node.start(ready=False)
    await node.wait_for(f"{node.url}/readyz", 503)
    await says(node, why)
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=WITHIN)) as session,
        session.get(f"{node.url}/api/rooms/{uuid.uuid4()}") as answer,
    ):
        assert answer.status == 503
        assert (await answer.json())["code"] == "unavailable"
    await node.wait_for(f"{node.url}/healthz")
    log = node.output()
    assert "Traceback" not in log
    assert "ERROR" not in log
    assert len(log.splitlines()) < 12, log
    assert await node.stop() == 0


async def says(node: Node, why: str) -> None:
    async with asyncio.timeout(WITHIN):
        while why not in node.output():
            await asyncio.sleep(POLL)


# One server


class Locked:
    """A server with a password, another user, and TLS."""

    def __init__(self, lock: Lock) -> None:
        self.lock = lock
        self.tls_port = free_port()
        user = f"on >{USERS} {LEAST}".split()
        reader = f"on >{USERS} ~other:* &* +@all".split()
        self.server = RedisServer(
            *("--user", "tables", *user),
            *("--user", "others", *reader),
            *lock.options(self.tls_port),
        )
        self.plain: Address = "127.0.0.1", self.server.port
        self.tls: Address = "127.0.0.1", self.tls_port

    def do(self, *command: str) -> None:
        with redis.Redis(port=self.server.port, password=PASSWORD, protocol=2) as client:
            client.execute_command(*command)


@pytest.fixture(scope="module")
def locked(authority: Authority) -> Iterator[Locked]:
    need_redis_server()
    locked = Locked(Lock(PASSWORD, authority))
    with locked.server:
        yield locked


@pytest.fixture(scope="module")
def certified(authority: Authority) -> Iterator[Locked]:
    """Clients are asked for a certificate, too."""
    need_redis_server()
    locked = Locked(Lock(PASSWORD, authority, certified=True))
    with locked.server:
        yield locked


@pytest.mark.parametrize("user", ["", "tables"])
@pytest.mark.parametrize("tls", [False, True])
async def test_a_node_comes_in_with_a_password_or_as_a_user_with_tls_and_without(
    locked: Locked, node: StartNode, user: str, tls: bool
) -> None:
    lock = locked.lock if tls else Lock(PASSWORD)
    password = USERS if user else PASSWORD
    address = locked.tls if tls else locked.plain
    started = node(lock.url("redis", address, path="/0", user=user, password=password))
    await started.start()
    await serves(started)
    assert "WARNING" not in started.output()


def test_what_a_user_of_redis_needs_is_told() -> None:
    assert f"`{LEAST}`" in SETTINGS.read_text("utf-8")


async def test_a_node_comes_in_with_its_certificate(certified: Locked, node: StartNode) -> None:
    started = node(certified.lock.url("redis", certified.tls))
    await started.start()
    await serves(started)


async def test_without_the_certificate_that_is_asked_for_it_stays_outside(
    certified: Locked, node: StartNode, authority: Authority
) -> None:
    url = Lock(PASSWORD, authority).url("redis", certified.tls)
    await stays_outside(node(url), "Redis cannot be used: ")


@pytest.mark.parametrize(
    ("password", "user", "why"),
    [
        (WRONG, "", WRONG_PASSWORD),
        ("", "", NO_PASSWORD),
        (WRONG, "tables", WRONG_PASSWORD),
        (WRONG, "nobody", WRONG_PASSWORD),
    ],
)
async def test_with_a_wrong_password_it_stays_outside(
    locked: Locked, node: StartNode, password: str, user: str, why: str
) -> None:
    url = locked.lock.url("redis", locked.tls, user=user, password=password)
    await stays_outside(node(url), why)


async def test_a_password_that_nobody_asks_for_is_told(
    node: StartNode, redis_server: RedisServer
) -> None:
    url = Lock(WRONG).url("redis", ("127.0.0.1", redis_server.port))
    await stays_outside(node(url), "without any password configured")


async def test_a_server_of_an_unknown_authority_is_not_believed(
    locked: Locked, node: StartNode, stranger: Authority
) -> None:
    url = locked.lock.url("redis", locked.tls, authority=stranger)
    await stays_outside(node(url), UNKNOWN)


async def test_a_server_under_another_name_than_its_certificate_says_is_not_believed(
    locked: Locked, node: StartNode
) -> None:
    url = locked.lock.url("redis", ("localhost", locked.tls_port))
    await stays_outside(node(url), UNKNOWN)


async def test_a_user_who_may_not_use_our_keys_is_told_and_the_node_is_not_ready(
    locked: Locked, node: StartNode
) -> None:
    url = locked.lock.url("redis", locked.tls, user="others", password=USERS)
    started = node(url)
    await started.start(ready=False)
    await started.wait_for(f"{started.url}/readyz", 503)
    await says(started, "no permissions")
    locked.do("ACL", "SETUSER", "others", "~tablecast:*")
    try:
        await serves(started)
    finally:
        locked.do("ACL", "SETUSER", "others", "resetkeys", "~other:*")


async def test_a_password_that_is_changed_shuts_nodes_out_until_it_is_changed_back(
    locked: Locked, node: StartNode
) -> None:
    started = node(locked.lock.url("redis", locked.tls))
    await started.start()
    async with RoomClient(started.url, str(uuid.uuid4())) as viewer:
        await viewer.upload("trips.tsv", table(500))
        locked.do("ACL", "SETUSER", "default", "resetpass", f">{WRONG}")
        with redis.Redis(port=locked.server.port, password=WRONG, protocol=2) as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            client.execute_command("CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "yes")
            await viewer.settles(lambda v: v.degraded, WITHIN)
            await says(started, f"Lost Redis: {WRONG_PASSWORD}")
            client.execute_command("ACL", "SETUSER", "default", "resetpass", f">{PASSWORD}")
        await viewer.settles(lambda v: not v.degraded, WITHIN)
        await viewer.say("page", page_no=2)
        await viewer.shows(2)
    await serves(started)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"nonsense": "1"}, "nonsense"),
        ({"socket_read_size": "many"}, "socket_read_size"),
        ({"ssl_ca_certs": "/nowhere/authority.crt"}, "/nowhere/authority.crt"),
        ({"ssl_cert_reqs": "perhaps"}, "perhaps"),
    ],
)
@pytest.mark.parametrize("kind", ["redis", "redis+cluster", "redis+sentinel"])
async def test_options_that_can_be_of_no_use_are_refused_before_anybody_comes(
    node: StartNode, kind: str, options: dict[str, str], why: str
) -> None:
    path = "/primary" if kind == "redis+sentinel" else ""
    url = Lock(PASSWORD).url(kind, ("127.0.0.1", 1), path=path, **options)
    started = node(url.replace("redis", "rediss", 1) if "ssl_" in url else url)
    started.spawn([sys.executable, "-m", "server"], started.environment)
    assert await started.ended() == 2
    [line] = started.output().splitlines()
    assert line.startswith("tablecast: TABLECAST_REDIS_URL ")
    assert why in line


# A cluster


@pytest.fixture(scope="module")
def cluster(authority: Authority) -> Iterator[RedisCluster]:
    need_redis_server()
    with RedisCluster(replicas=0, lock=Lock(PASSWORD, authority)) as cluster:
        yield cluster


@pytest.mark.parametrize("user", ["", "tables"])
@pytest.mark.parametrize("tls", [False, True])
async def test_a_node_comes_into_a_cluster_with_one_password_for_all_its_servers(
    cluster: RedisCluster, node: StartNode, authority: Authority, tls: bool, user: str
) -> None:
    first = cluster.primaries[0]
    if user:
        for member in cluster.primaries:
            member.do("ACL", "SETUSER", user, "on", f">{USERS}", *LEAST.split())
    lock = Lock(USERS if user else PASSWORD, authority if tls else None)
    address = ("127.0.0.1", first.tls_port) if tls else first.address
    started = node(lock.url("redis+cluster", address, user=user))
    await started.start()
    await serves(started, *rooms_of_all(cluster, "tablecast:"))
    assert "WARNING" not in started.output()


async def test_a_node_with_a_wrong_password_stays_outside_a_cluster(
    cluster: RedisCluster, node: StartNode
) -> None:
    addresses = [member.address for member in cluster.primaries]
    started = node(Lock(WRONG).url("redis+cluster", *addresses))
    await stays_outside(started, WRONG_PASSWORD)
    assert "No server of the cluster says who has which slot: " in started.output()


async def test_a_cluster_of_an_unknown_authority_is_not_believed(
    cluster: RedisCluster, node: StartNode, stranger: Authority
) -> None:
    addresses = [("127.0.0.1", member.tls_port) for member in cluster.primaries]
    url = Lock(PASSWORD, stranger).url("redis+cluster", *addresses)
    await stays_outside(node(url), UNKNOWN)


async def test_one_server_is_told_to_be_no_cluster(
    node: StartNode, redis_server: RedisServer
) -> None:
    started = node(Lock().url("redis+cluster", ("127.0.0.1", redis_server.port)))
    await started.start(ready=False)
    await says(started, "cluster support disabled")


# Sentinels


class Guarded(Watched):
    """Servers with a password, and a Sentinel with another one."""

    def url_with(self, **other: str) -> str:
        """The address for nodes, or with another password one that must not do."""
        words = {"password": self.lock.password, "sentinels": self.sentinels.password} | other
        options = {"sentinel_password": words["sentinels"]} if words["sentinels"] else {}
        port = self.tls_port if self.lock.authority else self.port
        return self.lock.url(
            "redis+sentinel",
            *(("127.0.0.1", free_port()), ("127.0.0.1", port)),
            path=f"/{SERVICE}",
            password=words["password"],
            **options,
        )


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    need_redis_server()
    directory = tmp_path_factory.mktemp("guarded")
    with Guarded(directory, lock=Lock(PASSWORD), sentinels=Lock(SENTINELS_PASSWORD)) as guarded:
        yield guarded


@pytest.mark.parametrize("tls", [False, True])
async def test_a_node_follows_sentinels_with_their_password_and_that_of_the_servers(
    tmp_path: Path, node: StartNode, authority: Authority, tls: bool
) -> None:
    need_redis_server()
    lock = Lock(PASSWORD, authority if tls else None)
    with Guarded(tmp_path, lock=lock, sentinels=Lock(SENTINELS_PASSWORD)) as guarded:
        started = node(guarded.url_with())
        await started.start()
        room = str(uuid.uuid4())
        await serves(started, room)
        before = guarded.primary
        async with RoomClient(started.url, room) as viewer:
            await viewer.settles(lambda v: v.registers.get("page") is not None)
            before.kill()
            await viewer.settles(lambda v: v.degraded, FAILOVER)
            await viewer.settles(lambda v: not v.degraded, 2 * FAILOVER)
            await viewer.say("page", page_no=2)
            await viewer.shows(2)
        assert guarded.primary is not before


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"password": WRONG}, f"Redis cannot be used: {WRONG_PASSWORD}"),
        ({"password": ""}, f"Redis cannot be used: {NO_PASSWORD}"),
        ({"sentinels": WRONG}, "No Sentinel tells the primary: "),
        ({"sentinels": WRONG}, WRONG_PASSWORD),
        ({"sentinels": ""}, NO_PASSWORD),
    ],
)
async def test_with_either_password_wrong_it_stays_outside(
    guarded: Guarded, node: StartNode, other: dict[str, str], why: str
) -> None:
    await stays_outside(node(guarded.url_with(**other)), why)


async def test_a_primary_that_sentinels_do_not_know_is_told(
    guarded: Guarded, node: StartNode
) -> None:
    url = guarded.url_with().replace(f"/{SERVICE}", "/another")
    await stays_outside(node(url), "knows no another")
