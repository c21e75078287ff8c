"""Reason codes of rejects and warnings, and the shape of their frames.

A code reads `<field>.<fault>`. Codes are stable: scripts may count on them.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from tranship.schemas.customer import COLUMNS, INSTANTS

REASONS: Final = {"at": pl.UInt32, "code": pl.String, "value": pl.String}
"""Why records of one batch are rejected or warned: position in the batch, code, value at fault (null if none)."""

BROKEN: Final = {"line": pl.UInt64, "code": pl.String, "detail": pl.String, "text": pl.String}
"""Lines no record could be made of: first line in the file, code, what was seen, the line as it stood."""

# What each fault means, as a person reads it behind the field's name.
_FAULTS: Final = {
    "missing": "is missing",
    "syntax": "is not well formed",
    "unknown": "is not a known value",
    "unreadable": "could not be read",
    "ambiguous": "could be read in two ways",
    "range": "is out of range",
    "too_long": "is too long",
    "control": "holds a control character",
    "spreadsheet": "has lost its last digits in a spreadsheet",
}

_DATE_FORMS = (
    "an ISO 8601 date or date-time, epoch seconds or milliseconds, or a form named with --date-format; "
    "a zone is an offset, or a name that means one only"
)

RULES: Final[dict[str, str]] = {
    "external_id.too_long": "at most 255 characters",
    "external_id.control": "no control characters",
    "external_id.spreadsheet": "1.23457E+12 may be many ids; export the column as text, or as a whole number",
    "email.syntax": "a mailbox such as jane@acme.com",
    "email.too_long": "at most 254 characters",
    "name.missing": "every customer has a name",
    "name.too_long": "at most 255 characters",
    "customer_type.unknown": "BUSINESS or INDIVIDUAL",
    "country.unknown": "an ISO 3166-1 code or an English country name",
    "currency.unknown": "an ISO 4217 code",
    "timezone.unknown": "an IANA time zone such as Europe/Berlin",
    "language.syntax": "a BCP 47 tag such as en or pt-BR",
    "status.unknown": "active, trial, inactive, suspended, cancelled, or a synonym the README lists",
    "net_terms.unreadable": "a whole number of days",
    "net_terms.range": "0 to 3650 days",
    **{f"{field}.unreadable": _DATE_FORMS for field in INSTANTS},
    **{f"{field}.ambiguous": "name the form with --date-format" for field in INSTANTS},
    **{f"{field}.range": "years 1900 to 2199" for field in INSTANTS},
    "billing_contact_email.syntax": "a mailbox such as jane@acme.com",
    "billing_contact_email.too_long": "at most 254 characters",
    "invoice_cc_emails.unreadable": "a JSON array of text, or values separated by ;",
    "invoice_cc_emails.syntax": "each a mailbox such as jane@acme.com",
    "aliases.unreadable": "a JSON array of text, or values separated by ;",
    "aliases.spreadsheet": "1.23457E+12 may be many ids; export the column as text, or as a whole number",
    "metadata.syntax": "a JSON object",
    "identity.missing": "neither an external id nor an e-mail that can identify the customer; a line of totals is none",
    "identity.ambiguous_email": "several customers have this e-mail; give the record its external id",
    "line.too_few_columns": "the line has fewer columns than the header",
    "line.too_many_columns": "the line has more columns than the header",
    "line.header": "the line repeats the header, as in files that were joined",
    "line.quote": "a quote that opens a value is not closed before the next delimiter",
    "record.shape": "the provider's answer breaks its own schema",
    "line.encoding": "bytes that are not of the file's encoding; name another with --encoding",
    **{
        f"{field}.too_long": "at most 255 characters"
        for field in ("legal_name", "address_line1", "address_line2", "city", "state", "zip_code")
    },
    "billing_contact_name.too_long": "at most 255 characters",
}
"""Every reject code and the rule behind it, as the reasons of a reject quote it."""

WARNINGS: Final[dict[str, str]] = {
    "phone.unreadable": "kept as given: no number could be read from it",
    "email.blocked": "this e-mail belongs to nobody and matches no customer",
    "external_id.blocked": "this id is a place-holder; the record has none",
    "external_id.lookalike": "another customer's id differs only in case, width or the like; both were loaded",
    "external_id.conflict": "a record of another e-mail and name has the same id, and no time says which is newer",
    "email.shared": "customers with different external ids have this e-mail; all were loaded",
}
"""Every warning code: the value loads, and should be looked at."""


def sentence(code: str) -> str:
    """What a code says, without the value: `country is not a known value: an ISO 3166-1 code …`."""
    if code in WARNINGS:
        return WARNINGS[code]
    field, fault = code.split(".", 1)
    return f"{field} {_FAULTS[fault]}: {RULES[code]}" if field in COLUMNS else RULES[code]


def no_reasons() -> pl.DataFrame:
    """An empty frame of reasons."""
    return pl.DataFrame(schema=REASONS)


def reasons(at: pl.Series, code: str, value: pl.Series | None = None) -> pl.DataFrame:
    """Reasons with one code for the records at these positions; `value` runs parallel to `at`."""
    return pl.DataFrame(
        {
            "at": at.cast(pl.UInt32),
            "code": pl.repeat(code, len(at), dtype=pl.String, eager=True),
            "value": pl.repeat(None, len(at), dtype=pl.String, eager=True) if value is None else value.cast(pl.String),
        },
        schema=REASONS,
    )
