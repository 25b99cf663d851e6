"""The backend for an address of Redis, whichever servers that names."""

from __future__ import annotations

from server.fanout.bus import Timing
from server.fanout.cluster import ClusterBackend
from server.fanout.redis import RedisBackend
from server.redis_url import servers


def backend_for(
    url: str,
    node_id: str,
    *,
    prefix: str,
    room_life: float,
    timing: Timing,
    storage_limit: int = 0,
) -> RedisBackend | ClusterBackend:
    """The backend for any address that `redis_url` knows; `storage_limit` as `RedisBackend`'s."""
    known = servers(url)
    if known is not None and known.kind == "cluster":
        return ClusterBackend(
            known,
            node_id,
            prefix=prefix,
            room_life=room_life,
            timing=timing,
            storage_limit=storage_limit,
        )
    return RedisBackend(
        url,
        node_id,
        prefix=prefix,
        room_life=room_life,
        timing=timing,
        storage_limit=storage_limit,
    )
