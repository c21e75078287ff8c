"""Metronome's customer: every documented field, both ways.

Source: https://docs.metronome.com/api-reference/customers/list-customers and
https://docs.metronome.com/api-reference/customers/create-or-update-customer-ingest-aliases. There is no e-mail, phone,
address, currency, tax, terms or status: all that is custom fields, text of at most 200 characters under keys that must
be registered first. Billing configurations are no part of a customer that is read: they are asked for one by one.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from tranship.schemas.provider import Field, Overflow, ProviderSchema, quoted, texts

NAME_LENGTH: Final = 160
"""A longer name is cut without a word, so it is cut here and kept whole beside it."""
ALIAS_LENGTH: Final = 128
ALIASES: Final = 2000
"""Of one customer."""
KEY_LENGTH: Final = 100
VALUE_LENGTH: Final = 200
"""Of a custom field."""

_NO_CONFIG: Final = '{"salesforce_account_id":null}'
_CONFIG: Final = r'^\{"salesforce_account_id":"(?:[^"\\]|\\.)+"\}$'


def _aliases() -> pl.Expr:
    """The external id, then the other ids: each once, as many as fit. Nothing without an external id, for the first
    alias is read as one.
    """
    fits = pl.element().str.len_chars().is_between(1, ALIAS_LENGTH)
    several = pl.concat_list("external_id", texts("aliases").list.filter(fits).fill_null([]))
    external_id_fits = pl.col("external_id").str.len_chars().is_between(1, ALIAS_LENGTH)
    return pl.when(external_id_fits).then(quoted(several.list.unique(maintain_order=True).list.head(ALIASES)))


def _external_id() -> pl.Expr:
    """The first alias. The deprecated field says the same, and the customer's own id where there is no alias."""
    said = pl.when(pl.col("external_id") != pl.col("id")).then("external_id")
    return pl.coalesce(texts("ingest_aliases").list.first(), said)


def _other_ids() -> pl.Expr:
    others = texts("ingest_aliases").list.slice(1)
    return pl.when(others.list.len() > 0).then(quoted(others))


_ARCHIVED: Final = pl.when(pl.col("archived_at").is_not_null()).then(pl.lit("cancelled"))

SCHEMA: Final = ProviderSchema(
    provider="metronome",
    title="Metronome",
    fields=(
        Field("id", canonical="provider_id", settable=False, always_present=True, server_generated=True),
        Field("external_id", settable=False, derived="ingest_aliases, or id where there are none"),
        Field("ingest_aliases", "texts", always_present=True, derived="external_id and aliases", write=_aliases()),
        Field("name", canonical="name", required=True, always_present=True, write=pl.col("name").str.head(NAME_LENGTH)),
        Field(
            "customer_config",
            "object",
            default=_NO_CONFIG,
            # Not in the vendor's client, but posted by its own instructions: no other account id than text is taken.
            write=pl.when(pl.col("metronome.customer_config").str.contains(_CONFIG)).then("metronome.customer_config"),
        ),
        Field("created_at", canonical="created_at", settable=False, server_generated=True),
        Field("updated_at", canonical="updated_at", settable=False, server_generated=True),
        Field(
            "archived_at", settable=False, why="a customer is archived by a call of its own, which nothing takes back"
        ),
        # Only some accounts have it.
        Field("current_billable_status", "object", settable=False, why="Metronome derives it"),
    ),
    overflow=Overflow("custom_fields", "texts", max_key_length=KEY_LENGTH, max_value_length=VALUE_LENGTH),
    reads={
        "external_id": _external_id(),
        "aliases": _other_ids(),
        "status": pl.coalesce(_ARCHIVED, pl.lit("active")),
    },
    # Archiving cannot be undone: whatever was said before, this customer is gone.
    overrides={"status": _ARCHIVED},
    partial={
        "external_id": f"ids of at most {ALIAS_LENGTH} characters",
        "aliases": f"beside an external id, {ALIASES:,} in all, of at most {ALIAS_LENGTH} characters",
        "name": f"the first {NAME_LENGTH} characters",
    },
)
