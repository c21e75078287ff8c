"""Reading CSV: every line has one fate and keeps its number, whatever the bytes."""

from __future__ import annotations

import gzip
import io
import os
import socket
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Thread

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tranship.connectors import opening
from tranship.connectors.errors import ConfigError
from tranship.connectors.files import csv as csv_file
from tranship.connectors.files import csv_dialect, csv_records, locating
from tranship.connectors.files.csv import CsvSource
from tranship.connectors.files.csv_dialect import CsvOptions, Dialect
from tranship.connectors.files.csv_frames import CsvPart
from tranship.connectors.files.csv_grammar import Grammar
from tranship.connectors.files.csv_records import cut_blocks
from tranship.connectors.registry import CONNECTORS
from tranship.schemas import cells

SUFFIXES = CONNECTORS["csv"].suffixes
COMMA = Grammar(b",", b'"')


def read(data: bytes, tmp_path: Path, name: str = "in.csv", **options: object) -> tuple[list[tuple], list[tuple]]:
    """Return records as (line, *values) and broken lines as (line, code, text)."""
    path = tmp_path / name
    path.write_bytes(data)
    return everything(CsvSource(locating.expand(str(path), SUFFIXES), CsvOptions(**options)))


def everything(source: CsvSource) -> tuple[list[tuple], list[tuple]]:
    records, broken = [], []
    for part in source.parts(Path("pages")):
        batch = part.read()
        records += [(line, *row) for line, row in zip(batch.lines, batch.records.rows(), strict=True)]
        broken += batch.broken.select("line", "code", "text").rows()
    return records, sorted(broken)


def in_pieces(data: bytes, size: int, columns: int = 3) -> tuple[list[tuple], list[tuple]]:
    """Return the same, read in pieces of a given size, without a header."""
    names = tuple(f"c{i}" for i in range(columns))
    dialect = Dialect("utf-8", COMMA, names)
    records, broken = [], []
    for block, position in cut_blocks(Pieces(data, size), dialect, "test"):
        batch = CsvPart("test", [block], names, COMMA, position).read()
        records += [(line, *row) for line, row in zip(batch.lines, batch.records.rows(), strict=True)]
        broken += batch.broken.select("line", "code", "text").rows()
    return records, sorted(broken)


class Pieces:
    def __init__(self, data: bytes, size: int) -> None:
        self.data, self.size, self.position = data, size, 0

    def __iter__(self):
        while self.position < len(self.data):
            self.position += self.size
            yield self.data[self.position - self.size : self.position]


# The fate of each line ---------------------------------------------------------------------------------------------

