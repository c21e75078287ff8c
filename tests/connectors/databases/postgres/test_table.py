"""A Postgres table as source and destination: real servers, real runs."""

from __future__ import annotations

import threading
import time
import uuid
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest

from support.postgres_runs import left_behind
from support.postgres_server import Database, Server
from support.warehouse import PostgresWarehouse, Warehouse, fates, plan, rejects
from tranship.connectors import registry
from tranship.connectors.databases.postgres.adbc import AdbcWire
from tranship.connectors.databases.postgres.connection import parse
from tranship.connectors.databases.table_mapping import DELETED, LEDGER, RUN
from tranship.connectors.errors import (
    Busy,
    ConfigError,
    ConnectorError,
    GateClosed,
    Interfered,
    Refused,
    TranshipError,
    Unreachable,
)
from tranship.pipelines import run as flow
from tranship.pipelines import settings
from tranship.schemas.customer import COLUMNS, KEY

ANN = {"external_id": "1", "email": "ann@acme.com", "name": "Ann"}
BOB = {"external_id": "2", "email": "bob@acme.com", "name": "Bob"}
CY = {"external_id": None, "email": "cy@acme.com", "name": "Cy"}
AS_GIVEN = ("external_id", "metadata", "phone", "tax_id", "provider", "provider_id")
ODD_NAMES = ('we"ird', "select", "two words", "Zürich 東京", "semi;colon", "o'clock", "a.b", "back\\slash", "%s", "$1")
UUID = "550e8400-e29b-41d4-a716-446655440000"
SECRET = "s3cr3t-w0rd"


@pytest.fixture
def warehouse(tmp_path: Path, postgres_database: Database) -> PostgresWarehouse:
    return PostgresWarehouse(tmp_path, postgres_database)


@pytest.fixture
def each(tmp_path: Path, every_postgres_database: Database) -> PostgresWarehouse:
    """On every version of the server that is here."""
    return PostgresWarehouse(tmp_path, every_postgres_database)


# Addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "server", "schema", "table", "query", "shown"),
    [
        ("postgresql://h/db", "postgresql://h/db", None, "customers", None, "h/db"),
        ("postgres://h/db", "postgresql://h/db", None, "customers", None, "h/db"),
        ("PostgreSQL://u:p@h:5/db?table=t", "postgresql://u:p@h:5/db", None, "t", None, "h/db"),
        ("postgresql://h/db?table=billing.customers", "postgresql://h/db", "billing", "customers", None, "h/db"),
        ('postgresql://h/db?table="a.b"."c""d"', "postgresql://h/db", "a.b", 'c"d', None, "h/db"),
        ("postgresql://h/db?table=a%26b", "postgresql://h/db", None, "a&b", None, "h/db"),
        (
            "postgresql://h/db?sslmode=require&table=t&connect_timeout=3",
            *("postgresql://h/db?sslmode=require&connect_timeout=3", None, "t", None, "h/db"),
        ),
        ("postgresql:///db?host=/run/pg", "postgresql:///db?host=/run/pg", None, "customers", None, "/run/pg/db"),
        ("postgresql://?service=prod", "postgresql://?service=prod", None, "customers", None, "prod"),
        ("postgresql://a:1,b:2/db", "postgresql://a:1,b:2/db", None, "customers", None, "several/db"),
        # As a run keeps it for its resume: libpq looks elsewhere for what is hidden.
        ("postgresql://u:***@h/db?password=***", "postgresql://u@h/db", None, "customers", None, "h/db"),
        ("postgresql://h/db?query=SELECT 1 AS id", "postgresql://h/db", None, "customers", "SELECT 1 AS id", "h/db"),
    ],
)
def test_an_address_names_server_and_table(
    spec: str, server: str, schema: str | None, table: str, query: str | None, shown: str
) -> None:
    address = parse(spec)

    found = (address.server, address.schema, address.table, address.query, address.shown)
    assert found == (server, schema, table, query, shown)


@pytest.mark.parametrize(
    "spec",
    [
        "postgresql://h/db?table=",
        "postgresql://h/db?table=x&table=y",
        "postgresql://h/db?table=x&query=y",
        "postgresql://h/db?table=a.b.c",
        'postgresql://h/db?table="a',
        "postgresql://h/db?table=a%00b",
        "postgresql://h/%ff",
        f"postgresql://h/db?table={'ü' * 32}",
        f"postgresql://h/db?table={'s' * 64}.t",
        "postgresql://h:port/db",
        f"postgresql://u:{SECRET}@x@h/db",
        f"postgresql://u:{SECRET}/x@h/db",
    ],
)
def test_an_address_that_cannot_be_meant_is_answered_in_words(spec: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(spec)

    assert SECRET not in str(raised.value)


def test_an_address_does_not_show_its_password() -> None:
    assert SECRET not in repr(parse(f"postgresql://u:{SECRET}@h/db?password={SECRET}"))


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"port": "1"}, Unreachable, "Check host and port"),
        ({"host": "nowhere.invalid"}, Unreachable, "Check host and port"),
        ({"database": "nowhere"}, ConfigError, "does not exist"),
        ({"user": "nobody_here"}, Refused, "nobody_here"),
        ({"option": "sslmode=nonsense"}, ConfigError, "sslmode"),
        ({"option": "nonsense=1"}, ConfigError, "nonsense"),
        ({"option": "service=nowhere"}, ConfigError, "nowhere"),
        ({"option": "sslmode=require"}, Refused, "SSL"),
        ({"option": "sslrootcert=/nowhere&sslmode=verify-full"}, Refused, "SSL"),
    ],
)
def test_who_cannot_connect_is_told_why(
    warehouse: PostgresWarehouse, change: dict[str, str], kind: type[TranshipError], words: str
) -> None:
    info = psycopg.conninfo.conninfo_to_dict(warehouse.database.url)
    at = {"user": info["user"], "host": info["host"], "port": info["port"], "database": info["dbname"], **change}
    address = (
        f"postgresql://{at['user']}:{SECRET}@{at['host']}:{at['port']}/{at['database']}?{at.get('option', 'table=t')}"
    )
    for source, destination in ((address, str(warehouse.folder / "out.csv")), ([ANN], address)):
        with pytest.raises(kind, match=words) as raised:
            warehouse.load(source, destination=destination)
        assert SECRET not in str(raised.value)
        assert "\n" not in str(raised.value)


