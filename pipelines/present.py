"""The keys of records that were read and are not among the survivors: mirror must not delete these customers."""

from __future__ import annotations

from typing import Final

import polars as pl

from tranship.connectors.contract import Batch
from tranship.pipelines.normalise.batch import Normalised
from tranship.schemas.constant import constant

PRESENT = {
    **{"source": pl.String, "line": pl.UInt64, "external_id": pl.String, "email": pl.String},
    **{"id_unusable": pl.Boolean, "email_unusable": pl.Boolean},
}
"""The normalised keys of a record, null where there is none that identifies a customer, and whether it had a key that
cannot be used. A record without any key could be any customer."""
_NOTHING: Final = pl.DataFrame(schema=PRESENT)


def keys_of(batch: Batch, normalised: Normalised, reasons: pl.DataFrame, at: pl.Series) -> pl.DataFrame:
    """Return the keys (`PRESENT`) of the records at these positions of a batch; `reasons` are the reasons to reject
    them."""
    id_unusable, email_unusable = (
        at.is_in(reasons.filter(pl.col("code").str.starts_with(f"{field}."))["at"].implode())
        for field in ("external_id", "email")
    )
    ids, emails = normalised.records["external_id"].gather(at), normalised.records["email"].gather(at)
    return pl.DataFrame(
        {
            "source": constant(batch.source, len(at), pl.String),
            "line": batch.lines.gather(at),
            "external_id": ids.set(id_unusable, None),
            "email": emails.set(email_unusable | normalised.email_blocked.gather(at), None),
            "id_unusable": id_unusable,
            "email_unusable": email_unusable,
        }
    )


def keys_of_rejects(batch: Batch, normalised: Normalised | None, reasons: pl.DataFrame) -> pl.DataFrame:
    """Return the keys (`PRESENT`) of rejected records and broken lines, which have none. A repeated header line is not
    a record.
    """
    if reasons.is_empty() and batch.broken.is_empty():
        return _NOTHING
    lines = batch.broken.filter(pl.col("code") != "line.header")
    broken = lines.select(
        pl.lit(batch.source).alias("source"),
        "line",
        *(pl.lit(None, pl.String).alias(name) for name in ("external_id", "email")),
        *(pl.lit(value=False).alias(name) for name in ("id_unusable", "email_unusable")),
    )
    if normalised is None or reasons.is_empty():
        return broken
    keys = keys_of(batch, normalised, reasons, reasons["at"].unique(maintain_order=True))
    return pl.concat([keys, broken.select(PRESENT.keys())])
