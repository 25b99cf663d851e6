"""What is in a packed file comes out whole, in bounded pieces, or there is a sentence why not."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import struct
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from server.document.streams import PIECE_SIZE
from server.document.unpack import HEAD_SIZE, PACKED, Kind, Unpacker, is_tar, recognise
from server.errors import (
    Damaged,
    NotOneTable,
    NotText,
    Protected,
    TablecastError,
    TooLarge,
    Unsupported,
)
from tests.properties import examples

if sys.version_info >= (3, 14):
    import compression.zstd as zstd
else:
    import backports.zstd as zstd

TABLE = b"station\tmeasured\n" + b"".join(
    b"%d\t%f\n" % (row, random.Random(row).random()) for row in range(3000)
)

PACK: dict[Kind, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd.compress,
}
UNPACK: dict[Kind, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "bzip2": bz2.decompress,
    "xz": lzma.decompress,
    "zstd": zstd.decompress,
}
METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


class OneWay(io.RawIOBase):
    """Where a program writes that cannot go back, so that zipfile puts the sizes behind."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.data += data
        return len(data)


def zipped(
    files: Iterable[tuple[str, bytes]],
    *,
    method: int = zipfile.ZIP_DEFLATED,
    streamed: bool = False,
    zip64: bool = False,
) -> bytes:
    out = OneWay() if streamed else io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files:
            if name.endswith("/"):
                archive.mkdir(name)
                continue
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            with archive.open(info, "w", force_zip64=zip64) as file:
                file.write(data)
    return bytes(out.data) if isinstance(out, OneWay) else out.getvalue()


def split(data: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    """`data` in chunks of `sizes`, the rest at the end."""
    for size in sizes:
        if not data:
            return
        yield data[:size]
        data = data[size:]
    if data:
        yield data


def unpacked(kind: Kind, chunks: Iterable[bytes]) -> tuple[bytes, Unpacker]:
    unpacker = Unpacker(kind)
    out = []
    for chunk in chunks:
        out += unpacker.feed(chunk)
    out += unpacker.finish()
    assert all(0 < len(piece) <= PIECE_SIZE for piece in out)
    return b"".join(out), unpacker


def unpack(data: bytes) -> bytes:
    kind = recognise(data[:HEAD_SIZE])
    assert kind in PACKED
    return unpacked(kind, [data])[0]


def complaint(data: bytes, error: type[TablecastError] = Damaged) -> str:
    with pytest.raises(error) as caught:
        unpack(data)
    assert type(caught.value) is error
    assert caught.value.message.endswith("Everyone keeps what they had.")
    return caught.value.message


tables = st.one_of(
    st.binary(max_size=2000),
    st.builds(lambda part, times: part * times, st.binary(max_size=50), st.integers(0, 50_000)),
)
splits = st.lists(st.integers(1, 300), max_size=50)


# What comes out is what went in


@pytest.mark.parametrize("kind", PACK)
@settings(max_examples=60, deadline=None)
@given(parts=st.lists(tables, min_size=1, max_size=3), sizes=splits)
def test_however_a_stream_is_split_its_bytes_come_out_whole(
    kind: Kind, parts: list[bytes], sizes: list[int]
) -> None:
    packed = b"".join(map(PACK[kind], parts))
    assert recognise(packed) == kind
    expected = UNPACK[kind](packed)
    assert expected == b"".join(parts)
    if recognise(expected[:HEAD_SIZE]) is None:
        assert unpacked(kind, split(packed, sizes))[0] == expected


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=60, deadline=None)
@given(table=tables, sizes=splits, streamed=st.booleans(), zip64=st.booleans())
@example(table=b"", sizes=[], streamed=True, zip64=True)
@example(table=b"", sizes=[], streamed=True, zip64=False)
@example(table=b"a PK\x07\x08 PKPK\x07\x08\n" * 20, sizes=[], streamed=True, zip64=False)
def test_however_a_zip_is_made_and_split_its_table_comes_out_whole(
    method: int, table: bytes, sizes: list[int], streamed: bool, zip64: bool
) -> None:
    packed = zipped([("data/trips.csv", table)], method=method, streamed=streamed, zip64=zip64)
    assert recognise(packed[:HEAD_SIZE]) == "zip"
    if recognise(table[:HEAD_SIZE]) is None:
        out, unpacker = unpacked("zip", split(packed, sizes))
        assert out == table
        assert unpacker.name("archive.zip") == "trips.csv"


