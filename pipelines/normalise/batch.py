"""Normalise a batch of raw records to canonical fields and types.

The functions of this package take a text column and return a column of the field's type. A value that cannot be parsed
becomes null and is reported. An unknown code (a country, a status) is kept as it is, for validation to report. Blank
values become null. Nothing is guessed.

Columns with few distinct values are normalised once per distinct value. In other columns, a cheap scan finds the values
that need work, and only those are changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import polars as pl
from msgspec import Struct

from tranship.pipelines.mapping import ZERO_IS_KEY, ColumnMap
from tranship.pipelines.normalise.codes import (
    country,
    currency,
    customer_type,
    language,
    may_be_key,
    net_terms,
    state,
    status,
    timezone,
)
from tranship.pipelines.normalise.identifiers import (
    ROUNDED,
    blocked_emails,
    codes_of_records,
    external_id,
    links_to_records,
)
from tranship.pipelines.normalise.instants import instant, typed_instants
from tranship.pipelines.normalise.lists import append_items, text_list, tidy_items, unreadable_lists
from tranship.pipelines.normalise.metadata import json_object, merge_unmapped
from tranship.pipelines.normalise.phone import phone
from tranship.pipelines.normalise.raw_text import as_text, beyond_precision, text_of_field, with_default
from tranship.pipelines.normalise.series import (
    VALUE,
    ByDistinctValue,
    evaluate,
    fill_where,
    null_text,
    replace_where,
    with_rows,
)
from tranship.pipelines.normalise.spelling import Spelling
from tranship.pipelines.normalise.text import (
    email,
    further_emails,
    is_flag,
    name,
    not_text,
    postal_code,
    text,
    trimmed,
    upper,
    without_words,
)
from tranship.schemas.codes import CUSTOMER_TYPES, NO_CODE_WORDS, STATUSES, country_codes
from tranship.schemas.constant import constant
from tranship.schemas.customer import COLUMNS, INSTANTS, LISTS, TEXT
from tranship.schemas.faults import no_reasons, reasons, within
from tranship.schemas.flags import NO, NOT_GONE, Flag
from tranship.schemas.headers import is_customer


class Normalised(Struct, frozen=True):
    """A batch in canonical columns, with the reasons for values that could not be parsed, and warnings.

    `email_blocked` (bool) marks the records whose e-mail address does not identify a customer.
    """

    records: pl.DataFrame
    email_blocked: pl.Series
    unreadable: pl.DataFrame
    warnings: pl.DataFrame

    def slice(self, start: int, count: int) -> Normalised:
        """Return this number of records, as if they were a batch of their own."""
        return Normalised(
            self.records.slice(start, count),
            self.email_blocked.slice(start, count),
            within(self.unreadable, start, count),
            within(self.warnings, start, count),
        )


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
            texts[field] = constant(value, raw.height, pl.String)
    no_links = None
    if "external_id" in columns.may_differ and "external_id" in texts:
        is_of_customer = is_customer(columns.fields.get("external_id", ""))
        is_id = (codes_of_records if is_of_customer else links_to_records)(texts["external_id"])
        no_links = None if is_of_customer else _kept(texts["external_id"], ~is_id)
        texts["external_id"] = _kept(texts["external_id"], is_id)
    normalised: dict[str, pl.Series] = {}
    unreadable, warnings = [no_reasons()], [no_reasons()]

    for field in (field for field in _TEXT_NORMALISERS if field in texts):
        normalised[field] = _TEXT_NORMALISERS[field](texts[field])
    if "external_id" in texts:
        normalised["external_id"], blocked, rounded, odd = external_id(texts["external_id"], spelling.blocked)
        unreadable.append(_reasons_where(odd, "external_id.not_text", texts["external_id"]))
        if column := columns.fields.get("external_id"):
            rounded = rounded | beyond_precision(raw[column])
        warnings.append(reasons(blocked.arg_true(), "external_id.blocked"))
        unreadable.append(_reasons_where(rounded, "external_id.spreadsheet", normalised["external_id"]))
    if "name" in texts:
        unreadable.append(_reasons_where(not_text(texts["name"]), "name.not_text", texts["name"]))
        if "name" in columns.may_differ:
            unreadable.append(_reasons_where(is_flag(texts["name"]), "name.flag", texts["name"]))
    email_blocked = constant(False, raw.height)
    if "email" in normalised:
        normalised["email"], emptied, email_blocked = blocked_emails(normalised["email"], spelling.blocked)
        warnings.append(reasons((emptied | email_blocked).arg_true(), "email.blocked"))
    if "phone" in texts:
        number = without_words(texts["phone"], NO_CODE_WORDS)
        normalised["phone"], unread, shortened = phone(number, normalised.get("country"))
        warnings.append(reasons(unread.arg_true(), "phone.unreadable"))
        warnings.append(_reasons_where(shortened, "phone.shortened", number))
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
        if "net_terms" in columns.may_differ:
            keys = may_be_key(texts["net_terms"], zero=ZERO_IS_KEY in columns.may_differ)
            unreadable.append(_reasons_where(keys, "net_terms.key", texts["net_terms"]))
    for field in LISTS:
        is_email = field == "invoice_cc_emails"
        if field in typed:
            normalised[field] = tidy_items(typed[field], lower=is_email)
        elif field in texts:
            normalised[field] = text_list(texts[field], lower=is_email, numbers=not is_email)
            unreadable.append(unreadable_lists(texts[field], normalised[field], f"{field}.unreadable"))
    for field in ("email", "billing_contact_email"):
        if field in texts:
            several, others = further_emails(texts[field], normalised[field])
            warnings.append(reasons(several, f"{field}.several", texts[field].gather(several)))
            if not several.is_empty():
                copies = normalised.get("invoice_cc_emails", _nothing("invoice_cc_emails", raw.height))
                longer = append_items(copies.gather(several), others)
                normalised["invoice_cc_emails"] = with_rows(copies, several, longer)
    if "aliases" in normalised:
        rounded = normalised["aliases"].list.eval(pl.element().str.contains(ROUNDED)).list.any().fill_null(value=False)
        unreadable.append(_reasons_where(rounded, "aliases.spreadsheet", normalised["aliases"].list.join(";")))
    own = texts.get("metadata")
    if own is not None:
        own, bad = json_object(own)
        unreadable.append(reasons(bad.arg_true(), "metadata.syntax", texts["metadata"].filter(bad)))
    present = set(raw.columns)
    extra = raw.select([column for column in columns.extra if column in present])
    if "state" in normalised:
        left_out = normalised["state"].is_null() & texts["state"].is_not_null()
        misplaced = fill_where(left_out, texts["state"], left_out, lambda part: text(part).is_not_null())
        warnings.append(_reasons_where(misplaced, "state.status", texts["state"]))
        if "state" in columns.fields and misplaced.any():
            # A field that was built from several columns has a name of its own (`pipelines/build.py`).
            column = columns.fields["state"].replace("\0", "")
            extra = pl.DataFrame([*extra.get_columns(), _kept(texts["state"], misplaced).alias(column)])
    if no_links is not None and columns.keeps_unused and no_links.null_count() < raw.height:
        column = columns.fields["external_id"].replace("\0", "")
        extra = pl.DataFrame([*extra.get_columns(), no_links.alias(column)])
    left: dict[str, tuple[pl.Series, pl.Series]] = {}
    for field in (field for field in _MEANT if field in columns.may_differ and field in normalised):
        given = normalised[field]
        other = evaluate(given, ~_MEANT[field]()).fill_null(value=False)
        if other.any() or field in ("country", "status"):
            column = columns.fields[field].replace("\0", "")
            normalised[field] = _kept(given, ~other)
            # What is neither a country nor a status, which one column may contain.
            left[column] = (texts[field], left[column][1] & other if column in left else other)
    for column, (given, other) in left.items():
        if columns.keeps_unused and other.any():
            kept = _kept(given, other).alias(column)
            # `pipelines/build.py` may have put words there that do not count in a record.
            if column in extra.columns:
                kept = pl.select(pl.coalesce(extra[column], kept).alias(column)).to_series()
            extra = pl.DataFrame([*(values for values in extra.get_columns() if values.name != column), kept])
    for flag in columns.flags:
        if flag.column in raw.columns:
            warnings.append(_flagged(as_text(raw[flag.column]), flag))
    if own is not None or extra.width:
        normalised["metadata"] = merge_unmapped(own, extra) if extra.width else own  # type: ignore[assignment]

    records = pl.DataFrame(
        [
            normalised[name].alias(name) if name in normalised else _nothing(name, raw.height).alias(name)
            for name in COLUMNS
        ]
    )
    return Normalised(records, email_blocked, pl.concat(unreadable), pl.concat(warnings))


def _nothing(field: str, height: int) -> pl.Series:
    return constant(None, height, COLUMNS[field])


def _is_typed(field: str, dtype: pl.DataType) -> bool:
    """Return whether a column already has the type of its field."""
    return (field in INSTANTS and dtype.is_temporal()) or (field in LISTS and dtype == pl.List(pl.String))


def _reasons_where(mask: pl.Series, code: str, values: pl.Series) -> pl.DataFrame:
    """Return a reason, with the value, for each row where the mask is true."""
    rows = mask.arg_true()
    return reasons(rows, code, values.gather(rows))


def _unless_absent(normaliser: Callable[[pl.Series], pl.Series], *meant: str) -> Callable[[pl.Series], pl.Series]:
    """Return a normaliser for a field in which a word for no value, except those that are `meant`, is null."""
    return lambda values: normaliser(without_words(values, NO_CODE_WORDS - set(meant)))


def _code_unless_absent(normaliser: Callable[[pl.Series], pl.Series], *meant: str) -> Callable[[pl.Series], pl.Series]:
    """The same, applied once to each distinct value."""
    return ByDistinctValue(_unless_absent(normaliser, *meant))


_TEXT_NORMALISERS: Final[dict[str, Callable[[pl.Series], pl.Series]]] = {
    "email": email,
    **dict.fromkeys(TEXT, text),
    "name": name,
    "zip_code": postal_code,
    "state": state,
    "customer_type": _code_unless_absent(customer_type),
    "country": _code_unless_absent(country, "na"),  # Namibia
    "currency": _code_unless_absent(currency),
    "timezone": _code_unless_absent(timezone),
    "language": _code_unless_absent(language, "na", "nan"),  # Nauru, Min Nan
    "status": _code_unless_absent(status),
    "tax_id": _unless_absent(upper),
    "billing_contact_email": _unless_absent(email),
    "provider": trimmed,
    "provider_id": trimmed,
}


_NO_TAX_NUMBER: Final = r"%|^[^0-9]*$|^(?:TVA|IVA|MWST|UST|VAT|BTW|GST|MOMS|MVA)?\s*[0-9]{1,2}(?:[.,][0-9]{1,3})?$"
"""Rates of tax and flags, in upper case."""
_MEANT: Final[dict[str, Callable[[], pl.Expr]]] = {
    "customer_type": lambda: VALUE.is_in(list(CUSTOMER_TYPES)),
    "country": lambda: VALUE.is_in(list(country_codes())),
    "status": lambda: VALUE.is_in(list(STATUSES)),
    "tax_id": lambda: ~VALUE.str.contains(_NO_TAX_NUMBER),
}
"""Field → the values that it may have where the name of its column may mean something else."""


def _kept(values: pl.Series, where: pl.Series) -> pl.Series:
    """Return the values where the mask is true, else null."""
    return replace_where(values, ~where, lambda part: null_text(len(part)))


def _flagged(values: pl.Series, flag: Flag) -> pl.DataFrame:
    """Return a warning for each record that a flag marks as deleted or disabled."""
    words = values.str.strip_chars().str.to_lowercase()
    gone = (words != "") & ~words.is_in(list(NO_CODE_WORDS)) if flag.gone is None else words.is_in(list(flag.gone))
    if flag.dates:
        gone |= words.str.contains(r"^(?:[12]\d{3}-\d\d-\d\d|\d\d?[./]\d\d?[./]\d{2,4})\b")
    if flag.other_words:
        gone |= words.str.contains(r"^\p{L}") & ~words.is_in([*NO, *NO_CODE_WORDS, *NOT_GONE])
    rows = gone.fill_null(value=False).arg_true()
    return reasons(rows, "record.deleted_flag", flag.column + ": " + values.gather(rows))


def _unreadable(given: pl.Series, read: pl.Series, code: str) -> pl.DataFrame:
    """Return a reason for each value that is not blank or a word for no value, and could not be parsed."""
    rows = (read.is_null() & given.is_not_null()).arg_true()
    values = without_words(given.gather(rows), NO_CODE_WORDS)
    lost = (values.str.strip_chars() != "").fill_null(value=False)
    return reasons(rows.filter(lost), code, values.filter(lost))
