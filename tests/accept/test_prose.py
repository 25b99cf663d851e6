"""What is said becomes HTML that can be read and clicked, and nothing else."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.accept.prose import LINKS, message_renderer, prose
from server.app import WEB_ROOT

RENDER = message_renderer(WEB_ROOT)
OUT = 'rel="noopener noreferrer nofollow" target="_blank"'


class Found(HTMLParser):
    """The elements and the text of a piece of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "br":
            self.text += "\n"

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize(
    ("body", "html"),
    [
        ("a <b>bold</b> & \"quoted\" 'word'", None),
        ("<script>alert(1)</script>", None),
        ("<img src=x onerror=alert(1)>", None),
        ("javascript:alert(1)", "javascript:alert(1)"),
        ("data:text/html,hello", "data:text/html,hello"),
        ("vbscript:x file:///etc/passwd", "vbscript:x file:///etc/passwd"),
        ("one\ntwo", "one<br>two"),
        ("https://a.example", f'<a href="https://a.example" {OUT}>https://a.example</a>'),
        ("HTTP://a.example", None),
        ("www.a.example", f'<a href="https://www.a.example" {OUT}>www.a.example</a>'),
        ("see r1203 and r5c4.", None),
        ("r1203", '<a class="ref" href="#r1203">r1203</a>'),
        ("r1203c4", '<a class="ref" href="#r1203c4">r1203c4</a>'),
        ("r0 r01 xr5 r5x r5c0 rc4 _r5", "r0 r01 xr5 r5x r5c0 rc4 _r5"),
    ],
)
def test_text_stays_text_and_links_are_links(body: str, html: str | None) -> None:
    told = str(prose(body))
    assert html in (None, told)
    found = Found(told)
    assert {tag for tag, _ in found.tags} <= {"a", "br"}
    assert found.text.lower() == body.lower()


@pytest.mark.parametrize(
    "body",
    [
        'https://a.example/"onmouseover="alert(1)',
        "https://a.example/'><script>alert(1)</script>",
        "https://javascript:alert(1)",
        "www.a.example\u202e/moc.live",
        "http://[::1 http:// https:// www.",
        "(https://a.example/x).",
        "“https://a.example”",
        "r5<script>r6",
        "r5" * 2000,
        "https://" + "a" * 3900,
    ],
)
def test_no_address_becomes_more_than_a_link(body: str) -> None:
    check(body)


@given(
    st.text(st.sampled_from("<>\"'&/:.#\n\t rRcC15jw \u202e\u2028") | st.characters(codec="utf-8"))
)
def test_whatever_is_said_the_html_has_nothing_but_links_and_line_breaks(body: str) -> None:
    check(body)
    check(f"https://{body} www.{body} r12{body}")


def check(body: str) -> None:
    for tag, attributes in Found(str(prose(body))).tags:
        if tag == "br":
            assert not attributes
        elif attributes.get("class") == "ref":
            assert tag == "a"
            assert set(attributes) == {"class", "href"}
            assert (attributes["href"] or "").startswith("#r")
        else:
            assert tag == "a"
            assert set(attributes) == {"href", "rel", "target"}
            assert (attributes["href"] or "").startswith(("http://", "https://"))
            assert attributes["rel"] == "noopener noreferrer nofollow"


def test_a_message_is_one_element_that_carries_its_id() -> None:
    html = RENDER({"id": "0190a3b2", "body": "hello <b>\nthere"})
    assert html == '<div class="message" id="m0190a3b2">hello &lt;b&gt;<br>there</div>'


def test_what_stands_in_an_id_stays_in_the_attribute() -> None:
    tags = Found(RENDER({"id": '"><script>', "body": "x"})).tags
    assert tags == [("div", {"class": "message", "id": 'm"><script>'})]


def test_a_message_of_nothing_but_links_has_so_many_and_no_more() -> None:
    assert len(Found(str(prose("www.a.example " * 300))).tags) == LINKS
