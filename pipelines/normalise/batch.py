"""Normalise a batch of raw records to canonical fields and types.

The functions of this package take a text column and return a column of the field's type. A value that cannot be parsed
becomes null and is reported. An unknown code (a country, a status) is kept as it is, for validation to report. Blank
values become null. Nothing is guessed.

Columns with few distinct values are normalised once per distinct value. In other columns, a cheap scan finds the values
that need work, and only those are changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import polars as pl

from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.normalise.codes import country, currency, customer_type, language, net_terms, status, timezone
from tranship.pipelines.normalise.identifiers import ROUNDED, blocked_emails, external_id
from tranship.pipelines.normalise.instants import instant, typed_instants
from tranship.pipelines.normalise.lists import text_list, tidy_items, unreadable_lists
from tranship.pipelines.normalise.metadata import json_object, merge_unmapped
from tranship.pipelines.normalise.phone import phone
from tranship.pipelines.normalise.raw_text import beyond_precision, text_of_field, with_default
from tranship.pipelines.normalise.spelling import Spelling
from tranship.pipelines.normalise.text import email, text, trimmed, upper
from tranship.schemas.customer import COLUMNS, INSTANTS, LISTS, TEXT
from tranship.schemas.faults import no_reasons, reasons


@dataclass(frozen=True)
class Normalised:
    """A batch in canonical columns, with the reasons for values that could not be parsed, and warnings.

    `email_blocked` (bool) marks the records whose e-mail address identifies nobody.
    """

    records: pl.DataFrame
    email_blocked: pl.Series
    unreadable: pl.DataFrame
    warnings: pl.DataFrame


def customers(raw: pl.DataFrame, columns: ColumnMap, spelling: Spelling) -> Normalised:
    """Return one batch with every column of `schemas.customer.COLUMNS`, in the same row order."""
    typed = {
        field: raw[column]
        for field, column in columns.fields.items()
        if field not in columns.defaults and _is_typed(field, raw[column].dtype)
    }
    texts = {
        field: with_default(text_of_field(raw[column], field), columns.defaults.get(field))
        for field, column in columns.fields.items()
        if field not in typed
    }
    for field, value in columns.defaults.items():
        if field not in texts:
            texts[field] = pl.repeat(value, raw.height, dtype=pl.String, eager=True)
    normalised: dict[str, pl.Series] = {}
    unreadable, warnings = [no_reasons()], [no_reasons()]

    for field in (field for field in _TEXT_NORMALISERS if field in texts):
        normalised[field] = _TEXT_NORMALISERS[field](texts[field])
    if "external_id" in texts:
        normalised["external_id"], blocked, rounded = external_id(texts["external_id"], spelling.blocked)
        if column := columns.fields.get("external_id"):
            rounded = rounded | beyond_precision(raw[column])
        warnings.append(reasons(blocked.arg_true(), "external_id.blocked"))
        unreadable.append(_reasons_where(rounded, "external_id.spreadsheet", normalised["external_id"]))
    email_blocked = pl.repeat(False, raw.height, dtype=pl.Boolean, eager=True)
    if "email" in normalised:
        normalised["email"], emptied, email_blocked = blocked_emails(normalised["email"], spelling.blocked)
        warnings.append(reasons((emptied | email_blocked).arg_true(), "email.blocked"))
    if "phone" in texts:
        normalised["phone"], unread = phone(texts["phone"], normalised.get("country"))
        warnings.append(reasons(unread.arg_true(), "phone.unreadable"))
    for field in INSTANTS:
        if field in typed:
            normalised[field], faults = typed_instants(typed[field], field, spelling)
            unreadable.append(faults)
        elif field in texts:
            normalised[field], faults = instant(texts[field], field, spelling)
            unreadable.append(faults)
    if "net_terms" in texts:
        normalised["net_terms"] = net_terms(texts["net_terms"])
        unreadable.append(_unreadable(texts["net_terms"], normalised["net_terms"], "net_terms.unreadable"))
    for field in LISTS:
        is_email = field == "invoice_cc_emails"
        if field in typed:
            normalised[field] = tidy_items(typed[field], lower=is_email)
        elif field in texts:
            normalised[field] = text_list(texts[field], lower=is_email, numbers=not is_email)
            unreadable.append(unreadable_lists(texts[field], normalised[field], f"{field}.unreadable"))
    if "aliases" in normalised:
        rounded = normalised["aliases"].list.eval(pl.element().str.contains(ROUNDED)).list.any().fill_null(value=False)
        unreadable.append(_reasons_where(rounded, "aliases.spreadsheet", normalised["aliases"].list.join(";")))
    own = texts.get("metadata")
    if own is not None:
        own, bad = json_object(own)
        unreadable.append(reasons(bad.arg_true(), "metadata.syntax", texts["metadata"].filter(bad)))
    extra = [column for column in columns.extra if column in raw.columns]
    if own is not None or extra:
        normalised["metadata"] = merge_unmapped(own, raw.select(extra)) if extra else own  # type: ignore[assignment]

    records = pl.DataFrame(
        [
            normalised[name].alias(name)
            if name in normalised
            else pl.repeat(None, raw.height, dtype=dtype, eager=True).alias(name)
            for name, dtype in COLUMNS.items()
        ]
    )
    return Normalised(records, email_blocked, pl.concat(unreadable), pl.concat(warnings))


def _is_typed(field: str, dtype: pl.DataType) -> bool:
    """Return whether a column already has the type of its field."""
    return (field in INSTANTS and dtype.is_temporal()) or (field in LISTS and dtype == pl.List(pl.String))


def _reasons_where(mask: pl.Series, code: str, values: pl.Series) -> pl.DataFrame:
    """Return a reason, with the value, for each row where the mask is true."""
    rows = mask.arg_true()
    return reasons(rows, code, values.gather(rows))


_TEXT_NORMALISERS: Final[dict[str, Callable[[pl.Series], pl.Series]]] = {
    "email": email,
    **dict.fromkeys(TEXT, text),
    "customer_type": customer_type,
    "country": country,
    "currency": currency,
    "timezone": timezone,
    "language": language,
    "status": status,
    "tax_id": upper,
    "billing_contact_email": email,
    "provider": trimmed,
    "provider_id": trimmed,
}


def _unreadable(given: pl.Series, read: pl.Series, code: str) -> pl.DataFrame:
    """Return a reason for each value that is not blank and could not be parsed."""
    lost = (read.is_null() & (given.str.strip_chars() != "")).fill_null(value=False)
    return reasons(lost.arg_true(), code, given.filter(lost))
