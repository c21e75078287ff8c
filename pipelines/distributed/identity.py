"""Identity on an engine: the decisions of `pipelines/identify.py`, of keys alone, by windows, aggregates and joins.

Each table is computed once. An e-mail that millions of records share is one row for each task by the time it is
exchanged between machines. No aggregate holds structs: engines keep those in memory whole.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from pyspark.sql import Window
from pyspark.sql import functions as fn

from tranship.pipelines.distributed import group_tasks, stage_rows
from tranship.pipelines.distributed.stage_rows import FINDING, GOOD, LOOK
from tranship.pipelines.distributed.work_tables import WorkTables
from tranship.pipelines.identify import SurvivorRule

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

MERGED: Final = "merged"
AMBIGUOUS: Final = "ambiguous"
_PLACE: Final = ("row", "source", "line")
"""A record: its number, and its place for people."""
_KEY: Final = ("updated_at", *_PLACE)
"""What decides between two records of a customer."""
BY_PLACE: Final = ("source", "line", "row")
BY_ROW: Final = ("row",)
"""What decides between records of the same time: the place that the user names, or the number, which grows in the order
of reading."""


class Decisions(Struct, frozen=True):
    """What identity decides about staged records.

    `verdicts` has each record that is not a survivor: row, source, line, fate (MERGED, AMBIGUOUS), and if it is merged
    survivor_row, survivor_source, survivor_line, rule, customer, owner. `heirs` has the survivors that take over the
    external id of their customer: row, owner. `findings` are the warnings.
    """

    verdicts: DataFrame
    heirs: DataFrame
    findings: DataFrame


def decide(
    stage: DataFrame,
    survivor: SurvivorRule,
    work: WorkTables,
    by: tuple[str, ...],
    check: Callable[[DataFrame, DataFrame], None] = lambda *_: None,
) -> Decisions:
    """Group the staged records into customers, by the rules of identity. `by` is BY_PLACE or BY_ROW. `check` is called
    with the ranks of records with and without an id (`repeats_place`), and may raise an error.
    """
    email = fn.when(~fn.col("_email_blocked"), fn.col("email")).alias("email")
    keys = stage.where(fn.col("_kind") == GOOD).select(
        *(fn.col(f"_{name}").alias(name) for name in _PLACE),
        *("updated_at", "external_id", email),
        fn.coalesce(LOOK, "external_id").alias("look"),
    )
    order = _Order(survivor, by)
    ranked = work.keep("ranked", _ranked(keys, order))
    heads = ranked.where(fn.col("rank") == 1)
    emails = work.keep("emails", _customers_by_email(heads))
    alone = work.keep("alone", _alone(keys, emails, order))
    check(ranked, alone)
    overtaking = alone.where((fn.col("rank") == 1) & fn.col("overtakes"))
    verdicts = work.keep("verdicts", _verdicts(ranked, alone, overtaking))
    heirs = overtaking.select("row", fn.col("only").alias("owner"))
    findings = work.keep("findings", _findings(stage, ranked, emails, overtaking))
    return Decisions(verdicts, heirs, findings)


class _Order(Struct, frozen=True):
    """The order of a customer's records, the survivor first."""

    survivor: SurvivorRule
    by: tuple[str, ...]

    @property
    def _names(self) -> tuple[str, ...]:
        return ("updated_at", *self.by) if self.survivor == "newest" else self.by

    @property
    def columns(self) -> list[Column]:
        is_first = self.survivor == "first"
        return [fn.col(name).asc() if is_first else fn.col(name).desc_nulls_last() for name in self._names]

    def is_first(self, prefix: str, other: str) -> Column:
        """Return whether the record whose columns have a prefix precedes the one whose columns have the other."""
        result = fn.lit(False)
        for name in reversed(self._names):
            left, right = fn.col(prefix + name), fn.col(other + name)
            precedes = left < right if self.survivor == "first" else left > right
            # A null comes last.
            wins = fn.coalesce(precedes, left.isNotNull() & right.isNull())
            result = wins | (left.eqNullSafe(right) & result)
        return result


def _ranked(keys: DataFrame, order: _Order) -> DataFrame:
    """Return the records with an id: their rank among those of the same id, the first of these (`head_`), whether
    another id looks like theirs, whether records of the id have different e-mails, and whether one has their place.
    """
    of_look, of_id = Window.partitionBy("look"), Window.partitionBy("look", "external_id")
    in_order = of_id.orderBy(*order.columns)
    return keys.where(fn.col("external_id").isNotNull()).select(
        *(*_KEY, "external_id", "email", fn.row_number().over(in_order).alias("rank")),
        *(fn.first(name).over(in_order).alias(f"head_{name}") for name in _PLACE),
        (fn.min("external_id").over(of_look) != fn.max("external_id").over(of_look)).alias("alike"),
        fn.coalesce(fn.min("email").over(of_id) != fn.max("email").over(of_id), fn.lit(False)).alias("contested"),
        _repeats_place(in_order),
    )


def _repeats_place(in_order: object) -> Column:
    same = [fn.lag(name).over(in_order) == fn.col(name) for name in ("source", "line")]
    return fn.coalesce(same[0] & same[1], fn.lit(False)).alias("repeats_place")


def _customers_by_email(heads: DataFrame) -> DataFrame:
    """Return each e-mail of customers with an id: the number of these, and the only one if there is one (`only_`)."""
    return (
        heads.where(fn.col("email").isNotNull())
        .groupBy("email")
        .agg(
            fn.count("*").alias("customers"),
            fn.min("external_id").alias("only"),
            *(fn.min(name).alias(f"only_{name}") for name in _KEY),
        )
    )


