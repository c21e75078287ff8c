"""The place of the header of a file: lines above it are skipped with a note, customers never."""

from __future__ import annotations

import csv
import gzip
import io
import os
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tranship.connectors.errors import ConfigError
from tranship.connectors.files import header_row, locating
from tranship.connectors.files.csv import CsvSource
from tranship.connectors.files.csv_dialect import CsvOptions
from tranship.connectors.registry import CONNECTORS

SUFFIXES = CONNECTORS["csv"].suffixes


def opened(path: Path, **options: object) -> CsvSource:
    return CsvSource(locating.expand(str(path), SUFFIXES), CsvOptions(**options))


def read(data: bytes | str, tmp_path: Path, **options: object) -> tuple[tuple[str, ...], list[tuple], list[str]]:
    """Return columns; records as (line, *values), broken lines as (line, code); notes on the header."""
    path = tmp_path / "in.csv"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    source = opened(path, **options)
    layout = source.layouts()[0]
    return layout.columns, rows_of(source), [note for note in layout.notes if "header" in note or "skipped" in note]


def rows_of(source: CsvSource) -> list[tuple]:
    found: list[tuple] = []
    for part in source.parts(Path("pages")):
        batch = part.read()
        found += [(line, *row) for line, row in zip(batch.lines, batch.records.rows(), strict=True)]
        found += batch.broken.select("line", "code").rows()
    return sorted(found, key=lambda row: row[0])


