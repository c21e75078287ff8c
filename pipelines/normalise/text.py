"""Normalise free text and e-mail addresses."""

from __future__ import annotations

from typing import Final

import idna
import polars as pl

from tranship.pipelines.normalise.series import VALUE, blank_to_null, evaluate, null_text, replace_where

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

# Zero-width and bidirectional marks, BOM, soft hyphen, variation selectors and everything else that Unicode lets a
# program leave out of its display; also the annotation marks, which are not displayed either.
INVISIBLE: Final = r"[\p{Default_Ignorable_Code_Point}\x{FFF9}-\x{FFFB}]+"


def text(values: pl.Series) -> pl.Series:
    """Return text in NFC, trimmed, with runs of white space as one blank and without other control characters."""
    tidy = (
        VALUE.str.replace_all(WHITE_SPACE, " ")
        .str.replace_all(r"\p{Cc}+", "")
        .str.normalize("NFC")
        .str.strip_chars(" ")
    )
    # Removing a control character may leave two adjacent blanks.
    tidy = tidy.str.replace_all("  +", " ")
    return replace_where(values, values.str.contains(_UNTIDY), lambda part: evaluate(part, blank_to_null(tidy)))


def trimmed(values: pl.Series) -> pl.Series:
    """Trim both ends; blank becomes null."""
    bare = values.str.strip_chars()
    return replace_where(bare, bare == "", lambda part: null_text(len(part)))


def upper(values: pl.Series) -> pl.Series:
    """Trim, and convert to upper case."""
    return trimmed(values).str.to_uppercase()


def email(values: pl.Series) -> pl.Series:
    """Remove invisible characters, trim, convert to lower case, and encode international domains as ASCII (IDNA 2008
    with UTS 46 mapping).
    """

    def repair(addresses: pl.Series) -> pl.Series:
        lower = trimmed(addresses.str.replace_all(INVISIBLE, "")).str.to_lowercase()
        return replace_where(lower, lower.str.contains(r"@.*[^\x00-\x7f]"), _ascii_domains)

    return replace_where(values, values.str.contains(r"^$|[^!-@\[-~]"), repair)


def _ascii_domains(addresses: pl.Series) -> pl.Series:
    """Encode each distinct domain as ASCII; a domain that cannot be encoded is kept."""
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
