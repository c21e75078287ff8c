"""The product returns the same as the oracle, for the hand-worked cases and for generated customers, row by row."""

from __future__ import annotations

import csv
import json
import runpy
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from support import oracle
from support.cases.case import FieldCase
from support.cases.fields import FIELD_CASES
from support.cases.identity import IDENTITY_CASES, IdentityCase
from support.made_once import shared_value
from support.warehouse import Warehouse, write_csv
from tranship.pipelines.report import Report
from tranship.schemas.customer import COLUMNS

ROWS, SEED = 8_000, 11

HEADER = {
    **{"Customer ID": "external_id", "E-mail": "email", "Name": "name", "Legal Name": "legal_name"},
    **{"Customer Type": "customer_type", "Phone": "phone", "Address Line 1": "address_line1"},
    **{"Address Line 2": "address_line2", "City": "city", "State": "state", "Zip/Postal Code": "zip_code"},
    **{"Country": "country", "Currency": "currency", "Timezone": "timezone", "Language": "language"},
    **{"Status": "status", "Net Terms": "net_terms", "Created (UTC)": "created_at", "Updated At": "updated_at"},
    "Metadata": "metadata",
}
"""The columns of `benchmarks/generate.py`, as a user maps them."""


@dataclass(frozen=True)
class Found:
    """The product's result for a file, in the oracle's terms: lines, codes, values."""

    report: Report
    customers: dict[str, dict[str, Any]]
    rejects: list[tuple[int, list[str]]]
    merges: list[tuple[int, int, str]]
    warnings: list[tuple[int, str]]


def found(warehouse: Warehouse, source: Path, **options: Any) -> Found:
    report = warehouse.load(source, **options)
    customers = {row.pop("customer_key"): row for row in warehouse.rows("FROM customers")}
    for row in customers.values():
        del row["_run_id"], row["_deleted_at"]
        row["metadata"] = row["metadata"] and json.loads(row["metadata"])
    rejects: Iterable[tuple[int, str]] = ()
    if "rejects_parquet" in report.files:
        rejects = pl.read_parquet(report.files["rejects_parquet"]).select("_line", "_codes").iter_rows()
    merges = pl.read_parquet(report.files["merges"]).select("loser_line", "survivor_line", "rule").iter_rows()
    warnings = pl.read_parquet(report.files["warnings"]).select("line", "code").iter_rows()
    return Found(
        report,
        customers,
        sorted((line, sorted(codes.split())) for line, codes in rejects),
        sorted(merges),
        sorted(warnings),
    )


# Fields ----------------------------------------------------------------------------------------------------------

FILLER = 20
"""Customers at the beginning of each file, so that a later zero byte does not make the file look binary."""


def row_of(case: FieldCase, number: int) -> dict[str, str | None]:
    """Return the case's row, with a mark that identifies it, and unique ids unless the case is about them: cases that
    share an id or an e-mail cannot be in one file.
    """
    row = case.row()
    if case.field != "email" and row.get("email") == "a@b.co":
        row["email"] = f"a{number}@b.co"
    if case.field != "external_id" and "external_id" not in case.extra:
        row["external_id"] = f"case {number}"
    return row if case.field == "provider_id" else {**row, "provider_id": f"case {number}"}


def files_of_cases() -> list[list[int]]:
    """Return numbers of cases without a common external id or e-mail, file by file."""
    files: list[tuple[set[str], list[int]]] = []
    for number, case in enumerate(FIELD_CASES):
        row = row_of(case, number)
        words = {name: oracle.trim(row.get(name)) for name in ("external_id", "email")}
        keys = {f"{name} {oracle.folded(oracle.bare_id(word))}" for name, word in words.items() if word}
        taken = next((file for file in files if not file[0] & keys), None)
        if taken is None:
            files.append(taken := (set(), []))
        taken[0].update(keys)
        taken[1].append(number)
    return [numbers for _, numbers in files]


Outcome = tuple[Any, tuple[str, ...], tuple[str, ...]]
"""Value, reject codes and warnings of a case."""


def outcomes_of(numbers: list[int], folder: Path) -> dict[int, Outcome]:
    """Load these cases as one file; return number of a case → its result."""
    filler = [{"external_id": f"filler {n}", "name": "x" * 250} for n in range(FILLER)]
    columns = ["external_id", "name", *(name for name in oracle.FIELDS if name not in ("external_id", "name"))]
    extra = sorted({name for case in FIELD_CASES for name in case.extra} - set(columns))
    rows = [*filler, *(row_of(FIELD_CASES[number], number) for number in numbers)]
    folder.mkdir()
    file = write_csv(folder / "cases.csv", rows, [*columns, *extra])
    lines = oracle.read_csv(file)[2][FILLER:]
    product = found(Warehouse(folder), file, delimiter=",", encoding="utf-8")
    rejects, warnings = dict(product.rejects), defaultdict(list)
    for line, code in product.warnings:
        warnings[line].append(code)
    rows_by_mark = {row["provider_id"]: row for row in product.customers.values()}
    outcomes = {}
    for number, line in zip(numbers, lines, strict=True):
        case = FIELD_CASES[number]
        row = rows_by_mark.get(case.value if case.field == "provider_id" else f"case {number}")
        value = row[case.field] if row else None
        outcomes[number] = value, tuple(rejects.get(line, ())), tuple(warnings[line])
    return outcomes


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Outcome]:
    """All cases, loaded by one worker for all."""
    return shared_value(tmp_path_factory, "fields", all_outcomes)


