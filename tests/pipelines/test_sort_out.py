"""A batch sorted into its good records, the originals of some, its rejects and its warnings."""

from __future__ import annotations

import polars as pl
import pytest

from tranship.connectors.contract import Batch
from tranship.pipelines import validate
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.normalise import batch as normalise
from tranship.pipelines.normalise.spelling import Spelling
from tranship.pipelines.sort_out import WARNINGS, row_numbers, sort_out
from tranship.schemas import faults
from tranship.schemas.faults import BROKEN

RAW = pl.DataFrame(
    {
        "id": ["1", None, "3", None],
        "mail": ["a@x.com", "B@x.com", "no address", "c@x.com"],
        "name": ["A", "B", "C", None],
        "tel": ["hello", None, "bye", None],
    }
)
BROKEN_LINE = {"line": 4, "code": "line.too_few_columns", "detail": "", "text": "4,d"}
SPELLING = Spelling("UTC", (), frozenset())
COLUMNS = ColumnMap({"external_id": "id", "email": "mail", "name": "name", "phone": "tel"}, (), {})


def batch() -> Batch:
    broken = pl.DataFrame([BROKEN_LINE], schema=BROKEN)
    return Batch("a.csv", RAW, pl.Series([2, 3, 5, 6], dtype=pl.UInt64), broken)


def test_each_record_and_each_broken_line_has_one_fate() -> None:
    normalised = normalise.customers(RAW, COLUMNS, SPELLING)
    found = sort_out(batch(), normalised, validate.faults(normalised), row_numbers(4, 7))
    assert found.good["_line"].to_list() == [2, 3]
    assert found.rejects.select("_line", "_codes", "_text").rows() == [
        (4, "line.too_few_columns", "4,d"),
        (5, "email.syntax", None),
        (6, "name.missing", None),
    ]
    assert found.raw.drop("_row", "_source").rows() == [(3, None, "B@x.com", "B", None)]
    assert found.warnings.rows() == [("a.csv", 2, "phone.unreadable", None)]


def test_a_part_of_broken_lines_only_has_no_good_records() -> None:
    found = sort_out(batch(), None, faults.no_reasons(), row_numbers(4, 0))
    assert found.rejects["_line"].to_list() == [4]
    assert (found.good.height, found.raw.height, found.warnings.schema) == (0, 0, pl.Schema(WARNINGS))


@pytest.mark.parametrize("earlier_later", [((0, 0), (0, 1)), ((0, 2**18 - 1), (1, 0)), ((2, 9), (3, 0))])
def test_rows_of_later_parts_and_files_have_larger_numbers(earlier_later: tuple[tuple[int, int], ...]) -> None:
    earlier, later = (row_numbers(3, part, file) for file, part in earlier_later)
    assert earlier.to_list() == sorted(earlier)
    assert len({*earlier, *later}) == 6
    assert earlier[-1] < later[0]


def test_parts_of_all_files_may_be_numbered_in_one_sequence() -> None:
    assert row_numbers(1, 2**18).to_list() == row_numbers(1, 0, file=1).to_list()


def test_a_column_of_the_source_may_be_named_like_the_number_of_a_row() -> None:
    raw = pl.DataFrame({"_row": ["9"], "mail": ["a@x.com"], "name": ["A"]})
    given = Batch("a.csv", raw, pl.Series([2], dtype=pl.UInt64), pl.DataFrame(schema=BROKEN))
    normalised = normalise.customers(raw, ColumnMap({"email": "mail", "name": "name"}, (), {}), SPELLING)
    found = sort_out(given, normalised, faults.no_reasons(), row_numbers(1, 0))
    assert found.raw.rows(named=True) == [
        {"_row": 0, "_source": "a.csv", "_line": 2, "\0_row": "9", "mail": "a@x.com", "name": "A"}
    ]


def test_a_batch_without_rejects_has_the_columns_of_one_with_rejects() -> None:
    raw = RAW.with_columns(_line=pl.lit("of the source"), days=pl.Series([1, 2, 3, 4]))
    lines = pl.Series([2, 3, 5, 6], dtype=pl.UInt64)
    given = Batch("a.csv", raw, lines, pl.DataFrame(schema=BROKEN))
    normalised = normalise.customers(raw, COLUMNS, SPELLING)
    some = sort_out(given, normalised, validate.faults(normalised), row_numbers(4, 0))
    none = sort_out(given, normalised, faults.no_reasons(), row_numbers(4, 0))
    assert some.rejects.height == 2
    assert none.rejects.is_empty()
    assert none.rejects.schema == some.rejects.schema
    assert none.warnings.schema == some.warnings.schema
