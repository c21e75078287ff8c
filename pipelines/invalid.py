"""The cost of an invalid value: the record is rejected, or the value is left empty and kept in the metadata.

A customer without a valid id, e-mail and name cannot be trusted; invalid values of all other fields can be left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import polars as pl
from msgspec import Struct
from msgspec.structs import replace

from tranship.pipelines import validate
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.normalise.batch import Normalised
from tranship.pipelines.normalise.metadata import merge_unmapped
from tranship.pipelines.normalise.raw_text import as_text
from tranship.schemas.constant import constant
from tranship.schemas.customer import COLUMNS
from tranship.schemas.faults import CODE_OF_FIELD

Cost = Literal["reject", "warn"]

ALWAYS_NEEDED: Final = "name"
"""The field that every customer must have: an invalid value always costs the record."""
_REJECTED_BY_DEFAULT: Final = frozenset({"external_id", "email", ALWAYS_NEEDED})


class InvalidValues(Struct, frozen=True):
    """The fields whose invalid values cost the record; those of all other fields cost the value only."""

    rejecting: frozenset[str] = _REJECTED_BY_DEFAULT

    @classmethod
    def of(cls, on_invalid: Mapping[str, Cost], *, strict: bool) -> InvalidValues:
        """Return the rule of a run. `on_invalid` is field → cost, and takes precedence over `strict`, which rejects the
        record for every field.
        """
        by_default = frozenset(COLUMNS) if strict else _REJECTED_BY_DEFAULT
        warned = {field for field, cost in on_invalid.items() if cost == "warn"}
        return cls(by_default - warned | {field for field, cost in on_invalid.items() if cost == "reject"})

    def settle(
        self, batch: Normalised, found: pl.DataFrame, raw: pl.DataFrame, columns: ColumnMap
    ) -> tuple[Normalised, pl.DataFrame]:
        """Return the batch without the invalid values that cost only themselves, and the reasons to reject records.

        `found` are all reasons of the batch (`schemas.faults.REASONS`), `raw` is the batch as the source gave it. A
        value that is left out becomes a warning with the code of its fault; its original text is in `metadata` under
        the name of its column.
        """
        if found.is_empty():
            return batch, found
        field = pl.col("code").str.extract(CODE_OF_FIELD)
        found = found.with_columns(field=field)
        leaves_value = pl.col("field").is_in(list(COLUMNS.keys() - self.rejecting))
        left_out = found.filter(leaves_value.fill_null(value=False))
        if left_out.is_empty():
            return batch, found.drop("field")
        records = _emptied(batch.records, left_out)
        records = records.with_columns(metadata=_with_originals(records["metadata"], left_out, raw, columns))
        settled = replace(batch, records=records, warnings=pl.concat([batch.warnings, left_out.drop("field")]))
        rejecting = found.filter(~leaves_value.fill_null(value=False)).drop("field")
        if left_out["field"].is_in(["external_id", "email"]).any():
            # A record may have lost what identified its customer.
            nameless = validate.without_identity(settled)
            rejecting = pl.concat([rejecting, nameless]).unique().sort("at", "code")
        return settled, rejecting


def _emptied(records: pl.DataFrame, left_out: pl.DataFrame) -> pl.DataFrame:
    """Return the records without these values; `left_out` has `at` and `field`."""
    # Metadata that is not an object was never read: what is there are the unmapped columns.
    values = left_out.filter(pl.col("field") != "metadata")
    for (field,), of_field in values.partition_by("field", as_dict=True).items():
        name = str(field)
        invalid = _mask(of_field["at"], records.height)
        records = records.with_columns(pl.when(~invalid).then(name).alias(name))
    return records


def _with_originals(metadata: pl.Series, left_out: pl.DataFrame, raw: pl.DataFrame, columns: ColumnMap) -> pl.Series:
    """Return the metadata with the original text of the values that are left out, by the name of their column, or of
    each from which it was built. A value that the settings gave as a default has none.
    """
    rows = left_out["at"].unique().sort()
    originals: dict[str, pl.Series] = {}
    # In one order, whatever other records are in the batch.
    for (field,), of_field in sorted(left_out.partition_by("field", as_dict=True).items()):
        affected = rows.is_in(of_field["at"].implode())
        for column in columns.columns_of(str(field)):
            if column in raw.columns:
                text = as_text(raw[column].gather(rows))
                known = originals.get(column, constant(None, len(rows), pl.String))
                originals[column] = pl.select(pl.when(affected).then(text).otherwise(known).alias(column)).to_series()
    if not originals:
        return metadata
    merged = merge_unmapped(metadata.gather(rows), pl.DataFrame(list(originals.values())))
    return metadata.clone().scatter(rows, merged)


def _mask(rows: pl.Series, height: int) -> pl.Series:
    return constant(False, height).scatter(rows.unique(), True)
