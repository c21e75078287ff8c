"""The types that declare a provider's customer: fields, overflow, rules, losses.

A provider's schema is one value `SCHEMA` in `schemas/providers/<provider>.py`. `connectors/api/json_codec.py` reads and
writes JSON by it; `schemas/compatibility.py` compares two of them.

**Provider columns.** While it is processed, a field of the provider's JSON is a column of text: text and numbers
unchanged, arrays and objects as compact JSON, null where the field is null or absent. Expressions refer to these
columns by the field's name.

**Canonical columns** are those of `schemas.customer.COLUMNS`, as text: instants as ISO 8601 with `Z`, lists as JSON.
A metadata entry `<provider>.<field>` that has a native place is a column of that name.

**Nothing is lost unless declared.** What a provider returns of a record is computed from its declaration. A canonical
value that would be returned differently is also written to the provider's overflow, and preferred when reading:
`canon_<field>`, in a nested overflow `canon.<field>`. Only what a `Loss` names may change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal

import polars as pl
from msgspec import Struct

from tranship.schemas.customer import COLUMNS
from tranship.schemas.faults import RULES

Kind = Literal["text", "integer", "number", "boolean", "texts", "array", "object", "json"]
"""The JSON type of a field: `texts` is an array of text, `json` an array or an object, `number` an integer or a
fraction."""


PROVIDER_OWNED: Final = ("updated_at",)
"""Canonical fields that the provider sets: neither kept in the overflow nor restored."""


ORIGIN: Final = ("provider", "provider_id")
"""The provider where a record was read, and its id there. A customer written elsewhere keeps them as the metadata entry
`<provider>.id`; reading it there gives its new place."""


NEVER_DEFAULTED: Final = ("customer_type", "country", "currency", "status")
"""Canonical fields for which a provider may fill in a default that affects invoices. A record whose value is invalid is
refused, not sent without it: a cancelled customer would be billed."""

CODES_NEVER_DEFAULTED: Final = tuple(code for code in RULES if code.partition(".")[0] in NEVER_DEFAULTED)
"""The codes of invalid values of these fields."""

UNREADABLE: Final = "unreadable: "
"""The beginning of the reason with which such a record is refused: `unreadable: status "Draft"`."""


OVERFLOW_FIELDS: Final = tuple(name for name in COLUMNS if name not in (*PROVIDER_OWNED, *ORIGIN, "metadata"))
"""Canonical fields that may be kept in the overflow as `canon_<field>`."""


def quoted(value: pl.Expr) -> pl.Expr:
    """Return text as a JSON string, a list of text as a JSON array; null stays null."""
    encoded = pl.struct(value.alias("v")).struct.json_encode()
    return pl.when(value.is_not_null()).then(encoded.str.strip_prefix('{"v":').str.strip_suffix("}"))


def texts(column: str) -> pl.Expr:
    """Return a column of JSON arrays of text as lists of text; null stays null."""
    return pl.col(column).str.json_decode(pl.List(pl.String))


class Field(Struct, frozen=True, eq=False):
    """One documented field of the provider's customer."""

    name: str
    kind: Kind = "text"
    canonical: str | None = None
    """The canonical field for it; without one its JSON is kept as metadata entry `<provider>.<name>`."""
    settable: bool = True
    why: str = ""
    """The reason why it is not settable, if it is not that the provider sets it."""
    required: bool = False
    """The provider refuses a record without it."""
    always_present: bool = False
    """Every response has it; a record without it breaks the provider's schema."""
    server_generated: bool = False
    """The provider generates the value, or may change the one sent, so that it cannot be predicted. What is sent in
    such a field is also kept in the overflow."""
    default: str | None = None
    """The value that the provider fills in where it is absent, as in the provider column."""
    max_length: int | None = None
    """Maximum characters; longer values are refused."""
    choices: tuple[str, ...] = ()
    """The allowed values; others are refused."""
    from_address: bool = False
    """Its value is part of the address (a data source) and is not kept."""
    derived: str = ""
    """Not kept, because it repeats other fields: which ones."""
    read: pl.Expr | None = None
    """Provider columns → the canonical field (`canonical`), or the JSON kept in metadata. Null: unchanged."""
    write: pl.Expr | None = None
    """Canonical columns → provider column. Null: the canonical field unchanged, or the metadata entry."""