LINES = [
    ("plain", b"1,A,a\n2,B,b\n", [(2, "1", "A", "a"), (3, "2", "B", "b")], []),
    ("no line end at the end", b"1,A,a\n2,B,b", [(2, "1", "A", "a"), (3, "2", "B", "b")], []),
    ("windows line ends", b"1,A,a\r\n2,B,b\r\n", [(2, "1", "A", "a"), (3, "2", "B", "b")], []),
    ("old mac line ends", b"1,A,a\r2,B,b\r", [(2, "1", "A", "a"), (3, "2", "B", "b")], []),
    ("blank lines are nothing", b"\n1,A,a\n\n\r\n2,B,b\n\n", [(3, "1", "A", "a"), (6, "2", "B", "b")], []),
    ("nulls", b"1,,a\n2,\"\",b\n", [(2, "1", None, "a"), (3, "2", None, "b")], []),
    ("only delimiters is a record", b",,\n", [(2, None, None, None)], []),
    ("quoted delimiter", b'1,"A, B",a\n', [(2, "1", "A, B", "a")], []),
    ("quoted quote", b'1,"A ""B""",a\n', [(2, "1", 'A "B"', "a")], []),
    ("quoted line break", b'1,"A\nB",a\n2,C,c\n', [(2, "1", "A\nB", "a"), (4, "2", "C", "c")], []),
    ("quoted blank lines", b'1,"A\n\n\nB",a\n2,C,c\n', [(2, "1", "A\n\n\nB", "a"), (6, "2", "C", "c")], []),
    ("quote inside a bare value is text", b'1,15" disk,a\n2,"B",b\n', [(2, "1", '15" disk', "a"), (3, "2", "B", "b")], []),
    ("short line", b"1,A\n2,B,b\n", [(3, "2", "B", "b")], [(2, "line.too_few_columns", "1,A")]),
    ("long line", b"1,A,a,x\n2,B,b\n", [(3, "2", "B", "b")], [(2, "line.too_many_columns", "1,A,a,x")]),
    ("long after quoted break", b'1,"A\nB",a\n2,C,c,x\n3,D,d\n', [(2, "1", "A\nB", "a"), (5, "3", "D", "d")], [(4, "line.too_many_columns", "2,C,c,x")]),
    ("open quote among quoted lines", b'1,"A,a\n2,"B",b\n3,C,c\n', [(3, "2", "B", "b"), (4, "3", "C", "c")], [(2, "line.quote", '1,"A,a')]),
    ("open quote, no other quote", b'1,"A,a\n2,B,b\n3,C,c\n', [(3, "2", "B", "b"), (4, "3", "C", "c")], [(2, "line.quote", '1,"A,a')]),
    ("open quote on the last line", b'1,A,a\n2,"B,b', [(2, "1", "A", "a")], [(3, "line.quote", '2,"B,b')]),
    ("text behind a closing quote", b'1,"A"x,a\n2,B,b\n', [(3, "2", "B", "b")], [(2, "line.quote", '1,"A"x,a')]),
    ("a quoted value over lines is a value", b'1,"A,a\n2,B,b\n3,C",c\n', [(2, "1", "A,a\n2,B,b\n3,C", "c")], []),
    ("an open quote closed by chance", b'1,"A,a\n2,B,b\n3,C"\n4,D,d\n', [(3, "2", "B", "b"), (5, "4", "D", "d")], [(2, "line.quote", '1,"A,a'), (4, "line.too_few_columns", '3,C"')]),
    ("bad bytes", b"1,\xc3\xa9,a\n2,x\xff\xfe,b\n3,C,c\n", [(2, "1", "é", "a"), (4, "3", "C", "c")], [(3, "line.encoding", "2,x\\xff\\xfe,b")]),
    ("bad bytes in a quoted break", b'1,"\xc3\xa9",a\n2,"x\n\xff",b\n3,C,c\n', [(2, "1", "é", "a"), (5, "3", "C", "c")], [(3, "line.encoding", '2,"x\n\\xff",b')]),
    ("a quote after a blank", b'1, "A, B",a\n', [(2, "1", "A, B", "a")], []),
    ("a quote after blanks at the start of a line", b'  "1",A,a\n2,B,b\n', [(2, "1", "A", "a"), (3, "2", "B", "b")], []),
    ("blanks behind a closing quote", b'1,"A, B"  , "a" \n2,B,b\n', [(2, "1", "A, B", "a"), (3, "2", "B", "b")], []),
    ("a blank and quoted quotes", b'1, "A, ""B"" , ",a\n', [(2, "1", 'A, "B" , ', "a")], []),
    ("a blank and a quoted line break", b'1, "A\n , ""B""",a\n2, "B",b\n', [(2, "1", 'A\n , "B"', "a"), (4, "2", "B", "b")], []),
    ("a quote after a blank beside one inside a value", b'1,15" disk, "a, b"\n2,B,b\n', [(2, "1", '15" disk', "a, b"), (3, "2", "B", "b")], []),
    ("text behind a quote after a blank", b'1, "A" x,a\n2,B,b\n', [(3, "2", "B", "b")], [(2, "line.quote", '1, "A" x,a')]),
    ("an open quote after a blank", b'1, "A,a\n2,B,b\n', [(3, "2", "B", "b")], [(2, "line.quote", '1, "A,a')]),
    ("a blank inside a value before a quote is text", b'1,A "B",a\n', [(2, "1", 'A "B"', "a")], []),
    ("many blanks before a quote", b'1,' + b" " * 100 + b'"A, B",a\n', [(2, "1", "A, B", "a")], []),
    ("a mark at the start of a line", b'1,A,a\n\xef\xbb\xbf2,B,b\n', [(2, "1", "A", "a"), (3, "2", "B", "b")], []),
    ("a mark before a quote", b'1,A,a\n\xef\xbb\xbf"2","B, C",b\n', [(2, "1", "A", "a"), (3, "2", "B, C", "b")], []),
    ("two marks", b'1,A,a\n\xef\xbb\xbf\xef\xbb\xbf2,B,b\n', [(2, "1", "A", "a"), (3, "2", "B", "b")], []),
    ("a mark alone on a line", b'1,A,a\n\xef\xbb\xbf\n2,B,b\n', [(2, "1", "A", "a"), (4, "2", "B", "b")], []),
    ("a mark inside a value stays", '1,"A\n\ufeffB",\ufeffa\n'.encode(), [(2, "1", "A\n\ufeffB", "\ufeffa")], []),
    ("guards", "1,'=A,'-a\n2,''B,'s-H\n3,'＝C,'\ufeff@c\n4,'tis,'\n".encode(), [(2, "1", "=A", "-a"), (3, "2", "'B", "'s-H"), (4, "3", "＝C", "\ufeff@c"), (5, "4", "'tis", "'")], []),
    ("a guarded formula", b'1,"\'=""00123""",="00123"\n2,"=""a,b""","=""x"""""\n', [(2, "1", '="00123"', "00123"), (3, "2", "a,b", '="x""')], []),
    ("zero byte inside a value is text", b"1,A\x00B,a\n", [(2, "1", "A\x00B", "a")], []),
]  # fmt: skip


