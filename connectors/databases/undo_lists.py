"""The lists that an undo writes for people, from the tables of `undo_plan.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import duckdb

from tranship.connectors.contract import LEFT_ALONE, REVIEW, WriteRequest
from tranship.connectors.databases.before_images import image
from tranship.connectors.databases.quoting import literal

CHANGED_SINCE: Final = "changed_since"


def write_lists(connection: duckdb.DuckDBPyConnection, request: WriteRequest, updated: Sequence[str]) -> None:
    """Write the customers that are left alone and, for a plan that is kept, what is done; `updated` are the columns
    that the undone run has updated.
    """
    workspace = request.workspace
    for name in (LEFT_ALONE, REVIEW):
        (workspace / name).unlink(missing_ok=True)
    left = (
        "SELECT u.customer, u.action, coalesce(p.reason, "
        f"{literal(CHANGED_SINCE)} || ': ' || array_to_string(d.since, ', ')) AS reason FROM _plan p "
        "JOIN _undone u ON u.n = p.row JOIN _decided d ON d.n = p.row WHERE p.action = 'refused' "
        "OR (p.action IN ('create', 'update') AND len(d.since) > 0)"
    )
    if connection.execute(f"SELECT count(*) FROM ({left})").fetchall()[0][0]:
        connection.execute(
            f"COPY ({left} ORDER BY ALL) TO {literal(workspace / LEFT_ALONE)} (FORMAT parquet)"
        ).fetchall()
    if not request.compare:
        return
    named = ", ".join(
        f"CASE WHEN list_contains(p.changed, {literal(name)}) THEN struct_pack(field := {literal(name)}, "
        f"now := t.{image(name)}::VARCHAR, back := o.{image(name)}::VARCHAR) END"
        for name in updated
    )
    fields = f"list_filter([{named}], lambda c: c IS NOT NULL)" if named else "[]"
    restored = (
        "SELECT 'restore' AS what, customer, c.field AS field, c.now AS now, c.back AS back FROM ("
        f"SELECT u.customer, unnest({fields}) AS c FROM _plan p JOIN _undone u ON u.n = p.row "
        "JOIN _old o ON o.n = p.row JOIN _now t ON t.n = p.row WHERE p.action = 'update')"
        if named
        else "SELECT '' AS what, '' AS customer, '' AS field, '' AS now, '' AS back WHERE false"
    )
    connection.execute(
        f"COPY ({restored} UNION ALL SELECT 'return', customer, NULL, NULL, NULL FROM _plan p JOIN _undone u "
        "ON u.n = p.row WHERE p.action = 'create' UNION ALL SELECT 'remove', customer, NULL, NULL, NULL "
        "FROM _removed r JOIN _undone u ON u.n = r.n WHERE r.target IN (FROM _gone) UNION ALL "
        f"SELECT 'leave', customer, reason, NULL, NULL FROM ({left}) ORDER BY ALL) "
        f"TO {literal(workspace / REVIEW)} (FORMAT parquet)"
    ).fetchall()
