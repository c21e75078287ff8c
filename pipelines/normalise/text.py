"""Normalise free text and e-mail addresses."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

import idna
import msgspec
import polars as pl

from tranship.pipelines.normalise.series import VALUE, evaluate, null_text, replace_where
from tranship.schemas import codes

# Characters that NFC never changes, whatever their neighbours, and that are neither white space nor control characters:
# printable ASCII, and precomposed letters of many scripts. A test checks every one of them.
QUIET: Final = (
    r" -~\x{a1}-\x{2ff}"
    r"\x{370}-\x{373}\x{376}-\x{377}\x{37b}-\x{37d}\x{384}-\x{386}\x{388}-\x{38a}\x{38c}\x{38e}-\x{3a1}"
    r"\x{3a3}-\x{482}\x{48a}-\x{52f}\x{5d0}-\x{5ea}\x{621}-\x{64a}\x{660}-\x{66d}\x{671}-\x{6d3}\x{904}-\x{939}"
    r"\x{93d}-\x{94c}\x{e01}-\x{e30}\x{1ea0}-\x{1ef9}\x{2010}-\x{2027}\x{2030}-\x{203a}\x{3041}-\x{3096}\x{30a1}-\x{30fa}"
    r"\x{30fc}-\x{30fe}\x{4e00}-\x{9fff}\x{ac00}-\x{d7a3}"
)

_UNTIDY: Final = rf"^$|^ | $|  |[^{QUIET}]"

WHITE_SPACE: Final = r"\s+"

# Zero-width and bidirectional marks, BOM, soft hyphen, variation selectors and everything else that Unicode allows
# programs not to display; also the annotation marks, which are not displayed either.
INVISIBLE: Final = r"[\p{Default_Ignorable_Code_Point}\x{FFF9}-\x{FFFB}]+"


def text(values: pl.Series) -> pl.Series:
    """Return text in NFC, trimmed, with runs of white space as one blank and without other control characters. A word
    for no value (`NULL`, `N/A`, `-`) becomes null.
    """
    return _tidy(values, codes.NO_TEXT_WORDS)


def postal_code(values: pl.Series) -> pl.Series:
    """Return postal codes: as text, without the guard (`'01067`) that keeps a spreadsheet from reading a number."""
    codes_of_places = text(values)
    guarded = codes_of_places.str.contains(r"^'\s*[0-9]").fill_null(value=False)
    return replace_where(codes_of_places, guarded, lambda part: part.str.strip_prefix("'").str.strip_chars_start())


def name(values: pl.Series) -> pl.Series:
    """Return names: as text; a place-holder (`?`, `TBD`, `NaN`) becomes null."""
    return _tidy(values, codes.NO_NAME_WORDS)


def _tidy(values: pl.Series, absent: frozenset[str]) -> pl.Series:
    # One scan finds the few values that need work.
    return replace_where(values, values.str.contains(_odd_text(absent)), lambda part: _tidied(part, absent))


@cache
def _odd_text(absent: frozenset[str]) -> str:
    return rf"{_UNTIDY}|{_only(absent)}"


def _tidied(values: pl.Series, absent: frozenset[str]) -> pl.Series:
    # Each step scans for the values that need it: where all names have stray blanks, most need nothing else.
    bare = values.str.strip_chars()
    tight = replace_where(bare, bare.str.contains(_WIDE), lambda part: part.str.replace_all(_WIDE, " "))
    tidy = replace_where(tight, tight.str.contains(rf"[^{QUIET}]"), _composed)
    short = (tidy.str.len_chars() <= max(map(len, absent))).fill_null(value=False)
    return replace_where(tidy, short, lambda part: _unless_nothing(part, absent))


_WIDE: Final = r"\s\s+|[^\S ]"
"""White space that is not a single blank."""


def _composed(values: pl.Series) -> pl.Series:
    """Return text in NFC, without control characters."""
    return evaluate(
        values,
        VALUE.str.replace_all(r"\p{Cc}+", "")
        .str.normalize("NFC")
        .str.strip_chars(" ")
        # Removing a control character may leave two adjacent blanks.
        .str.replace_all("  +", " "),
    )


def _unless_nothing(tidy: pl.Series, absent: frozenset[str]) -> pl.Series:
    is_absent = VALUE.str.to_lowercase().is_in(list(absent)) & ~VALUE.is_in(list(codes.SHORT_NAMES))
    return evaluate(tidy, pl.when((VALUE != "") & ~is_absent).then(VALUE))


@cache
def _only(words: frozenset[str]) -> str:
    """Return a pattern that matches exactly one of these words, in any case."""
    return rf"^(?i-u:{'|'.join(re.escape(word) for word in sorted(words) if word.isascii())})$"


def is_flag(values: pl.Series) -> pl.Series:
    """Return a mask of the words of a flag: yes, no, 0, 1, in several languages."""
    words = sorted(codes.FLAG_WORDS - {"true", "false"})  # these are `not_text`
    return evaluate(values, VALUE.str.strip_chars().str.to_lowercase().is_in(words).fill_null(value=False))


def not_text(values: pl.Series) -> pl.Series:
    """Return a mask of the values that are true or false, or a list or an object as JSON."""
    truths = values.str.contains(r"^\s*(?i-u:true|false)\s*$").fill_null(value=False)
    nested = values.str.contains(r"^\s*[\[{]").fill_null(value=False)
    if not nested.any():
        return truths
    is_json = values.filter(nested).str.json_path_match("$").is_not_null()
    return truths.scatter(nested.arg_true(), is_json)


def without_words(values: pl.Series, absent: frozenset[str]) -> pl.Series:
    """Replace words for no value (`NULL`, `N/A`) by null, in a field in which they cannot be meant."""
    found = values.str.contains(rf"^\s*(?:{_only(absent)[1:-1]})\s*$")
    return replace_where(values, found, lambda part: null_text(len(part)))


def trimmed(values: pl.Series) -> pl.Series:
    """Trim both ends; blank becomes null."""
    bare = values.str.strip_chars()
    return replace_where(bare, bare == "", lambda part: null_text(len(part)))


def upper(values: pl.Series) -> pl.Series:
    """Trim, and convert to upper case."""
    return trimmed(values).str.to_uppercase()


def email(values: pl.Series) -> pl.Series:
    """Remove invisible characters, trim, convert to lower case, compose letters (NFC), and encode international domains
    as ASCII (IDNA 2008 with UTS 46 mapping). Of several addresses in one value the first is returned, without the name
    beside it.
    """

    return replace_where(values, values.str.contains(rf"^$|[^!-@\[-~]|{_LISTED}"), _repaired)


def _repaired(addresses: pl.Series) -> pl.Series:
    visible = trimmed(addresses)
    foreign = visible.str.len_bytes() > visible.str.len_chars()
    visible = replace_where(
        visible, foreign, lambda part: trimmed(part.str.replace_all(INVISIBLE, "").str.normalize("NFC"))
    )
    lower = visible.str.to_lowercase()
    listed = replace_where(lower, lower.str.contains(_LISTED), lambda part: _addresses_of(part).list.first())
    return replace_where(listed, foreign, _ascii_domains)


def further_emails(values: pl.Series, first: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Return the positions of the values that have several addresses, and, for each, the list of addresses after the
    first. `first` is the normalised `email` of each value.
    """
    # A value of several addresses is never its own first one.
    changed = values.ne_missing(first).arg_true()
    rows = changed.filter(values.gather(changed).str.contains(_LISTED).fill_null(value=False))
    # Most of them are one address with blanks around it.
    rows = rows.filter(values.gather(rows).str.strip_chars().str.contains(_JOINED))
    visible = values.gather(rows).str.replace_all(INVISIBLE, "").str.to_lowercase()
    joined = visible.str.strip_chars().str.contains(_JOINED)
    if not joined.any():
        return rows.clear(), pl.Series(dtype=pl.List(pl.String))
    rows, others = rows.filter(joined), _addresses_of(visible.filter(joined)).list.slice(1)
    several = others.list.len() > 0
    return rows.filter(several), others.filter(several)