@pytest.mark.parametrize(("data", "records", "broken"), [case[1:] for case in LINES], ids=[case[0] for case in LINES])
def test_each_line_has_its_fate_and_number(data, records, broken, tmp_path):
    head = b"id,name,email" + (b"\r" if b"\r" in data and b"\n" not in data else b"\n")
    assert read(head + data, tmp_path, encoding="utf-8", header=True, delimiter=",", quote='"') == (
        records,
        broken,
    )


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 16, 1000])
@pytest.mark.parametrize(("data", "records", "broken"), [case[1:] for case in LINES], ids=[case[0] for case in LINES])
def test_the_size_of_pieces_changes_nothing(data, records, broken, size):
    shifted = [(line - 1, *values) for line, *values in records]
    assert in_pieces(data, size) == (shifted, [(line - 1, code, text) for line, code, text in broken])


def test_files_that_were_joined(tmp_path):
    for encoding in ("utf-8-sig", "utf-16"):
        first, second = ("id,Name\n1,A\n".encode(encoding), '"id", name \n2,"B, C"\n'.encode(encoding))
        path = tmp_path / "in.csv"
        path.write_bytes(first + second)
        source = CsvSource(locating.expand(str(path), SUFFIXES), CsvOptions())
        assert everything(source) == ([(2, "1", "A"), (4, "2", "B, C")], [(3, "line.header", "id, name ")])
        assert "files were joined: removed the byte-order mark on line 3" in source.layouts()[0].notes


def test_a_record_that_only_begins_as_the_header_does_is_a_record(tmp_path):
    assert read(b"id,name\nid,Acme\nID,NAME\n", tmp_path) == ([(2, "id", "Acme")], [(3, "line.header", "ID,NAME")])


@pytest.mark.parametrize(
    "second", [b"name,id,email\nB,2,b@x.co\n", b"id,email,name\n2,b@x.co,B\n", b"email,name,id\nb@x.co,B,2\n"]
)
def test_joined_files_with_their_columns_in_another_order_are_not_read(tmp_path: Path, second: bytes) -> None:
    with pytest.raises(ConfigError, match="line 3 is a header with the columns in another order"):
        read(b"id,name,email\n1,A,a@x.co\n" + second, tmp_path)


def test_a_customer_called_like_a_column_is_none(tmp_path: Path) -> None:
    assert read(b"id,name,email\nname,id,a@x.co\nid,name,b@x.co\n", tmp_path)[1] == []


def test_joined_files_of_other_byte_orders_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"in\.csv: files of UTF-16 with different byte orders"):
        read("id,name\n1,A\n".encode("utf-16") + b"\xfe\xff" + "id,name\n2,B\n".encode("utf-16-be"), tmp_path)


