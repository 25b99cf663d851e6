"""What is in files/: how each file is to be understood. None: anything will do."""

from __future__ import annotations

from typing import NamedTuple


class Truth(NamedTuple):
    file: str
    encoding: str
    delimiter: str
    quote: str | None
    escape: str
    skip_lines: int
    comment: str
    header: bool | None
    columns: int | None
    first: list[str] | None  # how record 0 begins


TRUTHS = [
    Truth(
        "addresses.tsv",
        "utf-8",
        "\t",
        '"',
        "",
        0,
        "",
        True,
        4,
        ["name", "address", "town", "since"],
    ),
    Truth("fittings.tsv", "utf-8", "\t", "", "", 0, "", True, 3, ["sku", "description", "price"]),
    Truth(
        "unicode-text.txt", "utf-16-le", "\t", '"', "", 0, "", True, 3, ["Név", "Város", "Összeg"]
    ),
    Truth("utf16-be.tsv", "utf-16-be", "\t", '"', "", 0, "", True, 3, ["город", "улица", "дом"]),
    Truth("utf16-bare.csv", "utf-16-le", ",", '"', "", 0, "", True, 2, ["id", "city"]),
    Truth("utf32.tsv", "utf-32-le", "\t", '"', "", 0, "", True, 2, ["a", "b"]),
    Truth(
        "umsatz.csv",
        "cp1252",
        ";",
        '"',
        "",
        0,
        "",
        True,
        4,
        ["Datum", "Filiale", "Umsatz in €", "Bemerkung"],
    ),
    Truth("sep-line.csv", "utf-8", ";", '"', "", 1, "", True, 2, ["Name", "Menge"]),
    Truth(
        "klienci.csv",
        "cp1250",
        ";",
        '"',
        "",
        0,
        "",
        True,
        4,
        ["Imię", "Nazwisko", "Miasto", "Kwota"],
    ),
    Truth("zakaznici.csv", "iso8859-2", ";", '"', "", 0, "", True, 3, ["Jméno", "Město", "Částka"]),
    Truth("tovary.txt", "cp1251", "\t", '"', "", 0, "", True, 3, ["товар", "цена", "склад"]),
    Truth("koi8.tsv", "koi8-r", "\t", '"', "", 0, "", True, 2, ["имя", "город"]),
    Truth("meibo.csv", "cp932", ",", '"', "", 0, "", True, 4, ["氏名", "住所", "電話番号", "備考"]),
    Truth("dingdan.csv", "gb18030", ",", '"', "", 0, "", True, 4, ["订单", "客户", "城市", "金额"]),
    Truth(
        "mac-roman.tsv", "mac-roman", "\t", '"', "", 0, "", True, 3, ["prénom", "ville", "montant"]
    ),
    Truth("quoted.csv", "utf-8", ",", '"', "", 0, "", True, 3, ["id", "title", "notes"]),
    Truth("backslash.csv", "utf-8", ",", '"', "\\", 0, "", True, 3, ["id", "says", "mark"]),
    Truth("single-quotes.csv", "utf-8", ",", "'", "", 0, "", True, 3, ["name", "remark", "n"]),
    Truth("json-cells.tsv", "utf-8", "\t", "", "", 0, "", True, 2, ["id", "payload"]),
    Truth("json-cells.csv", "utf-8", ",", '"', "", 0, "", True, 3, ["id", "payload", "when"]),
    Truth(
        "log.psv",
        "utf-8",
        "|",
        '"',
        "",
        0,
        "",
        False,
        4,
        ["2024-03-01 10:00:00", "INFO", "http://example.org/a?b=1&c=2", "started, waiting"],
    ),
    Truth("hive.txt", "utf-8", "\x01", '"', "", 0, "", False, 4, ["1"]),
    Truth("unit-separator.txt", "utf-8", "\x1f", '"', "", 0, "", True, 3, ["id", "name", "town"]),
    Truth("caret.txt", "utf-8", "^", '"', "", 0, "", True, 3, ["id", "name", "visits"]),
    Truth("tilde.txt", "utf-8", "~", '"', "", 0, "", None, 4, ["ISA", "00", "ZZ", "SENDER"]),
    Truth("passwd", "utf-8", ":", '"', "", 0, "", False, 7, ["root", "x"]),
    Truth("station.txt", "utf-8", " ", '"', "", 0, "", False, 4, None),
    Truth("pgdump.tsv", "utf-8", "\t", "", "\\", 0, "", False, 4, ["0"]),
    Truth("windows-paths.tsv", "utf-8", "\t", '"', "", 0, "", True, 2, ["file", "size"]),
    Truth("report.csv", "utf-8", ",", '"', "", 3, "", True, 5, ["Region", "Q1", "Q2", "Q3", "Q4"]),
    Truth(
        "padded-preamble.csv",
        "utf-8",
        ",",
        '"',
        "",
        3,
        "",
        True,
        5,
        ["id", "name", "town", "grade", "since"],
    ),
    Truth("comments.tsv", "utf-8", "\t", '"', "", 2, "#", True, 3, ["sample", "reads", "quality"]),
    Truth("variants.vcf", "utf-8", "\t", None, "", 3, "##", True, 8, ["#CHROM", "POS"]),
    Truth("genes.bed", "utf-8", "\t", '"', "", 0, "", True, 4, ["#chrom", "start", "end", "name"]),
    Truth(
        "units-row.csv", "utf-8", ",", '"', "", 0, "", True, 3, ["time", "temperature", "pressure"]
    ),
    Truth(
        "ragged.csv",
        "utf-8",
        ",",
        '"',
        "",
        0,
        "",
        True,
        None,
        ["order", "item1", "item2", "item3", "item4"],
    ),
    Truth("years.csv", "utf-8", ",", '"', "", 0, "", True, 5, ["country", "2019"]),
    Truth("numbers.csv", "utf-8", ",", '"', "", 0, "", False, 3, None),
    Truth("words.txt", "utf-8", "", '"', "", 0, "", True, 1, ["word"]),
    Truth("sentences.txt", "utf-8", "", '"', "", 0, "", None, 1, None),
    Truth("urls.txt", "utf-8", "", '"', "", 0, "", False, 1, None),
    Truth("timestamps.txt", "utf-8", "", '"', "", 0, "", False, 1, None),
    Truth("damaged.csv", "utf-8", ",", '"', "", 0, "", True, 3, ["id", "name", "note"]),
    Truth("multiline.tsv", "utf-8", "\t", '"', "", 0, "", True, 3, ["id", "note", "by"]),
    Truth("spaces-after.csv", "utf-8", ",", '"', "", 0, "", True, 3, None),
    Truth("decimal-comma.csv", "utf-8", ";", '"', "", 0, "", True, 3, ["x", "y", "z"]),
    Truth("key-value.txt", "utf-8", "=", '"', "", 0, "", None, 2, None),
    Truth("money.csv", "utf-8", ",", '"', "", 0, "", True, 3, ["item", "price", "total"]),
    Truth("empty-cells.csv", "utf-8", ",", '"', "", 0, "", True, 6, ["a", "b", "c", "d", "e", "f"]),
    Truth("header-only.csv", "utf-8", ",", '"', "", 0, "", True, 3, ["id", "name", "town"]),
    Truth("times.csv", "utf-8", ",", '"', "", 0, "", False, 3, None),
    Truth("markdown.csv", "utf-8", ",", '"', "", 0, "", True, 3, ["id", "text", "done"]),
    Truth(
        "tabs-and-commas.tsv", "utf-8", "\t", '"', "", 0, "", True, 3, ["gene", "go_terms", "score"]
    ),
]
