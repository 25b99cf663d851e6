"""The server's doors as the commands use them; every mishap becomes a `Failure` with a sentence."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple, Self, TypeVar
from urllib.parse import urljoin

import aiohttp
import msgspec

from server.command.console import Console, amount, reason
from server.command.failures import Failure, Refusal, Unreachable
from server.command.link import Link

# Seconds to connect, for the answer to a small question, for the server to take more bytes, and
# from the last byte to the answer (the server stores what it still has).
CONNECT: Final = 10.0
ANSWER: Final = 30.0
STALL: Final = 90.0
FINISH: Final = 300.0
# Bytes of an answer that are read: a document's register and a page of headers are far below.
ANSWER_LIMIT: Final = 16 * 1024 * 1024
# Seconds in all that are waited between tries of what may work later.
PATIENCE: Final = 15.0
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 4.0

# What a table is read by where a server does not say.
_MARKS: Final = (("quote", '"'), ("escape", ""))

T = TypeVar("T")
Body = AsyncIterator[bytes]


class Table(NamedTuple):
    """What is to be known of a room's table. `quote` and `escape` are one byte each, or none."""

    rows: int
    quote: bytes
    escape: bytes


class Added(NamedTuple):
    """Rows that were added. `ragged` of them have another number of cells than the table has
    `columns`, the first of them `ragged_columns`."""

    rows: int
    ragged: int = 0
    ragged_columns: int = 0
    columns: int = 0

    def and_then(self, more: Added) -> Added:
        """Both of them."""
        first = self if self.ragged else more
        return first._replace(rows=self.rows + more.rows, ragged=self.ragged + more.ragged)


class Client:
    """One server. A context manager."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._session = aiohttp.ClientSession(
            # A connection that the server closes between two requests would look like a lost one.
            connector=aiohttp.TCPConnector(force_close=True),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT),
            headers={"Accept": "application/json", "User-Agent": "tablecast"},
            trust_env=True,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def new_room(self) -> Link:
        """A room with its owner's key."""
        answer = await self._ask("POST", "/api/rooms")
        room = answer.get("uuid")
        if not isinstance(room, str):
            raise self._stranger("its answer names no room")
        # The address by which we came here is one that works; a server behind a proxy may not
        # know it.
        key = answer.get("key")
        return Link(self._link.server, room, key if isinstance(key, str) else "")

    async def table(self, link: Link) -> Table | None:
        """What the room shows now. Raises `Refusal` while a file arrives there."""
        registers = (await self._ask("GET", f"/api/rooms/{link.room}")).get("set")
        if not isinstance(registers, dict):
            raise self._stranger("its answer is not about a room")
        if registers.get("upload") is not None:
            raise Refusal(
                "Another file is arriving in this room.", code="upload_in_progress", retry=True
            )
        document = registers.get("document")
        return None if document is None else self._table(document)

    async def put(
        self,
        link: Link,
        name: str | None,
        body: Body,
        size: int | None,
        *,
        replace: bool = False,
    ) -> Table:
        """Upload a document. `size` in bytes lets everyone see how far it is.

        `replace` gives up another upload that runs in the room.
        """
        params = {} if name is None else {"name": name}
        if replace:
            params["replace"] = "true"
        return self._table(
            await self._ask(
                "PUT",
                f"/api/rooms/{link.room}/document",
                headers=link.headers,
                params=params,
                body=body,
                size=size,
            )
        )

    async def append(self, link: Link, body: Body) -> Added:
        """Append rows; how many there were."""
        path = f"/api/rooms/{link.room}/document/rows"
        answer = await self._ask("POST", path, headers=link.headers, body=body)
        document = answer.get("document")
        columns = document.get("columns") if isinstance(document, dict) else None
        counts = answer.get("ragged", 0), answer.get("ragged_columns", 0), columns or 0
        return Added(self._count(answer.get("rows_added")), *map(self._count, counts))

    # Internal

    def _table(self, document: Any) -> Table:
        fields = document if isinstance(document, dict) else {}
        dialect = fields.get("dialect")
        marks = dialect if isinstance(dialect, dict) else {}
        quote, escape = (str(marks.get(name, default)) for name, default in _MARKS)
        return Table(self._count(fields.get("rows")), quote.encode(), escape.encode())

    def _count(self, count: Any) -> int:
        if not isinstance(count, int):
            raise self._stranger("its answer does not count the rows")
        return count

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: dict[str, str] | None = None,
        body: Body | None = None,
        size: int | None = None,
    ) -> dict[str, Any]:
        headers = dict(headers or {})
        sending: _Sending | None = None
        try:
            async with asyncio.timeout(ANSWER) as deadline:
                if body is not None:
                    sending = _Sending(body, deadline)
                    headers["Content-Type"] = "application/octet-stream"
                    if size is not None:
                        headers["Content-Length"] = str(size)
                response = await self._session.request(
                    method,
                    self._link.server + path,
                    params=params,
                    headers=headers,
                    data=sending,
                    allow_redirects=False,
                )
                try:
                    answer = await _read(response)
                finally:
                    # Closed, not released: that would first send all of a body that was refused.
                    response.close()
        except (OSError, aiohttp.ClientError, ValueError) as error:
            if sending is not None and sending.failure is not None:
                raise sending.failure from None
            raise self._failure(error, lost=sending is not None and sending.begun) from None
        return self._judge(response, answer)

    def _judge(self, response: aiohttp.ClientResponse, answer: bytes) -> dict[str, Any]:
        """The answer's object. Raises `Refusal`, or `Failure` for no answer of a Tablecast."""
        status, kind = response.status, response.content_type
        if 300 <= status < 400:
            to = urljoin(str(response.url), response.headers.get("Location", ""))
            raise Failure(f"{self._link.shown} has moved: it leads to {to}. Give that one instead.")
        fields: Any = None
        if kind in ("application/json", "application/problem+json"):
            try:
                fields = msgspec.json.decode(answer)
            except msgspec.DecodeError:
                raise self._stranger("its answer is not JSON") from None
        after = _seconds(response.headers.get("Retry-After"))
        if kind == "application/problem+json" and isinstance(fields, dict):
            raise Refusal(
                str(fields.get("detail") or f"The server refused this ({status})."),
                code=str(fields.get("code")),
                retry=fields.get("retry") is True,
                after=after,
                rows_added=fields.get("rows_added"),
            )
        if status < 300 and isinstance(fields, dict):
            return fields
        if status in (401, 407):
            raise Failure(
                f"{self._link.shown} asks for a name and a password. Write them into the address: "
                "https://name:password@host/..."
            )
        if status == 413:
            raise Failure(f"A proxy before {self._link.shown} takes no file this large (413).")
        if status >= 500:
            raise Refusal(
                f"{self._link.shown}, or a proxy before it, fails ({status}).",
                code="unavailable",
                retry=True,
                after=after,
            )
        raise self._stranger(f"HTTP {status}, {kind}")

    def _stranger(self, how: str) -> Failure:
        return Failure(
            f"{self._link.shown} answers, but not as a Tablecast does ({how}). Check the address."
        )

    def _failure(self, error: Exception, *, lost: bool) -> Failure:
        shown = self._link.shown
        match error:
            case aiohttp.ClientConnectorDNSError():
                return Failure(f"The host of {shown} is not known. Check the address.")
            case aiohttp.ClientConnectorCertificateError():
                return Failure(
                    f"The certificate of {shown} is not trusted: {_why(error.certificate_error)}. "
                    "If it is your own, name the file of its authority in SSL_CERT_FILE."
                )
            case aiohttp.ClientSSLError():
                return Failure(
                    f"{shown} does not speak TLS as it should ({_why(error)}). "
                    "Perhaps its address begins with http://."
                )
            case aiohttp.ClientProxyConnectionError():
                return Unreachable(f"The proxy of your environment does not answer: {_why(error)}.")
            case aiohttp.ClientConnectorError() if isinstance(error.os_error, ConnectionError):
                return Unreachable(
                    f"Nothing answers at {shown} ({reason(error.os_error)}). Is it running? "
                    "`tablecast serve` starts it; --to names another."
                )
            case aiohttp.ClientConnectorError():
                return Unreachable(f"{shown} cannot be reached: {_why(error)}.")
            case aiohttp.ConnectionTimeoutError():
                return Unreachable(
                    f"{shown} cannot be reached: nothing answered for {CONNECT:.0f} seconds."
                )
            case TimeoutError():
                return Unreachable(
                    f"{shown} stopped answering. Try again when it is well.", lost=lost
                )
            case aiohttp.InvalidURL():
                return Failure(f"{shown} is no address.")
            case aiohttp.ClientResponseError():
                return self._stranger("it speaks something else than HTTP")
            case aiohttp.ClientError() | OSError():
                return Unreachable(f"The connection to {shown} was lost.", lost=lost)
        return Failure(f"{shown} is no address: {error}.")


