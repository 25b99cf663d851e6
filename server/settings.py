"""Every number and address that can be set, from the environment; nonsense is refused at start.

The field `document_limit` is the variable `TABLECAST_DOCUMENT_LIMIT`, and so on. docs/SETTINGS.md
lists all of them, and a test keeps that page and this module the same.
"""

from __future__ import annotations

import difflib
import re
import resource
import secrets
import socket
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, fields
from typing import Any, NamedTuple

from server import kinds, redis_url
from server.kinds import DAY, HOUR, MINUTE, GiB, KiB, MiB

PREFIX = "TABLECAST_"

Network = kinds.Network

# Beside its viewers a node has open files of its own: Redis, listening sockets, uploads, logs.
OPEN_FILES_BESIDE_VIEWERS = 1_000
# About 300 MB of buffers and sockets at 20 KB a viewer; beyond it another node serves better.
MOST_VIEWERS_PER_NODE = 15_000


class SettingsError(ValueError):
    """One sentence for whoever starts the node: the variable, its value, what is allowed."""


class Description(NamedTuple):
    """One setting as docs/SETTINGS.md tells it."""

    variable: str
    default: str
    allowed: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a node runs by. Sizes are bytes, times are seconds. Made wrong, raises `SettingsError`.

    Made without arguments it is the defaults. `node` is never empty and `viewers_per_node` never 0
    once made: what is left open is decided here, once.
    """

    # Where it listens, and where rooms are kept

    host: str = kinds.text(
        "127.0.0.1",
        "Address to listen on. The container sets `0.0.0.0`, all addresses.",
        pattern=r"[A-Za-z0-9.:_-]+",
        allowed="a host name or an address",
    )
    port: int = kinds.count(
        8080, "Port to listen on; 0 takes a free one and prints it.", low=0, high=65535
    )
    redis_url: str = kinds.setting(
        "",
        "Redis 7 or newer, or Valkey: one server, the primary that Sentinels know "
        "(`redis+sentinel://host:26379,host:26379/primary`), or a cluster "
        "(`redis+cluster://host:6379,host:6379`); `rediss…` with TLS. Empty: rooms are kept in "
        "this process's memory, for one node.",
        kinds.Kind(
            str,
            kinds.without_password,
            lambda _: True,
            "an address of Redis, as in `redis://host:6379/0`",
        ),
        secret=True,
    )
    redis_prefix: str = kinds.text(
        "tablecast:",
        "What the names of all keys and channels begin with, so that a Redis can be shared.",
        pattern=r"[A-Za-z0-9_:./-]{0,64}",
        allowed="up to 64 of A-Z a-z 0-9 _ : . / -",
    )
    node: str = kinds.text(
        "",
        "This node's name in `hello` and in the header `Tablecast-Node`, no other node's. "
        "Empty: the host's name and a random suffix.",
        pattern=r"[A-Za-z0-9._-]{0,64}",
        allowed="up to 64 of A-Z a-z 0-9 . _ -",
    )

    # Limits on documents

    document_limit: int = kinds.size(
        GiB, "Largest document, after decompression.", low=1, high=64 * GiB
    )
    chunk_limit: int = kinds.size(
        256 * KiB,
        "Largest binary message of an upload; a message is held in memory whole.",
        low=64,
        high=4 * MiB,
    )
    upload_window: int = kinds.size(
        MiB,
        "Bytes a browser may send beyond the last acknowledgement; at least one chunk.",
        low=64,
        high=64 * MiB,
    )
    record_limit: int = kinds.size(
        16 * MiB, "Largest record; a page is made of whole records.", low=64, high=256 * MiB
    )
    cell_limit: int = kinds.size(
        64 * KiB,
        "Beyond this a page shows a cell shortened; the whole of it can be asked for.",
        low=16,
        high=4 * MiB,
    )
    page_message_limit: int = kinds.size(
        4 * MiB, "Largest page message; at least one cell.", low=KiB, high=64 * MiB
    )
    column_limit: int = kinds.count(
        16_384, "Most columns of a document (as many as spreadsheets have).", low=1, high=1_000_000
    )
    page_size: int = kinds.count(100, "Rows on a page.", low=10, high=1_000)

    # How long and how much is kept

    room_life: float = kinds.time(
        7 * DAY,
        "How long a room is kept after its last change or viewer.",
        low=1,
        high=3_650 * DAY,
    )
    storage_limit: int = kinds.size(
        0,
        "Beyond this, files and rows are refused with `storage_full`, and all else goes on. With "
        "Redis: bytes that it holds (in a cluster, each primary); 0: as many as Redis takes. "
        "Without: bytes of documents and chats in this process's memory, of which chats may have a "
        "quarter more; 0: 2GiB.",
        low=0,
        high=1024 * GiB,
    )
    block_cache: int = kinds.size(
        64 * MiB, "Memory for decoded blocks of documents.", low=0, high=64 * GiB
    )
    page_cache: int = kinds.size(
        32 * MiB, "Memory for pages ready to be sent.", low=0, high=64 * GiB
    )
    index_cache: int = kinds.size(
        32 * MiB, "Memory for indexes (where in a document a row is).", low=0, high=64 * GiB
    )

    # Viewers

    viewers_per_node: int = kinds.count(
        0,
        "Most viewers on this node. 0: the lower of 15,000 and the limit on open files less 1,000.",
        low=0,
        high=1_000_000,
    )
    message_limit: int = kinds.size(
        64 * KiB,
        "Largest text message of a viewer; over twice this the connection is closed (1009).",
        low=256,
        high=16 * MiB,
    )
    page_turns_per_second: float = kinds.rate(
        30, "Page turns a viewer may make, with bursts of twice this.", low=0.1, high=10_000
    )
    rooms_per_second: float = kinds.rate(
        0.5,
        "Rooms that may be started from one address, with bursts of a minute's worth; what comes "
        "through `TABLECAST_TRUSTED_PROXIES` counts for the address behind them.",
        low=0.001,
        high=10_000,
    )
    connections_per_address: int = kinds.count(
        0,
        "Most viewers and running requests of one address, which may be that of a whole school. "
        "0: half of `TABLECAST_VIEWERS_PER_NODE`. Those of the machine itself do not count.",
        low=0,
        high=1_000_000,
    )
    uploads_per_second: float = kinds.rate(
        1,
        "Uploads that may be begun from one address, with bursts of a minute's worth.",
        low=0.001,
        high=10_000,
    )
    idle_timeout: float = kinds.time(
        30,
        "A connection that sends no whole request for this long is closed.",
        low=0.5,
        high=HOUR,
    )
    heartbeat: float = kinds.time(
        15,
        "How often a viewer is told the last revision; below the 60s after which proxies give up.",
        low=0.05,
        high=55,
    )
    stall_timeout: float = kinds.time(
        30, "A viewer who takes no bytes for this long is disconnected.", low=0.05, high=HOUR
    )
    linger: float = kinds.time(
        15, "How long a room is followed after its last viewer has left.", low=0, high=HOUR
    )
    upload_lease: float = kinds.time(
        30,
        "A node that is silent for this long has lost its uploads: they are paused, or given up if "
        "they cannot go on.",
        low=0.2,
        high=HOUR,
    )
    upload_pause: float = kinds.time(
        120,
        "An upload whose sender is gone waits this long for it to go on; then the previous "
        "document comes back. 0: it is given up at once.",
        low=0,
        high=10 * MINUTE,
    )
    audit_interval: float = kinds.time(
        5, "How often a node compares its rooms with Redis.", low=0.05, high=10 * MINUTE
    )
    drain_time: float = kinds.time(
        5, "After SIGTERM, connections are closed spread over this time.", low=0, high=10 * MINUTE
    )

    # Who may connect

    allowed_origins: tuple[str, ...] = kinds.origins(
        "Sites whose pages may connect, as in `https://a.example,https://b.example`; our own "
        "must be among them. Empty: those of the host that was asked.",
    )
    trusted_proxies: tuple[Network, ...] = kinds.networks(
        "Networks whose `X-Forwarded-*` headers are believed, as in `172.16.0.0/12,10.0.0.7`.",
    )
    embedders: tuple[str, ...] = kinds.origins(
        "Sites whose pages may show ours in a frame, as in `https://a.example`. Empty: none.",
    )

    # What it tells its operator

    log_level: str = kinds.choice(
        "info", "The least that is logged.", ("debug", "info", "warning", "error")
    )
    log_format: str = kinds.choice(
        "text", "How it is written: lines of `key=value`, or of JSON.", ("text", "json")
    )
    log_requests: bool = kinds.truth(
        False, "Whether each request is written down, with the template of its address."
    )
    traces_url: str = kinds.text(
        "",
        "Collector of OpenTelemetry (OTLP over HTTP) that is told traces, as in "
        "`http://collector:4318/v1/traces`. Empty: none is.",
        pattern=r"(https?://[^\s/]+\S*)?",
        allowed="an http:// or https:// URL",
    )
    metrics: bool = kinds.truth(True, "Whether `/metrics` answers (Prometheus).")

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """The settings that `environ` asks for, defaults for the rest.

        An empty variable is as good as none. A variable with our prefix that nothing reads is
        refused, because a limit that was misspelt would otherwise be believed to hold.
        """
        settable = {variable(setting.name): setting for setting in fields(cls)}
        values: dict[str, Any] = {}
        for name, text in environ.items():
            if not name.startswith(PREFIX):
                continue
            if name not in settable:
                near = difflib.get_close_matches(name, settable, n=1, cutoff=0.75)
                hint = f"did you mean {near[0]}?" if near else "docs/SETTINGS.md lists all."
                raise SettingsError(f"{name} is not a setting; {hint}")
            setting = settable[name]
            if not (text := text.strip()):
                continue
            kind = _kind(setting)
            try:
                value = kind.parse(text)
            except ValueError:
                raise _refusal(setting, text) from None
            if not kind.valid(value):
                raise _refusal(setting, text)
            values[setting.name] = value
        return cls(**values)

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            kind = _kind(setting)
            if not kind.valid(value):
                raise _refusal(setting, kind.show(value))
        self._check_redis_url()
        self._check_order("chunk_limit", "upload_window")
        self._check_order("cell_limit", "page_message_limit")
        if not self.node:
            name = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:59]
            object.__setattr__(self, "node", f"{name}-{secrets.token_hex(2)}")
        if not self.viewers_per_node:
            object.__setattr__(self, "viewers_per_node", _viewers_by_open_files())

    def _check_redis_url(self) -> None:
        try:
            if self.redis_url:
                redis_url.servers(self.redis_url)
        except redis_url.BadUrl as error:
            setting = next(each for each in fields(self) if each.name == "redis_url")
            refusal = _refusal(setting, self.redis_url)
            if "+" not in self.redis_url.partition("://")[0]:
                raise refusal from None
            raise SettingsError(f"{str(refusal)[:-1]}; this one {error}.") from None

    def _check_order(self, lower: str, upper: str) -> None:
        if getattr(self, lower) > getattr(self, upper):
            raise SettingsError(
                f"{variable(lower)} is {kinds.show_size(getattr(self, lower))}, but may be at most "
                f"{variable(upper)}, which is {kinds.show_size(getattr(self, upper))}."
            )


def variable(name: str) -> str:
    """The environment variable of the setting `name`."""
    return PREFIX + name.upper()


def describe() -> Iterator[Description]:
    """All settings in the order of their definition."""
    for setting in fields(Settings):
        kind = _kind(setting)
        default = kind.show(setting.default)
        yield Description(variable(setting.name), default, kind.allowed, setting.metadata["help"])


def _kind(setting: Field[Any]) -> kinds.Kind:
    kind: kinds.Kind = setting.metadata["kind"]
    return kind


def _refusal(setting: Field[Any], shown: str) -> SettingsError:
    if not setting.repr:
        shown = kinds.without_password(shown)
    return SettingsError(
        f"{variable(setting.name)} is {shown!r}, but must be {_kind(setting).allowed}."
    )


def _viewers_by_open_files() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST_VIEWERS_PER_NODE
    # A very low limit still lets a few people in rather than none.
    return min(MOST_VIEWERS_PER_NODE, max(soft - OPEN_FILES_BESIDE_VIEWERS, soft // 4, 1))