# Title, text above the header, header, the records below; the header is on the line after the text above.
PREAMBLES = [
    ("sep line", "sep=;\n", "Name;Email", "Britt, B;b@x.co\n"),
    ("sep line of a tab after a mark", "\ufeffsep=\t\n", "id\tname\temail", "1\tA, B\ta@x.co\n"),
    ("sep line in quotes with Windows line ends", '"sep=|"\r\n', "id|name", "1|A\r\n2|B\r\n"),
    ("sep line of a blank", "sep= \n", "id name email", "1 A a@x.co\n"),
    ("sep line that Excel has saved again", "SEP=;;;\n", "id;name;email", "1;A;a@x.co\n"),
    ("sep line and titles", "sep=;\nKundenliste\n\n", "Kundennr;Name;Ort", "1;A;Bonn\n"),
    ("blank lines and commas", "\n,,,\n , ,,\n\n", "id,name,email,city", "1,A,a@x.co,Bonn\n"),
    ("comments", "# Exported by CRM, on Monday\n# id: the number\n", "id,name,email", "1,A,a@x.co\n"),
    ("a comment above two columns", "# Exported by CRM, on Monday\n", "name,email", "A,a@x.co\n"),
    ("accounting titles", 'Customer Contact List\nAlder Landscaping\n"All dates"\n\n', "Customer full name,Phone numbers,Email,Create date", "A,1,a@x.co,03/25/2024\n"),
    ("labels and a date", "Report:,All customers\nRun on:,2025-02-03\n\n", "Customer ID,Customer,Email,City", "31,Z,z@z.co,Ghent\n"),
    ("labels without colons, not padded", "Generated on,2024-01-01\n", "id,name,email", "1,A,a@x.co\n"),
    ("titles padded by a spreadsheet", "Customers,,,\nAs of,2024-01-01,,\n,,,\n", "id,name,email,city", "1,A,a@x.co,Bonn\n2,B,b@x.co,Rom\n"),
    ("advertising report", 'Campaign report\n"January 1, 2024 - January 31, 2024"\n', "Customer ID,Company,Country,Currency", "123,A,DE,EUR\n"),
    ("title with a delimiter, header with another", "Customers, all regions\nBonn, Ghent, Oslo\n\n", "id;name;email", "1;A;a@x.co\n2;B;b@x.co\n"),
    ("bank report", "Kontoinhaber:;Muster GmbH\nZeitraum:;01.01.2024 - 31.12.2024\nSaldo:;1.234,56;EUR\n\n", "Kundennummer;Name;Ort;Land", "1;A;Bonn;DE\n"),
    ("totals above the header", ",,Total,1234.50\n", "id,name,email,balance", "1,A,a@x.co,20.00\n"),
    ("a sum in the last column", "Total customers: 2\n,,,99.00\n", "id,name,email,balance", "1,A,a@x.co,20.00\n"),
    ("only a date", "2024-05-01\n", "id,name,email", "1,A,a@x.co\n"),
    ("title over two lines", '"Customers\n of Acme"\n', "id,name,email", "1,A,a@x.co\n"),
    ("groups of columns", ",,Billing Address,,\n", "id,name,street,city,zip", "1,A,Way 1,Bonn,53111\n"),
    ("more titles than customers", "Acme\nCustomers\nQ1\nDraft\n", "id,name,email", "1,A,a@x.co\n"),
    ("the exporter's address", "Exported by,jane@acme.co\n", "id,name,email,city", "1,A,a@x.co,Bonn\n"),
    ("unknown words, numbers below", "Liste\nStand: Montag\n", "Xkod,Qnimi,Zraha", "1,Ada,5.00\n2,Ben,6.00\n"),
    ("one column under a title", "Newsletter subscribers\n\n", "email", "a@x.co\nb@x.co\n"),
    ("one column under a title with a comma", "Subscribers, all\n\n", "email", "a@x.co\nb@x.co\n"),
    ("one column under a comment", "# subscribers\n", "email", "a@x.co\n"),
    ("years in the header", "Sales by customer\n\n", "Customer,Email,2021,2022,2023", "A,a@x.co,1.00,2.00,3.00\n"),
    ("a title that is a column's name", "Customer\n", "id,name,email", "1,A,a@x.co\n"),
    ("a header that begins with the mark of a comment", "# Export\n", "#id,name,email", "1,A,a@x.co\n"),
    ("a title as wide as the header", "Generated on,2024-01-01\n", "name,email", "A,a@x.co\n"),
    ("titles as wide as the header", "Customer list,Acme GmbH\nGenerated on,2024-01-01\n", "name,email", "A,a@x.co\n"),
    ("a title as wide as a header of numbers", "Generated on,Monday\n", "id,name", "1,A\n2,B\n"),
    ("a date above text", "Generated on,2024-01-01\n", "name,city", "A,Bonn\nB,Rom\n"),
    ("many titles", "".join(f"Term {n} of the contract\n" for n in range(120)), "id,name,email", "1,A,a@x.co\n"),
    ("an old Macintosh", "Customers\r\r", "id,name,email", "1,A,a@x.co\r2,B,b@x.co\r"),
]  # fmt: skip


@pytest.mark.parametrize(("above", "header", "below"), [case[1:] for case in PREAMBLES], ids=[c[0] for c in PREAMBLES])
def test_the_header_is_found_below_titles_and_comments(above: str, header: str, below: str, tmp_path: Path) -> None:
    ends = "\r" if "\r" in above and "\n" not in above else "\n"
    line = above.count(ends) + 1
    columns, records, notes = read(f"{above}{header}{ends}{below}", tmp_path)
    delimiter = next((mark for mark in ";\t| " if mark in header and "," not in header), ",")
    assert columns == tuple(header.split(delimiter))
    first = below.splitlines()[0].split(delimiter)
    assert records[0] == (line + 1, *first)
    assert [row[0] for row in records] == [line + 1 + number for number in range(len(below.splitlines()))]
    lines = "1 line" if line == 2 else f"{line - 1} lines"
    assert len(notes) == 1
    assert notes[0].startswith(f"header in line {line}; skipped {lines} above it (")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_the_header_is_found_in_every_encoding(encoding: str, tmp_path: Path) -> None:
    text = "sep=;\r\nÜbersicht\r\n\r\nKundennr;Name;Ort\r\n1;Müller;Köln\r\n2;Weiß\r\n"
    columns, records, _ = read(text.encode(encoding), tmp_path)
    assert columns == ("Kundennr", "Name", "Ort")
    assert records == [(5, "1", "Müller", "Köln"), (6, "line.too_few_columns")]


