"""The history of a table, in DuckDB and Postgres: what each sequence of runs leaves, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from support.histories import MIRROR, REMOVE, Table, notes, record, run, versions
from support.postgres_server import Database
from support.warehouse import PostgresWarehouse, Warehouse, fates
from tranship.connectors.databases.ledger import LEDGER
from tranship.connectors.errors import ConfigError, ConnectorError, Refused

Step = tuple[int, list[dict[str, str | None]]] | tuple[int, list[dict[str, str | None]], Mapping[str, Any]] | str
"""A run at a day with records, perhaps with options; or SQL of somebody else."""

OVERWRITE = {"nulls": "overwrite"}


@pytest.fixture(params=["duckdb", "postgresql"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Table:
    if request.param == "duckdb":
        return Warehouse(tmp_path)
    return PostgresWarehouse(tmp_path, request.getfixturevalue("postgres_database"))


def play(table: Table, steps: Sequence[Step]) -> list[str]:
    """Do the steps; return the notes on the history of each run."""
    said = []
    for step in steps:
        if isinstance(step, str):
            table.do(step)
        else:
            day, records, *options = step
            said.append(notes(run(table, day, records, **(options[0] if options else {}))))
    return said


def a(name: str, day: int | None = None, **more: str | None) -> list[dict[str, str | None]]:
    return [record("1", name, day, **more)]


B = record("2", "B", 1)

TOLD: dict[str, tuple[list[Step], list[str]]] = {
    "a value that comes back is a version of its own": (
        [(2, a("A", 1)), (3, a("B", 2)), (4, a("A", 3))],
        ["1 A 01..02", "1 B 02..03", "1 A 03.."],
    ),
    "without updated_at a version begins with the run": (
        [(2, a("A")), (3, a("B")), (4, a("B")), (5, a("A"))],
        ["1 A 02r..03r", "1 B 03r..05r", "1 A 05r.."],
    ),
    "a late record splits the version that covers its time": (
        [(2, a("A", 1)), (6, a("C", 5)), (7, a("B", 3))],
        ["1 A 01..03", "1 B 03..05", "1 C 05.."],
    ),
    "a late record before all others": (
        [(6, a("C", 5)), (7, a("B", 3)), (8, a("A", 1))],
        ["1 A 01..03", "1 B 03..05", "1 C 05.."],
    ),
    "a late record twice": (
        [(2, a("A", 1)), (6, a("C", 5)), (7, a("B", 3)), (8, a("B", 3))],
        ["1 A 01..03", "1 B 03..05", "1 C 05.."],
    ),
    "an unchanged row closes nothing": (
        [(2, a("A", 1)), (3, a("A", 1)), (4, [*a("A", 1), B])],
        ["1 A 01..", "2 B 01.."],
    ),
    "other values under the same updated_at begin with the run": (
        [(2, a("A", 1)), (3, a("B", 1)), (5, a("C", 4))],
        ["1 A 01..03r", "1 B 03r..04", "1 C 04.."],
    ),
    "an older record that is written is true in its time and since the run": (
        [(4, a("B", 3)), (5, a("A", 1), {"older": "write"})],
        ["1 A 01..03", "1 B 03..05r", "1 A 05r.."],
    ),
    "deleted, back and deleted again are states, and not one each night": (
        [
            *((2, [*a("A", 1), B]), (3, [B], MIRROR), (4, [B], MIRROR), (5, [*a("A", 1), B], MIRROR)),
            *((6, [B], MIRROR), (7, [B], MIRROR)),
        ],
        ["1 A 01..03r", "1 -A 03r..05r", "1 A 05r..06r", "1 -A 06r..", "2 B 01.."],
    ),
    "removed rows are deleted, and return": (
        [(2, [*a("A", 1), B]), (3, [B], REMOVE), (4, [B], REMOVE), (5, [*a("A", 1), B])],
        ["1 A 01..03r", "1 -A 03r..05r", "1 A 05r..", "2 B 01.."],
    ),
    "a customer that returns with news of the time before": (
        [(3, [*a("A", 1), B]), (4, [B], MIRROR), (5, a("C", 2))],
        ["1 A 01..02", "1 C 02..04r", "1 -A 04r..05r", "1 C 05r..", "2 B 01.."],
    ),
    "a late record about the time in which the customer was deleted": (
        [(3, [*a("A", 1), B]), (4, [B], MIRROR), (9, a("A", 8)), (10, a("C", 6))],
        ["1 A 01..04r", "1 -A 04r..06", "1 C 06..08", "1 A 08..", "2 B 01.."],
    ),
    "what a record leaves empty is that of the version before": (
        [(2, a("A", 1, city="Rome")), (6, a("C", 5, city="Bonn")), (7, a("B", 3, city=None))],
        ["1 A Rome 01..03", "1 B Rome 03..05", "1 C Bonn 05.."],
    ),
    "with --nulls overwrite it is empty": (
        [(2, a("A", 1, city="Rome")), (6, a("C", 5, city="Bonn")), (7, a("B", 3, city=None), OVERWRITE)],
        ["1 A Rome 01..03", "1 B ? 03..05", "1 C Bonn 05.."],
    ),
    "keys of ids and e-mails, and ids that look like both, are apart": (
        [
            (2, [{"external_id": None, "email": "x@a.de", "name": "A"}, {"external_id": "email:x@a.de", "name": "B"}]),
            (3, [{"external_id": "id:email:x@a.de", "name": "C"}, {"external_id": "email:x@a.de", "name": "D"}]),
        ],
        ["email:x@a.de A 02r..", "id:email:x@a.de B 02r..03r", "id:email:x@a.de D 03r..", "id:id:email:x@a.de C 03r.."],
    ),
    "keys that would be equal when joined with others are apart": (
        [(2, [record("1", "A", 1), record("11", "B", 1)]), (3, [record("1", "C", 2), record("11", "B", 1)])],
        ["1 A 01..02", "1 C 02..", "11 B 01.."],
    ),
    # What others have done -------------------------------------------------------------------------------------
    "a row that somebody has changed": (
        [(2, [*a("A", 1), B]), "UPDATE customers SET name = 'X' WHERE customer_key = '1'", (3, [B]), (4, [B])],
        ["1 A 01..03r", "1 X 03r..", "2 B 01.."],
    ),
    "a row that somebody has changed and the run changes back": (
        [(2, a("A", 1)), "UPDATE customers SET name = 'X'", (3, a("A", 1))],
        ["1 A 01..03r", "1 X 03r..03r+", "1 A 03r+.."],
    ),
    "a row that somebody has changed with a newer updated_at": (
        [
            *((2, a("A", 1)), "UPDATE customers SET name = 'X', updated_at = '2026-01-03T00:00:00Z'"),
            *((5, a("B", 2)), (6, a("C", 5))),
        ],
        ["1 A 01..02", "1 B 02..03", "1 X 03..05", "1 C 05.."],
    ),
    "rows that somebody has removed and added": (
        [
            *((2, [*a("A", 1), B]), "DELETE FROM customers WHERE customer_key = '1'"),
            "INSERT INTO customers (customer_key, external_id, name) VALUES ('3', '3', 'Y')",
            *((3, [B]), "UPDATE customers SET name = 'C' WHERE customer_key = '2'", (4, [record("2", "C", 1)])),
        ],
        ["1 A 01..03r", "1 -A 03r..", "2 B 01..04r", "2 C 04r..", "3 Y 03r.."],
    ),
    "a run without --history": (
        [(2, a("A", 1)), (3, a("B", 2), {"history": False}), (5, a("C", 4))],
        ["1 A 01..02", "1 B 02..04", "1 C 04.."],
    ),
    "a column that somebody has added and filled": (
        [(2, [*a("A", 1), B]), "ALTER TABLE customers ADD COLUMN note varchar DEFAULT 'n'", (3, a("A", 1))],
        ["1 A ? 01..03r", "1 A n 03r..", "2 B ? 01..03r", "2 B n 03r.."],
    ),
    # A table that is full when its history begins --------------------------------------------------------------
    "rows begin with their updated_at, or with the run": (
        [
            (2, [record("1", "A", 1), record("2", "B"), record("3", "C", 1)], {"history": False}),
            (3, [record("1", "A", 1), record("2", "B")], {**MIRROR, "history": False}),
            "UPDATE customers SET _deleted_at = '2026-01-03T12:00:00Z' WHERE _deleted_at IS NOT NULL",
            (5, [record("1", "D", 4)]),
        ],
        ["1 A 01..04", "1 D 04..", "2 B 05r..", "3 -C 03r.."],
    ),
    "a late record when the history begins": (
        [(4, a("B", 3), {"history": False}), (5, a("A", 1))],
        ["1 A 01..03", "1 B 03.."],
    ),
}
"""What happens → the steps, and the versions that they leave."""

COLUMNS = {
    "what a record leaves empty is that of the version before": "name || ' ' || city",
    "with --nulls overwrite it is empty": "name || ' ' || coalesce(city, '?')",
    "a column that somebody has added and filled": "name || ' ' || coalesce(note, '?')",
}


BEGINS = (
    "customers_history begins with one version for each of 2 customers; 1 has no updated_at: its version begins at the "
    "time of this run"
)
FOUND = (
    "1 customer changed without --history since the last run with it: recorded in customers_history from a newer "
    "updated_at, or from the time of this run"
)


TOGETHER = {
    case: (steps, expected)
    for case, (steps, expected) in TOLD.items()
    if case not in COLUMNS
    and "e-mails" not in case
    and all(len(step) == 2 and not isinstance(step, str) for step in steps)
}
"""The cases that need nothing but runs, so that one table can have them all."""


@pytest.mark.slow
@pytest.mark.parametrize("case", sorted(TOLD.keys() - TOGETHER.keys()))
def test_the_history_of_a_sequence_of_runs(table: Table, case: str) -> None:
    steps, expected = TOLD[case]
    play(table, steps)
    assert versions(table, COLUMNS.get(case, "name")) == expected


@pytest.mark.slow
def test_the_history_of_runs_without_options(table: Table) -> None:
    days: dict[int, list[dict[str, str | None]]] = {}
    for number, (steps, _) in enumerate(TOGETHER.values(), 10):
        for day, records in steps:  # type: ignore[misc]
            renamed = [
                {**each, "external_id": each["external_id"] and f"{number}.{each['external_id']}"} for each in records
            ]
            days.setdefault(day, []).extend(renamed)  # type: ignore[arg-type]
    for day in sorted(days):
        run(table, day, days[day])
    found = versions(table)
    for number, (case, (_, expected)) in enumerate(TOGETHER.items(), 10):
        ours = [line.removeprefix(f"{number}.") for line in found if line.startswith(f"{number}.")]
        assert ours == expected, case
    assert len(TOGETHER) > 5


@pytest.mark.slow
def test_what_a_run_adds_besides_its_changes_is_counted(table: Table) -> None:
    said = play(
        table,
        [
            (2, [record("1", "A", 1), record("2", "B")], {"history": False}),
            (6, [record("1", "C", 5), record("2", "B")]),
            "UPDATE customers SET city = 'Rome' WHERE external_id = '2'",
            (7, [record("1", "X", 3)]),
            (8, [record("1", "Y", 3)]),
            (9, [record("1", "Y", 3)], {"history": False}),
        ],
    )
    assert said == [
        "",
        BEGINS,
        f"{FOUND}; 1 late record recorded in customers_history before versions that are newer",
        "1 late record not recorded in customers_history, which has another version from the same updated_at on",
        "customers_history is not kept by this run; the next one with --history records what has become of the table",
    ]


@pytest.mark.slow
def test_what_a_run_does_not_change_is_not_touched(table: Table) -> None:
    where = "rowid, _run_id" if isinstance(table, Warehouse) else "ctid::text AS place, xmin::text AS written, _run_id"
    run(table, 2, [record("1", "A", 1), B, record("3", "C", 1)])
    query = f"SELECT {where} FROM customers_history WHERE customer_key <> '1' ORDER BY 1"
    before = table.rows(query)
    run(table, 4, [record("1", "D", 3), B, record("3", "C", 1)])
    run(table, 5, [record("1", "D", 2), B])
    assert table.rows(query) == before
    assert len(before) == 2


def test_the_current_table_keeps_its_shape(table: Table) -> None:
    table.load([record("1", "A", 1)], table="plain")
    run(table, 2, [record("1", "A", 1)])
    columns = "SELECT column_name FROM information_schema.columns WHERE table_name = '{}' ORDER BY ordinal_position"
    plain, ours = (table.rows(columns.format(name)) for name in ("plain", "customers"))
    assert plain == ours
    names = [row["column_name"] for row in table.rows(columns.format("customers_history"))]
    assert names[0] == "customer_key"
    assert names[-5:] == ["valid_from", "valid_to", "deleted", "recorded_at", "_run_id"]
    assert {"customer_key", "_run_id", "_deleted_at"} == {row["column_name"] for row in plain} - set(names[1:-1])


@pytest.mark.slow
def test_a_dry_run_writes_nothing(table: Table) -> None:
    run(table, 2, [record("1", "A", 1)])
    before = versions(table)
    report = run(table, 4, [record("1", "B", 3)], dry_run=True)
    assert fates(report) == {"updated": 1}
    assert versions(table) == before


# Tables of one's own ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_equal_neighbours_are_one_version(table: Table) -> None:
    table.do("CREATE TABLE customers (external_id varchar, email varchar, name varchar)")
    steps: list[Step] = [
        *((2, a("A", 1)), (4, a("B", 3)), (7, a("C", 6))),
        # The table does not store updated_at, and so takes what is late: B was true since the second, and C is again.
        *((8, a("B", 2)), (9, a("C", 6))),
    ]
    play(table, steps)
    assert versions(table) == ["1 A 01..02", "1 B 02..06", "1 C 06..08r", "1 B 08r..09r", "1 C 09r.."]


@pytest.mark.slow
def test_a_customer_that_gets_an_id_goes_on_under_another_key(table: Table) -> None:
    table.do("CREATE TABLE customers (external_id varchar, email varchar, name varchar, note varchar)")
    run(table, 2, [{"external_id": None, "email": "ann@acme.com", "name": "Ann"}])
    run(table, 3, [{"external_id": "7", "email": "ann@acme.com", "name": "Ann"}])
    run(table, 4, [{"external_id": "7", "email": "ann@acme.com", "name": "Anna"}])
    assert versions(table) == ["7 Ann 03r..04r", "7 Anna 04r..", "email:ann@acme.com Ann 02r..03r",
                               "email:ann@acme.com -Ann 03r.."]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("(NULL, NULL, 'A')", "1 row without an external id or e-mail"),
        ("('1', NULL, 'A'), ('1', NULL, 'B')", "1 customer with several rows"),
    ],
)
def test_customers_that_cannot_be_told_apart_are_refused(table: Table, rows: str, reason: str) -> None:
    table.do("CREATE TABLE customers (external_id varchar, email varchar, name varchar)")
    table.do(f"INSERT INTO customers VALUES {rows}")
    with pytest.raises(Refused, match=reason):
        run(table, 2, [B])
    assert table.rows("SELECT count(*) AS n FROM customers WHERE name = 'B' AND email IS NOT NULL") == [{"n": 0}]


# What is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("CREATE TABLE customers_history (customer_key text, name text)", "there is a table of this name without"),
        ("CREATE VIEW customers_history AS SELECT 1 AS a", "customers_history|is a view"),
        ("ALTER TABLE customers ADD COLUMN valid_from date", "column valid_from has a name that its history needs"),
        ("ALTER TABLE customers ADD COLUMN _tranship_at text", "column _tranship_at has a name that its history needs"),
    ],
)
def test_what_is_in_the_way_of_a_history_is_refused(table: Table, statement: str, reason: str) -> None:
    run(table, 2, [B], history=False)
    table.do(statement)
    with pytest.raises(ConfigError, match=reason):
        run(table, 3, [record("1", "A", 1)])
    assert table.rows("SELECT name FROM customers") == [{"name": "B"}]


def test_a_column_that_is_only_spelled_like_one_of_tranship_is_refused(table: Table) -> None:
    table.do('CREATE TABLE customers (external_id varchar, name varchar, "_RUN_ID" varchar)')
    with pytest.raises(ConfigError, match="column _RUN_ID has a name that its history needs for itself"):
        run(table, 2, [B])


def test_a_history_whose_table_is_gone_is_refused(table: Table) -> None:
    run(table, 2, [B])
    table.do("DROP TABLE customers")
    with pytest.raises(ConfigError, match="does not exist, but its history customers_history does"):
        run(table, 3, [B])


def test_a_column_of_another_type_is_refused_with_the_statement_that_changes_it(table: Table) -> None:
    run(table, 2, [record("1", "A", 1, net_terms="30")])
    table.do("ALTER TABLE customers ALTER COLUMN net_terms TYPE bigint")
    with pytest.raises(ConfigError, match=r"(?i)ALTER TABLE customers_history ALTER COLUMN net_terms TYPE bigint"):
        run(table, 3, [record("1", "A", 1)])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("UPDATE customers_history SET valid_to = '2026-01-02T00:00:00Z' WHERE name = 'A'", "have a gap or overlap"),
        ("UPDATE customers_history SET valid_from = '2026-01-09T00:00:00Z' WHERE name = 'A'", "have a gap or overlap"),
        ("UPDATE customers_history SET valid_to = '2026-02-01T00:00:00Z' WHERE name = 'B'", "have a gap or overlap"),
    ],
)
def test_versions_that_do_not_fit_together_roll_the_run_back(table: Table, damage: str, reason: str) -> None:
    run(table, 2, [record("1", "A", 1)])
    run(table, 4, [record("1", "B", 3)])
    table.do(damage)
    before = versions(table)
    with pytest.raises(Refused, match=reason):
        run(table, 6, [record("1", "C", 5)])
    assert table.rows("SELECT name FROM customers") == [{"name": "B"}]
    assert versions(table) == before


@pytest.mark.slow
def test_the_history_of_a_failed_run_is_rolled_back(table: Table) -> None:
    run(table, 2, [record("1", "A", 1)])
    table.do(f"ALTER TABLE {LEDGER} DROP COLUMN merged")
    with pytest.raises(ConnectorError):
        run(table, 4, [record("1", "B", 3)])
    assert versions(table) == ["1 A 01.."]


# More of the table -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_new_column_is_in_the_history_too(table: Table) -> None:
    table.do("CREATE TABLE customers (external_id varchar, email varchar, name varchar, updated_at timestamptz)")
    run(table, 2, [record("1", "A", 1), record("2", "B", 1)])
    run(table, 4, [record("1", "A", 3, city="Rome"), record("2", "B", 1)], evolve=True)
    run(table, 5, [record("1", "C", 2, city="Bonn")], evolve=True)
    shown = "name || ' ' || coalesce(city, '?')"
    assert versions(table, shown) == ["1 A ? 01..02", "1 C Bonn 02..03", "1 A Rome 03..", "2 B ? 01.."]


@pytest.mark.slow
def test_verify_checks_the_history(table: Table) -> None:
    from tranship.pipelines import run as flow

    report = run(table, 2, [record("1", "A", 1), B])
    state = table.folder / "state"
    assert flow.verify_run(state, report.run_id).history == {"versions": 2, "broken": 0, "different": 0}
    table.do("UPDATE customers_history SET valid_to = valid_from WHERE customer_key = '1'")
    table.do("UPDATE customers_history SET name = 'X' WHERE customer_key = '2'")
    found = flow.verify_run(state, report.run_id)
    assert found.history == {"versions": 2, "broken": 1, "different": 2}
    assert not found.equal


# As of a time ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_table_is_read_as_it_was(table: Table, tmp_path: Path) -> None:
    run(table, 2, [record("1", "A", 1), B])
    run(table, 4, [record("1", "C", 3)], **MIRROR)

    def names(as_of: str) -> list[str]:
        out = tmp_path / "out.csv"
        source = f"{table.address()}&as_of={as_of}"
        said = run(table, 5, [], source=source, destination=str(out), history=False, allow_empty=True, overwrite=True)
        assert any(f"read as of {as_of.replace('T', ' ').rstrip('Z')}" in note for note in said.notes)
        return sorted(line.split(",")[2] for line in out.read_text().splitlines()[1:])

    assert {
        time: names(time) for time in ("2026-01-01", "2026-01-02T23:59:59.999999Z", "2026-01-03", "2026-01-05")
    } == {
        "2026-01-01": ["A", "B"],
        "2026-01-02T23:59:59.999999Z": ["A", "B"],
        "2026-01-03": ["B", "C"],
        "2026-01-05": ["C"],
    }
    assert names("2025-12-31T23:59:59Z") == []


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("{}&as_of=yesterday", "as_of 'yesterday' is not a time. Write 2026-01-31"),
        ("{}&as_of=2026-01-31", "has no history customers_history to read as_of from"),
    ],
)
def test_what_cannot_be_read_as_of_a_time(table: Table, tmp_path: Path, address: str, reason: str) -> None:
    run(table, 2, [B], history=False)
    source = address.format(table.address())
    with pytest.raises(ConfigError, match=reason):
        run(table, 3, [], source=source, destination=str(tmp_path / "out.csv"), history=False)


def test_a_table_as_of_a_time_is_no_destination(table: Table) -> None:
    with pytest.raises(ConfigError, match="can be read as of a time, not written"):
        run(table, 2, [B], destination=f"{table.address()}&as_of=2026-01-31")


# Postgres --------------------------------------------------------------------------------------------------------


@pytest.fixture
def postgres(tmp_path: Path, postgres_database: Database) -> PostgresWarehouse:
    return PostgresWarehouse(tmp_path, postgres_database)


def test_a_name_that_postgres_would_truncate_is_refused(postgres: PostgresWarehouse) -> None:
    long = "x" * 56
    with pytest.raises(ConfigError, match="is longer than 63 bytes"):
        run(postgres, 2, [B], destination=postgres.address(long))
    assert not postgres.rows(f"SELECT 1 FROM pg_tables WHERE tablename = '{long}'")


def test_values_that_cannot_be_compared_are_kept_exactly(postgres: PostgresWarehouse) -> None:
    postgres.do(
        "CREATE TABLE customers (external_id text PRIMARY KEY, name text, place point, data json, updated_at date, "
        "metadata jsonb, twice text GENERATED ALWAYS AS (external_id || external_id) STORED)",
        "INSERT INTO customers VALUES ('1', 'A', '(1,2)', '{\"a\": 1}', '2026-01-01')",
    )
    run(postgres, 2, [B])
    postgres.do("UPDATE customers SET data = '{\"a\":  1}' WHERE external_id = '1'")
    run(postgres, 4, [record("1", "C", 3, metadata='{"b": 1}')])
    run(postgres, 5, [record("1", "D", 2, metadata='{"b": 2}')])
    found = versions(postgres, "name || place::text || data::text || coalesce(metadata::text, '')")
    assert [line for line in found if line.startswith("1 ")] == [
        '1 A(1,2){"a": 1} 01..02',
        '1 D(1,2){"a": 1}{"b": 2} 02..03',
        '1 C(1,2){"a": 1}{"b": 1} 03..04r',
        '1 A(1,2){"a":  1} 04r..04r+',
        '1 C(1,2){"a":  1}{"b": 1} 04r+..',
    ]


def test_a_table_that_sets_updated_at_itself_has_the_times_of_the_records(postgres: PostgresWarehouse) -> None:
    postgres.do(
        "CREATE TABLE customers (external_id text PRIMARY KEY, name text, updated_at timestamptz)",
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.updated_at = now(); RETURN NEW; END'",
        "CREATE TRIGGER t BEFORE INSERT OR UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION touch()",
    )
    for day, name in ((2, "A"), (4, "C"), (3, "B")):
        run(postgres, day + 10, [record("1", name, day)])
    assert versions(postgres) == ["1 A 02..03", "1 B 03..04", "1 C 04.."]


def test_a_user_without_the_right_to_write_the_history_is_told_what_to_grant(postgres: PostgresWarehouse) -> None:
    run(postgres, 2, [B], history=False)
    role = f"r{abs(hash(postgres.database.url))}"
    postgres.do(
        f"CREATE ROLE {role} LOGIN PASSWORD 'x'",
        f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {role}",
    )
    address = postgres.address().replace("postgres@", f"{role}:x@")
    with pytest.raises(Refused, match="GRANT CREATE ON SCHEMA"):
        run(postgres, 3, [record("1", "A", 1)], destination=address)


@pytest.mark.postgres
def test_a_mark_that_no_run_has_left_counts_as_none(tmp_path: Path, postgres_database: Database) -> None:
    table = PostgresWarehouse(tmp_path, postgres_database)
    for mark in ("", "[]", "5", "null", '{"table": [], "rows": "x", "finished": 1, "known": []}'):
        run(table, 2, a("A", 1))
        table.do(f"UPDATE _tranship_histories SET mark = '{mark}'")
    run(table, 6, a("B", 5))
    assert versions(table) == ["1 A 01..05", "1 B 05.."]
