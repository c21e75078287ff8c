"""DDL of what is made here: the table of customers, its columns, the ledger."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from tranship.connectors.databases.ledger import LATER_COUNTS, LEDGER, LEDGER_COUNTS
from tranship.connectors.databases.postgres.catalog import ColumnType
from tranship.connectors.databases.table_mapping import DELETED, RUN, TYPE_OF, Column
from tranship.schemas.customer import COLUMNS, KEY

TYPES_BY_DUCKDB_TYPE: Final[dict[str, sa.types.TypeEngine[Any]]] = {
    "VARCHAR": postgresql.TEXT(),
    "INTEGER": postgresql.INTEGER(),
    "TIMESTAMP WITH TIME ZONE": postgresql.TIMESTAMP(timezone=True),
    "VARCHAR[]": postgresql.ARRAY(postgresql.TEXT()),
    "JSON": postgresql.JSONB(),
}
"""DuckDB's type of a field → the type of its column in a table made here."""

# Without a style of parameters that would double each percent sign.
_DIALECT: Final = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]


def ddl(element: sa.schema.ExecutableDDLElement) -> str:
    """A statement as the server is given it."""
    return str(element.compile(dialect=_DIALECT)).strip()


def sql_name(identifier: str) -> sa.sql.quoted_name:
    """An identifier that is always quoted."""
    return sa.sql.quoted_name(identifier, quote=True)


def created_column(name: str) -> Column:
    """A column as a table made here has it."""
    dtype = {KEY: "VARCHAR", RUN: "VARCHAR", DELETED: "TIMESTAMP WITH TIME ZONE"}.get(name) or TYPE_OF[name]
    return (
        ColumnType(name, "jsonb", "jsonb", -1, False, False, False).compared_column()
        if dtype == "JSON"
        else Column(name, dtype)
    )


CREATED_COLUMNS: Final = (KEY, *COLUMNS, RUN, DELETED)

TABLE_COMMENT: Final = f"Customers, written by tranship; what each run did is in {LEDGER}."


def created_type(name: str) -> sa.types.TypeEngine[Any]:
    """The type of a column in a table made here."""
    return TYPES_BY_DUCKDB_TYPE["JSON" if name == "metadata" else created_column(name).dtype]


def type_sql(kind: sa.types.TypeEngine[Any]) -> str:
    """The name of a type."""
    return str(kind.compile(dialect=_DIALECT))


def ledger_table(schema: str) -> sa.Table:
    """The ledger in a schema."""
    text, instant = postgresql.TEXT(), postgresql.TIMESTAMP(timezone=True)
    columns: list[sa.Column[Any]] = [
        sa.Column("run_id", text, primary_key=True),
        *(sa.Column(name, text, nullable=False) for name in ("table_name", "source", "mode")),
        *(sa.Column(name, instant, nullable=False) for name in ("started_at", "finished_at")),
        *(sa.Column(name, postgresql.BIGINT(), nullable=False) for name in (*LEDGER_COUNTS, *LATER_COUNTS)),
    ]
    return sa.Table(sql_name(LEDGER), sa.MetaData(), *columns, schema=sql_name(schema))
