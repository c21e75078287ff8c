"""The comparison of customers with a table on an engine: the rules of `connectors/databases/diff.py`, for tables that
Tranship has created.

Keys and a digest of each row are exchanged between machines; the columns are read again for the rows that differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from pyspark.sql import Window
from pyspark.sql import functions as fn

from tranship.connectors.databases.constraints import taken
from tranship.connectors.databases.diff import ACTIONS, OLDER
from tranship.connectors.databases.table_mapping import DELETED
from tranship.pipelines.distributed.destinations import deletes, matching
from tranship.pipelines.distributed.destinations.contract import LEFT_OUT, STALE, Planned, Request
from tranship.pipelines.distributed.destinations.matching import ALIKE, Keys
from tranship.pipelines.distributed.stage_rows import spark_schema
from tranship.pipelines.distributed.work_tables import WorkTables
from tranship.schemas.customer import KEY

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_ENDLESS: Final = 253_402_214_400_000_000
"""9999-12-31 in microseconds: no time, but the mark of something without an end."""


class Compared(Struct, frozen=True):
    """The action for each customer and row, beside the plan for people.

    `rows` has _row, action, reason, target (null for a new row), new_key and changed (fields, for updates); `gone` has
    the targets to delete; `held` are the rows of the table (`matching.Keys`). All are kept in `tables`.
    """

    tables: WorkTables
    planned: Planned
    rows: DataFrame
    gone: DataFrame
    held: DataFrame

    def repeated_keys(self) -> int:
        """Return the number of keys that several rows have, or that rows lack."""
        found = self.held.groupBy("target").count()
        return int(found.where((fn.col("count") > 1) | fn.col("target").isNull()).count())


def all_created(request: Request, notes: tuple[str, ...]) -> Planned:
    """Return the plan for a table that does not exist: every customer is created, unless only updates are allowed."""
    action = "refused" if request.mode == "update" else "create"
    counts = dict.fromkeys((*ACTIONS, "delete"), 0) | {action: request.count}
    reason = "not_there"
    refused = request.customers.select("_row", fn.lit("refused").alias("action"), fn.lit(reason).alias("reason"))
    stale = request.session.createDataFrame([], spark_schema(STALE))
    if action == "refused":
        return Planned(counts, refused, stale, {reason: request.count} if request.count else {}, notes=notes)
    return Planned(counts, request.session.createDataFrame([], spark_schema(LEFT_OUT)), stale, notes=notes)


def compare(request: Request, table: DataFrame, fields: Sequence[str], notes: tuple[str, ...]) -> Compared:
    """Compare the customers with a table, in these fields."""
    tables = request.fresh_tables()
    keys = matching.keys(request.customers, table, fields, tables)
    matched = tables.keep("matched", _by_mode(request, matching.matched(keys)))
    differing = tables.keep("differing", _differing(request, matched, table, fields))
    rows = tables.keep("plan", _decided(request, keys, matched, differing))
    left_out = rows.where(fn.col("action").isin("refused", "ambiguous"))
    deleted = deletes.find(request, tables, keys, rows, left_out)
    counts = dict.fromkeys((*ACTIONS, "delete"), 0) | _counted(rows, fn.col("action")) | {"delete": deleted.count}
    stale = rows.where(fn.col("reason") == OLDER).select("_row")
    old = request.customers.join(stale, "_row").join(differing.select("_row", "held_time"), "_row")
    planned = Planned(
        counts,
        left_out.select("_row", "action", "reason"),
        _stale(old),
        _counted(rows.where(fn.col("action") == "refused"), fn.col("reason")),
        dict(sorted(_counted(rows, fn.explode("changed")).items())),
        keys.held.count(),
        notes,
        deleted.withheld,
        deleted.unidentified,
    )
    return Compared(tables, planned, rows, deleted.gone, keys.held)


def _by_mode(request: Request, matched: DataFrame) -> DataFrame:
    """Add action and reason: null, or why a customer is left out whatever its row contains."""
    known = fn.col("target").isNotNull()
    refused, why = {
        "insert": (known, "already_there"),
        "update": (~known, "not_there"),
    }.get(request.mode, (fn.lit(False), ""))
    action = fn.when(fn.col("several"), "refused").when(fn.col("ambiguous"), "ambiguous").when(refused, "refused")
    reason = fn.when(fn.col("several"), ALIKE).when(~fn.col("ambiguous") & refused, why)
    return matched.withColumns({"action": action, "reason": reason})


def _differing(request: Request, matched: DataFrame, table: DataFrame, fields: Sequence[str]) -> DataFrame:
    """Return the customers whose row differs in some field: _row, changed (which ones), older, held_time."""
    undecided = fn.col("action").isNull() & fn.col("target").isNotNull() & ~fn.col("same")
    ours = request.customers.select("_row", *(fn.col(name).alias(f"new_{name}") for name in fields))
    theirs = table.select(
        fn.col(KEY).alias("target"), *(fn.col(name).alias(f"old_{name}") for name in (*fields, DELETED))
    )
    both = matched.where(undecided).select("_row", "target").join(ours, "_row").join(theirs, "target")
    changed = [fn.when(_differs(request, name), name) for name in fields]
    changed.append(fn.when(fn.col(f"old_{DELETED}").isNotNull(), DELETED))
    older, held = fn.lit(False), fn.lit(None).cast("timestamp")
    if "updated_at" in fields:
        held = fn.col("old_updated_at")
        older = (fn.col("new_updated_at") < held) & (held < fn.timestamp_micros(fn.lit(_ENDLESS)))
    return both.select(
        "_row",
        fn.array_compact(fn.array(*changed)).alias("changed"),
        fn.coalesce(older, fn.lit(False)).alias("older"),
        held.alias("held_time"),
    )


def _differs(request: Request, name: str) -> Column:
    new = fn.col(f"new_{name}")
    differs = ~new.eqNullSafe(fn.col(f"old_{name}"))
    return differs if request.is_erasable(name) else new.isNotNull() & differs


def _decided(request: Request, keys: Keys, matched: DataFrame, differing: DataFrame) -> DataFrame:
    open_ = matched.where(fn.col("action").isNull())
    # Of customers that take over one row, the first record of the run does; of new keys, none that a row has.
    place = fn.row_number().over(Window.partitionBy("target").orderBy("_row"))
    second = open_.where(fn.col("by_mail")).select("_row", place.alias("place")).where(fn.col("place") > 1)
    in_use = open_.where(fn.col("target").isNull()).join(
        keys.held.select(fn.col("target").alias("new_key")), "new_key", "left_semi"
    )
    refused = second.select("_row", fn.lit(taken("external_id")).alias("collides")).unionByName(
        in_use.select("_row", fn.lit(taken(KEY)).alias("collides"))
    )
    joined = matched.join(refused, "_row", "left").join(differing, "_row", "left")
    stays = fn.col("same") | (fn.size("changed") == 0)
    fate = {"skip": "stale", "refuse": "refused"}.get(request.older)
    is_older = fn.col("older") if fate else fn.lit(False)
    undecided = fn.col("action").isNull()
    action = (
        fn.when(~undecided, fn.col("action"))
        .when(fn.col("collides").isNotNull(), "refused")
        .when(fn.col("target").isNull(), "create")
        .when(stays, "unchanged")
        .when(is_older, fate)
        .otherwise("update")
    )
    reason = fn.coalesce(
        fn.col("reason"),
        fn.when(undecided, fn.col("collides")),
        fn.when(undecided & fn.col("target").isNotNull() & ~stays & is_older, OLDER),
    )
    decided = joined.select(
        *("_row", "id", "mail", "target", "new_key"), action.alias("action"), reason.alias("reason"), "changed"
    )
    return decided.withColumn("changed", fn.when(fn.col("action") == "update", fn.col("changed")))


def _stale(old: DataFrame) -> DataFrame:
    return old.select(
        *(fn.col("_source").alias("source"), fn.col("_line").alias("line"), "external_id", "email", "updated_at"),
        fn.col("held_time").alias("destination_updated_at"),
    )


def _counted(rows: DataFrame, column: Column) -> dict[str, int]:
    found = rows.select(column.alias("value")).groupBy("value").count().collect()
    return {value: count for value, count in found if value is not None}
