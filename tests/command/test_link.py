"""What people copy as a link leads to the room that they mean."""

from __future__ import annotations

import pytest

from server.command.failures import Misuse
from server.command.link import DEFAULT, KEY_VARIABLE, VARIABLE, Link, chosen_link, parse_link

ROOM = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
HOST = "http://tables.example"


@pytest.mark.parametrize(
    "text",
    [
        f"{HOST}/t/{ROOM}",
        f"  {HOST}/t/{ROOM}\n",
        f"{HOST}/t/{ROOM}?page=7#row",
        f"{HOST}/t/{ROOM}/",
        f"{HOST}/t/{ROOM.upper()}",
        f"{HOST}/t/{ROOM.replace('-', '')}",
        f"{HOST}/api/rooms/{ROOM}",
        f"{HOST}/api/rooms/{ROOM}/document?name=x",
        f"{HOST}/ws/{ROOM}",
        f"tables.example/t/{ROOM}",
    ],
)
def test_a_room_is_found_in_every_link_to_it(text: str) -> None:
    link = parse_link(text)
    assert link == Link(HOST, ROOM)
    assert link.page == f"{HOST}/t/{ROOM}"


@pytest.mark.parametrize(
    ("text", "server"),
    [
        (HOST, HOST),
        (f"{HOST}/", HOST),
        (f"{HOST}/api/rooms", HOST),
        ("localhost:8080", "http://localhost:8080"),
        ("https://[::1]:8443/", "https://[::1]:8443"),
        ("http://Übersicht.example", "http://Übersicht.example"),
    ],
)
def test_an_address_without_a_room_is_a_server(text: str, server: str) -> None:
    assert parse_link(text) == Link(server)


KEY = "0123456789-_abcdefABCD"


def test_a_key_is_used_but_not_shown() -> None:
    link = parse_link(f"{HOST}/t/{ROOM}#key={KEY}")
    assert link == Link(HOST, ROOM, KEY)
    assert link.page == f"{HOST}/t/{ROOM}"
    assert link.granting == f"{HOST}/t/{ROOM}#key={KEY}"
    assert link.headers == {"Authorization": f"Bearer {KEY}"}


def test_a_key_gives_way_to_the_name_and_password_of_a_proxy() -> None:
    link = parse_link(f"https://name:password@tables.example/t/{ROOM}#key={KEY}")
    assert link.headers == {"Cookie": f"tablecast-{ROOM}={KEY}"}


def test_the_key_that_is_named_counts_then_the_links_then_the_environments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room, (one, two, three) = f"{HOST}/t/{ROOM}", (letter * 22 for letter in "ABC")
    monkeypatch.setenv(KEY_VARIABLE, three)
    assert chosen_link(f"{room}#key={two}", one).key == one
    assert chosen_link(f"{room}#key={two}").key == two
    assert chosen_link(room).key == three
    assert chosen_link(HOST).key == ""  # a room that is made has a key of its own


@pytest.mark.parametrize("key", ["short", "x" * 23, "a\r\nb" + "x" * 18, "é" * 22])
def test_what_is_no_key_is_told(key: str) -> None:
    with pytest.raises(Misuse, match="no key"):
        chosen_link(f"{HOST}/t/{ROOM}", key)


def test_a_password_is_used_but_never_shown() -> None:
    link = parse_link(f"https://me:secret@host:8443/t/{ROOM}")
    assert link.server == "https://me:secret@host:8443"
    assert link.page == f"https://host:8443/t/{ROOM}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "ftp://host/",
        "file:///etc/passwd",
        "http://",
        "http:///t/x",
        "http://host:port/",
        "http://host:70000/",
        "http://[::1/",
        "http://a b/",
        f"{HOST}/t/",
        f"{HOST}/t/{ROOM[:-1]}",
        f"{HOST}/t/{ROOM}0",
        f"{HOST}/t/{ROOM.replace('3', 'g')}",
        f"{HOST}/rooms/{ROOM}",
        f"{HOST}/t/x/{ROOM}",
    ],
)
def test_what_is_no_link_is_refused_by_its_name(text: str) -> None:
    with pytest.raises(Misuse) as refused:
        parse_link(text)
    assert f"“{text}”" in refused.value.message


def test_what_is_given_comes_before_the_environment_and_that_before_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, "http://one")
    assert chosen_link("http://two") == Link("http://two")
    assert chosen_link(None) == Link("http://one")
    monkeypatch.setenv(VARIABLE, " ")
    assert chosen_link(None) == Link(DEFAULT)
