"""Validation of a batch: the canonical model, and the rules that involve more than one field."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

import polars as pl

from tranship.pipelines.normalise.batch import Normalised
from tranship.pipelines.normalise.raw_text import as_text
from tranship.schemas.codes import TOTAL_WORDS
from tranship.schemas.customer import COLUMNS, MODEL, passes
from tranship.schemas.faults import no_reasons, reasons

_FAULT_OF_CHECK: Final = {
    "str_length": "too_long",
    "str_matches": "syntax",
    "mailbox": "syntax",
    "mailboxes": "syntax",
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


def _against_model(records: pl.DataFrame) -> pl.DataFrame:
    """Return the values that fail a check of the model."""
    if records.schema != COLUMNS:
        # Not about a record: a bug of Tranship.
        raise RuntimeError(f"normalised batch breaks its schema: {records.schema}")
    found = [no_reasons()]
    checks: dict[str, pl.Expr] = {}
    for name, column in MODEL.items():
        if not column.nullable:
            found.append(reasons(records[name].is_null().arg_true(), f"{name}.missing"))
        if records[name].null_count() < records.height:
            for check in column.checks:
                code = f"{name}.{_FAULT_OF_CHECK[check.name]}"
                checks[code] = passes(check, pl.col(name)).alias(code)
    for passed in records.select(checks.values()):
        if not passed.all():
            rows = (~passed).arg_true()
            values = records[passed.name.split(".", 1)[0]].gather(rows)
            found.append(reasons(rows, passed.name, _shown(values)))
    return pl.concat(found)


def _shown(values: pl.Series) -> pl.Series:
    return as_text(values) if values.dtype.is_nested() else values.cast(pl.String)


def without_identity(batch: Normalised) -> pl.DataFrame:
    """Return records without an id or e-mail that identifies the customer. A word such as `Total`, at the foot of a
    report, is not an id unless the record has an e-mail; it is the value of the reason.
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
