"""Initial customers: generated, the same ones at each provider, or from a CSV file with canonical columns."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Final

import polars as pl

from tranship.connectors.api.json_codec import encode
from tranship.connectors.errors import ConfigError
from tranship.connectors.sandbox.store import Record, Store, decode
from tranship.schemas.counted import counted
from tranship.schemas.customer import COLUMNS, INSTANT, INSTANTS, LISTS
from tranship.schemas.provider import ProviderSchema

_BATCH_ROWS: Final = 50_000
"""Customers generated together."""
_BEGINNING: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""Creation time of the first seeded customer at the provider; the others follow, one per second."""

_NAMES: Final = (
    *("Nordlys AB", "Blue Harbor Ltd", "Müller & Söhne GmbH", "東京物流株式会社", "Ateliê São João", "O'Neill Foods"),
    *('Šťastný "Trade" s.r.o.', "شركة النور", "Comma, Inc.", "Ελληνικά Πλοία", "Łódź Maszyny", "Zoë & Co 🚢"),
    *("Bergen Fisk", "Kestrel Analytics", "Data\\Path LLC", "Ünal Tekstil", "서울전자", "Quay <One>", "Víðir ehf"),
)
_PLACES: Final = (
    # country, state, city, zip, currency, time zone, language, calling code
    ("SE", None, "Umeå", "903 26", "SEK", "Europe/Stockholm", "sv", "+4690"),
    ("US", "ca", "San José", "95113", "USD", "America/Los_Angeles", "en-US", "+1408"),
    ("US", "ny", "New York", "00501", "USD", "America/New_York", "en-US", "+1212"),
    ("DE", None, "München", "80331", "EUR", "Europe/Berlin", "de", "+4989"),
    ("JP", "13", "千代田区", "100-0001", "JPY", "Asia/Tokyo", "ja", "+813"),
    ("BR", "SP", "São Paulo", "01000-000", "BRL", "America/Sao_Paulo", "pt-BR", "+5511"),
    ("GB", "Scotland", "Edinburgh", "EH1 1YZ", "GBP", "Europe/London", "en-GB", "+44131"),
    ("CA", "qc", "Montréal", "H2Y 1C6", "CAD", "America/Toronto", "fr-CA", "+1514"),
    ("IN", "KA", "Bengaluru", "560001", "INR", "Asia/Kolkata", "en-IN", "+9180"),
    ("AE", None, "دبي", None, "AED", "Asia/Dubai", "ar", "+9714"),
)
_STATUSES: Final = ("active", "active", "active", "trial", "inactive", "suspended", "cancelled", None)
_METADATA: Final = (
    None,
    '{"tier":"pro"}',
    '{"tier":"free","seats":12}',
    '{"seats":3,"flags":{"beta":true,"tags":["a","ü"]},"ratio":0.5}',
    '{"note":"commas, \\"quotes\\"\\nand lines","empty":""}',
)


def customers(number: int, first: int = 0) -> pl.DataFrame:
    """Return customers in canonical columns and types, always the same, numbered from `first`.

    Each has the fields that providers require: an external id, a unique e-mail, a country, a type, a creation date.
    """
    i = pl.col("i")
    names = ("country", "state", "city", "zip_code", "currency", "timezone", "language", "calling")
    place = pl.DataFrame(_PLACES, schema=list(names), orient="row").with_row_index("place")

    def cycled(pool: tuple[str | None, ...], step: int) -> pl.Expr:
        return pl.lit(pl.Series(pool)).gather(i * step % len(pool))

    def sometimes(value: pl.Expr, period: int, offset: int = 0) -> pl.Expr:
        return pl.when(i % period == offset).then(value)

    def mostly(value: pl.Expr, period: int, offset: int) -> pl.Expr:
        return pl.when(i % period != offset).then(value)

    born = pl.lit(datetime(2019, 1, 1, tzinfo=UTC)).cast(INSTANT) + pl.duration(minutes=i * 7919 % 3_000_000)
    name = pl.format("{} {}", cycled(_NAMES, 7), i)
    frame = (
        pl.DataFrame({"i": pl.int_range(first, first + number, eager=True)})
        .with_columns(place=(i * 3 % len(_PLACES)).cast(pl.UInt32))
        .join(place, on="place", how="left", maintain_order="left")
        .with_columns(
            external_id=pl.format("cus_{}", i.cast(pl.String).str.zfill(9)),
            email=pl.format("ap{}@nordlys-{}.example", i, i * 31 % 97),
            # One in 500 is longer than some providers allow.
            name=pl.when(i % 500 == 499).then(name + " of the northern islands" * 7).otherwise(name),
            legal_name=mostly(name + " Holding", 3, 0),
            customer_type=mostly(pl.lit("BUSINESS"), 11, 5).fill_null("INDIVIDUAL"),
            phone=mostly(pl.format("{}{}", "calling", (i % 10_000_000).cast(pl.String).str.zfill(7)), 4, 1),
            address_line1=mostly(pl.format("{} Storgatan, ö", i % 400 + 1), 6, 2),
            address_line2=sometimes(pl.format("c/o Floor {}", i % 30), 5),
            status=cycled(_STATUSES, 5),
            net_terms=mostly((i % 5 * 15).cast(pl.Int32), 3, 1),
            created_at=born,
            updated_at=mostly(born + pl.duration(days=30), 8, 7),
            trial_started=sometimes(born, 2),
            paid_started=sometimes(born + pl.duration(days=14), 4),
            cancel_date=sometimes(born + pl.duration(days=700), 16),
            tax_id=sometimes(pl.format("{}{}", "country", 100_000_000 + i), 3, 2),
            billing_contact_name=sometimes(pl.format("Åsa Nyström-{}", i % 100), 3),
            billing_contact_email=sometimes(pl.format("billing{}@nordlys.example", i), 3),
            invoice_cc_emails=sometimes(
                pl.concat_list(pl.format("cfo{}@nordlys.example", i), pl.lit("audit@nordlys.example")), 7
            ),
            aliases=sometimes(pl.concat_list(pl.format("legacy-{}", i)), 9),
            metadata=cycled(_METADATA, 3),
            provider=pl.lit(None, pl.String),
            provider_id=pl.lit(None, pl.String),
        )
    )
    return frame.select(list(COLUMNS))


