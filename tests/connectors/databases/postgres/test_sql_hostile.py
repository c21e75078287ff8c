"""Values and names that break SQL without quoting, escaping or binding: they are returned as written, or refused with a
message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
import pytest

from support.postgres_runs import left_behind, load
from support.postgres_server import Database
from support.warehouse import Warehouse, fates
from tranship.connectors.errors import ConfigError

VALUES = {
    "single quote": "O'Brien",
    "single quotes": "'';--",
    "double quote": 'a"b',
    "double quotes": '""',
    "backslash": "a\\b",
    "backslash at the end": "ends with\\",
    "escape of a line end": "a\\nb",
    "escape of a tab": "a\\tb",
    "null of COPY": "\\N",
    "end of COPY": "\\.",
    "end of COPY in quotes": '"\\."',
    "octal escape": "\\101",
    "hex escape": "\\x41",
    "bytea": "\\xdeadbeef",
    "Unicode escape": "\\u0041",
    "Unicode escape of NUL": "\\u0000",
    "escape string": "E'\\''",
    "null": "null",
    "NULL": "NULL",
    "None": "None",
    "NaN": "NaN",
    "infinity": "infinity",
    "true": "true",
    "zero": "0",
    "minus": "-1",
    "thousands": "1,000",
    "comma": "a,b",
    "semicolon": "a;b",
    "statement": "x'); DROP TABLE customers; --",
    "comment": "a/*b*/--c",
    "parameter": "$1",
    "dollar quote": "$$a$$",
    "dollar tag": "$tranship$ END $tranship$",
    "format": "%s %(a)s %d %%",
    "braces": "{0} {a} {{}}",
    "array": "{a,b,NULL}",
    "array quote": '{"a\\"b"}',
    "json": '{"a": [1, null]}',
    "composite": "(a,b)",
    "like": "100%_",
    "formula": "=1+1",
    "at": "@SUM(A1)",
    "emoji": "🚢",
    "joined emoji": "👩‍👩‍👧‍👦",
    "flag": "🇪🇺",
    "right to left": "שלום عليكم",
    "right-to-left mark": "a\u200fb",
    "right-to-left override": "a\u202eb",
    "zero width": "a\u200bb\u2060c\ufeffd",
    "private use": "a\ue000b",
    "last code point": "a\U0010fffdb",
    "no character": "a\ufffeb\uffffc",
    "replacement": "a\ufffdb",
    "Turkish": "İstanbul ı",
    "composed": "Z\u030cofie",
    "line end": "a\nb",
    "carriage return": "a\r\nb",
    "tab": "a\tb",
    "bell": "a\ab",
    "escape": "a\x1b[31mb",
    "delete": "a\x7fb",
    "next line": "a\x85b",
    "line separator": "a\u2028b",
    "no-break space": "a\u00a0b",
    "NUL": "a\x00b",
    "blank": "   ",
    "empty": "",
    "255 letters": "x" * 255,
    "255 emoji": "🚢" * 255,
    "too long": "x" * 256,
}
TIDIED = (
    *("composed", "line end", "carriage return", "tab", "bell", "escape", "delete", "next line", "line separator"),
    *("no-break space", "blank", "empty", "null of COPY", "null", "NULL"),
)
NAMES = {
    "keyword": "select",
    "capitals": "Kunden",
    "blank": "my customers",
    "leading blank": " customers ",
    "double quote": 'a"b',
    "single quote": "a'b",
    "statement": 'x"; DROP TABLE customers; --',
    "backslash": "a\\b",
    "dot": "a.b",
    "percent": "100%",
    "format": "%s",
    "parameter": "$1",
    "dollar quote": "$$",
    "colon": ":a",
    "question mark": "a?b&c=d#e",
    "plus": "a+b",
    "braces": "{a}",
    "number": "1",
    "accents": "Žákazníci",
    "emoji": "🚢",
    "right to left": "لقوح",
    "line end": "a\nb",
    "63 bytes": "x" * 63,
}


def in_url(name: str) -> str:
    """Return a table's name as written in an address: in quotes, in which a dot does not separate a schema."""
    return '"' + name.replace('"', '""') + '"'


def parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(path)
    return path


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """Return a customer for each value, which is in several fields."""
    return parquet(
        tmp_path / "hostile.parquet",
        [
            {
                "external_id": f"id {place}",
                "name": "n",
                "city": value,
                "tax_id": value,
                "metadata": json.dumps({"value": value, value: 1}),
                "plan": value,
            }
            for place, value in enumerate(VALUES.values())
        ],
    )


