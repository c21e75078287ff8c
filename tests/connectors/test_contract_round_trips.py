"""A table written to a file of each format, and read back into a table, is the same table."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.warehouse import Warehouse, fates
from tranship.connectors.registry import CONNECTORS
from tranship.schemas.customer import COLUMNS

pytestmark = pytest.mark.slow

FILES = {
    "csv": ("end.csv", "end.tsv", "end.csv.gz", "end.tsv.zst"),
    "json": ("end.jsonl", "end.jsonl.gz"),
    "parquet": ("end.parquet",),
}
"""Files of each connector that writes whole files."""

EXAMPLES = int(os.environ.get("TRANSHIP_EXAMPLES", "2"))

STARTS = (
    "",
    "'",
    "''",
    "=",
    "+",
    "-",
    "@",
    "＝",
    "－",
    "'＝",
    "\ufeff=",
    "\u200b-",
    '="',
    '"',
    "[",
    "{",
    "\\N",
    " ",
    "'s-",
    "+1 4",
)
PIECES = (
    "a",
    "Ü",
    "東",
    "🦀",
    "e\u0301",
    "'",
    '"',
    '""',
    ",",
    ";",
    "|",
    "\n",
    "\r\n",
    "\t",
    " ",
    "\x00",
    "\\",
    "=",
    "1",
    '"00123"',
    "\u202e",
)


def texts(least: int = 1) -> st.SearchStrategy[str]:
    middle = st.lists(st.sampled_from(PIECES), min_size=least, max_size=6).map("".join)
    return st.builds(lambda start, rest: start + rest, st.sampled_from(STARTS), middle)


INSTANTS = st.datetimes(datetime(1900, 1, 1), datetime(2199, 12, 31, 23, 59, 59, 999999), timezones=st.just(UTC))
JSON = st.dictionaries(
    texts(0),
    st.one_of(texts(0), st.integers(-(2**53), 2**53), st.booleans(), st.none(), st.lists(texts(0), max_size=2)),
    max_size=3,
)


@st.composite
def customers(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Generate records of which most are loaded, with values as odd as a source may contain."""

    def maybe(values: st.SearchStrategy[Any]) -> Any:
        return draw(st.none() | values)

    return [
        {
            "external_id": draw(st.sampled_from(STARTS))
            + f"{number}"
            + draw(st.sampled_from(("", "A", "'", '"', ",x"))),
            "email": maybe(st.just(f"c{number}@x.example")),
            "name": f"{draw(texts())}{number}",
            **{name: maybe(texts()) for name in ("legal_name", "city", "zip_code", "phone", "tax_id", "provider_id")},
            "net_terms": maybe(st.integers(0, 3650)),
            **{name: maybe(INSTANTS) for name in ("created_at", "updated_at", "trial_started")},
            "invoice_cc_emails": maybe(st.just([f"-{number}@x.example", "=a@x.example"])),
            "aliases": maybe(st.lists(texts(), max_size=3)),
            "metadata": maybe(JSON.map(json.dumps) | JSON.map(lambda value: json.dumps(value, ensure_ascii=False))),
        }
        for number in range(draw(st.integers(1, 20)))
    ]


def test_every_file_format_is_tried_here() -> None:
    assert set(FILES) == {
        name for name, one in CONNECTORS.items() if one.abilities.writes and not one.abilities.keeps_state
    }


@pytest.mark.parametrize(
    ("name", "raw"), [*((name, False) for names in FILES.values() for name in names), ("end.csv", True)]
)
@given(records=customers())
@settings(max_examples=EXAMPLES)
def test_a_table_through_a_file_is_the_same_table(name: str, raw: bool, records: list[dict[str, Any]]) -> None:
    with TemporaryDirectory() as folder:
        warehouse, file = Warehouse(Path(folder)), Path(folder) / name
        schema = {field: COLUMNS[field] for field in records[0]}
        pl.DataFrame(records, schema=schema).write_parquet(Path(folder) / "in.parquet")
        warehouse.load(Path(folder) / "in.parquet", table="before", allow_empty=True)
        before = rows(warehouse, "before")
        written = warehouse.load(warehouse.address("before"), destination=str(file), raw=raw, allow_empty=True)
        back = warehouse.load(file, table="after", allow_empty=True)
        if raw and any(note.startswith("--raw") for note in written.notes):
            assert back.counts.read == len(before)
            return
        assert rows(warehouse, "after") == before
        assert fates(warehouse.load(file, table="before", allow_empty=True)) == (
            {"unchanged": len(before)} if before else {}
        )


def rows(warehouse: Warehouse, table: str) -> list[dict[str, Any]]:
    return warehouse.rows(f"SELECT * EXCLUDE (_run_id) FROM {table} ORDER BY customer_key")
