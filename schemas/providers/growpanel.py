"""GrowPanel's raw customer (`/data/customers`): every documented field, for reading and writing.

Sources: https://api.growpanel.io/openapi.json, and https://growpanel.io/docs/rest-api/reference/data/customers for the
fields that only the older reference has (status, currency, paid_started, cancel_date, and those that cannot be set).
The maximum length of custom variables is not documented; the limits here are assumed.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from tranship.schemas.codes import STATUS_WORDS
from tranship.schemas.provider import Field, Overflow, ProviderSchema, Rule

_STATES: Final = {
    "US": (
        *("al", "ak", "az", "ar", "ca", "co", "ct", "de", "dc", "fl", "ga", "hi", "id", "il", "in", "ia", "ks", "ky"),
        *("la", "me", "md", "ma", "mi", "mn", "ms", "mo", "mt", "ne", "nv", "nh", "nj", "nm", "ny", "nc", "nd", "oh"),
        *("ok", "or", "pa", "ri", "sc", "sd", "tn", "tx", "ut", "vt", "va", "wa", "wv", "wi", "wy"),
        *("as", "gu", "mp", "pr", "vi"),
    ),
    "CA": ("ab", "bc", "mb", "nb", "nl", "ns", "nt", "nu", "on", "pe", "qc", "sk", "yt"),
}
"""Country → its subdivisions, in lower case (ISO 3166-2): states, district and territories of the United States;
provinces and territories of Canada."""


def _is_state(country: pl.Expr, state: pl.Expr) -> pl.Expr:
    """Return whether a lower-case state is a code of its upper-case country."""
    matches = [(country == code) & state.is_in(states) for code, states in _STATES.items()]
    return pl.any_horizontal(matches)


_LOWER_STATE: Final = pl.col("state").str.to_lowercase()

SCHEMA = ProviderSchema(
    provider="growpanel",
    title="GrowPanel",
    fields=(
        # The account's own id; there is no other.
        Field("id", canonical="external_id", required=True, always_present=True),
        # Name or e-mail is enough; a canonical customer must have a name, so the e-mail is used instead.
        Field(
            "name",
            canonical="name",
            read=pl.when(pl.col("name").str.strip_chars() != "").then("name").otherwise("email"),
            write=pl.when(pl.col("name").ne_missing(pl.col("email"))).then("name"),
        ),
        Field("email", canonical="email"),
        Field("created_date", canonical="created_at", required=True),
        # Codes are returned in both cases.
        Field("country", canonical="country", required=True, read=pl.col("country").str.to_uppercase()),
        Field(
            "state",
            canonical="state",
            read=pl.when(_is_state(pl.col("country").str.to_uppercase(), _LOWER_STATE))
            .then(pl.col("state").str.to_uppercase())
            .otherwise("state"),
            write=pl.when(_is_state(pl.col("country"), _LOWER_STATE)).then(_LOWER_STATE),
        ),
        Field("trial_started", canonical="trial_started"),
        # The next four are derived from invoices if an account has any, so another value may be returned.
        Field("paid_started", canonical="paid_started", server_generated=True),
        Field("cancel_date", canonical="cancel_date", server_generated=True),
        Field(
            "status",
            canonical="status",
            server_generated=True,
            # Documented: lead, trialing, active, past_due, canceled, trial_ended, paused; trial in the older reference.
            # An unknown status is left unchanged, to be reported.
            read=pl.col("status").replace(STATUS_WORDS),
            write=pl.when((pl.col("status") == "inactive") & pl.col("cancel_date").is_not_null())
            .then(pl.lit("canceled"))
            .otherwise(
                pl.col("status").replace(
                    {"trial": "trialing", "cancelled": "canceled", "inactive": "lead", "suspended": "past_due"}
                )
            ),
        ),
        Field(
            "currency",
            canonical="currency",
            server_generated=True,
            read=pl.col("currency").str.to_uppercase(),
            write=pl.col("currency").str.to_lowercase(),
        ),
        # Part of the address: only customers of that data source are read and written.
        Field("data_source", from_address=True),
        Field("trial_end_date", settable=False),
        Field("overdue_date", settable=False),
        Field("cancel_reason", settable=False),
        Field("current_mrr", "object", settable=False),
    ),
    overflow=Overflow("custom_variables", "texts", max_key_length=255, max_value_length=1000),
    reads={"provider_id": pl.col("id")},
    rules=(
        Rule(
            "name",
            "missing",
            "GrowPanel requires a name or an e-mail",
            pl.col("name").is_not_null() | pl.col("email").is_not_null(),
        ),
    ),
    partial={"state": "codes of the United States and Canada"},
)