@pytest.mark.parametrize("kind", PACK)
def test_a_file_of_thousands_of_streams_is_one_table(kind: Kind) -> None:
    lines = [b"%d\tline\n" % row for row in range(3000)]
    assert unpack(b"".join(map(PACK[kind], lines))) == b"".join(lines)


@pytest.mark.parametrize("kind", PACK)
def test_zero_bytes_after_a_stream_are_padding(kind: Kind) -> None:
    assert unpack(PACK[kind](TABLE) + bytes(100_000)) == TABLE
    padded = PACK[kind](TABLE) + bytes(4) + PACK[kind](TABLE) + bytes(512)
    assert unpacked(kind, split(padded, [7] * len(padded)))[0] == TABLE * 2


def test_frames_that_zstd_skips_are_skipped() -> None:
    skipped = b"\x5a\x2a\x4d\x18" + struct.pack("<I", 5) + b"hello"
    packed = skipped + zstd.compress(TABLE) + skipped + zstd.compress(TABLE) + skipped
    assert recognise(packed) == "zstd"
    assert unpacked("zstd", split(packed, [1] * len(packed)))[0] == TABLE * 2


def test_what_the_usual_programs_pack_is_unpacked() -> None:
    for program in ("gzip", "bzip2", "xz"):
        try:
            packed = subprocess.run([program, "-9c"], input=TABLE, capture_output=True, timeout=20)
        except FileNotFoundError:
            continue
        assert unpack(packed.stdout) == TABLE


def test_what_file_managers_add_to_a_zip_is_no_second_table() -> None:
    files = [
        ("export/", b""),
        ("export/.DS_Store", bytes(6000)),
        ("export/trips.csv", TABLE),
        ("__MACOSX/export/._trips.csv", b"resources"),
        ("export/Thumbs.db", b"pictures"),
        ("export/desktop.ini", b"[x]"),
    ]
    assert unpack(zipped(files)) == TABLE
    assert unpack(zipped(files, method=zipfile.ZIP_STORED)) == TABLE
    assert unpack(zipped(files, streamed=True)) == TABLE


def test_a_zip_that_was_to_be_split_is_still_a_zip() -> None:
    packed = zipped([("trips.csv", TABLE)])
    assert unpack(b"PK00" + packed) == TABLE
    assert unpack(b"PK\x07\x08" + packed) == TABLE


# Names


@pytest.mark.parametrize(
    ("kind", "outer", "name"),
    [
        ("gzip", "trips.csv.gz", "trips.csv"),
        ("gzip", "TRIPS.CSV.GZ", "TRIPS.CSV"),
        ("gzip", "trips.csv", "trips.csv"),
        ("gzip", ".gz", ".gz"),
        ("bzip2", "trips.tsv.bz2", "trips.tsv"),
        ("xz", "trips.tsv.xz", "trips.tsv"),
        ("zstd", "trips.tsv.zst", "trips.tsv"),
    ],
)
def test_a_table_is_called_what_its_packed_file_is(kind: Kind, outer: str, name: str) -> None:
    assert Unpacker(kind).name(outer) == name


def test_a_table_in_a_zip_keeps_its_own_name() -> None:
    packed = zipped([("städte/größe.csv", TABLE)])
    assert unpacked("zip", [packed])[1].name("x.zip") == "größe.csv"
    nameless = zipped([("-", TABLE)])
    assert unpacked("zip", [nameless])[1].name("trips.csv.zip") == "trips.csv"


# What is refused, and how