class _Sending:
    """A body on its way. Keeps what went wrong with its source, and the deadline of the request:
    none while we wait for the source, as nobody knows when a pipe says more."""

    def __init__(self, body: Body, deadline: asyncio.Timeout) -> None:
        self._body = body
        self._deadline = deadline
        self.begun = False
        self.failure: Failure | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while True:
                self._allow(None)
                piece = await anext(self._body, b"")
                self._allow(STALL if piece else FINISH)
                if not piece:
                    return
                self.begun = True
                yield piece
        except Failure as failure:
            self.failure = failure
            raise

    def _allow(self, seconds: float | None) -> None:
        # An answer may come, or the time run out, while the rest of the body still is on its way.
        if self._deadline.expired():
            return
        now = asyncio.get_running_loop().time()
        try:
            self._deadline.reschedule(None if seconds is None else now + seconds)
        except RuntimeError:
            return  # the request has ended


async def persistently(
    attempt: Callable[[], Awaitable[T]],
    may_repeat: Callable[[Refusal | Unreachable], bool],
    console: Console,
) -> T:
    """Do `attempt` until it succeeds, fails for good, or `PATIENCE` is used up."""
    waited, pause = 0.0, FIRST_PAUSE
    while True:
        try:
            return await attempt()
        except (Refusal, Unreachable) as failure:
            wait = max(pause, failure.after) if isinstance(failure, Refusal) else pause
            if waited + wait > PATIENCE or not may_repeat(failure):
                raise
            if not waited:
                console.note(f"{failure.message} Trying again for {PATIENCE:.0f} seconds.")
        await asyncio.sleep(wait)
        waited += wait
        pause = min(2 * pause, LONGEST_PAUSE)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    answer = bytearray()
    while data := await response.content.readany():
        answer += data
        if len(answer) > ANSWER_LIMIT:
            raise aiohttp.ClientPayloadError(f"an answer of over {amount(ANSWER_LIMIT)}")
    return bytes(answer)


def _seconds(text: str | None) -> float:
    """`Retry-After` where it is a number of seconds, else 0."""
    return float(text) if text is not None and text.isascii() and text.isdigit() else 0.0


def _why(error: Exception) -> str:
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(inner, ssl.SSLCertVerificationError):
        return inner.verify_message or "not valid"
    if isinstance(inner, ssl.SSLError):
        return (inner.reason or "no TLS").replace("_", " ").lower()
    return reason(inner) if isinstance(inner, OSError) else str(inner)
