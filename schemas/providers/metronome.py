"""Metronome's customer: every documented field, for reading and writing.

Sources: https://docs.metronome.com/api-reference/customers/list-customers,
https://docs.metronome.com/api-reference/customers/create-or-update-customer-ingest-aliases. There are no fields for
e-mail, phone, address, currency, tax, terms or status: these are kept in custom fields, text of at most 200 characters
under keys that must be registered first. Billing configurations are not part of a customer's record, and are not read.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from tranship.schemas.provider import Field, Overflow, ProviderSchema, quoted, texts

NAME_LENGTH: Final = 160
"""Maximum characters of a name. Metronome cuts a longer one silently, so it is cut here, and kept in a custom field."""
ALIAS_LENGTH: Final = 128
"""Maximum characters of an ingest alias."""
ALIASES: Final = 2000
"""Maximum ingest aliases of a customer."""
KEY_LENGTH: Final = 100
"""Maximum characters of a custom field's key."""
VALUE_LENGTH: Final = 200
"""Maximum characters of a custom field's value."""

_NO_CONFIG: Final = '{"salesforce_account_id":null}'
_CONFIG: Final = r'^\{"salesforce_account_id":"(?:[^"\\]|\\.)+"\}$'


def _aliases() -> pl.Expr:
    """Return the external id and the other ids as a JSON array, each once, as many as are allowed. Null without an
    external id, because the first alias is read as the external id.
    """
    fits = pl.element().str.len_chars().is_between(1, ALIAS_LENGTH)
    all_ids = pl.concat_list("external_id", texts("aliases").list.filter(fits).fill_null([]))
    external_id_fits = pl.col("external_id").str.len_chars().is_between(1, ALIAS_LENGTH)
    return pl.when(external_id_fits).then(quoted(all_ids.list.unique(maintain_order=True).list.head(ALIASES)))


def _external_id() -> pl.Expr:
    """Return the first alias. The deprecated `external_id` repeats it, or the customer's own id without aliases."""
    deprecated = pl.when(pl.col("external_id") != pl.col("id")).then("external_id")
    return pl.coalesce(texts("ingest_aliases").list.first(), deprecated)


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
            # Not in the vendor's client, but used in its documentation, where the account id is always text.
            write=pl.when(pl.col("metronome.customer_config").str.contains(_CONFIG)).then("metronome.customer_config"),
        ),
        Field("created_at", canonical="created_at", settable=False, server_generated=True),
        Field("updated_at", canonical="updated_at", settable=False, server_generated=True),
        Field("archived_at", settable=False, why="a customer is archived by a separate call, which cannot be undone"),
        # Only in some accounts.
        Field("current_billable_status", "object", settable=False, why="Metronome derives it"),
    ),
    overflow=Overflow("custom_fields", "texts", max_key_length=KEY_LENGTH, max_value_length=VALUE_LENGTH),
    reads={
        "external_id": _external_id(),
        "aliases": _other_ids(),
        "status": pl.coalesce(_ARCHIVED, pl.lit("active")),
    },
    # Archiving cannot be undone, so it takes precedence over an earlier status in the overflow.
    overrides={"status": _ARCHIVED},
    partial={
        "external_id": f"ids of at most {ALIAS_LENGTH} characters",
        "aliases": f"beside an external id, {ALIASES:,} in all, of at most {ALIAS_LENGTH} characters",
        "name": f"the first {NAME_LENGTH} characters",
    },
)
