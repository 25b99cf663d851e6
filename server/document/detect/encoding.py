"""Which encoding a file is in.

A byte order mark decides, then zero bytes where UTF-16 and UTF-32 have them, then valid UTF-8. What
is left is one of the 8-bit and East Asian encodings of the time before: chardet tells the scripts
apart. Among the Latin ones its statistics of running text know too little of tables (names, cities,
single words), so they are told apart by how often each language uses its own letters.
"""

from __future__ import annotations

import codecs
import math
import re
import threading
from collections import Counter
from collections.abc import Mapping

import chardet

from server.document.encodings import CHOICES, Encoding, canonical, is_multibyte

SAMPLE_SIZE = 64 * 1024
"""Bytes that are enough to know an encoding; more are not looked at for a guess."""

FALLBACK = "cp1252"
"""Of 8-bit text that looks like no language: what most old files are in, and it has nearly every
byte."""

# The order matters: the little-endian mark of UTF-32 begins with that of UTF-16.
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def sniff_encoding(sample: bytes, *, whole: bool) -> Encoding:
    """The encoding of a file that begins with `sample` (`whole`: and ends with it).

    Never fails: every sample gets an encoding. A character that the end of `sample` cuts is no
    error unless it is the file's end.
    """
    for mark, name in _BOMS:
        # A UTF-16 file may begin with a zero character, but no table does.
        if sample.startswith(mark):
            return Encoding(name=name, bom_bytes=len(mark), why="mark")
    if wide := _wide(sample):
        return wide
    try:
        _decode(sample, whole=whole)
    except UnicodeDecodeError:
        return _damaged_utf8(sample, whole=whole) or _legacy(sample)
    return Encoding(name="utf-8")


def _decode(sample: bytes, errors: str = "strict", *, whole: bool) -> str:
    # Unless it is final, the decoder waits for the rest of a character that the end cuts.
    return codecs.getincrementaldecoder("utf-8")(errors).decode(sample, final=whole)


_MIN_ZEROS = 0.03
"""Share of zero bytes on one side of 16-bit characters. Digits, separators and line ends have one
in every script; a table has more of them than this."""

_ASCII_TEXT = bytes([*b"\t\n\r", *range(0x20, 0x7F)])
_ASCII_ZEROS = 0.9
"""As `_MIN_ZEROS`, where each other byte is one of `_ASCII_TEXT`. In other scripts some are not."""


