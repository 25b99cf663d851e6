"""Where records end in bytes, and what of them is outside quoted cells: mostly at the speed of C.

As the csv module reads them: a quote opens a quoted cell only where a cell begins, a doubled quote
inside is a quote, a line end inside is text, anything after the closing quote belongs to the cell;
every other quote is text. Only \\n, \\r\\n and \\r end a line. The character after an escape means
nothing but itself; right after a closing quote the escape is text. Lines that begin with the
comment prefix where a record would begin are no records, whatever is in them.
"""

from __future__ import annotations

import re

from server.document.dialect import Dialect
from server.document.encodings import byte_safe

LINE_ENDS = b"\n\r"


class Head:
    """What is known of a block up to its edge, and how far its last line has been searched.

    `size`: bytes read. `text`: them as `Scanner.outside` gives them. `is_quoted`, `is_comment`:
    whether the edge is inside a quoted cell or a comment. `position`, `quoted`, `comment`: where
    the search for the line end goes on, and inside of what. `last_line`: where the line begins that
    is not ended, once somebody needed to know.
    """

    __slots__ = (
        "comment",
        "is_comment",
        "is_quoted",
        "last_line",
        "position",
        "quoted",
        "size",
        "text",
    )

    def __init__(
        self, text: bytes = b"", size: int = 0, *, quoted: bool = False, comment: bool = False
    ) -> None:
        self.text = text
        self.size = self.position = size
        self.is_quoted = self.quoted = quoted
        self.is_comment = self.comment = comment
        self.last_line: int | None = None