def test_a_wrong_password_is_told_and_not_shown(warehouse: PostgresWarehouse, tmp_path: Path) -> None:
    """The tests' server trusts everybody, so what it would say stands here as libpq says it."""
    from tranship.connectors.databases.postgres.connection import not_connected

    said = (
        'IO: [libpq] Failed to connect: connection to server at "127.0.0.1", port 5432 failed: '
        'FATAL:  password authentication failed for user "u"\n'
    )
    none = 'connection to server at "127.0.0.1", port 5432 failed: fe_sendauth: no password supplied\n'
    for words in (said, f"IO: [libpq] Failed to connect: {none}", f"connection failed: {none}"):
        error = not_connected(parse(f"postgresql://u:{SECRET}@h/db"), words)
        assert isinstance(error, Refused)
        assert "PGPASSWORD" in str(error)
        assert SECRET not in str(error)


# A table of our own ----------------------------------------------------------------------------------------------


def test_a_fresh_table_has_the_types_that_analysts_expect(each: PostgresWarehouse) -> None:
    each.load([ANN], table="billing.customers")

    found = {
        row["column_name"]: row["data_type"]
        for row in each.rows(
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = 'billing' AND table_name = 'customers' ORDER BY ordinal_position"
        )
    }
    instants = {name: "timestamp with time zone" for name, dtype in COLUMNS.items() if dtype.is_temporal()}
    others = {"net_terms": "integer", "metadata": "jsonb", "aliases": "ARRAY", "invoice_cc_emails": "ARRAY"}
    texts = dict.fromkeys((KEY, *COLUMNS, RUN), "text")
    assert found == {**texts, **instants, **others, DELETED: "timestamp with time zone"}
    assert list(found) == [KEY, *COLUMNS, RUN, DELETED]


def test_a_fresh_table_has_a_primary_key_and_comments(warehouse: PostgresWarehouse) -> None:
    warehouse.load([ANN])

    [key] = warehouse.rows(
        "SELECT pg_get_constraintdef(oid) AS is FROM pg_constraint WHERE contype = 'p' AND conrelid = 'customers'::regclass"
    )
    assert key["is"] == f"PRIMARY KEY ({KEY})"
    [said] = warehouse.rows(
        "SELECT obj_description('customers'::regclass) AS t, col_description('customers'::regclass, 13) AS c"
    )
    assert "tranship" in said["t"]
    assert said["c"] == "ISO 3166-1 alpha-2."


def test_values_arrive_typed(each: PostgresWarehouse) -> None:
    each.load(
        [
            {
                **{**ANN, "net_terms": "30", "created_at": "2024-01-02T03:04:05.678901+02:00", "zip_code": "00120"},
                **{"invoice_cc_emails": "a@b.co;c@b.co", "aliases": '["x;y", "q\\"{}\\\\"]', "Seats": "7"},
                "metadata": '{"b": 1.50, "aa": {"z": [1, null]}, "a": "é\\n"}',
            }
        ]
    )

    row = each.rows()[0]
    assert row["net_terms"] == 30
    assert row["created_at"] == datetime(2024, 1, 2, 1, 4, 5, 678901, UTC)
    assert row["invoice_cc_emails"] == ["a@b.co", "c@b.co"]
    assert row["aliases"] == ["x;y", 'q"{}\\']
    assert row["zip_code"] == "00120"
    assert row["metadata"] == {"a": "é\n", "b": 1.5, "aa": {"z": [1, None]}, "Seats": "7"}


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
def test_texts_that_are_alike_when_put_together_are_told_apart(
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


def test_nulls_keep_or_erase(warehouse: PostgresWarehouse) -> None:
    city = {**ANN, "city": "Rome", "metadata": '{"a":1}', "aliases": "x"}
    nothing = {**ANN, "city": None, "metadata": None, "aliases": None}
    warehouse.load([city])

    assert fates(warehouse.load([nothing])) == {"unchanged": 1}
    assert fates(warehouse.load([ANN], nulls="overwrite")) == {"unchanged": 1}
    report = warehouse.load([nothing], nulls="overwrite")
    assert report.changed_fields == {"city": 1, "metadata": 1, "aliases": 1}
    assert fates(warehouse.load([nothing], nulls="overwrite")) == {"unchanged": 1}


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("upsert", {"updated": 1, "created": 1, "unchanged": 1}),
        ("insert", {"created": 1, "refused": 2}),
        ("update", {"updated": 1, "refused": 1, "unchanged": 1}),
    ],
)
def test_modes(warehouse: PostgresWarehouse, mode: str, expected: dict[str, int]) -> None:
    warehouse.load([ANN, BOB])

    assert fates(warehouse.load([{**ANN, "name": "Anna"}, BOB, CY], mode=mode)) == expected