@pytest.mark.parametrize("kind", PACK)
def test_a_stream_that_was_cut_off_says_so_wherever_the_cut_is(kind: Kind) -> None:
    packed = PACK[kind](TABLE)
    for end in range(HEAD_SIZE // 8, len(packed), 64):
        assert "ends in the middle" in complaint(packed[:end])
    assert "ends in the middle" in complaint(packed[:-1])
    assert "ends in the middle" in complaint(packed + packed[:20])


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_a_zip_that_was_cut_off_says_so_wherever_the_cut_is(method: int, streamed: bool) -> None:
    packed = zipped([("trips.csv", TABLE)], method=method, streamed=streamed)
    directory = packed.rindex(b"PK\x01\x02")
    for end in range(8, directory, 64):
        assert "ends in the middle" in complaint(packed[:end])
    assert unpack(packed[: directory + 30]) == TABLE


@pytest.mark.parametrize("kind", PACK)
def test_a_damaged_stream_says_so(kind: Kind) -> None:
    packed = bytearray(PACK[kind](TABLE))
    packed[len(packed) // 2] ^= 0xFF
    assert "damaged" in complaint(bytes(packed))
    assert "damaged" in complaint(PACK[kind](TABLE) + b"and something else that is no stream")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_a_damaged_zip_says_so(method: int, streamed: bool) -> None:
    packed = bytearray(zipped([("trips.csv", TABLE)], method=method, streamed=streamed))
    packed[len(packed) // 2] ^= 0xFF
    with pytest.raises(Damaged, match=r"damaged|ends in the middle"):
        unpack(bytes(packed))


def test_a_zip_of_several_files_names_them() -> None:
    message = complaint(zipped([("trips.csv", TABLE), ("a/README.txt", b"read")]), NotOneTable)
    assert "more than one file in this .zip: first trips.csv, then README.txt. Unpack" in message


@pytest.mark.parametrize(
    ("name", "kind"), [("a.XLSX", ".xlsx"), ("a.ods", ".ods"), ("a.zip", ".zip"), ("a", ".zip")]
)
def test_what_is_broken_is_called_what_its_sender_calls_it(name: str, kind: str) -> None:
    for broken, complaint in (
        (b"PK\x03\x04 and then nothing", f"The {kind} file ends in the middle"),
        (b"PK\x03\x04" + b"\0" * 2000, f"This {kind} file is damaged"),
    ):
        unpacker = Unpacker("zip", name)
        with pytest.raises(Damaged, match=complaint):
            [*unpacker.feed(broken), *unpacker.finish()]


def test_a_zip_without_files_is_no_table() -> None:
    for files in ([], [("folder/", b"")], [(".DS_Store", b"x")]):
        assert "no file" in complaint(zipped(files), NotOneTable)


def test_a_zip_with_a_password_says_so() -> None:
    packed = bytearray(zipped([("secret.csv", TABLE)]))
    packed[6] |= 1
    message = complaint(bytes(packed), Protected)
    assert "password" in message
    assert "secret.csv" in message


def test_a_method_that_cannot_be_read_is_named() -> None:
    packed = bytearray(zipped([("trips.csv", TABLE)]))
    packed[8] = 9
    assert "Deflate64" in complaint(bytes(packed), Unsupported)


def test_a_document_of_an_office_program_is_called_so() -> None:
    packed = zipped([("mimetype", b"application/vnd.oasis.opendocument.text")])
    assert "office" in complaint(packed, NotText)
    assert "office" in complaint(zipped([("Index/Document.iwa", b"x")]), NotText)


def test_an_archive_in_a_packed_file_is_to_be_unpacked_first() -> None:
    for format_ in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=format_) as archive:
            info = tarfile.TarInfo("trips.csv")
            info.size = len(TABLE)
            archive.addfile(info, io.BytesIO(TABLE))
        assert is_tar(out.getvalue())
        packed = gzip.compress(out.getvalue())
        assert "a tar archive inside of this .gz" in complaint(packed, NotOneTable)
        packed = zipped([("trips.tar", out.getvalue())])
        assert "a tar archive" in complaint(packed, NotOneTable)
    packed = zipped([("t.gz", gzip.compress(TABLE))])
    assert "a .gz file inside of this .zip" in complaint(packed, NotOneTable)
    packed = zstd.compress(zipped([("trips.csv", TABLE)]))
    assert "a .zip inside" in complaint(packed, NotOneTable)


def test_what_needs_too_much_memory_is_refused() -> None:
    options = {zstd.CompressionParameter.window_log: 30}
    packed = zstd.ZstdCompressor(options=options).compress(TABLE, zstd.ZstdCompressor.FLUSH_BLOCK)
    with pytest.raises(TooLarge, match="136 MiB"):
        unpack(packed)
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 29}]
    head = bytearray(lzma.compress(b"x", filters=filters)[:64])
    with pytest.raises(TooLarge, match="136 MiB"):
        unpack(bytes(head))


# Bombs


