"""Match each survivor with its row of the table: by external id, else by e-mail."""

from __future__ import annotations

from collections.abc import Sequence

from tranship.connectors.databases.comparison import Comparison
from tranship.connectors.databases.table_mapping import lookup_key


def match_ids(comparison: Comparison, pairs: Sequence[tuple[str, str]]) -> None:
    """Match every survivor with the row of its external id or, if neither has one, of its e-mail. A hash of all
    compared columns finds equal rows without carrying the columns through the join; rows that differ are then
    compared column by column. `pairs` has the value of each compared column in a row and in a survivor, as SQL.
    """
    wanted = ", ".join(value for _, value in pairs) or "0"
    comparison.execute(
        "CREATE OR REPLACE TEMP TABLE _plan AS SELECT s.row, t.target, NULL::VARCHAR AS action, "
        "NULL::VARCHAR AS reason, NULL::VARCHAR[] AS changed, "
        "s.wanted = t.seen AND NOT t.deleted AS same "
        f"FROM (SELECT s._row AS row, {lookup_key(comparison.mapping.survivor_external_id, 's.email')} AS known, "
        f"hash({wanted}) AS wanted FROM _survivors s) s LEFT JOIN _table t ON t.known = s.known"
    )
    comparison.execute("CREATE OR REPLACE TEMP TABLE _unsure (target BIGINT)")
    if comparison.value("SELECT count(*) FROM _plan") > comparison.request.survivors.count:
        # One external id in several rows: whichever row was written, the others would stay wrong.
        several = "(SELECT row FROM _plan GROUP BY row HAVING count(*) > 1)"
        comparison.execute(f"INSERT INTO _unsure SELECT target FROM _plan WHERE row IN {several}")
        comparison.execute(
            "CREATE OR REPLACE TEMP TABLE _plan AS SELECT row, "
            "CASE WHEN count(*) = 1 THEN any_value(target) END AS target, "
            "CASE WHEN count(*) > 1 THEN 'refused' END AS action, "
            "CASE WHEN count(*) > 1 THEN 'matches_several' END AS reason, "
            "NULL::VARCHAR[] AS changed, bool_and(same) AS same FROM _plan GROUP BY row"
        )


def match_emails(comparison: Comparison) -> None:
    """Apply rule 2 at the destination, in both directions.

    A survivor without an id matches the only row with its e-mail. Rows of customers that are in the run by their id
    do not count: their e-mail is the one in the run. A survivor with an id takes over the only row that has its
    e-mail and no id, if no other customer, in the table or in the run, has that e-mail.
    """
    mapping = comparison.mapping
    comparison.execute("CREATE OR REPLACE TEMP TABLE _mail (row UBIGINT, target BIGINT, alone BOOLEAN)")
    if not mapping.has_email:
        return
    ids = f"(SELECT {mapping.survivor_external_id} FROM _survivors s WHERE s.external_id IS NOT NULL)"
    wanted = "true" if not mapping.has_id else "s.external_id IS NULL"
    comparison.execute(
        "CREATE OR REPLACE TEMP TABLE _found AS SELECT s._row AS row, t.target, t.id, "
        "s.external_id IS NULL AS alone FROM _survivors s JOIN _table t ON t.mail = s.email "
        f"WHERE {wanted} AND NOT s._email_blocked"
    )
    usable = "true" if not mapping.has_id else f"(id IS NULL OR id NOT IN {ids})"
    comparison.execute(f"INSERT INTO _mail SELECT row, target, alone FROM _found WHERE {usable}")
    if mapping.has_id:
        _match_rows_without_id(comparison, ids)
    # same = false: these few are compared column by column.
    comparison.execute(
        "UPDATE _plan SET target = m.target, same = false FROM "
        "(SELECT row, min(target) AS target FROM _mail GROUP BY row HAVING count(*) = 1) m "
        "WHERE _plan.row = m.row AND _plan.target IS DISTINCT FROM m.target"
    )
    comparison.execute(
        "UPDATE _plan SET action = CASE WHEN m.alone THEN 'ambiguous' ELSE 'refused' END, "
        "reason = CASE WHEN NOT m.alone THEN 'matches_several' END "
        "FROM (SELECT row, alone FROM _mail GROUP BY ALL HAVING count(*) > 1) m WHERE _plan.row = m.row"
    )
    comparison.execute(
        "INSERT INTO _unsure SELECT target FROM _mail WHERE row IN (SELECT row FROM _plan WHERE action IS NOT NULL)"
    )


def _match_rows_without_id(comparison: Comparison, ids: str) -> None:
    """Match survivors whose id is new with rows that have their e-mail and no id."""
    if not comparison.value("SELECT count(*) FROM _plan WHERE target IS NULL AND action IS NULL"):
        return
    found = comparison.execute(
        "CREATE OR REPLACE TEMP TABLE _nameless AS SELECT s._row AS row, t.target, s.email AS mail "
        "FROM _survivors s JOIN _plan p ON p.row = s._row AND p.target IS NULL AND p.action IS NULL "
        "JOIN _table t ON t.mail = s.email "
        "WHERE s.external_id IS NOT NULL AND NOT s._email_blocked AND t.id IS NULL"
    )
    if not found:
        return
    in_run = (
        "SELECT s.email FROM _survivors s WHERE s.external_id IS NOT NULL AND NOT s._email_blocked "
        "AND s.email IN (SELECT mail FROM _nameless) GROUP BY s.email HAVING count(*) > 1"
    )
    in_table = f"SELECT t.mail FROM _table t WHERE t.mail IN (SELECT mail FROM _nameless) AND t.id NOT IN {ids}"
    comparison.execute(
        "INSERT INTO _mail SELECT row, target, false FROM _nameless "
        f"WHERE mail NOT IN ({in_run}) AND mail NOT IN ({in_table}) "
        "AND row IN (SELECT row FROM _nameless GROUP BY row HAVING count(*) = 1)"
    )
