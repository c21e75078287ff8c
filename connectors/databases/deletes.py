"""Which rows mirror deletes: those that Tranship wrote and that the source no longer has."""

from __future__ import annotations

from typing import Final

from tranship.connectors.databases.comparison import Comparison
from tranship.connectors.databases.quoting import files_literal
from tranship.schemas.counted import counted

_NAMED: Final = 3


def still_referenced(table: str, count: int) -> str:
    """Return the note on customers that are not deleted because rows of another table reference them."""
    return f"table {table} references {counted(count, 'customer')} that the source no longer has; not deleted"


def undeletable(count: int, reason: str) -> str:
    """Return the note on customers that the database does not allow to be deleted."""
    return f"{counted(count, 'customer')} that the source no longer has cannot be deleted: {reason}"


def find_deleted(comparison: Comparison) -> tuple[int, tuple[str, ...]]:
    """Create `_gone`: rows that Tranship wrote and the source no longer has. Rows that a record may refer to stay,
    and so do rows of rejected or refused records. If such a record cannot be identified, all rows stay: return
    their number and the places of the first such records.
    """
    if comparison.request.mode != "mirror":
        comparison.execute("CREATE OR REPLACE TEMP TABLE _gone (target BIGINT)")
        return 0, ()
    _load_present(comparison)
    # The table may ignore case: in doubt, nothing is deleted.
    known = (
        "SELECT target FROM _plan WHERE target IS NOT NULL UNION ALL SELECT target FROM _unsure UNION ALL "
        "SELECT t.target FROM _table t JOIN _present p ON lower(t.id) = lower(p.id) UNION ALL "
        "SELECT t.target FROM _table t JOIN _present p ON t.mail = p.mail"
    )
    gone = comparison.execute(
        "CREATE OR REPLACE TEMP TABLE _gone AS SELECT target FROM _table "
        f"WHERE ours AND NOT deleted AND target NOT IN ({known})"
    )
    if not gone:
        return 0, ()
    nobody = (
        "FROM _present p WHERE NOT matched AND ((p.id IS NULL AND p.mail IS NULL) "
        "OR (p.id_unusable AND NOT EXISTS (SELECT 1 FROM _table t WHERE t.mail = p.mail)) "
        "OR (p.email_unusable AND NOT EXISTS (SELECT 1 FROM _table t WHERE lower(t.id) = lower(p.id)) "
        "AND EXISTS (SELECT 1 FROM _gone g JOIN _table t ON t.target = g.target WHERE t.id IS NULL)))"
    )
    count = comparison.value(f"SELECT count(*) {nobody}")
    if not count:
        return 0, ()
    first = comparison.connection.execute(
        f"SELECT source, line {nobody} ORDER BY source, line LIMIT {_NAMED}"
    ).fetchall()
    comparison.execute("DELETE FROM _gone")
    places = [f"{source}, line {line}" for source, line in first]
    return gone, (*places, *([f"and {count - len(places):,} more"] if count > len(places) else []))


def _load_present(comparison: Comparison) -> None:
    """Create `_present`: the keys, as the table spells them, of all records that were read but are not written."""
    mapping = comparison.mapping
    known_id = mapping.survivor_external_id if mapping.has_id else "NULL::VARCHAR"
    mail = "{}" if mapping.has_email else "NULL::VARCHAR"
    blocked = mail.format("CASE WHEN NOT s._email_blocked THEN s.email END")
    refused = (
        f"SELECT s._source AS source, s._line AS line, {known_id} AS id, {blocked} AS mail, false AS id_unusable, "
        "false AS email_unusable, p.target IS NOT NULL AS matched FROM _plan p JOIN _survivors s ON s._row = p.row "
        "WHERE p.action IN ('refused', 'ambiguous')"
    )
    comparison.execute(f"CREATE OR REPLACE TEMP TABLE _present AS {refused}")
    if comparison.request.present:
        files = files_literal(comparison.request.present)
        comparison.execute(
            f"INSERT INTO _present SELECT source, line, {known_id}, {mail.format('s.email')}, id_unusable, "
            f"email_unusable, false FROM read_parquet({files}) s"
        )
