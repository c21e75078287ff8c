"""The declarations of all providers, a model of how a provider answers, and canonical customers of every kind."""

from __future__ import annotations

import itertools
import json
import pkgutil
import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import polars as pl

from tranship.connectors.api.json_codec import decode, encode
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.normalise.batch import customers
from tranship.pipelines.normalise.spelling import Spelling
from tranship.pipelines.validate import faults
from tranship.schemas import providers
from tranship.schemas.compatibility import losses
from tranship.schemas.customer import COLUMNS
from tranship.schemas.provider import Field, Overflow, ProviderSchema, quoted, texts

PROVIDERS: list[ProviderSchema] = [
    module.SCHEMA
    for found in pkgutil.iter_modules(providers.__path__)
    if hasattr(module := import_module(f"tranship.schemas.providers.{found.name}"), "SCHEMA")
]

STRINGS = ProviderSchema(
    provider="strings",
    title="Strings",
    fields=(
        Field("id", canonical="provider_id", settable=False, always_present=True, server_generated=True),
        Field(
            "ids",
            "texts",
            derived="external_id and aliases",
            write=quoted(
                pl.concat_list(pl.col("external_id"), texts("aliases").fill_null([]))
                .list.drop_nulls()
                .list.unique(maintain_order=True)
            ),
        ),
        Field("title", canonical="name", required=True, write=pl.col("name").str.head(20)),
        Field(
            "state", canonical="status", server_generated=True, write=pl.col("status").replace({"trial": "trialing"})
        ),
        Field(
            "terms",
            "array",
            write=pl.coalesce("strings.terms", pl.lit('[{"value":') + pl.col("net_terms") + "}]"),
            read=pl.when(~pl.col("terms").str.contains(r'^\[\{"value":[0-9]+\}\]$')).then("terms"),
        ),
        Field("logo", canonical=None),
        Field("score", "integer"),
        Field("ratio", "number"),
        Field("vip", "boolean"),
        Field("links", "texts"),
        Field("options", "object", default='{"a":1}'),
        Field("files", "json"),
        Field("closed_at", settable=False),
        Field("source", from_address=True, required=True),
    ),
    overflow=Overflow("fields", "texts", max_key_length=30, max_value_length=25),
    reads={
        "external_id": texts("ids").list.first(),
        "aliases": quoted(texts("ids").list.slice(1)),
        "status": pl.col("state").replace({"trialing": "trial"}),
        "net_terms": pl.col("terms").str.extract(r'^\[\{"value":([0-9]+)\}'),
    },
    overrides={"status": pl.when(pl.col("closed_at").is_not_null()).then(pl.lit("cancelled"))},
    partial={"name": "20 characters"},
)
"""Not a provider: every feature of a declaration in one, with narrow limits."""

SCHEMAS = [*PROVIDERS, STRINGS]

TOLD = {"data_source": "ds_main", "source": "s1"}

_SAMPLES = {
    "text": "2026-11-21T09:00:00.000Z",
    "integer": 7,
    "number": 1.5,
    "boolean": True,
    "texts": ["x"],
    "array": [{"id": "s"}],
    "object": {"k": "v"},
    "json": {"k": ["v"]},
}
_IDS = itertools.count()


def _overruling(schema: ProviderSchema) -> set[str]:
    return {name for rule in schema.overrides.values() for name in rule.meta.root_names()}


def told(schema: ProviderSchema) -> dict[str, str]:
    return {one.name: TOLD[one.name] for one in schema.fields if one.from_address}


def answered(schema: ProviderSchema, bodies: Iterable[str], *, read_only: bool = False) -> list[dict[str, Any]]:
    """Return the records that a provider returns after it received these bodies; with `read_only`, also a value in
    every field that it sets itself.
    """
    found = []
    for at, body in enumerate(bodies):
        record = json.loads(body)
        for one in schema.fields:
            if one.name == schema.id and not one.settable:
                record[one.name] = f"{schema.provider}-{next(_IDS)}"
            elif one.server_generated and one.settable:
                record[one.name] = None if at % 2 else record.get(one.name)
            elif one.server_generated:
                moment = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(seconds=next(_IDS))
                record[one.name] = moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")
            elif read_only and not one.settable and not one.derived:
                if at % 4 == 0 or one.name not in _overruling(schema):
                    record[one.name] = _SAMPLES[one.kind]
            elif one.default is not None and record.get(one.name) is None:
                record[one.name] = one.default if one.kind == "text" else json.loads(one.default)
            elif one.always_present and one.kind == "texts":
                record.setdefault(one.name, [])
            elif at % 3 == 0:
                record.setdefault(one.name, None)
        found.append(record)
    return found