def plant(
    provider: str,
    seeding: int | Path,
    store: Store,
    admit: Callable[[Record], str | None],
    from_address: Mapping[str, str],
) -> list[str]:
    """Create seeded customers by the provider's own rules: `admit` returns the reason for a refusal.

    `from_address`: fields that the address of a sandbox sets. Returns notes about refused customers. Raises ConfigError
    if the file cannot be used.
    """
    moments = count()
    clock, store.clock = store.clock, lambda: _BEGINNING + timedelta(seconds=next(moments))
    refused: Counter[str] = Counter()
    schema = _schema_of(provider)
    try:
        for frame in _generated(seeding) if isinstance(seeding, int) else _from_file(seeding):
            encoded = encode(schema, frame, from_address)
            reasons = encoded.refused.unique("position", keep="first")
            refused.update(reasons.select(pl.format("{}: {}", "code", "demand")).to_series())
            for body in encoded.bodies.drop_nulls():
                if reason := admit(decode(body)):
                    refused[reason] += 1
    finally:
        store.clock = clock
    return [f"refused {counted(number, 'customer')}: {reason}" for reason, number in refused.items()]


def spare(provider: str, from_address: Mapping[str, str]) -> Iterator[Record]:
    """Yield bodies of customers that no seed contains, endlessly."""
    for first in count(900_000_000, 100):
        yield from map(decode, encode(_schema_of(provider), customers(100, first), from_address).bodies)


def _schema_of(provider: str) -> ProviderSchema:
    schema: ProviderSchema = importlib.import_module(f"tranship.schemas.providers.{provider}").SCHEMA
    return schema


def _generated(number: int) -> Iterator[pl.DataFrame]:
    for first in range(0, number, _BATCH_ROWS):
        yield customers(min(_BATCH_ROWS, number - first), first)


def _from_file(path: Path) -> Iterator[pl.DataFrame]:
    try:
        frame = pl.read_csv(path, infer_schema=False)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or 'no such file'}") from None
    except pl.exceptions.PolarsError:
        raise ConfigError(f"{path}: is not a CSV file with a header.") from None
    if strange := [name for name in frame.columns if name not in COLUMNS]:
        raise ConfigError(
            f"{path}: a seed may only have canonical columns, not {', '.join(strange)}. The columns are: "
            f"{', '.join(COLUMNS)}"
        )
    typed = frame.select(_typed(name) if name in frame.columns else _absent(name) for name in COLUMNS)
    for name in frame.columns:
        lost = (typed[name].is_null() & frame[name].is_not_null()).arg_true()
        if len(lost):
            raise ConfigError(
                f"{path}: {name} of record {lost[0] + 1} is not in canonical form: write instants as "
                "2026-11-21T09:00:00Z, net_terms in days, lists as JSON."
            )
    yield from typed.iter_slices(_BATCH_ROWS)


def _absent(name: str) -> pl.Expr:
    return pl.lit(None, COLUMNS[name]).alias(name)


def _typed(name: str) -> pl.Expr:
    column = pl.col(name)
    if name in INSTANTS:
        return column.str.to_datetime(time_unit="us", time_zone="UTC", strict=False)
    if name in LISTS:
        array = column.str.contains(r'^\s*\[\s*("(?:[^"\\]|\\.)*"\s*(,\s*"(?:[^"\\]|\\.)*"\s*)*)?\]\s*$')
        return pl.when(array).then(column).str.json_decode(pl.List(pl.String))
    return column.cast(COLUMNS[name], strict=False)
