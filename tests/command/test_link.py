"""What people copy as a link leads to the room that they mean."""

from __future__ import annotations

import pytest

from server.command.failures import Misuse
from server.command.link import DEFAULT, VARIABLE, Link, chosen_link, parse_link

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
