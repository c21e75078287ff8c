"""The constraints of a Postgres table: checks, references, partitions, unique indexes and exclusions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tranship.connectors.databases.constraints import (
    PLACE,
    ROW,
    Constraint,
    referred_to,
    refers_to_nothing,
    taken,
    violates,
)
from tranship.connectors.databases.postgres.catalog import COLUMNS_OF, ColumnType, Relation, references_to
from tranship.connectors.databases.postgres.connection import Connection
from tranship.connectors.databases.postgres.context import WriteContext, new_row_values
from tranship.connectors.databases.postgres.transfer import copy_to_server, rows_by_place
from tranship.connectors.databases.quoting import literal, quoted
from tranship.connectors.databases.table_mapping import DELETED, RUN
from tranship.connectors.errors import (
    ConnectorError,
    Interfered,
)


def _takes_default(connection: Connection, kind: ColumnType) -> bool:
    connection.execute("SAVEPOINT fallback")
    try:
        connection.execute(f"CREATE TEMPORARY TABLE _tranship_default (value {kind.shown} DEFAULT {kind.default})")
        connection.execute("INSERT INTO pg_temp._tranship_default DEFAULT VALUES")
    except Interfered:
        raise
    except ConnectorError:
        return False
    finally:
        connection.execute("ROLLBACK TO SAVEPOINT fallback")
    return True


def try_query(connection: Connection, sql: str) -> list[tuple[Any, ...]] | None:
    """Return the rows of a query; null if the server cannot or may not evaluate it."""
    connection.execute("SAVEPOINT rule")
    try:
        return connection.query(sql)
    except Interfered:
        raise
    except (ConnectorError, OSError):
        connection.execute("ROLLBACK TO SAVEPOINT rule")
    return None


class PostgresConstraints:
    """Checks, references, and uniqueness beyond a plain column, tested on the rows as they would become."""

    def __init__(self, context: WriteContext, relation: Relation) -> None:
        self._context, self._relation = context, relation
        self._alone = [
            *self._defaults(),
            *self._partitions(),
            *self._checks(),
            *self._references(),
            *self._referenced_values(),
        ]
        self._together = list(self._exclusions())

    def refuse_violations(self, *, alone: bool) -> int:
        """Refuse in `_plan` what violates a constraint, on one row if `alone`, else between rows; return the number."""
        constraints = [
            constraint for constraint in (self._alone if alone else self._together) if self._matters(constraint)
        ]
        if not constraints:
            return 0
        context = self._context
        connection, duck = context.connection, context.duck
        values = "".join(f", {value} AS {quoted(name)}" for name, value in new_row_values(context).items())
        rows = duck.sql(
            f"SELECT p.row::BIGINT AS {ROW}, p.target AS {PLACE}{values} FROM _plan p "
            "JOIN _survivors s ON s._row = p.row WHERE p.action IN ('create', 'update') ORDER BY p.target"
        )
        if not copy_to_server(connection, "_tranship_wanted", rows):
            connection.execute("DROP TABLE pg_temp._tranship_wanted")
            return 0
        with rows_by_place(connection):
            connection.execute(f"CREATE TEMPORARY TABLE _tranship_result AS {self._results()}")
        connection.execute("ANALYZE pg_temp._tranship_result")
        refused = 0
        for constraint in constraints:
            broken = self._broken(constraint)
            if broken:
                refused += len(broken)
                # A refused record does not take a value from another one.
                gone = f"DELETE FROM pg_temp._tranship_result WHERE {ROW} IN ({', '.join(map(str, broken))})"
                connection.execute(gone)
                duck.execute(
                    f"UPDATE _plan SET action = 'refused', reason = {literal(constraint.reason)}, changed = NULL "
                    f"WHERE row IN ({', '.join(map(str, broken))}) AND action <> 'refused'"
                ).fetchall()
        connection.execute("DROP TABLE pg_temp._tranship_wanted, pg_temp._tranship_result")
        return refused

    def _broken(self, constraint: Constraint) -> list[int]:
        """Return the rows that violate a constraint; none if it cannot be tested (then the write decides)."""
        connection = self._context.connection
        found = try_query(connection, constraint.violations)
        if found is not None:
            return [row for (row,) in found]
        if not constraint.check:
            return []
        connection.execute(
            "CREATE OR REPLACE FUNCTION pg_temp.tranship_breaks(pg_temp._tranship_result) RETURNS boolean "
            f"LANGUAGE plpgsql AS $tranship$ BEGIN RETURN (SELECT NOT ({constraint.check}) FROM (SELECT $1.*) r); "
            "EXCEPTION WHEN OTHERS THEN RETURN true; END $tranship$"
        )
        rows = connection.query(f"SELECT {ROW} FROM pg_temp._tranship_result r WHERE pg_temp.tranship_breaks(r)")
        connection.execute("DROP FUNCTION pg_temp.tranship_breaks(pg_temp._tranship_result)")
        return [row for (row,) in rows]

    def _results(self) -> str:
        """Return the rows as they would become, in the table's columns, with their row in run and table."""
        context = self._context
        given = {mapped.column_name: mapped for mapped in context.written_fields}
        become, computed = {}, {}
        for name, kind in context.types.items():
            old, new = f"t.{quoted(name)}", f"u.{quoted(name)}"
            if name in given:
                new = kind.cast(new)
                if given[name].column.null_becomes_default and kind.default_is_repeatable:
                    new = f"coalesce({new}, CASE WHEN u.{PLACE} IS NULL THEN {kind.default} END)"
                become[name] = new if given[name].erasable(context.request) else f"coalesce({new}, {old})"
            elif name == context.mapping.key or (name == RUN and context.mapping.bookkeeping):
                become[name] = f"coalesce({old}, {new})" if name == context.mapping.key else new
            elif kind.computed and kind.default:
                computed[name] = kind.default
            elif kind.default_is_repeatable:
                become[name] = f"CASE WHEN u.{PLACE} IS NULL THEN {kind.default} ELSE {old} END"
            else:
                become[name] = old
        collated = {name: f" COLLATE {kind.collation}" for name, kind in context.types.items() if kind.collation}
        columns = ", ".join(f"({value}){collated.get(name, '')} AS {quoted(name)}" for name, value in become.items())
        rows = (
            f"SELECT u.{ROW}, u.{PLACE}, {columns} FROM pg_temp._tranship_wanted u "
            f"LEFT JOIN {self._relation.name} t ON {self._relation.is_at(f'u.{PLACE}')}"
        )
        also = "".join(f", {value} AS {quoted(name)}" for name, value in computed.items())
        return f"SELECT r.*{also} FROM ({rows}) r"

    def _defaults(self) -> Iterator[Constraint]:
        """List defaults that their own column's type cannot hold: the server checks them only when they are used."""
        for name, kind in self._context.types.items():
            if (
                kind.default_is_repeatable
                and (kind.is_domain or kind.modifier >= 0)
                and not _takes_default(self._context.connection, kind)
            ):
                yield Constraint(
                    violates(kind.shown),
                    f"SELECT {ROW} FROM pg_temp._tranship_result WHERE {PLACE} IS NULL "
                    f"AND {quoted(name)}::text = ({kind.default})::text",
                )

    def _partitions(self) -> Iterator[Constraint]:
        """List values without a partition, or outside the partition that is the table."""
        parts = self._context.connection.query(
            "WITH RECURSIVE parts AS (SELECT c.oid, c.relkind, c.relispartition FROM pg_catalog.pg_class c "
            f"WHERE c.oid = {self._relation.oid} UNION ALL SELECT c.oid, c.relkind, c.relispartition "
            "FROM parts p JOIN pg_catalog.pg_inherits i ON i.inhparent = p.oid "
            "JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid WHERE p.relkind = 'p') "
            "SELECT relkind = 'p', relispartition, coalesce(pg_get_partition_constraintdef(oid), 'true'), "
            "coalesce(t.partdefid <> 0, false), pg_get_partkeydef(coalesce(t.partrelid, i.inhparent)) "
            "FROM parts p LEFT JOIN pg_catalog.pg_partitioned_table t ON t.partrelid = p.oid "
            "LEFT JOIN pg_catalog.pg_inherits i ON i.inhrelid = p.oid"
        )
        divided, bounded, _, _, key = parts[0]
        every = not bounded and all(default for split, _, _, default, _ in parts if split)
        if (divided or bounded) and not every:
            bounds = " OR ".join(f"({bound})" for split, _, bound, _, _ in parts if not split) or "false"
            yield Constraint(
                f"no_partition: {key.partition(' ')[2][1:-1]}",
                f"SELECT {ROW} FROM pg_temp._tranship_result WHERE NOT coalesce({bounds}, false)",
            )

    def _checks(self) -> Iterator[Constraint]:
        for name, expression in self._context.connection.query(
            "SELECT conname::text, pg_get_expr(conbin, conrelid) FROM pg_catalog.pg_constraint "
            f"WHERE conrelid = {self._relation.oid} AND contype = 'c' ORDER BY conname"
        ):
            violations = f"SELECT {ROW} FROM pg_temp._tranship_result WHERE NOT ({expression})"
            yield Constraint(violates(name), violations, expression)

    def _references(self) -> Iterator[Constraint]:
        named = COLUMNS_OF
        for schema, table, own, their in self._context.connection.query(
            f"SELECT n.nspname::text, r.relname::text, {named.format('c.conkey', 'c.conrelid')}, "
            f"{named.format('c.confkey', 'c.confrelid')} FROM pg_catalog.pg_constraint c "
            "JOIN pg_catalog.pg_class r ON r.oid = c.confrelid "
            "JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace "
            f"WHERE c.conrelid = {self._relation.oid} AND c.contype = 'f' AND c.confrelid <> c.conrelid "
            "ORDER BY c.conname"
        ):
            pairs = [(f"b.{quoted(mine)}", f"r.{quoted(theirs)}") for mine, theirs in zip(own, their, strict=True)]
            there = " AND ".join(f"{mine} = {theirs}" for mine, theirs in pairs)
            full = " AND ".join(f"{mine} IS NOT NULL" for mine, _ in pairs)
            yield Constraint(
                refers_to_nothing(own),
                f"SELECT b.{ROW} FROM pg_temp._tranship_result b WHERE {full} AND NOT EXISTS "
                f"(SELECT 1 FROM {quoted(schema)}.{quoted(table)} r WHERE {there})",
            )

    def _referenced_values(self) -> Iterator[Constraint]:
        """List referenced values that would change."""
        for reference in references_to(self._context.connection, self._relation):
            fields = tuple(
                mapped.field for mapped in self._context.written_fields if mapped.column_name in reference.columns
            )
            if reference.holds_changes and fields:
                moved = " OR ".join(f"t.{quoted(name)} IS DISTINCT FROM b.{quoted(name)}" for name in reference.columns)
                yield Constraint(
                    referred_to(reference.table),
                    f"SELECT b.{ROW} FROM pg_temp._tranship_result b JOIN {self._relation.name} t "
                    f"ON {self._relation.is_at(f'b.{PLACE}')} WHERE ({moved}) AND {reference.exists}",
                    changes=fields,
                    creates=False,
                )

    def _matters(self, constraint: Constraint) -> bool:
        """Return whether any change of the plan concerns the constraint."""
        if constraint.changes is None:
            return True
        fields = ", ".join(map(literal, constraint.changes))
        concerned = f"action = 'update' AND list_has_any(changed, [{fields}]::VARCHAR[])"
        concerned += " OR action = 'create'" if constraint.creates else ""
        return bool(self._context.duck.execute(f"SELECT 1 FROM _plan WHERE {concerned} LIMIT 1").fetchall())

    def _fields_in(self, columns: Sequence[str]) -> tuple[str, ...] | None:
        """Return the fields that are written into these columns; null if they may change otherwise."""
        types = self._context.types
        if any(name not in types or types[name].computed or name in (RUN, DELETED) for name in columns):
            return None
        return tuple(mapped.field for mapped in self._context.written_fields if mapped.column_name in columns)

    def _exclusions(self) -> Iterator[Constraint]:
        """List unique indexes and exclusions that the comparison does not cover: over several columns, expressions,
        parts of the table, nulls, defaults, or types and collations that only the server compares.
        """
        simple = {name for name in self._context.mapping.unique if not self._by_server(name)}
        for name, keys, operators, part, columns, plain, nulls in self._context.connection.query(
            "SELECT x.relname::text, ARRAY(SELECT pg_get_indexdef(i.indexrelid, k, true) || coalesce(("
            "SELECT ' COLLATE ' || c.collnamespace::regnamespace || '.' || quote_ident(c.collname) "
            "FROM pg_catalog.pg_collation c WHERE c.oid = i.indcollation[k - 1] AND c.collname <> 'default'), '') "
            "FROM generate_series(1, i.indnkeyatts) k ORDER BY k), "
            "ARRAY(SELECT o.oprname::text FROM unnest(c.conexclop) WITH ORDINALITY e(op, n) "
            "JOIN pg_catalog.pg_operator o ON o.oid = e.op ORDER BY e.n), pg_get_expr(i.indpred, i.indrelid), "
            "ARRAY(SELECT coalesce(a.attname::text, '') FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(num, n) "
            "LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.num "
            "WHERE k.n <= i.indnkeyatts ORDER BY k.n), "
            "(SELECT coalesce(bool_and(c.collisdeterministic), true) FROM unnest(i.indcollation::oid[]) k(o) "
            "JOIN pg_catalog.pg_collation c ON c.oid = k.o), "
            # Servers before 15 have no such column.
            "coalesce((to_jsonb(i)->>'indnullsnotdistinct')::boolean, false) "
            "FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid "
            "LEFT JOIN pg_catalog.pg_constraint c ON c.conindid = i.indexrelid AND c.contype = 'x' "
            f"WHERE i.indrelid = {self._relation.oid} AND (i.indisunique OR i.indisexclusion) ORDER BY 1"
        ):
            if len(keys) == 1 and part is None and columns[0] in simple and plain and not nulls:
                continue
            alike = "IS NOT DISTINCT FROM" if nulls else "="
            listed = ", ".join(filter(None, columns)) or name
            changes = None if part else self._fields_in(columns)
            yield self._never_twice(listed, keys, operators or [alike] * len(keys), part or "true", changes)
        yield from self._own_key()

    def _own_key(self) -> Iterator[Constraint]:
        """List ids or e-mails that the column compares as equal although no index covers it."""
        mapped = self._context.mapping.mapped("external_id" if self._context.mapping.has_id else "email")
        kind = self._context.types.get(mapped.column_name) if mapped else None
        unsaid = kind and kind.name not in self._context.mapping.unique
        if kind and unsaid and (kind.nondeterministic or (kind.text and not kind.duckdb_type)):
            yield self._never_twice(kind.name, [quoted(kind.name)], ["="], "true", self._fields_in([kind.name]))

    def _never_twice(
        self, shown: str, keys: list[str], operators: list[str], where: str, changes: tuple[str, ...] | None
    ) -> Constraint:
        named = ", ".join(f"({key}) AS k{number}" for number, key in enumerate(keys))
        same = " AND ".join(f"a.k{number} {operator} b.k{number}" for number, operator in enumerate(operators))
        wanted = f"(SELECT {ROW}, {PLACE}, {named} FROM pg_temp._tranship_result WHERE {where})"
        there = f"(SELECT {self._relation.row_id} AS place, {named} FROM {self._relation.name} t WHERE {where})"
        moved = f"SELECT {PLACE} FROM pg_temp._tranship_result WHERE {PLACE} IS NOT NULL"
        return Constraint(
            taken(shown),
            f"SELECT b.{ROW} FROM {wanted} b JOIN {wanted} a ON {same} AND a.{ROW} < b.{ROW} "
            f"UNION SELECT b.{ROW} FROM {wanted} b JOIN {there} a ON {same} AND a.place NOT IN ({moved})",
            changes=changes,
        )

    def _by_server(self, column: str) -> bool:
        kind = self._context.types.get(column)
        stored = (mapped for mapped in self._context.mapping.fields if mapped.column_name == column)
        return bool(kind and kind.nondeterministic) or any(
            mapped.column.cast_by_server or mapped.column.null_becomes_default for mapped in stored
        )
