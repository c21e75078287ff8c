"""What a spreadsheet makes of values that nobody has touched: 01067 becomes 1067, 1234567890123456 becomes
1.23457E+15, 2024-03-01 becomes 01.03.2024 or 45352. Such a value is not a correction, and the original is used.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from tranship.schemas.cells import guarded

MOST_CHARACTERS: Final = 32_767
"""Maximum length of the text of a cell, in characters."""
_NUMBER: Final = r"^[+-]?[0-9]+(?:\.[0-9]+)?$"
_SCIENTIFIC: Final = r"^[+-]?[0-9](?:[.,][0-9]+)?E[+-]?[0-9]+$"
_SHOWN: Final = 5e-6
"""A long number is shown, and saved as CSV, with six digits."""
_LONG: Final = 12
_EXACT: Final = 15
"""Digits of a number that a spreadsheet keeps."""
_DATE: Final = r"^([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[T ].*)?$"
_OTHER_DATE: Final = r"^([0-9]{1,2}[./-][0-9]{1,2}[./-][0-9]{2,4})(?: .*)?$"
_FORMS: Final = tuple(
    form.replace("/", sign) for sign in "./-" for form in ("%d/%m/%Y", "%m/%d/%Y", "%d/%m/%y", "%m/%d/%y")
)
_SERIAL: Final = r"^([0-9]{1,7})(?:[.,][0-9]+)?$"
_BOOLEANS: Final = {"true": ("TRUE", "WAHR", "VRAI", "VERDADERO"), "false": ("FALSE", "FALSCH", "FAUX", "FALSO")}
_FOREIGN: Final = "[^\\x{00}-\\x{7F}\\x{A0}-\\x{FF}€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"
"""Characters that the CSV of Excel on Windows does not have: it saves question marks."""


def is_same(original: pl.Expr, given: pl.Expr) -> pl.Expr:
    """Return whether two texts are one value, however it is written in a file; two nulls are."""
    original, given = (text.str.replace_all("\r\n", "\n", literal=True) for text in (original, given))
    return (
        original.eq_missing(given)
        | (guarded(original) == given).fill_null(value=False)
        | (given.str.len_chars() == MOST_CHARACTERS).and_(original.str.starts_with(given)).fill_null(value=False)
    )


def is_remade(original: pl.Expr, given: pl.Expr) -> pl.Expr:
    """Return whether a spreadsheet writes the original like this by itself."""
    found = (
        _is_number(original, given)
        | _is_date(original, given)
        | (original.str.contains(_FOREIGN) & (original.str.replace_all(_FOREIGN, "?") == given))
    )
    for word, written in _BOOLEANS.items():
        found |= (original.str.to_lowercase() == word) & given.is_in(list(written))
    return found.fill_null(value=False)


def _is_number(original: pl.Expr, given: pl.Expr) -> pl.Expr:
    # Half of the world writes a comma.
    numbers = [
        pl.when(text.str.contains(form)).then(text.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False))
        for text, form in ((original, _NUMBER), (given, r"^[+-]?[0-9]+(?:[.,][0-9]+)?(?:E[+-]?[0-9]+)?$"))
    ]
    before, after = numbers
    digits = original.str.count_matches("[0-9]")
    shorter = (before == after) & (given.str.len_chars() < original.str.len_chars())
    shown = given.str.contains(_SCIENTIFIC) & (digits >= _LONG) & ((before - after).abs() <= before.abs() * _SHOWN)
    cut = original.str.slice(_EXACT).str.replace_all("[0-9]", "0")
    exact = (digits > _EXACT) & (original.str.head(_EXACT) + cut == given)
    return shorter | shown | exact


def _is_date(original: pl.Expr, given: pl.Expr) -> pl.Expr:
    before = original.str.extract(_DATE).str.to_date("%Y-%m-%d", strict=False)
    other = given.str.extract(_OTHER_DATE)
    found = pl.any_horizontal(before == other.str.to_date(form, strict=False) for form in _FORMS)
    days = given.str.extract(_SERIAL).cast(pl.Int32, strict=False)
    return found | (pl.date(1899, 12, 30) + pl.duration(days=days) == before)