@pytest.mark.parametrize("form", ["utf-8", "utf-16", "gzip", "quoted"])
@pytest.mark.parametrize("padding", [100_000, 1_500_000])
def test_a_header_of_any_length_is_read_to_its_end(form, padding, tmp_path):
    long = "x" * padding
    middle = f'"{long}\n, ""{long}"' if form == "quoted" else f"{long},{long}"
    text = f"id;x,{middle},updated_at\n" + "1,2,3,4\n" * 3
    text = text if form != "quoted" else text.replace("2,3", "2")
    data = gzip.compress(text.encode()) if form == "gzip" else text.encode("utf-16" if form == "utf-16" else "utf-8")
    path = tmp_path / "in.csv"
    path.write_bytes(data)
    source = CsvSource(locating.expand(str(path), SUFFIXES), CsvOptions())
    assert source.layouts()[0].columns[-1] == "updated_at"
    records, broken = everything(source)
    assert not broken
    assert [row[0] for row in records] == [3, 4, 5] if form == "quoted" else [2, 3, 4]


def test_a_first_record_of_any_length_without_a_header(tmp_path):
    records, broken = read(b"1," + b"x" * 3_000_000 + b",a@b.example\n2,B,b@b.example\n", tmp_path)
    assert [(row[0], row[1], row[3]) for row in records] == [(1, "1", "a@b.example"), (2, "2", "b@b.example")]
    assert not broken


def test_a_first_record_without_end_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_dialect, "MAX_RECORD_BYTES", 1 << 20)
    monkeypatch.setattr(csv_records, "MAX_RECORD_BYTES", 1 << 20)
    with pytest.raises(ConfigError, match=r"in\.csv: the first record does not end within 1 MB"):
        read(b"id," + b"x" * (2 << 20), tmp_path)


def test_a_header_with_a_broken_quote_is_reported(tmp_path):
    with pytest.raises(ConfigError, match=r"in\.csv, line 2: a quote that opens a value is not closed"):
        read(b'\nid,"na"me,email\n1,A,a@b.example\n', tmp_path)


# Any bytes ---------------------------------------------------------------------------------------------------


@st.composite
def damaged_files(draw) -> tuple[bytes, list[bytes]]:
    """Generate a CSV with a token in every line, then truncated, with random bytes inserted and quotes removed."""
    lines = []
    for number in range(draw(st.integers(1, 25))):
        token = f"tok{number:03}x"
        value = draw(st.sampled_from(['"a, b"', "plain", '"x ""q"" y"', '"two\nlines"', "é", "", '15" disk', '"']))
        lines.append(f"{token},{value},z")
    data = bytearray(draw(st.sampled_from([b"\n", b"\r\n"])).join(line.encode() for line in lines))
    for _ in range(draw(st.integers(0, 6))):
        if not data:
            break
        at = draw(st.integers(0, len(data) - 1))
        how = draw(st.sampled_from(["insert", "remove", "quote", "truncate"]))
        if how == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=3))
        elif how == "remove":
            del data[at]
        elif how == "quote":
            data[at:at] = b'"'
        else:
            del data[at:]
    tokens = [token for number in range(25) if data.count(token := f"tok{number:03}x".encode()) == 1]
    return bytes(data), tokens


@pytest.mark.slow
@given(damaged_files(), st.integers(1, 64))
@settings(max_examples=int(os.environ.get("TRANSHIP_EXAMPLES", "40")))
@example((b'tok000x,"\n\ntok001x,a,b', [b"tok000x", b"tok001x"]), 3)
@example((b',",,\naa\n""tok000x"a,"\n"\n\n\n""a,"\n,', [b"tok000x"]), 1)
def test_no_line_is_lost_or_doubled(file, size):
    data, tokens = file
    records, broken = in_pieces(data, size)
    kept = [str(value) for row in records for value in row[1:]] + [text for _, _, text in broken]
    for token in tokens:
        assert sum(text.count(token.decode()) for text in kept) == 1
    assert (records, broken) == in_pieces(data, 1 << 20)
    places = [row[0] for row in records] + [row[0] for row in broken]
    assert len(set(places)) == len(places)


