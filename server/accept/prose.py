"""The HTML of a chat message: escaped, with links to addresses and to places in the table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jinja2
from jinja2.utils import urlize
from markupsafe import Markup, escape

from server.live.talk import Render

REL: Final = "noopener noreferrer nofollow"
# Links in one message; what follows stays text, so that a message costs its readers little.
LINKS: Final = 50

_SPACE: Final = re.compile(r"(\s+)")
# An address by its beginning, perhaps in quotes. Others (mail, bare names) stay text.
_ADDRESS: Final = re.compile(
    r"""(?P<before>[(<\[{"'“‘«„]*)(?P<begin>https?://|www\.)(?P<rest>.*?)"""
    r"""(?P<after>(?:["'”’»“]+[.,;:!?)\]}>]*)?)""",
    re.IGNORECASE | re.DOTALL,
)
_PLACE: Final = re.compile(r"(?<!\w)r[1-9][0-9]{0,11}(?:c[1-9][0-9]{0,4})?(?!\w)", re.ASCII)


def message_renderer(web_root: Path) -> Render:
    """Makes the HTML of messages by `web_root`/templates/message.html."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(web_root / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["prose"] = prose
    template = environment.get_template("message.html")

    def render(message: Mapping[str, Any]) -> str:
        html = template.render(id=message.get("id", ""), body=str(message.get("body", "")))
        return html.strip()

    return render


def prose(text: str) -> Markup:
    """Text as HTML that can do nothing but be read, and be clicked where it is a link."""
    links = 0
    pieces: list[str] = []
    for word in _SPACE.split(text):
        if not word or word.isspace():
            pieces.append(str(escape(word)).replace("\n", "<br>"))
            continue
        html = _word(word) if links < LINKS else str(escape(word))
        links += html.count("<a ")
        pieces.append(html)
    return Markup("".join(pieces))


def _word(word: str) -> str:
    if address := _ADDRESS.fullmatch(word):
        # The library knows no capitals here, and no quotes around.
        link = urlize(address["begin"].lower() + address["rest"], rel=REL, target="_blank")
        return escape(address["before"]) + Markup(link) + escape(address["after"])
    pieces: list[str] = []
    at = 0
    for place in _PLACE.finditer(word):
        pieces += [str(escape(word[at : place.start()])), _place(place[0])]
        at = place.end()
    pieces.append(str(escape(word[at:])))
    return "".join(pieces)


def _place(name: str) -> str:
    return f'<a class="ref" href="#{name}">{name}</a>'