def test_mirror_marks_or_removes_and_leaves_what_others_wrote(each: PostgresWarehouse) -> None:
    each.load([ANN, BOB, CY])
    each.do(f"INSERT INTO customers ({KEY}, external_id, name) VALUES ('9', '9', 'By hand')")

    assert fates(each.load([ANN], mode="mirror", max_deletes="2")) == {"unchanged": 1, "deleted": 2}
    assert each.column(KEY, table=f"customers WHERE {DELETED} IS NOT NULL") == ["2", "email:cy@acme.com"]
    assert fates(each.load([ANN], mode="mirror", max_deletes="2")) == {"unchanged": 1}
    assert fates(each.load([ANN, BOB], mode="mirror", max_deletes="2")) == {"unchanged": 1, "updated": 1}
    assert fates(each.load([ANN], mode="mirror", max_deletes="2", deletes="remove")) == {"unchanged": 1, "deleted": 1}
    assert each.column(KEY) == ["1", "9", "email:cy@acme.com"]


def test_a_gate_leaves_nothing_behind(warehouse: PostgresWarehouse) -> None:
    warehouse.load([ANN, BOB])

    with pytest.raises(GateClosed):
        warehouse.load([ANN], mode="mirror", max_deletes="0")
    assert left_behind(warehouse.database) == []
    assert len(warehouse.rows(f"SELECT 1 FROM {LEDGER}")) == 1


def test_an_ambiguous_record_is_rejected(warehouse: PostgresWarehouse) -> None:
    warehouse.load([ANN, {**BOB, "email": ANN["email"]}])
    report = warehouse.load([{"external_id": None, "email": "ann@acme.com", "name": "Who?"}])

    assert fates(report) == {"rejected": 1}
    assert [row["_codes"] for row in rejects(report)] == ["identity.ambiguous_email"]


def test_a_customer_known_by_e_mail_keeps_its_key_when_an_id_arrives(warehouse: PostgresWarehouse) -> None:
    warehouse.load([CY])

    assert fates(warehouse.load([{**CY, "external_id": "3"}])) == {"updated": 1}
    assert warehouse.column(KEY) == ["email:cy@acme.com"]
    assert fates(warehouse.load([{**CY, "external_id": "3"}])) == {"unchanged": 1}


def test_the_ledger_has_a_row_for_each_run(each: PostgresWarehouse) -> None:
    reports = [each.load([ANN, BOB]), each.load([{**ANN, "name": "Anna"}, BOB, CY])]

    rows = each.rows(f"SELECT * FROM {LEDGER} ORDER BY started_at")
    assert [row["run_id"] for row in rows] == [report.run_id for report in reports]
    assert [(row["created"], row["updated"], row["unchanged"]) for row in rows] == [(2, 0, 0), (1, 1, 1)]
    assert [row["table_name"] for row in rows] == ["customers"] * 2
    assert all(row["finished_at"] > row["started_at"] for row in rows)


def test_evolve_adds_the_columns_that_the_source_has(each: PostgresWarehouse) -> None:
    each.do("CREATE TABLE customers (external_id text, name text)", "INSERT INTO customers VALUES ('1', 'Ann')")
    record = {**ANN, "metadata": '{"a":1}', "created_at": "2024-01-01"}
    dry = each.load([record], evolve=True, dry_run=True)
    assert fates(dry) == {"updated": 1}
    assert set(each.rows("SELECT * FROM customers")[0]) == {"external_id", "name"}

    report = each.load([record], evolve=True)
    assert report.changed_fields == dry.changed_fields == {"email": 1, "metadata": 1, "created_at": 1}
    assert each.rows("SELECT * FROM customers") == [
        {**ANN, "metadata": {"a": 1}, "created_at": datetime(2024, 1, 1, tzinfo=UTC)}
    ]
    assert fates(each.load([record], evolve=True)) == {"unchanged": 1}


