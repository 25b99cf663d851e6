"""How long an answer takes tells nothing about a key."""

from __future__ import annotations

import hmac
import inspect
import re
from typing import Any

import pytest

from server.accept.edge import access
from server.accept.edge.access import Keyring, Role, hash_of, new_key
from server.fanout.backend import Snapshot

OWNER, PRESENTER = new_key(), new_key()
ROOM = Snapshot(
    epoch="e",
    rev=1,
    registers={},
    fields={"key_owner": hash_of(OWNER), "key_presenter": hash_of(PRESENTER)},
    chat=(),
)
NEARLY = OWNER[:-1] + ("A" if OWNER[-1] != "A" else "B")


@pytest.mark.parametrize(
    ("key", "role"),
    [
        (OWNER, Role.OWNER),
        (PRESENTER, Role.PRESENTER),
        (NEARLY, Role.GUEST),
        (new_key(), Role.GUEST),
        ("x", Role.GUEST),
    ],
    ids=["the owner's", "a presenter's", "all but the end", "another", "a short one"],
)
def test_keys_are_compared_by_their_hashes_in_constant_time(
    monkeypatch: pytest.MonkeyPatch, key: str, role: Role
) -> None:
    compared: list[tuple[Any, Any]] = []
    constant = hmac.compare_digest

    def compare(one: Any, other: Any) -> bool:
        compared.append((one, other))
        return constant(one, other)

    monkeypatch.setattr("server.accept.edge.access.hmac.compare_digest", compare)
    assert Keyring(named=hash_of(key)).role(ROOM) is role
    # What is compared is the hash, of one length whatever the key is.
    assert compared
    assert {len(text) for pair in compared for text in pair} <= {0, len(hash_of(OWNER))}
    assert key not in {text for pair in compared for text in pair}


def test_there_is_no_other_comparison_of_keys() -> None:
    code = inspect.getsource(access)
    assert not re.search(r"(named|cookie|lock|hash_of\([^)]*\))\s*(==|!=)", code)


def test_a_key_has_128_random_bits() -> None:
    assert access.KEY_BYTES * 8 == 128
    assert len({new_key() for _ in range(1_000)}) == 1_000
