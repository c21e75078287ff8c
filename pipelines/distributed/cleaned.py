"""The result of cleaning on an engine: customers, rejects, merges and warnings, and the ledger of all records."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec import Struct
from pyspark.sql import functions as fn

from tranship.pipelines.distributed import group_tasks, stage_rows
from tranship.pipelines.distributed.group_tasks import CUSTOMER, OWNER
from tranship.pipelines.distributed.identity import AMBIGUOUS, MERGED, Decisions
from tranship.pipelines.distributed.stage_rows import FACT, GOOD, REJECT, WARNING
from tranship.pipelines.identify import SurvivorRule
from tranship.pipelines.identity_step import AMBIGUOUS as AMBIGUOUS_EMAIL
from tranship.pipelines.matching import OURS
from tranship.schemas.customer import COLUMNS, KEY
from tranship.schemas.faults import sentence

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


class Ledger(Struct, frozen=True):
    """The fates of all records that were read: each has exactly one.

    `by_code` and `by_warning` count rejects and warnings by their code, `by_rule` merges by theirs.
    """

    read: int
    skipped: int
    rejected: int
    merged: int
    customers: int
    by_code: Mapping[str, int]
    by_warning: Mapping[str, int]
    by_rule: Mapping[str, int]

    def balance(self) -> int:
        """Return records read minus known fates; 0 if none was lost or doubled."""
        return self.read - self.skipped - self.rejected - self.merged - self.customers


class Facts(Struct, frozen=True):
    """What the tasks of the stage have counted: records that were read, and those that `where` left out."""

    read: int
    skipped: int


class Cleaned:
    """Clean customers, and what became of the other records. The frames are lazy: they read the tables in `folder`,
    which must stay until they have been written somewhere.

    `notes` say, for people, how the columns were understood.
    """

    def __init__(
        self,
        stage: DataFrame,
        decisions: Decisions,
        filled: DataFrame | None,
        raw_columns: tuple[str, ...],
        facts: Facts,
        folder: str,
        notes: tuple[str, ...],
    ) -> None:
        """Take the tables of the work folder; `filled` are survivors that took over values, null without `fill`."""
        self._stage, self._decisions, self._filled = stage, decisions, filled
        self._raw_columns, self._facts = raw_columns, facts
        self.folder, self.notes = folder, notes

    @cached_property
    def customers(self) -> DataFrame:
        """Each customer once: `customer_key`, the fields, and the place of the record that survived."""
        records = survivors(self._stage, self._decisions, self._filled)
        by_email = fn.concat(fn.lit("email:"), fn.col("email"))
        return records.select(fn.coalesce(fn.col("external_id"), by_email).alias(KEY), *COLUMNS, *("_source", "_line"))

    @cached_property
    def rejects(self) -> DataFrame:
        """The records that were rejected: the columns of the source as text, their place, `_codes` and `_reasons`."""
        ambiguous = self._ambiguous()
        alone = (
            self._of_kind(GOOD)
            .join(ambiguous, "_row", "left_semi")
            .withColumn("_codes", fn.lit(AMBIGUOUS_EMAIL))
            .withColumn("_reasons", fn.lit(sentence(AMBIGUOUS_EMAIL)))
        )
        names = stage_rows.raw_names(len(self._raw_columns))
        kept = ["_source", "_line", "_codes", "_reasons"]
        both = self._of_kind(REJECT).select(*names, *kept).unionByName(alone.select(*names, *kept))
        of_source = [
            (name, column) for name, column in zip(names, self._raw_columns, strict=True) if column not in OURS
        ]
        return both.select(*(name for name, _ in of_source), *kept).toDF(*(column for _, column in of_source), *kept)

    @cached_property
    def merges(self) -> DataFrame:
        """Every record that was merged into another: the places of both, and the key that they share."""
        return self._decisions.verdicts.where(fn.col("fate") == MERGED).select(
            fn.col("source").alias("loser_source"),
            fn.col("line").alias("loser_line"),
            *("survivor_source", "survivor_line", "rule"),
        )

    @cached_property
    def warnings(self) -> DataFrame:
        """What should be looked at, of records that were not rejected: source, line, code, value."""
        of_stage = self._of_kind(WARNING).join(self._ambiguous(), "_row", "left_anti")
        places = (fn.col("_source").alias("source"), fn.col("_line").alias("line"))
        return of_stage.select(*places, "code", "value").unionByName(self._decisions.findings.drop("row"))

    @cached_property
    def counts(self) -> Ledger:
        """The ledger. Raises RuntimeError if a record was lost or doubled, which is a bug of Tranship."""
        by_code = _counted(self.rejects.select(fn.explode(fn.split("_codes", " ")).alias("code")), fn.col("code"))
        by_rule = _counted(self.merges, fn.col("rule"))
        counts = Ledger(
            self._facts.read,
            self._facts.skipped,
            self.rejects.count(),
            sum(by_rule.values()),
            self.customers.count(),
            by_code,
            _counted(self.warnings, fn.col("code")),
            {"external_id": 0, "email": 0} | by_rule,
        )
        if counts.balance():
            raise RuntimeError(f"the ledger does not balance: {counts}")
        return counts

    def _of_kind(self, kind: str) -> DataFrame:
        return self._stage.where(fn.col("_kind") == kind)

    def _ambiguous(self) -> DataFrame:
        verdicts = self._decisions.verdicts
        return verdicts.where(fn.col("fate") == AMBIGUOUS).select(fn.col("row").alias("_row"))


def survivors(stage: DataFrame, decisions: Decisions, filled: DataFrame | None) -> DataFrame:
    """Return the records (`stage_rows.RECORD`) that survive, one for each customer; `filled` are those that took over
    values, null without `fill`.
    """
    records = stage.where(fn.col("_kind") == GOOD).select(*stage_rows.RECORD)
    gone = decisions.verdicts.select(fn.col("row").alias("_row"))
    if filled is not None:
        return records.join(gone.union(filled.select("_row")), "_row", "left_anti").unionByName(filled)
    # One join for both, so that the wide rows are looked at once.
    heirs = decisions.heirs.select(fn.col("row").alias("_row"), fn.col("owner").alias("_owner"))
    decided = gone.withColumn("_owner", fn.lit(None).cast("string")).union(heirs)
    decided = decided.withColumn("_decided", fn.col("_row"))
    records = records.join(decided, "_row", "left")
    records = records.where(fn.col("_decided").isNull() | fn.col("_owner").isNotNull())
    records = records.withColumn("external_id", fn.coalesce("external_id", "_owner"))
    return records.select(*stage_rows.RECORD)


def filled(stage: DataFrame, decisions: Decisions, survivor: SurvivorRule, by: tuple[str, ...]) -> DataFrame:
    """Return the survivors of merges after taking over values; `by` as in `identity.decide`. Only records of customers
    with several of them move.
    """
    merged = decisions.verdicts.where(fn.col("fate") == MERGED)
    customer = (fn.col("customer").alias(CUSTOMER), fn.col("owner").alias(OWNER))
    losers = merged.select(fn.col("row").alias("_row"), *customer)
    survivors = merged.select(fn.col("survivor_row").alias("_row"), *customer).distinct()
    records = (
        stage.where(fn.col("_kind") == GOOD).select(*stage_rows.RECORD).join(losers.unionByName(survivors), "_row")
    )
    task = group_tasks.FillTask(survivor, by)
    return group_tasks.together(records, CUSTOMER).mapInArrow(task, stage_rows.spark_schema(stage_rows.RECORD))


def _counted(table: DataFrame, column: Column) -> dict[str, int]:
    return {row[0]: row[1] for row in table.groupBy(column).count().collect()}


def facts_of(stage: DataFrame) -> dict[str, list[tuple[str | None, str | None, int]]]:
    """Return the facts of a stage: code → source, value, sum of the counts."""
    found: dict[str, list[tuple[str | None, str | None, int]]] = {}
    facts = stage.where(fn.col("_kind") == FACT).groupBy("code", "_source", "value").agg(fn.sum("count").alias("total"))
    for code, source, value, total in facts.collect():
        found.setdefault(code, []).append((source, value, total or 0))
    return found