def all_outcomes(folder: Path) -> dict[int, Outcome]:
    """Load all cases. A file that the product cannot read is halved until it contains one case."""
    outcomes: dict[int, Outcome] = {}
    waiting = files_of_cases()
    for attempt, numbers in enumerate(waiting):
        try:
            outcomes |= outcomes_of(numbers, folder / str(attempt))
        except Exception as error:
            if len(numbers) == 1:
                outcomes[numbers[0]] = error, (), ()
            else:
                waiting += [numbers[: len(numbers) // 2], numbers[len(numbers) // 2 :]]
    return outcomes


def field_id(number: int) -> str:
    case = FIELD_CASES[number]
    text = ascii(case.wire)
    return f"{number}-{case.field}={text if len(text) <= 40 else text[:37] + '...'}"


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(FIELD_CASES)), ids=field_id)
def test_field(number: int, outcomes: dict[int, Outcome]) -> None:
    case = FIELD_CASES[number]

    assert outcomes[number] == (case.value, case.rejects, case.warnings)


# Identity --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("case", IDENTITY_CASES, ids=lambda case: case.name)
def test_identity(case: IdentityCase, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "cases.csv", case.wire_rows())

    product = found(Warehouse(tmp_path), file, allow_empty=True)

    assert set(product.customers) == set(case.customers)
    for key, expected in case.customers.items():
        assert {name: product.customers[key][name] for name in expected} == expected
    assert tuple(product.merges) == case.merges
    assert tuple(product.rejects) == case.rejects
    assert tuple(product.warnings) == case.warnings
    assert product.report.counts.balance() == 0


# Generated customers ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Both:
    """`expected` is the generator's expectation: each fault rejects its record, as in the report `strict`."""

    oracle: oracle.Result
    product: Found
    strict: Report
    expected: dict[str, Any]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Both:
    """Process the same generated file with the oracle and with the product, by one worker for all."""
    return shared_value(tmp_path_factory, "generated", generated_by)


def generated_by(folder: Path) -> Both:
    generate: Callable[[Path, int, int], dict[str, Any]] = runpy.run_path("benchmarks/generate.py")["write"]
    expected = generate(folder, ROWS, SEED)
    header, rows, lines = oracle.read_csv(folder / "customers.csv")
    assert header == list(HEADER)
    (folder / "strict").mkdir()
    strict = Warehouse(folder / "strict").load(folder / "customers.csv", strict=True)
    product = found(Warehouse(folder), folder / "customers.csv")
    return Both(oracle.run(rows, HEADER, lines), product, strict, expected)


@pytest.mark.slow
def test_every_generated_customer_is_the_same_field_by_field(generated: Both) -> None:
    product, expected = generated.product.customers, generated.oracle.customers

    assert set(product) == set(expected)
    differing = {
        (name, repr(product[key][name]), repr(row[name]))
        for key, row in expected.items()
        for name in COLUMNS
        if product[key][name] != row[name]
    }
    assert differing == set()


@pytest.mark.slow
def test_every_generated_reject_has_the_same_line_and_reasons(generated: Both) -> None:
    assert generated.product.rejects == generated.oracle.rejects


@pytest.mark.slow
def test_every_generated_merge_is_the_same(generated: Both) -> None:
    assert generated.product.merges == generated.oracle.merges


@pytest.mark.slow
def test_every_generated_warning_is_the_same(generated: Both) -> None:
    assert generated.product.warnings == generated.oracle.warnings


@pytest.mark.slow
def test_the_counts_are_those_of_the_generator(generated: Both) -> None:
    report, expected = generated.strict, generated.expected

    assert report.counts.read == expected["read"] == ROWS
    assert report.counts.rejected == expected["rejected"]
    assert report.counts.merged == expected["merged"]
    assert report.counts.created == expected["created"]
    assert dict(report.rejects_by_code) == expected["rejects_by_code"]
    assert dict(report.warnings_by_code) == expected["warnings_by_code"]
    assert dict(report.merges_by_rule) == expected["merges_by_rule"]
    assert report.counts.balance() == 0


@pytest.mark.slow
def test_the_counts_add_up_from_what_is_on_disk(generated: Both) -> None:
    """The report is not trusted: its sums are computed again from rejects, warnings and merges."""
    product = generated.product

    assert product.report.rejects_by_code == Counter(code for _, codes in product.rejects for code in codes)
    assert product.report.warnings_by_code == Counter(code for _, code in product.warnings)
    assert product.report.merges_by_rule == Counter(rule for _, _, rule in product.merges)
    assert product.report.counts.created == len(product.customers)


@pytest.mark.slow
def test_rejects_keep_the_spelling_of_the_file(generated: Both) -> None:
    path = Path(generated.product.report.source)
    with path.open(newline="", encoding="utf-8") as file:
        wire = list(csv.DictReader(file))
    with Path(generated.product.report.files["rejects"]).open(newline="", encoding="utf-8") as file:
        rejected = [{name: oracle.unguarded(value) for name, value in row.items()} for row in csv.DictReader(file)]

    by_line = dict(zip(oracle.read_csv(path)[2], wire, strict=True))
    assert len(rejected) == generated.product.report.counts.rejected
    for row in rejected:
        assert {name: oracle.unguarded(row[name]) for name in HEADER} == by_line[int(row["_line"])]
