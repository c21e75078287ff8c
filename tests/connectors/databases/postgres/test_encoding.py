"""Databases and sessions in encodings other than UTF-8: text is stored unchanged, or its record is refused."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.postgres_server import Database
from support.warehouse import PostgresWarehouse, fates
from tranship.connectors.databases.postgres import connect
from tranship.connectors.errors import ConfigError
from tranship.pipelines import run as flow
from tranship.pipelines import settings

CAFE = {"external_id": "1", "email": "ann@acme.com", "name": "Café", "city": "Zürich"}
SMITH = {"external_id": "2", "email": "bob@acme.com", "name": "Smith", "city": "Köln"}
WARSAW = {"external_id": "3", "email": "cy@acme.com", "name": "Łukasz", "city": "Köln"}
AMONG = ("ADBC", "COPY")


@contextmanager
def encoded(server: Database, encoding: str) -> Iterator[Database]:
    name = f"encoded_{uuid.uuid4().hex[:12]}"
    server.do(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'")
    base, _, _ = server.url.partition("?")
    try:
        yield Database(f"{base.rpartition('/')[0]}/{name}")
    finally:
        server.do(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=AMONG)
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to the server."""
    if request.param == "COPY":
        found = connect.find_spec
        monkeypatch.setattr(connect, "find_spec", lambda name: None if name.startswith("adbc") else found(name))
    return str(request.param)


@pytest.fixture
def latin(tmp_path: Path, postgres_database: Database) -> Iterator[PostgresWarehouse]:
    with encoded(postgres_database, "LATIN1") as database:
        yield PostgresWarehouse(tmp_path, database)


@pytest.fixture
def ascii_only(tmp_path: Path, postgres_database: Database) -> Iterator[PostgresWarehouse]:
    with encoded(postgres_database, "SQL_ASCII") as database:
        yield PostgresWarehouse(tmp_path, database)


def stored(warehouse: PostgresWarehouse, column: str = "name") -> list[str]:
    """Return the bytes of a column in hexadecimal, regardless of the session's encoding."""
    return [
        text(row["found"])
        for row in warehouse.rows(
            f"SELECT encode(convert_to({column}, getdatabaseencoding()), 'hex') AS found FROM customers ORDER BY external_id"
        )
    ]


def text(found: str | bytes) -> str:
    """Return text; a session in SQL_ASCII returns bytes."""
    return found.decode() if isinstance(found, bytes) else found


def test_a_latin1_database_holds_what_the_source_says(latin: PostgresWarehouse, driver: str) -> None:
    assert fates(latin.load([CAFE, SMITH])) == {"created": 2}
    assert stored(latin) == ["Café".encode("latin-1").hex(), b"Smith".hex()]
    assert fates(latin.load([CAFE, SMITH])) == {"unchanged": 2}
    assert fates(latin.load([{**CAFE, "name": "Cafés"}, SMITH])) == {"updated": 1, "unchanged": 1}
    assert stored(latin)[0] == "Cafés".encode("latin-1").hex()


@pytest.mark.parametrize(
    "where", ["PGCLIENTENCODING", "client_encoding=LATIN1", "options=-c%20client_encoding%3DLATIN1"]
)
def test_the_session_is_utf8_whatever_is_asked_for(
    tmp_path: Path,
    postgres_database: Database,
    where: str,
    driver: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if where == "PGCLIENTENCODING":
        monkeypatch.setenv(where, "LATIN1")
    extra = f"&{where}" if "=" in where else ""
    warehouse = PostgresWarehouse(tmp_path, postgres_database)
    for fate in ("created", "unchanged"):
        assert fates(warehouse.load([CAFE], destination=f"{warehouse.address()}{extra}")) == {fate: 1}
    monkeypatch.delenv("PGCLIENTENCODING", raising=False)
    assert stored(warehouse) == ["Café".encode().hex()]

    # Read with such a session, it is unchanged.
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    given = {"source": f"{warehouse.address()}{extra}", "destination": str(tmp_path / "out.csv")}
    flow.run(settings.load({**given, "state_dir": tmp_path / "state"}, {}))
    assert "Café" in (tmp_path / "out.csv").read_text("utf-8")


def test_verify_sees_text_that_was_stored_in_the_wrong_encoding(latin: PostgresWarehouse) -> None:
    latin.load([CAFE, SMITH])
    latin.do("UPDATE customers SET name = convert_from('\\x436166c383c2a9', 'UTF8') WHERE external_id = '1'")
    given = {
        "source": str(latin.folder / "in.csv"),
        "destination": latin.address(),
        "state_dir": latin.folder / "state",
    }

    assert flow.verify(settings.load(given, {})).different_fields == {"name": 1}


def test_a_character_that_the_encoding_lacks_refuses_its_record_alone(latin: PostgresWarehouse, driver: str) -> None:
    for fate in ("created", "unchanged"):
        report = latin.load([CAFE, SMITH, WARSAW])
        assert fates(report) == {fate: 2, "refused": 1}
        assert report.refused_by_reason == {"does_not_fit: name LATIN1": 1}
    report = latin.load([{**CAFE, "city": "Łódź"}, {**SMITH, "name": "Smyth"}])
    assert (fates(report), report.refused_by_reason) == ({"updated": 1, "refused": 1}, {"does_not_fit: city LATIN1": 1})
    assert latin.column("city") == ["Köln", "Zürich"]


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("external_id", "Ł1", "LATIN1"),
        ("metadata", '{"note": "Ł"}', "LATIN1"),
        ("metadata", '{"note": "\\u0141"}', "jsonb"),
        ("aliases", "a;Ł", "LATIN1"),
        ("tax_id", "€1", "LATIN1"),
    ],
)
def test_every_field_is_looked_at(latin: PostgresWarehouse, field: str, value: str, what: str) -> None:
    report = latin.load([CAFE, {**SMITH, field: value}])

    assert fates(report) == {"created": 1, "refused": 1}
    assert report.refused_by_reason == {f"does_not_fit: {field} {what}": 1}
    assert latin.column("external_id") == ["1"]


