"""A Postgres table as a destination: real servers, real runs."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from support.postgres_runs import left_behind
from support.postgres_server import Database, Server
from support.warehouse import PostgresWarehouse, fates, rejects
from tranship.connectors.databases.ledger import LEDGER
from tranship.connectors.databases.postgres.adbc import AdbcConnection
from tranship.connectors.databases.table_mapping import CHANGES, DELETED, RUN
from tranship.connectors.errors import (
    Busy,
    ConfigError,
    GateClosed,
    Interfered,
    Refused,
    Unreachable,
)
from tranship.schemas.customer import COLUMNS, KEY

ANN = {"external_id": "1", "email": "ann@acme.com", "name": "Ann"}

BOB = {"external_id": "2", "email": "bob@acme.com", "name": "Bob"}

CY = {"external_id": None, "email": "cy@acme.com", "name": "Cy"}

ODD_NAMES = ('we"ird', "select", "two words", "Zürich 東京", "semi;colon", "o'clock", "a.b", "back\\slash", "%s", "$1")


@pytest.fixture
def warehouse(tmp_path: Path, postgres_database: Database) -> PostgresWarehouse:
    return PostgresWarehouse(tmp_path, postgres_database)


@pytest.fixture
def each(tmp_path: Path, every_postgres_database: Database) -> PostgresWarehouse:
    """A database on each installed version of the server."""
    return PostgresWarehouse(tmp_path, every_postgres_database)


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


def test_a_field_is_stored_in_the_column_that_the_user_names(warehouse: PostgresWarehouse) -> None:
    warehouse.do('CREATE TABLE customers (nr text PRIMARY KEY, name text, "Firma" text NOT NULL, mail varchar(40))')
    columns = {"external_id": "nr", "name": "Firma", "email": "mail"}
    report = warehouse.load([ANN, BOB], columns=columns)

    assert warehouse.rows("SELECT * FROM customers ORDER BY nr") == [
        {"nr": "1", "name": None, "Firma": "Ann", "mail": "ann@acme.com"},
        {"nr": "2", "name": None, "Firma": "Bob", "mail": "bob@acme.com"},
    ]
    assert "stored with --column: external_id in nr, name in Firma, email in mail" in report.notes
    assert fates(warehouse.load([ANN, {**BOB, "name": "Bo"}], columns=columns)) == {"unchanged": 1, "updated": 1}
    with pytest.raises(ConfigError, match=r"customers has no column 'firma'\. Did you mean 'Firma'\?") as error:
        warehouse.load([ANN], columns={**columns, "name": "firma"})
    assert error.value.report is None  # nothing was read


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (
            "TABLE customers (external_id text, name text, shelf int NOT NULL)",
            "column shelf must have a value",
        ),
        ("TABLE customers (name text, city text)", "no column for the external id or the e-mail"),
        ("VIEW customers AS SELECT '1' AS external_id", "is a view"),
        ("MATERIALIZED VIEW customers AS SELECT '1' AS external_id", "is a materialised view"),
        ("TABLE customers (customer_id text, account_id text, name text)", "could both hold external_id"),
    ],
)
def test_a_table_that_cannot_be_filled_is_refused_with_a_message(
    warehouse: PostgresWarehouse, table: str, words: str
) -> None:
    warehouse.do(f"CREATE {table}")

    with pytest.raises(ConfigError, match=words):
        warehouse.load([ANN])
    assert warehouse.rows(f"SELECT to_regclass('{LEDGER}') AS ledger") == [{"ledger": None}]


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


@pytest.fixture
def clerk(warehouse: PostgresWarehouse) -> Any:
    """A user without privileges, and the warehouse as that user."""
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


@pytest.mark.parametrize(
    ("existing", "advice"),
    [
        ((), 'GRANT CREATE ON SCHEMA "public" TO'),
        ((f"CREATE TABLE {CHANGES} (run_id text)",), f'GRANT INSERT ON "public"."{CHANGES}" TO'),
    ],
    ids=["no table", "no right"],
)
def test_without_the_right_to_record_changes_the_run_stops_and_names_the_way_out(
    warehouse: PostgresWarehouse, clerk: Any, existing: tuple[str, ...], advice: str
) -> None:
    name, as_clerk = clerk
    warehouse.load([ANN], changes="off")
    warehouse.do(
        "REVOKE CREATE ON SCHEMA public FROM public",
        f"GRANT SELECT, INSERT, UPDATE ON customers, {LEDGER} TO {name}",
        *existing,
    )

    assert fates(as_clerk.load([ANN])) == {"unchanged": 1}
    for options in ({}, {"dry_run": True}):
        with pytest.raises(Refused, match="--changes off") as raised:
            as_clerk.load([BOB], **options)
        assert advice in str(raised.value)
    assert warehouse.column("external_id") == ["1"]
    assert fates(as_clerk.load([BOB], changes="off")) == {"created": 1}


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


def test_a_server_that_takes_no_writes_is_reported(warehouse: PostgresWarehouse) -> None:
    name = warehouse.database.url.rpartition("/")[2]
    warehouse.load([ANN])
    warehouse.do(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    # A session may lift that itself, so this is not an obstacle; a standby is one, and reports the same code.
    assert fates(warehouse.load([BOB])) == {"created": 1}
    warehouse.do("SET default_transaction_read_only = off", f"ALTER DATABASE {name} RESET ALL")


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


def test_a_statement_that_takes_too_long_is_reported(warehouse: PostgresWarehouse) -> None:
    warehouse.do("CREATE TABLE customers (external_id text, name text CHECK (pg_sleep(1) IS NOT NULL))")

    with pytest.raises(Unreachable, match="cancelled"):
        warehouse.load([ANN], statement_timeout="200ms")


WAITING = "FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()"
"""The query for sessions that wait for another run's lock."""


