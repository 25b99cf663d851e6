"""Encodings by name, and UTF-8 of those whose bytes cannot be cut as they are."""

from __future__ import annotations

import codecs
import re
from functools import lru_cache
from typing import Literal

from msgspec import Struct

Why = Literal["mark", "zeros", "valid", "guess", "fallback", "chosen"]


class Encoding(Struct, frozen=True, kw_only=True):
    """`name` is a name of Python's codecs, `bom_bytes` the size of the byte order mark before the
    text. `why`: "mark" and "valid" (good UTF-8) are certain, "zeros" (UTF-16 and UTF-32 without a
    mark) nearly so; "guess" and "fallback" are what a person may want to correct, "chosen" is what
    a person did. `confidence`: 0 to 1.
    """

    name: str
    bom_bytes: int = 0
    why: Why = "valid"
    confidence: float = 1.0


CHOICES: tuple[tuple[str, str], ...] = (
    ("utf-8", "UTF-8"),
    ("utf-16-le", "UTF-16 LE"),
    ("utf-16-be", "UTF-16 BE"),
    ("utf-32-le", "UTF-32 LE"),
    ("utf-32-be", "UTF-32 BE"),
    ("cp1252", "Windows-1252 (Western)"),
    ("iso8859-15", "ISO-8859-15 (Western)"),
    ("mac-roman", "Mac Roman (Western)"),
    ("cp850", "DOS 850 (Western)"),
    ("cp437", "DOS 437 (Western)"),
    ("cp1250", "Windows-1250 (Central European)"),
    ("iso8859-2", "ISO-8859-2 (Central European)"),
    ("mac-latin2", "Mac Central European"),
    ("cp852", "DOS 852 (Central European)"),
    ("cp1257", "Windows-1257 (Baltic)"),
    ("cp1254", "Windows-1254 (Turkish)"),
    ("cp1251", "Windows-1251 (Cyrillic)"),
    ("iso8859-5", "ISO-8859-5 (Cyrillic)"),
    ("koi8-r", "KOI8-R (Russian)"),
    ("koi8-u", "KOI8-U (Ukrainian)"),
    ("mac-cyrillic", "Mac Cyrillic"),
    ("cp866", "DOS 866 (Cyrillic)"),
    ("cp1253", "Windows-1253 (Greek)"),
    ("iso8859-7", "ISO-8859-7 (Greek)"),
    ("cp1255", "Windows-1255 (Hebrew)"),
    ("iso8859-8", "ISO-8859-8 (Hebrew)"),
    ("cp1256", "Windows-1256 (Arabic)"),
    ("iso8859-6", "ISO-8859-6 (Arabic)"),
    ("cp874", "Windows-874 (Thai)"),
    ("cp1258", "Windows-1258 (Vietnamese)"),
    ("cp932", "Shift JIS (Japanese)"),
    ("euc_jis_2004", "EUC-JP (Japanese)"),
    ("gb18030", "GB 18030 (Chinese)"),
    ("big5hkscs", "Big5 (Chinese)"),
    ("cp949", "EUC-KR (Korean)"),
)
"""Every encoding that is detected, and that a person may choose: its codec and its name."""

# Bytes that are decoded at a time: one odd character makes four bytes of each.
_DECODED = 1024 * 1024

_LABELS = dict(CHOICES)

# Registered names that are not the codecs': https://www.iana.org/assignments/character-sets
_CHARSETS = {
    "mac-roman": "macintosh",
    "mac-cyrillic": "x-mac-cyrillic",
    "cp932": "shift_jis",
    "euc_jis_2004": "euc-jp",
    "big5hkscs": "big5-hkscs",
    "cp949": "euc-kr",
    **{f"iso8859-{part}": f"iso-8859-{part}" for part in range(1, 17)},
}

# Names of codecs that decode all that the ones before them do, and more.
_WIDER = {
    "ascii": "utf-8",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "shift_jis": "cp932",
    "shift_jis_2004": "cp932",
    "shift_jisx0213": "cp932",
    "euc_jp": "euc_jis_2004",
    "euc_jisx0213": "euc_jis_2004",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "cp950": "big5hkscs",
    "euc_kr": "cp949",
    "utf-8-sig": "utf-8",
}
_BY_CODEC: dict[str, str] = {codecs.lookup(name).name: name for name, _ in CHOICES}
_BY_CODEC |= {codecs.lookup(name).name: wider for name, wider in _WIDER.items()}


