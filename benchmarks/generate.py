"""Generate millions of dirty customer records, and the counts that a correct load of them must report.

    python benchmarks/generate.py --rows 1000000 --seed 7 --out data/1m [--shuffle] [--change 0.05] [--dirt high]

writes customers.csv, customers.parquet and expected.json into the directory. Every record is a pure function of the
seed and its record number, so a file of any length is generated chunk by chunk, and `--shuffle` writes the same records
in another order. The kind of a record (a customer, an older version of one, a repeat without id, a faulty record)
follows from its number alone; expected.json sums these up, independently of the product.

`--dirt high` writes records of which hardly a value is in order: every name with stray blanks, every e-mail address in
capitals between blanks, five forms of dates, half of the phone numbers national, a tenth of them older versions.

The Parquet file contains the same values. `Updated At` (timestamp, UTC) and `Net Terms` (integer) are typed, because
all their forms are readable; `Created (UTC)` stays text, because some of its dates are unreadable.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

CHUNK_ROWS = 250_000
DAY = 86_400_000_000  # microseconds

COLUMNS = (
    "Customer ID", "E-mail", "Name", "Legal Name", "Customer Type", "Phone", "Address Line 1",
    "Address Line 2", "City", "State", "Zip/Postal Code", "Country", "Currency", "Timezone", "Language",
    "Status", "Net Terms", "Created (UTC)", "Updated At", "Metadata",
)  # fmt: skip

# Shares of all records. The rest are customers with one record each.
MAIL_REPEATS = 0.010  # no id, a customer's e-mail in another case; every other one is the newest
MAIL_CUSTOMERS = 0.020  # known by e-mail alone
MAIL_CUSTOMER_REPEATS = 0.004  # their repeats, in another case
SHARED_MAIL_PAIRS = 0.001  # two customers, two external ids, one e-mail: both load, with a warning
AMBIGUOUS_MAILS = 0.0005  # no external id, and the e-mail of such a pair: rejected
FAULTY = 0.025  # rejected by --strict for one to three faults; two in five have the external id of a valid customer

# Shares within a column, of the records where it may happen.
UNREADABLE_PHONES = 0.010
BLOCKED_MAILS = 0.002
BLOCKED_IDS = 0.010  # of the customers known by e-mail alone
NO_MAIL = 0.050
NO_UPDATED_AT = 0.010
STRAY_SPACE = 0.020


@dataclass(frozen=True)
class Dirt:
    """How dirty the records are: shares of all records or, of names and e-mail addresses, within the column."""

    older: float  # same external id, earlier updated_at
    spaced_names: float
    upper_mails: float
    spaced_mails: float
    national_phones: int  # of ten, in countries with a trunk prefix
    written_dates: bool  # as programs and people write them, instead of ISO 8601 and epoch numbers


DIRT = {
    "usual": Dirt(0.045, STRAY_SPACE, 0.04, STRAY_SPACE, 3, written_dates=False),
    "high": Dirt(0.100, 1.0, 1.0, 1.0, 5, written_dates=True),
}


@dataclass(frozen=True)
class Country:
    """A country and typical values of its customers; a phone is `lead` and random digits, `digits` in all."""

    alpha2: str
    alpha3: str
    name: str
    calling: str
    trunk: str
    lead: str
    digits: int
    zip_digits: int
    zip_tail: str
    currency: str
    timezone: str
    language: str
    cities: tuple[str, ...]
    states: tuple[str, ...]

    @classmethod
    def of(cls, row: dict[str, str]) -> Country:
        lists = {name: tuple(row.pop(name).split("|")) for name in ("cities", "states")}
        numbers = {name: int(row.pop(name)) for name in ("digits", "zip_digits")}
        return cls(**row, **numbers, **lists)  # type: ignore[arg-type]


with Path(__file__).with_name("countries.csv").open(encoding="utf-8", newline="") as _file:
    COUNTRIES = tuple(Country.of(row) for row in csv.DictReader(_file))
LANGUAGE_NAMES = {
    "en": "English", "de": "German", "fr": "French", "es": "Spanish", "nl": "Dutch", "sv": "Swedish",
    "da": "Danish", "pl": "Polish", "pt": "Portuguese", "ja": "Japanese", "hi": "Hindi",
}  # fmt: skip

# Name, and its form in an e-mail address.
FIRST_NAMES = (
    ("Anna", "anna"), ("James", "james"), ("Maria", "maria"), ("Robert", "robert"), ("Linda", "linda"),
    ("David", "david"), ("Susan", "susan"), ("John", "john"), ("Emma", "emma"), ("Olivia", "olivia"),
    ("Noah", "noah"), ("Liam", "liam"), ("José", "jose"), ("Zoë", "zoe"), ("Łukasz", "lukasz"),
    ("Åsa", "asa"), ("Jürgen", "juergen"), ("François", "francois"), ("Siân", "sian"), ("Nuño", "nuno"),
    ("Đorđe", "dorde"), ("Tomáš", "tomas"), ("Ngọc", "ngoc"), ("Mehmet", "mehmet"), ("Иван", "ivan"),
    ("Ольга", "olga"), ("Ελένη", "eleni"), ("太郎", "taro"), ("花子", "hanako"), ("伟", "wei"),
    ("지민", "jimin"), ("محمد", "mohammed"), ("نور", "noor"), ("प्रिया", "priya"), ("דנה", "dana"),
    ("Mary-Jane", "mary-jane"),
)  # fmt: skip
LAST_NAMES = (
    ("Smith", "smith"), ("Jones", "jones"), ("Brown", "brown"), ("Miller", "miller"), ("Davis", "davis"),
    ("Wilson", "wilson"), ("Moore", "moore"), ("Clark", "clark"), ("Lewis", "lewis"), ("Walker", "walker"),
    ("Hall", "hall"), ("O'Brien", "o'brien"), ("Müller", "mueller"), ("Øster", "oester"),
    ("García", "garcia"), ("Peña", "pena"), ("Lefèvre", "lefevre"), ("Škoda", "skoda"),
    ("Nguyễn", "nguyen"), ("Çelik", "celik"), ("Петров", "petrov"), ("Παππάς", "pappas"), ("山田", "yamada"),
    ("王", "wang"), ("김", "kim"), ("العلي", "alali"), ("शर्मा", "sharma"), ("כהן", "cohen"),
    ("Smith-Jones", "smith-jones"), ("MacLeod", "macleod"),
)  # fmt: skip
COMPANIES = (
    "Northwind", "Acme", "Blue Harbour", "Globex", "Initech", "Umbra", "Quick & Sons", "Café Lumière",
    "Bäckerei Süß", "Ægir Shipping", "Nordic Tools", "Piñata Games", "Кофейня", "富士商事",
    "Silk, Thread & Co.", 'The "Corner" Shop',
)  # fmt: skip
TRADES = ("Trading", "Labs", "Studio", "Logistics", "Foods", "Media", "Systems", "Group")
LEGAL_FORMS = (" Ltd", " GmbH", ", Inc.", " S.A.", " B.V.", " AB", " LLC", ' ("Holding") Ltd')
STREETS = (
    "Main Street", "Station Road", "Hauptstraße", "Rue de l'Église", "Calle Mayor", "Kungsgatan",
    "Market Square", "High Street", "Łąkowa", "Avenida Brasil", "Lindenallee", "Oak Drive",
)  # fmt: skip
SECOND_LINES = ("Suite 4", "2nd floor", "c/o Reception", "Unit 7, Block B", "Apt. 12", 'Door "B"')
STATUSES = (
    "active", "active", "active", "Active", "ACTIVE", "active", "trial", "trialing", "Trialling",
    "inactive", "lead", "trial ended", "Trial-Ended", "suspended", "Paused", "past_due", "Past Due",
    "cancelled", "canceled", "Canceled",
)  # fmt: skip
TYPES = ("BUSINESS", "business", "Business ", "INDIVIDUAL", "individual", "Individual")
NET_TERMS = (0, 7, 14, 30, 30, 30, 45, 60, 90, 365)
PLANS = ("free", "pro", "team", "enterprise")
CAMPAIGNS = ("spring", 'the \\"big\\" sale, 2024', "référence", "紹介", "partner")
UNREADABLE_PHONE_TEXTS = (
    "call me", "ext. 5", "on request", "555-CALL-NOW", "+999 123 456", "see e-mail", "12?",
)  # fmt: skip
BLOCKED_MAIL_TEXTS = ("noreply@example.com", "n/a", "test@test.com", "No-Reply@shop.example", "none", "-")
BLOCKED_ID_TEXTS = ("n/a", "N/A", "none", "unknown", "-", "TBD")


@dataclass(frozen=True)
class Faults:
    """The faults of one column: the values for each code with which they are rejected."""

    column: str
    weight: int
    values: dict[str, tuple[str | int, ...]]

    def pairs(self) -> list[tuple[str | int, str]]:
        return [(value, code) for code, values in self.values.items() for value in values]


FAULTS = (
    Faults("E-mail", 6, {
        "email.syntax": (
            "jane.doe(at)example.com", "@example.com", "jane@@example.com", "jane doe@example.com",
            "jane@example", "jane’s@example.com",
        ),
        "identity.missing": ("",),  # the external id is left out as well
    }),
    Faults("Name", 4, {"name.missing": ("", "   ", "\t\u00a0"), "name.too_long": ("Very " * 60,)}),
    Faults("Status", 4, {"status.unknown": ("gold", "pending??", "VIP")}),
    Faults("Created (UTC)", 5, {
        "created_at.unreadable": ("2023-02-30", "yesterday", "2021-06-31T10:00:00Z", "2024-13-01 08:00"),
        "created_at.ambiguous": ("03/04/2021", "1/2/2020", "05-06-2019 10:30", "03042021"),
        "created_at.range": ("2999-12-31",),
    }),
    Faults("Net Terms", 3, {"net_terms.range": (-1, 3651, 99999, -30)}),
    Faults("Country", 2, {"country.unknown": ("Atlantis", "XX", "Ruritania")}),
    Faults("Currency", 1, {"currency.unknown": ("DUCAT", "XXX", "$")}),
    Faults("Timezone", 1, {"timezone.unknown": ("Mars/Olympus", "GMT+25")}),
    Faults("Customer Type", 1, {"customer_type.unknown": ("ROBOT", "RETAIL")}),
    Faults("Language", 1, {"language.syntax": ("e!", "12-34")}),
    Faults("Metadata", 1, {"metadata.syntax": ('{"plan": ', "[1, 2]", "plan=pro")}),
)  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """The division of the record numbers 0 .. rows-1 into kinds, in this order."""

    customers: int
    older: int
    mail_repeats: int
    mail_customers: int
    mail_customer_repeats: int
    ambiguous: int
    faulty: int
    pairs: int

    @classmethod
    def of(cls, rows: int, dirt: Dirt) -> Layout:
        older, repeats, faulty = int(rows * dirt.older), int(rows * MAIL_REPEATS), int(rows * FAULTY)
        mails, mail_repeats = int(rows * MAIL_CUSTOMERS), int(rows * MAIL_CUSTOMER_REPEATS)
        pairs = int(rows * SHARED_MAIL_PAIRS)
        ambiguous = min(int(rows * AMBIGUOUS_MAILS), pairs)
        customers = rows - older - repeats - mails - mail_repeats - ambiguous - faulty
        return cls(customers, older, repeats, mails, mail_repeats, ambiguous, faulty, pairs)

    @property
    def versioned(self) -> int:
        """The number of customers that have older versions, starting with customer 0: most have one, some two."""
        return max(1, self.older * 4 // 5)

    @property
    def repeated(self) -> tuple[int, int]:
        """The first customer, and the one after the last, with a record without id; half of them have older versions as
        well."""
        first = max(0, self.versioned - self.mail_repeats // 2)
        return first, first + self.mail_repeats

    @property
    def first_pair(self) -> int:
        return self.customers - 2 * self.pairs


class Dice:
    """Seeded random draws for each value of a number column: SplitMix64 of the number, with one stream per name.

    Not polars' own `hash`, whose results may differ between releases.
    """

    def __init__(self, seed: int, column: str) -> None:
        self.seed, self.column = seed, column

    def draw(self, name: str) -> pl.Expr:
        stream = hashlib.blake2b(f"{self.seed}/{self.column}/{name}".encode(), digest_size=8).digest()
        mixed = pl.col(self.column) * _u64(0x9E3779B97F4A7C15) + _u64(int.from_bytes(stream, "big"))
        mixed = (mixed ^ (mixed // _u64(1 << 30))) * _u64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed // _u64(1 << 27))) * _u64(0x94D049BB133111EB)
        return mixed ^ (mixed // _u64(1 << 31))

    def below(self, name: str, limit: int) -> pl.Expr:
        return self.draw(name) % _u64(limit)

    def chance(self, name: str, share: float) -> pl.Expr:
        return self.below(name, 1_000_000) < _u64(round(share * 1_000_000))

    def pick(self, name: str, values: Sequence[str | int]) -> pl.Expr:
        return _at(self.below(name, len(values)), values)


def _u64(value: int) -> pl.Expr:
    return pl.lit(value, dtype=pl.UInt64)


def _at(index: pl.Expr, values: Sequence[str | int]) -> pl.Expr:
    return pl.lit(pl.Series(values)).gather(index)


def chunks(
    rows: int, seed: int, *, shuffle: bool = False, change: float = 0.0, dirt: Dirt = DIRT["usual"]
) -> Iterator[pl.DataFrame]:
    """Yield the records in file order: the columns of the file, and the generator's own data in columns `_…`."""
    order = pl.select(pl.int_range(rows, dtype=pl.UInt64).alias("number")).select(
        Dice(seed, "number").draw("shuffled order" if shuffle else "order").arg_sort().alias("number")
    )
    layout = Layout.of(rows, dirt)
    for offset in range(0, rows, CHUNK_ROWS):
        numbers = order.slice(offset, CHUNK_ROWS).select(pl.col("number").cast(pl.UInt64))
        yield _records(_kinds(numbers, layout, seed), layout, seed, change, dirt)


