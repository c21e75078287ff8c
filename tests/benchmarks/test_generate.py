"""The generator returns the same records for a seed, and its expected counts agree with the oracle."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from benchmarks import generate
from support import oracle

pytestmark = pytest.mark.slow

ROWS = 3000
MAPPING = {
    "Customer ID": "external_id", "E-mail": "email", "Name": "name", "Legal Name": "legal_name",
    "Customer Type": "customer_type", "Phone": "phone", "Address Line 1": "address_line1",
    "Address Line 2": "address_line2", "City": "city", "State": "state", "Zip/Postal Code": "zip_code",
    "Country": "country", "Currency": "currency", "Timezone": "timezone", "Language": "language",
    "Status": "status", "Net Terms": "net_terms", "Created (UTC)": "created_at", "Updated At": "updated_at",
    "Metadata": "metadata",
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files of seed 7, written in each way."""
    folder = tmp_path_factory.mktemp("made")
    generate.write(folder / "plain", ROWS, 7)
    generate.write(folder / "shuffled", ROWS, 7, shuffle=True)
    generate.write(folder / "changed", ROWS, 7, change=0.1)
    generate.write(folder / "dirty", ROWS, 7, dirt="high")
    return folder


def records(folder: Path) -> list[tuple[str, ...]]:
    with (folder / "customers.csv").open(encoding="utf-8", newline="") as file:
        return [tuple(row) for row in csv.reader(file)]


def expected(folder: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    return value


def test_twenty_columns(made: Path) -> None:
    rows = records(made / "plain")

    assert len(rows) == ROWS + 1
    assert rows[0] == generate.COLUMNS
    assert {len(row) for row in rows} == {20}


def test_a_seed_gives_the_same_bytes(made: Path, tmp_path: Path) -> None:
    generate.write(tmp_path, ROWS, 7)

    for name in ("customers.csv", "customers.parquet", "expected.json"):
        assert (tmp_path / name).read_bytes() == (made / "plain" / name).read_bytes()


def test_another_seed_gives_other_records(made: Path, tmp_path: Path) -> None:
    generate.write(tmp_path, ROWS, 8)

    assert not set(records(tmp_path)[1:]) & set(records(made / "plain")[1:])


def test_chunks_do_not_show(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "CHUNK_ROWS", 700)
    generate.write(tmp_path, ROWS, 7)

    assert (tmp_path / "customers.csv").read_bytes() == (made / "plain" / "customers.csv").read_bytes()
    assert expected(tmp_path) == expected(made / "plain")


@pytest.mark.parametrize("rows", [1, 2, 19, 100, 999])
def test_sums_balance(rows: int, tmp_path: Path) -> None:
    sums = generate.write(tmp_path, rows, 3)

    assert sums["read"] == rows == len(records(tmp_path)) - 1
    assert sums["read"] == sums["rejected"] + sums["merged"] + sums["created"]
    assert sum(sums["merges_by_rule"].values()) == sums["merged"]


def test_shuffled_is_the_same_records_in_another_order(made: Path) -> None:
    plain, shuffled = records(made / "plain"), records(made / "shuffled")

    assert plain != shuffled
    assert Counter(plain) == Counter(shuffled)
    assert expected(made / "plain") == expected(made / "shuffled")


def test_changed_differs_in_the_records_it_counts(made: Path) -> None:
    pairs = list(zip(records(made / "plain"), records(made / "changed"), strict=True))
    changed = [(before, after) for before, after in pairs if before != after]
    sums = expected(made / "changed")

    assert len(changed) == sums["updated"] == pytest.approx(0.1 * sums["survivors"], rel=0.2)
    assert sums["survivors"] == sums["updated"] + sums["unchanged"]
    for before, after in changed:
        different = {name for name, a, b in zip(generate.COLUMNS, before, after, strict=True) if a != b}
        assert {"City"} <= different <= {"City", "Updated At"}


def test_hardly_a_dirty_value_is_in_order(made: Path) -> None:
    rows = pl.read_csv(made / "dirty" / "customers.csv", infer_schema=False)
    names, mails = rows["Name"], rows["E-mail"].filter(rows["E-mail"].str.contains("@"))
    phones = rows.filter(pl.col("Phone").is_not_null())["Phone"]
    forms = rows["Updated At"].drop_nulls().str.replace_all("[A-Z][A-Za-z]+", "M").str.replace_all("[0-9]+", "9")

    assert (names.drop_nulls() != names.drop_nulls().str.strip_chars()).mean() > 0.98  # the rest are faulty
    assert (mails == mails.str.to_uppercase()).mean() > 0.96
    assert phones.str.contains(r"^(?:\+|00)").mean() == pytest.approx(0.5, abs=0.06)
    assert len(forms.unique()) == 5
    assert expected(made / "dirty")["merges_by_rule"]["external_id"] == pytest.approx(0.1 * ROWS, rel=0.05)


@pytest.mark.parametrize("kind", ["plain", "shuffled", "dirty"])
def test_the_oracle_expects_the_same(made: Path, kind: str) -> None:
    _, rows, lines = oracle.read_csv(made / kind / "customers.csv")
    result = oracle.run(rows, MAPPING, lines, strict=True)
    sums = expected(made / kind)

    assert {name: result.counts[name] for name in ("read", "rejected", "merged", "created")} == {
        name: sums[name] for name in ("read", "rejected", "merged", "created")
    }
    assert result.rejects_by_code == sums["rejects_by_code"]
    assert result.merges_by_rule == sums["merges_by_rule"]
    assert Counter(code for _, code in result.warnings) == sums["warnings_by_code"]


@pytest.mark.parametrize("kind", ["plain", "dirty"])
def test_parquet_holds_the_values_of_the_csv(made: Path, kind: str) -> None:
    parquet = pl.read_parquet(made / kind / "customers.parquet")
    text = pl.read_csv(made / kind / "customers.csv", infer_schema=False)
    typed = {"Net Terms": pl.Int32(), "Updated At": pl.Datetime("us", "UTC")}

    assert parquet.schema == {name: typed.get(name, pl.String()) for name in generate.COLUMNS}
    same = [name for name in generate.COLUMNS if name != "Updated At"]
    assert parquet.select(same).cast(pl.String).fill_null("").equals(text.select(same).fill_null(""))
    instants = [oracle.instant(value) if value else None for value in text["Updated At"]]
    assert parquet["Updated At"].to_list() == instants
