"""BlackWalnut's customer: every documented field, for reading and writing.

Source: https://blackwalnut.dev/docs/api/customers/. Four fields can be set; all other canonical fields are kept in an
object `canon` within `metadata`. A customer's licences are separate records.
"""

from __future__ import annotations

import polars as pl

from tranship.schemas.provider import Field, Overflow, ProviderSchema

SCHEMA = ProviderSchema(
    provider="blackwalnut",
    title="BlackWalnut",
    fields=(
        Field("id", canonical="provider_id", settable=False, always_present=True, server_generated=True),
        Field("email", canonical="email", required=True, always_present=True),
        # A customer may have no name; a canonical customer must have one, so the e-mail is used instead.
        Field(
            "name",
            canonical="name",
            read=pl.when(pl.col("name").str.strip_chars() != "").then("name").otherwise("email"),
            write=pl.when(pl.col("name").ne_missing(pl.col("email"))).then("name"),
        ),
        Field("external_id", canonical="external_id"),
        Field("created_at", canonical="created_at", settable=False, server_generated=True),
    ),
    overflow=Overflow("metadata", "nested"),
)
