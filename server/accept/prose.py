"""The HTML of a chat message: escaped, with links to addresses and to places in the table.

What is said here is everybody's, so the work for a message grows with its length and no faster,
whatever stands in it, and what was made once is kept for the next who asks.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jinja2
from markupsafe import Markup, escape

from server.live.cache import ByteCache
from server.live.talk import Render

REL: Final = "noopener noreferrer nofollow"
# Links in one message; what follows stays text, so that a message costs its readers little.
LINKS: Final = 50
# Bytes of HTML that are kept, of all rooms: the whole chat of some of them, the ends of many.
KEPT_BYTES: Final = 16 * 1024 * 1024

# A word that begins like an address, perhaps in quotes or brackets, or the name of a place. Other
# addresses (mail, bare names) stay text.
_LINK: Final = re.compile(
    r"""(?<!\S)(?P<before>[(<\[{"'“‘«„]*)(?P<begin>(?i:https?://|www\.))(?P<rest>\S*)"""
    r"""|(?P<place>(?a:(?<!\w)r[1-9][0-9]{0,11}(?:c[1-9][0-9]{0,4})?(?!\w)))"""
)
_CLOSING_QUOTES: Final = "\"'”’»“"
_AFTER_QUOTES: Final = ".,;:!?)]}>"
_AFTER_ADDRESS: Final = ").,>"
# The beginning of what can be opened: a name with a dot, or with a scheme any name or number.
_HOST: Final = re.compile(
    r"(?:(?:https?://|www\.)(?:[\w%-]++\.)*+(?:[a-z]{2,63}|xn--[\w%]{2,59})"
    r"|https?://(?:\d{1,3}(?:\.\d{1,3}){3}|\[(?:[\da-f]{0,4}:){2}(?:[\da-f]{0,4}:?){1,6}\]))"
    r"(?::\d{1,5})?(?:[/?#]|$)",
    re.IGNORECASE,
)


def message_renderer(web_root: Path) -> Render:
    """Makes the HTML of messages by `web_root`/templates/message.html, and keeps it for a while."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(web_root / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["prose"] = prose
    template = environment.get_template("message.html")
    kept: ByteCache[tuple[str, str], str] = ByteCache(KEPT_BYTES)

    def render(message: Mapping[str, Any]) -> str:
        key = (str(message.get("id", "")), str(message.get("body", "")))
        html = kept.get(key)
        if html is None:
            html = template.render(id=key[0], body=key[1]).strip()
            kept.put(key, html, sum(map(sys.getsizeof, (html, *key))))
        return html

    return render


def prose(text: str) -> Markup:
    """Text as HTML that can do nothing but be read, and be clicked where it is a link."""
    links = at = 0
    pieces: list[str] = []
    for found in _LINK.finditer(text):
        place = found["place"]
        html = _place(place) if place else _address(found["before"], found["begin"], found["rest"])
        if html is None:
            continue
        pieces += (_plain(text[at : found.start()]), html)
        at = found.end()
        links += 1
        if links == LINKS:
            break
    pieces.append(_plain(text[at:]))
    return Markup("".join(pieces))


def _plain(text: str) -> str:
    return str(escape(text)).replace("\n", "<br>")


def _place(name: str) -> str:
    return f'<a class="ref" href="#{name}">{name}</a>'


def _address(before: str, begin: str, rest: str) -> str | None:
    """The link that a word is, with what stands around it; None if it is none."""
    word = begin.lower() + rest
    unquoted = word.rstrip(_AFTER_QUOTES).rstrip(_CLOSING_QUOTES)
    if len(unquoted) < len(word.rstrip(_AFTER_QUOTES)):
        word, quotes = unquoted, word[len(unquoted) :]
    else:
        quotes = ""
    address = word.rstrip(_AFTER_ADDRESS)
    for opening, closing in ("()", "<>"):
        address = _balanced(address, word, opening, closing)
    if not _HOST.match(address):
        return None
    shown = escape(address)
    href = shown if address.startswith(("http://", "https://")) else f"https://{shown}"
    return (
        f'{escape(before)}<a href="{href}" rel="{REL}" target="_blank">{shown}</a>'
        f"{escape(word[len(address) :])}{escape(quotes)}"
    )


def _balanced(address: str, word: str, opening: str, closing: str) -> str:
    """`address`, or more of `word`, so that what was opened in it is closed where that can be."""
    opened = address.count(opening)
    if opened <= address.count(closing):
        return address
    *closed, _ = word[len(address) :].split(closing, opened)
    return address + "".join(part + closing for part in closed)
