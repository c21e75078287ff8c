"""Identity: which records are the same customer, which of them survives, and the log of every merge.

Only keys decide. Hashes of external id and e-mail find the rows that may belong together, with a few bytes of memory
per record; only those rows are then compared by their real values.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from msgspec import Struct

from tranship.schemas.customer import ADDRESS, COLUMNS

SurvivorRule = Literal["newest", "first", "last"]

MERGES = {
    "loser_source": pl.String,
    "loser_line": pl.UInt64,
    "survivor_source": pl.String,
    "survivor_line": pl.UInt64,
    "rule": pl.String,
}
"""A merge: the places of loser and survivor, and the key they share (external_id, email)."""


class Groups(Struct, frozen=True):
    """Which rows are one customer.

    `members` has row, survivor (the row that survives of its customer), rank (that of the survivor is the highest) and
    owner (the external id of the customer, null if it has none). `ambiguous` are rows whose e-mail fits several
    customers, `known` the newest rows of each external id with survivor and external_id, and `shared` those of them
    whose e-mail several customers have.
    """

    members: pl.DataFrame
    ambiguous: pl.Series
    known: pl.DataFrame
    shared: pl.Series


class Identity(Struct, frozen=True):
    """The decisions about rows that share a key.

    `members` has row, survivor, rank, owner, and has_id (whether the row has an external id). `ambiguous` are rows
    whose e-mail fits several customers: row, source, line, external_id, email. `shared` are surviving rows of customers
    that share an e-mail, `alike` those of customers whose ids look alike, `conflicts` all rows that share an id with a
    different customer: source, line, code, value. All are in the order of reading, except members.
    """

    losers: pl.Series
    ambiguous: pl.DataFrame
    members: pl.DataFrame
    merges: pl.DataFrame
    shared: pl.DataFrame
    alike: pl.DataFrame
    conflicts: pl.DataFrame


def rows_to_look_at(keys: Iterable[pl.DataFrame]) -> pl.Series:
    """Return the rows whose external id or e-mail occurs more than once, or whose external id looks like another one,
    by hash. `keys` are `Stage.keys`.
    """
    rows, ids, mails = [], [], []
    for frame in keys:
        rows.append(frame["_row"].to_numpy())
        ids.append(_looks(frame["external_id"]))
        mails.append(_hashes(frame["email"]))
    if not rows:
        return pl.Series([], dtype=pl.UInt64)
    repeated = _repeated(ids)
    repeated |= _repeated(mails)
    return pl.Series(np.concatenate(rows)[repeated], dtype=pl.UInt64)


_FOLDS: Final = r"[A-Z]|[^\x00-\x7f]"


def _looks(ids: pl.Series) -> Hashes:
    """Return hashes of the looks of ids: equal for equal ids, too."""
    looks = _hashes(ids)
    at = ids.str.contains(_FOLDS).arg_true()
    looks[at.to_numpy()] = _hashes(look(ids.gather(at)))
    return looks


def look(ids: pl.Series) -> pl.Series:
    """Return ids after NFKC and case folding: ids that are equal in this form look the same to a person."""
    lower = ids.str.to_lowercase()
    # Characters beyond ASCII have more than one byte; counting both is quicker than a pattern.
    at = (ids.str.len_bytes() != ids.str.len_chars()).arg_true()
    if at.is_empty():
        return lower
    plain = ids.gather(at).str.normalize("NFKC").str.to_lowercase()
    # Case folding differs from lower case in these characters.
    plain = plain.str.replace_all("ß", "ss", literal=True).str.replace_all("ς", "σ", literal=True).str.normalize("NFKC")
    return lower.scatter(at, plain)


Hashes = npt.NDArray[np.uint64]


def _hashes(values: pl.Series) -> Hashes:
    """Return 64-bit hashes, 0 for null."""
    hashed = values.hash(seed=0x7261).to_numpy().copy()
    hashed[values.is_null().to_numpy()] = 0
    return hashed


_TABLE_SIZE: Final = 1 << 20


def _repeated(parts: list[Hashes]) -> npt.NDArray[np.bool_]:
    """Return where a hash other than 0 occurs more than once. Empties `parts`, to free their memory."""
    whole = np.concatenate(parts)
    parts.clear()
    mask = np.zeros(len(whole), bool)
    # Sorting is much faster than finding the order, so repeated values are searched for afterwards.
    ordered = np.sort(whole)
    again = ordered[1:][(ordered[1:] == ordered[:-1]) & (ordered[1:] != 0)]
    del ordered  # 80 MB for ten million records
    if not len(again):
        return mask
    # For most hashes, the last bits are enough to show that they do not repeat.
    last_bits = np.uint64(_TABLE_SIZE - 1)
    table = np.zeros(_TABLE_SIZE, bool)
    table[again & last_bits] = True
    at = np.flatnonzero(table[whole & last_bits])
    found = np.minimum(np.searchsorted(again, whole[at]), len(again) - 1)
    mask[at] = again[found] == whole[at]
    return mask


def decide(candidates: pl.DataFrame, survivor: SurvivorRule) -> Identity:
    """Group the candidates into customers (`Stage.candidates`), by the rules of identity:

    1. The same external id is the same customer; its e-mail is that of its newest record.
    2. A record without one belongs to the customer with its e-mail, if there is exactly one; with several it is
       ambiguous.
    3. Records without one that share an e-mail are one customer.
    4. Different external ids that share an e-mail are different customers, and so are those that only look alike.
    """
    groups = group(candidates, survivor)
    places = candidates.select("row", "source", "line", has_id=pl.col("external_id").is_not_null())
    members = groups.members.join(places.select("row", "has_id"), on="row", how="left", maintain_order="left")
    losing = members.filter(pl.col("row") != pl.col("survivor")).sort("row").select("row", "survivor")
    merges = (
        losing.join(places, on="row", how="left", maintain_order="left")
        .join(places, left_on="survivor", right_on="row", how="left", suffix="_survivor", maintain_order="left")
        .select(
            loser_source="source",
            loser_line="line",
            survivor_source="source_survivor",
            survivor_line="line_survivor",
            rule=merge_rule(pl.col("has_id") & pl.col("has_id_survivor")),
        )
    )
    alike = groups.known.filter(look(groups.known["external_id"]).is_duplicated()).select(
        row="survivor", value="external_id"
    )
    return Identity(
        losing["row"],
        of_rows(candidates, groups.ambiguous).select(AMBIGUOUS),
        members,
        merges,
        warnings("email.shared", of_rows(candidates, groups.shared).with_columns(value="email")),
        warnings("external_id.lookalike", alike.join(places, on="row").sort("row")),
        conflicts(candidates),
    )


AMBIGUOUS: Final = ("row", "source", "line", "external_id", "email")


def merge_rule(by_id: pl.Expr) -> pl.Expr:
    """Return the key that loser and survivor of a merge share."""
    return pl.when(by_id).then(pl.lit("external_id")).otherwise(pl.lit("email"))


def warnings(code: str, found: pl.DataFrame) -> pl.DataFrame:
    """Return warnings of this code about records with source, line and value."""
    return found.select("source", "line", pl.lit(code).alias("code"), "value")


def of_rows(candidates: pl.DataFrame, rows: pl.Series) -> pl.DataFrame:
    """Return these rows of the candidates, in the order of reading."""
    return candidates.filter(pl.col("row").is_in(rows.implode())).sort("row")


def group(keys: pl.DataFrame, survivor: SurvivorRule) -> Groups:
    """Group rows into customers by the rules of `decide`. `keys` has row, external_id, email and updated_at."""
    ranked = keys.select("row", "external_id", "email", "updated_at").sort(order(survivor), nulls_last=False)
    ranked = ranked.with_row_index("rank").drop("updated_at")
    has_id = pl.col("external_id").is_not_null()
    identified = ranked.filter(has_id).with_columns(known=pl.col("row").last().over("external_id"))
    known = identified.filter(pl.col("row") == pl.col("known")).with_columns(customers=pl.len().over("email"))
    reachable = known.filter(pl.col("email").is_not_null())
    customers = reachable.unique("email", keep="any").select(
        "email", "known", "customers", owner="external_id", known_rank="rank"
    )
    alone = (
        ranked.filter(~has_id)
        .with_columns(newest=pl.col("row").last().over("email"), newest_rank=pl.col("rank").last().over("email"))
        .join(customers, on="email", how="left")
    )
    is_ambiguous = pl.col("customers").fill_null(0) > 1
    fitting = alone.filter(~is_ambiguous).with_columns(
        survivor=pl.when(pl.col("known_rank") > pl.col("newest_rank")).then("known").otherwise("newest")
    )
    succeeded = fitting.filter(pl.col("known").is_not_null() & (pl.col("row") == pl.col("survivor")))
    identified = identified.join(succeeded.select("known", "survivor"), on="known", how="left").with_columns(
        survivor=pl.coalesce("survivor", "known"), owner="external_id"
    )
    columns = ("row", "survivor", "rank", "owner")
    return Groups(
        pl.concat([identified.select(columns), fitting.select(columns)]),
        alone.filter(is_ambiguous)["row"],
        identified.filter(pl.col("row") == pl.col("known")).select("row", "survivor", "external_id"),
        reachable.filter(pl.col("customers") > 1)["row"],
    )


CONFLICT: Final = "external_id.conflict"
_ALIKE: Final[tuple[tuple[str, ...], ...]] = ((), ("mail",), ("name",), ("mail", "name"))


def contested_of(candidates: pl.DataFrame, customer: pl.Expr) -> pl.DataFrame:
    """Return the columns by which conflicts are found: row, id, updated_at, and hashes of mail and name. A record
    without an e-mail is in no conflict. Within one id, equal hashes are taken for equal values.
    """
    return candidates.filter(pl.col("external_id").is_not_null() & pl.col("email").is_not_null()).select(
        "row",
        customer.alias("id"),
        "updated_at",
        mail=pl.col("email").hash(),
        name=pl.col("name").str.to_lowercase().str.replace_all(r"\s+", "").hash(),
    )


def conflicts(candidates: pl.DataFrame) -> pl.DataFrame:
    """Return warnings about the candidates that `strangers` finds."""
    return warnings(CONFLICT, conflicting(candidates).with_columns(value="external_id"))


def conflicting(candidates: pl.DataFrame) -> pl.DataFrame:
    """Return the candidates that `strangers` finds, in the order of reading."""
    # Few ids have records with two e-mails; only those are compared in detail.
    keyed = candidates.filter(pl.col("external_id").is_not_null() & pl.col("email").is_not_null())
    mail = keyed.select("external_id", mail=pl.col("email").hash())
    several = (mail["mail"] != mail.select(pl.col("mail").first().over("external_id"))["mail"]).arg_true()
    ids = keyed["external_id"].gather(several).unique()
    contested = keyed.filter(pl.col("external_id").is_in(ids.implode()))
    found = strangers(contested_of(contested, pl.col("external_id")))
    return of_rows(candidates, found)


def strangers(contested: pl.DataFrame) -> pl.Series:
    """Return the rows of records (`contested_of`) that differ from another record of the same external id in both
    e-mail and name, if `updated_at` does not show which of the two is newer: one has none, or both have the same.
    """

    def others(count: pl.Expr, *within: str) -> pl.Expr:
        """Count the records of the same id with both another e-mail and another name: all except those that share
        either."""
        whole, mail, name, both = (count.over("id", *within, *alike) for alike in _ALIKE)
        return whole.cast(pl.Int64) - mail - name + both

    timeless = pl.col("updated_at").is_null()
    undecided = (
        pl.when(timeless).then(others(pl.len())).otherwise(others(timeless.sum()) + others(pl.len(), "updated_at"))
    )
    return contested.filter(undecided > 0)["row"]


def order(survivor: SurvivorRule) -> list[pl.Expr]:
    """Return the sort order whose last record survives."""
    if survivor == "newest":
        return [pl.col("updated_at"), pl.col("row")]
    return [pl.col("row")] if survivor == "last" else [-pl.col("row").cast(pl.Int64)]


def rows_to_patch(identity: Identity, *, fill: bool) -> pl.Series:
    """Return the rows needed as whole records: survivors that take over an external id, with `fill` all merged."""
    members = identity.members
    if fill:
        return members.filter(pl.col("survivor").is_duplicated())["row"]
    heirs = (pl.col("row") == pl.col("survivor")) & pl.col("owner").is_not_null() & ~pl.col("has_id")
    return members.filter(heirs)["row"]


def givers(records: pl.DataFrame, identity: Identity) -> pl.DataFrame:
    """Return those of the records that `patched` takes something from with `fill`: the newest of each customer, and for
    each field the newest that has a value.
    """
    ranked = records.join(identity.members.select("row", "survivor", "rank"), left_on="_row", right_on="row")
    apart = [[name] for name in COLUMNS if name not in ADDRESS]
    newest = ranked.group_by("survivor").agg(
        pl.col("rank").max(),
        *(
            pl.col("rank").filter(pl.any_horizontal(pl.col(names).is_not_null())).max().alias(f"rank of {names[0]}")
            for names in (*apart, [*ADDRESS])
        ),
    )
    wanted = newest.drop("survivor").unpivot().select("value").drop_nulls()["value"].unique()
    return ranked.filter(pl.col("rank").is_in(wanted.implode())).select(records.columns)


def patched(records: pl.DataFrame, members: pl.DataFrame, *, fill: bool) -> pl.DataFrame:
    """Return survivors of these `members` (`Identity`) after taking over their customer's external id and, with `fill`,
    missing values from the next newest record. Address fields are filled together, from one record, if the survivor has
    none of them; so are the e-mail and whether it is blocked.
    """
    joined = records.join(members, left_on="_row", right_on="row").sort("rank")
    if not fill:
        return joined.with_columns(external_id=pl.coalesce("external_id", "owner")).select(records.columns)
    apart = [name for name in records.columns if name not in (*ADDRESS, "email", "_email_blocked")]
    places = [name for name in apart if name not in COLUMNS]
    filled = joined.group_by("survivor", maintain_order=True).agg(
        *(pl.col(name).last() for name in places),
        *(pl.col(name).drop_nulls().last() for name in apart if name in COLUMNS),
        pl.struct(ADDRESS).filter(pl.any_horizontal(pl.col(ADDRESS).is_not_null())).last().alias("_address"),
        pl.struct("email", "_email_blocked").filter(pl.col("email").is_not_null()).last().alias("_mail"),
        pl.col("owner").last(),
    )
    return (
        filled.unnest("_address", "_mail")
        .with_columns(
            external_id=pl.coalesce("external_id", "owner"),
            _email_blocked=pl.col("_email_blocked").fill_null(value=False),
        )
        .select(records.columns)
    )