@pytest.mark.parametrize("packed", [False, True])
def test_the_header_is_found_in_data_from_a_pipe(packed: bool, tmp_path: Path) -> None:
    data = b"Customers\n\nid,name,email\n1,A,a@x.co\n"
    path = tmp_path / "pipe.csv"
    os.mkfifo(path)
    writer = Thread(target=path.write_bytes, args=(gzip.compress(data) if packed else data,))
    writer.start()
    source = opened(path)
    writer.join()
    assert rows_of(source) == [(4, "1", "A", "a@x.co")]
    source.close()


def test_each_file_has_its_own_header(tmp_path: Path) -> None:
    for name, above in (("a.csv", "Customers\n\n"), ("b.csv", ""), ("c.csv", "sep=,\n# c\n# d\n")):
        (tmp_path / name).write_text(f"{above}id,name,email\n1,{name},a@x.co\n")
    assert [row[:3] for row in rows_of(opened(tmp_path))] == [(2, "1", "b.csv"), (4, "1", "a.csv"), (5, "1", "c.csv")]


def test_a_repeated_header_is_not_a_customer(tmp_path: Path) -> None:
    text = "Customers\n\nid,name,email\n1,A,a@x.co\nid,name,email\n2,B,b@x.co\n"
    assert read(text, tmp_path)[1] == [(4, "1", "A", "a@x.co"), (5, "line.header"), (6, "2", "B", "b@x.co")]


def test_a_long_header_below_a_title_is_read_to_its_end(tmp_path: Path) -> None:
    text = f"Customers\n\nid,name,email,{'x' * 300_000}\n1,A,a@x.co,y\n"
    columns, records, _ = read(text, tmp_path)
    assert columns[:3] == ("id", "name", "email")
    assert [row[0] for row in records] == [4]


# Data, and the line of the first record if there is no header, else null.
FIRST_LINES = [
    ("an ordinary file", "id,name,email\n1,A,a@x.co\n", None),
    ("unknown words", "Xkod,Qnimi\nAda,Oslo\n", None),
    ("unknown words above known ones", "Kontakt,Typ,Ort\nCustomer,Email,Bonn\n", None),
    ("one column", "email\na@x.co\n", None),
    ("one column of names, with blank lines", "Firma X\n\nAcme\nBeta\n", None),
    ("a short line of text above text", "Acme\nBeta,Bonn,DE\nGamma,Oslo,NO\n", None),
    ("comments in no header", "#id,name\n1,A\n", None),
    ("a column of numbers", "#,Name,Email\n1,A,a@x.co\n", None),
    ("the values have the delimiter", "id;name\n1;Doe, John\n2;Roe, Jane\n", None),
    ("only a title", "Customer Contact List\n", None),
    ("years and no names", "Kunde,2021,2022,2023\nA,100,20,3000\n", None),
    ("a customer is first", "1,Acme,a@x.co\n2,Beta,b@x.co\n", 1),
    ("a header of labels", "Xkod:,Qnimi:,Zraha:\nAda,Bonn,viel\nBen,Oslo,5.00\nCid,Rom,6.00\n", None),
    ("a header of one name", "Xkod,,\nAda,Bonn,viel\nBen,Oslo,5.00\nCid,Rom,6.00\n", None),
    ("a header with the mark of a comment", "#xkod,qnimi\nCity,Oslo\nBen,5\nCid,6\n", None),
    ("a column of names, one of them known", "Xkod\n\nBen\nName\nAda\n", None),
    ("a title without commas and nothing known", "Xkod\n\nAda,Bonn\nBen,Oslo\n", None),
    ("numbers with the mark of a comment", "#1001,Acme,a@x.co\n#1002,Beta,b@x.co\n", 1),
    ("an address far to the right", f"{','.join(['A'] * 150)},a@x.co\n{','.join(['B'] * 150)},b@x.co\n", 1),
    ("years of a customer", "Acme,Bonn,2021,2022\nBeta,Oslo,2020,2021\n", 1),
    ("records of empty cells", ",,\n1,A,a@x.co\n", 2),
    ("comments above customers", "# all\n1,A,a@x.co\n2,B,b@x.co\n", 2),
]  # fmt: skip


