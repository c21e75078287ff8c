"""Build the fields that are not a plain column: from alternatives, joined columns, expressions and the user's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl
from msgspec import Struct
from msgspec.structs import replace

from tranship.connectors.contract import Batch
from tranship.pipelines import address_lists, expressions
from tranship.pipelines.field_rules import FieldRule
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.normalise.identifiers import codes_of_records
from tranship.pipelines.normalise.raw_text import as_text, beyond_precision, text_of_field
from tranship.pipelines.normalise.series import VALUE, blank_to_null, evaluate, null_text, replace_where
from tranship.schemas import address_kinds, codes
from tranship.schemas.address_kinds import Kind
from tranship.schemas.column_names import EVERYWHERE
from tranship.schemas.constant import constant
from tranship.schemas.customer import LISTS
from tranship.schemas.headers import is_customer

_ABSENT: Final = {
    **dict.fromkeys(("customer_type", "currency", "timezone", "status", "tax_id"), codes.NO_CODE_WORDS),
    "billing_contact_email": codes.NO_CODE_WORDS,
    # A column `Shipping Address` may contain flags.
    **dict.fromkeys(("address_line1", "address_line2"), codes.NO_TEXT_WORDS | codes.FLAGS),
    "country": codes.NO_CODE_WORDS - {"na"},  # Namibia
    "language": codes.NO_CODE_WORDS - {"na", "nan"},  # Nauru, Min Nan
    # A column `Company` may contain flags (whether the customer is a company).
    "name": codes.NO_NAME_WORDS | codes.FLAG_WORDS,
    "email": codes.NO_VALUE_WORDS,
    "external_id": codes.BLOCKED_IDS,
}
"""Field → the words for no value in it; in other fields `NO_TEXT_WORDS`."""

_NO_REACH: Final = {"email": r"(?i)^(?:\d+|true|false|yes|no)$", "phone": r"(?i)^(?:\d\d?|true|false|yes|no)$"}
"""Field → values of a second column that reach nobody: `Emails` may be how many a customer has, `Mobile` a flag."""

_ABSENT_IN_A_JOIN: Final = sorted(word for word in codes.NO_VALUE_WORDS if not word.isalpha())
"""Words for no value that are left out of joined columns. `Jane Null` may be a name; `Jane -` is not."""


class Prepared(Struct, frozen=True):
    """Records with one more column for each field that was built, and the map in which each field is a plain column.

    `matched` is the user's words that occurred, as (field, folded word).
    """

    records: pl.DataFrame
    columns: ColumnMap
    matched: frozenset[tuple[str, str]] = frozenset()


def prepare(batch: Batch, columns: ColumnMap) -> Prepared:
    """Build the fields of a batch, in the same row order; columns that it lacks are left out of the map.

    A field that is a plain column keeps its type, unless words are given for it. Raises Undecided if an expression
    cannot be applied to the values of its columns.
    """
    columns = columns.within(batch.records.columns)
    listed = address_lists.fields_of(columns.fields)
    contacts = address_lists.contacts_of(columns.fields)
    if not columns.built and not columns.words and not listed and not contacts:
        return Prepared(batch.records, columns)
    chosen: dict[str, pl.Series] = {}
    address = _address_of(batch, columns.built)
    made = {field: _built(batch, field, rule, chosen, address) for field, rule in columns.built.items()}
    for column in dict.fromkeys(listed.values()):
        made |= address_lists.parts(batch.records[column], [field for field in listed if listed[field] == column])
    made |= {field: address_lists.of_contact(batch.records[column], field) for field, column in contacts.items()}
    unused = [
        _unused(batch.records[column], columns, chosen) for column in columns.fallbacks if column in batch.records
    ]
    names = {}
    private = _of_private_companies(batch, columns, chosen)
    if private is not None:
        column = columns.fields["customer_type"]
        texts = _text(batch.records[column], "customer_type")
        made["customer_type"] = replace_where(texts, private, lambda part: null_text(len(part)))
        names["customer_type"] = f"\0\0{column}"
        if columns.keeps_unused and column not in columns.extra:
            unused.append(replace_where(texts, ~private, lambda part: null_text(len(part))).alias(column))
    matched: set[tuple[str, str]] = set()
    for field, words in columns.words.items():
        if field in made or field in columns.fields:
            values = made[field] if field in made else batch.records[columns.fields[field]]
            made[field], found = _replace_words(_text(values, field), words)
            matched.update((field, word) for word in found)
    # No column of a source has a name with a null character.
    names = {field: f"\0{field}" for field in made} | names
    records = batch.records.with_columns(*unused, *(values.alias(names[field]) for field, values in made.items()))
    extra = (*columns.extra, *(column.name for column in unused))
    plain = replace(columns, fields={**columns.fields, **names}, extra=extra, built={}, words={})
    return Prepared(records, plain, frozenset(matched))


def _address_of(batch: Batch, built: Mapping[str, FieldRule]) -> pl.Series | None:
    """Return which address each record has: the first one of which any field is filled, else the first; null if no
    rule has a choice. Where a column says what an address is for, one for invoices is before the others, and one for
    deliveries behind them.
    """
    rules = {field: rule for field, rule in built.items() if rule.addresses}
    kinds = {
        address: column
        for rule in rules.values()
        for address, column in zip(rule.addresses, rule.kinds, strict=False)
        if column in batch.records.columns
    }
    first: str | None = None
    found = best = pl.Series(dtype=pl.String)
    for address in dict.fromkeys(address for rule in rules.values() for address in rule.addresses):
        if address == EVERYWHERE:
            continue
        columns = {
            (field, column)
            for field, rule in rules.items()
            for number, alternative in enumerate(rule.alternatives)
            if rule.addresses[number] == address
            for column in alternative
            if column in batch.records.columns
        }
        filled = constant(False, batch.records.height)
        for field, column in columns:
            filled |= ~_is_absent(_joined([batch.records[column]], field), field)
        kind = _kind_of_address(batch, kinds.get(address), filled)
        if first is None:
            first, best = address, kind
            found = constant(address, batch.records.height, pl.String)
        else:
            better = kind < best
            found = constant(address, batch.records.height, pl.String).zip_with(better, found)
            best = kind.zip_with(better, best)
    return None if first is None else found


def _kind_of_address(batch: Batch, column: str | None, filled: pl.Series) -> pl.Series:
    """Return a number that is smaller for an address that is used before others."""
    kind = constant(int(Kind.OTHER), batch.records.height, pl.Int64)
    if column is not None:
        words = as_text(batch.records[column]).fill_null("")
        distinct = words.unique()
        meant = [address_kinds.of_word(word) for word in distinct]
        kind = words.replace_strict(distinct, [int(_AS_OTHER.get(one, one)) for one in meant], return_dtype=pl.Int64)
    return kind.zip_with(filled, constant(_BLANK, batch.records.height, pl.Int64))


_AS_OTHER: Final = {Kind.MAIN: Kind.OTHER}
"""The columns are already in the order of such words."""
_BLANK: Final = len(Kind)


def _built(
    batch: Batch, field: str, rule: FieldRule, chosen: dict[str, pl.Series], address: pl.Series | None
) -> pl.Series:
    """Return a field, and add to `chosen` the number of the alternative that each record has it from."""
    if rule.expression is not None:
        return expressions.evaluate(batch, rule.expression)
    result = null_text(batch.records.height)
    numbers = constant(len(rule.alternatives), batch.records.height, pl.UInt32)
    joined = {}
    for number, alternative in enumerate(rule.alternatives):
        parts = [batch.records[column] for column in alternative if column in batch.records.columns]
        if parts:
            joined[number] = _joined(parts, field)
    # A word for no value is used only if there is nothing else, so that it is reported as in a plain column.
    filled = {number: ~_is_absent(values, field) for number, values in joined.items()}
    present = {number: _is_present(values, field) for number, values in joined.items()}
    if field == "name" and len(joined) > 1:
        for number, alternative in enumerate(rule.alternatives):
            if number in joined and len(alternative) == 1 and is_customer(alternative[0]):
                filled[number] &= ~codes_of_records(joined[number])  # `Kunde` may be the number of one
                present[number] &= ~codes_of_records(joined[number])
    if field in _NO_REACH:
        for number in [number for number in joined if number]:
            reaches = evaluate(joined[number], ~VALUE.str.contains(_NO_REACH[field]).fill_null(value=False))
            filled[number], present[number] = filled[number] & reaches, present[number] & reaches
    if rule.before_company and len(rule.alternatives) - 1 in joined:
        person = _spellings([batch.records[column] for column in rule.alternatives[-1] if column in batch.records])
        for number in range(rule.before_company):
            if number in joined:
                filled[number] &= ~_is_one_of(joined[number], person)
    for usable in (filled, present):
        for number, values in joined.items():
            taken = result.is_null() & usable[number]
            if address is not None and rule.addresses and rule.addresses[number] != EVERYWHERE:
                taken &= address == rule.addresses[number]
            numbers = numbers.set(taken, number)
            result = values.zip_with(taken, result)
    chosen[field] = numbers
    return result


def _of_private_companies(batch: Batch, columns: ColumnMap, chosen: Mapping[str, pl.Series]) -> pl.Series | None:
    """Return a mask of the companies of a type such as `Privato`, which says that they are not public; null if it is
    not known which records are companies. A person is one whose name is the last alternative, made of several columns.
    """
    rule, column = columns.built.get("name"), columns.fields.get("customer_type")
    if rule is None or column not in batch.records.columns or len(rule.alternatives) < 2:
        return None
    if rule.expression is not None or len(rule.alternatives[-1]) < 2:
        return None
    words = codes.NOT_PUBLIC_WORDS - {*columns.words.get("customer_type", ())}
    word = _text(batch.records[column], "customer_type").str.strip_chars().str.to_lowercase()
    is_company = chosen["name"] < len(rule.alternatives) - 1
    return is_company & word.is_in(sorted(words)).fill_null(value=False)


def _unused(values: pl.Series, columns: ColumnMap, chosen: Mapping[str, pl.Series]) -> pl.Series:
    """Return a column without its values in the records in which a rule has used them."""
    for field, numbers in chosen.items():
        for number, alternative in enumerate(columns.built[field].alternatives):
            if values.name in alternative:
                values = (
                    values.to_frame("v").select(pl.when(numbers != number).then("v")).to_series().alias(values.name)
                )
    return values


def _spellings(parts: Sequence[pl.Series]) -> list[pl.Series]:
    """Return the name of a person, from first to last name and the other way round."""
    return [_joined(parts, "name"), _joined(parts[::-1], "name")]


def _is_one_of(values: pl.Series, names: Sequence[pl.Series]) -> pl.Series:
    """Return a mask of the values that are one of the names of the same record, ignoring case and commas."""
    plain = VALUE.str.to_lowercase().str.replace_all(r"[,\s]+", " ").str.strip_chars()
    compared = evaluate(values, plain)
    masks = [(compared == evaluate(name, plain)).fill_null(value=False) for name in names]
    return masks[0] | masks[1]


def _is_absent(values: pl.Series, field: str) -> pl.Series:
    """Return a mask of the values that are null or a word for no value."""
    words = VALUE.str.to_lowercase().is_in(sorted(_ABSENT.get(field, codes.NO_TEXT_WORDS)))
    if field == "name":
        words &= ~VALUE.is_in(sorted(codes.SHORT_NAMES))
    return evaluate(values, VALUE.is_null() | words)


def _is_present(values: pl.Series, field: str) -> pl.Series:
    """Return a mask of the values that are used if there is nothing better. A flag is never a name."""
    if field not in ("name", "address_line1", "address_line2"):
        return values.is_not_null()
    return evaluate(values, VALUE.is_not_null() & ~VALUE.str.to_lowercase().is_in(sorted(codes.FLAGS)))


def _joined(parts: Sequence[pl.Series], field: str) -> pl.Series:
    """Return the columns joined with a blank, or as a list; null where all are blank. Signs for no value (`-`, `n/a`)
    are left out unless there is nothing else.
    """
    texts = [evaluate(_text(part, field), blank_to_null(VALUE.str.strip_chars())) for part in parts]
    if len(texts) == 1:
        return texts[0]
    kept = [evaluate(text, pl.when(~VALUE.str.to_lowercase().is_in(_ABSENT_IN_A_JOIN)).then(VALUE)) for text in texts]
    separator = ";" if field in LISTS else " "
    whole = pl.concat_str([text.alias(str(at)) for at, text in enumerate(kept)], separator=separator, ignore_nulls=True)
    first = pl.coalesce(text.alias(str(at)) for at, text in enumerate(texts))
    if field == "address_line1" and len(kept) == 2:
        whole = _street_and_number(pl.lit(kept[0]), pl.lit(kept[1]), whole)
    joined = pl.select(pl.when(whole != "").then(whole).otherwise(first)).to_series()
    for part, text in zip(parts, texts, strict=True):
        if field == "external_id":
            # An id that has lost digits makes the joined value useless.
            joined = joined.zip_with(~beyond_precision(part), text)
    return joined


def _street_and_number(before: pl.Expr, behind: pl.Expr, joined: pl.Expr) -> pl.Expr:
    """Return a street and its house number joined, unless the street has the number already: `Main St. 12`, `12`."""
    in_first = _ends(before, behind) | (_begins(before, behind) & _is_number(behind))
    in_second = _begins(behind, before) | (_ends(behind, before) & _is_number(before))
    return pl.when(in_first).then(before).when(in_second).then(behind).otherwise(joined)


def _ends(whole: pl.Expr, part: pl.Expr) -> pl.Expr:
    return whole.str.ends_with(pl.concat_str(pl.lit(" "), part))


def _begins(whole: pl.Expr, part: pl.Expr) -> pl.Expr:
    return whole.str.starts_with(pl.concat_str(part, pl.lit(" ")))


def _is_number(part: pl.Expr) -> pl.Expr:
    return part.str.contains(r"^\d")


def _text(values: pl.Series, field: str) -> pl.Series:
    """Return the text of a column. A number that is too large for an id has an exponent, by which it is rejected."""
    text = text_of_field(values, field)
    if field != "external_id":
        return text
    lossy = beyond_precision(values)
    return replace_where(text, lossy, lambda _: pl.Series([f"{value:e}" for value in values.filter(lossy)]))


def _replace_words(texts: pl.Series, words: Mapping[str, str]) -> tuple[pl.Series, list[str]]:
    """Replace the words by their values, ignoring case and surrounding blanks; also return the words that occurred."""
    folded = texts.str.strip_chars().str.to_lowercase()
    known = folded.is_in(list(words)).fill_null(value=False)
    found = folded.filter(known)
    replaced = replace_where(texts, known, lambda _: found.replace_strict(words, return_dtype=pl.String))
    return replaced, found.unique().to_list()
