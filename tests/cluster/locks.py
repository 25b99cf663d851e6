"""What keeps strangers out of a Redis: passwords, and TLS from an authority of the tests' own.

lock = Lock(password="…", authority=Authority(directory))
with RedisServer(*lock.options(tls_port)) as server:
    lock.url("redis", ("127.0.0.1", tls_port))
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

from server.redis_url import Address
from tests.nodes.harness import require

# As people make them: with what has a meaning in an address.
PASSWORD: Final = "data/4721:@?#&%+ ü"
SENTINELS_PASSWORD: Final = "watch/4722:@?#&%+ ü"
_KEY: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_DAYS: Final = ("-days", "2")


class Authority:
    """Signs certificates of servers at 127.0.0.1; `certificate` is what trusts them."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self._openssl = require("openssl")
        self._directory = directory
        self.name = name
        self.certificate, self._key = self._files(name)
        self._run(
            *("req", "-x509", *_KEY, *_DAYS, "-subj", f"/CN={name}"),
            *("-addext", "basicConstraints=critical,CA:TRUE"),
            *("-addext", "keyUsage=critical,keyCertSign"),
            *("-keyout", str(self._key), "-out", str(self.certificate)),
        )

    def sign(self, name: str) -> tuple[Path, Path]:
        """A certificate and its key."""
        certificate, key = self._files(f"{self.name}-{name}")
        if certificate.exists():
            return certificate, key
        request, extensions = key.with_suffix(".csr"), key.with_suffix(".ext")
        extensions.write_text("subjectAltName=IP:127.0.0.1\n")
        self._run("req", *_KEY, "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(request))
        self._run(
            *("x509", "-req", *_DAYS, "-in", str(request), "-out", str(certificate)),
            *("-CA", str(self.certificate), "-CAkey", str(self._key), "-CAcreateserial"),
            *("-extfile", str(extensions)),
        )
        return certificate, key

    def _files(self, name: str) -> tuple[Path, Path]:
        return self._directory / f"{name}.crt", self._directory / f"{name}.key"

    def _run(self, *arguments: str) -> None:
        subprocess.run([self._openssl, *arguments], check=True, capture_output=True, timeout=30)


@dataclass(frozen=True)
class Lock:
    """A password ("" for none) and an authority (None for no TLS) of a server, or of Sentinels.

    `certified`: clients must have a certificate of the same authority.
    """

    password: str = ""
    authority: Authority | None = None
    certified: bool = False

    def options(self, tls_port: int) -> list[str]:
        """For the command line of a redis-server, which is asked without TLS at its `port` too."""
        options: list[str] = []
        if self.password:
            options += ["--requirepass", self.password, "--masterauth", self.password]
        if self.authority is not None:
            for name, value in self.tls(tls_port).items():
                options += [f"--{name}", value]
        return options

    def tls(self, port: int) -> dict[str, str]:
        """The settings of a server, its links to others with TLS too."""
        assert self.authority is not None
        certificate, key = self.authority.sign("server")
        return {
            "tls-port": str(port),
            "tls-cert-file": str(certificate),
            "tls-key-file": str(key),
            "tls-ca-cert-file": str(self.authority.certificate),
            "tls-auth-clients": "yes" if self.certified else "no",
            "tls-replication": "yes",
        }

    def url(
        self,
        kind: str,
        *servers: Address,
        path: str = "",
        user: str = "",
        password: str | None = None,
        authority: Authority | None = None,
        **options: str,
    ) -> str:
        """The address for nodes (`kind`: redis, redis+cluster or redis+sentinel).

        With another password or authority it is one that must not do.
        """
        authority = authority or self.authority
        if authority is not None:
            kind = kind.replace("redis", "rediss", 1)
            options["ssl_ca_certs"] = str(authority.certificate)
            if self.certified:
                certificate, key = authority.sign("client")
                options |= {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)}
        word = quote(self.password if password is None else password, safe="")
        login = f"{user}:{word}@" if user or word else ""
        hosts = ",".join(f"{host}:{port}" for host, port in servers)
        return f"{kind}://{login}{hosts}{path}{'?' * bool(options)}{urlencode(options)}"


def shown(texts: Sequence[str], log: str) -> list[str]:
    """Which of the secrets are in the log, as they are or as they are written in an address."""
    return [text for text in texts if text in log or quote(text, safe="") in log]
