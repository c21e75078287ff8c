"""The SQL that deletes a customer from a table and from the tables that Tranship keeps beside it.

It is a script for a person to read and run: nothing here changes a database.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from tranship.connectors.contract import key_spellings
from tranship.connectors.databases.history_table import history_of
from tranship.connectors.databases.quoting import literal, quoted
from tranship.connectors.databases.table_mapping import CHANGES, WRITTEN
from tranship.schemas.customer import KEY

Columns = Mapping[str, Mapping[str, str]]
"""Table → its columns → their types."""


def tables_of(table: str) -> tuple[str, ...]:
    """Return the tables that may have the customer: the table itself, its history, and those of changes and times."""
    return (table, history_of(table), CHANGES, WRITTEN)


def script(place: str, table: str, found: Columns, emails: Collection[str], ids: Collection[str]) -> str:
    """Return the statements, in one transaction. `place` is the schema, quoted; of `tables_of`, those that exist are in
    `found`.
    """
    keys = sorted({spelling for key in (*ids, *emails) for spelling in key_spellings(key)})
    statements = []
    for name in tables_of(table):
        columns = found.get(name)
        if columns is None:
            continue
        own = name in (CHANGES, WRITTEN)
        conditions = _of_changes(columns, keys, emails) if own else _of_customers(columns, keys, emails, ids)
        where = "\n   OR ".join(conditions)
        of_table = f"lower(table_name) = {literal(table.lower())}\n  AND (" if own else ""
        statements.append(f"DELETE FROM {place}.{quoted(name)}\nWHERE {of_table}{where}{')' if own else ''};")
    return "\n\n".join(["BEGIN;", *statements, "COMMIT;"]) + "\n"


def _of_customers(
    columns: Mapping[str, str], keys: Collection[str], emails: Collection[str], ids: Collection[str]
) -> list[str]:
    conditions = [f"CAST({quoted(KEY)} AS VARCHAR) IN ({_list(keys)})"] if KEY in columns else []
    if ids and "external_id" in columns:
        conditions.append(f"CAST(external_id AS VARCHAR) IN ({_list(ids)})")
    texts = [name for name, kind in columns.items() if _is_text(kind) and name not in (KEY, "external_id")]
    conditions += [f"lower({quoted(name)}) IN ({_list(emails)})" for name in texts if emails]
    return conditions or ["false"]


def _of_changes(columns: Mapping[str, str], keys: Collection[str], emails: Collection[str]) -> list[str]:
    key = "customer_key" if "customer_key" in columns else "customer"
    images = [name for name in ("before", "after") if name in columns]
    return [
        f"{key} IN ({_list(keys)})",
        *(
            f"position({literal(f'''{chr(34)}{email}{chr(34)}''')} IN lower(CAST({name} AS VARCHAR))) > 0"
            for name in images
            for email in sorted(emails)
        ),
    ]


def _is_text(kind: str) -> bool:
    return kind.lower() in ("varchar", "text", "character varying", "character", "citext")


def _list(values: Iterable[str]) -> str:
    return ", ".join(map(literal, sorted(values)))