def typed(records: pl.DataFrame) -> pl.DataFrame:
    """Return decoded records as the pipeline converts them; all of them must be valid."""
    whole = ColumnMap({name: name for name in COLUMNS}, (), {})
    normalised = customers(records, whole, Spelling())
    found = faults(normalised)
    assert found.is_empty(), found.to_dicts()
    return normalised.records


def frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Convert rows of raw text to typed canonical customers as in the stage. Rows that are not customers are left
    out."""
    text = pl.DataFrame(
        [{name: row.get(name) for name in COLUMNS} for row in rows], schema=dict.fromkeys(COLUMNS, pl.String)
    )
    normalised = customers(text, ColumnMap({name: name for name in COLUMNS}, (), {}), Spelling())
    bad = faults(normalised)["at"].unique()
    return normalised.records.with_row_index("at").filter(~pl.col("at").is_in(bad.implode())).drop("at")


def there_and_back(
    schema: ProviderSchema, customers: pl.DataFrame, *, read_only: bool = False
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the customers that the provider accepts, and the records that it returns for them, row by row."""
    sent = encode(schema, customers, told(schema))
    taken = sent.bodies.is_not_null()
    answers = answered(schema, sent.bodies.drop_nulls(), read_only=read_only)
    back = decode(schema, [json.dumps(answers[:3]), json.dumps(answers[3:], ensure_ascii=False)])
    assert back.broken.is_empty(), back.broken.to_dicts()
    assert not back.surprises
    return customers.filter(taken), typed(back.records)