def canonical(name: str) -> str | None:
    """The name in CHOICES for any spelling of an encoding (`latin1`, `UTF8`, `windows-1251`).

    None for what is no encoding here. A family is named by its widest member: Latin-1 is read as
    Windows-1252.
    """
    if not name.isascii() or "\0" in name:
        return None
    try:
        return _BY_CODEC.get(codecs.lookup(name.strip()).name)
    except LookupError:
        return None


def label(name: str) -> str:
    """The encoding's name for people, without the languages: "UTF-8", "Windows-1252"."""
    return _LABELS.get(name, name).partition(" (")[0]


def charset(name: str) -> str:
    """What HTTP calls the encoding: `windows-1252` for `cp1252` (IANA's registered names)."""
    return _CHARSETS.get(name) or re.sub(r"^cp(125\d|874)$", r"windows-\1", name)


# Bytes of ASCII that are parts of other characters. Each codec's own pages say so; the tests try
# every character of every one of them.
_INSIDE: dict[str, frozenset[int]] = {
    "utf-8": frozenset(),
    "euc_jis_2004": frozenset(),
    "cp932": frozenset(range(0x40, 0x7F)),
    "big5hkscs": frozenset(range(0x40, 0x7F)),
    "gb18030": frozenset([*range(0x30, 0x3A), *range(0x40, 0x7F)]),
    "cp949": frozenset([*range(0x41, 0x5B), *range(0x61, 0x7B)]),
}


def is_multibyte(encoding: str) -> bool:
    """Whether it is one of the East Asian ones, whose characters contain bytes of ASCII."""
    return canonical(encoding) in _INSIDE.keys() - {"utf-8"}


@lru_cache(maxsize=64)
def _bytes_inside(encoding: str) -> frozenset[int] | None:
    """ASCII bytes that other characters of `encoding` contain; None: it is no superset of ASCII."""
    name = canonical(encoding)
    if name is None or name.startswith(("utf-16", "utf-32")):
        return None
    return _INSIDE.get(name, frozenset())


def byte_safe(encoding: str, delimiter: str, quote: str, escape: str) -> bool:
    """Whether records can be cut and cells be split at the source's bytes.

    That is so if line ends, delimiter, quote and escape (each "" or one character) are single ASCII
    bytes that are never part of another character; in UTF-8 they can be any character. Everything
    else becomes UTF-8 on its way in (see `Transcoder`).
    """
    inside = _bytes_inside(encoding)
    if inside is None:
        return False
    if canonical(encoding) == "utf-8":
        return True
    marks = delimiter + quote + escape + "\r\n"
    return marks.isascii() and not any(ord(mark) in inside for mark in marks)


@lru_cache(maxsize=64)
def _undefined_bytes(encoding: str) -> bytes | None:
    """The bytes that mean nothing in an 8-bit encoding; None: it is not one."""
    table = bytes(range(256)).decode(encoding, "replace")
    if len(table) != 256 or table[:128] != bytes(range(128)).decode():
        return None
    return bytes(code for code, char in enumerate(table) if char == "\ufffd")


def count_damage(source: bytes, encoding: str) -> int:
    """Characters of `source` that are shown as U+FFFD because they are none in `encoding`.

    Quick for UTF-8 and 8-bit encodings. A U+FFFD that the source itself has does not count.
    """
    if canonical(encoding) != "utf-8" and (undefined := _undefined_bytes(encoding)) is not None:
        return len(source) - len(source.translate(None, undefined)) if undefined else 0
    if len(source) <= _DECODED:
        try:
            source.decode(encoding)
        except UnicodeDecodeError:
            pass
        else:
            return 0
    own = source.count("\ufffd".encode()) if canonical(encoding) == "utf-8" else 0
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    shown = 0
    for start in range(0, len(source), _DECODED):
        shown += decoder.decode(source[start : start + _DECODED]).count("\ufffd")
    return shown + decoder.decode(b"", final=True).count("\ufffd") - own


class Transcoder:
    """Bytes of `encoding` in, UTF-8 out, however the bytes are split; holds a few bytes.

    What is no character (a lone surrogate, a byte too many at the end) becomes U+FFFD. A byte order
    mark at the beginning is left out. `replaced`: characters U+FFFD so far.
    """

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        self.replaced = 0
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._begun = False

    def feed(self, chunk: bytes) -> bytes:
        """UTF-8 of the characters that `chunk` completes."""
        return self._encode(self._decoder.decode(chunk))

    def finish(self) -> bytes:
        """UTF-8 of what is left, now that nothing follows."""
        return self._encode(self._decoder.decode(b"", final=True))

    def _encode(self, text: str) -> bytes:
        if not text:
            return b""
        if not self._begun:
            self._begun = True
            text = text.removeprefix("\ufeff")
        self.replaced += text.count("\ufffd")
        return text.encode()
