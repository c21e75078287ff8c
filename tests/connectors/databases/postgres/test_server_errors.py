"""Errors of the server and of libpq as Tranship's errors."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.artefacts import texts
from support.postgres_server import Database
from support.warehouse import PostgresWarehouse
from tranship.connectors.databases.postgres.address import parse_address
from tranship.connectors.databases.postgres.server_errors import primary_message, stream_message
from tranship.connectors.errors import ConnectorError, Refused
from tranship.pipelines import run as flow
from tranship.pipelines import settings

SECRET = "s3cr3t-w0rd"


@pytest.fixture
def warehouse(tmp_path: Path, postgres_database: Database) -> PostgresWarehouse:
    return PostgresWarehouse(tmp_path, postgres_database)


def test_a_wrong_password_is_reported_and_not_shown(warehouse: PostgresWarehouse, tmp_path: Path) -> None:
    """The tests' server trusts all users, so the message is given here as libpq formats it."""
    from tranship.connectors.databases.postgres.server_errors import connect_error

    said = (
        'IO: [libpq] Failed to connect: connection to server at "127.0.0.1", port 5432 failed: '
        'FATAL:  password authentication failed for user "u"\n'
    )
    none = 'connection to server at "127.0.0.1", port 5432 failed: fe_sendauth: no password supplied\n'
    for words in (said, f"IO: [libpq] Failed to connect: {none}", f"connection failed: {none}"):
        error = connect_error(parse_address(f"postgresql://u:{SECRET}@h/db"), words)
        assert isinstance(error, Refused)
        assert "PGPASSWORD" in str(error)
        assert SECRET not in str(error)


READING = {
    "cast": "('Jane Roe ' || i)::int::text",
    "range": "(i || '99999912345')::int::text",
    "date": "to_date('Jane Roe ' || i, 'DD Month YYYY')::text",
    "text search": "to_tsquery('Jane Roe ' || i)::text",
    "json path": "jsonb_path_query('{}'::jsonb, ('strict $.Jane' || i)::jsonpath)::text",
    "own function": "raised('Jane Roe ' || i)",
}


@pytest.mark.parametrize("driver", ["adbc", "psycopg"])
@pytest.mark.parametrize("value", READING.values(), ids=READING)
def test_an_error_in_a_view_is_reported_without_the_value(
    value: str, driver: str, warehouse: PostgresWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    if driver == "psycopg":
        monkeypatch.setitem(sys.modules, "adbc_driver_postgresql", None)
    warehouse.do(
        "CREATE FUNCTION raised(said text) RETURNS text LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'what of %', said; END$$",
        f"CREATE VIEW broken AS SELECT 'e' || i AS external_id, {value} AS name FROM generate_series(1, 2) i",
    )
    with pytest.raises(ConnectorError) as failed:
        flow.run(
            settings.load(
                {
                    "source": warehouse.address("broken"),
                    "destination": str(warehouse.folder / "out.csv"),
                    "state_dir": warehouse.folder / "state",
                },
                {},
            )
        )
    said = [("error", str(failed.value)), *texts(warehouse.folder / "state")]
    assert not [where for where, text in said if "Jane" in text or "9912345" in text]


WRITING = {
    "words": "RAISE EXCEPTION 'no % <%>', new.name, new.email",
    "in other quotes": "RAISE EXCEPTION USING ERRCODE = '22P02', MESSAGE = 'Typ integer: »' || new.name || '«'",
    "of a constraint": "RAISE EXCEPTION USING ERRCODE = '23505', MESSAGE = 'no ' || new.name",
    "assertion": "ASSERT false, new.name",
}


@pytest.mark.parametrize("statement", WRITING.values(), ids=WRITING)
def test_words_of_a_trigger_are_left_to_the_server_and_its_place_is_reported(
    statement: str, warehouse: PostgresWarehouse
) -> None:
    warehouse.do(
        "CREATE TABLE customers (external_id text, name text, email text)",
        f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {statement}; RETURN new; END$$",
        "CREATE TRIGGER refuse BEFORE INSERT ON customers FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    with pytest.raises(Refused, match=r"\(function refuse\(\), line 1, SQLSTATE \w{5}\)") as failed:
        warehouse.load([{"external_id": "1", "name": "Jane Roe", "email": "jane@acme.example"}])
    reports = [text for where, text in texts(warehouse.folder / "state") if "report." in where]
    assert reports
    assert not [text for text in (str(failed.value), *reports) if "Jane" in text]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ('column "nmae" does not exist', 'column "nmae" does not exist'),
        ('invalid input syntax for type integer: "Jane"', "invalid input syntax for type integer"),
        ("ungültige Eingabesyntax für Typ integer: »Jane«", "ungültige Eingabesyntax für Typ integer"),
        (
            "syntaxe en entrée invalide pour le type integer : « Jane »",
            "syntaxe en entrée invalide pour le type integer ",
        ),
        ('value "12345678901" is out of range for type integer', 'value "…" is out of range for type integer'),
        ('date/time field value out of range: "Ja""ne"', "date/time field value out of range"),
    ],
)
def test_quoted_values_are_left_out_and_names_are_not(said: str, shown: str) -> None:
    assert primary_message(f"ERROR:  {said}\nDETAIL: Jane") == shown.strip()


@pytest.mark.parametrize("piece", [" ", ".", "(", "x", "\t"])
def test_a_message_without_end_is_cut_at_once(piece: str) -> None:
    assert len(primary_message(f"ERROR: first {piece * 200_000}")) <= 200
    assert len(stream_message(f"SQLSTATE: P0001\nCONTEXT:  f{piece * 200_000} at RAISE")) < 500_000