def _alone(keys: DataFrame, emails: DataFrame, order: _Order) -> DataFrame:
    """Return the records without an id: their rank among those of the same e-mail, the first of these (`head_`), the
    customers with an id that have the e-mail, and whether the first record precedes those of the only such customer.
    """
    in_order = Window.partitionBy("email").orderBy(*order.columns)
    ranked = keys.where(fn.col("external_id").isNull()).select(
        *(*_PLACE, "email", fn.row_number().over(in_order).alias("rank")),
        *(fn.first(name).over(in_order).alias(f"head_{name}") for name in _KEY),
        _repeats_place(in_order),
    )
    joined = ranked.join(emails, "email", "left").withColumn("customers", fn.coalesce("customers", fn.lit(0)))
    return joined.withColumn("overtakes", (fn.col("customers") == 1) & order.is_first("head_", "only_"))


def _verdicts(ranked: DataFrame, alone: DataFrame, overtaking: DataFrame) -> DataFrame:
    ambiguous = alone.where(fn.col("customers") > 1)
    belongs = (fn.col("customers") == 1) & ~fn.col("overtakes")
    alone_losers = alone.where((fn.col("customers") <= 1) & ((fn.col("rank") > 1) | belongs))
    of_customer = fn.when(fn.col("customers") == 1, fn.col("only"))
    survivor_of_alone = {
        name: fn.when(belongs, fn.col(f"only_{name}")).otherwise(fn.col(f"head_{name}")) for name in _PLACE
    }
    overtaken = overtaking.select(
        fn.col("only").alias("external_id"), *(fn.col(f"head_{name}").alias(f"new_{name}") for name in _PLACE)
    )
    # Rare as they are, these reach every task whole or by their id; no wide row moves.
    losers = ranked.where(fn.col("rank") > 1).join(overtaken, "external_id", "left")
    stays = fn.col("new_row").isNull()
    parts = [
        ambiguous.select(*_verdict(AMBIGUOUS)),
        alone_losers.select(*_verdict(MERGED, survivor_of_alone, fn.lit("email"), of_customer, fn.col("email"))),
        losers.select(
            *_verdict(
                MERGED,
                {name: fn.when(stays, fn.col(f"head_{name}")).otherwise(fn.col(f"new_{name}")) for name in _PLACE},
                fn.when(stays, fn.lit("external_id")).otherwise(fn.lit("email")),
                fn.col("external_id"),
            )
        ),
        overtaking.select(
            *_verdict(
                MERGED,
                {name: fn.col(f"head_{name}") for name in _PLACE},
                fn.lit("email"),
                fn.col("only"),
                of={name: fn.col(f"only_{name}") for name in _PLACE},
            )
        ),
    ]
    return reduce(lambda above, below: above.unionByName(below), parts)


def _verdict(
    fate: str,
    survivor: dict[str, Column] | None = None,
    rule: Column | None = None,
    owner: Column | None = None,
    email: Column | None = None,
    of: dict[str, Column] | None = None,
) -> list[Column]:
    """Return the columns of a verdict on each record; `email` names its customer if that has no id."""
    text, number = fn.lit(None).cast("string"), fn.lit(None).cast("bigint")
    of = of or {name: fn.col(name) for name in _PLACE}
    survivor = survivor or {"row": number, "source": text, "line": number}
    names = [fn.concat(fn.lit("id:"), owner)] if owner is not None else [text]
    names += [fn.concat(fn.lit("email:"), email)] if email is not None else []
    return [
        *(of[name].alias(name) for name in _PLACE),
        fn.lit(fate).alias("fate"),
        *(survivor[name].alias(f"survivor_{name}") for name in _PLACE),
        (rule if rule is not None else text).alias("rule"),
        fn.coalesce(*names).alias("customer"),
        (owner if owner is not None else text).alias("owner"),
    ]


def _findings(stage: DataFrame, ranked: DataFrame, emails: DataFrame, overtaking: DataFrame) -> DataFrame:
    """Return the warnings about customers that share an e-mail, about ids that look alike, and about conflicts."""
    heads = ranked.where(fn.col("rank") == 1)
    several = emails.where(fn.col("customers") > 1).select("email")
    shared = heads.join(several, "email", "left_semi").select(
        *_PLACE, fn.lit("email.shared").alias("code"), fn.col("email").alias("value")
    )
    taken = overtaking.select(
        fn.col("only").alias("external_id"), *(fn.col(f"head_{name}").alias(f"new_{name}") for name in _PLACE)
    )
    is_taken = fn.col("new_row").isNotNull()
    alike = (
        heads.where(fn.col("alike"))
        .join(taken, "external_id", "left")
        .select(
            *(fn.when(is_taken, fn.col(f"new_{name}")).otherwise(fn.col(name)).alias(name) for name in _PLACE),
            *(fn.lit("external_id.lookalike").alias("code"), fn.col("external_id").alias("value")),
        )
    )
    contested = ranked.where(fn.col("contested") & fn.col("email").isNotNull()).select("row")
    candidates = (
        stage.where(fn.col("_kind") == GOOD)
        .select(
            *(fn.col(f"_{name}").alias(name) for name in _PLACE),
            *("external_id", "email", fn.coalesce("billing_contact_name", "name").alias("name"), "updated_at"),
        )
        .join(contested, "row", "left_semi")
    )
    together = group_tasks.together(candidates, "external_id")
    conflicts = together.mapInArrow(group_tasks.find_conflicts, stage_rows.spark_schema(FINDING))
    return shared.unionByName(alike).unionByName(conflicts)
