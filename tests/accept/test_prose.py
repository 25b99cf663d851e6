"""What is said becomes HTML that can be read and clicked, and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.utils import urlize

from server.accept.prose import LINKS, REL, message_renderer, prose
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


@pytest.mark.parametrize("link", ["www.a.example ", "r1 ", "r1,"])
def test_a_message_of_nothing_but_links_has_so_many_and_no_more(link: str) -> None:
    found = Found(str(prose(link * 300)))
    assert len(found.tags) == LINKS
    assert found.text == link * 300


ADDRESS_PARTS = [
    "http://",
    "https://",
    "www.",
    "HTTP://",
    "a",
    "b.c",
    "example.com",
    "1.2.3.4",
    "[::1]",
    "xn--p1ai",
    ":80",
    "/",
    "?",
    "#",
    ".",
    ",",
    "!",
    "(",
    ")",
    "<",
    ">",
    '"',
    "'",
    "“",
    "”",
    "»",
    "{",
    "}",
    "[",
    "]",
    "&",
    "&lt;",
    "&gt;",
    "@",
    "%",
    "_",
    "é",
    "\u202e",
]


@given(st.lists(st.sampled_from(ADDRESS_PARTS), max_size=9).map("".join))
def test_what_is_an_address_and_where_it_ends_is_as_templates_have_it(word: str) -> None:
    # The plain way to say it, which takes too long for some of the words that can be sent.
    quoted = re.fullmatch(
        r"""([(<\[{"'“‘«„]*)(https?://|www\.)(.*?)((?:["'”’»“]+[.,;:!?)\]}>]*)?)""",
        word,
        re.IGNORECASE,
    )
    if quoted is None:
        assert "<a" not in prose(word)
        return
    before, begin, rest, after = quoted.groups()
    link = urlize(begin.lower() + rest, rel=REL, target="_blank")
    if "<a" in link:
        assert prose(word) == prose(before) + type(prose(""))(link) + prose(after)
    else:
        assert "<a" not in prose(word)


def test_the_work_for_a_message_grows_with_its_length_and_no_faster() -> None:
    # Were it the square of it, these would take hours.
    longest = 200_000
    heads = ("", "http://", "http://a", "www.a")
    units = (
        '"',
        "'\"",
        '".',
        ")",
        "(",
        "<",
        ").",
        "a.",
        "a-",
        ":1",
        "r1,",
        "r1 ",
        "[(",
        "(http://",
    )
    words = [(head + unit * longest)[:longest] for head in heads for unit in units]
    script = (
        "import sys; from server.accept.prose import prose\n"
        "for word in sys.stdin: prose(word); prose(word[:-1] + 'x'); prose(word[:-1] + 'x)')"
    )
    # A process of its own, for nothing else could end it.
    subprocess.run(
        [sys.executable, "-c", script], input="\n".join(words), text=True, timeout=60, check=True
    )


def test_what_was_made_once_is_not_made_again_but_for_another_message() -> None:
    first = RENDER({"id": "0190a3b3", "body": "hello"})
    assert RENDER({"id": "0190a3b3", "body": "hello"}) is first
    assert RENDER({"id": "0190a3b3", "body": "good bye"}) != first
    assert RENDER({"id": "0190a3b4", "body": "hello"}) != first
