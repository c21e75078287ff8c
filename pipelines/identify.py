"""Identity: which records are the same customer, which of them survives, and the log of every merge.

Only keys decide. Hashes of external id and e-mail find the rows that may belong together, with a few bytes of memory
per record; only those rows are then compared by their real values.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

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


@dataclass(frozen=True)
class Identity:
    """The decisions about rows that share a key.

    `members` has row, customer (a name), rank (the survivor's is the highest) and owner (the customer's external id,
    null if it has none). `ambiguous` are rows whose e-mail fits several customers. `shared` are surviving rows of
    customers that share an e-mail, `alike` those of customers whose ids look alike, `conflicts` all rows that share an
    id with a different customer: source, line, code, value.
    """

    losers: pl.Series
    ambiguous: pl.Series
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
    """Return ids after NFKC and case folding: a person may take ids that are equal then for the same."""
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
    # For most hashes, the last bits are enough to see that they do not repeat.
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
    ranked = candidates.sort(*_order(survivor), nulls_last=False).with_row_index("rank")
    known = (
        ranked.filter(pl.col("external_id").is_not_null())
        .group_by("external_id", maintain_order=True)
        .agg(pl.col("email").last())
    )
    by_email = (
        known.filter(pl.col("email").is_not_null())
        .group_by("email")
        .agg(pl.col("external_id").first().alias("only"), pl.len().alias("customers"))
    )
    joined = ranked.join(by_email, on="email", how="left", maintain_order="left")
    alone = pl.col("external_id").is_null()
    is_ambiguous = alone & (pl.col("customers") > 1).fill_null(value=False)
    ambiguous = joined.filter(is_ambiguous)["row"]
    owner = pl.when(alone).then("only").otherwise("external_id")
    # Rows of a customer with an id are grouped by it, those of the others by e-mail.
    name = pl.coalesce(pl.concat_str(pl.lit("id:"), "owner"), pl.concat_str(pl.lit("email:"), "email"))
    members = joined.filter(~is_ambiguous).with_columns(owner=owner).with_columns(customer=name)
    best = members.group_by("customer").agg(pl.all().sort_by("rank").last())
    pairs = members.join(best, on="customer", suffix="_best", maintain_order="left")
    losing = pairs.filter(pl.col("row") != pl.col("row_best")).sort("row")
    by_id = pl.col("external_id").is_not_null() & pl.col("external_id_best").is_not_null()
    merges = losing.select(
        loser_source="source",
        loser_line="line",
        survivor_source="source_best",
        survivor_line="line_best",
        rule=pl.when(by_id).then(pl.lit("external_id")).otherwise(pl.lit("email")),
    )
    sharing = by_email.filter(pl.col("customers") > 1)
    shared = (
        known.join(sharing.select("email"), on="email", how="semi")
        .select(owner="external_id", value="email")
        .join(best, on="owner")
        .sort("row")
        .select("source", "line", pl.lit("email.shared").alias("code"), "value")
    )
    alike = (
        known.with_columns(look=look(known["external_id"]))
        .filter(pl.col("look").is_duplicated())
        .select(owner="external_id")
        .join(best, on="owner")
        .sort("row")
        .select("source", "line", pl.lit("external_id.lookalike").alias("code"), value="owner")
    )
    kept = members.select("row", "customer", "rank", "owner")
    return Identity(losing["row"], ambiguous, kept, merges, shared, alike, conflicts(ranked))


_ALIKE: Final[tuple[tuple[str, ...], ...]] = ((), ("mail",), ("name",), ("mail", "name"))


def conflicts(candidates: pl.DataFrame) -> pl.DataFrame:
    """Return the candidates that differ from another one of the same external id in both e-mail and name, if no time
    shows which of the two is newer: one has no time, or both have the same. A missing e-mail does not differ.
    """
    keyed = candidates.filter(pl.col("external_id").is_not_null() & pl.col("email").is_not_null())
    # Few ids have records with two e-mails; only those are compared in detail. Hashes compare faster than text.
    several = (
        keyed.select("external_id", mail=pl.col("email").hash())
        .group_by("external_id")
        .agg(pl.col("mail").min().alias("least"), pl.col("mail").max().alias("most"))
        .filter(pl.col("least") != pl.col("most"))
    )
    contested = keyed.join(several, on="external_id", how="semi").select(
        *("row", "source", "line", "updated_at"),
        id="external_id",
        mail="email",
        name=pl.col("name").str.to_lowercase().str.replace_all(r"\s+", ""),
    )

    def strangers(count: pl.Expr, *within: str) -> pl.Expr:
        """Count the records of the same id with another e-mail and another name: all except those that share either."""
        whole, mail, name, both = (count.over("id", *within, *alike) for alike in _ALIKE)
        return whole.cast(pl.Int64) - mail - name + both

    timeless = pl.col("updated_at").is_null()
    undecided = (
        pl.when(timeless)
        .then(strangers(pl.len()))
        .otherwise(strangers(timeless.sum()) + strangers(pl.len(), "updated_at"))
    )
    return (
        contested.filter(undecided > 0)
        .sort("row")
        .select("source", "line", pl.lit("external_id.conflict").alias("code"), value="id")
    )


def _order(survivor: SurvivorRule) -> list[pl.Expr]:
    """Return the sort order whose last record survives."""
    if survivor == "newest":
        return [pl.col("updated_at"), pl.col("row")]
    return [pl.col("row")] if survivor == "last" else [-pl.col("row").cast(pl.Int64)]


def rows_to_patch(identity: Identity, candidates: pl.DataFrame, *, fill: bool) -> pl.Series:
    """Return the rows needed as whole records: survivors that take over an external id, with `fill` all merged."""
    grouped = identity.members.filter(pl.col("customer").is_duplicated())
    if fill:
        return grouped["row"]
    best = grouped.group_by("customer").agg(pl.all().sort_by("rank").last())
    without = best.filter(pl.col("owner").is_not_null()).join(
        candidates.filter(pl.col("external_id").is_null()), on="row", how="semi"
    )
    return without["row"]


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
    filled = joined.group_by("customer", maintain_order=True).agg(
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