class Overflow(Struct, frozen=True):
    """The object in which a provider keeps values without a native field.

    json: any JSON, ours as `canon_<field>` · nested: any JSON, ours within one object `canon` · texts: text only, ours
    as `canon_<field>` in text; empty text there is an explicit null.
    """

    name: str
    style: Literal["json", "nested", "texts"] = "json"
    max_key_length: int | None = None
    max_value_length: int | None = None
    """Characters; longer values of ours are split over `canon_<field>_1`, `_2` and so on."""


class Loss(Struct, frozen=True):
    """A field that a provider does not return, and the reason. `field` is canonical, or `metadata.<key>`."""

    field: str
    why: str


class Rule(Struct, frozen=True, eq=False):
    """A rule of the provider beyond the presence, length and choices of one field.

    `holds` is an expression over provider columns, true (or null) where a record satisfies the rule. `field` is the
    canonical field it concerns, `fault` one of `schemas.faults`, `demand` a sentence for people.
    """

    field: str
    fault: str
    demand: str
    holds: pl.Expr


@dataclass(frozen=True, eq=False)
class ProviderSchema:
    """A provider's customer: all documented fields, the overflow, values built from several fields, rules and
    losses."""

    provider: str
    title: str
    """Its name for people: MarginFront."""
    fields: tuple[Field, ...]
    overflow: Overflow
    id: str = "id"
    """The field with the provider's own id."""
    reads: Mapping[str, pl.Expr] = field(default_factory=dict)
    """Canonical fields read from several fields, or otherwise: provider columns → canonical."""
    overrides: Mapping[str, pl.Expr] = field(default_factory=dict)
    """Canonical fields where the provider's value, if any, takes precedence over the overflow: provider columns →
    canonical; null where it has none."""
    rules: tuple[Rule, ...] = ()
    losses: tuple[Loss, ...] = ()
    partial: Mapping[str, str] = field(default_factory=dict)
    """Canonical fields of which the native field keeps only a part → that part; the whole is kept in the overflow."""

    @cached_property
    def by_name(self) -> Mapping[str, Field]:
        """The fields by name."""
        return {field.name: field for field in self.fields}

    @cached_property
    def kept(self) -> tuple[Field, ...]:
        """Fields without a canonical field, which are kept in metadata."""
        return tuple(
            field for field in self.fields if field.canonical is None and not field.derived and not field.from_address
        )

    @cached_property
    def sources(self) -> Mapping[str, pl.Expr]:
        """Canonical field → the expression that reads it from provider columns."""
        direct = {
            field.canonical: pl.col(field.name) if field.read is None else field.read
            for field in self.fields
            if field.canonical
        }
        return {**direct, **self.reads}

    def key(self, name: str) -> str:
        """Return the metadata key of a field without a canonical field."""
        return f"{self.provider}.{name}"

    def spill(self, name: str) -> str:
        """Return the place of a canonical field in the overflow, for people."""
        return (
            f"{self.overflow.name}.canon.{name}"
            if self.overflow.style == "nested"
            else f"{self.overflow.name}.canon_{name}"
        )

    @cached_property
    def native(self) -> frozenset[str]:
        """Canonical fields that can be written to a native field."""
        written = {field.canonical for field in self.fields if field.canonical and field.settable}
        written |= {
            root
            for field in self.fields
            if field.settable and field.write is not None
            for root in field.write.meta.root_names()
            if root in COLUMNS
        }
        return frozenset(written)