def _wide(sample: bytes) -> Encoding | None:
    """UTF-16 or UTF-32 without a mark: zero bytes at the same place in nearly every unit."""
    sample = sample[:SAMPLE_SIZE]
    sample = sample[: len(sample) // 4 * 4 or len(sample) // 2 * 2]
    if len(sample) < 4 or 0 not in sample:
        return None
    zeros = [sample[place::4].count(0) for place in range(4)]
    units = len(sample) / 4
    # No character of UTF-32 is above 10FFFF, so two bytes of it have (nearly) only zeros.
    for name, empty, full in (("utf-32-le", (2, 3), 0), ("utf-32-be", (0, 1), 3)):
        if all(zeros[place] > 0.99 * units for place in empty) and zeros[full] < 0.1 * units:
            return Encoding(name=name, why="zeros", confidence=0.95)
    high = {"utf-16-be": zeros[0] + zeros[2], "utf-16-le": zeros[1] + zeros[3]}
    name = max(high, key=high.__getitem__)
    if high[name] < max(_MIN_ZEROS * 2 * units, 9 * min(high.values())):
        return None
    # Where all other bytes are ASCII, they are a few ideographs among ASCII at most, or else 8-bit
    # text with zero bytes in it.
    if not sample.translate(None, _ASCII_TEXT + b"\0") and high[name] < _ASCII_ZEROS * 2 * units:
        return None
    text = sample.decode(name, "replace")
    # Zero bytes here and there in 8-bit text make wild characters of their neighbours.
    odd = sum(count for char, count in Counter(text).items() if not _is_usual(char))
    if odd > 0.02 * len(text) + 1:
        return None
    return Encoding(name=name, why="zeros", confidence=0.9)


def _is_usual(char: str) -> bool:
    return char in "\t\n\r\f\v\0" or ((char.isprintable() or char.isspace()) and char != "\ufffd")


def _damaged_utf8(sample: bytes, *, whole: bool) -> Encoding | None:
    """UTF-8 with a few bad bytes among many good letters.

    In the encodings of old hardly any letter happens to be good UTF-8.
    """
    text = _decode(sample, "replace", whole=whole)
    bad = text.count("\ufffd") - sample.count("\ufffd".encode())
    good = len(text) - bad - len(text.encode("ascii", "ignore"))
    if bad * 2 > good:
        return None
    return Encoding(name="utf-8", why="guess", confidence=1 - bad / (bad + good))


_LATIN = {
    "cp1252": 0.0,
    "iso8859-15": -1.0,
    "cp1250": -1.0,
    "iso8859-2": -2.0,
    "mac-roman": -1.5,
    "cp850": -2.0,
    "cp1254": -2.0,
    "cp852": -3.0,
    "cp437": -3.0,
    "cp1257": -3.0,
    "mac-latin2": -4.0,
}
"""Told apart by their letters, and how much less usual than the first each is (a logarithm), which
decides where there are only a few letters."""

_NOT_LATIN = tuple(
    name
    for name, _ in CHOICES
    if name not in _LATIN and not name.startswith("utf") and name != "cp1258"
)
_CHARDET = [*_LATIN, *_NOT_LATIN, "cp1258", "iso8859-1", "iso8859-9", "euc_kr"]
# Its first guess loads 24 MB of statistics, and each of several first ones at once would, for good.
_guessing = threading.Lock()


def _legacy(sample: bytes) -> Encoding:
    sample = sample[:SAMPLE_SIZE].replace(b"\0", b"")
    with _guessing:
        found = chardet.detect(sample, compat_names=False, include_encodings=_CHARDET)
    name = canonical(found["encoding"] or "")
    if name in _NOT_LATIN and (is_multibyte(name) or not _is_scattered(sample)):
        return Encoding(name=name, why="guess", confidence=round(found["confidence"], 2))
    return _latin(sample)


_RUN = re.compile(rb"[\x80-\xff]{2,}+")


def _is_scattered(sample: bytes) -> bool:
    """Whether bytes beyond ASCII mostly stand alone, as in "20 °C" and "naïve".

    In other scripts than Latin whole words are made of them.
    """
    together = sum(map(len, _RUN.findall(sample)))
    return together * 2 < sum(sample.count(byte) for byte in range(0x80, 0x100))


# The letters beyond ASCII of languages in Latin script, the most frequent first.
_ALPHABETS = {
    "German": "üäößÜÖÄéèàç",
    "French": "éèàêçôâîûùëïœÉÀÈÊÇÔÎÂæÿ",
    "Spanish": "óíáñéúüÁÉÍÓÑÚçº",
    "Portuguese": "ãçáéíóõêâúàôÁÉÇÓÂÃÍÚÊºªü",
    "Italian": "àèùòéìÈÀÙÒÉ°",
    "Catalan": "óàèéíçòúïü·ÀÈÉÓÇÒÚÍÏ",
    "Dutch": "ëéïóèüöÉáêç",
    "Swedish": "äåöéÅÄÖüÉ",
    "Danish": "øåæéØÅÆöäü",
    "Finnish": "äöåÄÖéšÅ",
    "Icelandic": "áíðóéúþæöýÞÁÍÓÚÆÖÉÐÝ",
    "Polish": "łąęóżśćńźŁŚŻĆŹÓŃĄĘ",
    "Czech": "áíěéčřžýšůúŠČŘŽťÚďňÁÍóÝŤĎÉ",
    "Slovak": "áíéčýžšúľťôňďŠČŽäÚĽĺóŤÁŕÍ",
    "Hungarian": "áéóöüőíúűÁÉÓÖÜÚŐÍŰ",
    "Croatian": "čžšćđŠŽČĆĐ",
    "Romanian": "ăâîşţÎŞŢÂĂ",
    "Turkish": "ıişüçğöİŞÜÇÖĞâîû",
    "Lithuanian": "ėųšžįąčęūŠŽČĖĮŪ",
    "Latvian": "āīēšūņļģžķčĀŠĒŪŽĪČĢĶĻŅ",
    "Estonian": "äõüöÕÄÜÖšž",
}
_MARKS_OFTEN = "€–—“”‘’…°£"
_MARKS = "„§«»\xa0²³µ™®©•½·×±¡¿´"
_FLOOR = math.log(1e-4)  # another language's letter, in a name for example
_MARK_OFTEN = math.log(0.06)
_MARK = math.log(0.03)
_ODD = math.log(1e-3)  # marks that tables hardly have, or where they hardly are
_UNLIKELY = math.log(0.01)  # letters as no word has them
_NO_LANGUAGE = math.log(2e-3)  # less than this on average is no text
_JUNK = math.log(1e-7)  # control characters, box drawing, what the encoding does not have


def _frequencies(letters: str) -> dict[str, float]:
    """Logarithms of about how often; a rank's frequency falls as such frequencies usually do."""
    weights = [1 / (rank + 3) ** 1.5 for rank in range(len(letters))]
    return {
        letter: math.log(weight / sum(weights))
        for letter, weight in zip(letters, weights, strict=True)
    }


_LANGUAGES = [_frequencies(letters) for letters in _ALPHABETS.values()]
_THREES = re.compile(rb"(?=([\x00-\xff][\x80-\xff][\x00-\xff]))", re.DOTALL)


def _latin(sample: bytes) -> Encoding:
    """The Latin encoding in which some language would use such letters."""
    threes = Counter(_THREES.findall(b" " + sample + b" "))
    answers = {name: _likelihood(name, threes) for name in _LATIN}
    scores = {name: prior + answers[name][0] for name, prior in _LATIN.items()}
    name = max(_LATIN, key=scores.__getitem__)
    likelihood, weight = answers[name]
    if likelihood < weight * _NO_LANGUAGE:
        return Encoding(name=FALLBACK, why="fallback", confidence=0.1)
    second = max(score for other, score in scores.items() if other != name)
    confidence = 1 - 0.5 * math.exp(max(-20.0, second - scores[name]))
    return Encoding(name=name, why="guess", confidence=round(confidence, 2))


def _likelihood(name: str, threes: Mapping[bytes, int]) -> tuple[float, float]:
    """How likely a language's letters and the usual marks come out as they do in this encoding,
    as a logarithm; and how much was weighed.

    `threes` counts bytes beyond ASCII with their neighbours. What occurs a hundred times says more
    than what occurs once, but not a hundred times more: it may be one word.
    """
    letters: Counter[str] = Counter()
    others: Counter[tuple[str, float]] = Counter()
    for three, count in threes.items():
        text = three.decode(name, "replace")
        before, char, after = text[0], text[1], text[2]
        if char in _MARKS_OFTEN or char in _MARKS:
            usual = _MARK_OFTEN if char in _MARKS_OFTEN else _MARK
            # A mark stands between letters in "l’été" and "1939–a" alone.
            between = before.isalpha() and after.isalpha() and char not in "’–"
            others[char, _ODD if between else usual] += count
        elif char.isalpha():
            letters[char] += count
            is_lone = not before.isalpha() and not after.isalpha()
            if is_lone or (char.isupper() and before.islower()):  # as in "fŽvrier"
                others[char, _UNLIKELY] += count
        elif char.isprintable() and char != "\ufffd" and not "\u2500" <= char <= "\u259f":
            others[char, _ODD] += count
        else:
            others[char, _JUNK] += count
    counts = [(letter, _weight(count)) for letter, count in letters.items()]
    score = sum(likelihood * _weight(count) for (_, likelihood), count in others.items())
    score += max(
        sum(weight * language.get(letter, _FLOOR) for letter, weight in counts)
        for language in _LANGUAGES
    )
    marks = sum(_weight(count) for (char, _), count in others.items() if char not in letters)
    return score, marks + sum(weight for _, weight in counts)


def _weight(count: int) -> float:
    return 1 + math.log(count)