def _kinds(numbers: pl.DataFrame, layout: Layout, seed: int) -> pl.DataFrame:
    """Return for each `number` its kind, customer, version, and whether the record survives identification."""
    sizes = {
        "customer": layout.customers, "older": layout.older, "mail_repeat": layout.mail_repeats,
        "mail_customer": layout.mail_customers, "mail_customer_repeat": layout.mail_customer_repeats,
        "ambiguous": layout.ambiguous, "faulty": layout.faulty,
    }  # fmt: skip
    starts = [sum(list(sizes.values())[:i]) for i in range(len(sizes))]
    number = pl.col("number")
    kind_no = pl.sum_horizontal((number >= _u64(start)).cast(pl.UInt32) for start in starts[1:])
    frame = numbers.with_columns(_at(kind_no, list(sizes)).alias("kind"))
    frame = frame.with_columns((number - _at(kind_no, starts).cast(pl.UInt64)).alias("j"))
    j, kind = pl.col("j"), pl.col("kind")
    first, end = layout.repeated
    borrowed = Dice(seed, "number").below("borrowed customer", layout.customers)
    customer = (
        pl.when(kind == "older").then(j % _u64(layout.versioned))
        .when(kind == "mail_repeat").then(j + _u64(first))
        .when(kind.is_in(["mail_customer", "mail_customer_repeat"])).then(j + _u64(layout.customers))
        .when(kind == "ambiguous").then(j * _u64(2) + _u64(layout.first_pair))
        .when((kind == "faulty") & Dice(seed, "number").chance("borrows", 0.4)).then(borrowed)
        .when(kind == "faulty").then(j + _u64(layout.customers + layout.mail_customers))
        .otherwise(j)
    )  # fmt: skip
    frame = frame.with_columns(customer.alias("customer"))
    who = pl.col("customer")
    repeat_is_newest = who % _u64(2) == _u64(0)
    has_repeat = pl.when(kind.is_in(["mail_customer", "mail_customer_repeat"])).then(
        who < _u64(layout.customers + layout.mail_customer_repeats)
    ).otherwise((who >= _u64(first)) & (who < _u64(end)))  # fmt: skip
    frame = frame.with_columns(
        (has_repeat & repeat_is_newest).alias("repeat_wins"),
        (j // _u64(layout.versioned) + _u64(1)).cast(pl.Int64).alias("version"),
        (has_repeat | (who < _u64(layout.versioned))).alias("has_others"),
    )
    wins = (
        pl.when(kind.is_in(["customer", "mail_customer"])).then(~pl.col("repeat_wins"))
        .when(kind.is_in(["mail_repeat", "mail_customer_repeat"])).then("repeat_wins")
        .otherwise(False)
    )  # fmt: skip
    return frame.with_columns(wins.alias("survives"))


def _records(frame: pl.DataFrame, layout: Layout, seed: int, change: float, dirt: Dirt) -> pl.DataFrame:
    who, what = Dice(seed, "customer"), Dice(seed, "number")  # random draws of a customer, and of one record
    kind, survives = pl.col("kind"), pl.col("survives")
    faulty = kind == "faulty"
    alone = ~pl.col("has_others") & ~faulty
    paired = (kind == "customer") & (pl.col("customer") >= _u64(layout.first_pair))
    single = (kind == "customer") & alone & ~paired
    frame = frame.with_columns(
        who.below("country", len(COUNTRIES)).alias("country_no"),
        who.chance("business", 0.6).alias("business"),
        (survives & what.chance("phone unreadable", UNREADABLE_PHONES)).alias("_phone_unreadable"),
        (single & what.chance("mail blocked", BLOCKED_MAILS)).alias("_mail_blocked"),
        ((kind == "mail_customer") & alone & what.chance("id blocked", BLOCKED_IDS)).alias("_id_blocked"),
        (paired & survives).alias("_mail_shared"),
        (survives & who.chance("changed", change)).alias("_changed"),
        *_fault_columns(what, faulty),
        what.chance("no country", 0.06).alias("no_country"),
        what.below("updated form", 100).alias("updated_form"),
        what.below("created form", 100).alias("created_form"),
        _updated_base(who).alias("updated_base"),
    ).with_columns(
        (single & ~pl.col("_mail_blocked") & what.chance("no mail", NO_MAIL)).alias("no_mail"),
        _of_country("calling").alias("calling"),
        _of_country("trunk").alias("trunk"),
        _national_number(who).alias("national"),
        _updated(what, kind, alone).alias("updated"),
        (pl.col("updated_base") - (who.below("age", 2900).cast(pl.Int64) + 400) * DAY).alias("created"),
    )
    date_text = _written_date if dirt.written_dates else _date_text
    instant = _to_the_second("updated") if dirt.written_dates else _at_form("updated", "updated_form")
    columns = {
        "Customer ID": _external_id(what, kind),
        "E-mail": _email(who, what, layout, paired | (kind == "ambiguous"), dirt),
        "Name": _name(who, what, dirt),
        "Legal Name": _legal_name(who, what),
        "Customer Type": _customer_type(what),
        "Phone": _phone(what, faulty, dirt),
        "Address Line 1": _street(who, what),
        "Address Line 2": _mostly(who, "no second line", 0.75, who.pick("second line", SECOND_LINES)),
        "City": _city(who, what),
        "State": _of_country("states", who.below("state", 2), 2).replace("", None),
        "Zip/Postal Code": _zip(who),
        "Country": _country(what),
        "Currency": _currency(what),
        "Timezone": _timezone(what),
        "Language": _language(what),
        "Status": what.pick("status", STATUSES),
        "Net Terms": _mostly(what, "no net terms", 0.3, who.pick("net terms", NET_TERMS).cast(pl.Int32)),
        "Created (UTC)": _mostly(what, "no created", 0.03, date_text("created", "created_form")),
        "Updated At": date_text("updated", "updated_form"),
        "Metadata": _metadata(who),
    }
    frame = frame.with_columns(instant.alias("_updated_instant"))
    made = frame.select(
        *(text.alias(column) for column, text in columns.items()),
        "kind", "survives", "repeat_wins", "_updated_instant",
        "_phone_unreadable", "_mail_blocked", "_id_blocked", "_mail_shared", "_changed",
        *(f"_value {f.column}" for f in FAULTS), *(f"_code {f.column}" for f in FAULTS),
    )  # fmt: skip
    return made.with_columns(
        *(pl.coalesce(f"_value {f.column}", f.column).alias(f.column) for f in FAULTS),
        pl.when((pl.col("_code E-mail") == "identity.missing").fill_null(False))
        .then(pl.lit(None, dtype=pl.String)).otherwise("Customer ID").alias("Customer ID"),
    ).drop(f"_value {f.column}" for f in FAULTS)  # fmt: skip


def _fault_columns(what: Dice, faulty: pl.Expr) -> Iterator[pl.Expr]:
    """Return for each column that can be at fault the invalid value and its code; null where the value is valid."""
    slots = [number for number, fault in enumerate(FAULTS) for _ in range(fault.weight)]
    second, third = what.chance("second fault", 0.2), what.chance("third fault", 0.06)
    for number, fault in enumerate(FAULTS):
        at_fault = faulty & (
            (what.pick("fault", slots) == number)
            | (second & (what.below("second fault column", len(FAULTS)) == number))
            | (third & (what.below("third fault column", len(FAULTS)) == number))
        )
        values, codes = zip(*fault.pairs(), strict=True)
        drawn = what.below(f"fault in {fault.column}", len(values))
        value = _at(drawn, values)
        value = value.cast(pl.Int32) if fault.column == "Net Terms" else value
        yield pl.when(at_fault).then(value).alias(f"_value {fault.column}")
        yield pl.when(at_fault).then(_at(drawn, codes)).alias(f"_code {fault.column}")


def _mostly(dice: Dice, name: str, share: float, value: pl.Expr) -> pl.Expr:
    """Return the value, and null for a share of the records."""
    return pl.when(~dice.chance(name, share)).then(value)


def _external_id(what: Dice, kind: pl.Expr) -> pl.Expr:
    plain = pl.format("cus_{}", (pl.col("customer") + _u64(10_000_000)).cast(pl.String))
    spaced = pl.when(what.chance("space in id", STRAY_SPACE)).then(pl.format(" {} ", plain)).otherwise(plain)
    return (
        pl.when("_id_blocked").then(what.pick("blocked id", BLOCKED_ID_TEXTS))
        .when(kind.is_in(["customer", "older", "faulty"])).then(spaced)
    )  # fmt: skip


def _email(who: Dice, what: Dice, layout: Layout, paired: pl.Expr, dirt: Dirt) -> pl.Expr:
    first = _at(who.below("first name", len(FIRST_NAMES)), [ascii for _, ascii in FIRST_NAMES])
    last = _at(who.below("last name", len(LAST_NAMES)), [ascii for _, ascii in LAST_NAMES])
    pair = (pl.col("customer") - _u64(layout.first_pair)) // _u64(2)
    domain = pl.when(who.chance("IDN", 0.002)).then(pl.lit("bücher.example")).otherwise(
        who.pick("domain", ["example.com", "example.org", "mail.example", "post.example.net", "shop.example"])
    )  # fmt: skip
    address = pl.format("{}.{}{}@{}", first, last, pl.col("customer"), domain)
    # An older version may have an earlier address, which no other customer has.
    former = pl.format("{}.{}@old.example", last, pl.col("customer"))
    address = (
        pl.when((pl.col("kind") == "older") & what.chance("former mail", 0.2)).then(former)
        .when(paired).then(pl.format("office{}@family.example", pair))
        .otherwise(address)
    )  # fmt: skip
    repeat = pl.col("kind").is_in(["mail_repeat", "mail_customer_repeat", "ambiguous"])
    upper = what.chance("upper case mail", dirt.upper_mails)
    spaced = what.chance("space in mail", dirt.spaced_mails)
    return (
        pl.when("_mail_blocked").then(what.pick("blocked mail", BLOCKED_MAIL_TEXTS))
        .when("no_mail").then(None)
        .when(upper & spaced).then(pl.format(" {}\u00a0", address.str.to_uppercase()))
        .when(repeat & what.chance("title case", 0.5)).then(address.str.to_titlecase())
        .when(repeat | upper).then(address.str.to_uppercase())
        .when(spaced).then(pl.format(" {}\u00a0", address))
        .otherwise(address)
    )  # fmt: skip


def _name(who: Dice, what: Dice, dirt: Dirt) -> pl.Expr:
    first = who.below("first name", len(FIRST_NAMES))
    last = who.below("last name", len(LAST_NAMES))
    decomposed = what.chance("NFD", 0.05)
    firsts, lasts = [name for name, _ in FIRST_NAMES], [name for name, _ in LAST_NAMES]
    middle = who.pick("middle name", ["", "", " M.", " J.", " de", " van der", " K.", " al"])
    plain = pl.format("{}{} {}", _at(first, firsts), middle, _at(last, lasts))
    nfd = pl.format("{}{} {}", _at(first, _nfd(firsts)), middle, _at(last, _nfd(lasts)))
    person = pl.when(decomposed).then(nfd).otherwise(plain)
    named = pl.when("business").then(_company(who)).otherwise(person)
    spaced = pl.format("  {}\t", named.str.replace(" ", "   "))
    return (
        pl.when(what.chance("space in name", dirt.spaced_names)).then(spaced)
        .when(what.chance("line break in name", 0.002)).then(named.str.replace(" ", "\n"))
        .otherwise(named)
    )  # fmt: skip


def _nfd(texts: Sequence[str]) -> list[str]:
    return [unicodedata.normalize("NFD", text) for text in texts]


def _company(who: Dice) -> pl.Expr:
    owner = who.pick("last name", [name for name, _ in LAST_NAMES])
    return pl.format("{} {} {}", who.pick("company", COMPANIES), owner, who.pick("trade", TRADES))


def _legal_name(who: Dice, what: Dice) -> pl.Expr:
    legal = pl.format("{}{}", _company(who), who.pick("legal form", LEGAL_FORMS))
    return pl.when(pl.col("business") & ~what.chance("no legal name", 0.2)).then(legal)


def _customer_type(what: Dice) -> pl.Expr:
    half = len(TYPES) // 2
    form = what.below("type form", half)
    spelled = pl.when("business").then(_at(form, TYPES[:half])).otherwise(_at(form, TYPES[half:]))
    return _mostly(what, "no type", 0.05, spelled)


def _of_country(field: str, index: pl.Expr | None = None, width: int = 1) -> pl.Expr:
    """Return a value of the record's country; the `index`-th one if a country has `width` of them."""
    values: list[Any] = []
    for country in COUNTRIES:
        value = getattr(country, field)
        values.extend(value if isinstance(value, tuple) else [value])
    position = pl.col("country_no") * _u64(width)
    return _at(position if index is None else position + index, values)


def _national_number(who: Dice) -> pl.Expr:
    digits = who.below("phone", 10**12).cast(pl.String).str.zfill(pl.lit(12)).str.slice(0, 10)
    return (_of_country("lead") + digits).str.slice(0, _of_country("digits"))


def _phone(what: Dice, faulty: pl.Expr, dirt: Dirt) -> pl.Expr:
    """Return phone numbers, all readable given the country's trunk prefix and lengths, except those drawn as
    unreadable."""
    calling, trunk, national = pl.col("calling"), pl.col("trunk"), pl.col("national")
    a, b, c = national.str.slice(0, 3), national.str.slice(3, 3), national.str.slice(6)
    form = what.below("phone form", 10)
    international = pl.format("+{}{}", calling, national)
    at_home = pl.when((form >= _u64(3)) & (form < _u64(3 + dirt.national_phones))).then((form - _u64(3)) % _u64(3))
    return (
        pl.when("_phone_unreadable").then(what.pick("unreadable phone", UNREADABLE_PHONE_TEXTS))
        .when(faulty | what.chance("no phone", 0.15)).then(None)
        .when(form == 0).then(pl.format("+{} {} {} {}", calling, a, b, c))
        .when(form == 1).then(pl.format("00{} {}-{}-{}", calling, a, b, c))
        .when((form == 2) & (trunk == "0")).then(pl.format("+{} (0){} {}", calling, a, b + c))
        .when(pl.col("no_country")).then(international)
        .when(at_home == 0).then(pl.format("({}) {}-{}", trunk + a, b, c))
        .when(at_home == 1).then(pl.format("{}{}.{}.{}", trunk, a, b, c))
        .when(at_home == 2).then(pl.format("{}/{} {}", trunk + a, b, c))
        .otherwise(international)
    )  # fmt: skip


def _street(who: Dice, what: Dice) -> pl.Expr:
    plain = pl.format("{} {}", who.below("house", 2000) + _u64(1), who.pick("street", STREETS))
    broken = pl.format("{}\nBuilding {}", plain, who.below("building", 9))
    return (
        pl.when(what.chance("no street", 0.05)).then(None)
        .when(what.chance("line break", 0.01)).then(broken)
        .when(what.chance("comma", 0.05)).then(pl.format('{}, "East" wing', plain))
        .otherwise(plain)
    )  # fmt: skip


def _city(who: Dice, what: Dice) -> pl.Expr:
    city = _of_country("cities", who.below("city", 4), 4)
    city = (
        pl.when(what.chance("no city", 0.05)).then(None)
        .when(what.chance("space in city", STRAY_SPACE)).then(pl.format("{}  ", city))
        .otherwise(city)
    )  # fmt: skip
    moved = pl.format("{} West", city.str.strip_chars_end().fill_null("Old Town"))
    return pl.when("_changed").then(moved).otherwise(city)


def _zip(who: Dice) -> pl.Expr:
    digits = who.below("zip", 100_000_000).cast(pl.String).str.zfill(pl.lit(8))
    width = _of_country("zip_digits")
    return digits.str.slice(0, width) + _of_country("zip_tail")


def _country(what: Dice) -> pl.Expr:
    code, name, form = _of_country("alpha2"), _of_country("name"), what.below("country form", 20)
    return (
        pl.when("no_country").then(None)
        .when(form == 0).then(code.str.to_lowercase())
        .when(form < 3).then(_of_country("alpha3"))
        .when(form < 7).then(name)
        .when(form == 7).then(name.str.to_uppercase())
        .when(form == 8).then(pl.format(" {} ", name.str.to_lowercase()))
        .otherwise(code)
    )  # fmt: skip


def _currency(what: Dice) -> pl.Expr:
    code = _of_country("currency")
    return (
        pl.when(what.chance("no currency", 0.05)).then(None)
        .when(what.chance("lower currency", 0.1)).then(code.str.to_lowercase())
        .otherwise(code)
    )  # fmt: skip


def _timezone(what: Dice) -> pl.Expr:
    name = _of_country("timezone")
    return (
        pl.when(what.chance("no timezone", 0.2)).then(None)
        .when(what.chance("lower timezone", 0.03)).then(name.str.to_lowercase())
        .otherwise(name)
    )  # fmt: skip


def _language(what: Dice) -> pl.Expr:
    code, region, form = _of_country("language"), _of_country("alpha2"), what.below("language form", 20)
    names = [LANGUAGE_NAMES.get(country.language, country.language) for country in COUNTRIES]
    return (
        pl.when(form < 2).then(None)
        .when(form < 6).then(pl.format("{}-{}", code, region))
        .when(form < 8).then(pl.format("{}_{}", code, region))
        .when(form == 8).then(pl.format("{}-{}", code.str.to_uppercase(), region.str.to_lowercase()))
        .when(form == 9).then(_at(pl.col("country_no"), names))
        .otherwise(code)
    )  # fmt: skip


def _metadata(who: Dice) -> pl.Expr:
    plan, seats = who.pick("plan", PLANS), who.below("seats", 500)
    campaign = pl.when(who.chance("campaign", 0.3)).then(
        pl.format(',"campaign":"{}"', who.pick("campaign text", CAMPAIGNS))
    ).otherwise(pl.lit(""))  # fmt: skip
    text = pl.concat_str(
        pl.lit('{"plan":"'), plan, pl.lit('","seats":'), seats, pl.lit(',"crm_ref":"A-'),
        who.below("crm ref", 10**8), pl.lit('"'), campaign, pl.lit("}"),
    )  # fmt: skip
    return _mostly(who, "no metadata", 0.25, text)


def _updated_base(who: Dice) -> pl.Expr:
    """Return the time of the last update of the newest record with the external id, in µs since 1970: 2021 to 2025."""
    seconds = who.below("updated", 5 * 365 * 86_400).cast(pl.Int64) + 1_609_459_200
    return seconds * 1_000_000 + who.below("ms", 1000).cast(pl.Int64) * 1000


def _updated(what: Dice, kind: pl.Expr, alone: pl.Expr) -> pl.Expr:
    """Return times at least two days apart between the records of a customer, so that dates without a time keep their
    order."""
    days = (
        pl.when(kind == "older").then(-pl.col("version") * 150 + what.below("days", 100).cast(pl.Int64))
        .when(kind.is_in(["mail_repeat", "mail_customer_repeat"])).then(
            (what.below("days", 37).cast(pl.Int64) + 3) * pl.when("repeat_wins").then(1).otherwise(-1)
        )
        .when(kind == "faulty").then(what.below("days", 30).cast(pl.Int64) + 50)
        .otherwise(0)
    )  # fmt: skip
    days = days + pl.when("_changed").then(45).otherwise(0)
    known = ~(alone & what.chance("no updated", NO_UPDATED_AT))
    return pl.when(known).then(pl.col("updated_base") + days * DAY)


OFFSETS = (("+02:00", 120), ("-05:00", -300), ("+0530", 330), ("+09", 540))


def _date_text(instant: str, form: str) -> pl.Expr:
    """Return the instant in one of eight forms, drawn in the column `form` (0-99); `_at_form` returns the precision
    that they keep."""
    text = pl.col(instant).cast(pl.Datetime("us")).dt.strftime("%Y-%m-%dT%H:%M:%S%.3f")
    offset = pl.col("number") % _u64(len(OFFSETS))
    minutes = _at(offset, [minutes for _, minutes in OFFSETS]).cast(pl.Int64)
    local = (pl.col(instant) + minutes * 60_000_000).cast(pl.Datetime("us")).dt.strftime("%Y-%m-%dT%H:%M:%S")
    drawn = pl.col(form)
    return (
        pl.when(drawn < 30).then(pl.format("{}Z", text.str.slice(0, 19)))
        .when(drawn < 45).then(pl.format("{}Z", text))
        .when(drawn < 55).then(text.str.slice(0, 19))
        .when(drawn < 70).then(text.str.slice(0, 19).str.replace("T", " ", literal=True))
        .when(drawn < 80).then(pl.format("{}{}", local, _at(offset, [suffix for suffix, _ in OFFSETS])))
        .when(drawn < 88).then(text.str.slice(0, 10))
        .when(drawn < 95).then((pl.col(instant) // 1_000_000).cast(pl.String))
        .otherwise((pl.col(instant) // 1000).cast(pl.String))
    )  # fmt: skip


def _at_form(instant: str, form: str) -> pl.Expr:
    """Return the instant with the precision of its written form: milliseconds, whole seconds, or the day."""
    value, drawn = pl.col(instant), pl.col(form)
    kept = (
        pl.when(drawn.is_between(30, 44) | (drawn >= 95)).then(value)
        .when(drawn.is_between(80, 87)).then(value // DAY * DAY)
        .otherwise(value // 1_000_000 * 1_000_000)
    )  # fmt: skip
    return kept.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _to_the_second(instant: str) -> pl.Expr:
    return (pl.col(instant) // 1_000_000 * 1_000_000).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _written_date(instant: str, form: str) -> pl.Expr:
    """Return the instant, to the second, in one of five forms that people and programs write."""
    moment, drawn = pl.col(instant).cast(pl.Datetime("us")), pl.col(form) // 20
    return (
        pl.when(drawn == 0).then(moment.dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
        .when(drawn == 1).then(moment.dt.strftime("%d.%m.%Y %H:%M:%S"))
        .when(drawn == 2).then(moment.dt.strftime("%d-%b-%Y %H:%M:%S"))
        .when(drawn == 3).then(moment.dt.strftime("%B %-d, %Y at %-I:%M:%S %p"))
        .otherwise(moment.dt.strftime("%Y/%m/%d %H:%M:%S"))
    )  # fmt: skip


class Expectation:
    """Sums up the counts that a correct load of the records must report."""

    def __init__(self) -> None:
        self.sums: Counter[str] = Counter()
        self.codes: Counter[str] = Counter()

    def add(self, chunk: pl.DataFrame) -> None:
        kind, survives = pl.col("kind"), pl.col("survives")
        rejected = kind.is_in(["faulty", "ambiguous"])
        merged = ~rejected & ~survives
        by_id = merged & (kind == "older") & ~pl.col("repeat_wins")  # loser and survivor had the external id
        self.sums.update(
            chunk.select(
                pl.len().alias("read"), rejected.sum().alias("rejected"), merged.sum().alias("merged"),
                by_id.sum().alias("external_id"), survives.sum().alias("survivors"),
                (kind == "ambiguous").sum().alias("ambiguous"),
                pl.col("_changed").sum().alias("updated"),
                pl.col("_phone_unreadable").sum().alias("phone.unreadable"),
                pl.col("_mail_blocked").sum().alias("email.blocked"),
                pl.col("_id_blocked").sum().alias("external_id.blocked"),
                pl.col("_mail_shared").sum().alias("email.shared"),
            ).row(0, named=True)
        )  # fmt: skip
        for fault in FAULTS:
            counted = chunk[f"_code {fault.column}"].drop_nulls().value_counts()
            self.codes.update(dict(counted.iter_rows()))

    def as_dict(self, *, changed: bool) -> dict[str, Any]:
        """Return the expected counts; with `changed`, those of a run over a table that contains the unchanged file of
        these rows and seed."""
        sums, by_id = self.sums, self.sums["external_id"]
        warnings = ("phone.unreadable", "email.blocked", "external_id.blocked", "email.shared")
        codes = self.codes + Counter({"identity.ambiguous_email": sums["ambiguous"]})
        expected: dict[str, Any] = {
            "read": sums["read"],
            "rejected": sums["rejected"],
            "rejects_by_code": dict(sorted(codes.items())),
            "merged": sums["merged"],
            "merges_by_rule": {"external_id": by_id, "email": sums["merged"] - by_id},
            "created": 0 if changed else sums["survivors"],
            "warnings_by_code": {code: sums[code] for code in sorted(warnings) if sums[code]},
            "survivors": sums["survivors"],
        }
        if changed:
            expected |= {"updated": sums["updated"], "unchanged": sums["survivors"] - sums["updated"]}
        return expected


def write(
    out: Path, rows: int, seed: int, *, shuffle: bool = False, change: float = 0.0, dirt: str = "usual"
) -> dict[str, Any]:
    """Write customers.csv, customers.parquet and expected.json into `out`; return the last."""
    out.mkdir(parents=True, exist_ok=True)
    expectation = Expectation()
    parquet: pq.ParquetWriter | None = None
    with (out / "customers.csv").open("wb") as text:
        for number, chunk in enumerate(chunks(rows, seed, shuffle=shuffle, change=change, dirt=DIRT[dirt])):
            expectation.add(chunk)
            chunk.select(COLUMNS).write_csv(text, include_header=number == 0)
            typed = chunk.with_columns(pl.col("_updated_instant").alias("Updated At")).select(COLUMNS)
            table = typed.to_arrow(compat_level=pl.CompatLevel.oldest())
            parquet = parquet or pq.ParquetWriter(out / "customers.parquet", table.schema, compression="zstd")
            parquet.write_table(table, row_group_size=125_000)
    if parquet:
        parquet.close()
    expected = expectation.as_dict(changed=change > 0)
    (out / "expected.json").write_text(json.dumps(expected, indent=2) + "\n", encoding="utf-8")
    return expected


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, required=True, help="directory, created if missing")
    parser.add_argument("--shuffle", action="store_true", help="the same records in another order")
    parser.add_argument(
        "--change", type=float, default=0.0, metavar="SHARE", help="share of the survivors that get another city"
    )
    parser.add_argument("--dirt", choices=DIRT, default="usual", help="how dirty the records are (default: usual)")
    args = parser.parse_args()
    if args.rows < 1 or not 0 <= args.change <= 1:
        parser.error("--rows must be at least 1, --change between 0 and 1")
    expected = write(args.out, args.rows, args.seed, shuffle=args.shuffle, change=args.change, dirt=args.dirt)
    print(json.dumps(expected, indent=2))


if __name__ == "__main__":
    main()
