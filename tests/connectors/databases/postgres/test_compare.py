"""A Postgres table compared with survivors: types, values, texts packed together."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from support.postgres_server import Database
from support.warehouse import PostgresWarehouse, fates
from tranship.connectors.databases.table_mapping import RUN
from tranship.pipelines import run as flow
from tranship.pipelines import settings
from tranship.schemas.customer import COLUMNS, KEY

ANN = {"external_id": "1", "email": "ann@acme.com", "name": "Ann"}

BOB = {"external_id": "2", "email": "bob@acme.com", "name": "Bob"}

CY = {"external_id": None, "email": "cy@acme.com", "name": "Cy"}

AS_GIVEN = ("external_id", "metadata", "phone", "tax_id", "provider", "provider_id")

UUID = "550e8400-e29b-41d4-a716-446655440000"


@pytest.fixture
def warehouse(tmp_path: Path, postgres_database: Database) -> PostgresWarehouse:
    return PostgresWarehouse(tmp_path, postgres_database)


@pytest.fixture
def each(tmp_path: Path, every_postgres_database: Database) -> PostgresWarehouse:
    """A database on each installed version of the server."""
    return PostgresWarehouse(tmp_path, every_postgres_database)


def test_an_unchanged_row_is_not_touched(each: PostgresWarehouse) -> None:
    each.load([ANN, BOB, CY])
    before = each.rows(f"SELECT {KEY}, xmin::text, ctid::text FROM customers ORDER BY 1")
    report = each.load([ANN, {**BOB, "name": "Rob"}, CY])

    assert fates(report) == {"updated": 1, "unchanged": 2}
    assert report.changed_fields == {"name": 1}
    after = each.rows(f"SELECT {KEY}, xmin::text, ctid::text FROM customers ORDER BY 1")
    assert [row == same for row, same in zip(before, after, strict=True)] == [True, False, True]


@pytest.mark.parametrize(
    "metadata",
    [
        '{"b": 1, "a": 2}',
        '{"bb":1,"a":2}',
        '{"a":{"zz":1,"y":[{"k":1,"a":2}]}}',
        '{"n":1.50,"m":1e3,"l":12345678901234567890123,"k":-0}',
        '{"a":1,"a":2}',
        '{"u":"\\u00e9\\u0001 \\ud83e\\udd80","s":"a\\/b \\"q\\" \\\\ "}',
        '{ "spaced" : "x, \\": " ,\t"é" : true , "" : null}',
        '{"text": "2.5 1e9 0000000000000000000"}',
        "{}",
    ],
)
def test_metadata_is_the_same_however_it_is_spelled(each: PostgresWarehouse, metadata: str) -> None:
    record = {**ANN, "metadata": metadata}

    assert fates(each.load([record, BOB])) == {"created": 2}
    assert fates(each.load([record, BOB])) == {"unchanged": 2}
    each.do("UPDATE customers SET metadata = metadata || '{\"by\": \"hand\"}' WHERE external_id = '1'")
    if metadata != "{}":
        assert fates(each.load([record, BOB])) == {"updated": 1, "unchanged": 1}


def test_metadata_that_jsonb_cannot_hold_refuses_its_record(each: PostgresWarehouse) -> None:
    records = [ANN, {**BOB, "metadata": '{"a": "\\u0000"}'}]

    for fate in ("created", "unchanged"):
        report = each.load(records)
        assert fates(report) == {fate: 1, "refused": 1}
        assert report.refused_by_reason == {"does_not_fit: metadata jsonb": 1}


def test_a_row_that_somebody_edited_is_brought_back(warehouse: PostgresWarehouse) -> None:
    warehouse.load([ANN, BOB])
    warehouse.do("UPDATE customers SET name = 'Changed by hand' WHERE external_id = '1'")

    assert fates(warehouse.load([ANN, BOB])) == {"updated": 1, "unchanged": 1}
    assert warehouse.column("name") == ["Ann", "Bob"]


def test_verify_shows_what_somebody_made_of_a_row(each: PostgresWarehouse) -> None:
    each.load([{**ANN, "city": "Rome"}, BOB])
    each.do("UPDATE customers SET city = 'Paris' WHERE external_id = '1'")
    given = {"source": str(each.folder / "in.csv"), "destination": each.address(), "state_dir": each.folder / "state"}

    verified = flow.verify(settings.load(given, {}))

    differences = pl.read_csv(verified.files["differences"]).select("field", "expected", "found")
    assert differences.rows() == [("city", "Rome", "Paris")]


def test_instants_without_end_are_overwritten(warehouse: PostgresWarehouse) -> None:
    record = {**ANN, "created_at": "2024-01-01"}
    warehouse.load([record])
    warehouse.do("UPDATE customers SET created_at = 'infinity', updated_at = '-infinity'")

    assert fates(warehouse.load([record])) == {"updated": 1}
    assert warehouse.column("created_at") == [datetime(2024, 1, 1, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("record", "by_hand"),
    [
        ({"legal_name": "x", "city": None}, "legal_name = NULL, city = 'x'"),
        ({"legal_name": "x", "city": "y"}, "legal_name = E'x\\x1fy', city = NULL"),
        ({"legal_name": "x", "city": "y"}, "legal_name = 'xy', city = ''"),
        ({"legal_name": None, "city": None}, "legal_name = ''"),
        ({"legal_name": None, "city": None}, "legal_name = NULL, city = ''"),
        ({"legal_name": None, "city": "y"}, "legal_name = E'\\x1f', city = 'y'"),
        ({"legal_name": None, "city": "y"}, "legal_name = '', city = E'y\\x1f'"),
        ({"legal_name": None, "city": "1"}, "legal_name = '', city = '1'"),
    ],
)
def test_texts_that_are_alike_when_put_together_are_distinguished(
    warehouse: PostgresWarehouse, record: dict[str, str | None], by_hand: str
) -> None:
    both = [{**ANN, "legal_name": "Acme", "city": "Rome"}, {**BOB, **record}]
    warehouse.load(both)
    before = warehouse.rows()
    warehouse.do(f"UPDATE customers SET {by_hand} WHERE external_id = '2'")

    assert fates(warehouse.load(both, nulls="overwrite")) == {"updated": 1, "unchanged": 1}
    assert [row | {RUN: None} for row in warehouse.rows()] == [row | {RUN: None} for row in before]


def test_no_text_that_is_put_together_with_others_is_empty_or_holds_a_control_character(
    warehouse: PostgresWarehouse,
) -> None:
    put_together = [name for name in COLUMNS if name not in AS_GIVEN and COLUMNS[name] == pl.String()]
    odd = ("", "\x1f", "a\x1fb", "\x1fa", "a\x1f", "US\x1f", "\x1fa@b.com", "a@b\x1f.com")
    records = [
        {"external_id": f"{field}{number}", "name": "Ann", field: value}
        for field in put_together
        for number, value in enumerate(odd)
    ]
    assert warehouse.load(records, max_rejects="100%").counts.created > len(put_together)

    texts = {name: {row[name] for row in warehouse.rows()} - {None} for name in put_together}
    assert not {
        name: found for name, found in texts.items() if any(not text.isprintable() or not text for text in found)
    }


def test_a_text_with_nul_refuses_its_record(warehouse: PostgresWarehouse) -> None:
    import polars as pl

    nul = {"phone": "12\0", "tax_id": "T\0", "aliases": "a\0;b", "provider": "p\0", "Note": "n\0", "name": "N\0"}
    rows = [{"external_id": field, "name": "N", field: value} for field, value in nul.items()]
    pl.DataFrame(rows, schema=dict.fromkeys(("external_id", *nul), pl.String)).write_parquet(
        warehouse.folder / "n.parquet"
    )

    for fate in ("created", "unchanged"):
        report = warehouse.load(warehouse.folder / "n.parquet")
        assert fates(report) == {fate: 1, "refused": 5}
    assert {reason.split(" ")[1] for reason in report.refused_by_reason} == {
        "phone",
        "tax_id",
        "aliases",
        "provider",
        "metadata",
    }
    assert warehouse.column("name") == ["N"]


ENUM = "CREATE TYPE state AS ENUM ('active', 'trial')"

CITEXT = "CREATE EXTENSION citext"

SHORT = "CREATE DOMAIN short AS varchar(3)"

POSITIVE = "CREATE DOMAIN positive AS int CHECK (VALUE > 0)"


def need(warehouse: PostgresWarehouse, statement: str) -> None:
    """Skip if the server lacks an extension that the statement creates."""
    name = statement.removeprefix("CREATE EXTENSION ")
    if name != statement and not warehouse.rows(f"SELECT 1 FROM pg_available_extensions WHERE name = '{name}'"):
        pytest.skip(f"this server has no {name}")


FITS: tuple[tuple[str, str, str, str | None, Any, str], ...] = (
    # before, column and its type, a good value, a bad one, the valid one as stored, the type as reported
    ("", "zip_code varchar(5)", "00120", "001201", "00120", "character varying(5)"),
    ("", "zip_code char(5)", "001", "001201", "001  ", "character(5)"),
    ("", "zip_code int", "120", "AB 12", 120, "integer"),
    ("", "zip_code bigint", "10670", "01067", 10670, "bigint"),
    ("", "zip_code numeric(9)", "120", "00120", 120, "numeric(9,0)"),
    ("", "zip_code float8", "120", "00120", 120, "double precision"),
    ("", "net_terms smallint", "30", None, 30, ""),
    ("", "net_terms numeric(2)", "30", "300", 30, "numeric(2,0)"),
    ("", "created_at date", "2024-02-29T23:00:00Z", None, date(2024, 2, 29), ""),
    ("", "created_at timestamp", "2024-02-29T23:00:00+02:00", None, datetime(2024, 2, 29, 21), ""),
    ("", "created_at timestamptz(0)", "2024-02-29T23:00:00.6Z", None, datetime(2024, 2, 29, 23, 0, 1, tzinfo=UTC), ""),
    ("", "tax_id uuid", UUID, "550e", uuid.UUID(UUID), "uuid"),
    ("", "tax_id inet", "10.0.0.1", "10.0.0", "10.0.0.1", "inet"),
    ("", "tax_id json", '{"A":1}', "A", {"A": 1}, "json"),
    ("", "tax_id jsonb", '{"A":1}', "A", {"A": 1}, "jsonb"),
    ("", "aliases jsonb", "x;y", None, ["x", "y"], ""),
    ("", "aliases text", "x;y", None, '["x","y"]', ""),
    ("", "aliases varchar[]", "x;y", None, ["x", "y"], ""),
    ("", "metadata text", '{"a":1}', None, '{"a":1}', ""),
    (ENUM, "status state", "active", "suspended", "active", "state"),
    (CITEXT, "city citext", "Rome", None, "Rome", ""),
    (SHORT, "tax_id short", "ABC", "ABCD", "ABC", "short"),
    (POSITIVE, "net_terms positive", "1", "0", 1, "positive"),
)


@pytest.mark.parametrize(("before", "column", "good", "bad", "stored", "told"), FITS, ids=[case[1] for case in FITS])
def test_a_value_is_stored_in_the_column_s_type_or_refuses_its_record_alone(
    each: PostgresWarehouse, before: str, column: str, good: str, bad: str | None, stored: Any, told: str
) -> None:
    field = column.split(" ")[0]
    need(each, before)
    each.do(*([before] if before else []), f"CREATE TABLE customers (external_id text, name text, {column})")
    records = [{**ANN, field: good}, *([{**BOB, field: bad}] if bad else [])]

    for fate in ("created", "unchanged"):
        report = each.load(records)
        assert fates(report) == {fate: 1} | ({"refused": 1} if bad else {})
        assert report.refused_by_reason == ({f"does_not_fit: {field} {told}": 1} if bad else {})
    row = each.rows("SELECT * FROM customers")[0]
    found = row[field]
    assert (str(found) if isinstance(stored, str) and not isinstance(found, str) else found) == stored
    assert fates(each.load([{**ANN, field: good, "name": "Anna"}])) == {"updated": 1}


@pytest.mark.parametrize(
    ("dtype", "good", "bad"),
    [
        ("bigint", "42", "007"),
        ("bigint", "42", "99999999999999999999"),
        ("numeric", "42", "007"),
        ("numeric(12,2)", "42", "4.2.1"),
        ("uuid", UUID, "550e8400"),
        ("varchar(3)", "abc", "abcd"),
    ],
)
def test_an_id_that_would_not_stay_what_it_is_is_refused(
    warehouse: PostgresWarehouse, dtype: str, good: str, bad: str
) -> None:
    warehouse.do(f"CREATE TABLE customers (customer_id {dtype} PRIMARY KEY, name text)")
    records = [{**ANN, "external_id": good}, {**BOB, "external_id": bad}]

    for fate in ("created", "unchanged"):
        report = warehouse.load(records)
        assert fates(report) == {fate: 1, "refused": 1}
        assert [reason.split(" ")[0] for reason in report.refused_by_reason] == ["does_not_fit:"]
    assert fates(warehouse.load([{**records[0], "name": "Anna"}])) == {"updated": 1}
    assert warehouse.column("name") == ["Anna"]
