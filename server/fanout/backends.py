"""The backend for an address of Redis, whichever servers that names."""

from __future__ import annotations

from typing import Unpack

from server.fanout import connect
from server.fanout.cluster import ClusterBackend
from server.fanout.redis import Options, RedisBackend
from server.redis_url import servers


def backend_for(
    url: str, node_id: str, **options: Unpack[Options]
) -> RedisBackend | ClusterBackend:
    """For any address that `redis_url` knows; made as `RedisBackend` is.

    Raises `redis_url.BadUrl` where its options can be of no use.
    """
    connect.try_out(url)
    known = servers(url)
    if known is not None and known.kind == "cluster":
        return ClusterBackend(known, node_id, **options)
    return RedisBackend(url, node_id, **options)