@pytest.mark.parametrize(("data", "first"), [case[1:] for case in FIRST_LINES], ids=[case[0] for case in FIRST_LINES])
def test_no_customer_is_skipped(data: str, first: int | None, tmp_path: Path) -> None:
    columns, records, _ = read(data, tmp_path)
    lines = [number for number, line in enumerate(data.splitlines(), 1) if line]
    assert columns[0].startswith("column_") == (first is not None)
    assert [row[0] for row in records] == [line for line in lines if line >= (first or 2)]


SUSPECTS = [
    ("hundreds of titles", "".join(f"Term {n}\n" for n in range(400)) + "id;name;email\n8;Beta;b@x.co\n", 401),
    ("a customer above a header", "7,Acme,a@x.co\nid,name,email\n8,Beta,b@x.co\n", 2),
    ("a short customer above a header", "7,Acme,,\nid,name,email,city\n8,Beta,b@x.co,Bonn\n", 2),
    ("a narrow customer above a header", "7,Acme\nid,name,email\n8,Beta,b@x.co\n", 2),
    ("a customer with another delimiter", "7;Ann\nid,name,email\n8,Beta,b@x.co\n", 2),
    ("a name and an address above a wider header", "Acme,a@x.co\nid,name,email,city\n8,Beta,b@x.co,Bonn\n", 2),
    ("another table above a header", "a,b,c\nAda,Oslo,x\nBen,Rom,y\nid,name,email,city\n8,Beta,b@x.co,Bonn\n", 4),
]


@pytest.mark.parametrize(("data", "line"), [case[1:] for case in SUSPECTS], ids=[case[0] for case in SUSPECTS])
def test_a_header_below_a_possible_customer_stops_the_run(data: str, line: int, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=rf'in\.csv: line {line} looks like a header \("id", .* --header-line {line}\.'
    ):
        read(data, tmp_path)
    assert [row[0] for row in read(data, tmp_path, header_line=line)[1]] == [line + 1]
    assert [row[0] for row in read(data, tmp_path, header=False)[1]] == list(range(1, data.count("\n") + 1))


@pytest.mark.parametrize(
    ("above", "shown"),
    [
        ("Exported by,jane@acme.co\n\n", "Exported by"),
        ("by jane@acme.co at\x07 noon\n", "by …@… at noon"),
        (f"{'Customers of Acme ' * 9}\n", "Customers of Acme Customers of Acme Cus…"),
        ("sep=,\n", "sep=,"),
        (",,,\n", ",,,"),
    ],
)
def test_what_was_skipped_is_shown_without_addresses(above: str, shown: str, tmp_path: Path) -> None:
    assert read(f"{above}id,name,email\n1,A,a@x.co\n", tmp_path)[2][0].endswith(f'above it ("{shown}")')


# Values that might make a record look like a header, a title or a comment.
VALUES = ["", "", "Name", "Email", "City", "Ada", "Bonn, DE", 'the "best"', "two\nlines", "5.00", "2024-01-01", "a@x.co", "Sum:", "#1", "2021", "-"]  # fmt: skip
NAMES = ["Xkod", "Qnimi", "Zraha", "Vlet", "id", "name", "email", "Kunde:", "#", "2021", "2022", "7", "Xkod"]


@st.composite
def well_formed_files(draw: st.DrawFn) -> tuple[str, list[str], str]:
    """A file with a header and the same number of values in each record, its delimiter, and a token of each record."""
    width = draw(st.integers(1, 5))
    delimiter = draw(st.sampled_from(",;\t|"))
    names = draw(st.lists(st.sampled_from(NAMES), min_size=width, max_size=width))
    if width > 2:
        names[1:2] = draw(st.sampled_from([names[1:2], [""]]))
    records, tokens = [], [f"tok{number}x" for number in range(draw(st.integers(0, 8)))]
    for token in tokens:
        values = draw(st.lists(st.sampled_from(VALUES), min_size=width, max_size=width))
        values[draw(st.integers(0, width - 1))] = draw(st.sampled_from([token, f"{token}@x.co"]))
        records.append(values)
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=draw(st.sampled_from(["\n", "\r\n"]))).writerows(
        [names, *records]
    )
    return text.getvalue(), tokens, delimiter