def comparable(customers: pl.DataFrame, lost: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Return rows with metadata in a normal form, without the fields that are lost."""
    lost = set(lost)
    rows = []
    for row in customers.to_dicts():
        metadata = json.loads(row["metadata"] or "{}")
        metadata = {key: value for key, value in metadata.items() if f"metadata.{key}" not in lost}
        row["metadata"] = json.dumps(metadata, sort_keys=True)
        rows.append({name: value for name, value in row.items() if name not in lost})
    return rows


def carried(customers: pl.DataFrame, schema: ProviderSchema) -> pl.DataFrame:
    """Return customers with the metadata entry about their origin that is written to a provider: `<provider>.id`."""
    metadata = []
    for row in customers.select("provider", "provider_id", "metadata").to_dicts():
        entries = json.loads(row["metadata"] or "{}")
        if row["provider"] not in (None, schema.provider) and row["provider_id"] is not None:
            entries.setdefault(f"{row['provider']}.id", row["provider_id"])
        metadata.append(json.dumps(entries) if entries else None)
    return customers.with_columns(metadata=pl.Series(metadata, dtype=pl.String))


def always_lost(schema: ProviderSchema) -> set[str]:
    return {loss.field for loss in losses(schema)}


# Customers -------------------------------------------------------------------------------------------------------

HARD_TEXTS = (
    *(
        "Acme",
        "Ünïcödé 株式会社 🚀",
        'the "best" \\ of\\n',
        "null",
        "true",
        "007",
        "1e5",
        "[]",
        "{}",
        '["a"]',
        '{"a":1}',
    ),
    *(
        'x"canon_city":"y',
        '"',
        "\\",
        "a,b",
        "x" * 255,
        "é" * 255,
        "\u202e reversed",
        "O'Brien",
        "-0",
        "?",
        "a" * 21,
        "b" * 161,
    ),
)
HARD_KEYS = (
    *("tier", "", "canon", "canon_", "canon_x", "canon_city", "canon_status", "canon_metadata", "canon_metadata_1"),
    *("canon_name_1", "canon_nulls", "canon_updated_at", "canon_provider_id", 'q"uote', "d.ot", "sl/ash", "ti~lde"),
    *(
        "b\\ackslash",
        "ключ",
        "🚀",
        "$",
        "$.a",
        "*",
        "[0]",
        "0",
        "metronome.foo",
        "k" * 31,
        "k" * 101,
        "k" * 300,
        "null",
        "a b",
        "\t",
    ),
    *(
        f"{schema.provider}.{name}"
        for schema in SCHEMAS
        for name in ("foo", *(one.name for one in schema.fields), schema.overflow.name, "canon")
    ),
)
HARD_VALUES = (
    *(
        None,
        True,
        False,
        0,
        -1,
        30,
        2**53 + 1,
        2**63,
        -(2**63),
        2**64,
        10**40,
        0.1,
        -0.0,
        1e300,
        1.5,
        1e-7,
        "",
        "x",
        "30",
    ),
    *(
        "null",
        "2",
        "[1]",
        "é🚀",
        'a"b\\c\n\u0001',
        "v" * 25,
        "v" * 26,
        "v" * 200,
        "v" * 201,
        "v" * 1000,
        "🚀" * 201,
        [],
        {},
    ),
    *(
        [None],
        [1, None, "a", []],
        {"a": None},
        {"canon_city": "x", "": {"b": [1.0]}},
        {"value": 5},
        [{"value": 5}],
        ["x", "y"],
    ),
    *([{"a": {"b": {"c": [None, {"d": "e"}]}}}], [""]),
)
_STATUS = ("active", "trial", "inactive", "suspended", "cancelled")


def rows(seed: int, count: int, keys: Sequence[str] = ()) -> list[dict[str, str | None]]:
    """Return customers as raw text, the same for the same seed; a field that no provider requires is absent in a third
    of them. Each of `keys` is in the metadata of a fifth.
    """
    chance = random.Random(seed)
    pick = chance.choice

    def instant() -> str:
        moment = datetime(1950, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.randrange(4 * 10**9))
        return (moment + timedelta(microseconds=pick((0, 0, 1, 500_000, 123_456)))).isoformat()

    def metadata() -> str:
        # Each at random from difficult values, and entries named after fields with values that may fit them.
        pairs = {pick(HARD_KEYS): pick(HARD_VALUES) for _ in range(chance.randrange(6))}
        schema = pick(SCHEMAS)
        pairs |= {
            schema.key(one.name): pick((_SAMPLES[one.kind], pick(HARD_VALUES)))
            for one in schema.fields
            if chance.random() < 0.2
        }
        pairs |= {key: "x" for key in keys if chance.random() < 0.2}
        return json.dumps(pairs, ensure_ascii=pick((True, False)), indent=pick((None, None, 1)))

    def mail(at: int) -> str:
        return pick((f"u{at}@example.com", f"o'b+{at}@exämple.com", f"{'l' * 60}{at % 10}@{'d' * 60}.{'e' * 60}.com"))

    columns: dict[str, Any] = {
        "external_id": lambda at: pick(
            (f"cus_{at}", f"a/b?#{at}", f"{at:04}", f"{'i' * 200}{at}", f'"{at}"', f"ü{at}")
        ),
        "email": mail,
        "legal_name": lambda at: pick(HARD_TEXTS),
        "customer_type": lambda at: pick(("BUSINESS", "INDIVIDUAL")),
        "phone": lambda at: pick(("+46701234567", "ask for Bob", "+1 202 555 0143")),
        **{
            name: lambda at: pick(HARD_TEXTS)
            for name in ("address_line1", "address_line2", "city", "zip_code", "tax_id")
        },
        "state": lambda at: pick(("CA", "ca", "New York", "NY", "Bayern", "ON", "zz")),
        "country": lambda at: pick(("SE", "US", "CA", "DE", "GB")),
        "currency": lambda at: pick(("SEK", "USD", "EUR")),
        "timezone": lambda at: pick(("UTC", "Europe/Stockholm", "America/New_York")),
        "language": lambda at: pick(("sv", "en-US", "zh-Hant-TW")),
        "status": lambda at: pick(_STATUS),
        "net_terms": lambda at: pick(("0", "30", "45", "3650")),
        **dict.fromkeys(
            ("created_at", "updated_at", "trial_started", "paid_started", "cancel_date"), lambda at: instant()
        ),
        "billing_contact_name": lambda at: pick((*HARD_TEXTS, "Jane Doe", "Madonna", "Anna Maria von Berg")),
        "billing_contact_email": mail,
        "invoice_cc_emails": lambda at: json.dumps([f"cc{at}-{n}@example.com" for n in range(pick((1, 2, 30)))]),
        "aliases": lambda at: json.dumps([f'al"{at}-{n}' * pick((1, 1, 30)) for n in range(pick((1, 3)))]),
        "metadata": lambda at: metadata(),
    }
    demanded = {one.canonical for schema in SCHEMAS for one in schema.fields if one.required}
    found = []
    for at in range(count):
        row = {
            name: make(at) if chance.random() > (0.1 if name in demanded else 0.33) else None
            for name, make in columns.items()
        }
        if not row["external_id"] and not row["email"]:
            row["email"] = f"only{at}@example.com"
        origin = pick((None, None, "elsewhere", *(schema.provider for schema in SCHEMAS)))
        found.append({**row, "name": pick(HARD_TEXTS), "provider": origin, "provider_id": origin and f"old-{at}"})
    return found


def plentiful(seed: int, count: int, keys: Sequence[str] = ()) -> pl.DataFrame:
    """Return typed canonical customers of every kind."""
    return frame(rows(seed, count, keys))