def gzip_bomb(size: int) -> Iterator[bytes]:
    """A gzip stream of `size` zero bytes, made while it is read."""
    yield b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = bytes(2**20)
    for _ in range(size // len(block)):
        if chunk := pack.compress(block):
            yield chunk
    yield pack.flush()


def test_a_bomb_of_10_gb_stops_when_nobody_wants_more() -> None:
    unpacker = Unpacker("gzip")
    tracemalloc.start()
    try:
        got = 0
        for chunk in gzip_bomb(10 * 10**9):
            for piece in unpacker.feed(chunk):
                got += len(piece)
                if got > 50 * 2**20:
                    break
            if got > 50 * 2**20:
                break
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert got <= 50 * 2**20 + PIECE_SIZE
    assert peak < 4 * 2**20


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zstd", "zip"])
def test_a_few_bytes_that_stand_for_many_come_out_piece_by_piece(kind: Kind) -> None:
    size = 64 * 2**20
    packed = zipped([("z", bytes(size))]) if kind == "zip" else PACK[kind](bytes(size))
    unpacker = Unpacker(kind)
    got = 0
    tracemalloc.start()
    try:
        for piece in unpacker.feed(packed):
            assert len(piece) <= PIECE_SIZE
            got += len(piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert got == size
    # xz looks back 8 MiB, and Python counts what its own lzma takes.
    assert peak < 4 * 2**20 + (9 * 2**20 if kind == "xz" else 0)


def test_a_hidden_file_in_a_zip_is_no_way_around_a_limit() -> None:
    files = [(".hidden", bytes(20 * 2**20)), ("trips.csv", TABLE)]
    assert "hidden file" in complaint(zipped(files), TooLarge)


# Anything at all


@settings(max_examples=examples(400), deadline=None)
@given(
    kind=st.sampled_from(sorted(PACKED)),
    begin=st.sampled_from([b"", *(pack(TABLE[:200]) for pack in PACK.values())]),
    rest=st.binary(max_size=2000),
    sizes=splits,
)
def test_any_bytes_end_in_bytes_or_in_a_sentence(
    kind: Kind, begin: bytes, rest: bytes, sizes: list[int]
) -> None:
    told = "fine"
    try:
        unpacked(kind, split(begin + rest, sizes))
    except TablecastError as error:
        told = error.message
    assert told


@settings(max_examples=examples(400), deadline=None)
@given(
    kind=st.sampled_from(sorted(PACKED)),
    method=st.sampled_from(METHODS),
    streamed=st.booleans(),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4),
    sizes=splits,
)
def test_a_changed_byte_gives_the_same_table_or_a_sentence(
    kind: Kind,
    method: int,
    streamed: bool,
    changes: list[tuple[float, int]],
    sizes: list[int],
) -> None:
    table = TABLE[:3000]
    if kind == "zip":
        packed = bytearray(zipped([("trips.csv", table)], method=method, streamed=streamed))
    else:
        packed = bytearray(PACK[kind](table))
    for where, value in changes:
        packed[min(int(where * len(packed)), len(packed) - 1)] = value
    out, told = b"", ""
    try:
        out, _ = unpacked(kind, split(bytes(packed), sizes))
    except TablecastError as error:
        told = error.message
    # zstd writes no sum of the whole unless it is asked to.
    assert told or out == table or kind == "zstd"


@given(st.binary(max_size=600))
def test_text_is_never_taken_for_packed(head: bytes) -> None:
    text = bytes(byte for byte in head if byte in b"\t\r\n" or byte >= 0x20)
    assert recognise(text) is None or text.startswith(b"BZh")


@pytest.mark.parametrize(
    ("begin", "kind"),
    [
        (b"PAR1\x15\x04\x15", "parquet"),
        (b"PAR1\tPAR2\n1\t2\n", None),
        (b"BZh9\tname\n", None),
        (b"PK\tname\n", None),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "xls"),
        (b"station\tvalue\n", None),
        (b"", None),
    ],
)
def test_a_file_is_known_by_its_first_bytes(begin: bytes, kind: Kind | None) -> None:
    assert recognise(begin) == kind


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("[Content_Types].xml", b"<Types/>", "xlsx"),
        ("xl/workbook.xml", b"<workbook/>", "xlsx"),
        ("docProps/app.xml", b"<x/>", "xlsx"),
        ("xl/data.csv", b"a,b\n", "zip"),
        ("mimetype", b"application/vnd.oasis.opendocument.spreadsheet", "ods"),
        ("mimetype", b"application/vnd.oasis.opendocument.text", "zip"),
    ],
)
def test_a_workbook_is_no_zip_with_a_table(name: str, data: bytes, kind: Kind) -> None:
    assert recognise(zipped([(name, data)], method=zipfile.ZIP_STORED)) == kind