@pytest.mark.slow
@given(file=well_formed_files())
@settings(
    max_examples=int(os.environ.get("TRANSHIP_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_record_of_a_well_formed_file_is_lost(file: tuple[str, list[str], str], tmp_path: Path) -> None:
    data, tokens, delimiter = file
    try:
        columns, records, _ = read(data, tmp_path, delimiter=delimiter)
    except ConfigError as error:
        assert "looks like a header" in str(error)  # noqa: PT017  (the user is asked)
        return
    kept = [str(value) for row in records for value in row[1:]]
    for token in tokens:
        assert sum(token in value for value in kept) == 1, (columns, records)


def test_comments_above_customers_are_noted(tmp_path: Path) -> None:
    assert read("# all\n\n1,A,a@x.co\n", tmp_path)[2] == [
        'no header line; skipped 2 lines above the first record ("# all")'
    ]


# Given by the user
# -----------------------------------------------------------------------------------------------------


def test_lines_are_skipped_before_the_header_is_detected(tmp_path: Path) -> None:
    text = 'a "b\x01,"c\n;;;;\nsep=|\nid|name\n1|A\n'
    assert read(text, tmp_path, skip_lines=2)[:2] == (("id", "name"), [(5, "1", "A")])
    assert read("1,A\n2,B\n3,C\n", tmp_path, skip_lines=2, header=False)[1] == [(3, "3", "C")]
    assert read("x,y\nid,name\n1,A\n", tmp_path, skip_lines=1)[1:] == ([(3, "1", "A")], [])


def test_the_header_is_the_given_line(tmp_path: Path) -> None:
    text = "id,name\nKennung,Bezeichnung\n1,A\n2,B\n"
    assert read(text, tmp_path, header_line=2) == (("Kennung", "Bezeichnung"), [(3, "1", "A"), (4, "2", "B")], [])
    assert read(text, tmp_path, header_line=3)[:2] == (("1", "A"), [(4, "2", "B")])
    assert read("sep=;\nx\nid;name\n1;A, B\n", tmp_path, header_line=3)[1] == [(4, "1", "A, B")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"skip_lines": 9}, r"in\.csv: --skip-lines 9: the file has only 3 lines\."),
        ({"header_line": 4}, r"in\.csv: --header-line 4: the file has only 3 lines\."),
        ({"header_line": 2}, r"in\.csv: --header-line 2: this line is blank\."),
        ({"header_line": 3, "header": False}, r"--header-line 3: contradicts --no-header"),
        ({"header_line": 2, "skip_lines": 2}, r"--header-line 2: is one of the lines that --skip-lines 2 skips"),
        ({"header_line": 0}, r"--header-line 0: lines are counted from 1\."),
        ({"skip_lines": -1}, r"--skip-lines -1: give 0 or more\."),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        read("id,name\n\n1,A\n", tmp_path, **options)


# Rows of a sheet ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "start"),
    [
        ([["Customers", "", ""], ["", "", ""], ["id", "name", "email"], ["1", "A", "a@x.co"]], (2, True)),
        ([["id", "name"], ["1", "A"]], (0, True)),
        ([["", ""], ["1", "a@x.co"]], (1, False)),
        ([["1", "a@x.co"]], (0, False)),
        ([[], ["", ""]], (0, False)),
        ([], (0, False)),
    ],
)
def test_the_header_is_found_in_rows_of_cells(rows: list[list[str]], start: tuple[int, bool]) -> None:
    found = header_row.start_of(rows)
    assert (found.row, found.header) == start
