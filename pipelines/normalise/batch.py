"""Values as sources spell them → values as the canonical customer has them.

Every function takes a text column and gives the column in its type. A value that cannot be read becomes null and is
reported; a value that is read but not known (a country, a status) stays as it stands, and validation names it. Blank
is null. Nothing is guessed.

Columns of few distinct values are normalised once per distinct value. Elsewhere a cheap scan finds the values that
need work, and only those are worked on.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, Final

import idna
import polars as pl

from tranship.pipelines.mapping import ColumnMap
from tranship.schemas import codes
from tranship.schemas.customer import COLUMNS, INSTANT, INSTANTS, LISTS, TEXT
from tranship.schemas.faults import no_reasons, reasons

Column = pl.Series


@dataclass(frozen=True)
class Spelling:
    """What a run says about spellings: zone of instants without one, further date forms, what identifies nobody."""

    timezone: str = "UTC"
    date_formats: tuple[str, ...] = ()
    blocked: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Normalised:
    """A batch in canonical columns; the reasons against values that could not be read; the warnings.

    `email_blocked` (bool) says for each record whether its e-mail identifies nobody.
    """

    records: pl.DataFrame
    email_blocked: Column
    unreadable: pl.DataFrame
    warnings: pl.DataFrame


def customers(wire: pl.DataFrame, columns: ColumnMap, spelling: Spelling) -> Normalised:
    """Normalise one batch: every column of `schemas.customer.COLUMNS`, row order kept."""
    typed = {
        field: wire[column]
        for field, column in columns.fields.items()
        if field not in columns.defaults and _is_taken_as_it_is(field, wire[column].dtype)
    }
    texts = {
        field: _with_default(_text_of(wire[column], field), columns.defaults.get(field))
        for field, column in columns.fields.items()
        if field not in typed
    }
    for field, value in columns.defaults.items():
        if field not in texts:
            texts[field] = pl.repeat(value, wire.height, dtype=pl.String, eager=True)
    done: dict[str, Column] = {}
    unreadable, warnings = [no_reasons()], [no_reasons()]

    for field in (field for field in _TEXTUAL if field in texts):
        done[field] = _TEXTUAL[field](texts[field])
    if "external_id" in texts:
        done["external_id"], blocked, rounded = external_id(texts["external_id"], spelling.blocked)
        if column := columns.fields.get("external_id"):
            rounded = rounded | _beyond_precision(wire[column])
        warnings.append(reasons(blocked.arg_true(), "external_id.blocked"))
        unreadable.append(_where(rounded, "external_id.spreadsheet", done["external_id"]))
    email_blocked = pl.repeat(False, wire.height, dtype=pl.Boolean, eager=True)
    if "email" in done:
        done["email"], emptied, email_blocked = _blocked_emails(done["email"], spelling.blocked)
        warnings.append(reasons((emptied | email_blocked).arg_true(), "email.blocked"))
    if "phone" in texts:
        done["phone"], unread = phone(texts["phone"], done.get("country"))
        warnings.append(reasons(unread.arg_true(), "phone.unreadable"))
    for field in INSTANTS:
        if field in typed:
            done[field], faults = _instants_of(typed[field], field, spelling)
            unreadable.append(faults)
        elif field in texts:
            done[field], faults = instant(texts[field], field, spelling)
            unreadable.append(faults)
    if "net_terms" in texts:
        done["net_terms"] = net_terms(texts["net_terms"])
        unreadable.append(_lost(texts["net_terms"], done["net_terms"], "net_terms.unreadable"))
    for field in LISTS:
        is_email = field == "invoice_cc_emails"
        if field in typed:
            done[field] = _tidy_items(typed[field], lower=is_email)
        elif field in texts:
            done[field] = text_list(texts[field], lower=is_email, numbers=not is_email)
            unreadable.append(_lost_list(texts[field], done[field], f"{field}.unreadable"))
    if "aliases" in done:
        rounded = done["aliases"].list.eval(pl.element().str.contains(_ROUNDED)).list.any().fill_null(value=False)
        unreadable.append(_where(rounded, "aliases.spreadsheet", done["aliases"].list.join(";")))
    own = texts.get("metadata")
    if own is not None:
        own, bad = json_object(own)
        unreadable.append(reasons(bad.arg_true(), "metadata.syntax", texts["metadata"].filter(bad)))
    extra = [column for column in columns.extra if column in wire.columns]
    if own is not None or extra:
        done["metadata"] = _metadata(own, wire.select(extra)) if extra else own  # type: ignore[assignment]

    records = pl.DataFrame(
        [
            done[name].alias(name)
            if name in done
            else pl.repeat(None, wire.height, dtype=dtype, eager=True).alias(name)
            for name, dtype in COLUMNS.items()
        ]
    )
    return Normalised(records, email_blocked, pl.concat(unreadable), pl.concat(warnings))


def _is_taken_as_it_is(field: str, dtype: pl.DataType) -> bool:
    """Whether a column has its type already, and is not read from text."""
    return (field in INSTANTS and dtype.is_temporal()) or (field in LISTS and dtype == pl.List(pl.String))


def _where(mask: Column, code: str, values: Column) -> pl.DataFrame:
    """Reasons with one code where the mask holds, with the values there."""
    at = mask.arg_true()
    return reasons(at, code, values.gather(at))


# Wire → text -----------------------------------------------------------------------------------------------------


def as_text(values: Column) -> Column:
    """A column of any type as text: whole floats without their `.0`, NaN as null, the infinite ones as `Infinity` and
    `-Infinity`, instants and durations as ISO 8601, nested values as JSON.
    """
    dtype = values.dtype
    if dtype == pl.String:
        return values
    if dtype.is_float():
        whole = _V.cast(pl.Int64, strict=False)
        infinite = pl.when(_V > 0).then(pl.lit("Infinity")).otherwise(pl.lit("-Infinity"))
        return _apply(
            values,
            pl.when(_V.is_infinite())
            .then(infinite)
            .when(whole.cast(dtype) == _V)
            .then(whole.cast(pl.String))
            .when(_V.is_not_nan())
            .then(_V.cast(pl.String)),
        )
    if dtype.is_nested():
        return _encoded(values, "v").str.strip_prefix('"v":')
    if isinstance(dtype, pl.Datetime):
        aware = values.dt.convert_time_zone("UTC") if dtype.time_zone else values
        return aware.dt.strftime("%Y-%m-%dT%H:%M:%S%.f" + ("Z" if dtype.time_zone else ""))
    if isinstance(dtype, pl.Duration):
        return values.dt.to_string("iso")
    return values.cast(pl.String, strict=False)


def _text_of(values: Column, field: str) -> Column:
    """A column as the text that its field is read from. NaN and the infinite are no texts: as an id they are the
    place-holder they are, elsewhere they are null; where a number or an instant is wanted, the infinite is unreadable.
    """
    if not values.dtype.is_float() or field in INSTANTS or field == "net_terms":
        return as_text(values)
    text = as_text(_apply(values, pl.when(_V.is_finite()).then(_V)))
    return (
        _repaired(text, ~values.is_finite(), lambda some: _always("NaN", len(some))) if field == "external_id" else text
    )


def _beyond_precision(values: Column) -> Column:
    """Where a float is so large that it may stand for several whole numbers: the id it was is lost."""
    if not values.dtype.is_float():
        return _always(False, len(values))
    exact = 2**24 if values.dtype == pl.Float32 else 2**53
    return (values.is_finite() & (values.abs() >= exact)).fill_null(value=False)


def _with_default(values: Column, default: str | None) -> Column:
    if default is None:
        return values
    blank = values.is_null() | (values.str.strip_chars() == "").fill_null(value=True)
    return pl.select(pl.when(blank).then(pl.lit(default)).otherwise(values)).to_series()


def _repaired(values: Column, where: Column, repair: Callable[[Column], Column]) -> Column:
    """The column with `repair` done to the rows where the mask holds."""
    at = where.arg_true()
    return values if at.is_empty() else values.clone().scatter(at, repair(values.gather(at)))


class _ByValue:
    """A normaliser that works on each distinct value once, also over many batches."""

    _MOST: Final = 10_000
    """Distinct values kept in mind; a column with more of them is no column of codes."""

    def __init__(self, normaliser: Callable[[Column], Column]) -> None:
        self._normaliser = normaliser
        self._known = (_no_text(0), _no_text(0))

    def __call__(self, values: Column) -> Column:
        # Threads share it: what is known is read once, and replaced whole.
        spelt, clean = self._known
        at = _places(values, spelt)
        if at.null_count() > values.null_count():
            new = values.filter(at.is_null()).drop_nulls().unique()
            spelt, clean = pl.concat([spelt, new]), pl.concat([clean, self._normaliser(new)])
            if len(spelt) <= self._MOST:
                self._known = (spelt, clean)
            at = _places(values, spelt)
        return clean.gather(at)


def _places(values: Column, among: Column) -> Column:
    """Where each value stands among others, null if nowhere."""
    return values.replace_strict(
        among, pl.int_range(len(among), dtype=pl.UInt32, eager=True), default=None, return_dtype=pl.UInt32
    )


def _no_text(count: int) -> Column:
    return pl.repeat(None, count, dtype=pl.String, eager=True)


def _always(value: bool | str, count: int) -> Column:
    return pl.repeat(value, count, dtype=pl.Boolean if isinstance(value, bool) else pl.String, eager=True)


def _blank_to_null(values: pl.Expr) -> pl.Expr:
    return pl.when(values != "").then(values)


def _apply(values: Column, expression: pl.Expr) -> Column:
    """An expression over `v`, as a column."""
    return values.alias("v").to_frame().select(expression).to_series()


_V: Final = pl.col("v")


# Text ------------------------------------------------------------------------------------------------------------

# Letters and marks that stand as they are in NFC whatever stands beside them, and are neither white space nor control
# characters: printable ASCII, and precomposed letters of many scripts. A test holds every one of them.
QUIET: Final = (
    r" -~\x{a1}-\x{2ff}"
    r"\x{370}-\x{373}\x{376}-\x{377}\x{37b}-\x{37d}\x{384}-\x{386}\x{388}-\x{38a}\x{38c}\x{38e}-\x{3a1}"
    r"\x{3a3}-\x{482}\x{48a}-\x{52f}\x{5d0}-\x{5ea}\x{621}-\x{64a}\x{660}-\x{66d}\x{671}-\x{6d3}\x{904}-\x{939}"
    r"\x{93d}-\x{94c}\x{e01}-\x{e30}\x{1ea0}-\x{1ef9}\x{2010}-\x{2027}\x{2030}-\x{203a}\x{3041}-\x{3096}\x{30a1}-\x{30fa}"
    r"\x{30fc}-\x{30fe}\x{4e00}-\x{9fff}\x{ac00}-\x{d7a3}"
)
_UNTIDY: Final = rf"^$|^ | $|  |[^{QUIET}]"
_WHITE: Final = r"\s+"
# Zero-width and bidirectional marks, BOM, soft hyphen, variation selectors and whatever else Unicode lets a program
# leave out of what it shows; the annotation marks are shown as nothing, too.
_INVISIBLE: Final = r"[\p{Default_Ignorable_Code_Point}\x{FFF9}-\x{FFFB}]+"
_ROUNDED: Final = r"^[+-]?[0-9]+(?:[.,][0-9]*[eE][+-]?|[eE][+])[0-9]{1,3}$"
"""A number as a spreadsheet writes a long one, its last digits gone. `12E5` and `7E-4` may be ids."""


def text(values: Column) -> Column:
    """NFC, trimmed, white space runs as one blank, other control characters gone."""
    tidy = _V.str.replace_all(_WHITE, " ").str.replace_all(r"\p{Cc}+", "").str.normalize("NFC").str.strip_chars(" ")
    # Taking a control character out may leave two blanks side by side.
    tidy = tidy.str.replace_all("  +", " ")
    return _repaired(values, values.str.contains(_UNTIDY), lambda some: _apply(some, _blank_to_null(tidy)))


def trimmed(values: Column) -> Column:
    """Trimmed at both ends; blank is null."""
    bare = values.str.strip_chars()
    return _repaired(bare, bare == "", lambda some: _no_text(len(some)))


def upper(values: Column) -> Column:
    """Trimmed, upper case."""
    return trimmed(values).str.to_uppercase()


def email(values: Column) -> Column:
    """Without invisible characters, trimmed, lower case, a domain in other letters as ASCII (IDNA 2008 with UTS 46
    mapping).
    """

    def repair(some: Column) -> Column:
        lower = trimmed(some.str.replace_all(_INVISIBLE, "")).str.to_lowercase()
        return _repaired(lower, lower.str.contains(r"@.*[^\x00-\x7f]"), _ascii_domains)

    return _repaired(values, values.str.contains(r"^$|[^!-@\[-~]"), repair)


def _ascii_domains(addresses: Column) -> Column:
    """Addresses with each distinct domain in ASCII; one that has no such form stays."""
    parts = addresses.str.extract_groups(r"(?s)^(.*)@([^@]*)$").struct.unnest()
    local, domain = parts.get_columns()
    distinct = domain.unique()
    encoded = pl.Series([_ascii_domain(name) for name in distinct], dtype=pl.String)
    return local + "@" + domain.replace_strict(distinct, encoded, return_dtype=pl.String)


def _ascii_domain(domain: str) -> str:
    try:
        return idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        return domain


# Codes: a known spelling becomes its code, an unknown one stays for validation to name ----------------------------


def _looked_up(folded: pl.Expr, table: pl.DataFrame) -> pl.Expr:
    spelling, code = table.columns
    return folded.replace_strict(table[spelling], table[code], default=None, return_dtype=pl.String)


@_ByValue
def country(values: Column) -> Column:
    """ISO 3166-1 alpha-2, from a code or an English name in any case."""
    plain = _V.str.normalize("NFC").str.replace_all(_WHITE, " ").str.strip_chars()
    code = _looked_up(plain.str.to_uppercase(), codes.countries())
    return _apply(values, pl.coalesce(code, _blank_to_null(plain)))


@_ByValue
def currency(values: Column) -> Column:
    """Upper case."""
    return upper(values)


@_ByValue
def timezone(values: Column) -> Column:
    """IANA's own spelling of a zone's name."""
    plain = _V.str.strip_chars()
    name = _looked_up(plain.str.to_lowercase(), codes.timezones())
    return _apply(values, pl.coalesce(name, _blank_to_null(plain)))


@_ByValue
def language(values: Column) -> Column:
    """BCP 47: language in lower case and its shortest code, Script, REGION; from a tag or an English name."""
    return pl.Series([_language(value) for value in values], dtype=pl.String)


@cache
def _language_words() -> dict[str, str]:
    return dict(codes.languages().iter_rows())


def _language(value: str) -> str | None:
    words = _language_words()
    plain = " ".join(value.split())
    if known := words.get(plain.lower()):
        return known
    parts = plain.replace("_", "-").split("-")
    parts[0] = words.get(parts[0].lower(), parts[0].lower())
    private = False
    for at, part in enumerate(parts[1:], 1):
        lone = private or any(len(before) == 1 for before in parts[:at])
        if not lone and len(part) == 2 and part.isalpha():
            parts[at] = part.upper()
        elif not lone and len(part) == 4 and part.isalpha():
            parts[at] = part.title()
        else:
            parts[at] = part.lower()
    return "-".join(parts) or None


@_ByValue
def status(values: Column) -> Column:
    """One of the five, from the synonyms in `schemas.codes.STATUS_WORDS`."""
    plain = _V.str.strip_chars()
    folded = plain.str.to_lowercase().str.replace_all(r"[ _-]+", "_")
    word = folded.replace_strict(codes.STATUS_WORDS, default=None, return_dtype=pl.String)
    return _apply(values, pl.coalesce(word, _blank_to_null(plain)))


@_ByValue
def customer_type(values: Column) -> Column:
    """Upper case."""
    return upper(values)


_TEXTUAL: Final[dict[str, Callable[[Column], Column]]] = {
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


# What identifies nobody ------------------------------------------------------------------------------------------


_TOO_NARROW: Final = "^##+$"
"""What a spreadsheet saves of a value that its column has no room for."""


def external_id(values: Column, blocked: frozenset[str]) -> tuple[Column, Column, Column]:
    """Ids as a person means them: without invisible characters, trimmed, without a spreadsheet's guard (`'00123`,
    `="00123"`). Place-holders are no ids. The column; where place-holders stood; where digits are gone (`1.23E+12`).
    """
    words = codes.BLOCKED_IDS | {word.strip().lower() for word in blocked}
    ids, where, rounded = values, _always(False, len(values)), _always(False, len(values))
    # One look finds the few that need anything done.
    at = values.str.contains(_odd_id(words)).arg_true()
    if at.is_empty():
        return ids, where, rounded
    some = _bare_ids(values.gather(at))
    nobody = some.str.to_lowercase().is_in(list(words)) | some.str.contains(_TOO_NARROW)
    nobody = nobody.fill_null(value=False)
    ids = ids.clone().scatter(at, _repaired(some, nobody, lambda few: _no_text(len(few))))
    return ids, where.scatter(at, nobody), rounded.scatter(at, some.str.contains(_ROUNDED).fill_null(value=False))


@cache
def _odd_id(words: frozenset[str]) -> str:
    plain = "|".join(re.escape(word) for word in sorted(words) if word.isascii())
    return rf"^(?:$|['=\s]|(?i-u:{plain})$)|\s$|[^ -~]|{_TOO_NARROW}|{_ROUNDED}"


def _bare_ids(values: Column) -> Column:
    """What is done to one id or alias. Doing it twice changes nothing: no guard is left behind a guard."""
    seen = _V.str.replace_all(_INVISIBLE, "").str.strip_chars()
    unguarded = seen.str.replace(r"(?s)^'\s*([^'\s].*)$", "${1}").str.replace(
        r"""(?s)^="\s*([^"'=\s][^"]*)?"$""", "${1}"
    )
    return _apply(values, _blank_to_null(unguarded.str.strip_chars()))


def _blocked_emails(addresses: Column, blocked: frozenset[str]) -> tuple[Column, Column, Column]:
    """Words that mean `none` become null; shared mailboxes of nobody stay and match nothing.

    The column; where words were taken out; where the address is blocked.
    """
    emptied = addresses.str.contains(_any_of(codes.EMPTY_WORDS_EMAIL)).fill_null(value=False)
    kept = _repaired(addresses, emptied, lambda some: _no_text(len(some)))
    locals_ = "|".join(map(re.escape, codes.BLOCKED_EMAIL_LOCALS))
    whole = _any_of(codes.BLOCKED_EMAILS | {word.strip().lower() for word in blocked})
    return kept, emptied, kept.str.contains(rf"^(?:{locals_})@|{whole}").fill_null(value=False)


def _any_of(words: Iterable[str]) -> str:
    """A pattern for one of these words and nothing else."""
    return rf"^(?:{'|'.join(map(re.escape, sorted(words)))})$"


# Phone numbers ---------------------------------------------------------------------------------------------------


def phone(values: Column, countries: Column | None) -> tuple[Column, Column]:
    """E.164 where the number can be read, else the trimmed text; and where it could not be read.

    An international number (`+` or `00`) needs a known calling code and a length possible behind it; a national one
    needs the record's country (alpha-2) and a length possible there, without its trunk prefix.
    """
    number = _repaired(values, values.str.contains(r"[^+0-9]"), _bare_number)
    digits = number.str.contains(r"^\+?[0-9]+$").fill_null(value=False)
    abroad = digits & _apply(number, _V.str.starts_with("+") | _V.str.starts_with("00"))
    read = _filled(_no_text(len(number)), number, abroad, _international)
    if countries is not None:
        at = (digits & ~abroad & countries.is_not_null()).arg_true()
        if not at.is_empty():
            read = read.scatter(at, _national(number.gather(at), countries.gather(at)))
    at = read.is_null().arg_true()
    kept = trimmed(values.gather(at))
    return read.scatter(at, kept), pl.zeros(len(read), dtype=pl.Boolean, eager=True).scatter(at, kept.is_not_null())


def _bare_number(some: Column) -> Column:
    """Without white space and the signs that group digits. The zero in +49 (0)30 is not dialled; elsewhere a bracketed
    zero is a digit like any other.
    """
    undialled = some.str.contains("(0)", literal=True)
    plain = _repaired(some, undialled, lambda few: few.str.replace(r"^(\s*(?:\+|00).*?)\(0\)", "${1}"))
    return plain.str.replace_all(r"[\s().\-/]+", "")


@cache
def _calling_codes() -> tuple[Column, Column]:
    """By the first three digits of an international number, 0 to 999: digits of its calling code, and the mask of
    lengths possible behind it; 0 where there is none.
    """
    table = pl.DataFrame({"at": range(1000)}).join(
        codes.phone_prefixes().select(
            pl.col("prefix").cast(pl.Int64).alias("at"), pl.col("calling_code").str.len_bytes(), "lengths"
        ),
        on="at",
        how="left",
        maintain_order="left",
    )
    return table["calling_code"].fill_null(0).cast(pl.Int64), table["lengths"].fill_null(0)


def _international(numbers: Column) -> Column:
    digits = _apply(numbers, pl.when(_V.str.starts_with("+")).then(_V.str.slice(1)).otherwise(_V.str.slice(2)))
    prefix = digits.str.slice(0, 3).cast(pl.Int64, strict=False).fill_null(0)
    code_digits, lengths = _calling_codes()
    frame = pl.DataFrame(
        {"digits": digits, "lengths": lengths.gather(prefix), "code_digits": code_digits.gather(prefix)}
    )
    length = pl.col("digits").str.len_bytes().cast(pl.Int64)
    possible = _fits(pl.col("lengths"), length - pl.col("code_digits")) & length.is_between(4, 15)
    return frame.select(pl.when(possible).then(pl.concat_str(pl.lit("+"), "digits"))).to_series()


def _national(numbers: Column, countries: Column) -> Column:
    """National numbers; the trunk prefix goes where a possible length is left, else it is a digit. A number that begins
    with its own country's calling code, without trunk prefix, has it already where it is too long for a national one.
    """
    frame = pl.DataFrame({"digits": numbers, "country": countries}).join(
        codes.phone_regions(), on="country", how="left", maintain_order="left"
    )
    has_trunk = (pl.col("trunk") != "") & pl.col("digits").str.starts_with(pl.col("trunk"))
    bare = pl.col("digits").str.slice(pl.col("trunk").str.len_bytes())
    length, code = pl.col("digits").str.len_bytes(), pl.col("calling_code")
    has_code = (
        pl.col("digits").str.starts_with(code)
        & _fits(pl.col("lengths"), length.cast(pl.Int64) - code.str.len_bytes())
        & (~_fits(pl.col("lengths"), length) | (length > pl.col("longest")))
        & (length <= 15)
    )

    def e164(digits: pl.Expr) -> pl.Expr:
        return pl.concat_str(pl.lit("+"), "calling_code", digits)

    return frame.select(
        pl.when(has_trunk & _fits(pl.col("lengths"), bare.str.len_bytes()))
        .then(e164(bare))
        .when(has_code)
        .then(pl.concat_str(pl.lit("+"), "digits"))
        .when(_fits(pl.col("lengths"), pl.col("digits").str.len_bytes()))
        .then(e164(pl.col("digits")))
    ).to_series()


def _fits(lengths: pl.Expr, digits: pl.Expr) -> pl.Expr:
    """Whether bit `digits` of the mask is set."""
    length = digits.cast(pl.Int64).clip(0, 31)
    return (lengths.cast(pl.Int64) // pl.lit(2, pl.Int64).pow(length)) % 2 == 1


# Numbers and instants --------------------------------------------------------------------------------------------


def net_terms(values: Column) -> Column:
    """Days as i32; `30`, `30.0` and `30,00` are read."""
    return _days(values).cast(pl.Int32)


@_ByValue
def _days(values: Column) -> Column:
    plain = _V.str.strip_chars()
    return _apply(values, plain.str.extract(r"^([+-]?[0-9]{1,9})(?:[.,]0{1,2})?$").str.strip_prefix("+"))


_ISO: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]{1,9})?)?"
    r"(?: ?(?:Z|UTC|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?))?)?$"
)
# Year, month, day, hour and perhaps minute, without anything between them: 10 or 12 digits that could be an epoch, too.
_COMPACT: Final = (
    r"^(?:19|20|21)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])(?:[01][0-9]|2[0-3])(?:[0-5][0-9])?$"
)
_TWO_WAYS: Final = r"^([0-9]{1,2})[/.\-]([0-9]{1,2})[/.\-](?:[0-9]{4}|[0-9]{2})(?:[T ,].*)?$"


def instant(values: Column, field: str, spelling: Spelling) -> tuple[Column, pl.DataFrame]:
    """UTC instants in µs, and the reasons against what could not be read (`unreadable`, `ambiguous`).

    Read: ISO 8601 dates and date-times, then the forms the run names, then epoch seconds (9–10 digits) and
    milliseconds (12–13 digits) that cannot be a date without its separators. What two named forms read as different
    instants is ambiguous.
    """
    plain, iso = values, values.str.contains(_ISO)
    other = (~iso).arg_true()
    if not other.is_empty():
        tidy = trimmed(values.gather(other)).str.to_uppercase()
        plain, iso = plain.clone().scatter(other, tidy), iso.scatter(other, tidy.str.contains(_ISO))
    read = pl.repeat(None, len(plain), dtype=INSTANT, eager=True)
    read = _filled(read, plain, iso, lambda some: _iso(some, spelling))
    ambiguous = _always(False, len(plain))
    rest = (~iso).arg_true()
    if not rest.is_empty():
        named, disputed = _by_forms(plain.gather(rest), spelling)
        read, ambiguous = read.scatter(rest, named), ambiguous.scatter(rest, disputed)
        left = read.is_null() & ~ambiguous & ~plain.str.contains(_COMPACT)
        read = _filled(read, plain, left & plain.str.contains(r"^-?[1-9][0-9]{8,12}$"), _epoch)
    read = _within_calendar(read)
    lost = (read.is_null() & plain.is_not_null()).arg_true()
    if lost.is_empty():
        return read, no_reasons()
    return read, _lost_instants(plain.gather(lost), values.gather(lost), lost, field, ambiguous.gather(lost))


def _filled(read: Column, plain: Column, where: Column, reader: Callable[[Column], Column]) -> Column:
    at = where.arg_true()
    return read if at.is_empty() else read.clone().scatter(at, reader(plain.gather(at)))


def _iso(plain: Column, spelling: Spelling) -> Column:
    """Values of the ISO form, upper case → instants; null for days that no calendar has."""

    def in_utc(some: Column, form: str) -> Column:
        return _in_utc(_parsed(some, form), spelling)

    def zoned(some: Column, form: str) -> Column:
        return _parsed(some, form).dt.replace_time_zone("UTC")

    length, separator = plain.str.len_bytes(), plain.str.slice(10, 1)
    read = pl.repeat(None, len(plain), dtype=INSTANT, eager=True)
    # The forms that nearly all machines write, each by a parser made for it; what one cannot read is left to the last.
    for where, form, reader in (
        (length == 10, "%Y-%m-%d", in_utc),
        ((length == 19) & (separator == "T"), "%Y-%m-%dT%H:%M:%S", in_utc),
        ((length == 19) & (separator == " "), "%Y-%m-%d %H:%M:%S", in_utc),
        (length == 20, "%Y-%m-%dT%H:%M:%SZ", zoned),
        (length > 20, "%+", _parsed),
    ):
        read = _filled(read, plain, where, partial(reader, form=form))
    return _filled(read, plain, read.is_null() & (length > 10), lambda some: _iso_in_full(some, spelling))


def _parsed(some: Column, form: str) -> Column:
    """Instants of one form (strftime), null where it does not fit. They hardly repeat: a cache would cost more."""
    return some.str.to_datetime(form, strict=False, time_unit="us", cache=False)


def _iso_in_full(plain: Column, spelling: Spelling) -> Column:
    """Date-times with fractions, offsets, or without seconds."""
    seconds = _V.str.slice(16, 1) == ":"
    head = pl.when(seconds).then(_V.str.slice(0, 19)).otherwise(pl.concat_str(_V.str.slice(0, 16), pl.lit(":00")))
    wall = _apply(plain, head.str.replace(" ", "T", literal=True)).str.to_datetime(
        "%Y-%m-%dT%H:%M:%S", strict=False, time_unit="us"
    )
    tail = _apply(plain, pl.when(seconds).then(_V.str.slice(19)).otherwise(_V.str.slice(16)))
    micros = tail.str.extract(r"^[.,]([0-9]{1,6})").str.pad_end(6, "0").cast(pl.Int64).fill_null(0)
    exact = (wall.cast(pl.Int64) + micros).cast(pl.Datetime("us"))
    exact = _filled(exact, pl.DataFrame({"wall": exact, "tail": tail}).to_struct(), tail.str.contains("[+-]"), _shifted)
    if spelling.timezone == "UTC":
        return exact.dt.replace_time_zone("UTC")
    zoned = tail.str.contains(r"(?:Z|UTC|[+-][0-9:]+)$")
    frame = pl.DataFrame(
        {"exact": exact.dt.replace_time_zone("UTC"), "zoned": zoned, "local": _in_utc(exact, spelling)}
    )
    return frame.select(pl.when("zoned").then("exact").otherwise("local")).to_series()


def _shifted(some: Column) -> Column:
    """Wall clocks (`wall`) of the offset at the end of `tail`, as UTC."""
    offset = some.struct.field("tail").str.extract_groups(r"([+-])([0-9]{2}):?([0-9]{2})?$").struct.unnest()
    sign, hours, minutes = offset.get_columns()
    shift = (hours.cast(pl.Int64) * 60 + minutes.cast(pl.Int64).fill_null(0)) * (1 - 2 * (sign == "-").cast(pl.Int64))
    return (some.struct.field("wall").cast(pl.Int64) - shift * 60_000_000).cast(pl.Datetime("us"))


def _in_utc(wall: Column, spelling: Spelling) -> Column:
    """Wall clock of the run's zone → UTC; null where the clock shows that time twice, or never."""
    if spelling.timezone == "UTC":
        return wall.dt.replace_time_zone("UTC")
    there = wall.dt.replace_time_zone(spelling.timezone, ambiguous="null", non_existent="null")
    return there.dt.convert_time_zone("UTC")


def _by_forms(plain: Column, spelling: Spelling) -> tuple[Column, Column]:
    """Values by the forms the run names (strftime), and where two of them differ in what they read."""
    read = pl.repeat(None, len(plain), dtype=INSTANT, eager=True)
    disputed = _always(False, len(plain))
    for form in spelling.date_formats:
        other = _by_form(plain, _form(form), spelling)
        disputed |= (read != other).fill_null(value=False)
        read = pl.select(pl.coalesce(read, other)).to_series()
    return _repaired(read, disputed, lambda some: pl.repeat(None, len(some), dtype=INSTANT, eager=True)), disputed


@dataclass(frozen=True)
class _Form:
    """A form of dates: in strftime for text in upper case, and what is in it."""

    text: str
    timed: bool
    zoned: bool
    names_zone: bool
    """A zone may stand in it as a word."""


_DIRECTIVE: Final = re.compile(r"(%[-_0^#:.]*[0-9]*[A-Za-z+%]?)")
_ZONE_WORD: Final = re.compile(r"(?<![A-Z])(?:UTC|GMT|Z)(?![A-Z])")


@cache
def _form(form: str) -> _Form:
    parts = _DIRECTIVE.split(form)
    parts[::2] = [literal.upper() for literal in parts[::2]]
    marks = {part[-1] for part in parts[1::2]}
    if not marks & set("zZ+s"):
        # A zone written out in the form counts as one in the text.
        parts[::2] = [_ZONE_WORD.sub("%Z", literal) for literal in parts[::2]]
    text = "".join(parts)
    names_zone = bool(re.search("%Z", text))
    # %Z takes any word and means nothing by it: the word becomes an offset.
    text = re.sub("%:*z|%Z", "%#z", text)
    return _Form(text, bool(marks & set("HIklTRXrcMSfp+s")), "%#z" in text or bool(marks & set("+s")), names_zone)


def is_form(form: str) -> bool:
    """Whether a form (strftime) can be read from: it knows day, month and year, and nothing in it is unknown."""
    moment = datetime(2024, 11, 22, 13, 44, 55, tzinfo=UTC)
    try:
        text = pl.Series([moment]).dt.strftime(form.replace("%#z", "%z")).str.to_uppercase()
        read = _by_form(text, _form(form), Spelling())[0]
    except pl.exceptions.PolarsError:
        return False
    return read is not None and read.date() == moment.date()


def _by_form(plain: Column, form: _Form, spelling: Spelling) -> Column:
    """Values of one form, upper case."""
    if form.names_zone:
        plain = _with_offsets(plain)
    if form.zoned:
        return plain.str.to_datetime(form.text, strict=False, time_unit="us", time_zone="UTC")
    if form.timed:
        return _in_utc(plain.str.to_datetime(form.text, strict=False, time_unit="us"), spelling)
    return _in_utc(plain.str.to_date(form.text, strict=False).cast(pl.Datetime("us")), spelling)


def _with_offsets(plain: Column) -> Column:
    """Values with the last word that names a zone as its offset; a word that is unknown, or names several, stays."""
    words = "|".join(codes.ZONE_OFFSETS)
    parts = plain.str.extract_groups(rf"(?s)^(.*[^A-Z]|)({words})([^A-Z].*|)$").struct.unnest()
    before, word, behind = parts.get_columns()
    offset = word.replace_strict(codes.ZONE_OFFSETS, default=None, return_dtype=pl.String)
    return pl.select(pl.coalesce(before + offset + behind, plain)).to_series()


def _epoch(plain: Column) -> Column:
    """9–10 digits are seconds, 12–13 milliseconds; 11 could be either and is null."""
    digits = plain.str.strip_prefix("-").str.len_bytes()
    number = plain.cast(pl.Int64)
    micros = pl.select(
        pl.when(digits <= 10).then(number * 1_000_000).when(digits >= 12).then(number * 1_000)
    ).to_series()
    return micros.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _instants_of(given: Column, field: str, spelling: Spelling) -> tuple[Column, pl.DataFrame]:
    """A column that is typed already."""
    if given.dtype == pl.Date:
        read = _in_utc(given.cast(pl.Datetime("us")), spelling)
    elif isinstance(given.dtype, pl.Datetime):
        micros = given.dt.cast_time_unit("us")
        read = micros.dt.convert_time_zone("UTC") if given.dtype.time_zone else _in_utc(micros, spelling)
    else:
        read = pl.repeat(None, len(given), dtype=INSTANT, eager=True)
    lost = (read.is_null() & given.is_not_null()).arg_true()
    faults = reasons(lost, f"{field}.unreadable", given.gather(lost).cast(pl.String, strict=False))
    return _within_calendar(read), faults


def _within_calendar(read: Column) -> Column:
    """Years before 1 and after 9999, which nothing can print, become the nearest that can; they are out of range."""
    return read.clip(datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC))


def _lost_instants(plain: Column, given: Column, at: Column, field: str, disputed: Column) -> pl.DataFrame:
    day_month = plain.str.extract_groups(_TWO_WAYS).struct.unnest().cast(pl.Int32)
    first, second = day_month.get_columns()
    two_ways = (first.is_between(1, 12) & second.is_between(1, 12) & (first != second)).fill_null(value=False)
    ambiguous = disputed | two_ways | plain.str.contains(r"^[0-9]{8}$") | plain.str.contains(_COMPACT)
    return pl.concat(
        [
            reasons(at.filter(ambiguous), f"{field}.ambiguous", given.filter(ambiguous)),
            reasons(at.filter(~ambiguous), f"{field}.unreadable", given.filter(~ambiguous)),
        ]
    )


def _lost(given: Column, read: Column, code: str) -> pl.DataFrame:
    """Reasons where something stood and nothing was read."""
    lost = (read.is_null() & (given.str.strip_chars() != "")).fill_null(value=False)
    return reasons(lost.arg_true(), code, given.filter(lost))


# Lists and JSON --------------------------------------------------------------------------------------------------

_JSON_TEXT: Final = r'"(?:[^"\\]|\\.)*"'
_JSON_NUMBER: Final = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_PLAIN_TEXT: Final = r'"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt])*"'
_PAIR: Final = rf"{_PLAIN_TEXT}\s*:\s*(?:{_PLAIN_TEXT}|{_JSON_NUMBER}|true|false|null)"
# What most metadata is: one level, no code points by number. The rest is given to a parser.
_FLAT_OBJECT: Final = rf"^\{{\s*{_PAIR}\s*(?:,\s*{_PAIR}\s*)*\}}$"


def text_list(values: Column, *, lower: bool, numbers: bool) -> Column:
    """A JSON array of text, or values separated by `;` → list of text: trimmed, no blanks, no repeats; empty is null.

    Null also where the JSON cannot be read.
    """
    plain = trimmed(values)
    item = rf"(?:{_JSON_TEXT}|{_JSON_NUMBER})" if numbers else _JSON_TEXT
    is_json = plain.str.starts_with("[").fill_null(value=False)
    read = plain.str.split(";")
    if is_json.any():
        whole = plain.str.contains(rf"^\[\s*(?:{item}\s*(?:,\s*{item}\s*)*)?\]$")
        valid = is_json & whole & plain.str.json_path_match("$").is_not_null()
        decoded = pl.select(pl.when(valid).then(plain)).to_series().str.json_decode(pl.List(pl.String))
        read = pl.select(pl.when(is_json).then(decoded).otherwise(read)).to_series()
    return _tidy_items(read, lower=lower)


def _tidy_items(lists: Column, *, lower: bool) -> Column:
    """Items normalised, without blanks and repeats; an empty list is null."""
    each = pl.element().str.strip_chars()
    if lower:
        each = each.str.to_lowercase()
    spelt = _apply(lists.explode(), _V.str.strip_chars().str.to_lowercase() if lower else _V.str.strip_chars())
    odd = spelt.filter(spelt.str.contains(r"[^\x00-\x7f]" if lower else _odd_id(codes.BLOCKED_IDS))).unique()
    if not odd.is_empty():
        # A function given to `list.eval` would be called for each list.
        each = each.replace(odd, email(odd) if lower else external_id(odd, frozenset())[0])
    tidy = lists.list.eval(each).list.eval(pl.element().filter(pl.element() != "")).list.unique(maintain_order=True)
    return pl.select(pl.when(tidy.list.len() > 0).then(tidy)).to_series()


def _lost_list(given: Column, read: Column, code: str) -> pl.DataFrame:
    """Reasons where JSON stood that could not be read; a list of nothing but blanks is just empty."""
    plain = given.str.strip_chars()
    lost = (
        read.is_null() & plain.str.starts_with("[") & ~plain.str.contains(r"^\[\s*(?:\"\s*\"[\s,]*)*\]$")
    ).fill_null(value=False)
    return reasons(lost.arg_true(), code, given.filter(lost))


def json_object(values: Column) -> tuple[Column, Column]:
    """JSON objects as they stand (an empty one is null), and where something else stood."""
    plain = trimmed(values)
    other = ~plain.str.contains(_FLAT_OBJECT)
    bad = pl.repeat(False, len(plain), dtype=pl.Boolean, eager=True)
    at = other.arg_true()
    if at.is_empty():
        return plain, bad
    some = plain.gather(at)
    valid = some.str.starts_with("{") & some.str.json_path_match("$").is_not_null()
    kept = pl.select(pl.when(valid & ~some.str.contains(r"^\{\s*\}$")).then(some)).to_series()
    return plain.clone().scatter(at, kept), bad.scatter(at, ~valid)


def _metadata(own: Column | None, extra: pl.DataFrame) -> Column:
    """One JSON object of the record's own metadata and the columns nobody mapped; null and blank values are left out.

    A column whose name the record's own metadata may hold already goes in as `column.<name>`.
    """
    pairs = [] if own is None else [_inner(own).alias("own")]
    for name in extra.columns:
        values = _blank_text_to_null(extra[name])
        pair = _encoded(values, name)
        if own is not None:
            taken = own.str.contains(f'"{name}"', literal=True).fill_null(value=False)
            pair = _repaired(pair, taken, lambda some: some.str.replace('"', '"column.', literal=True))
        pairs.append(pair.alias(f"p{len(pairs)}"))
    joined = pl.DataFrame(pairs).select(pl.concat_str(pl.all(), separator=",", ignore_nulls=True)).to_series()
    return pl.select(pl.when(joined != "").then(pl.concat_str(pl.lit("{"), joined, pl.lit("}")))).to_series()


def _encoded(values: Column, key: str) -> Column:
    """`"key":value` as JSON, null where the value is, or is no number. JSON has no infinite numbers: they are texts."""
    if values.dtype.is_float():
        values = _apply(values, pl.when(_V.is_not_nan()).then(_V))
    whole = values.alias(key).to_frame().select(pl.struct(key).struct.json_encode()).to_series()
    pairs = pl.select(pl.when(values.is_not_null()).then(_inner(whole))).to_series()
    if not (values.dtype.is_float() or values.dtype.is_nested()):
        return pairs
    endless = _apply(values, _is_endless(_V, values.dtype)).fill_null(value=False)
    return _filled(pairs, values, endless, lambda some: pl.Series([_pair(key, value) for value in some]))


def _pair(key: str, value: Any) -> str:
    return json.dumps({key: _finite(value)}, default=str, separators=(",", ":"), ensure_ascii=False)[1:-1]


def _is_endless(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Whether an infinite number stands in a value, however deep."""
    if dtype.is_float():
        return value.is_infinite()
    if isinstance(dtype, pl.List):
        return value.list.eval(_is_endless(pl.element(), dtype.inner)).list.any()  # type: ignore[arg-type]
    if isinstance(dtype, pl.Struct):
        return pl.any_horizontal(
            pl.lit(False),
            *(_is_endless(value.struct.field(each.name), each.dtype) for each in dtype.fields),  # type: ignore[arg-type]
        )
    return pl.repeat(False, pl.len(), dtype=pl.Boolean)


def _finite(value: Any) -> Any:
    """A value of Python's as JSON can have it."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | pl.Series) else value


def _inner(objects: Column) -> Column:
    """What stands between the braces of JSON objects."""
    return objects.str.slice(1).str.head(-1)


def _blank_text_to_null(values: Column) -> Column:
    return _apply(values, pl.when(_V.str.strip_chars() != "").then(_V)) if values.dtype == pl.String else values
