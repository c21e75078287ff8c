"""Match each customer with its row of a table, by keys alone: the rules of `connectors/databases/matching.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from pyspark.sql import functions as fn

from tranship.connectors.databases.table_mapping import DELETED, RUN
from tranship.pipelines.distributed.work_tables import WorkTables
from tranship.schemas.customer import COLUMNS, INSTANTS, KEY

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

ALIKE: Final = "matches_several"
"""The reason of a customer whose id several rows have."""


class Keys(Struct, frozen=True):
    """The keys of both sides, and a digest of the fields that are compared.

    `wanted` has a line for each customer: _row, id, mail (null if it identifies nobody), new_key (its key in a new
    row), digest. `held` has a line for each row: target (its key), id, mail, deleted, ours (written by Tranship),
    digest.
    """

    wanted: DataFrame
    held: DataFrame


def keys(customers: DataFrame, table: DataFrame, fields: Sequence[str], tables: WorkTables) -> Keys:
    """Return the keys of customers and of a table, computed once."""
    external_id, email = fn.col("external_id"), fn.col("email")
    mail = fn.when(~fn.col("_email_blocked"), email)
    wanted = customers.select(
        *("_row", external_id.alias("id"), mail.alias("mail")),
        *(new_key(external_id, mail).alias("new_key"), _digest(fields).alias("digest")),
    )
    held = table.select(
        *(fn.col(KEY).alias("target"), external_id.alias("id"), fn.lower(email).alias("mail")),
        *(fn.col(DELETED).isNotNull().alias("deleted"), fn.col(RUN).isNotNull().alias("ours")),
        _digest(fields).alias("digest"),
    )
    return Keys(tables.keep("wanted", wanted), tables.keep("held", held))


def new_key(external_id: Column, mail: Column) -> Column:
    """Return the key of a new customer. An id that looks like such a key is prefixed, so that two customers never share
    a key.
    """
    alike = external_id.startswith("email:") | external_id.startswith("id:")
    prefixed = fn.when(alike, fn.concat(fn.lit("id:"), external_id)).otherwise(external_id)
    return fn.coalesce(prefixed, fn.concat(fn.lit("email:"), mail))


def _digest(fields: Sequence[str]) -> Column:
    """Return 128 bits of the values of these fields. JSON leaves out nulls, and would cut instants to milliseconds."""
    values = [
        fn.unix_micros(name).alias(name) if name in INSTANTS else fn.col(name) for name in COLUMNS if name in fields
    ]
    return fn.md5(fn.to_json(fn.struct(*values)))


def matched(keys: Keys) -> DataFrame:
    """Return the keys of each customer with its row: target (null for a new customer), same (whether the fields are
    equal), by_mail (found by the e-mail of a row without the customer's id), several (of its id), ambiguous (it has
    none, and several rows have its e-mail).
    """
    named, alone = keys.wanted.where(fn.col("id").isNotNull()), keys.wanted.where(fn.col("id").isNull())
    # The e-mail of a customer who is in the run by its id is the one in the run.
    free = keys.held.where(fn.col("mail").isNotNull()).join(named.select("id"), "id", "left_anti")
    of_mail = free.groupBy("mail").agg(fn.count("*").alias("free"), fn.count("id").alias("named"), *_only_row("mail_"))
    with_id = _by_id(named, keys.held).join(_heirs(named, of_mail), "_row", "left")
    takes_over = fn.col("found").isNull() & fn.col("mail_target").isNotNull()
    only = fn.col("found") == 1
    columns = ("_row", "id", "mail", "new_key")
    of_named = with_id.select(
        *columns,
        fn.when(only, fn.col("id_target")).when(takes_over, fn.col("mail_target")).alias("target"),
        fn.when(only, _is_same("id_")).when(takes_over, _is_same("mail_")).otherwise(fn.lit(False)).alias("same"),
        *(takes_over.alias("by_mail"), fn.coalesce(fn.col("found") > 1, fn.lit(False)).alias("several")),
        fn.lit(False).alias("ambiguous"),
    )
    only = fn.coalesce(fn.col("free") == 1, fn.lit(False))
    of_alone = alone.join(of_mail, "mail", "left").select(
        *columns,
        fn.when(only, fn.col("mail_target")).alias("target"),
        fn.when(only, _is_same("mail_")).otherwise(fn.lit(False)).alias("same"),
        *(only.alias("by_mail"), fn.lit(False).alias("several")),
        fn.coalesce(fn.col("free") > 1, fn.lit(False)).alias("ambiguous"),
    )
    return of_named.unionByName(of_alone)


def _by_id(named: DataFrame, held: DataFrame) -> DataFrame:
    of_id = held.where(fn.col("id").isNotNull()).groupBy("id").agg(fn.count("*").alias("found"), *_only_row("id_"))
    return named.join(of_id, "id", "left")


def _heirs(named: DataFrame, of_mail: DataFrame) -> DataFrame:
    """Return the customers with an id who are the only ones with an e-mail, of which the table has one row, without an
    id: if their id is new, that row is theirs.
    """
    nameless = of_mail.where((fn.col("free") == 1) & (fn.col("named") == 0)).drop("free", "named")
    row = [name for name in nameless.columns if name != "mail"]
    claims = named.select("_row", "mail").join(nameless, "mail").groupBy("mail", *row)
    claimed = claims.agg(fn.count("*").alias("claims"), fn.min("_row").alias("_row"))
    return claimed.where(fn.col("claims") == 1).select("_row", *row)


def _only_row(prefix: str) -> list[Column]:
    """Return the values of the rows of a group, which are those of its row if there is only one."""
    return [fn.min(name).alias(f"{prefix}{name}") for name in ("target", "digest", "deleted")]


def _is_same(prefix: str) -> Column:
    return (fn.col("digest") == fn.col(f"{prefix}digest")) & ~fn.col(f"{prefix}deleted")
