"""Codes and their synonyms: countries, currencies, time zones, languages, statuses, phone numbering plans.

Short lists are here; long ones are CSV files in data/, read on first use. data/README.md lists their sources and
editions, and data/build.py writes them. Frames are shared between callers and must not be changed in place.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import polars as pl
from polars.datatypes import DataTypeClass

# The two enums of the canonical customer.
CUSTOMER_TYPES = ("BUSINESS", "INDIVIDUAL")
STATUSES = ("active", "trial", "inactive", "suspended", "cancelled")

# Folded (trimmed, lower case, runs of space, hyphen and underscore as one underscore) -> status.
# Source: status words of the five providers as of 2026-11, GrowPanel's (lead, trialing, past_due, canceled,
# trial_ended, paused) and the canonical ones, with the British spellings.
STATUS_WORDS: dict[str, str] = {
    "active": "active",
    "trial": "trial",
    "trialing": "trial",
    "trialling": "trial",
    "inactive": "inactive",
    "lead": "inactive",
    "trial_ended": "inactive",
    "suspended": "suspended",
    "paused": "suspended",
    "past_due": "suspended",
    "cancelled": "cancelled",
    "canceled": "cancelled",
}

# Words for a missing value, typed by people or written by spreadsheets, databases and programs. They identify nobody
# and never match. All lower case; our own list.
NO_VALUE_WORDS = frozenset(
    {
        *("-", "--", "---", ".", "?", "??", "???", "n/a", "n.a.", "na", "none", "null", "<nil>", "unknown"),
        *("nan", "-nan", "undefined", "<na>", "<null>", "<none>", "(null)", "(none)", "[null]", "\\n"),
        *("(blank)", "(empty)", "[object object]"),
        # Excel, Google Sheets and LibreOffice, in English and German.
        *("#n/a", "#n/a!", "#na", "#ref!", "#value!", "#name?", "#div/0!", "#null!", "#num!", "#spill!", "#calc!"),
        *("#field!", "#blocked!", "#unknown!", "#connect!", "#busy!", "#getting_data", "#error!", "#nv", "#bezug!"),
        *("#wert!", "#zahl!"),
    }
)
BLOCKED_EMAIL_LOCALS = frozenset({"noreply", "no-reply", "no_reply", "donotreply", "do-not-reply"})
BLOCKED_EMAILS = frozenset({"test@test.com", "test@example.com", "none@none.com", "na@na.com", "n/a@n/a.com"})
BLOCKED_IDS = NO_VALUE_WORDS | {
    *("test", "tbd", "0"),
    # RFC 9562: the nil and the max UUID.
    *("00000000-0000-0000-0000-000000000000", "00000000000000000000000000000000"),
    *("ffffffff-ffff-ffff-ffff-ffffffffffff", "ffffffffffffffffffffffffffffffff"),
    "{00000000-0000-0000-0000-000000000000}",
}
EMPTY_WORDS_EMAIL = NO_VALUE_WORDS

# The word in the first cell of a report's last line, lower case, without the figure behind it. A customer with such an
# id must have an e-mail.
TOTAL_WORDS = frozenset({
    "total", "totals", "grand total", "sub total", "subtotal", "sub-total", "sum", "sums", "total sum",
    "sum total", "gesamt", "gesamtsumme", "insgesamt", "summe", "zwischensumme", "total général",
    "total general", "sous-total", "somme", "totaux", "totale", "totali", "totale generale", "subtotale",
    "somma", "totales", "suma", "suma total", "totais", "total geral", "soma", "totaal", "eindtotaal",
    "subtotaal", "som", "totalt", "summa", "delsumma", "i alt", "yhteensä", "razem", "ogółem", "celkem",
    "součet", "összesen", "toplam", "genel toplam", "jumlah", "итого", "всего", "合计", "合計", "总计", "總計", "総計",
    "小计", "小計", "합계", "총계", "count", "record count", "row count", "total count", "total records", "total rows",
    "total customers", "number of records", "number of rows", "average", "anzahl",
})  # fmt: skip

# Words for a zone that mean one offset only. Left out, since they could mean two: CST and CDT (Chicago, Havana,
# Shanghai), IST (India, Ireland, Israel), BST (Britain, Bangladesh), AST (Halifax, Riyadh), SST, GST, ECT, AMT and
# others. Sources: RFC 5322, section 4.3 for the American ones, IANA time zone database for the others.
ZONE_OFFSETS = {
    **dict.fromkeys(("UTC", "GMT", "UT", "Z", "WET"), "+0000"),
    **{"CET": "+0100", "WEST": "+0100", "CEST": "+0200", "EET": "+0200", "EEST": "+0300", "MSK": "+0300"},
    **{"EST": "-0500", "EDT": "-0400", "MST": "-0700", "MDT": "-0600", "PST": "-0800", "PDT": "-0700"},
    **{"AKST": "-0900", "AKDT": "-0800", "HST": "-1000", "NST": "-0330", "NDT": "-0230"},
    **{"WAT": "+0100", "CAT": "+0200", "SAST": "+0200", "EAT": "+0300", "PKT": "+0500", "WIB": "+0700"},
    **{"HKT": "+0800", "AWST": "+0800", "JST": "+0900", "KST": "+0900"},
    **{"ACST": "+0930", "ACDT": "+1030", "AEST": "+1000", "AEDT": "+1100", "NZST": "+1200", "NZDT": "+1300"},
}

# The country column of calling codes that belong to no country (+800 and the like): UN M.49 "World".
WORLD = "001"


@cache
def countries() -> pl.DataFrame:
    """Return spelling (upper case, single spaces) and code (ISO 3166-1 alpha-2), one row per spelling.

    Spellings are alpha-2, alpha-3, English names and common aliases. Ambiguous names (Korea, America) are left out.
    Sources: ISO 3166-1 by pycountry 26.2.16, CLDR 47 English names, own aliases.
    """
    return _table("countries.csv")


@cache
def country_codes() -> frozenset[str]:
    """Return the ISO 3166-1 alpha-2 codes, without user-assigned ones such as XK. Source as countries()."""
    return frozenset(countries()["code"])


@cache
def currencies() -> frozenset[str]:
    """Return the active ISO 4217 codes without XXX (none) and XTS (tests). Source: pycountry 26.2.16."""
    return frozenset(_table("currencies.csv")["code"])


@cache
def timezones() -> pl.DataFrame:
    """Return spelling (lower case) and name (official IANA spelling), one row per name.

    Links such as US/Pacific count as names and are not resolved.
    Source: IANA time zone database 2026f by tzdata 2026.6.
    """
    return _table("timezones.csv")


@cache
def timezone_names() -> frozenset[str]:
    """Return the IANA names in their official spelling. Source as timezones()."""
    return frozenset(timezones()["name"])


@cache
def languages() -> pl.DataFrame:
    """Return spelling (lower case, single spaces) and code (BCP 47, shortest form), one row per spelling.

    Spellings are three-letter codes that have a two-letter one (deu and ger -> de) and English names, a few with a
    region or script (flemish -> nl-BE). Codes in their shortest form are not included. Sources: ISO 639 by pycountry
    26.2.16, CLDR 47 English names, own aliases.
    """
    return _table("languages.csv")


@cache
def phone_regions() -> pl.DataFrame:
    """Return country, calling_code, trunk, lengths and longest, one row per country.

    country is an ISO 3166-1 alpha-2 code, or one of the numbering plans' own AC, TA, XK. trunk is the prefix dialled
    before a national number, without being part of it; it may be empty. Bit n of lengths (UInt32) is set where a
    national number of n digits, trunk not counted, is possible; longest (Int64) is the usual maximum number of digits
    of a mobile or fixed line number. Source: phonenumbers 9.0.43 (libphonenumber); the trunk of BY is ours.
    """
    return _phones().filter(pl.col("country") != WORLD)


@cache
def phone_prefixes() -> pl.DataFrame:
    """Return prefix, calling_code and lengths for the first three digits of an international number.

    A prefix has one row, or none if no calling code starts it. Bit n of lengths (UInt32) is set if n digits after the
    calling code are possible in a country with this code. Source as phone_regions().
    """
    plans = _phones().group_by("calling_code").agg(pl.col("lengths").bitwise_or())
    rows = [
        (str(prefix), calling_code, lengths)
        for calling_code, lengths in plans.rows()
        for prefix in range(int(calling_code.ljust(3, "0")), int(calling_code.ljust(3, "9")) + 1)
    ]
    schema = {"prefix": pl.String, "calling_code": pl.String, "lengths": pl.UInt32}
    return pl.DataFrame(rows, schema, orient="row").sort("prefix")


@cache
def _phones() -> pl.DataFrame:
    return _table("phones.csv", {"lengths": pl.UInt32, "longest": pl.Int64})


def _table(name: str, dtypes: Mapping[str, DataTypeClass] | None = None) -> pl.DataFrame:
    """Read a CSV file of data/ as text, except for the given dtypes. No value becomes null: NA is Namibia."""
    content = files("tranship.schemas").joinpath("data", name).read_bytes()
    return pl.read_csv(content, infer_schema=False, schema_overrides=dtypes, empty_string_is_null=False)
