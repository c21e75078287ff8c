"""Survivors that the table cannot store: by mode, type, missing values, and values that must be unique."""

from __future__ import annotations

from tranship.connectors.databases.comparison import Comparison, unique_column
from tranship.connectors.databases.constraints import taken
from tranship.connectors.databases.quoting import literal, quoted
from tranship.connectors.databases.table_mapping import MappedField
from tranship.schemas.customer import KEY


def refuse_by_mode(comparison: Comparison) -> None:
    """Refuse what the mode does not allow: updates with `insert`, creates with `update`."""
    if comparison.request.mode == "insert":
        comparison.refuse("target IS NOT NULL", "already_there")
    elif comparison.request.mode == "update":
        comparison.refuse("target IS NULL", "not_there")


def refuse_unidentifiable(comparison: Comparison) -> None:
    """Refuse records whose identifier the table cannot store: every run would create them again."""
    mapping = comparison.mapping
    if not mapping.has_email:
        nobody, mapped = "s.external_id IS NULL", mapping.mapped("external_id")
    elif not mapping.has_id:
        nobody, mapped = "s.email IS NULL OR s._email_blocked", mapping.mapped("email")
    else:
        return
    column = mapped.column_name if mapped else KEY
    comparison.refuse(
        f"target IS NULL AND row IN (SELECT s._row FROM _survivors s WHERE {nobody})",
        f"identifies_nobody: {column}",
    )


def refuse_misfits(comparison: Comparison) -> None:
    """Refuse values that the column's type cannot hold, and nulls where the table requires a value."""
    mapping, request = comparison.mapping, comparison.request
    for fault, reason in mapping.encoding_faults(request):
        comparison.refuse(f"row IN (SELECT s._row FROM _survivors s WHERE {fault})", reason)
    for mapped in comparison.compared:
        if not mapped.fits_always:
            comparison.refuse(
                f"row IN (SELECT s._row FROM _survivors s WHERE {mapped.misfit})",
                mapped.misfit_reason,
            )
    for mapped in mapping.fields:
        if mapped.column_name in mapping.required:
            erased = mapped in comparison.compared and mapped.erasable(request)
            _refuse_null(comparison, mapped, "true" if erased else "target IS NULL")
        elif mapped.column.null_becomes_default and mapped in comparison.compared and mapped.erasable(request):
            _refuse_null(comparison, mapped, "target IS NOT NULL")


def _refuse_null(comparison: Comparison, mapped: MappedField, where: str) -> None:
    value = mapped.value if mapped in comparison.compared else "NULL"
    comparison.refuse(
        f"{where} AND row IN (SELECT s._row FROM _survivors s WHERE {value} IS NULL)",
        f"must_have_a_value: {mapped.column_name}",
    )


def refuse_double_matches(comparison: Comparison) -> None:
    """Refuse all but the first of survivors that match the same row."""
    mapped = comparison.mapping.mapped("external_id" if comparison.mapping.has_id else "email")
    text = mapped is None or mapped.column.dtype == "VARCHAR"
    comparison.refuse(
        "row IN (SELECT row FROM _plan WHERE target IS NOT NULL AND action IS NULL "
        f"{'AND target IN (SELECT target FROM _mail) ' if text else ''}"
        "QUALIFY row_number() OVER (PARTITION BY target ORDER BY row) > 1)",
        taken(mapped.column_name if mapped else KEY),
    )


def refuse_violations(comparison: Comparison) -> None:
    """Refuse creates and updates that would violate a constraint of the table."""
    # Rows on their own first: a refused record does not take a value from another one.
    comparison.table.refuse_violations(alone=True)
    _refuse_duplicates(comparison)
    while comparison.table.refuse_violations(alone=False):
        _refuse_duplicates(comparison)


def _refuse_duplicates(comparison: Comparison) -> None:
    """Refuse values that already exist in a unique column (or the key). If two survivors have the same value, the
    first record of the run keeps it. A value that one customer gives up in this run, another may take.
    """
    # A refused record keeps the value that it would have given up: repeat until nothing is refused.
    while sum(_refuse_taken(comparison, column, value) for column, value in comparison.unique_values().items()):
        pass


def _refuse_taken(comparison: Comparison, column: str, value: str) -> int:
    comparison.execute(
        "CREATE OR REPLACE TEMP TABLE _brought AS "
        f"SELECT p.row, p.target, {value} AS value FROM _plan p JOIN _survivors s ON s._row = p.row "
        "WHERE p.action IN ('create', 'update')"
    )
    existing = f"t.{quoted(unique_column(column))}"
    repeated = (
        "SELECT row FROM _brought WHERE value IS NOT NULL "
        "QUALIFY row_number() OVER (PARTITION BY value ORDER BY row) > 1"
    )
    in_table = (
        f"SELECT b.row FROM _brought b JOIN _table t ON {existing} = b.value "
        "LEFT JOIN _brought o ON o.target = t.target "
        f"WHERE b.target IS DISTINCT FROM t.target AND coalesce(o.value = {existing}, true)"
    )
    return comparison.execute(
        f"UPDATE _plan SET action = 'refused', reason = {literal(taken(column))}, changed = NULL "
        f"WHERE row IN ({repeated} UNION ALL {in_table})"
    )