class Scanner:
    """Scans bytes by a dialect, one that can be told at bytes (`encodings.byte_safe`)."""

    def __init__(self, dialect: Dialect) -> None:
        if not byte_safe(dialect.encoding, dialect.delimiter, dialect.quote, dialect.escape):
            raise ValueError("these bytes are to be transcoded before they are cut")
        if not (dialect.quote + dialect.escape).isascii():
            raise ValueError("quote and escape are ASCII characters")
        self._delimiter = dialect.delimiter.encode()
        self._quote = dialect.quote.encode()
        self._escape = dialect.escape.encode()
        self._comment = dialect.comment.encode()
        self._is_spaced = dialect.skip_space and dialect.delimiter == " "
        self._skip = b" " if dialect.skip_space and not self._is_spaced else b""
        # After a closing quote the csv module takes an escape as text if quotes can be doubled.
        self._is_text_after = bool(self._escape) and dialect.doublequote
        # What these bytes mean at the end of what is there depends on what follows.
        self._open_ends = self._escape + self._comment + self._skip
        self._compile(doublequote=dialect.doublequote)

    def _compile(self, *, doublequote: bool) -> None:
        d, q, e, c = map(re.escape, (self._delimiter, self._quote, self._escape, self._comment))
        tokens: list[bytes] = []
        marks: list[bytes] = []
        self._opening = self._inside = None
        if q:
            # A pattern begins with what is searched for, and looks back after it, because the re
            # module searches quickly for what a pattern begins with.
            opening = q + _begins(d, q, len(self._delimiter))
            if self._skip:
                opening = rb"(?:%b|[ ]%b[ ]*+%b)" % (
                    opening,
                    _begins(d, rb"[ ]", len(self._delimiter)),
                    q,
                )
            plain = rb"[^%b%b]*+" % (q, e)
            pairs = [q + q] * doublequote + [e + b"."] * bool(e)
            inside = rb"%b(?:(?:%b)%b)*+" % (plain, b"|".join(pairs), plain) if pairs else plain
            after = rb"(?:%b)?+" % e if self._is_text_after else b""
            self._opening = re.compile(opening)
            self._inside = re.compile(inside, re.DOTALL)
            tokens.append(opening + inside + q + after)
            marks.append(rb"(?P<opening>%b)" % opening)
        if e:
            # What follows an escaped character begins neither a cell nor a comment.
            also = [c] * bool(c) + [rb"[%b%b]++" % (self._skip, q)] * bool(q)
            wide = [d] * (len(self._delimiter) > 1) + [rb"\r\n"] * (not q)
            escaped = e + rb"(?:%b)" % b"|".join([*wide, b"."])
            if also:
                escaped += rb"(?:%b)?+" % b"|".join(also)
            tokens.append(escaped)
            marks.append(rb"(?P<escaped>%b)" % escaped)
        comment = rb"(?P<comment>%b(?<![^\n\r]%b)" % (c, c)
        if c:
            marks.append(comment + b")")
        self._token = re.compile(b"|".join(tokens), re.DOTALL) if tokens else None
        self._token_or_comment = re.compile(
            b"|".join([*tokens, comment + rb"[^\n\r]*+)"]), re.DOTALL
        )
        self._mark = re.compile(b"|".join([*marks, rb"[\n\r]"]), re.DOTALL)

    # API

    def read_head(self, source: bytes) -> Head:
        """`source` is a block's beginning.

        Bytes at its end that may mean one thing or another are left for `line_end` to read.
        """
        source = self._settle(source)
        text, quoted, comment = self._outside(source)
        return Head(text, len(source), quoted=quoted, comment=comment)

    def outside(self, source: bytes, head: Head | None = None) -> bytes:
        """Whole records with a letter in place of each quoted cell or escape, without comments.

        `source` itself if it has none of them. `head`: what was read of its beginning.
        """
        if head is None or not head.size:
            return self._outside(source)[0]
        at, before = head.size, b"x"
        if head.is_comment:
            while at < len(source) and source[at] not in LINE_ENDS:
                at += 1
        elif head.is_quoted:
            at = self._after_cell(source, at)
        elif source[at - 1] in LINE_ENDS:
            before = b"\n"
        elif self._delimiter and source.endswith(self._delimiter, 0, at):
            before = self._delimiter
        tail = b"".join((before, memoryview(source)[at:]))
        masked = self._outside(tail)[0]
        # Whatever is masked becomes shorter.
        if len(masked) == len(tail) and len(head.text) == at:
            return source
        return head.text + masked[len(before) :]

    def line_end(self, rest: bytearray, head: Head, *, whole: bool) -> int | None:
        """Where the line that `head` ends in ends: the position after its line end.

        None if that has not arrived; the next call goes on where this one stopped. `whole`: nothing
        follows `rest`.
        """
        while head.position < len(rest):
            if head.quoted and not self._close(rest, head, whole=whole):
                return None
            mark = _LINE_END if head.comment else self._mark
            if (found := mark.search(rest, head.position)) is None:
                head.position = self._settled(rest, head)
                return None
            kind = found.lastgroup
            if kind == "escaped" and not whole:
                # What follows may belong to it.
                least = found.start() + 1 + len(self._delimiter)
                if len(rest) < least or found.end() == len(rest):
                    head.position = found.start()
                    return None
            if kind is None:
                head.position = found.start()
                end = found.end()
                return end + 1 if rest[found.start() : end + 1] == b"\r\n" else end
            head.position = found.end()
            head.quoted = kind == "opening"
            head.comment = kind == "comment"
        return None

    def last_line(self, rest: bytearray, head: Head) -> int:
        """Where the line begins that `head` ends in."""
        line = 0
        while (end := self.line_end(rest, Head(size=line), whole=False)) and end <= head.size:
            line = end
        return line

    @property
    def reads_quotes(self) -> bool:
        return bool(self._quote)

    def has_marks(self, source: bytes) -> bool:
        """Whether a quote or an escape occurs, whatever it means there."""
        return bool(
            (self._quote and self._quote in source) or (self._escape and self._escape in source)
        )

    def may_be_wide(self, outside: bytes, columns: int) -> bool:
        """False only if no record of `outside` has more than `columns` cells; quick."""
        if not self._delimiter:
            return False
        window = columns // 2 * len(self._delimiter)
        if window:
            # Such a record has so many delimiters that one of these windows lies within it.
            for start in range(0, len(outside) - window, window):
                if outside.find(b"\n", start, start + window) < 0:
                    break
            else:
                return False
        return outside.count(self._delimiter) >= columns

    def count_cells(self, outside: bytes) -> list[int]:
        """How many cells each record of `outside` has."""
        lines = split_lines(outside)
        if not self._delimiter:
            return [1] * len(lines)
        if self._is_spaced:
            return [len(line.split(b" ")) - line.split(b" ").count(b"") for line in lines]
        return [line.count(self._delimiter) + 1 for line in lines]

    # Internal

    def _outside(self, source: bytes) -> tuple[bytes, bool, bool]:
        """`source` from outside, and whether its end is in a quoted cell or in a comment."""
        text, comment = source, False
        if self._has_comments(source):
            text, comment = self._without_comments(source)
        elif self._token is not None and self.has_marks(source):
            text = self._token.sub(b"x", source)
        if self._opening is not None and self._quote in text:
            opened = self._opening.search(text)
            if opened is not None:
                return text[: opened.start()] + b"x", True, False
        return text, False, comment

    def _has_comments(self, source: bytes) -> bool:
        comment = self._comment
        return bool(comment) and (
            source.startswith(comment) or b"\n" + comment in source or b"\r" + comment in source
        )

    def _without_comments(self, source: bytes) -> tuple[bytes, bool]:
        last = -1

        def mask(found: re.Match[bytes]) -> bytes:
            nonlocal last
            if found.lastgroup is None:
                return b"x"
            last = found.end()
            return b""

        return self._token_or_comment.sub(mask, source), last == len(source)

    def _settle(self, source: bytes) -> bytes:
        """`source` without what cannot be known yet at its end."""
        unknown = self._quote + self._open_ends
        if unknown and len(self._delimiter) > 1:
            unknown += self._delimiter  # it may be cut
        if not unknown:
            return source
        source = source.rstrip(unknown)
        # Nor is an escaped character an end: what follows it does not begin a cell.
        while self._escape and (
            source[-2:-1] == self._escape or source[-3:] == self._escape + b"\r\n"
        ):
            source = source[:-1].rstrip(unknown)
        return source

    def _settled(self, rest: bytearray, head: Head) -> int:
        """Where to search on when more has come, now that no mark was found."""
        if not head.comment and self._open_ends and rest[-1] in self._open_ends:
            return head.position + len(rest[head.position :].rstrip(self._open_ends))
        # The last byte may be looked at again: a delimiter there makes the next quote open.
        return len(rest)

    def _close(self, rest: bytearray, head: Head, *, whole: bool) -> bool:
        """Go to the end of a quoted cell; False if that has not come."""
        assert self._inside is not None
        found = self._inside.match(rest, head.position)
        assert found is not None  # it matches no bytes at all, too
        head.position = end = found.end()
        if rest[end : end + 1] != self._quote:
            return False  # the end, or an escape there
        if end + 1 == len(rest) and not whole:
            return False  # another quote may follow
        head.quoted = False
        head.position = self._after_quote(rest, end)
        return True

    def _after_cell(self, source: bytes, at: int) -> int:
        """The position after the quoted cell that `at` is in."""
        assert self._inside is not None
        found = self._inside.match(source, at)
        assert found is not None
        return self._after_quote(source, found.end())

    def _after_quote(self, source: bytes | bytearray, at: int) -> int:
        """The position after the closing quote at `at`."""
        at += 1
        return at + (self._is_text_after and source[at : at + 1] == self._escape)


def split_lines(source: bytes) -> list[bytes]:
    """The lines with any character."""
    lines = source.splitlines() if b"\r" in source else source.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    return list(filter(None, lines)) if b"" in lines else lines


_LINE_END = re.compile(rb"[\n\r]")


def _begins(delimiter: bytes, char: bytes, size: int) -> bytes:
    """That a cell begins with the `char` just matched. `size`: bytes of the delimiter."""
    if size > 1:
        return rb"(?:(?<=%b%b)|(?<![^\n\r]%b))" % (delimiter, char, char)
    return rb"(?<![^%b\n\r]%b)" % (delimiter, char)