@given(data=st.binary(max_size=400))
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
def test_any_bytes_are_explained(data, tmp_path):
    try:
        read(data, tmp_path)
    except ConfigError as error:
        assert "in.csv" in str(error)  # noqa: PT017  (either it reads, or it says why not)


# Detection ----------------------------------------------------------------------------------------------------------

TEXT = "id;Name;Umsatz\r\n1;Müller;1,5\r\n2;Jürgen;2,75\r\n"


@pytest.mark.parametrize(
    ("encoding", "note"),
    [("utf-8", ""), ("utf-8-sig", ""), ("utf-16", "UTF-16"), ("utf-16-le", "UTF-16-LE"), ("utf-16-be", "UTF-16-BE"), ("cp1252", "Windows-1252")],
)  # fmt: skip
def test_encodings_are_found_out(encoding, note, tmp_path):
    path = tmp_path / "in.csv"
    path.write_bytes(TEXT.encode(encoding))
    source = CsvSource(locating.expand(str(path), SUFFIXES), CsvOptions())
    layout = source.layouts()[0]
    assert layout.columns == ("id", "Name", "Umsatz")
    assert note in " ".join(layout.notes)
    assert everything(source)[0] == [(2, "1", "Müller", "1,5"), (3, "2", "Jürgen", "2,75")]


ALPHABETS = [
    ("cp1251", "Иван Петров"), ("koi8-r", "Анна Иванова"), ("iso8859-7", "Γιώργος Παπαδόπουλος"), ("cp1255", "דוד כהן"),
    ("cp1254", "Ayşe Yılmaz"), ("cp1250", "Łukasz Wąsik"), ("shift_jis", "山田太郎"), ("gbk", "张三"), ("cp850", "Jörg"),
    ("mac-roman", "René Müller"), ("cp1257", "Šarūnas"), ("cp1256", "محمد"), ("euc-kr", "김철수"),
]  # fmt: skip
WESTERN = (
    *("Café", "Müller", "Señor", "Škoda", "Größer", "Associação", "Väänänen", "Sigríður Þórðardóttir", "Bjørn Ærø"),
    *("O’Brien", "Acme™ GmbH", "£5 Shop", "¿Qué?", "Mª José", "Gel·la", "Créée", "ÅÄÖ AB", "Jõõts", "Œuvre", "50 m²"),
)


@pytest.mark.parametrize(("encoding", "name"), ALPHABETS)
def test_text_of_another_alphabet_asks_for_its_encoding(encoding, name, tmp_path):
    data = f"id,name,city\n1,{name},Bonn\n2,Smith,Rome\n".encode(encoding)
    with pytest.raises(ConfigError, match=r"in\.csv: is not UTF-8, .* --encoding cp1251") as raised:
        read(data, tmp_path)
    assert name.encode(encoding).decode("cp1252", "replace") not in str(raised.value)
    assert read(data, tmp_path, encoding=encoding)[0][0] == (2, "1", name, "Bonn")


@pytest.mark.parametrize("name", [*WESTERN, "\n7,".join(WESTERN)])
def test_western_names_are_no_other_alphabet(name, tmp_path):
    records, broken = read(f"id,name\n1,{name}\n".encode("cp1252"), tmp_path)
    assert [row[2] for row in records] == name.split("\n7,")
    assert not broken


def test_single_quotes_are_no_guards(tmp_path):
    """A file written by Tranship with a guard in every line is not read as one quoted by apostrophes."""
    assert read(b"id,name\n'-1','=A'\n'-2','=B'\n", tmp_path)[0] == [(2, "-1'", "=A'"), (3, "-2'", "=B'")]