# Characters that a single address never has: a separator between several, brackets around it or them, or a scheme
# before it.
_LISTED: Final = r"[,;<>|\s]|^\[|^(?i-u:mailto:)"

# The separators between several addresses, see `addresses`.
_JOINED: Final = r"[,;<>|\s\x1c-\x1f]|:::"

_ADDRESS: Final = r"([^<>\s@,;|:]+@[^<>\s@,;|]+)"

_SEPARATOR: Final = re.compile(r"(?:(?<!\s)\s+)?(?:[,;|\n]|:::)\s*")


def _addresses_of(values: pl.Series) -> pl.Series:
    """Return the addresses in each lower-case value, a list; the value itself where it is not a list of addresses."""
    distinct = values.unique()
    lists = pl.Series([value and addresses(value) for value in distinct], dtype=pl.List(pl.String))
    return lists.gather(
        values.replace_strict(distinct, pl.int_range(len(distinct), eager=True), return_dtype=pl.UInt32)
    )


def addresses(text: str) -> list[str]:
    """Return the e-mail addresses in a text: `a@b.co, c@d.co`, `Ann Lee <a@b.co>`, `mailto:a@b.co`. The text alone is
    returned if it is anything else.
    """
    if text.startswith("["):
        items = _items_of_json(text)
        return [text] if items is None else [found for item in items for found in addresses(item)]
    if re.match(r'"[^<>]*"@', text):  # a quoted local part
        return [text]
    if "<" in text:
        unquoted = re.sub(r'"[^"]*"', "", text)
        found = re.findall(rf"<\s*(?:mailto:)?{_ADDRESS}\s*>|{_ADDRESS}", unquoted)
        is_whole = "@" not in re.sub(_ADDRESS, "", unquoted) and unquoted.count("<") == unquoted.count(">")
        return [bracketed or bare for bracketed, bare in found] if found and is_whole else [text]
    parts = [part.removeprefix("mailto:") for part in _SEPARATOR.split(text.strip()) if part]
    if len(parts) == 1:
        parts = parts[0].split()
    return parts if parts and all(re.fullmatch(r"[^@\s]+@[^@\s]+", part) for part in parts) else [text]


def _items_of_json(text: str) -> list[str] | None:
    """Return the texts in a JSON array, without blank ones; null if it is anything else."""
    try:
        items = msgspec.json.decode(text, type=list[str])
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None
    return [item for item in items if item.strip()]


def _ascii_domains(values: pl.Series) -> pl.Series:
    """Encode each distinct domain as ASCII; a domain that cannot be encoded is kept."""
    return replace_where(values, values.str.contains(r"@.*[^\x00-\x7f]"), _encoded)


def _encoded(addresses: pl.Series) -> pl.Series:
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
