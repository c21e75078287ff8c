"""The files behind the address of a source: zip archives, folders, several formats, and unsupported ones."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import sqlite3
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pytest

from support.warehouse import Warehouse, fates, rejects
from tranship.connectors import opening
from tranship.connectors.errors import ConfigError, TranshipError
from tranship.connectors.files import formats, storage

Rows = list[tuple[str, int, str | None, str | None]]
"""Source, line, id and name of each record."""
A, B, C = "id,name\n1,Ann\n", "id,name\n2,Bea\n", "id,name\n3,Cy\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def made(path: str, content: str | bytes) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def zipped(path: str, members: dict[str, str | bytes], kind: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as out:
        for name, content in members.items():
            out.writestr(name, content)
    return Path(path)


def frames(*specs: str) -> list[tuple[str, list[int], pl.DataFrame]]:
    source = opening.open_sources(specs)
    try:
        batches = [part.read() for part in source.parts(Path("pages"))]
        return [(batch.source, batch.lines.to_list(), batch.records) for batch in batches]
    finally:
        source.close()


def rows(*specs: str) -> Rows:
    found: Rows = []
    for source, lines, frame in frames(*specs):
        values = frame.select("id", "name").rows()
        found += [(source, line, *row) for line, row in zip(lines, values, strict=True)]
    return found


def notes(*specs: str) -> list[str]:
    source = opening.open_sources(specs)
    try:
        return [f"{layout.name}: {note}" for layout in source.layouts() for note in layout.notes]
    finally:
        source.close()


def refusal(*specs: str) -> str:
    with pytest.raises(ConfigError) as raised:
        opening.open_sources(specs)
    return str(raised.value)


# Zip archives ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_the_members_of_an_archive_are_read_like_several_files(kind: int) -> None:
    zipped("all.zip", {"b.csv": B, "a.tsv": A.replace(",", "\t"), "c/c.txt": C}, kind)

    assert rows("all.zip") == [
        ("all.zip/a.tsv", 2, "1", "Ann"),
        ("all.zip/b.csv", 2, "2", "Bea"),
        ("all.zip/c/c.txt", 2, "3", "Cy"),
    ]


def test_an_archive_is_recognised_whatever_its_name_says() -> None:
    zipped("export.csv", {"a.csv": A})

    assert rows("export.csv") == [("export.csv/a.csv", 2, "1", "Ann")]


@pytest.mark.slow
def test_an_archive_is_read_from_standard_input() -> None:
    zipped("all.zip", {"a.csv": A, "b.csv": B})
    with Path("all.zip").open("rb") as stdin:
        words = [sys.executable, "-m", "tranship", "run", "-", "duckdb:///out.duckdb", "--json"]
        ran = subprocess.run(words, stdin=stdin, capture_output=True, text=True, check=False)

    assert (ran.returncode, json.loads(ran.stdout)["counts"]["created"]) == (0, 2), ran.stderr


def test_members_that_are_not_tables_are_named_in_a_note() -> None:
    zipped("all.zip", {"README.txt": "x", "__MACOSX/._a.csv": "x", ".DS_Store": "x", "logo.png": "x", "a.csv": A})

    assert [row[0] for row in rows("all.zip")] == ["all.zip/a.csv"]
    [note] = notes("all.zip")
    assert note.startswith("all.zip/a.csv: skipped 4 other files in the archive: ")
    assert all(name in note for name in ("README.txt", "__MACOSX/._a.csv", ".DS_Store", "logo.png"))


def test_the_only_member_is_read_whatever_its_name_is() -> None:
    zipped("all.zip", {"export": A, "readme.md": "x"})

    assert rows("all.zip") == [("all.zip/export", 2, "1", "Ann")]


def test_members_are_read_in_their_own_formats() -> None:
    table = io.BytesIO()
    pl.DataFrame({"id": ["3"], "name": ["Cy"]}).write_parquet(table)
    zipped("all.zip", {"a.csv": A, "b.jsonl": '{"id": "2", "name": "Bea"}\n', "c.parquet": table.getvalue()})

    assert [row[2:] for row in rows("all.zip")] == [("1", "Ann"), ("2", "Bea"), ("3", "Cy")]


def test_compressed_members_are_read() -> None:
    zipped("all.zip", {"a.csv.gz": gzip.compress(A.encode())})

    assert rows("all.zip") == [("all.zip/a.csv.gz", 2, "1", "Ann")]


def test_rejects_name_member_and_line(tmp_path: Path) -> None:
    zipped("all.zip", {"a.csv": A, "b.csv": "id,name\n2,\n"})

    found = rejects(Warehouse(tmp_path).load("all.zip"))
    assert [(row["_source"], row["_line"]) for row in found] == [("all.zip/b.csv", "2")]


def test_members_that_lack_a_column_follow_the_rule_of_several_files(tmp_path: Path) -> None:
    zipped("all.zip", {"a.csv": "id,name,email\n1,Ann,a@acme.com\n", "b.csv": B})
    with pytest.raises(ConfigError, match=r"(?s)all\.zip/b\.csv.*--allow-missing"):
        Warehouse(tmp_path).load("all.zip")

    assert fates(Warehouse(tmp_path).load("all.zip", allow_missing=True)) == {"created": 2}


@pytest.mark.parametrize("name", ["Kunden-Übersicht.csv", "客户.csv", "a b'c.csv"])
def test_names_of_members_in_any_script(name: str) -> None:
    zipped("all.zip", {name: A})

    assert rows("all.zip")[0][0] == f"all.zip/{name}"


def test_a_name_in_cp437_is_read_as_dos_meant_it() -> None:
    zipped("all.zip", {"Mxller.csv": A})
    data = Path("all.zip").read_bytes()
    made("all.zip", data.replace(b"Mxller", b"M\x81ller"))

    assert rows("all.zip")[0][0] == "all.zip/Müller.csv"


def test_zip64_is_read() -> None:
    with zipfile.ZipFile("all.zip", "w") as out, out.open("a.csv", "w", force_zip64=True) as member:
        member.write(A.encode())

    assert rows("all.zip") == [("all.zip/a.csv", 2, "1", "Ann")]


def _encrypted() -> None:
    data = bytearray(zipped("all.zip", {"a.csv": A}).read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    made("all.zip", bytes(data))


def _unknown_method() -> None:
    data = bytearray(zipped("all.zip", {"a.csv": A}).read_bytes())
    data[8] = 9
    data[data.index(b"PK\x01\x02") + 10] = 9
    made("all.zip", bytes(data))


def _cut() -> None:
    made("all.zip", zipped("all.zip", {"a.csv": A}).read_bytes()[:-30])


def _nested() -> None:
    zipped("all.zip", {"in.zip": zipped("in.zip", {"a.csv": A}).read_bytes()})


def _nameless() -> None:
    data = bytearray(zipped("all.zip", {"a.csv": A}).read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    # The former name is now a comment.
    data[entry + 28 : entry + 34] = bytes(4) + data[entry + 28 : entry + 30]
    made("all.zip", bytes(data))


def _twice() -> None:
    data = zipped("all.zip", {"a.csv": A, "b.csv": B}).read_bytes()
    made("all.zip", data.replace(b"b.csv", b"a.csv"))


def _bomb() -> None:
    zipped("all.zip", {"a.csv": b"0" * (3 << 20), "b.csv": b"0" * (3 << 20)})


@pytest.mark.parametrize(
    ("arrange", "expected"),
    [
        (
            _encrypted,
            "all.zip/a.csv: is encrypted in the zip archive. Unpack it with its password first, and name the files in it.",
        ),
        (_unknown_method, "all.zip/a.csv: cannot be unpacked here (That compression method"),
        (_cut, "all.zip: the zip archive is damaged"),
        (_nameless, "all.zip: the zip archive is damaged: a member has no name"),
        (lambda: made("all.zip", ""), "all.zip: is not a zip archive, or a damaged one"),
        (_nested, "all.zip/in.zip: is a zip archive within another archive. Unpack it and name the files in it."),
        (_twice, "all.zip: contains two members named 'a.csv'"),
        (_bomb, "this looks like a zip bomb"),
        (lambda: zipped("all.zip", {"../a.csv": A}), "a member is named '../a.csv', which leads out"),
        (lambda: zipped("all.zip", {"/etc/a.csv": A}), "a member is named '/etc/a.csv', which leads out"),
        (lambda: zipped("all.zip", {"C:\\a.csv": A}), "which leads out"),
        (lambda: zipped("all.zip", {}), "all.zip: 0 members in this zip archive"),
        (lambda: zipped("all.zip", {"a.png": "x", "b.doc": "x"}), "none of a known kind (a.png, b.doc)"),
        (lambda: zipped("all.zip", {"a.vcf": "BEGIN:VCARD\n"}), "all.zip/a.vcf: is a vCard file"),
    ],
)
def test_an_unreadable_archive_is_explained_in_one_sentence(
    arrange: Callable[[], object], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_HARMLESS_BYTES", 1 << 20)
    arrange()

    assert expected in refusal("all.zip")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["all.csv.gz", "all.csv.zst", "all.jsonl.gz"])
def test_a_bomb_is_not_decompressed_to_its_end(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_HARMLESS_BYTES", 1 << 20)
    line = b'{"id": "1", "name": "Ann"}\n' if "jsonl" in name else b"1,Ann\n"
    text = (b"" if "jsonl" in name else b"id,name\n") + line * 2_000_000
    made(name, gzip.compress(text) if name.endswith("gz") else pa.compress(text, "zstd", asbytes=True))
    with pytest.raises(ConfigError, match="when it is decompressed: this looks like a decompression bomb"):
        Warehouse(tmp_path).load(name)


def test_a_damaged_member_stops_the_run(tmp_path: Path) -> None:
    text = "id,name\n" + "".join(f"{n},Customer {n}\n" for n in range(20_000))
    data = bytearray(zipped("all.zip", {"a.csv": text}, zipfile.ZIP_STORED).read_bytes())
    data[len(data) // 2] ^= 1
    made("all.zip", bytes(data))

    with pytest.raises(ConfigError, match=r"all\.zip/a\.csv: is damaged in the zip archive"):
        Warehouse(tmp_path).load("all.zip")


def test_damage_anywhere_in_an_archive_is_explained() -> None:
    text = "id,name\n" + "".join(f"{n},Customer {n}\n" for n in range(40))
    whole = zipped("whole.zip", {"a.csv": text, "b.csv": A}).read_bytes()
    expected = rows("whole.zip")
    step = 1 if "TRANSHIP_LONG_TESTS" in os.environ else 7
    for at in range(0, len(whole), step):
        for flip in (0x01, 0xFF):
            made("all.zip", whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :])
            try:
                found = rows("all.zip")
            except (TranshipError, pl.exceptions.ColumnNotFoundError):
                continue
            assert {row[2:] for row in found} <= {row[2:] for row in expected}
            assert len(found) >= 1


# Formats ---------------------------------------------------------------------------------------------------------


def _sqlite() -> bytes:
    with sqlite3.connect("x.sqlite3") as connection:
        connection.execute("CREATE TABLE customers (id, name)")
    connection.close()
    return Path("x.sqlite3").read_bytes()


def _duckdb() -> bytes:
    with duckdb.connect("x.duckdb") as connection:
        connection.execute("CREATE TABLE customers (id INT)")
    return Path("x.duckdb").read_bytes()


def _tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archived:
        archived.add(made("a.csv", A))
    return out.getvalue()


def _zip(members: dict[str, str]) -> Callable[[], bytes]:
    return lambda: zipped("x.zip", dict(members)).read_bytes()


def _avro() -> bytes:
    out = io.BytesIO()
    pl.DataFrame({"id": [1]}).write_avro(out)
    return out.getvalue()


def _arrow() -> bytes:
    out = io.BytesIO()
    pl.DataFrame({"id": [1]}).write_ipc(out)
    return out.getvalue()


def _orc() -> bytes:
    from pyarrow import orc, table

    out = io.BytesIO()
    orc.write_table(table({"id": [1]}), out)
    return out.getvalue()


SPREADSHEET_XML = '<?xml version="1.0"?>\n<?mso-application progid="Excel.Sheet"?>\n<Workbook xmlns="urn:x"></Workbook>'
FOREIGN: dict[str, tuple[str, str | bytes | Callable[[], bytes]]] = {
    "a SQLite database": ("customers.db", _sqlite),
    "a DuckDB database": ("customers.dat", _duckdb),
    "an Access database": ("a.mdb", b"\0\1\0\0Standard Jet DB\0"),
    "an old Office document": ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)),
    "an old Excel workbook": ("a.xls", b"\x09\x08\x10\0\0\6\5\0" + bytes(60)),
    "a binary Excel workbook": ("a.xlsb", _zip({"[Content_Types].xml": "<x/>", "xl/workbook.bin": "x"})),
    "an OpenDocument spreadsheet": ("a.ods", _zip({"mimetype": "application/vnd.oasis.opendocument.spreadsheet"})),
    "a word processor document": ("a.docx", _zip({"word/document.xml": "<x/>"})),
    "an Apple Numbers document": ("a.numbers", _zip({"Index/Document.iwa": "x"})),
    "an Avro file": ("a.avro", _avro),
    "an Arrow or Feather file": ("a.feather", _arrow),
    "an ORC file": ("a.orc", _orc),
    "a Python pickle": ("a.pkl", lambda: pickle.dumps([1])),
    "a bzip2 file": ("a.csv.bz2", lambda: bz2.compress(A.encode())),
    "an xz file": ("a.csv.xz", lambda: lzma.compress(A.encode())),
    "a 7z archive": ("a.7z", b"7z\xbc\xaf\x27\x1c\0\4" + bytes(20)),
    "a RAR archive": ("a.rar", b"Rar!\x1a\x07\1\0" + bytes(20)),
    "a tar archive": ("a.tar.gz", lambda: gzip.compress(_tar())),
    "a PDF": ("a.pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"),
    "an image": ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(20)),
    "a PostgreSQL dump": ("a.dump", b"PGDMP\x01\x0e\0" + bytes(20)),
    "an encrypted file": ("a.csv", "-----BEGIN PGP MESSAGE-----\n\nhQ\n"),
    "a QuickBooks company file": ("a.qbw", bytes(range(256)) * 2),
    "a web page (HTML)": ("a.xls", "\n<html><body><table><tr><td>id</td></tr></table></body></html>"),
    "an XML spreadsheet of Excel": ("a.xls", SPREADSHEET_XML),
    "XML": ("a.xml", '<?xml version="1.0"?><customers><customer id="1"/></customers>'),
    "a vCard file": ("a.vcf", "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Ann\r\nEND:VCARD\r\n"),
    "a calendar": ("a.ics", "BEGIN:VCALENDAR\r\n"),
    "an LDIF file": ("a.ldif", "version: 1\n\ndn: cn=Ann,dc=acme\ncn: Ann\n"),
    "a mailbox": ("a.mbox", "From ann@acme.com Thu Jan  1 00:00:00 2024\nSubject: x\n"),
    "a QuickBooks IIF file": ("a.iif", "!CUST\tNAME\tEMAIL\nCUST\tAnn\ta@acme.com\n"),
    "an SQL dump": ("a.sql", "-- MySQL dump 10.13\n/*!40101 SET NAMES utf8 */;\nDROP TABLE IF EXISTS `customers`;\n"),
    "YAML": ("a.yaml", "- id: 1\n  name: Ann\n"),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_an_unsupported_format_is_named_with_a_way_to_export_it(what: str) -> None:
    name, content = FOREIGN[what]
    data = content() if callable(content) else content
    file = made(f"given/{name}", data)
    message = refusal(str(file))

    assert f"given/{name}: is {what}" in message
    assert len(message) > len(f"given/{name}: is {what}, which is not supported. ") + 10
    # The name has no influence, and the result is the same within an archive and, for text, in UTF-16.
    if what not in ("a QuickBooks company file", "YAML"):
        assert f"is {what}" in refusal(str(made("given/plain", data)))
        assert f"is {what}" in refusal(str(made("given/wrong.csv", data)))
    zipped("given/all.zip", {name: data})
    assert f"given/all.zip/{name}: is {what}" in refusal("given/all.zip")
    if isinstance(data, str):
        assert f"is {what}" in refusal(str(made(f"given/{name}", data.encode("utf-16"))))


def test_an_unsupported_file_named_like_a_table_stops_a_folder_and_others_are_skipped() -> None:
    made("in/a.csv", A)
    made("in/logo.png", b"\x89PNG\r\n\x1a\n")
    made("in/b.vcf", "BEGIN:VCARD\n")
    assert len(rows("in")) == 1

    made("in/login.csv", "<!doctype html><html></html>")
    assert "in/login.csv: is a web page" in refusal("in")


@pytest.mark.slow
def test_an_unsupported_format_is_named_on_standard_input() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tranship", "run", "-", "out.csv"], input=_sqlite(), capture_output=True, check=False
    )

    assert ran.returncode == 2
    assert b"standard input: is a SQLite database" in ran.stderr
    assert b"Traceback" not in ran.stderr


@pytest.mark.parametrize(
    "text",
    [
        "BZh9,name\n1,Ann\n",
        "DUCK,ORC,PAR1\n1,2,3\n",
        "PAR1,name\n1,Ann\n",
        "From,name\n1,Ann\n",
        "# customers\nid,name\n1,Ann\n",
        "--\nid,name\n1,Ann\n",
        "Set,Create table\n1,Ann\n",
        "dn,cn\n1,Ann\n",
        "<id>,name\n1,Ann\n",
        "{id},name\n1,Ann\n",
        "[id],[name]\n1,Ann\n",
        '[1],"{"\n1,Ann\n',
        "%PDF,name\n1,Ann\n",
    ],
)
def test_csv_that_begins_like_another_format_stays_csv(text: str) -> None:
    made("a.csv", text)

    assert [len(frame) for _, _, frame in frames("a.csv")] == [text.count("\n") - 1 - text.startswith(("#", "--"))]


def test_text_called_xls_is_read_as_csv() -> None:
    made("a.xls", A.replace(",", "\t"))

    assert rows("a.xls") == [("a.xls", 2, "1", "Ann")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("text", ['{"id": "1", "name": "Ann"}\n', ' [\n {"id": "1",\n "name": "Ann"}]', "[]"])
@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a", "a.json"])
def test_json_is_recognised_whatever_its_name_says(text: str, name: str, encoding: str) -> None:
    made(name, text.encode(encoding))

    if text != "[]":
        assert [row[2:] for row in rows(name)] == [("1", "Ann")]
    assert ("despite its name" in "".join(notes(name))) == (name in ("a.csv", "a.txt"))


@pytest.mark.slow
@pytest.mark.parametrize("packed", [False, True])
def test_json_is_read_from_standard_input(packed: bool) -> None:
    data = b'[{"id": "1", "name": "Ann"},\n {"id": "2", "name": "Bea"}]'
    words = [sys.executable, "-m", "tranship", "run", "-", "duckdb:///out.duckdb", "--json"]
    given = gzip.compress(data) if packed else data
    ran = subprocess.run(words, input=given, capture_output=True, check=False)

    assert (ran.returncode, json.loads(ran.stdout)["counts"]["created"]) == (0, 2), ran.stderr


def test_parquet_that_is_compressed_as_a_whole_is_named() -> None:
    pl.DataFrame({"id": ["1"]}).write_parquet("a.parquet")
    made("a.parquet.gz", gzip.compress(Path("a.parquet").read_bytes()))

    assert "a.parquet.gz: is a Parquet file, compressed as a whole. Decompress it first." in refusal("a.parquet.gz")


def test_each_format_is_explained_in_one_sentence() -> None:
    for found in formats.FORMATS:
        assert found.magic or found.text or found.suffixes, found.what
        message = str(formats.refusal(found, "it's.x"))
        assert message.startswith(f"it's.x: is {found.what}, which is not supported. ")
        assert "{" not in message


def test_a_zip_archive_that_is_compressed_is_named() -> None:
    made("all.zip.gz", gzip.compress(zipped("all.zip", {"a.csv": A}).read_bytes()))

    assert "all.zip.gz: is a zip archive within a compressed file." in refusal("all.zip.gz")


@pytest.mark.parametrize(
    "piece", ["/**/", "/*", "<!---->", "<!--", "<?xml>", "# \n", "--\n", "version: 1 ", '{"', "<a "]
)
def test_repeated_beginnings_of_a_format_are_recognised_quickly(piece: str) -> None:
    head = (piece * formats.HEAD_BYTES)[: formats.HEAD_BYTES]

    assert formats.recognise(head.encode(), "a.csv") in {None, *formats.FORMATS}


def test_random_bytes_are_refused() -> None:
    heads = [magic for found in formats.FORMATS for magic in found.magic]
    for seed, head in enumerate(heads):
        body = struct.pack("<QQQQ", seed, seed * 7919, 3, 1) * 40
        made("x", head + body)
        with pytest.raises(TranshipError):
            rows("x")


# Folders ---------------------------------------------------------------------------------------------------------


def test_a_folder_is_read_at_any_depth_in_the_order_of_its_paths() -> None:
    made("in/b/c.csv", C)
    made("in/a.csv", A)
    made("in/b/a/b.csv", B)

    assert [row[0] for row in rows("in")] == ["in/a.csv", "in/b/a/b.csv", "in/b/c.csv"]


def test_what_is_skipped_in_a_folder_is_counted_and_named() -> None:
    made("in/a.csv", A)
    for name in (".hidden.csv", ".git/x.csv", "README.txt", "_SUCCESS", "_temporary/0/b.csv", "notes.docx", "~$a.csv"):
        made(f"in/{name}", "id,name\n9,Nobody\n")

    assert [row[0] for row in rows("in")] == ["in/a.csv"]
    assert notes("in") == [
        "in/a.csv: skipped 7 other files in in: .git/, .hidden.csv, README.txt, _SUCCESS, _temporary/ and 2 more"
    ]


def test_a_folder_without_a_table_is_refused_with_its_contents_named() -> None:
    made("in/a.docx", "x")

    assert "in: there is no file of a known kind in this folder (a.docx). Name a file." in refusal("in")


def test_circular_links_are_followed_once() -> None:
    made("in/deep/a.csv", A)
    Path("in/deep/up").symlink_to("..")
    Path("in/other").symlink_to("deep")

    assert [row[2] for row in rows("in")] == ["1"]


def test_a_folder_of_several_formats_is_read_in_order_each_file_as_its_kind() -> None:
    made("in/1.csv", A)
    made("in/2.json", '[{"id": "2", "name": "Bea"}]')
    made("in/3.csv", C)
    zipped("in/4.zip", {"d.csv": "id,name\n4,Dee\n"})

    assert [row[2] for row in rows("in")] == ["1", "2", "3", "4"]


def test_several_formats_follow_the_rule_of_several_files(tmp_path: Path) -> None:
    made("in/1.csv", "id,name,email\n1,Ann,a@acme.com\n")
    made("in/2.json", '[{"id": "2", "name": "Bea"}]')

    with pytest.raises(ConfigError, match=r"(?s)in/2\.json.*--allow-missing"):
        Warehouse(tmp_path).load("in")


def test_partitions_become_columns(tmp_path: Path) -> None:
    made("in/ds=2024-01-01/country=DE/a.csv", A)
    made("in/ds=2024-01-02/country=__HIVE_DEFAULT_PARTITION__/b.csv", B)
    made("in/ds=a%2Fb c/country=S%C3%A9/c.csv", C)

    found = [frame.select("ds", "country", "name").row(0) for _, _, frame in frames("in")]
    assert found == [("2024-01-01", "DE", "Ann"), ("2024-01-02", None, "Bea"), ("a/b c", "Sé", "Cy")]
    assert "in/ds=2024-01-01/country=DE/a.csv: column 'ds' from its folder (ds=2024-01-01)" in notes("in")
    assert fates(Warehouse(tmp_path).load("in/ds=2024-01-01")) == {"created": 1}
    assert Warehouse(tmp_path).column("country") == ["DE"]


def test_partitions_of_parquet_and_of_a_pattern() -> None:
    Path("in.parquet/ds=1").mkdir(parents=True)
    pl.DataFrame({"id": ["1"], "name": ["Ann"]}).write_parquet("in.parquet/ds=1/part-0.parquet")
    made("in.parquet/ds=1/part-0.csv", B)

    assert [frame["ds"].to_list() for _, _, frame in frames("in.parquet")] == [["1"]]
    assert [frame["ds"].to_list() for _, _, frame in frames("in.parquet/ds=*/*.csv")] == [["1"]]
    assert "ds" not in frames("in.parquet/ds=1/part-0.csv")[0][2].columns


def test_a_column_of_the_file_is_used_instead_of_that_of_its_folder() -> None:
    made("in/name=Zoe/a.csv", A)

    assert rows("in") == [("in/name=Zoe/a.csv", 2, "1", "Ann")]
    assert "has a column 'name' of its own, which is used" in "".join(notes("in"))


def test_folders_that_contradict_each_other_are_refused() -> None:
    made("in/ds=1/ds=2/a.csv", A)

    assert "give two values to the column 'ds'" in refusal("in")


@pytest.mark.parametrize(
    ("marker", "what"),
    [("_delta_log/0.json", "a Delta Lake table"), ("metadata/v1.metadata.json", "an Apache Iceberg table")],
)
def test_a_table_of_many_files_is_not_read_file_by_file(marker: str, what: str) -> None:
    made("in/data/part-0.csv", A)
    made(f"in/{marker}", "{}")

    assert f"in: is {what}" in refusal("in")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_cannot_be_read_stops_the_run() -> None:
    made("in/a.csv", A)
    made("in/closed/b.csv", B)
    Path("in/closed").chmod(0)
    try:
        assert "in/closed: this folder cannot be read" in refusal("in")
    finally:
        Path("in/closed").chmod(0o700)


def test_customers_of_several_formats_are_merged_and_the_last_one_counts(tmp_path: Path) -> None:
    made("in/a.csv", "id,name,email\n1,Ann,a@acme.com\n")
    made("in/b.json", '[{"id": "1", "name": "Anna", "email": "a@acme.com"}]')

    assert fates(Warehouse(tmp_path).load("in")) == {"created": 1, "merged": 1}
    assert Warehouse(tmp_path).column("name") == ["Anna"]


def test_an_archive_named_twice_is_read_once() -> None:
    zipped("all.zip", {"a.csv": A})
    Path("link.zip").symlink_to("all.zip")

    assert len(rows("all.zip", "link.zip")) == 1
    assert "is given more than once (also as link.zip); it is read once" in "".join(notes("all.zip", "link.zip"))