def test_a_file_of_utf8_with_one_bad_line_stays_utf8(tmp_path):
    records, broken = read("id,name\n1,Zoë\n".encode() + b"2,Andr\xe9\n", tmp_path)
    assert records == [(2, "1", "Zoë")]
    assert broken == [(3, "line.encoding", "2,Andr\\xe9")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_are_found_out(delimiter, tmp_path):
    data = "\n".join(
        delimiter.join(row) for row in (("id", "name"), ("1", "A; B, C|D".replace(delimiter, "")), ("2", "E"))
    )
    assert [row[1] for row in read(data.encode(), tmp_path)[0]] == ["1", "2"]


def test_single_quotes_are_found_out(tmp_path):
    assert read(b"'id','name'\n'1','A, B'\n", tmp_path)[0] == [(2, "1", "A, B")]


def test_a_file_without_header_gets_numbered_columns(tmp_path):
    path = tmp_path / "in.csv"
    path.write_bytes(b"1,Acme,a@acme.com\n2,Beta,b@beta.com\n")
    source = CsvSource(locating.expand(str(path), SUFFIXES), CsvOptions())
    assert source.layouts()[0].columns == ("column_1", "column_2", "column_3")
    assert len(everything(source)[0]) == 2


def test_repeated_and_blank_headers_get_names_of_their_own(tmp_path):
    path = tmp_path / "in.csv"
    path.write_bytes(b"id,id,,Name\n1,2,3,4\n")
    layout = CsvSource(locating.expand(str(path), SUFFIXES), CsvOptions()).layouts()[0]
    assert layout.columns == ("id", "id_2", "column_3", "Name")
    assert layout.repeated == {"id_2": "id"}
    assert layout.notes == ("another column is named 'id'; it is called 'id_2' here",)


@pytest.mark.parametrize("name", ["in.csv.gz", "in.csv.zst", "misnamed.csv"])
def test_compression_is_recognised_by_the_bytes(name, tmp_path):
    data = b"id,name\n1,A\n"
    if "zst" in name:
        import pyarrow as pa

        packed = pa.compress(data, codec="zstd", asbytes=True)
    else:
        packed = gzip.compress(data[:8]) + gzip.compress(data[8:])  # two members, as log rotation leaves them
    assert read(packed, tmp_path, name)[0] == [(2, "1", "A")]


@pytest.mark.slow
def test_an_incomplete_gzip_file_is_refused(tmp_path):
    rows = b"".join(b"%d,name %d\n" % (i, i * 7919) for i in range(200_000))
    packed = gzip.compress(b"id,name\n" + rows)
    with pytest.raises(ConfigError, match=r"in\.csv\.gz: the gzip data ends in the middle"):
        read(packed[: len(packed) // 2], tmp_path, "in.csv.gz")


def test_a_folder_and_a_glob_are_read_in_the_order_of_names(tmp_path):
    for name in ("b.csv", "a.csv", "notes.md"):
        (tmp_path / name).write_bytes(b"id,name\n" + name[:1].encode() + b",A\n")
    for spec in (str(tmp_path), str(tmp_path / "*.csv")):
        assert [row[1] for row in everything(CsvSource(locating.expand(spec, SUFFIXES), CsvOptions()))[0]] == ["a", "b"]


def test_standard_input_is_read_once(monkeypatch):
    class Stdin:
        buffer = io.BytesIO(b"id,name\n1,A\n")

    monkeypatch.setattr(sys, "stdin", Stdin)
    assert everything(CsvSource(locating.expand("-", SUFFIXES), CsvOptions()))[0] == [(2, "1", "A")]


@pytest.fixture
def fifo(tmp_path):
    """`fifo(data)`: a named pipe that contains these bytes once."""
    with ExitStack() as stack:

        def made(data: bytes, name: str = "pipe.csv") -> Path:
            path = tmp_path / name
            os.mkfifo(path)
            writer = Thread(target=path.write_bytes, args=(data,))
            writer.start()
            stack.callback(writer.join)
            return path

        yield made


@pytest.mark.slow
@pytest.mark.parametrize("packed", [False, True])
def test_a_pipe_is_read_once_and_to_its_end(packed, fifo):
    data = b"id,name\n" + b"".join(b"%d,Customer %d\n" % (i, i) for i in range(200_000))
    source = CsvSource(locating.expand(str(fifo(gzip.compress(data) if packed else data)), SUFFIXES), CsvOptions())
    assert source.size is None
    records, broken = everything(source)
    source.close()
    assert [row[1] for row in records] == [str(i) for i in range(200_000)]
    assert not broken


def test_a_parquet_file_out_of_a_pipe(fifo, tmp_path):
    pl.DataFrame({"id": ["1"], "name": ["A"]}).write_parquet(tmp_path / "a.parquet")
    data = (tmp_path / "a.parquet").read_bytes()
    for name in ("pipe.parquet", "pipe.csv"):
        source = opening.open_source(str(fifo(data, name)))
        assert [part.read().records.to_dicts() for part in source.parts(Path("pages"))] == [[{"id": "1", "name": "A"}]]
        source.close()


def test_a_device_is_read_as_a_pipe_is():
    assert everything(CsvSource(locating.expand("/dev/null", SUFFIXES), CsvOptions())) == ([], [])


def test_a_socket_is_refused(tmp_path):
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(tmp_path / "s.csv"))
        with pytest.raises(ConfigError, match=r"s\.csv: is a socket"):
            CsvSource(locating.expand(str(tmp_path / "s.csv"), SUFFIXES), CsvOptions())


@pytest.mark.parametrize("change", [b"3,C", None])
def test_a_file_that_changes_while_it_is_read_is_refused(change, tmp_path):
    path = tmp_path / "in.csv"
    path.write_bytes(b"id,name\n1,A\n2,B\n")
    source = CsvSource(locating.expand(str(path), SUFFIXES), CsvOptions())
    with path.open("r+b") as file:
        file.seek(0, 2)
        file.write(change) if change else file.truncate(12)
    with pytest.raises(ConfigError, match=r"in\.csv: changed while it was read \(16 bytes"):
        everything(source)


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("missing.csv", {}, "no such file"),
        ("*.none", {}, "no file matches"),
        ("in.csv", {"encoding": "klingon"}, "klingon: is an unknown encoding"),
        ("in.csv", {"encoding": "\0"}, "is an unknown encoding"),
        ("in.csv", {"encoding": "hex"}, "hex: is an unknown encoding"),
        ("in.csv", {"encoding": "rot13"}, "rot13: is an unknown encoding"),
        ("in.csv", {"encoding": "idna"}, "cannot be read with --encoding idna"),
        ("in.csv", {"encoding": "undefined"}, "cannot be read with --encoding undefined"),
        ("in.csv", {"encoding": "utf-16"}, "cannot be read with --encoding utf-16.*utf-16-le"),
        ("in.csv", {"encoding": "utf-32"}, "cannot be read with --encoding utf-32"),
        ("in.csv", {"delimiter": ";;"}, "must be one ASCII character"),
    ],
)
def test_what_cannot_be_opened_is_reported(spec, options, message, tmp_path):
    (tmp_path / "in.csv").write_bytes(b"id\n1\n")
    with pytest.raises(ConfigError, match=message):
        CsvSource(locating.expand(str(tmp_path / spec), SUFFIXES), CsvOptions(**options))


