"""Files that are no table, told by their first bytes, so that nobody is shown what they look like.

Text with zero bytes, bad bytes or the odd control character in it is text all the same.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from server.document.encodings import Encoding
from server.errors import NotText

_SAVE = "Save the table as tab-separated text in UTF-8 and send that file."
_UNPACK = "Unpack it and send the table inside."

# Magic numbers: https://www.garykessler.net/library/file_sigs.html and the formats' own documents.
# No text begins with these. What is unpacked or read as a spreadsheet does not come here.
_MARKS: Final = (
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"PK\x03\x04", "a ZIP archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (b"%PDF-", "a PDF document", _SAVE),
    (b"\x89PNG\r\n\x1a\n", "a PNG image", _SAVE),
    (b"\xff\xd8\xff", "a JPEG image", _SAVE),
    (b"SQLite format 3\x00", "an SQLite database", _SAVE),
    (b"\x7fELF", "a program (ELF)", _SAVE),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", _SAVE),
    (b"Obj\x01", "an Avro file", _SAVE),
    (b"\xca\xfe\xba\xbe", "a program (Java or macOS)", _SAVE),
    (b"\xcf\xfa\xed\xfe", "a program (macOS)", _SAVE),
)
# Letters only, which a header could begin with too: believed where other bytes are not text either.
_LETTERS: Final = (
    (b"ARROW1", "an Arrow file", _SAVE),
    (b"ORC", "an ORC file", _SAVE),
    (b"GIF8", "a GIF image", _SAVE),
    (b"RIFF", "a sound, picture or film (RIFF)", _SAVE),
    (b"OggS", "a sound (Ogg)", _SAVE),
    (b"ID3", "a sound (MP3)", _SAVE),
    (b"MZ", "a Windows program", _SAVE),
)
# A script with a .zip behind it: one that unpacks itself, or Python's zipapp. What is stored in it
# without compression may be text all over. The header of its first file has to fit (APPNOTE.TXT,
# 4.3.7: version, flags, method, 16 bytes of times and sizes, lengths of names), and a script's
# first line has to stand before it: a table may have an archive's bytes in a cell.
_SCRIPT: Final = b"#!"
_BEHIND: Final = re.compile(
    rb"\nPK\x03\x04[\x0a-\x3f]\x00..[\x00\x08\x09\x0c\x0e\x5d\x5f\x63]\x00.{16}.[\x00-\x03].[\x00-\x03]",
    re.DOTALL,
)
# Control characters that no text needs. Tab, line ends, form feed and vertical tab are text, and 1b
# to 1f too (escape sequences of terminals, ASCII's own separators).
_CONTROL: Final = bytes([*range(0x01, 0x09), *range(0x0E, 0x1B), 0x7F])
# Tables whose cells are separated by control characters use up to three (Hive: 01, 02, 03).
_SEPARATORS: Final = 3
# One in so many is more than text has, and less than compressed or random bytes have (one in 13).
_SHARE: Final = 30
_FEW: Final = 100  # of letters that are as good as a magic number, one in so many is no text


def refuse_binary(sample: bytes, encoding: Encoding) -> None:
    """Raise `NotText` if a file that begins with `sample` is no text; says what it looks like."""
    for mark, name, advice in _MARKS:
        if sample.startswith(mark):
            raise _looks_like(name, advice)
    if sample.startswith(_SCRIPT) and _BEHIND.search(sample):
        raise _looks_like("a script with a ZIP archive inside", _UNPACK)
    odd = len(sample) - len(sample.translate(None, b"\0" + _CONTROL))
    for mark, name, advice in _LETTERS:
        if sample.startswith(mark) and odd * _FEW > len(sample):
            raise _looks_like(name, advice)
    text = sample
    if encoding.name.startswith(("utf-16", "utf-32")):
        text = sample[encoding.bom_bytes :].decode(encoding.name, "replace").encode()
    zeros = text.count(0)
    text = text.translate(None, b"\0")
    if zeros and not text:
        raise _contains("nothing but zero bytes")
    counts = Counter(byte for byte in text if byte in _CONTROL)
    separators = sum(count for _, count in counts.most_common(_SEPARATORS))
    if (counts.total() - separators) * _SHARE > len(text):
        raise _contains("many control characters")


def _looks_like(name: str, advice: str) -> NotText:
    return NotText(
        f"This looks like {name}, not a text file. {advice} Everyone keeps what they had."
    )


def _contains(what: str) -> NotText:
    return NotText(
        f"This is not a text file: it contains {what}. {_SAVE} Everyone keeps what they had."
    )