def test_a_run_whose_connection_is_cut_is_done_anew(warehouse: PostgresWarehouse) -> None:
    """The session is ended while the run waits for a lock: nothing is lost, and the run continues by itself."""
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
    """No server loses an answer on request, so it is lost here between driver and connector."""
    execute = AdbcConnection.execute
    cut = []

    def lossy(connection: AdbcConnection, sql: str) -> int:
        done = execute(connection, sql)
        if sql == "COMMIT" and not cut:
            cut.append(sql)
            raise Interfered("the answer never came.")
        return done

    monkeypatch.setattr(AdbcConnection, "execute", lossy)
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


def test_no_temporary_table_is_left_at_the_commit(each: PostgresWarehouse) -> None:
    """A server that dies after the commit, before the session ends, would keep the temporary tables that there are."""
    late = {"updated_at": "2026-01-02T00:00:00Z"}
    each.load([ANN | late, BOB | late, CY], history=True)
    each.do(
        "CREATE TABLE at_commit (name text)",
        "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO at_commit "
        "SELECT relname FROM pg_class WHERE relnamespace = pg_my_temp_schema() UNION ALL "
        "SELECT proname FROM pg_proc WHERE pronamespace = pg_my_temp_schema() UNION ALL SELECT ''looked''; "
        "RETURN NULL; END'",
        "CREATE CONSTRAINT TRIGGER look AFTER INSERT OR UPDATE OR DELETE ON customers_history "
        "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION look()",
        "UPDATE customers SET name = 'Bo', updated_at = NULL WHERE external_id = '2'",
    )

    again = [ANN | {"name": "Anna", "updated_at": "2026-01-01T00:00:00Z"}, CY | {"name": "Cyd"}, {"name": "Di"} | late]
    again[2]["external_id"] = "4"
    found = fates(each.load(again, history=True, mode="mirror", max_deletes="2", deletes="remove"))

    assert found == {"stale": 1, "created": 1, "updated": 1, "deleted": 1}
    assert {row["name"] for row in each.rows("SELECT name FROM at_commit")} == {"looked"}
