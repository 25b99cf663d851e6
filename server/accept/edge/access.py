"""Who may do what in a room: roles, by the keys that somebody brings.

Whoever wants to change a room asks here with the room's state, and gets the guard that the change
must carry: should the mode or the key have changed in between, it conflicts, and a second look
tells. So no change slips in after the room was closed to those who make it.

Only hashes of keys are kept, here as in the room's plain fields, and nothing of them is logged.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from aiohttp import web

from server.errors import NoKey, OwnerOnly, PresentersOnly, RoomDeleted, WrongKey
from server.fanout.backend import Snapshot

KEY_BYTES: Final = 16
_BEARER: Final = "bearer "


class Role(StrEnum):
    GUEST = "guest"
    PRESENTER = "presenter"
    OWNER = "owner"


@dataclass(frozen=True, slots=True)
class Pass:
    """Leave for one change by someone in this `role`, while these plain fields are as they were.

    `expect` goes into the `expect` of the append.
    """

    role: Role
    expect: Mapping[str, str] = field(default_factory=dict)

    @property
    def upload_role(self) -> str:
        """What the plain field `upload_role` says of an upload that is begun with this."""
        return "" if self.role is Role.GUEST else self.role.value


# Looks at a room: leave for the change that is wanted, or raises why there is none.
Guard = Callable[[Snapshot], Pass]


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys that somebody brought, as hashes ("": none): one that was `named`, and a `cookie`.

    Whoever names a key that does not fit is told so; a cookie may well outlive its key.
    """

    named: str = ""
    cookie: str = ""

    def with_key(self, key: str) -> Keyring:
        """This key is named now, instead of one that was before."""
        return replace(self, named=hash_of(key))

    def role(self, snapshot: Snapshot) -> Role:
        """The most that these keys open in a room with these plain fields."""
        if self._opens(snapshot, "key_owner"):
            return Role.OWNER
        if self._opens(snapshot, "key_presenter"):
            return Role.PRESENTER
        return Role.GUEST

    def changing(self, what: str) -> Guard:
        """For what only presenters do in a presenting room; `what` they do: “turn pages”."""

        def guard(snapshot: Snapshot) -> Pass:
            _refuse_deleted(snapshot)
            role = self.role(snapshot)
            if role is not Role.GUEST:
                return Pass(role, _unchanged(snapshot, f"key_{role}"))
            if snapshot.fields.get("mode"):
                if self.named:
                    raise wrong_key()
                raise PresentersOnly(
                    f"Only presenters {what} in this room now. You can browse on your own."
                )
            return Pass(role, _unchanged(snapshot, "mode", "deleted"))

        return guard

    def owning(self, snapshot: Snapshot) -> Pass:
        """For what only the owner does; is itself a `Guard`."""
        _refuse_deleted(snapshot)
        if not snapshot.fields.get("key_owner"):
            raise NoKey(
                "This room was opened without a key, so it has no owner. "
                "A room that is made on the start page has one."
            )
        role = self.role(snapshot)
        if role is not Role.OWNER:
            if self.named and role is Role.GUEST:
                raise wrong_key()
            raise OwnerOnly("Only the owner of this room may do this: whoever made it.")
        return Pass(role, _unchanged(snapshot, "key_owner"))

    def _opens(self, snapshot: Snapshot, name: str) -> bool:
        lock = snapshot.fields.get(name, "")
        # Each is compared, so that the time tells nothing.
        fits = [hmac.compare_digest(lock, each) for each in (self.named, self.cookie)]
        return bool(lock) and any(fits)


NO_KEYS: Final = Keyring()


def speaking(snapshot: Snapshot) -> Pass:
    """A `Guard` for what everyone may do in any room but a deleted one, such as chatting."""
    _refuse_deleted(snapshot)
    return Pass(Role.GUEST, _unchanged(snapshot, "deleted"))


def new_key() -> str:
    """128 random bits, as 22 characters of base64url."""
    return secrets.token_urlsafe(KEY_BYTES)


def hash_of(key: str) -> str:
    """SHA-256 in hex; "" of no key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest() if key else ""


def cookie_name(room: str) -> str:
    return f"tablecast-{room}"


def keys_of(request: web.Request, room: str) -> Keyring:
    """The keys that come with a request: `Authorization: Bearer`, and the room's cookie."""
    return Keyring(
        named=hash_of(bearer(request)), cookie=hash_of(request.cookies.get(cookie_name(room), ""))
    )


def bearer(request: web.Request) -> str:
    """The key in `Authorization`, or "". Other schemes are a proxy's business."""
    header = request.headers.get("Authorization", "")
    return header[len(_BEARER) :].strip() if header[: len(_BEARER)].lower() == _BEARER else ""


def wrong_key() -> WrongKey:
    return WrongKey("This key does not open this room, or does so no longer. Ask for a new link.")


def _unchanged(snapshot: Snapshot, *names: str) -> dict[str, str]:
    return {name: snapshot.fields.get(name, "") for name in names}


def _refuse_deleted(snapshot: Snapshot) -> None:
    if snapshot.fields.get("deleted"):
        raise RoomDeleted("The owner has deleted this room. Start a new one to go on.")
