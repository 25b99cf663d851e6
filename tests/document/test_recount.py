"""Counted again by another dialect, a report says what it would have said from the beginning."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from server.document.blocks import Block
from server.document.cutter import BlockCutter, begin_report
from server.document.dialect import Dialect, needs_cut
from server.document.encodings import Encoding
from server.document.recount import NOT_COUNTED, Recount, not_counted
from server.document.report import ReportBuilder

RECORD_LIMIT = 1000


def cut(source: bytes, dialect: Dialect) -> tuple[BlockCutter, list[Block]]:
    encoding = Encoding(name=dialect.encoding)
    counts = ReportBuilder(begin_report(dialect, encoding), encoding=dialect.encoding)
    cutter = BlockCutter(dialect, block_size=8, record_limit=RECORD_LIMIT, counts=counts)
    return cutter, cutter.feed(source) + cutter.finish()


@given(
    st.lists(
        st.sampled_from(["a", "b", ",", "\t", "\n", '"', '""', "\r", ";", "é", "\0"]), max_size=60
    ),
    st.sampled_from([",", "\t", ";", ""]),
    st.sampled_from(["utf-8", "cp1252", "koi8-r"]),
    st.integers(0, 1),
    st.booleans(),
)
def test_the_counts_are_those_of_a_first_reading(
    pieces: list[str], delimiter: str, encoding: str, skipped: int, mark: bool
) -> None:
    source = ("\ufeff" * mark + "head\n" * skipped + "".join(["a", *pieces])).encode()
    old = Dialect(delimiter="|", skip_lines=skipped)
    cutter, blocks = cut(source, old)
    new = replace(cutter.dialect, delimiter=delimiter, encoding=encoding)
    assume(not needs_cut(cutter.dialect, new, marks="marks" in cutter.report.notes))
    now = not_counted(cutter.report, cutter.dialect, new)
    assert now.ragged == 0
    assert NOT_COUNTED in now.notes

    count = Recount(new, record_limit=RECORD_LIMIT)
    count.add([(block.data, block.literal) for block in blocks[:-1]])
    assert count.records == blocks[-1].first_record
    last = blocks[-1]
    told = count.told(now, (last.data, last.literal), last.size)

    expected = cut(source, new)[0].report
    for name in ("ragged", "ragged_records", "replaced", "encoding"):
        assert getattr(told, name) == getattr(expected, name), name
    assert set(told.notes) - {"runaway_quote"} == set(expected.notes) - {"runaway_quote"}


def test_the_last_block_is_counted_as_far_as_the_document_goes() -> None:
    old = Dialect(delimiter=",")
    cutter, (block,) = cut(b"a;b\n1\n", old)
    new = Dialect(delimiter=";")
    count = Recount(new, record_limit=RECORD_LIMIT)
    grown = cut(b"a;b\n1\n2\n", old)[1]
    now = not_counted(cutter.report, old, new)
    for _ in range(2):
        assert count.told(now, (grown[0].data, False), block.size).ragged == 1
    assert count.told(now, (grown[0].data, False), 99).ragged == 2


def test_what_was_replaced_on_the_way_to_utf_8_stays_counted() -> None:
    dialect = Dialect(delimiter=",")
    counts = ReportBuilder(begin_report(dialect, Encoding(name="utf-16-le")), encoding="utf-8")
    cutter = BlockCutter(dialect, counts=counts)
    cutter.count_replaced(3)
    (block,) = cutter.feed(b"a;b\n1\n") + cutter.finish()
    new = Dialect(delimiter=";")
    now = not_counted(cutter.report, dialect, new)
    told = Recount(new, record_limit=RECORD_LIMIT).told(now, (block.data, False), block.size)
    assert (told.replaced, told.ragged) == (3, 1)
