"""The words in which a provider's customer is declared, and what two such declarations say about a way between them.

A provider's schema is one value `WIRE` in `schemas/providers/<provider>.py`. `connectors/api/json_codec.py` reads and
writes JSON by it.

**Wire columns.** A field of the provider's JSON is a column of text while it is worked on: text and numbers as they
stand, arrays and objects as compact JSON, null where the field is null or absent. Expressions see these columns
under the field's own name.

**Canonical columns** are those of `schemas.customer.COLUMNS`, as text: instants as ISO 8601 with `Z`, lists as JSON.
A metadata entry `<provider>.<field>` that has a native place is a column of that name.

**Nothing is lost by being forgotten.** What a provider gives back of a record is computed from its declaration; each
canonical value that would come back otherwise goes to the provider's bag as well, and reading puts it back first:
`canon_<field>`, in a nested bag `canon.<field>`. Only what a `Loss` names may change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal

import polars as pl

from tranship.schemas.customer import COLUMNS

Kind = Literal["text", "integer", "number", "boolean", "texts", "array", "object", "json"]
"""What a field holds in JSON: `texts` is an array of text, `json` an array or an object, `number` a whole or broken
number."""


PROVIDER_OWNED: Final = ("updated_at",)
"""Canonical fields that are the provider's own: neither kept in a bag nor put back."""


ORIGIN: Final = ("provider", "provider_id")
"""Where a record was read, and its id there. Of a customer that is written elsewhere they stay as the metadata entry
`<provider>.id`, and reading says where it is now."""


OVERFLOW_FIELDS: Final = tuple(name for name in COLUMNS if name not in (*PROVIDER_OWNED, *ORIGIN, "metadata"))
"""Canonical fields that may stand in a bag as `canon_<field>`."""


def quoted(value: pl.Expr) -> pl.Expr:
    """Text as a JSON string, a list of text as a JSON array; null stays null."""
    encoded = pl.struct(value.alias("v")).struct.json_encode()
    return pl.when(value.is_not_null()).then(encoded.str.strip_prefix('{"v":').str.strip_suffix("}"))


def texts(column: str) -> pl.Expr:
    """A column that holds JSON arrays of text, as lists of text."""
    return pl.col(column).str.json_decode(pl.List(pl.String))


@dataclass(frozen=True, eq=False)
class Field:
    """One documented field of the provider's customer."""

    name: str
    kind: Kind = "text"
    canonical: str | None = None
    """The canonical field that holds it; without one its JSON value is kept as metadata entry `<provider>.<name>`."""
    settable: bool = True
    why: str = ""
    """Why it is not settable, where the reason is not that the provider sets it."""
    required: bool = False
    """A record without it is refused by the provider."""
    always_present: bool = False
    """Every answer has it; one without breaks the provider's schema."""
    server_generated: bool = False
    """What the provider gives back cannot be foreseen: it makes the value itself, or may change what it was sent. All
    that such a field holds of a customer goes to the bag as well."""
    default: str | None = None
    """What the provider fills in where it is absent, as the wire column holds it."""
    max_length: int | None = None
    """Characters that fit; more are refused."""
    choices: tuple[str, ...] = ()
    """The only values there are; others are refused."""
    from_address: bool = False
    """The address says it (a data source); it is not kept."""
    derived: str = ""
    """Not kept, since it says again what other fields say; here stands which."""
    read: pl.Expr | None = None
    """Wire columns → the canonical field (`home`), or the JSON kept in metadata. Null: as it stands."""
    write: pl.Expr | None = None
    """Canonical columns → wire column. Null: the home as it stands, or the metadata entry."""


@dataclass(frozen=True)
class Overflow:
    """Where the provider holds what has no field: an object of its own.

    json: any JSON, ours as `canon_<field>` · nested: any JSON, ours within one object `canon` · texts: text only, ours
    as `canon_<field>` in text; empty text there is an explicit null.
    """

    name: str
    style: Literal["json", "nested", "texts"] = "json"
    max_key_length: int | None = None
    max_value_length: int | None = None
    """Characters; longer values of ours are split over `canon_<field>_1`, `_2` and so on."""


@dataclass(frozen=True)
class Loss:
    """What does not come back from a provider, and why. `field` is canonical, or `metadata.<key>`."""

    field: str
    why: str


@dataclass(frozen=True, eq=False)
class Rule:
    """A rule of the provider over more than the presence, length and words of one field.

    `holds` is an expression over wire columns, true (or null) where the rule is kept. `field` is what people call it,
    `fault` one of `schemas.faults`, `says` what is demanded.
    """

    field: str
    fault: str
    says: str
    holds: pl.Expr


@dataclass(frozen=True, eq=False)
class ProviderSchema:
    """A provider's customer: all documented fields, the bag, what is made of several fields, the losses."""

    provider: str
    title: str
    """As people write it: MarginFront."""
    fields: tuple[Field, ...]
    overflow: Overflow
    id: str = "id"
    """The field that holds the provider's own id."""
    reads: Mapping[str, pl.Expr] = field(default_factory=dict)
    """Canonical fields that are read from several fields, or from one in another way: wire columns → canonical."""
    overrides: Mapping[str, pl.Expr] = field(default_factory=dict)
    """Canonical fields where the provider's word, if it has one, stands above what the bag says: wire columns →
    canonical, null where it has none."""
    rules: tuple[Rule, ...] = ()
    losses: tuple[Loss, ...] = ()
    partial: Mapping[str, str] = field(default_factory=dict)
    """Canonical fields of which the native place holds only a part, and which: the whole is in the bag as well."""

    @cached_property
    def by_name(self) -> Mapping[str, Field]:
        """The fields by their name on the wire."""
        return {one.name: one for one in self.fields}

    @cached_property
    def kept(self) -> tuple[Field, ...]:
        """Fields without a canonical home, which live in metadata."""
        return tuple(one for one in self.fields if one.canonical is None and not one.derived and not one.from_address)

    @cached_property
    def sources(self) -> Mapping[str, pl.Expr]:
        """Canonical field → how it is read from wire columns."""
        found = {
            one.canonical: pl.col(one.name) if one.read is None else one.read for one in self.fields if one.canonical
        }
        return {**found, **self.reads}

    def key(self, name: str) -> str:
        """The metadata key of a field without a home."""
        return f"{self.provider}.{name}"

    def spill(self, name: str) -> str:
        """Where a canonical field stands in the bag, as people write it."""
        return (
            f"{self.overflow.name}.canon.{name}"
            if self.overflow.style == "nested"
            else f"{self.overflow.name}.canon_{name}"
        )

    @cached_property
    def native(self) -> frozenset[str]:
        """Canonical fields that have a native place to be written to."""
        written = {one.canonical for one in self.fields if one.canonical and one.settable}
        written |= {
            root
            for one in self.fields
            if one.settable and one.write is not None
            for root in one.write.meta.root_names()
            if root in COLUMNS
        }
        return frozenset(written)
