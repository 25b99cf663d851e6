"""Pages of rows and pages of records: who turns by the one sees what they turn to in the other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from server.document.dialect import Dialect
from server.document.messages import Document
from server.live.original import offset_of, page_of
from server.live.paging import page_count


def document(records: int, *, header: bool) -> Document:
    return Document(
        id="d",
        version=1,
        name="t.tsv",
        size=1,
        stored=1,
        records=records,
        rows=records - header,
        columns=1,
        blocks=1,
        complete=True,
        created=0,
        dialect=Dialect(header=header),
    )


@given(st.integers(1, 10**6), st.booleans(), st.data())
def test_the_rows_that_a_page_of_records_leads_to_lead_back_to_it(
    records: int, header: bool, data: st.DataObject
) -> None:
    table = document(records, header=header)
    page_no = data.draw(st.integers(1, page_count(records, 100)))
    offset = offset_of(table, page_no)
    assert page_of(table, offset) == page_no
    # There is a row to be seen there, if there is any.
    assert offset < max(1, table.rows)


@given(st.integers(1, 10**6), st.booleans(), st.integers(10, 1000), st.data())
def test_a_page_of_rows_leads_to_the_page_of_records_that_has_its_first_row(
    records: int, header: bool, size: int, data: st.DataObject
) -> None:
    table = document(records, header=header)
    offset = size * (data.draw(st.integers(1, page_count(table.rows, size))) - 1)
    page_no = page_of(table, offset)
    assert 1 <= page_no <= page_count(records, 100)
    if table.rows:
        record = offset + header
        assert 100 * (page_no - 1) <= record < 100 * page_no


@given(st.integers(1, 10**6), st.booleans(), st.data())
def test_pages_of_a_hundred_rows_have_the_same_number_to_everyone(
    records: int, header: bool, data: st.DataObject
) -> None:
    table = document(records, header=header)
    page_no = data.draw(st.integers(1, page_count(table.rows, 100)))
    assert page_of(table, 100 * (page_no - 1)) == page_no
