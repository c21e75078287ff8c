"""Validation of a batch: the canonical model, and the rules that involve more than one field."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

import polars as pl
from pandera.errors import SchemaErrors
from pandera.polars import DataFrameSchema

from tranship.pipelines.normalise.batch import Normalised
from tranship.schemas.codes import TOTAL_WORDS
from tranship.schemas.customer import Customer
from tranship.schemas.faults import REASONS, reasons

_FAULT_OF_CHECK: Final = {
    "not_nullable": "missing",
    "str_length": "too_long",
    "str_matches": "syntax",
    "mailbox": "syntax",
    "isin": "unknown",
    "in_range": "range",
    "no_control": "control",
}


def faults(batch: Normalised) -> pl.DataFrame:
    """Return every reason to reject records of a batch (`schemas.faults.REASONS`), in order of position and code.

    An unreadable value has one reason, from normalising; being null by now, it breaks no other rule.
    """
    found = pl.concat([batch.unreadable, _against_model(batch.records), without_identity(batch)])
    return found.unique().sort("at", "code")


@cache
def _model_of(columns: tuple[str, ...]) -> DataFrameSchema:
    """Return the model of these columns. Empty columns are left out: they break no rule except `missing`."""
    return Customer.to_schema().select_columns(list(columns))


def _against_model(records: pl.DataFrame) -> pl.DataFrame:
    filled = tuple(name for name in records.columns if name == "name" or records[name].null_count() < records.height)
    try:
        _model_of(filled).validate(records.select(filled), lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases
        if cases["index"].has_nulls():
            # Not about a record: the frame itself breaks its schema, which is a bug of Tranship.
            raise RuntimeError(f"normalised batch breaks its schema: {cases['check'].unique().to_list()}") from error
        kinds = cases["check"].unique()
        names = pl.Series([_FAULT_OF_CHECK[re.split(r"\W", kind, maxsplit=1)[0]] for kind in kinds], dtype=pl.String)
        found: pl.DataFrame = cases.select(
            at=pl.col("index").cast(pl.UInt32),
            code=pl.concat_str("column", pl.lit("."), pl.col("check").replace_strict(kinds, names)),
            value=pl.when(pl.col("check") != "not_nullable").then(pl.col("failure_case").cast(pl.String)),
        )
        return found
    return pl.DataFrame(schema=REASONS)


def without_identity(batch: Normalised) -> pl.DataFrame:
    """Return records without an id or e-mail that identifies the customer. A word such as `Total`, at the foot of a
    report, is no id unless the record has an e-mail; it is the value of the reason.
    """
    records = batch.records
    at = (records["email"].is_null() | batch.email_blocked).arg_true()
    if at.is_empty():
        return reasons(at, "identity.missing")
    without_email = records.select("external_id", "name")[at]
    label = pl.coalesce("external_id", "name")
    found = without_email.select(
        nobody=pl.col("external_id").is_null(),
        total=pl.when(label.str.normalize("NFKC").str.contains(_total())).then(label),
    )
    rejected = found["nobody"] | found["total"].is_not_null()
    return reasons(at.filter(rejected), "identity.missing", found["total"].filter(rejected))


@cache
def _total() -> str:
    """Return a pattern for a word that means a sum, alone or followed by a number."""
    words = "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in sorted(TOTAL_WORDS))
    return rf"(?i)^(?:{words})\s*(?:[:=：]\s*[0-9.,\s]*)?$"
