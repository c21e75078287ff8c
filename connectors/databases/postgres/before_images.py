"""The before-images of a run into a Postgres table: values as the server writes them as text, which is exact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

from tranship.connectors.contract import BEFORE_IMAGES, Plan
from tranship.connectors.databases.before_images import (
    customer_after,
    customer_removed,
    image,
    keep_facts,
    remove_images,
    updated_columns,
)
from tranship.connectors.databases.postgres.catalog import ColumnType, Relation
from tranship.connectors.databases.postgres.connection import Connection
from tranship.connectors.databases.postgres.context import WriteContext
from tranship.connectors.databases.postgres.deletes import GONE
from tranship.connectors.databases.postgres.known_rows import REMOVED
from tranship.connectors.databases.postgres.transfer import rows_by_place, stream_into
from tranship.connectors.databases.quoting import literal, quoted
from tranship.connectors.databases.table_mapping import DELETED, RUN
from tranship.connectors.databases.written_times import REMOVED_ROW

ROW: Final = "_tranship_row"
_CUSTOMER: Final = {name: f"_tranship_customer_{name}" for name in ("key", "id", "mail")}
"""Columns of the temporary tables with the rows to change or delete, beside their position: those of the image."""
_EXACT: Final = {"DateStyle": "ISO, YMD", "IntervalStyle": "postgres", "TimeZone": "UTC", "extra_float_digits": "1"}
"""Settings of the session under which text keeps every value."""
_GROUP_ROWS: Final = 20_480
"""Small enough that all threads write, also a few rows."""


@contextmanager
def exact_texts(connection: Connection) -> Iterator[None]:
    """Write and read values as text that keeps them, whatever the settings of the session."""
    for name, value in (_EXACT | {"bytea_output": "hex"}).items():
        connection.execute(f"SET LOCAL {name} = {literal(value)}")
    yield
    for name in (*_EXACT, "bytea_output"):
        connection.execute(f"SET LOCAL {name} TO DEFAULT")


def numbered(values: Sequence[str]) -> str:
    """Return values (SQL) with names that fit on any server: a column's own name may be as long as a name can be."""
    return "".join(f", {value} AS v{number}" for number, value in enumerate(values))


def named_images(columns: Sequence[str]) -> str:
    """Return the same values as the images of these columns, as SQL of the comparison."""
    return "".join(f", v{number} AS {image(name)}" for number, name in enumerate(columns))


def shown_types(types: Mapping[str, ColumnType]) -> dict[str, str]:
    """Return the columns that can be written, with their types."""
    return {name: kind.shown for name, kind in types.items() if not kind.computed}


class BeforeImages:
    """The images of one write, taken before each statement of it."""

    def __init__(self, context: WriteContext, plan: Plan) -> None:
        self._context, self._plan = context, plan
        self._mapping, self._request = context.mapping, context.request
        remove_images(self._request.workspace)
        self._parts: list[str] = []

    @property
    def columns_of_updates(self) -> str:
        """The columns that the temporary table of updates needs, as SQL of the comparison."""
        if self._request.undo:
            return ""
        return f", p.row::BIGINT AS {ROW}{self._customer(*customer_after(self._mapping, self._request))}"

    @property
    def columns_of_deletes(self) -> str:
        """The columns that the temporary table of deletes needs, as SQL of the comparison."""
        if self._request.undo:
            return ""
        return f", ({REMOVED_ROW})::BIGINT AS {ROW}{self._customer(*customer_removed(self._mapping))}"

    def _customer(self, key: str, known: str, mail: str) -> str:
        """The key is read on the server."""
        values = {"key": "NULL::VARCHAR" if self._mapping.key else key, "id": known, "mail": mail}
        return "".join(f", {value} AS {_CUSTOMER[name]}" for name, value in values.items())

    def take_updates(self, relation: Relation, changed: str) -> None:
        """Keep the values of the rows in a temporary table that updates replace."""
        columns = updated_columns(self._mapping, self._plan)
        if self._request.undo:
            rows = "_plan p JOIN _survivors s ON s._row = p.row JOIN _now t ON t.n = p.row WHERE p.action = 'update'"
            self._take_known("update", columns, "p.row", customer_after(self._mapping, self._request), rows)
        else:
            self._take("update", columns, f"{changed} u", relation, "u._place")

    def take_deletes(self, relation: Relation) -> None:
        """Keep the rows of GONE, or of those that are marked what the mark replaces."""
        columns = list(shown_types(self._context.types))
        if self._request.undo:
            self._take_known("delete", columns, "h.row", customer_removed(self._mapping), REMOVED)
        elif self._request.hard_delete:
            self._take("delete", columns, f"{GONE} u", relation, "u.target")
        else:
            self._take("mark", [RUN, DELETED], f"{GONE} u", relation, "u.target")

    def _take_known(
        self, action: str, columns: Sequence[str], row: str, customer: tuple[str, str, str], rows: str
    ) -> None:
        """Keep values that an undo has compared."""
        key, known, mail = customer
        key = f"t.{image(self._mapping.key)}" if self._mapping.key else key
        values = "".join(f", t.{image(name)}" for name in columns)
        self._parts.append(
            f"SELECT {row} AS row, {literal(action)} AS action, {key} AS key, {known} AS id, {mail} AS mail{values} "
            f"FROM {rows}"
        )

    def _take(self, action: str, columns: Sequence[str], rows: str, relation: Relation, place: str) -> None:
        connection, duck = self._context.connection, self._context.duck
        key = f"t.{quoted(self._mapping.key)}::text" if self._mapping.key else f"u.{_CUSTOMER['key']}"
        values = numbered([f"t.{quoted(name)}::text" for name in columns])
        part = f"_before_{action}"
        with rows_by_place(connection), exact_texts(connection):
            stream = connection.stream(
                f"SELECT u.{ROW} AS row, {literal(action)} AS action, {key} AS key, u.{_CUSTOMER['id']} AS id, "
                f"u.{_CUSTOMER['mail']} AS mail{values} FROM {rows} JOIN {relation.name} t ON {relation.is_at(place)}"
            )
            kept = f"SELECT row::UBIGINT AS row, action, key, id, mail{named_images(columns)} FROM _stream"
            stream_into(duck, f"CREATE OR REPLACE TEMP TABLE {part} AS {kept}", stream)
        self._parts.append(f"FROM {part}")

    @contextmanager
    def written_meanwhile(self) -> Iterator[None]:
        """Write the images taken, of which the server has none, while it works."""
        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(self._write)
            try:
                yield
            except BaseException:
                self._context.duck.interrupt()
                raise
            writing.result()

    def _write(self) -> None:
        if self._parts:
            file = literal(self._request.workspace / BEFORE_IMAGES)
            images, self._parts = " UNION ALL BY NAME ".join(self._parts), []
            form = f"(FORMAT parquet, ROW_GROUP_SIZE {_GROUP_ROWS})"
            self._context.duck.execute(f"COPY ({images}) TO {file} {form}").fetchall()

    def keep(self, types: Mapping[str, ColumnType]) -> None:
        """Write the images, before the commit. `types` are the columns of the table as it is now."""
        self._write()
        keep_facts(self._mapping, self._request, self._plan, shown_types(types))