def test_lines_are_counted_across_blocks_and_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_file, "PIECE_BYTES", 1 << 12)
    monkeypatch.setattr(csv_file, "PART_BYTES", 1 << 13)
    rows = [f'{i},"name\n{i}",x' if i % 7 == 0 else f"{i},name {i},x" for i in range(5000)]
    records, broken = read(("id,name,z\n" + "\n".join(rows)).encode(), tmp_path, delimiter=",", header=True)
    assert not broken
    expected, line = [], 2
    for i, row in enumerate(rows):
        expected.append((line, str(i)))
        line += 1 + row.count("\n")
    assert [row[:2] for row in records] == expected


# Writing --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "written"),
    [("=1+1", "'=1+1"), ("@SUM(A1)", "'@SUM(A1)"), ("+49301234567", "+49301234567"), ("-", "'-"), ("-5", "-5"), ("+cmd|x", "'+cmd|x"), ("+1 415", "+1 415"), ("'-7A", "''-7A"), ("'s-Hertogenbosch", "''s-Hertogenbosch"), ("＝1", "'＝1"), ("\ufeff\u200b=1", "'\ufeff\u200b=1"), ("\ufeffA", "\ufeffA"), ("plain", "plain"), ("a=b", "a=b")],
)  # fmt: skip
def test_cells_that_a_spreadsheet_would_run_are_made_harmless(cell, written):
    frame = pl.DataFrame({"v": [cell]}).select(cells.guarded(pl.col("v")))
    assert frame["v"].to_list() == [written]
