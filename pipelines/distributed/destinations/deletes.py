"""Which rows mirror deletes on an engine: the rules of `connectors/databases/deletes.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct
from pyspark.sql import functions as fn

from tranship.pipelines.distributed.destinations.contract import Request
from tranship.pipelines.distributed.destinations.matching import ALIKE, Keys
from tranship.pipelines.distributed.work_tables import WorkTables

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_NAMED: Final = 3


class Deleted(Struct, frozen=True):
    """The targets of rows to delete. They are `withheld` if records that cannot be identified, the first of which are
    `unidentified`, may be these customers.
    """

    gone: DataFrame
    count: int
    withheld: int = 0
    unidentified: tuple[str, ...] = ()


def find(request: Request, tables: WorkTables, keys: Keys, rows: DataFrame, left_out: DataFrame) -> Deleted:
    """Find the rows that Tranship wrote and the source no longer has. Rows that a record may refer to stay, and so do
    rows of rejected or refused records.
    """
    nobody = keys.held.limit(0).select("target")
    if request.mode != "mirror":
        return Deleted(nobody, 0)
    present = tables.keep("present", _present(request, left_out))
    several = left_out.where(fn.col("reason") == ALIKE).select("id")
    ambiguous = left_out.where(fn.col("action") == "ambiguous").select("mail")
    rows_without = keys.held.where(fn.col("ours") & ~fn.col("deleted")).withColumn("look", fn.lower("id"))
    for known, by in (
        (rows.select("target"), "target"),
        (several, "id"),
        (ambiguous, "mail"),
        (present.select("look"), "look"),
        (present.select("mail"), "mail"),
    ):
        rows_without = rows_without.join(known.where(fn.col(by).isNotNull()), by, "left_anti")
    gone = tables.keep("gone", rows_without.select("target", "id"))
    count = gone.count()
    if not count:
        return Deleted(gone.select("target"), 0)
    unidentified = _unidentified(keys, present, gone.where(fn.col("id").isNull()).limit(1).count() > 0)
    more = unidentified.count()
    if not more:
        return Deleted(gone.select("target"), count)
    first = unidentified.orderBy("source", "line").select("source", "line").limit(_NAMED).collect()
    places = [f"{source}, line {line}" for source, line in first]
    rest = [f"and {more - len(places):,} more"] if more > len(places) else []
    return Deleted(nobody, 0, count, (*places, *rest))


def _present(request: Request, left_out: DataFrame) -> DataFrame:
    """Return the keys of all records that were read but are not written; `look` is the id in lower case, since in doubt
    nothing is deleted.
    """
    places = request.customers.select("_row", fn.col("_source").alias("source"), fn.col("_line").alias("line"))
    no = fn.lit(False)
    here = left_out.join(places, "_row").select(
        *("source", "line", "id", "mail", no.alias("id_unusable"), no.alias("email_unusable")),
        fn.col("target").isNotNull().alias("matched"),
    )
    if request.present is not None:
        given = request.present.select(
            *("source", "line", fn.col("external_id").alias("id"), fn.col("email").alias("mail")),
            *("id_unusable", "email_unusable", no.alias("matched")),
        )
        here = here.unionByName(given)
    return here.withColumn("look", fn.lower("id"))


def _unidentified(keys: Keys, present: DataFrame, any_without_id: bool) -> DataFrame:
    """Return the records that may be any customer. `any_without_id` is whether a row to delete has no id."""
    mails = keys.held.select("mail").where(fn.col("mail").isNotNull()).distinct().withColumn("mail_held", fn.lit(True))
    looks = keys.held.select(fn.lower("id").alias("look")).where(fn.col("look").isNotNull()).distinct()
    found = present.where(~fn.col("matched")).join(mails, "mail", "left")
    found = found.join(looks.withColumn("id_held", fn.lit(True)), "look", "left")
    without_key = fn.col("id").isNull() & fn.col("mail").isNull()
    unknown_id = fn.col("id_unusable") & fn.col("mail_held").isNull()
    unknown_email = fn.col("email_unusable") & fn.col("id_held").isNull() & fn.lit(any_without_id)
    return found.where(without_key | unknown_id | unknown_email)
