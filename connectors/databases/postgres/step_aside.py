"""Unique values that move from one row to another: Postgres checks row by row, so they are cleared first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tranship.connectors.databases.postgres.catalog import Relation
from tranship.connectors.databases.postgres.context import WriteContext
from tranship.connectors.databases.quoting import literal, quoted
from tranship.connectors.databases.table_mapping import MappedField
from tranship.connectors.errors import Refused

_ROOM: Final = 32
"""The maximum length of a text that temporarily replaces a value."""


class StepAside:
    """The update of the rows in `_tranship_changed`, of which `changed` are the columns."""

    def __init__(self, context: WriteContext, relation: Relation, changed: Sequence[MappedField]) -> None:
        self._context, self._relation, self._connection = context, relation, context.connection
        self._changed = {mapped.column_name: mapped for mapped in changed if mapped.column_name in context.types}

    def clear_unique_columns(self) -> None:
        """Clear the values of columns with a unique index of their own that another row gets."""
        for column in self._changed:
            if column not in self._context.mapping.unique:
                continue
            kind = self._context.types[column]
            nothing = self._null(column) or self._text(column)
            if nothing:
                own = f"t.{quoted(column)}"
                taken = f"{own} IN (SELECT o.{quoted(column)}::{kind.shown} FROM pg_temp._tranship_changed o)"
                self._clear(column, nothing, f"{self._differs(column)} AND {taken}")

    def retried(self, update: str) -> int:
        """Carry out the update; return the number of rows. If a unique index over several columns or an expression does
        not allow it in this order, its columns are cleared first: only the server knows which rows are concerned.
        """
        indexes = self._wide_indexes()
        if not indexes:
            return self._connection.execute(update)
        self._connection.execute("SAVEPOINT in_this_order")
        try:
            return self._connection.execute(update)
        except Refused:
            self._connection.execute("ROLLBACK TO SAVEPOINT in_this_order")
        for columns, is_expression in indexes:
            differs = " OR ".join(map(self._differs, columns))
            for column in columns:
                text, null = self._text(column), self._null(column)
                # An expression may be the same for all nulls.
                nothing = (text or null) if is_expression else (null or text)
                if nothing:
                    self._clear(column, nothing, f"({differs})")
        return self._connection.execute(update)

    def _clear(self, column: str, nothing: str, where: str) -> None:
        kept = "" if self._is_erasable(column) else f" AND u.{quoted(column)} IS NOT NULL"
        relation = self._relation
        self._connection.execute(
            f"WITH aside AS (UPDATE {relation.name} t SET {quoted(column)} = {nothing} "
            f"FROM pg_temp._tranship_changed u WHERE {relation.is_at('u._place')} AND {where}{kept} "
            f"RETURNING u._place AS was, {relation.row_id} AS now) "
            "UPDATE pg_temp._tranship_changed u SET _place = aside.now FROM aside WHERE u._place = aside.was"
        )

    def _differs(self, column: str) -> str:
        """Return the condition that an update changes a column."""
        own, new = f"t.{quoted(column)}", f"u.{quoted(column)}"
        differs = f"{own} IS DISTINCT FROM {new}::{self._context.types[column].shown}"
        return f"({differs}{'' if self._is_erasable(column) else f' AND {new} IS NOT NULL'})"

    def _is_erasable(self, column: str) -> bool:
        return self._changed[column].erasable(self._context.request)

    def _text(self, column: str) -> str:
        """Return a text that no other row has; empty if the column cannot hold it."""
        kind = self._context.types[column]
        fits = kind.base in ("text", "varchar") and (kind.modifier < 0 or kind.modifier - 4 >= _ROOM)
        return "'tranship:' || u._place" if fits else ""

    def _null(self, column: str) -> str:
        """Return NULL; empty if the column does not accept it, or a unique index treats nulls as equal."""
        if not self._context.types[column].nullable:
            return ""
        once = self._connection.query(
            "SELECT 1 FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid "
            f"AND a.attnum = ANY (i.indkey) WHERE i.indrelid = {self._relation.oid} AND a.attname = {literal(column)} "
            "AND (to_jsonb(i)->>'indnullsnotdistinct')::boolean"
        )
        return "" if once else "NULL"

    def _wide_indexes(self) -> list[tuple[list[str], bool]]:
        """Return the changed columns of each unique index or exclusion over several columns or an expression, and
        whether it is over an expression.
        """
        rows = self._connection.query(
            "SELECT ARRAY(SELECT DISTINCT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = i.indrelid "
            "AND (a.attnum = ANY (i.indkey) OR EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE "
            "d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = i.indexrelid AND d.refobjid = i.indrelid "
            "AND d.refobjsubid = a.attnum)) AND a.attnum > 0), i.indexprs IS NOT NULL FROM pg_catalog.pg_index i "
            f"WHERE i.indrelid = {self._relation.oid} AND (i.indisunique OR i.indisexclusion) "
            "AND (i.indnkeyatts > 1 OR i.indexprs IS NOT NULL OR i.indpred IS NOT NULL OR i.indisexclusion)"
        )
        found = [([name for name in columns if name in self._changed], bool(made)) for columns, made in rows]
        return [(columns, made) for columns, made in found if columns]
