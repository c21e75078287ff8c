"""The checks of the canonical model, as they are applied to a batch."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest
from pandera.errors import SchemaErrors

from tranship.pipelines import validate
from tranship.pipelines.normalise.batch import Normalised
from tranship.schemas.customer import COLUMNS, Customer
from tranship.schemas.faults import no_reasons

_DIRTY = {
    "external_id": ["id\x07", "i" * 256, "1", None],
    "email": ["no mailbox", "e" * 260, "a@b.co", None],
    "name": [None, "n" * 256, "Acme", "Acme"],
    "status": ["on hold", "active", None, None],
    "language": ["?", "en", "pt-BR", None],
    "net_terms": [-1, 3651, 30, None],
    "created_at": [datetime(1800, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC), None, None],
    "invoice_cc_emails": [["a@b.co", "no mailbox"], ["a@b.co"], [], None],
}


def _batch(records: pl.DataFrame) -> Normalised:
    blocked = pl.repeat(False, records.height, dtype=pl.Boolean, eager=True)
    return Normalised(records, blocked, no_reasons(), no_reasons())


def _records() -> pl.DataFrame:
    return pl.DataFrame({name: _DIRTY.get(name, [None] * 4) for name in COLUMNS}, schema=COLUMNS)


def test_every_failure_that_pandera_finds_is_a_reason_and_nothing_else_is() -> None:
    with pytest.raises(SchemaErrors) as raised:
        Customer.validate(_records(), lazy=True)
    cases = raised.value.failure_cases
    expected = sorted(
        (at, column, value if check != "not_nullable" else None)
        for at, column, check, value in cases.select("index", "column", "check", "failure_case").iter_rows()
    )
    found = validate.faults(_batch(_records())).filter(~pl.col("code").str.starts_with("identity."))
    columns = found["code"].str.split(".").list.first()
    assert sorted(zip(found["at"], columns, found["value"], strict=True)) == expected
    assert len(expected) > 10


def test_a_batch_with_other_columns_or_types_is_a_bug() -> None:
    with pytest.raises(RuntimeError, match="breaks its schema"):
        validate.faults(_batch(_records().drop("phone")))
    with pytest.raises(RuntimeError, match="breaks its schema"):
        validate.faults(_batch(_records().with_columns(pl.col("net_terms").cast(pl.Int64))))
