"""BlackWalnut's customer: every documented field, both ways.

Source: https://blackwalnut.dev/docs/api/customers/. There are four fields that can be set; all else of a canonical
customer is one object `canon` within `metadata`. Licences hang on a customer and are no part of it.
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
        # A customer may have none; every canonical customer has one, and the e-mail stands in for it.
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
