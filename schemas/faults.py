"""Reason codes of rejects and warnings, and the shape of their frames.

A code has the form `<field>.<fault>`. Codes are stable: scripts may rely on them.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from tranship.schemas.constant import constant
from tranship.schemas.customer import COLUMNS, INSTANTS

REASONS: Final = {"at": pl.UInt32, "code": pl.String, "value": pl.String}
"""Reasons for rejects and warnings of one batch: position in the batch, code, offending value (null if none)."""

BROKEN: Final = {"line": pl.UInt64, "code": pl.String, "detail": pl.String, "text": pl.String}
"""Lines that are not records: first line in the file, code, detail, the original text."""

# The text of each fault, which follows the field's name. "unknown" precedes it, see `sentence`.
_FAULTS: Final = {
    "missing": "is missing",
    "syntax": "is malformed",
    "unreadable": "cannot be parsed",
    "ambiguous": "is ambiguous",
    "range": "is out of range",
    "not_text": "is not text",
    "flag": "is a word for yes or no, or a number",
    "key": "may be the key of a payment term",
    "too_long": "is too long",
    "control": "contains a control character",
    "spreadsheet": "has lost its last digits in a spreadsheet",
}

_DATE_FORMATS = (
    "use ISO 8601, or epoch seconds or milliseconds, or give its format, such as --date-format %m/%d/%Y; "
    "a time zone must be an offset or an unambiguous name"
)

_SEVERAL = "several addresses: the first is used, the others are added to invoice_cc_emails"

RULES: Final[dict[str, str]] = {
    "external_id.too_long": "at most 255 characters",
    "external_id.control": "no control characters",
    "external_id.spreadsheet": "1.23457E+12 could be any of many ids; export the column as text or as whole numbers",
    "external_id.not_text": "one id is needed, not true, false, a list or an object",
    "email.syntax": "use an address such as jane@example.com",
    "email.too_long": "at most 254 characters",
    "name.missing": "every customer needs a name",
    "name.not_text": "one name is needed, not true, false, a list or an object",
    "name.flag": "a column called customer may be a flag; map the column of names: --map name=COLUMN",
    "name.too_long": "at most 255 characters",
    "customer_type.unknown": "use BUSINESS or INDIVIDUAL, or give the word a meaning: "
    "--value customer_type:WORD=BUSINESS",
    "country.unknown": "use an ISO 3166-1 code or a country name, or give the word a meaning: "
    "--value country:WORD=CODE",
    "currency.unknown": "use an ISO 4217 code, or give the word a meaning: --value currency:WORD=CODE",
    "timezone.unknown": "use an IANA time zone such as Europe/Berlin",
    "language.syntax": "use a BCP 47 tag such as en or pt-BR",
    "status.unknown": "use active, trial, inactive, suspended or cancelled, a synonym (tranship explain "
    "status.unknown), or give the word a meaning: --value status:WORD=active",
    "net_terms.unreadable": "use a whole number of days",
    "net_terms.key": "if the column contains numbers of days, map it: --map net_terms=COLUMN",
    "net_terms.range": "use 0 to 3650 days",
    **{f"{field}.unreadable": _DATE_FORMATS for field in INSTANTS},
    **{f"{field}.ambiguous": "give its format, such as --date-format %d/%m/%Y or %d.%m.%Y" for field in INSTANTS},
    **{f"{field}.range": "use years 1900 to 2199" for field in INSTANTS},
    "billing_contact_email.syntax": "use an address such as jane@example.com",
    "billing_contact_email.too_long": "at most 254 characters",
    "invoice_cc_emails.unreadable": "use a JSON array of strings, or values separated by ;",
    "invoice_cc_emails.syntax": "use addresses such as jane@example.com",
    "aliases.unreadable": "use a JSON array of strings, or values separated by ;",
    "aliases.spreadsheet": "1.23457E+12 could be any of many ids; export the column as text or as whole numbers",
    "metadata.syntax": "use a JSON object",
    "identity.missing": "no external id and no e-mail that identifies a customer; a line of totals is not a customer",
    "identity.ambiguous_email": "several customers have this e-mail; set the external id of the record",
    "line.too_few_columns": "the line has fewer columns than the header",
    "line.too_many_columns": "the line has more columns than the header",
    "line.header": "the line repeats the header, as in concatenated files",
    "line.quote": "the closing quote of a value is missing before the next delimiter",
    "line.json": "the line or record is not a valid JSON object",
    "line.key": "a key occurs twice in one object, so that its value is ambiguous",
    "record.shape": "the record violates the provider's own schema",
    "line.encoding": "bytes that are invalid in the file's encoding; set the encoding: --encoding",
    **{
        f"{field}.too_long": "at most 255 characters"
        for field in ("legal_name", "address_line1", "address_line2", "city", "state", "zip_code")
    },
    "billing_contact_name.too_long": "at most 255 characters",
}
"""Reject code → the rule that was broken, as quoted in the reasons of a reject."""

WARNINGS: Final[dict[str, str]] = {
    "phone.unreadable": "not recognised as a phone number; kept unchanged",
    "record.deleted_flag": "the source marks this record as deleted, archived or disabled; it was loaded. To leave out "
    "such records, with the name of the column: --where 'IsDeleted is not true', 'Active is not false' or "
    "'deleted_at is null'",
    "state.status": "the status of an account, not a place; left out. If it is the customer's: --map status=COLUMN",
    "phone.shortened": "an extension or a further number was left out",
    "email.several": _SEVERAL,
    "billing_contact_email.several": _SEVERAL,
    "email.blocked": "this e-mail does not identify a customer and is not used for matching",
    "external_id.blocked": "this id is a placeholder and was removed",
    "external_id.lookalike": "another customer's id differs only in case, width or similar details; both were loaded",
    "external_id.conflict": "a record with another e-mail and name has this id, and no timestamp shows which is newer",
    "email.shared": "customers with different external ids share this e-mail; all were loaded",
}
"""Warning code → its text. The record is loaded, but should be reviewed."""


CODE_OF_FIELD: Final = r"^([a-z_0-9]+)\."
"""A pattern for the field in the code of a reason. The code of a fault outside a field begins with another word
(`line`, `record`, `identity`)."""


def sentence(code: str) -> str:
    """Return the message for a code, without the value: `unknown country: use an ISO 3166-1 code …`."""
    if code in WARNINGS:
        return WARNINGS[code]
    field, fault = code.split(".", 1)
    if field not in COLUMNS:
        return RULES[code]
    if fault == "unknown":
        return f"unknown {field}: {RULES[code]}"
    if fault == "unreadable" and field in INSTANTS:
        return f"{field} is not a recognised date: {RULES[code]}"
    return f"{field} {_FAULTS[fault]}: {RULES[code]}"


def no_reasons() -> pl.DataFrame:
    """Return an empty frame of reasons."""
    return pl.DataFrame(schema=REASONS)


def reasons(at: pl.Series, code: str, value: pl.Series | None = None) -> pl.DataFrame:
    """Return one reason for each record at these positions; `value`, if given, has the same length as `at`."""
    return pl.DataFrame(
        {
            "at": at.cast(pl.UInt32),
            "code": constant(code, len(at), pl.String),
            "value": constant(None, len(at), pl.String) if value is None else value.cast(pl.String),
        },
        schema=REASONS,
    )


def within(found: pl.DataFrame, start: int, count: int) -> pl.DataFrame:
    """Return the reasons for this number of records of a batch, as if they were a batch of their own."""
    if found.is_empty():
        return found
    own = found.filter((pl.col("at") >= start) & (pl.col("at") < start + count))
    return own.with_columns(pl.col("at") - pl.lit(start, pl.UInt32))