def test_without_the_fast_driver_copy_moves_the_same(each: PostgresWarehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    rich = {
        **{**ANN, "net_terms": "30", "created_at": "2024-01-02T03:04:05.678901+02:00", "updated_at": "1900-01-01"},
        **{"invoice_cc_emails": "a@b.co;c@b.co", "aliases": '["x;y", "q\\"{}\\\\", "NULL"]', "city": "\\N"},
        **{"metadata": '{"a": "\\\\. \\n,\\""}', "legal_name": "\\."},
    }
    records = [rich, BOB, CY]
    each.load(records, table="fast")
    monkeypatch.setattr("tranship.connectors.databases.postgres.adbc.find_spec", lambda name: name == "psycopg" or None)

    assert fates(each.load(records)) == {"created": 3}
    without_run = f"SELECT to_jsonb(t) - '{RUN}' AS row FROM {{}} t ORDER BY {KEY}"
    assert each.rows(without_run.format("customers")) == each.rows(without_run.format("fast"))
    assert fates(each.load(records)) == {"unchanged": 3}
    assert fates(each.load(records, table="fast")) == {"unchanged": 3}
    assert fates(each.load([{**rich, "aliases": "z"}, BOB, CY])) == {"updated": 1, "unchanged": 2}
    assert fates(each.load(each.address("fast"))) == {"updated": 1, "unchanged": 2}
    with pytest.raises(TranshipError, match="division by zero"):
        each.load(f"{each.database.url}?query=SELECT 1/0 AS id")
    each.do("CREATE TABLE lists (external_id text, name text CHECK (name <> 'Bob'), status text UNIQUE)")
    assert fates(each.load([ANN, BOB], table="lists")) == {"created": 1, "refused": 1}


def test_without_any_driver_one_is_asked_for(warehouse: PostgresWarehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tranship.connectors.databases.postgres.adbc.find_spec", lambda name: None)

    with pytest.raises(ConfigError, match="pip install"):
        warehouse.load([ANN])


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


# A table of the user's own ---------------------------------------------------------------------------------------

ENUM = "CREATE TYPE state AS ENUM ('active', 'trial')"
CITEXT = "CREATE EXTENSION citext"
SHORT = "CREATE DOMAIN short AS varchar(3)"
POSITIVE = "CREATE DOMAIN positive AS int CHECK (VALUE > 0)"


def need(warehouse: PostgresWarehouse, statement: str) -> None:
    """Skip where the server comes without an extension that the statement makes."""
    name = statement.removeprefix("CREATE EXTENSION ")
    if name != statement and not warehouse.rows(f"SELECT 1 FROM pg_available_extensions WHERE name = '{name}'"):
        pytest.skip(f"this server has no {name}")


FITS: tuple[tuple[str, str, str, str | None, Any, str], ...] = (
    # before, column and its type, a good value, a bad one, the good one as stored, the type as it is told
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


RULES = (
    # before, the table's columns, records, what is refused, with which reason
    ("", "name text CHECK (name <> 'Bob')", [ANN, BOB], "violates: customers_name_check"),
    (
        "",
        "name text, city text, CONSTRAINT both_cities CHECK (city <> name)",
        [{**ANN, "city": "A"}, {**BOB, "city": "Bob"}],
        "violates: both_cities",
    ),
    (
        "CREATE TABLE known (name text PRIMARY KEY); INSERT INTO known VALUES ('Ann')",
        "name text REFERENCES known",
        [ANN, BOB],
        "refers_to_nothing: name",
    ),
    ("", "email text UNIQUE, name text", [ANN, {**BOB, "email": ANN["email"]}], "taken: email"),
    (CITEXT, "name citext UNIQUE", [ANN, {**BOB, "name": "ANN"}], "taken: name"),
    (
        "",
        "name text, city text, UNIQUE (name, city)",
        [{**ANN, "city": "A"}, {**BOB, "name": "Ann", "city": "A"}],
        "taken: name, city",
    ),
    (
        "CREATE EXTENSION btree_gist",
        "name text, EXCLUDE USING gist (name WITH =)",
        [ANN, {**BOB, "name": "Ann"}],
        "taken: name",
    ),
    (
        "",
        "name text, country text NOT NULL",
        [{**ANN, "country": "DE"}, {**BOB, "country": None}],
        "must_have_a_value: country",
    ),
)


@pytest.mark.parametrize(("before", "columns", "records", "reason"), RULES, ids=[case[1] for case in RULES])
def test_what_the_table_forbids_refuses_its_record_alone(
    each: PostgresWarehouse, before: str, columns: str, records: list[dict[str, str | None]], reason: str
) -> None:
    need(each, before)
    each.do(*filter(None, before.split("; ")), f"CREATE TABLE customers (external_id text PRIMARY KEY, {columns})")

    for fate in ("created", "unchanged"):
        report = each.load(records)
        assert (fates(report), report.refused_by_reason) == ({fate: 1, "refused": 1}, {reason: 1})
    assert each.column("external_id") == ["1"]
    # The one that is there already forbids it too, alone in a run.
    if not reason.startswith("must"):
        assert fates(each.load(records[1:])) == {"refused": 1}


def test_a_unique_index_over_an_expression_or_a_part_refuses_its_record(warehouse: PostgresWarehouse) -> None:
    warehouse.do(
        "CREATE TABLE customers (external_id text PRIMARY KEY, name text, city text)",
        "CREATE UNIQUE INDEX one_name ON customers (lower(name)) WHERE city IS NULL",
    )
    report = warehouse.load([ANN, {**BOB, "name": "ANN"}, {**CY, "external_id": "3", "name": "ann", "city": "Rome"}])

    assert fates(report) == {"created": 2, "refused": 1}
    assert report.refused_by_reason == {"taken: one_name": 1}


def test_unique_values_may_be_swapped_and_passed_on(each: PostgresWarehouse) -> None:
    each.do("CREATE TABLE customers (external_id text PRIMARY KEY, email text UNIQUE, name text)")
    each.load([ANN, BOB])
    swapped = [{**ANN, "email": BOB["email"]}, {**BOB, "email": ANN["email"]}]

    assert fates(each.load(swapped)) == {"updated": 2}
    assert fates(each.load(swapped)) == {"unchanged": 2}
    moved = [{**ANN, "email": "new@acme.com"}, {"external_id": "3", "email": BOB["email"], "name": "Dan"}]
    assert fates(each.load(moved)) == {"created": 1, "updated": 1}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (
            "TABLE customers (external_id text, name text, region_code int NOT NULL)",
            "column region_code must have a value",
        ),
        ("TABLE customers (name text, city text)", "no column for the external id or the e-mail"),
        ("VIEW customers AS SELECT '1' AS external_id", "is a view"),
        ("MATERIALIZED VIEW customers AS SELECT '1' AS external_id", "is a materialised view"),
        ("TABLE customers (customer_id text, account_id text, name text)", "both could hold external_id"),
    ],
)
def test_a_table_that_cannot_be_filled_is_refused_in_words(
    warehouse: PostgresWarehouse, table: str, words: str
) -> None:
    warehouse.do(f"CREATE {table}")

    with pytest.raises(ConfigError, match=words):
        warehouse.load([ANN])
    assert warehouse.rows(f"SELECT to_regclass('{LEDGER}') AS ledger") == [{"ledger": None}]


def test_what_the_table_computes_is_left_to_it(each: PostgresWarehouse) -> None:
    each.do(
        "CREATE TABLE customers (id bigint GENERATED ALWAYS AS IDENTITY, place serial, external_id text, name text, "
        "legal_name text GENERATED ALWAYS AS (upper(name)) STORED, added timestamptz NOT NULL DEFAULT now(), "
        "status text NOT NULL DEFAULT 'active')"
    )
    records = [{**ANN, "legal_name": "Ann Ltd"}, BOB]

    assert fates(each.load(records)) == {"created": 2}
    assert fates(each.load(records)) == {"unchanged": 2}
    assert fates(each.load([{**ANN, "name": "Anna"}])) == {"updated": 1}
    assert [(row["legal_name"], row["status"]) for row in each.rows("SELECT * FROM customers ORDER BY place")] == [
        ("ANNA", "active"),
        ("BOB", "active"),
    ]


def test_triggers_do_their_work_and_may_refuse(warehouse: PostgresWarehouse) -> None:
    warehouse.do(
        "CREATE TABLE customers (external_id text, name text, city text)",
        "CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN IF NEW.name = 'Bob' THEN RAISE 'no Bob, says bob@acme.com'; END IF; NEW.city := 'Rome'; RETURN NEW; END $$",
        "CREATE TRIGGER fill BEFORE INSERT ON customers FOR EACH ROW EXECUTE FUNCTION fill()",
    )
    assert fates(warehouse.load([ANN])) == {"created": 1}
    assert warehouse.column("city") == ["Rome"]

    with pytest.raises(ConnectorError, match="no Bob") as raised:
        warehouse.load([BOB])
    assert "acme" not in str(raised.value)
    assert warehouse.column("name") == ["Ann"]


def test_rows_that_a_trigger_swallows_stop_the_run(warehouse: PostgresWarehouse) -> None:
    warehouse.do(
        "CREATE TABLE customers (external_id text, name text)",
        "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
        "CREATE TRIGGER swallow BEFORE INSERT ON customers FOR EACH ROW EXECUTE FUNCTION swallow()",
    )

    with pytest.raises(Refused, match="a trigger, rule or policy"):
        warehouse.load([ANN])


def test_partitions_are_filled_and_found_again(each: PostgresWarehouse) -> None:
    each.do(
        "CREATE TABLE customers (external_id text, country text, name text) PARTITION BY LIST (country)",
        "CREATE TABLE c_de PARTITION OF customers FOR VALUES IN ('DE')",
        "CREATE TABLE c_other PARTITION OF customers DEFAULT",
    )
    records = [{**ANN, "country": "DE"}, {**BOB, "country": "FR"}, {**CY, "external_id": "3", "country": "DE"}]

    assert fates(each.load(records)) == {"created": 3}
    assert fates(each.load(records)) == {"unchanged": 3}
    moved = [{**ANN, "country": "IT"}, {**BOB, "country": "FR", "name": "Rob"}, records[2]]
    assert fates(each.load(moved)) == {"updated": 2, "unchanged": 1}
    assert each.column("external_id", table="c_other") == ["1", "2"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_table_and_column_name_will_do(warehouse: PostgresWarehouse, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    warehouse.do(
        f'CREATE TABLE {quoted} (external_id text, name text UNIQUE, {quoted} int DEFAULT 7, "e{quoted[1:-1]}mail" text)'
    )
    spelled = quoted.replace("%", "%25").replace("&", "%26")

    for fate in ("created", "unchanged"):
        assert fates(warehouse.load([ANN, BOB], table=spelled)) == {fate: 2}
    assert fates(warehouse.load([{**ANN, "name": "Bob"}, {**BOB, "name": "Ann"}], table=spelled)) == {"updated": 2}
    assert fates(
        warehouse.load([ANN], destination=f"{warehouse.database.url}?table={quoted}.{quoted}".replace("%s", "%25s"))
    ) == {"created": 1}


# Rights ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def clerk(warehouse: PostgresWarehouse) -> Any:
    """A user without rights of its own, and the warehouse as it sees it."""
    name = f"clerk_{warehouse.database.url[-8:]}"
    warehouse.do(f"CREATE ROLE {name} LOGIN", "CREATE TABLE customers (external_id text, name text, city text)")
    info = psycopg.conninfo.conninfo_to_dict(warehouse.database.url)
    url = f"postgresql://{name}@{info['host']}:{info['port']}/{info['dbname']}"
    yield name, PostgresWarehouse(warehouse.folder, Database(url))
    warehouse.do(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


@pytest.mark.parametrize(
    ("granted", "words"),
    [
        ((), "lacks SELECT and INSERT and UPDATE"),
        (("SELECT ON customers",), "lacks INSERT and UPDATE"),
        (("SELECT, INSERT, UPDATE ON customers",), "schema public"),
    ],
)
def test_a_missing_right_is_named(
    warehouse: PostgresWarehouse, clerk: Any, granted: tuple[str, ...], words: str
) -> None:
    name, as_clerk = clerk
    warehouse.do("REVOKE CREATE ON SCHEMA public FROM public", *(f"GRANT {right} TO {name}" for right in granted))

    with pytest.raises(Refused, match=words) as raised:
        as_clerk.load([ANN])
    assert raised.value.exit_code == 3
    assert warehouse.rows("SELECT * FROM customers") == []


def test_temporary_tables_must_be_allowed(warehouse: PostgresWarehouse, clerk: Any) -> None:
    name, as_clerk = clerk
    warehouse.do(
        f"GRANT ALL ON customers TO {name}",
        f"REVOKE TEMPORARY ON DATABASE {warehouse.database.url.rpartition('/')[2]} FROM public",
    )

    with pytest.raises(Refused, match="GRANT TEMPORARY"):
        as_clerk.load([ANN])


def test_policies_are_obeyed(warehouse: PostgresWarehouse, clerk: Any) -> None:
    name, as_clerk = clerk
    warehouse.do(
        f"GRANT ALL ON customers TO {name}",
        f"GRANT CREATE ON SCHEMA public TO {name}",
        "INSERT INTO customers VALUES ('9', 'Hidden', 'Bonn')",
        "ALTER TABLE customers ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY rome ON customers USING (city = 'Rome')",
    )
    assert fates(as_clerk.load([{**ANN, "city": "Rome"}])) == {"created": 1}
    assert fates(as_clerk.load([{**ANN, "city": "Rome"}])) == {"unchanged": 1}

    with pytest.raises(Refused, match="row-level security"):
        as_clerk.load([{**BOB, "city": "Bonn"}])
    assert warehouse.column("external_id") == ["1", "9"]


def test_a_server_that_takes_no_writes_is_told(warehouse: PostgresWarehouse) -> None:
    name = warehouse.database.url.rpartition("/")[2]
    warehouse.load([ANN])
    warehouse.do(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    # A session may lift that itself, so this is no obstacle; a standby is, and says so with the same code.
    assert fates(warehouse.load([BOB])) == {"created": 1}
    warehouse.do("SET default_transaction_read_only = off", f"ALTER DATABASE {name} RESET ALL")


# Others at the same table ----------------------------------------------------------------------------------------


def test_two_fresh_runs_at_once_take_turns(each: PostgresWarehouse) -> None:
    records = [{"external_id": str(n), "email": f"c{n}@acme.com", "name": f"N{n}"} for n in range(3000)]
    found: list[dict[str, int]] = []

    def go(number: int) -> None:
        folder = each.folder / str(number)
        folder.mkdir()
        found.append(fates(PostgresWarehouse(folder, each.database).load(records)))

    runs = [threading.Thread(target=go, args=(number,)) for number in range(4)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert sorted(found, key=str) == [{"created": 3000}, *[{"unchanged": 3000}] * 3]


def test_a_foreign_writer_is_waited_for_and_readers_are_not(warehouse: PostgresWarehouse) -> None:
    warehouse.load([ANN])
    with psycopg.connect(warehouse.database.url) as other:
        other.execute("UPDATE customers SET name = 'Other' WHERE external_id = '1'")
        with pytest.raises(Busy, match="--lock-timeout"):
            warehouse.load([ANN, BOB], lock_timeout="300ms")
        threading.Timer(0.5, other.commit).start()
        assert fates(warehouse.load([ANN, BOB], lock_timeout="30s")) == {"created": 1, "updated": 1}


def test_another_run_is_waited_for(warehouse: PostgresWarehouse) -> None:
    warehouse.load([ANN])
    with psycopg.connect(warehouse.database.url) as other:
        other.execute("SELECT pg_advisory_xact_lock(hashtextextended('tranship:public.customers', 0))")
        with pytest.raises(Busy, match="another run is still writing"):
            warehouse.load([ANN], lock_timeout="200ms")


def test_a_statement_that_takes_too_long_is_told(warehouse: PostgresWarehouse) -> None:
    warehouse.do("CREATE TABLE customers (external_id text, name text CHECK (pg_sleep(1) IS NOT NULL))")

    with pytest.raises(Unreachable, match="cancelled"):
        warehouse.load([ANN], statement_timeout="200ms")


WAITING = "FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()"
"""Who waits for another run's lock."""


def test_a_run_whose_connection_is_cut_is_done_anew(warehouse: PostgresWarehouse) -> None:
    """Somebody ends our session while we wait for a lock: nothing is lost, the run goes on by itself."""
    warehouse.load([ANN])
    with (
        psycopg.connect(warehouse.database.url) as other,
        psycopg.connect(warehouse.database.url, autocommit=True) as admin,
    ):
        other.execute("SELECT pg_advisory_xact_lock(hashtextextended('tranship:public.customers', 0))")

        def cut() -> None:
            while not admin.execute(f"SELECT pg_terminate_backend(pid) {WAITING}").fetchall():
                time.sleep(0.01)
            other.commit()

        cutter = threading.Thread(target=cut)
        cutter.start()
        assert fates(warehouse.load([ANN, BOB])) == {"created": 1, "unchanged": 1}
        cutter.join()
    assert len(warehouse.rows(f"SELECT 1 FROM {LEDGER}")) == 2


def test_a_lost_answer_to_the_commit_is_looked_up(
    warehouse: PostgresWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No server loses an answer when told to; so here it is lost behind the driver."""
    run = AdbcWire.run
    cut = []

    def lossy(wire: AdbcWire, sql: str) -> int:
        done = run(wire, sql)
        if sql == "COMMIT" and not cut:
            cut.append(sql)
            raise Interfered("the answer never came.")
        return done

    monkeypatch.setattr(AdbcWire, "run", lossy)
    assert fates(warehouse.load([ANN, BOB])) == {"created": 2}
    assert cut
    assert len(warehouse.rows(f"SELECT 1 FROM {LEDGER}")) == 1


def test_a_server_that_restarts_is_waited_for(tmp_path: Path, mortal_postgres_server: Server) -> None:
    with mortal_postgres_server.database() as database:
        warehouse = PostgresWarehouse(tmp_path, database)
        warehouse.load([ANN])
        other = psycopg.connect(database.url)
        other.execute("SELECT pg_advisory_xact_lock(hashtextextended('tranship:public.customers', 0))")

        def restart() -> None:
            while not database.rows(f"SELECT pid {WAITING}"):
                time.sleep(0.01)
            mortal_postgres_server.stop(immediate=True)
            mortal_postgres_server.start()

        restarter = threading.Thread(target=restart)
        restarter.start()
        assert fates(warehouse.load([ANN, BOB])) == {"created": 1, "unchanged": 1}
        restarter.join()
        other.close()


# Source ----------------------------------------------------------------------------------------------------------


def test_columns_of_all_types_are_read(each: PostgresWarehouse) -> None:
    each.do(
        ENUM,
        "CREATE TABLE people AS SELECT 1::bigint AS id, 'Ann'::varchar(9) AS name, 1.50::numeric AS dec, true AS yes, "
        "'a@b.co'::name AS email, 2.5::float4 AS f, '2024-01-02'::date AS created_at, interval '1 day' AS span, "
        "'active'::state AS status, '{\"b\":1}'::jsonb AS metadata, ARRAY['x','y'] AS aliases, ARRAY[1,2] AS numbers, "
        "'10.0.0.1'::inet AS ip, int4range(1,5) AS r, '\\xff'::bytea AS raw, "
        "'2024-01-02 03:04:05.678901+02'::timestamptz AS updated_at, NULL::text AS nothing",
    )
    target = Warehouse(each.folder)
    target.load(each.address("people"))

    [row] = target.rows()
    assert row["external_id"] == "1"
    assert row["status"] == "active"
    assert row["aliases"] == ["x", "y"]
    assert row["created_at"] == datetime(2024, 1, 2, tzinfo=UTC)
    assert row["updated_at"] == datetime(2024, 1, 2, 1, 4, 5, 678901, UTC)
    for piece in ('"b": 1', '"dec":"1.50"', '"span":"P1D"', '"ip":"10.0.0.1/32"', '"r":"[1,5)"', '"numbers":"[1,2]"'):
        assert piece.replace(" ", "") in row["metadata"].replace(" ", "")


def test_no_text_is_made_of_nan_and_infinity(each: PostgresWarehouse) -> None:
    each.do(
        "CREATE TABLE people AS SELECT x AS id, 'a' || n || '@b.co' AS email, 'Ann'::text AS name, x AS city, x, "
        "ARRAY[x] AS xs FROM (VALUES (1, 'nan'::float8), (2, 'infinity'), (3, '-infinity'), (4, 42.0)) v(n, x)"
    )
    target = Warehouse(each.folder)
    report = target.load(each.address("people"))

    assert fates(report) == {"created": 4}
    assert report.warnings_by_code == {"external_id.blocked": 3}
    found = target.rows("SELECT external_id, city, metadata->>'x' AS x FROM customers ORDER BY email")
    assert [tuple(row.values()) for row in found] == [
        (None, None, None),
        (None, None, "Infinity"),
        (None, None, "-Infinity"),
        ("42", "42", "42.0"),
    ]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("'infinity'::timestamptz", "unreadable"),
        ("'-infinity'::date", "unreadable"),
        ("'0044-03-15 BC'::date", "unreadable"),
        ("'0044-03-15'::timestamp", "range"),
        ("'200000-01-01'::timestamptz", "unreadable"),
    ],
)
def test_an_instant_no_customer_has_is_rejected(warehouse: PostgresWarehouse, value: str, code: str) -> None:
    query = f"SELECT '1' AS id, 'Ann' AS name, {value} AS created_at UNION ALL SELECT '2', 'Bob', '2024-01-01'"
    report = Warehouse(warehouse.folder).load(f"{warehouse.database.url}?query={query}")

    assert report.rejects_by_code == {f"created_at.{code}": 1}
    assert report.counts.created == 1


@pytest.mark.parametrize(
    "query",
    [
        "SELECT id, name FROM people WHERE id > 1",
        "SELECT id, name FROM people WHERE id > 1;",
        "SELECT id, name FROM people WHERE id > 1 -- not all",
        "WITH p AS (SELECT * FROM people) SELECT * FROM p WHERE name LIKE 'B%25'",
        "TABLE few",
    ],
)
def test_a_query_or_view_is_read(warehouse: PostgresWarehouse, query: str) -> None:
    warehouse.do(
        "CREATE TABLE people AS SELECT 1 AS id, 'Ann' AS name UNION ALL SELECT 2, 'Bob'",
        "CREATE VIEW few AS SELECT * FROM people WHERE id = 2",
    )
    target = Warehouse(warehouse.folder)

    target.load(f"{warehouse.database.url}?query={query}")
    assert target.column("name") == ["Bob"]


def test_a_query_over_our_table_is_read_as_the_table_is(warehouse: PostgresWarehouse) -> None:
    warehouse.load([ANN, BOB, CY])
    warehouse.load([ANN], mode="mirror", max_deletes="2")

    report = warehouse.load(f"{warehouse.database.url}?query=SELECT * FROM customers")
    assert fates(report) == {"unchanged": 1}
    assert warehouse.column("metadata") == [None, None, None]
    assert any("2 rows are marked as deleted and are not read" in note for note in report.notes)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELEC 1", "syntax"),
        ("SELECT 1 AS a, 2 AS a", "column a twice"),
        ("DELETE FROM people RETURNING id", ""),
        ("SELECT 1/0 AS id", "zero"),
        ("SELECT 1 AS id; DROP TABLE people", ""),
    ],
)
def test_a_query_that_cannot_be_read_is_answered_in_words(warehouse: PostgresWarehouse, query: str, words: str) -> None:
    warehouse.do("CREATE TABLE people AS SELECT 1 AS id, 'Ann' AS name")

    with pytest.raises((ConfigError, ConnectorError)) as raised:
        Warehouse(warehouse.folder).load(f"{warehouse.database.url}?query={query}")
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
    assert warehouse.column("name", table="people") == ["Ann"]


@pytest.mark.parametrize("name", ["peple", "billing.peple", "nowhere.people"])
def test_who_misspells_a_table_is_told_those_there_are(warehouse: PostgresWarehouse, name: str) -> None:
    warehouse.do(
        "CREATE TABLE people (id int)",
        "CREATE SCHEMA billing",
        "CREATE VIEW billing.few AS SELECT 1 AS id, 'A' AS name",
    )

    with pytest.raises(ConfigError, match=f":{name}: there is no such table.* There are: billing.few, public.people$"):
        Warehouse(warehouse.folder).load(warehouse.address(name))


def test_a_source_is_one_snapshot(warehouse: PostgresWarehouse) -> None:
    from tranship.connectors.databases.postgres.table import PostgresSource

    warehouse.load([ANN, BOB])
    source = PostgresSource(warehouse.address())
    warehouse.do("DELETE FROM customers")
    try:
        assert sum(part.read().records.height for part in source.parts(Path("pages"))) == source.size == 2
    finally:
        source.close()


def test_deleted_customers_of_our_table_are_not_read(warehouse: PostgresWarehouse) -> None:
    warehouse.load([ANN, BOB])
    warehouse.load([ANN], mode="mirror", max_deletes="1")
    target = Warehouse(warehouse.folder)

    target.load(warehouse.address())
    assert target.column("name") == ["Ann"]


def test_a_table_may_be_read_into_itself_by_a_query_and_into_another(warehouse: PostgresWarehouse) -> None:
    warehouse.load([{**ANN, "metadata": '{"b":1}', "aliases": "x;y"}, BOB, CY])

    fields = "external_id, email, name, country, aliases, metadata"
    query = warehouse.address().replace("table=customers", f"query=SELECT {fields} FROM customers")
    assert fates(warehouse.load(query)) == {"unchanged": 3}
    assert fates(warehouse.load(warehouse.address(), table="other")) == {"created": 3}
    assert plan(warehouse.load(warehouse.address("other")))[0]["action"] == "unchanged"


def test_a_table_is_not_written_to_itself_however_it_is_spelled(tmp_path: Path, postgres_database: Database) -> None:
    warehouse = PostgresWarehouse(tmp_path, postgres_database)
    warehouse.load([{"external_id": "1", "email": "ann@acme.com", "name": "Ann"}])
    spelled = warehouse.address().replace("postgresql://", "postgres://").replace("=customers", "=public.customers")
    with pytest.raises(ConfigError, match="cannot be the destination"):
        warehouse.load(spelled)
    with pytest.raises(ConfigError, match="is given twice"):
        registry.open_sources([spelled, warehouse.address()])
    assert fates(warehouse.load(spelled, table="copy")) == {"created": 1}
