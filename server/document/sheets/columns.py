"""The cells of a Parquet file, batch by batch, read by pyarrow.

pyarrow is an extra of the installation: it alone takes more room than all the rest.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from server.document.sheets import SheetInfo
from server.document.sheets.cells import bytes_text, clock, plain, record
from server.errors import Damaged, EmptyDocument, Protected, Refused, Unsupported

# Any: it has no types, and may not be there.
pa: Any = None
pc: Any = None
pq: Any = None
with contextlib.suppress(ModuleNotFoundError):
    pa = import_module("pyarrow")
    pc = import_module("pyarrow.compute")
    pq = import_module("pyarrow.parquet")

_KEPT = "Everyone keeps what they had."
_BUFFER = 1024 * 1024  # bytes of each column that are read at a time
_BATCH_CELLS = 256 * 1024
_BATCH_ROWS = (16, 16 * 1024)  # at least and at most
_TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


class Columns:
    """One table. Raises `Unsupported`, `Damaged`, `Protected`, `EmptyDocument` (no columns)."""

    def __init__(self, path: Path) -> None:
        if pa is None:
            raise Unsupported(
                "This Tablecast was installed without what reads Parquet files. Save the table as "
                "tab-separated text and send that file; or whoever runs this server adds it with "
                f"`make parquet` (or pip install 'tablecast[parquet]'). {_KEPT}"
            )
        pa.set_cpu_count(1)
        try:
            self._file = pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False)
            self._names: list[str] = self._file.schema_arrow.names
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(error) from None
        if not self._names:
            raise EmptyDocument(f"This Parquet file has no columns. {_KEPT}")
        rows = self._file.metadata.num_rows + 1
        self.sheets = [SheetInfo("table", False, rows, len(self._names))]

    def read(self) -> Iterator[str]:
        """The records as lines, the columns' names first."""
        yield record(self._names)
        least, most = _BATCH_ROWS
        size = max(least, min(most, _BATCH_CELLS // len(self._names)))
        try:
            for batch in self._file.iter_batches(batch_size=size, use_threads=False):
                for cells in zip(*map(texts, batch.columns), strict=True):
                    yield record(cells)
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, MemoryError):
                raise
            raise _unreadable(error) from None


def _unreadable(error: Exception) -> Refused:
    if "encrypt" in str(error).lower() or "decrypt" in str(error).lower():
        return Protected(
            "This Parquet file is encrypted. Save the table without encryption, or as "
            f"tab-separated text, and send that file. {_KEPT}"
        )
    return Damaged(
        "This Parquet file is damaged or of a kind that cannot be read here. Copy or write it once "
        f"more, or save the table as tab-separated text. {_KEPT}"
    )


def texts(array: Any) -> list[str]:
    """A column's values as a person would write them; "" for none."""
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        if isinstance(kind, pa.UuidType):
            return ["" if value is None else str(value) for value in array.to_pylist()]
        return texts(array.storage)
    if pa.types.is_dictionary(kind):
        return texts(array.dictionary_decode())
    if pa.types.is_nested(kind):
        return [
            "" if value is None else json.dumps(value, ensure_ascii=False)
            for value in _values(array)
        ]
    return ["" if value is None else value for value in _simple(array)]


def _simple(array: Any) -> list[str | None]:
    kind = array.type
    types = pa.types
    if types.is_null(kind):
        return [None] * len(array)
    if _is_text(kind) or _is_binary(kind):
        return _strings(array)
    if types.is_boolean(kind):
        words = {True: "TRUE", False: "FALSE", None: None}
        return [words[value] for value in array.to_pylist()]
    if types.is_floating(kind):
        return [value and plain(value) for value in array.cast(pa.string()).to_pylist()]
    if types.is_decimal(kind):
        return [None if value is None else f"{value:f}" for value in array.to_pylist()]
    if types.is_duration(kind):
        ticks = _TICKS[kind.unit]
        lengths = array.cast(pa.int64()).to_pylist()
        return [None if length is None else clock(length, ticks) for length in lengths]
    if types.is_timestamp(kind) or types.is_time(kind):
        return _moments(array)
    if types.is_interval(kind):
        return [
            None
            if value is None
            else f"{value.months} months {value.days} days {clock(value.nanoseconds, 10**9)}"
            for value in array.to_pylist()
        ]
    strings: list[str | None] = array.cast(pa.string()).to_pylist()
    return strings


def _is_text(kind: Any) -> bool:
    return any(
        is_one(kind)
        for is_one in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    )


def _is_binary(kind: Any) -> bool:
    types = pa.types
    return any(
        is_one(kind)
        for is_one in (
            types.is_binary,
            types.is_large_binary,
            types.is_fixed_size_binary,
            types.is_binary_view,
        )
    )


def _strings(array: Any) -> list[str | None]:
    if _is_binary(array.type):
        return [None if value is None else bytes_text(value) for value in array.to_pylist()]
    try:
        strings: list[str | None] = array.to_pylist()
    except UnicodeDecodeError:  # nothing makes a writer keep to the format
        values = array.cast(pa.large_binary()).to_pylist()
        return [None if value is None else value.decode("utf-8", "replace") for value in values]
    return strings


def _moments(array: Any) -> list[str | None]:
    """2024-01-31 13:45:00.25 with an offset where the zone is known; no zeros behind."""
    zone = getattr(array.type, "tz", None)
    try:
        strings = array.cast(pa.string())
    except pa.ArrowInvalid:  # a zone that this machine does not know
        strings = array.cast(pa.timestamp(array.type.unit, "UTC")).cast(pa.string())
    end = r"(Z|[+-]\d{4})?$"
    strings = pc.replace_substring_regex(strings, r"\.0+" + end, r"\1")
    strings = pc.replace_substring_regex(strings, r"(\.\d*[1-9])0+" + end, r"\1\2")
    if zone is not None:
        strings = pc.replace_substring_regex(strings, r"([+-]\d\d)(\d\d)$", r"\1:\2")
    found: list[str | None] = strings.to_pylist()
    return found


def _values(array: Any) -> list[Any]:
    """What stands for a column's values in JSON: texts, but for numbers, booleans and none."""
    kind = array.type
    types = pa.types
    if isinstance(array, pa.ExtensionArray) and not isinstance(kind, pa.UuidType):
        return _values(array.storage)
    if types.is_dictionary(kind):
        return _values(array.dictionary_decode())
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind):
        values: list[Any] = array.to_pylist()
        return values
    valid = array.is_valid().to_pylist()
    if types.is_struct(kind):
        names = [field.name for field in kind]
        columns = map(_values, array.flatten())
        rows = zip(*columns, strict=True) if names else [()] * len(array)
        return [
            dict(zip(names, row, strict=True)) if is_valid else None
            for row, is_valid in zip(rows, valid, strict=True)
        ]
    if types.is_map(kind):
        pair = pa.struct([("key", kind.key_type), ("value", kind.item_type)])
        return [
            None if pairs is None else _object(pairs)
            for pairs in _values(array.cast(pa.list_(pair)))
        ]
    if types.is_nested(kind):
        lengths = pc.list_value_length(array).to_pylist()
        items = iter(_values(array.flatten()))
        return [None if length is None else list(islice(items, length)) for length in lengths]
    found = texts(array)
    return [text if is_valid else None for text, is_valid in zip(found, valid, strict=True)]


def _object(pairs: list[dict[str, Any]]) -> Any:
    """A map as an object, or as its pairs if keys are no texts or come twice."""
    keys = [pair["key"] for pair in pairs]
    if all(isinstance(key, str) for key in keys) and len(set(keys)) == len(keys):
        return {pair["key"]: pair["value"] for pair in pairs}
    return [[pair["key"], pair["value"]] for pair in pairs]
