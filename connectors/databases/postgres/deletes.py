"""Deletes of a mirror on a Postgres server: the statement, and the rows whose deletion the server refuses."""

from __future__ import annotations

from typing import Final

from tranship.connectors.contract import WriteRequest
from tranship.connectors.databases.postgres.catalog import Relation
from tranship.connectors.databases.postgres.connection import Connection
from tranship.connectors.databases.postgres.transfer import rows_by_place
from tranship.connectors.databases.quoting import literal, quoted
from tranship.connectors.databases.table_mapping import DELETED, RUN
from tranship.connectors.errors import ConnectorError, Interfered

GONE: Final = "pg_temp._tranship_gone"
"""The positions of the rows to delete, as `target`."""


def delete_rows(connection: Connection, relation: Relation, request: WriteRequest) -> int:
    """Delete or mark the rows of GONE; return their number."""
    with rows_by_place(connection):
        return connection.execute(_statement(relation, request, GONE))


def delete_all_rows(connection: Connection, relation: Relation) -> int:
    """Delete all rows of a locked table that the role may see; return their number. Without a condition that reads
    rows, the server would not apply the policies for SELECT.
    """
    return connection.execute(f"DELETE FROM {relation.name} t WHERE t.ctid IS NOT NULL")


def _statement(relation: Relation, request: WriteRequest, of: str) -> str:
    gone = f"{of} u WHERE {relation.is_at('u.target')}"
    if request.hard_delete:
        return f"DELETE FROM {relation.name} t USING {gone}"
    marks = f"{quoted(DELETED)} = now(), {quoted(RUN)} = {literal(request.run_id)}"
    return f"UPDATE {relation.name} t SET {marks} FROM {gone}"


def undeletable_rows(
    connection: Connection, relation: Relation, request: WriteRequest, count: int
) -> list[tuple[int, str]]:
    """Return the rows of GONE, of which there are `count`, that cannot be deleted, each with what forbids it.

    Only the server knows the effect of a trigger, a cascade or a deferred constraint: the deletes are tried, and
    undone. If they fail, they are tried one by one.
    """
    if not count or not may_fail(connection, relation, request):
        return []
    connection.execute("SAVEPOINT trial")
    try:
        done = delete_rows(connection, relation, request)
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except Interfered:
        raise
    except ConnectorError:
        done = -1
    connection.execute("ROLLBACK TO SAVEPOINT trial")
    if done == count:
        return []
    connection.execute(_one_by_one(relation, request))
    found = connection.query("SELECT tranship_kept, tranship_reason FROM pg_temp.tranship_undeletable()")
    connection.execute("ROLLBACK TO SAVEPOINT trial")
    return [(int(place), str(reason)) for place, reason in found]


def may_fail(connection: Connection, relation: Relation, request: WriteRequest) -> bool:
    """Return whether triggers, rules, policies, cascades or checks may forbid the delete, or the mark, of a row."""
    oids = ", ".join(map(str, relation.partitions or (relation.oid,)))
    event = 8 if request.hard_delete else 16  # pg_trigger.h: TRIGGER_TYPE_DELETE, TRIGGER_TYPE_UPDATE
    doubts = [
        f"(SELECT row_security_active(oid) OR relhasrules FROM pg_catalog.pg_class WHERE oid = {relation.oid})",
        f"EXISTS (SELECT FROM pg_trigger WHERE tgrelid IN ({oids}) AND NOT tgisinternal AND tgtype & {event} <> 0)",
    ]
    if request.hard_delete:
        doubts.append(
            "EXISTS (SELECT FROM pg_catalog.pg_constraint "
            f"WHERE confrelid IN ({oids}) AND contype = 'f' AND (confdeltype IN ('c', 'n', 'd') "
            # `references_to` has those of the whole table, not those of one of its partitions.
            f"OR confrelid <> {relation.oid} AND conparentid = 0))"
        )
    else:
        doubts.append(
            "EXISTS (SELECT FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid "
            f"AND a.attnum = ANY (c.conkey) WHERE c.conrelid IN ({oids}) AND c.contype = 'c' "
            f"AND a.attname IN ({literal(DELETED)}, {literal(RUN)}))"
        )
    return bool(connection.query_value(f"SELECT {' OR '.join(doubts)}"))


_OF_ONE_ROW: Final = "'22', '23', '27', '44', 'P0'"
"""Classes of SQLSTATE with which the server refuses a row; other errors stop the run."""


def _one_by_one(relation: Relation, request: WriteRequest) -> str:
    """Return the statement that creates `tranship_undeletable`. A reason has no message of the server, which may quote
    customers.
    """
    one = _statement(relation, request, "(SELECT tranship_place AS target)")
    here = relation.is_at("tranship_place")
    return f"""
CREATE OR REPLACE FUNCTION pg_temp.tranship_undeletable() RETURNS TABLE (tranship_kept bigint, tranship_reason text)
LANGUAGE plpgsql AS $tranship$
#variable_conflict use_variable
DECLARE
    tranship_place bigint; tranship_done bigint; tranship_state text; tranship_name text; tranship_column text;
BEGIN
    FOR tranship_place IN SELECT g.target FROM {GONE} g ORDER BY 1 LOOP
        BEGIN
            {one};
            GET DIAGNOSTICS tranship_done = ROW_COUNT;
            SET CONSTRAINTS ALL IMMEDIATE;
            IF tranship_done = 0 AND EXISTS (SELECT FROM {relation.name} t WHERE {here}) THEN
                tranship_kept := tranship_place;
                tranship_reason := 'a trigger, rule or policy skips the row';
                RETURN NEXT;
            END IF;
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS tranship_state = RETURNED_SQLSTATE, tranship_name = CONSTRAINT_NAME,
                tranship_column = COLUMN_NAME;
            IF left(tranship_state, 2) NOT IN ({_OF_ONE_ROW}) THEN
                RAISE;
            END IF;
            tranship_kept := tranship_place;
            tranship_reason := CASE WHEN tranship_name <> '' THEN 'constraint ' || tranship_name
                WHEN tranship_column <> '' THEN 'column ' || tranship_column || ' must have a value'
                ELSE 'a trigger or function raised an error' END;
            RETURN NEXT;
        END;
    END LOOP;
END $tranship$"""