def loaded(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the loaded values by their position in VALUES, metadata as Python values."""
    found = {}
    for row in rows:
        told = row["metadata"]
        metadata = json.loads(told) if isinstance(told, str) else told
        found[row["external_id"].split()[1]] = {**row, "metadata": metadata}
    return found


def test_hostile_values_come_back_as_written_or_are_rejected_with_a_reason(
    every_postgres_database: Database, hostile: Path, tmp_path: Path
) -> None:
    report = load(every_postgres_database, hostile, tmp_path, strict=True)

    found = loaded(every_postgres_database.rows("SELECT external_id, city, tax_id, metadata FROM customers"))
    refused = {kind for place, kind in enumerate(VALUES) if str(place) not in found}
    assert refused == {"too long", "NUL"}
    assert report.rejects_by_code == {"city.too_long": 1}
    [(reason, count)] = report.refused_by_reason.items()
    assert (reason.split()[1] in ("tax_id", "metadata"), count) == (True, 1)  # NUL, in both
    for place, (kind, value) in enumerate(VALUES.items()):
        if kind not in refused:
            row = found[str(place)]
            assert row["metadata"] == {"value": value, value: 1, **({"plan": value} if value.strip() else {})}, kind
            # In an address, line ends and invisible characters are cleaned before it is stored.
            assert row["city"] == value or kind in TIDIED, kind
    assert fates(load(every_postgres_database, hostile, tmp_path, strict=True))["unchanged"] == len(found)
    assert left_behind(every_postgres_database) == []


def test_hostile_values_are_the_same_in_postgres_and_duckdb(
    postgres_database: Database, hostile: Path, tmp_path: Path
) -> None:
    load(postgres_database, hostile, tmp_path)
    warehouse = Warehouse(tmp_path)
    warehouse.load(hostile)

    columns = "customer_key, external_id, city, tax_id, metadata"
    ours = loaded(postgres_database.rows(f"SELECT {columns} FROM customers"))
    theirs = loaded(warehouse.rows(f"SELECT {columns} FROM customers"))
    for place, kind in enumerate(VALUES):
        if str(place) in ours:  # jsonb refuses NUL, with a message
            assert ours[str(place)] == theirs[str(place)], kind


def test_a_megabyte_of_metadata_and_dates_at_the_edges(every_postgres_database: Database, tmp_path: Path) -> None:
    big = {"big": "🚢'\\\"" * 130_000, "deep": json.loads("[" * 50 + "]" * 50)}
    edges = ["1900-01-01T00:00:00Z", "2199-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z", "2000-02-29"]
    wrong = ["1899-12-31T23:59:59Z", "2200-01-01", "0002-01-01", "infinity", "2023-02-29"]
    source = parquet(
        tmp_path / "edges.parquet",
        [
            {"external_id": f"e{place}", "name": "n", "created_at": date, "metadata": json.dumps(big)}
            for place, date in enumerate(edges + wrong)
        ],
    )

    report = load(every_postgres_database, source, tmp_path, strict=True)

    assert report.counts.rejected == len(wrong)
    rows = every_postgres_database.rows(
        "SELECT to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') AS at, metadata FROM customers "
        "ORDER BY external_id"
    )
    assert [row["at"] for row in rows] == [
        "1900-01-01 00:00:00.000000",
        "2199-12-31 23:59:59.999999",
        "1969-12-31 23:59:59.999999",
        "2000-02-29 00:00:00.000000",
    ]
    assert all(row["metadata"] == big for row in rows)
    assert fates(load(every_postgres_database, source, tmp_path, strict=True))["unchanged"] == len(edges)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_table_of_a_hostile_name(postgres_database: Database, tmp_path: Path, name: str) -> None:
    source = parquet(tmp_path / "in.parquet", [{"external_id": "C-1", "name": "n"}])
    load(postgres_database, source, tmp_path, table=in_url(name))
    again = load(postgres_database, source, tmp_path, table=in_url(name))

    assert fates(again) == {"unchanged": 1}
    tables = postgres_database.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    assert {row["tablename"] for row in tables} == {name, "_tranship_ledger", "_tranship_changes"}
    warehouse = Warehouse(tmp_path)
    report = warehouse.load(f"{postgres_database.url}?table={quote(in_url(name))}")
    assert fates(report) == {"created": 1}


def test_a_table_of_a_name_that_postgres_would_cut_off_is_refused(postgres_database: Database, tmp_path: Path) -> None:
    source = parquet(tmp_path / "in.parquet", [{"external_id": "C-1", "name": "n"}])
    for name in ("x" * 64, "ü" * 32):
        with pytest.raises(ConfigError, match="63 bytes"):
            load(postgres_database, source, tmp_path, table=name)
    assert postgres_database.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == []


def test_columns_of_hostile_names_are_read_and_mapped(postgres_database: Database, tmp_path: Path) -> None:
    names = list(NAMES.values())
    columns = ", ".join(f'"{name.replace(chr(34), chr(34) * 2)}" text' for name in names)
    values = ", ".join("$h$" + f"value of {place}" + "$h$" for place in range(len(names)))
    postgres_database.do(
        f'CREATE TABLE odd (id text PRIMARY KEY, "the ""name""" text, {columns})',
        f"INSERT INTO odd VALUES ('C-1', 'n', {values})",
    )
    warehouse = Warehouse(tmp_path)

    warehouse.load(f"{postgres_database.url}?table=odd", fields={"external_id": "id", "name": 'the "name"'})

    [row] = warehouse.rows("SELECT external_id, name, metadata FROM customers")
    assert (row["external_id"], row["name"]) == ("C-1", "n")
    assert json.loads(row["metadata"]) == {name: f"value of {place}" for place, name in enumerate(names)}


def test_hostile_columns_of_a_users_own_table_are_left_alone(postgres_database: Database, tmp_path: Path) -> None:
    columns = ", ".join(f'"{name.replace(chr(34), chr(34) * 2)}" text' for name in NAMES.values())
    postgres_database.do(
        f"CREATE TABLE customers (external_id text PRIMARY KEY, name text, {columns})",
        "INSERT INTO customers (external_id, name, \"100%\") VALUES ('C-1', 'old', 'kept')",
    )
    source = parquet(
        tmp_path / "in.parquet", [{"external_id": "C-1", "name": "new"}, {"external_id": "C-2", "name": "n"}]
    )

    report = load(postgres_database, source, tmp_path)

    assert fates(report) == {"created": 1, "updated": 1}
    rows = postgres_database.rows('SELECT external_id, name, "100%" AS kept FROM customers ORDER BY 1')
    assert rows == [
        {"external_id": "C-1", "name": "new", "kept": "kept"},
        {"external_id": "C-2", "name": "n", "kept": None},
    ]
