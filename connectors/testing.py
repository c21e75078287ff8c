"""The suites that every connector passes, for pytest: subclass one in a test module and give it fixtures.

class TestToySource(SourceContract):
    @pytest.fixture
    def address(self, tmp_path):
        return str(write_toy_file(tmp_path / "a.toy", count=self.count))

class TestToyDestination(DestinationContract):
    @pytest.fixture
    def address(self, tmp_path):
        return str(tmp_path / "b.toy")
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest

from tranship.connectors import registry
from tranship.connectors.contract import Batch, Mode, Plan, Survivors, WriteRequest
from tranship.connectors.errors import ConfigError
from tranship.schemas.customer import COLUMNS
from tranship.schemas.faults import BROKEN

HOSTILE: Final = (
    *('quotes " and "" and \' and `', "delimiters , ; | \\t \\n", "Zürich 東京 🦀 e\u0301", "=1+1", "'=1", "@cmd"),
    *("'; DROP TABLE people; --", "<script>", "\\", "\\N", "NULL", "null", "NaN", "true", "007", "1e5", "%s {} $1 ?"),
)
"""Names that a destination must return as they were written."""


class SourceContract:
    """What every source does."""

    count = 3
    """How many good records are behind the address."""

    @pytest.fixture
    def address(self) -> str:
        """The address of a source with `count` good records."""
        raise NotImplementedError

    def batches(self, address: str, folder: Path) -> list[Batch]:
        """Read everything behind an address."""
        source = registry.open_source(address)
        try:
            return [part.read() for part in source.parts(folder)]
        finally:
            source.close()

    def test_the_address_leads_to_its_connector(self, address: str) -> None:
        assert registry.connector_of(address).abilities.reads

    def test_every_record_is_read_once(self, address: str, tmp_path: Path) -> None:
        batches = self.batches(address, tmp_path / "pages")
        places = [(batch.source, line) for batch in batches for line in batch.lines]
        assert len(places) == len(set(places)) == self.count
        assert [batch.records.height for batch in batches] == [len(batch.lines) for batch in batches]

    def test_reading_again_gives_the_same(self, address: str, tmp_path: Path) -> None:
        first, second = (
            [(batch.source, batch.records.rows(), batch.lines.to_list()) for batch in self.batches(address, folder)]
            for folder in (tmp_path / "first", tmp_path / "second")
        )
        assert first == second

    def test_columns_are_declared_before_records_are_read(self, address: str, tmp_path: Path) -> None:
        source = registry.open_source(address)
        try:
            declared = {column for layout in source.layouts() for column in layout.columns}
            for part in source.parts(tmp_path / "pages"):
                batch = part.read()
                assert {*batch.records.columns} <= declared
                assert batch.lines.dtype == pl.UInt64
                assert dict(batch.broken.schema) == dict(BROKEN)
        finally:
            source.close()

    def test_its_fingerprint_is_json(self, address: str) -> None:
        source = registry.open_source(address)
        try:
            found = source.fingerprint()
        finally:
            source.close()
        assert json.loads(json.dumps(found)) == found
        assert all({"name", "size"} <= set(one) for one in found)


class DestinationContract:
    """What every destination does that holds the state of its customers: a file or a table."""

    @pytest.fixture
    def address(self) -> str:
        """The address of an empty destination."""
        raise NotImplementedError

    def write(self, address: str, folder: Path, names: Sequence[str]) -> Plan:
        """Write customers of these names, numbered from 1."""
        folder.mkdir(parents=True)
        request = _request(folder, names)
        destination = registry.open_destination(address, _options(folder))
        try:
            plan = destination.plan(request)
            outcomes = destination.apply(request, plan)
            assert outcomes is None or sum(outcomes.counts.values()) >= len(names)
        finally:
            destination.close()
        return plan

    def test_the_address_leads_to_its_connector(self, address: str) -> None:
        assert registry.connector_of(address).abilities.writes

    def test_every_customer_is_created_once(self, address: str, tmp_path: Path) -> None:
        assert self.write(address, tmp_path / "first", ["Ann", "Bob"]).counts["create"] == 2
        counts = self.write(address, tmp_path / "second", ["Ann", "Bob"]).counts
        keeps_state = registry.connector_of(address).abilities.keeps_state
        assert (counts["create"], counts["unchanged"]) == ((0, 2) if keeps_state else (2, 0))

    def test_a_plan_writes_nothing(self, address: str, tmp_path: Path) -> None:
        folder = tmp_path / "plan"
        folder.mkdir()
        for _ in range(2):
            destination = registry.open_destination(address, _options(folder))
            try:
                assert destination.plan(_request(folder, ["Ann"])).counts["create"] == 1
            finally:
                destination.close()

    def test_values_are_read_back_as_they_were_written(self, address: str, tmp_path: Path) -> None:
        if not registry.connector_of(address).abilities.reads:
            return
        self.write(address, tmp_path / "written", HOSTILE)
        source = registry.open_source(address)
        try:
            found = pl.concat([part.read().records for part in source.parts(tmp_path / "pages")])
        finally:
            source.close()
        names = dict(zip(found["external_id"], found["name"], strict=True))
        assert names == {str(number): name for number, name in enumerate(HOSTILE, 1)}

    @pytest.mark.parametrize("mode", ["upsert", "insert", "update", "mirror"])
    def test_modes_beyond_its_abilities_are_refused(self, address: str, mode: Mode) -> None:
        if mode in registry.connector_of(address).abilities.modes:
            return
        with pytest.raises(ConfigError, match=f"--mode {mode}"):
            registry.must_take(address, mode, for_good=False)


def _options(folder: Path) -> dict[str, Any]:
    return {
        **{"raw": False, "create": True, "overwrite": True, "written": folder / "known"},
        **{"memory": "100MB", "lock_timeout": 10.0, "statement_timeout": 0.0, "pace": None},
    }


def _request(folder: Path, names: Sequence[str]) -> WriteRequest:
    numbers = [str(number) for number in range(1, len(names) + 1)]
    given = {"external_id": numbers, "name": list(names), "email": [f"{number}@example.com" for number in numbers]}
    records = pl.DataFrame(given).select(
        pl.int_range(pl.len(), dtype=pl.UInt64).alias("_row"),
        pl.lit("contract").alias("_source"),
        pl.int_range(1, pl.len() + 1, dtype=pl.UInt64).alias("_line"),
        pl.lit(value=False).alias("_email_blocked"),
        *((pl.col(name) if name in given else pl.lit(None)).cast(dtype).alias(name) for name, dtype in COLUMNS.items()),
    )
    records.write_parquet(folder / "survivors.parquet")
    pl.DataFrame(schema={"row": pl.UInt64}).write_parquet(folder / "dropped.parquet")
    survivors = Survivors((folder / "survivors.parquet",), folder / "dropped.parquet", tuple(given), len(names))
    counts = {"read": len(names), "rejected": 0, "merged": 0, "skipped": 0}
    return WriteRequest(
        run_id=folder.name,
        survivors=survivors,
        source="contract",
        mode="upsert",
        overwrite_nulls=False,
        evolve=False,
        hard_delete=False,
        workspace=folder,
        started_at="2024-01-01T00:00:00Z",
        ledger=counts,
        say=lambda _: None,
        advanced=lambda _, __: None,
    )