def test_a_table_of_the_users_own_is_looked_at_in_every_type(latin: PostgresWarehouse) -> None:
    latin.do(
        "CREATE DOMAIN short AS varchar(9)",
        "CREATE TABLE customers (customer_key text PRIMARY KEY, name varchar(20), city short, aliases jsonb)",
    )
    rows = [
        CAFE,
        {**SMITH, "external_id": "Ł2"},
        {**WARSAW},
        {**SMITH, "external_id": "4", "email": "d@acme.com", "city": "Łódź"},
        {**SMITH, "external_id": "5", "email": "e@acme.com", "aliases": "Ł"},
    ]
    for fate in ("created", "unchanged"):
        report = latin.load(rows)
        assert fates(report) == {fate: 1, "refused": 4}
        assert report.refused_by_reason == {
            f"does_not_fit: {column} LATIN1": 1 for column in ("customer_key", "name", "city", "aliases")
        }


def test_a_file_whose_name_the_encoding_lacks_is_loaded(latin: PostgresWarehouse) -> None:
    file = latin.folder / "клиенты.csv"
    file.write_text("external_id,email,name\n1,ann@acme.com,Café\n", encoding="utf-8")

    assert fates(latin.load(file)) == {"created": 1}
    assert latin.rows("SELECT source FROM _tranship_ledger")[0]["source"].endswith("/???????.csv")


def test_sql_ascii_holds_utf8_and_says_what_it_is(ascii_only: PostgresWarehouse, driver: str) -> None:
    for fate in ("created", "unchanged"):
        report = ascii_only.load([CAFE, WARSAW])
        assert fates(report) == {fate: 2}
        assert any("SQL_ASCII" in note for note in report.notes)
    assert stored(ascii_only) == ["Café".encode().hex(), "Łukasz".encode().hex()]


def test_lengths_are_those_of_the_encoding(ascii_only: PostgresWarehouse) -> None:
    ascii_only.do("CREATE TABLE customers (external_id text, email text, name varchar(5), city text)")
    report = ascii_only.load([{**CAFE, "name": "Cafés"}, {**SMITH, "name": "Café"}])

    assert fates(report) == {"created": 1, "refused": 1}
    assert report.refused_by_reason == {"does_not_fit: name character varying(5)": 1}


@pytest.mark.parametrize("role", ["source", "destination"])
def test_bytes_of_no_known_encoding_are_said_to_be_that(ascii_only: PostgresWarehouse, driver: str, role: str) -> None:
    ascii_only.load([CAFE])
    latin = "E'Caf\\351'"
    ascii_only.do(f"UPDATE customers SET name = {latin}")

    out = str(ascii_only.folder / "out.csv")
    source, options = (ascii_only.address(), {"destination": out}) if role == "source" else ([CAFE], {})
    with pytest.raises(ConfigError, match="SQL_ASCII") as raised:
        ascii_only.load(source, **options)
    assert "not UTF-8" in str(raised.value)
    assert "Caf" not in str(raised.value)
    assert stored(ascii_only) == ["436166e9"]


def test_other_encodings_of_one_byte_and_of_several(tmp_path: Path, postgres_database: Database) -> None:
    for encoding, good, bad in (("WIN1252", "€uro", "Łódź"), ("EUC_JP", "日本", "Ā😀"), ("LATIN2", "Łódź", "日本")):
        with encoded(postgres_database, encoding) as database:
            warehouse = PostgresWarehouse(tmp_path / encoding, database)
            warehouse.folder.mkdir()
            for fate in ("created", "unchanged"):
                report = warehouse.load([{**CAFE, "name": good, "city": "A"}, {**SMITH, "name": bad, "city": "A"}])
                assert fates(report) == {fate: 1, "refused": 1}
                assert report.refused_by_reason == {f"does_not_fit: name {encoding}": 1}
            assert warehouse.column("name") == [good]
