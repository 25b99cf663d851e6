"""Behind a proxy the site is what its visitors call it, if the proxy is trusted."""

from __future__ import annotations

import ipaddress

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from server.accept.edge.guard import address_of, check_origin, site_of
from server.errors import Forbidden

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
FORWARDED = {
    "Host": "node:8000",
    "X-Forwarded-Host": "tables.example, inner.example",
    "X-Forwarded-Proto": "https",
}


def request(headers: dict[str, str], remote: str = "127.0.0.1") -> web.Request:
    return make_mocked_request("POST", "/", headers=headers).clone(remote=remote)


@pytest.mark.parametrize(
    ("trusted", "remote", "origin"),
    [
        (LOOPBACK, "127.0.0.1", "https://tables.example"),
        (LOOPBACK, "192.0.2.7", "http://node:8000"),
        ((), "127.0.0.1", "http://node:8000"),
    ],
)
def test_only_a_trusted_proxys_word_counts(trusted, remote: str, origin: str) -> None:
    assert site_of(request(FORWARDED, remote), trusted).origin == origin


def test_a_page_of_the_site_as_its_visitors_know_it_is_no_foreign_one() -> None:
    asked = request({**FORWARDED, "Origin": "https://tables.example"})
    check_origin(asked, (), LOOPBACK)
    with pytest.raises(Forbidden):
        check_origin(asked, (), ())
    plain = request({**FORWARDED, "Origin": "http://tables.example"})
    with pytest.raises(Forbidden):
        check_origin(plain, (), LOOPBACK)


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        (["192.0.2.7"], "192.0.2.7"),
        (["203.0.113.9, 192.0.2.7"], "192.0.2.7"),
        # Some proxies leave the line that came as it is and put another one behind it.
        (["203.0.113.9", "192.0.2.7"], "192.0.2.7"),
        (["203.0.113.9", "192.0.2.7, 127.0.0.5"], "192.0.2.7"),
        # Some tell the port, of which each connection has another one.
        (["192.0.2.7:40123"], "192.0.2.7"),
        (["[2001:db8::7]:40123"], "2001:db8::7"),
        (["[2001:db8::7]"], "2001:db8::7"),
        (["2001:db8::7"], "2001:db8::7"),
        (["unknown"], "unknown"),
        ([""], "127.0.0.1"),
        ([], "127.0.0.1"),
    ],
)
def test_what_the_nearest_proxy_says_of_an_address_counts_and_what_came_before_it_does_not(
    lines: list[str], address: str
) -> None:
    headers = CIMultiDict([("X-Forwarded-For", line) for line in lines])
    asked = make_mocked_request("GET", "/", headers=headers).clone(remote="127.0.0.1")
    assert address_of(asked, LOOPBACK) == address
    assert address_of(asked.clone(remote="192.0.2.8"), LOOPBACK) == "192.0.2.8"
