"""The Lua scripts beside this module, as Redis is told to run them."""

from __future__ import annotations

import hashlib
import importlib.resources
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError


class Script:
    """A Lua script that is sent by its digest, and whole where Redis does not know it yet."""

    def __init__(self, file: str, shebang: bool, *, allow_oom: bool = True) -> None:
        """`shebang` False strips the first line, for servers that do not know it.

        `allow_oom` False: Redis refuses to run it beyond its limit of memory.
        """
        text = importlib.resources.files("server.fanout").joinpath(file).read_text("utf-8")
        first, _, rest = text.partition("\n")
        if not shebang:
            self.text = rest
        else:
            self.text = text if allow_oom else first.partition(" ")[0] + "\n" + rest
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, redis: Redis, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        try:
            return await redis.evalsha(self.sha, len(keys), *keys, *arguments)
        except NoScriptError:
            return await redis.eval(self.text, len(keys), *keys, *arguments)
