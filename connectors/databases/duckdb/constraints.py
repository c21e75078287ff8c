"""The constraints of a DuckDB table: checks, references and uniqueness."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import duckdb

from tranship.connectors.contract import WriteRequest
from tranship.connectors.databases.constraints import (
    PLACE,
    ROW,
    Constraint,
    referred_to,
    refers_to_nothing,
    taken,
    violates,
)
from tranship.connectors.databases.duckdb.address import DuckDbAddress
from tranship.connectors.databases.duckdb.catalog import column_defaults, look_up, references_to, replaced_with
from tranship.connectors.databases.quoting import literal, quoted
from tranship.connectors.databases.table_mapping import TableMapping, new_key

_CHANGED: Final = quoted("tranship changed")


class DuckDbConstraints:
    """Checks, references, and uniqueness beyond a plain column, tested on the rows as they would become."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        address: DuckDbAddress,
        request: WriteRequest,
        mapping: TableMapping,
        collations: Mapping[str, str],
    ) -> None:
        self._connection, self._address, self._request, self._mapping = connection, address, request, mapping
        self._collations, self._defaults = collations, column_defaults(connection, address)
        self._constraints = self._look_up(
            "constraint_type, expression, constraint_column_names, referenced_table, referenced_column_names",
            "duckdb_constraints()",
        )
        self._alone = [*self._bad_defaults(), *self._checks(), *self._references(), *self._referenced_rows()]
        self._together = list(self._unique())

    def refuse_violations(self, *, alone: bool) -> int:
        """Refuse in `_plan` the records that violate a constraint, on one row if `alone`, else between rows; return the
        number.
        """
        constraints = self._alone if alone else self._together
        if not constraints:
            return 0
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE _result AS {self._results()}").fetchall()
        refused = 0
        for constraint in constraints:
            done = self._connection.execute(
                f"UPDATE _plan SET action = 'refused', reason = {literal(constraint.reason)}, changed = NULL "
                f"WHERE row IN ({constraint.violations})"
            ).fetchall()
            refused += done[0][0]
            # A refused record does not take a value from another one.
            self._connection.execute(
                f"DELETE FROM _result WHERE {ROW} IN (SELECT row FROM _plan WHERE action = 'refused')"
            ).fetchall()
        return refused

    def _look_up(self, what: str, of: str) -> list[tuple[Any, ...]]:
        return look_up(self._connection, self._address, what, of, self._address.table)

    def _results(self) -> str:
        """Return the rows as they would become, in the columns of the table, with their row in run and table."""
        mapping, request = self._mapping, self._request
        brought = {mapped.column_name: mapped for mapped in mapping.fields if mapped.field in request.survivors.columns}
        become = {}
        for name, dtype, computed in self._look_up("column_name, data_type, is_generated", "duckdb_columns()"):
            old, default = f"t.{quoted(name)}", self._defaults.get(name)
            again = default is not None and "nextval(" not in default
            fresh = f"CASE WHEN p.target IS NULL THEN TRY_CAST(({default}) AS {dtype}) END" if again else "NULL"
            if name in brought:
                new = (
                    f"coalesce({brought[name].value}, {fresh})"
                    if brought[name].column.null_becomes_default
                    else brought[name].value
                )
                become[name] = new if brought[name].erasable(request) else f"coalesce({new}, {old})"
            elif name == mapping.key:
                become[name] = f"coalesce({old}, {new_key('s')})"
            elif not computed:
                become[name] = f"coalesce({old}, {fresh})"
        collated = {name: f" COLLATE {collation}" for name, collation in self._collations.items()}
        columns = ", ".join(f"({value}){collated.get(name, '')} AS {quoted(name)}" for name, value in become.items())
        return (
            f"SELECT p.row AS {ROW}, p.target AS {PLACE}, p.changed AS {_CHANGED}, {columns} FROM _plan p "
            f"JOIN _survivors s ON s._row = p.row LEFT JOIN {self._address.name} t ON t.rowid = p.target "
            "WHERE p.action IN ('create', 'update')"
        )

    def _bad_defaults(self) -> Iterator[Constraint]:
        """List defaults that their own column's type cannot hold: DuckDB checks them only when they are used."""
        types = dict(self._look_up("column_name, data_type", "duckdb_columns()"))
        for name, default in self._defaults.items():
            if "nextval(" in default or types[name] == "VARCHAR":
                continue
            fits = self._connection.execute(
                f"SELECT TRY_CAST(({default}) AS {types[name]}) IS NOT NULL OR ({default}) IS NULL"
            ).fetchall()
            if not fits[0][0]:
                violations = f"SELECT {ROW} FROM _result WHERE {PLACE} IS NULL AND {quoted(name)} IS NULL"
                yield Constraint(f"does_not_fit: {name} {types[name]}", violations)

    def _checks(self) -> Iterator[Constraint]:
        for kind, expression, *_ in self._constraints:
            if kind == "CHECK":
                # DuckDB also refuses a row for which the expression cannot be evaluated.
                broken = f"TRY(coalesce({expression}, true)) IS NOT TRUE"
                yield Constraint(violates(expression), f"SELECT {ROW} FROM _result WHERE {broken}")

    def _references(self) -> Iterator[Constraint]:
        for kind, _, own, table, their in self._constraints:
            if kind == "FOREIGN KEY" and table and table.lower() != self._address.table.lower():
                pairs = [(f"b.{quoted(mine)}", f"r.{quoted(theirs)}") for mine, theirs in zip(own, their, strict=True)]
                there = " AND ".join(f"{mine} = {theirs}" for mine, theirs in pairs)
                full = " AND ".join(f"{mine} IS NOT NULL" for mine, _ in pairs)
                yield Constraint(
                    refers_to_nothing(own),
                    f"SELECT b.{ROW} FROM _result b WHERE {full} AND NOT EXISTS "
                    f"(SELECT 1 FROM {self._address.place}.{quoted(table)} r WHERE {there})",
                )

    def _referenced_rows(self) -> Iterator[Constraint]:
        """List references to rows. DuckDB replaces a row to change some columns, but never a referenced row."""
        referring = references_to(self._connection, self._address)
        heavy = replaced_with(self._connection, self._address) if referring else set()
        fields = [literal(mapped.field) for mapped in self._mapping.fields if mapped.column_name in heavy]
        for table, their, own in referring if fields else ():
            pairs = zip(own, their, strict=True)
            there = " AND ".join(f"t.{quoted(mine)} = r.{quoted(theirs)}" for mine, theirs in pairs)
            yield Constraint(
                referred_to(table),
                f"SELECT b.{ROW} FROM _result b JOIN {self._address.name} t ON t.rowid = b.{PLACE} "
                f"WHERE list_has_any(b.{_CHANGED}, [{', '.join(fields)}]) AND EXISTS "
                f"(SELECT 1 FROM {self._address.place}.{quoted(table)} r WHERE {there})",
            )

    def _unique(self) -> Iterator[Constraint]:
        filled = {mapped.column_name for mapped in self._mapping.fields if mapped.column.null_becomes_default}
        for kind, _, columns, *_ in self._constraints:
            plain = len(columns) == 1 and columns[0] in self._mapping.unique
            if kind in ("UNIQUE", "PRIMARY KEY") and not (plain and not {*filled, *self._collations} & {*columns}):
                yield self._never_twice(", ".join(columns), ", ".join(map(quoted, columns)))
        name = r'(?:"(?:[^"]|"")*"|[^\s("])+'
        for shown, statement in self._look_up("index_name, sql", "duckdb_indexes()"):
            found = re.match(rf"CREATE UNIQUE INDEX {name} ON {name}(?: USING \w+ )?\((.*)\);?$", statement, re.DOTALL)
            if found:
                yield self._never_twice(shown, found[1])
        mapped = self._mapping.mapped("external_id" if self._mapping.has_id else "email")
        if mapped and mapped.column_name in self._collations and mapped.column_name not in self._mapping.unique:
            yield self._never_twice(mapped.column_name, quoted(mapped.column_name))

    def _never_twice(self, shown: str, keys: str) -> Constraint:
        count = len(self._connection.execute(f"DESCRIBE SELECT {keys} FROM {self._address.name}").fetchall())
        named = ", ".join(f"k{number}" for number in range(count))
        same = " AND ".join(f"a.k{number} = b.k{number}" for number in range(count))
        wanted = f"(SELECT {ROW}, {keys} FROM _result)"
        there = f"(SELECT rowid, {keys} FROM {self._address.name})"
        moved = f"SELECT {PLACE} FROM _result WHERE {PLACE} IS NOT NULL"
        return Constraint(
            taken(shown),
            f"SELECT b.row FROM {wanted} b(row, {named}) JOIN {wanted} a(row, {named}) ON {same} AND a.row < b.row "
            f"UNION SELECT b.row FROM {wanted} b(row, {named}) JOIN {there} a(place, {named}) ON {same} "
            f"AND a.place NOT IN ({moved})",
        )
