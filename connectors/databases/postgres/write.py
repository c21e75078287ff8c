"""The write of a plan to a Postgres table: one statement for each kind of change, and the ledger row."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.schema import CreateSchema, CreateTable, SetColumnComment, SetTableComment

from tranship.connectors.contract import Plan, WriteObserver
from tranship.connectors.databases.before_images import is_updated
from tranship.connectors.databases.changes import is_first_load, is_recorded
from tranship.connectors.databases.history import HistoryWriter
from tranship.connectors.databases.ledger import LATER_COUNTS, LEDGER, ledger_row
from tranship.connectors.databases.postgres.address import PostgresAddress
from tranship.connectors.databases.postgres.before_images import BeforeImages
from tranship.connectors.databases.postgres.catalog import Relation, column_types, find_relation
from tranship.connectors.databases.postgres.changes import ChangeLog
from tranship.connectors.databases.postgres.connection import arrow_reader
from tranship.connectors.databases.postgres.context import WriteContext, new_row_values
from tranship.connectors.databases.postgres.deletes import GONE, delete_all_rows, delete_rows
from tranship.connectors.databases.postgres.history import PostgresHistory
from tranship.connectors.databases.postgres.last_written import LastWritten
from tranship.connectors.databases.postgres.sql import (
    CREATED_COLUMNS,
    TABLE_COMMENT,
    created_type,
    ddl,
    ledger_table,
    sql_name,
    type_sql,
)
from tranship.connectors.databases.postgres.step_aside import StepAside
from tranship.connectors.databases.postgres.transfer import SENT_ROWS, copy_to_server, rows_by_place
from tranship.connectors.databases.postgres.values import is_jsonb, needs_cast, value_sent
from tranship.connectors.databases.postgres.watermarks import Watermarks
from tranship.connectors.databases.quoting import files_literal, literal, quoted
from tranship.connectors.databases.table_mapping import COMMENTS, DELETED, RUN, MappedField
from tranship.connectors.databases.written_times import keeps_times
from tranship.connectors.errors import (
    ConfigError,
    Refused,
)
from tranship.schemas.counted import counted
from tranship.schemas.customer import KEY

_NEW: Final = "pg_temp._tranship_new"
"""The rows to insert."""
_CHANGED: Final = "pg_temp._tranship_changed"
"""The rows to update, with their positions and new values."""


class Writer:
    """Carries out a plan in the transaction in which it was made."""

    def __init__(
        self, context: WriteContext, plan: Plan, address: PostgresAddress, where: str, observer: WriteObserver
    ) -> None:
        self._context, self._plan, self._address, self._where = context, plan, address, where
        self._observer = observer
        self._connection, self._duck, self._request = context.connection, context.duck, context.request
        self._changes: ChangeLog | None = None
        self._images = BeforeImages(context, plan) if context.request.keep_images else None

    def write(self, history: HistoryWriter | None) -> None:
        """Write everything and COMMIT. `history` has foreseen the plan, unless this run creates the table."""
        connection = self._connection
        relation = self._context.relation
        schema = relation.schema if relation else self._schema()
        ledger = find_relation(connection, PostgresAddress("", schema, LEDGER, None, ""), LEDGER)
        keeps = keeps_times(self._context.mapping, self._request)
        written = LastWritten(connection, relation) if relation and keeps else None
        if is_recorded(self._request, self._plan):
            self._changes = ChangeLog(self._context, schema, relation.table if relation else self._address.table)
        news = (written, self._changes)
        if relation is None or ledger is None or any(table and not table.is_there for table in news):
            # Two runs that create the same schema or ledger at once would fail.
            connection.query(
                f"SELECT pg_advisory_xact_lock(hashtextextended({literal(f'tranship ledger:{schema}')}, 0)) IS NULL"
            )
            ledger = find_relation(connection, PostgresAddress("", schema, LEDGER, None, ""), LEDGER)
        if self._changes:
            self._changes.create()
        if relation is None:
            self._create(schema)
        else:
            for name in self._context.added:
                kind = type_sql(created_type(name))
                connection.execute(f"ALTER TABLE {relation.name} ADD COLUMN {quoted(name)} {kind}")
            if written:
                written.write(self._duck, self._context.mapping, self._request)
            if history:
                history.prepare(self._plan)
            self._update(relation)
            self._delete(relation)
        self._insert(relation)
        if self._images:
            there = relation or find_relation(connection, self._address, self._address.table)
            self._images.keep(column_types(connection, there) if there else {})
        if history:
            history.record(self._plan)
        if relation is None:
            connection.execute(
                f"ALTER TABLE {quoted(schema)}.{quoted(self._address.table)} ADD PRIMARY KEY ({quoted(KEY)})"
            )
            if self._changes:
                self._changes.record_new_table()
            if self._request.keep_history:
                self._begin_history(schema)
        if ledger is None:
            connection.execute(ddl(CreateTable(ledger_table(schema))))
        row = ledger_row(self._request, self._plan, self._address.table)
        if ledger is not None:
            self._extend_ledger(ledger, row)
        lacked = dict.fromkeys(map(ord, self._context.mapping.unwritable), "?")
        values = ", ".join(literal(str(value).translate(lacked)) for value in row.values())
        connection.execute(
            f"INSERT INTO {quoted(schema)}.{quoted(LEDGER)} ({', '.join(map(quoted, row))}, finished_at) "
            f"VALUES ({values}, clock_timestamp())"
        )
        marks = Watermarks(connection, schema, self._address.table)
        if self._request.files:
            marks.keep_files(self._request.files, self._request.run_id)
        if self._request.watermark:
            marks.advance(self._request.watermark, self._context.mapping.unwritable)
        connection.execute("COMMIT")

    def _begin_history(self, schema: str) -> None:
        created = find_relation(
            self._connection, PostgresAddress("", schema, self._address.table, None, ""), self._address.table
        )
        assert created is not None  # noqa: S101  (this run has created it)
        store = PostgresHistory(self._context, created, self._where)
        HistoryWriter(store, self._context.mapping, self._request).begin()

    def _extend_ledger(self, ledger: Relation, row: dict[str, Any]) -> None:
        """Add missing counts to a ledger of an earlier version, which only its owner can do."""
        lacking_counts = [name for name in LATER_COUNTS if name not in column_types(self._connection, ledger)]
        if not lacking_counts:
            return
        owner = f"(SELECT relowner FROM pg_catalog.pg_class WHERE oid = {ledger.oid})"
        if self._connection.query_value(f"SELECT pg_has_role({owner}, 'USAGE')"):
            added = ", ".join(f"ADD COLUMN IF NOT EXISTS {name} bigint NOT NULL DEFAULT 0" for name in lacking_counts)
            self._connection.execute(f"ALTER TABLE {ledger.name} {added}")
            return
        self._observer.note(
            f"{ledger.name} was created by an earlier version and lacks {' and '.join(lacking_counts)}, which are not "
            f"recorded. Ask its owner to run: ALTER TABLE {ledger.name} "
            + ", ".join(f"ADD COLUMN {name} bigint NOT NULL DEFAULT 0" for name in lacking_counts)
        )
        for name in lacking_counts:
            del row[name]

    def _schema(self) -> str:
        """Return the schema of a new table, created if it is missing."""
        schema = self._address.schema or self._connection.query_value("SELECT current_schema()::text")
        if schema is None:
            raise ConfigError(f"{self._where}: the search path has no schema. Name one with ?table=schema.table")
        if not self._connection.query(f"SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = {literal(schema)}"):
            self._connection.execute(ddl(CreateSchema(sql_name(schema), if_not_exists=True)))
        return str(schema)

    def _create(self, schema: str) -> None:
        columns = [
            sa.Column(sql_name(name), created_type(name), nullable=name != KEY, comment=COMMENTS.get(name))
            for name in CREATED_COLUMNS
        ]
        table = sa.Table(
            sql_name(self._address.table), sa.MetaData(), *columns, schema=sql_name(schema), comment=TABLE_COMMENT
        )
        self._connection.execute(ddl(CreateTable(table)))
        self._connection.execute(ddl(SetTableComment(table)))
        for column in columns:
            if column.comment:
                self._connection.execute(ddl(SetColumnComment(column)))

    def _insert(self, relation: Relation | None) -> None:
        context, plan = self._context, self._plan
        if not plan.counts["create"]:
            return
        values = new_row_values(context)
        everything = plan.counts["create"] == self._request.survivors.count
        chosen = f"JOIN read_parquet({files_literal([plan.rows])}) p ON p.row = s._row AND p.action = 'create'"
        first = is_first_load(self._request, plan)
        log = self._changes if relation and not first else None
        rows = self._duck.sql(
            f"SELECT {', '.join(f'{value} AS {quoted(name)}' for name, value in values.items())}"
            f"{log.columns_of_creates if log else ''} FROM _survivors s {'' if everything else chosen}"
        )
        casts = {mapped.column_name for mapped in context.written_fields if needs_cast(mapped)}
        if self._changes and relation and first:
            self._changes.record_first_creates("" if everything else chosen)
        blank = self._blank(chosen if not everything else "")
        if relation is None or not (casts or blank or log or relation.needs_insert):
            batches = rows.to_arrow_reader(SENT_ROWS)
            json = [mapped.column_name for mapped in context.written_fields if is_jsonb(mapped)]
            schema = relation.schema if relation else self._schema()
            table = relation.table if relation else self._address.table
            done = self._connection.copy_rows(table, arrow_reader(batches.schema, batches, json), schema=schema)
        else:
            casts |= {mapped.column_name for mapped in context.written_fields if is_jsonb(mapped)}
            copy_to_server(self._connection, "_tranship_new", rows)
            given = {name: f"u.{quoted(name)}" for name in values}
            kinds = {name: context.types.get(name) for name in casts}
            given |= {name: kind.cast(given[name]) if kind else f"{given[name]}::jsonb" for name, kind in kinds.items()}
            if log:
                log.record_creates(_NEW, given)
            defaults = {name: context.types[name].cast(f"({context.types[name].default})") for name in blank}
            given |= {name: f"coalesce({given[name]}, {default})" for name, default in defaults.items()}
            sources = ", ".join(given.values())
            done = self._connection.execute(
                f"INSERT INTO {relation.name} ({', '.join(map(quoted, values))}) SELECT {sources} FROM {_NEW} u"
            )
            self._connection.execute(f"DROP TABLE {_NEW}")
        self._as_planned("create", done)

    def _blank(self, chosen: str) -> list[str]:
        """Return the columns in which some new rows get the default because they have no value."""
        filled = [mapped for mapped in self._context.written_fields if mapped.column.null_becomes_default]
        if not filled:
            return []
        missing = ", ".join(f"count(*) - count({mapped.value})" for mapped in filled)
        counts = self._duck.execute(f"SELECT {missing} FROM _survivors s {chosen}").fetchall()[0]
        return [mapped.column_name for mapped, count in zip(filled, counts, strict=True) if count]

    def _update(self, relation: Relation) -> None:
        context, plan = self._context, self._plan
        if not plan.counts["update"]:
            return
        changed = self._changed()
        values = "".join(f", {value_sent(mapped)} AS {quoted(mapped.column_name)}" for mapped in changed)
        recorded, held = "", ""
        if self._changes:
            recorded = self._changes.columns_of_updates
            held = "JOIN _differs d ON d.row = p.row JOIN _table h ON h.target = p.target "
        if self._images:
            recorded += self._images.columns_of_updates
            held = held or "JOIN _table h ON h.target = p.target "
        rows = self._duck.sql(
            f"SELECT p.target AS _place{values}{recorded} FROM _plan p JOIN _survivors s ON s._row = p.row {held}"
            "WHERE p.action = 'update' ORDER BY p.target"
        )
        copy_to_server(self._connection, "_tranship_changed", rows)
        self._connection.execute("ANALYZE pg_temp._tranship_changed (_place)")
        sets = {}
        for mapped in changed:
            value = f"u.{quoted(mapped.column_name)}"
            if is_jsonb(mapped) or needs_cast(mapped):
                value = (
                    context.types[mapped.column_name].cast(value)
                    if mapped.column_name in context.types
                    else f"{value}::{mapped.column.shown}"
                )
            sets[mapped.column_name] = (
                value if mapped.erasable(self._request) else f"coalesce({value}, t.{quoted(mapped.column_name)})"
            )
        if self._changes:
            assigned = {name: value for name, value in sets.items() if name != RUN}
            if context.mapping.bookkeeping and DELETED in plan.changed_fields:
                assigned[DELETED] = "NULL::timestamptz"
            self._changes.record_updates(relation, _CHANGED, assigned)
        if self._images:
            self._images.take_updates(relation, _CHANGED)
        if context.mapping.bookkeeping:
            sets |= {RUN: literal(self._request.run_id), DELETED: "NULL"}
        all_sets = ", ".join(f"{quoted(name)} = {value}" for name, value in sets.items())
        update = f"UPDATE {relation.name} t SET {all_sets} FROM {_CHANGED} u WHERE {relation.is_at('u._place')}"
        aside = StepAside(context, relation, self._changed())
        aside.clear_unique_columns()
        with rows_by_place(self._connection):
            done = aside.retried(update)
        self._connection.execute("DROP TABLE pg_temp._tranship_changed")
        self._as_planned("update", done)

    def _changed(self) -> list[MappedField]:
        """Return the columns in which any row changes."""
        return [mapped for mapped in self._context.written_fields if is_updated(mapped, self._plan)]

    def _delete(self, relation: Relation) -> None:
        planned = self._plan.counts["delete"]
        if not planned:
            return
        # An undo has the values of the rows that it removes: of all rows, the server need not know their places.
        every_row = self._request.undo is not None and planned == self._plan.existing
        if not every_row:
            recorded = self._changes.columns_of_deletes if self._changes else ""
            recorded += self._images.columns_of_deletes if self._images else ""
            copy_to_server(
                self._connection,
                "_tranship_gone",
                self._duck.sql(
                    f"SELECT g.target{recorded} FROM _gone g JOIN _table h ON h.target = g.target ORDER BY g.target"
                ),
            )
            self._connection.execute(f"ANALYZE {GONE} (target)")
        if self._changes:
            self._changes.record_deletes(relation)
        if self._images:
            self._images.take_deletes(relation)
        if every_row:
            with self._images.written_meanwhile() if self._images else nullcontext():
                done = delete_all_rows(self._connection, relation)
        else:
            done = delete_rows(self._connection, relation, self._request)
            self._connection.execute(f"DROP TABLE {GONE}")
        self._as_planned("delete", done)

    def _as_planned(self, action: str, done: int) -> None:
        planned = self._plan.counts[action]
        if done != planned:
            raise Refused(
                f"{self._address.shown}: {self._where}: accepted {counted(done, 'row')} of the {planned:,} to be "
                f"written ({action}); a trigger, rule or policy of the table blocks the others. Nothing was written."
            )
