"""Masks: the fields whose values rejects, warnings and pages show in a form that does not tell them.

`hmac` is the HMAC-SHA-256 of the value with the key in TRANSHIP_MASK_KEY, cut to 64 bits: equal values are equal, also
in another case. `hide` tells nothing. What the work needs keeps its values: the files from which a run is continued,
corrected or undone.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal

import polars as pl
from msgspec import Struct

from tranship.connectors.contract import Layout
from tranship.connectors.errors import ConfigError
from tranship.pipelines.matching import OURS
from tranship.schemas.faults import CODE_OF_FIELD, sentence
from tranship.schemas.provider import UNREADABLE

Way = Literal["hmac", "hide"]
KEY: Final = "TRANSHIP_MASK_KEY"
HIDDEN: Final = "[hidden]"
_LEAST_KEY: Final = 16
_DIGITS: Final = 16
_LEAST: Final = 3
"""Characters of a masked value that is looked for in other columns."""
_MARK: Final = "hmac:"
_MASKED: Final = " (masked)"
"""The end of the name of a column without its values."""
_ADDRESSES: Final = frozenset({"email", "billing_contact_email", "invoice_cc_emails"})
_ADDRESS: Final = r"[^\s@,;:<>\"'(){}\[\]|]+@[^\s@,;:<>\"'(){}\[\]|]+"
"""An e-mail address within a text."""
_QUOTED: Final = re.compile(r"\b([a-z_]+) \"(.*?)\"(?=, [a-z_]+ \"|$)", re.DOTALL)
"""A field and its value in a reason."""


class Masks(Struct, frozen=True):
    """Field → how its values are masked. Without a key, which may be missing when a page is written once more, values
    are hidden instead of `hmac`. Where a field of addresses is masked, addresses in other values are hidden, too.
    """

    ways: Mapping[str, Way] = {}
    key: bytes | None = None

    @classmethod
    def of(cls, ways: Mapping[str, Way]) -> Masks:
        """Return the masks of a run, with the key of the environment."""
        return cls(ways, os.environ[KEY].encode() if os.environ.get(KEY) else None)

    def field(self, name: str, value: str | None) -> str | None:
        """Return the value of a field as it may be shown."""
        return self._shown(value, self._way(name))

    def record(self, fields: Mapping[str, str | None]) -> dict[str, str | None]:
        """Return the values of a record as they may be shown."""
        return self.row(fields, {name: name for name in fields})

    def row(self, values: Mapping[str, str | None], fields: Mapping[str, str | list[str]]) -> dict[str, str | None]:
        """Return the values of columns, of which these fields are made. One that contains a masked value is hidden."""
        told = [value for name, value in values.items() if value and self._way(fields.get(name))]
        told = [compared for value in told if len(compared := _plain(value)) >= _LEAST]
        found = {}
        for name, value in values.items():
            shown = self.column(fields.get(name), value)
            found[name] = HIDDEN if shown and any(one in _plain(shown) for one in told) else shown
        return found

    def column(self, fields: str | Iterable[str] | None, value: str | None) -> str | None:
        """Return the value of a column of which these fields are made; null: it is kept in metadata, or left out."""
        return self._shown(value, self._way(fields))

    def telling(self, records: pl.DataFrame, columns: Mapping[str, str | list[str]]) -> dict[str, frozenset[str]]:
        """Return column → its values that contain a masked one of the same record; `columns` as in `row`."""
        if not self.ways:
            return {}
        plain = [name for name, kind in records.schema.items() if kind == pl.String or kind.is_numeric()]
        masked = [name for name in plain if self._way(columns.get(name))]
        others = [name for name in plain if name not in masked and records.schema[name] == pl.String]
        found = records.select(pl.when(_tells(name, masked)).then(name).alias(name) for name in others)
        return {values.name: frozenset(values.drop_nulls()) for values in found}

    def reason(self, text: str) -> str:
        """Return the reason of a refusal, which quotes values that a provider must have."""
        if not self.ways or not text.startswith(UNREADABLE):
            return text
        return _QUOTED.sub(lambda found: f'{found[1]} "{self.field(found[1], found[2])}"', text)

    def reasons(self, counts: Mapping[str, int]) -> dict[str, int]:
        """Return reason → count; those that differ in a masked value only are one."""
        found: Counter[str] = Counter()
        for reason, count in counts.items():
            found[self.reason(reason)] += count
        return dict(found)

    def line(self, text: str | None) -> str | None:
        """Return the text of a line that could not be read as columns: it may contain any field."""
        return HIDDEN if text is not None and self.ways else text

    def rejects(self, rows: pl.LazyFrame, columns: Mapping[str, str | list[str]]) -> pl.LazyFrame:
        """Return rejects, of whose columns these fields are made, as they may be shown. The names of masked columns say
        so: such a file is not taken for one of customers.
        """
        if not self.ways:
            return rows
        own = [name for name in rows.collect_schema().names() if name not in OURS]
        masked = {name: way for name in own if (way := self._way(columns.get(name)))}
        is_line = pl.col("_text").is_not_null()
        return rows.with_columns(
            *(self._expression(name, way) for name, way in masked.items()),
            *(self._without(name, masked) for name in own if name not in masked),
            # The sentence about a value quotes it.
            _reasons=pl.when(is_line)
            .then("_reasons")
            .otherwise(pl.col("_codes").map_batches(_sentences, return_dtype=pl.String, is_elementwise=True)),
            _text=pl.when(is_line).then(pl.lit(HIDDEN)),
        ).rename({name: f"{name}{_MASKED}" for name in masked})

    def warnings(self, rows: pl.LazyFrame, customers: pl.LazyFrame | None) -> pl.LazyFrame:
        """Return warnings (columns `source`, `line`, `code` and `value`) as they may be shown. One whose value contains
        a masked one of the same of these customers is hidden.
        """
        if not self.ways:
            return rows
        field = pl.col("code").str.extract(CODE_OF_FIELD)
        value = self._expression("value", None)
        for name, way in self.ways.items():
            value = pl.when(field == name).then(self._expression("value", way)).otherwise(value)
        if customers is None:
            return rows.with_columns(value.alias("value"))
        place = {"source": "_source", "line": "_line"}
        told = [name for name, kind in customers.collect_schema().items() if name in self.ways and kind == pl.String]
        records = customers.select(*place.values(), *(pl.col(name).name.prefix("_") for name in told))
        of_warned = records.join(rows, left_on=[*place.values()], right_on=[*place], how="semi").unique(
            [*place.values()]
        )
        whole = rows.join(of_warned, left_on=[*place], right_on=[*place.values()], how="left", maintain_order="left")
        # The value of a masked field itself has been masked in its own way.
        is_other = ~field.is_in([*self.ways]).fill_null(value=False)
        hidden = is_other & _tells("value", [f"_{name}" for name in told])
        masked = pl.when(hidden).then(pl.lit(HIDDEN)).otherwise(value).alias("value")
        return whole.with_columns(masked).select(rows.collect_schema().names())

    def _way(self, fields: str | Iterable[str] | None) -> Way | None:
        made = [fields] if isinstance(fields, str) else fields or ["metadata"]
        ways = {self.ways.get(field) for field in made} - {None}
        if fields == "metadata" and self.ways:
            return "hide"  # values that were left out of a field are kept in it
        return "hide" if "hide" in ways else "hmac" if ways else None

    def _shown(self, value: str | None, way: Way | None) -> str | None:
        if not value or not self.ways:
            return value
        if way is not None:
            return self._digest(value) if way == "hmac" else HIDDEN
        return re.sub(_ADDRESS, HIDDEN, value) if _ADDRESSES & self.ways.keys() else value

    def _digest(self, value: str) -> str:
        if self.key is None:
            return HIDDEN
        found = hmac.digest(self.key, value.strip().casefold().encode(), hashlib.sha256)
        return f"{_MARK}{found.hex()[:_DIGITS]}"

    def _expression(self, name: str, way: Way | None) -> pl.Expr:
        column = pl.col(name)
        if way is None:
            hides = bool(_ADDRESSES & self.ways.keys())
            return column.cast(pl.String).str.replace_all(_ADDRESS, HIDDEN) if hides else column
        if way == "hide":
            return pl.when(column.cast(pl.String).str.len_bytes() > 0).then(pl.lit(HIDDEN)).alias(name)
        return column.cast(pl.String).map_batches(self._digests, return_dtype=pl.String, is_elementwise=True)

    def _without(self, name: str, masked: Iterable[str]) -> pl.Expr:
        """Return a column that is not masked, hidden where it contains the value of one that is."""
        hidden = _tells(name, masked)
        return pl.when(hidden).then(pl.lit(HIDDEN)).otherwise(self._expression(name, None)).alias(name)

    def _digests(self, values: pl.Series) -> pl.Series:
        # Python computes the digests, of each value once.
        distinct = values.unique().drop_nulls()
        digests = pl.Series([self._digest(value) if value else value for value in distinct], dtype=pl.String)
        return values.replace_strict(distinct, digests, default=None, return_dtype=pl.String)


def _plain(text: str) -> str:
    """Return a text as it is compared with others: in any case, with any spaces."""
    return " ".join(text.lower().split())


def _tells(name: str, masked: Iterable[str]) -> pl.Expr:
    """Whether the value of a column contains that of one of these columns."""

    def plain(column: str) -> pl.Expr:
        return pl.col(column).cast(pl.String).str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()

    found = [
        plain(name).str.contains(plain(one), literal=True) & (plain(one).str.len_chars() >= _LEAST) for one in masked
    ]
    return pl.any_horizontal(*found).fill_null(value=False) if found else pl.lit(value=False)


def _sentences(codes: pl.Series) -> pl.Series:
    """Return the reasons of records with these codes, which are separated by blanks."""
    distinct = codes.unique().drop_nulls()
    said = pl.Series(["; ".join(map(sentence, of_record.split())) for of_record in distinct], dtype=pl.String)
    return codes.replace_strict(distinct, said, default=None, return_dtype=pl.String)


def problems(layouts: Iterable[Layout]) -> Iterator[str]:
    """Yield a sentence for each source of masked rejects, whose customers would have no values."""
    for layout in layouts:
        masked = next((name for name in layout.columns if name.endswith(_MASKED)), None)
        if masked:
            yield (
                f"{layout.name}: its column {masked!r} shows no values (--mask). To correct the rejects of a run, use "
                "tranship fix."
            )


def check_key(ways: Mapping[str, Way]) -> None:
    """Raise ConfigError if a key is needed, and is missing or too short."""
    if "hmac" in ways.values() and len(os.environ.get(KEY, "")) < _LEAST_KEY:
        problem = "is not set" if not os.environ.get(KEY) else f"has fewer than {_LEAST_KEY} characters"
        raise ConfigError(
            f"--mask: hmac needs a key in {KEY}, which {problem}. Make one and keep it: export {KEY}=$(openssl rand "
            "-hex 32). With hide instead of hmac, none is needed."
        )
