"""Where the figures of the last runs stand in docs/BENCHMARKS.md: a section for each subject.

<!-- bench cutter -->
... the machine and the table, as they were printed ...
<!-- end -->
"""

from __future__ import annotations

import re
from pathlib import Path

DOCUMENT = Path(__file__).parents[1] / "docs" / "BENCHMARKS.md"
_END = "<!-- end -->"


def with_section(text: str, subject: str, body: str) -> str:
    """`text` with `body` in place of what the section had. Raises ValueError if there is none."""
    begin = f"<!-- bench {subject} -->"
    section = re.compile(re.escape(begin) + ".*?" + re.escape(_END), re.DOTALL)
    told = f"{begin}\n\n{body.strip()}\n\n{_END}"
    text, count = section.subn(lambda _: told, text)
    if count != 1:
        raise ValueError(f"there are {count} sections {begin!r}")
    return text


def write(subject: str, body: str) -> None:
    """Put the figures of a subject's run into the document."""
    DOCUMENT.write_text(with_section(DOCUMENT.read_text("utf-8"), subject, body), "utf-8")
