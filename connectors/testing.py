"""The suites that every connector must pass, for pytest: subclass one in a test module and give it fixtures.

class TestToySource(SourceContract):
    @pytest.fixture
    def address(self, tmp_path):
        return str(write_toy_file(tmp_path / "a.toy", count=self.count))

class TestToyDestination(DestinationContract):
    @pytest.fixture
    def address(self, tmp_path):
        return str(tmp_path / "b.toy")

A provider passes `ProviderSourceContract` and `ProviderDestinationContract`, which open `ProviderAccount`s through the
fixture `accounts`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

import polars as pl
import pytest

from tranship.connectors import lookup, opening, provider_services
from tranship.connectors.contract import Batch, Mode, Plan, Survivors, WriteRequest
from tranship.connectors.errors import ConfigError, Refused
from tranship.schemas.customer import COLUMNS
from tranship.schemas.faults import BROKEN

HOSTILE: Final = (
    *('quotes " and "" and \' and `', "delimiters , ; | \\t \\n", "Zürich 東京 🦀 e\u0301", "=1+1", "'=1", "@cmd"),
    *("'; DROP TABLE people; --", "<script>", "\\", "\\N", "NULL", "null", "NaN", "true", "007", "1e5", "%s {} $1 ?"),
)
"""Names that a destination must return as they were written."""


class SourceContract:
    """Tests that every source must pass."""

    count = 3
    """The number of valid records behind the address."""

    @pytest.fixture
    def address(self) -> str:
        """The address of a source with `count` valid records."""
        raise NotImplementedError

    def batches(self, address: str, folder: Path) -> list[Batch]:
        """Read everything behind an address."""
        source = opening.open_source(address)
        try:
            return [part.read() for part in source.parts(folder)]
        finally:
            source.close()

    def test_the_address_leads_to_its_connector(self, address: str) -> None:
        assert lookup.connector_of(address).abilities.reads

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
        source = opening.open_source(address)
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
        source = opening.open_source(address)
        try:
            found = source.fingerprint()
        finally:
            source.close()
        assert json.loads(json.dumps(found)) == found
        assert found
        assert all("size" in entry and {"name", "provider"} & set(entry) for entry in found)


class DestinationContract:
    """Tests that every destination must pass that contains the state of its customers: a file or a table."""

    @pytest.fixture
    def address(self) -> str:
        """The address of an empty destination."""
        raise NotImplementedError

    def write(self, address: str, folder: Path, names: Sequence[str]) -> Plan:
        """Write customers of these names, numbered from 1."""
        folder.mkdir(parents=True)
        request = _request(folder, names)
        destination = opening.open_destination(address, _options(folder))
        try:
            plan = destination.plan(request)
            outcomes = destination.apply(request, plan)
            assert outcomes is None or sum(outcomes.counts.values()) >= len(names)
        finally:
            destination.close()
        return plan

    def test_the_address_leads_to_its_connector(self, address: str) -> None:
        assert lookup.connector_of(address).abilities.writes

    def test_every_customer_is_created_once(self, address: str, tmp_path: Path) -> None:
        assert self.write(address, tmp_path / "first", ["Ann", "Bob"]).counts["create"] == 2
        counts = self.write(address, tmp_path / "second", ["Ann", "Bob"]).counts
        keeps_state = lookup.connector_of(address).abilities.keeps_state
        assert (counts["create"], counts["unchanged"]) == ((0, 2) if keeps_state else (2, 0))

    def test_a_plan_writes_nothing(self, address: str, tmp_path: Path) -> None:
        folder = tmp_path / "plan"
        folder.mkdir()
        for _ in range(2):
            destination = opening.open_destination(address, _options(folder))
            try:
                assert destination.plan(_request(folder, ["Ann"])).counts["create"] == 1
            finally:
                destination.close()

    def test_values_are_read_back_as_they_were_written(self, address: str, tmp_path: Path) -> None:
        if not lookup.connector_of(address).abilities.reads:
            return
        self.write(address, tmp_path / "written", HOSTILE)
        source = opening.open_source(address)
        try:
            found = pl.concat([part.read().records for part in source.parts(tmp_path / "pages")])
        finally:
            source.close()
        names = dict(zip(found["external_id"], found["name"], strict=True))
        assert names == {str(number): name for number, name in enumerate(HOSTILE, 1)}

    @pytest.mark.parametrize("mode", ["upsert", "insert", "update", "mirror"])
    def test_modes_beyond_its_abilities_are_refused(self, address: str, mode: Mode) -> None:
        if mode in lookup.connector_of(address).abilities.modes:
            return
        with pytest.raises(ConfigError, match=f"--mode {mode}"):
            opening.must_take(address, mode, for_good=False)


class ProviderAccount(Protocol):
    """An account at a server that simulates the provider."""

    @property
    def provider(self) -> str:
        """The scheme of its address."""
        ...

    @property
    def address(self) -> str:
        """Its address as a source or destination, on loopback."""
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment variable with its key."""
        ...

    @property
    def page(self) -> int | None:
        """Customers per page; null if one response contains all."""
        ...

    @property
    def id_field(self) -> str:
        """The field of its JSON with the provider's own id."""
        ...

    @property
    def name_field(self) -> str:
        """The field of its JSON with a customer's name, which must be text."""
        ...

    def records(self) -> list[dict[str, Any]]:
        """All customers, in the form in which the provider lists them."""
        ...

    def replace(self, record: dict[str, Any]) -> None:
        """Replace the customer with the id of this record, without checking the record."""
        ...

    def accept_only(self, key: str) -> None:
        """Accept no other key from now on."""
        ...

    def methods(self) -> list[str]:
        """The methods of all calls so far."""
        ...


OpenAccount = Callable[[int], ProviderAccount]
"""Open an account with this number of customers."""


class _ProviderContract:
    @pytest.fixture
    def accounts(self) -> OpenAccount:
        """A function that opens accounts; they are closed when the test ends."""
        raise NotImplementedError

    @pytest.fixture
    def account(self, accounts: OpenAccount, monkeypatch: pytest.MonkeyPatch) -> OpenAccount:
        """The same as `accounts`, with the key in the environment."""

        def opened(count: int) -> ProviderAccount:
            there = accounts(count)
            for name, value in there.environment.items():
                monkeypatch.setenv(name, value)
            return there

        return opened


class ProviderSourceContract(_ProviderContract, SourceContract):
    """Tests that every provider must pass as a source."""

    @pytest.fixture
    def address(self, account: OpenAccount) -> str:
        """The address of an account with `count` customers."""
        return account(self.count).address

    @pytest.mark.parametrize(("pages", "more"), [(0, 1), (1, -1), (1, 0), (1, 1), (2, 0)])
    def test_pages_of_every_length_are_read_whole(
        self, account: OpenAccount, tmp_path: Path, pages: int, more: int
    ) -> None:
        there = account(pages * (account(0).page or 100) + more)
        batches = self.batches(there.address, tmp_path / "pages")
        read = [provider_id for batch in batches for provider_id in batch.records["provider_id"].to_list()]
        assert sorted(read) == sorted(str(record[there.id_field]) for record in there.records())

    def test_its_fingerprint_is_json(self, address: str) -> None:
        source = opening.open_source(address)
        try:
            found = source.fingerprint()
        finally:
            source.close()
        assert json.loads(json.dumps(found)) == found
        assert all(entry["size"] is None and entry["provider"] for entry in found)

    def test_an_empty_account_has_no_records(self, account: OpenAccount, tmp_path: Path) -> None:
        batches = self.batches(account(0).address, tmp_path / "pages")
        assert sum(batch.records.height for batch in batches) == 0

    def test_reading_only_reads(self, account: OpenAccount, tmp_path: Path) -> None:
        there = account(self.count)
        before = there.records()
        self.batches(there.address, tmp_path / "pages")
        assert {*there.methods()} == {"GET"}
        assert there.records() == before

    def test_columns_are_canonical_text(self, address: str, tmp_path: Path) -> None:
        for batch in self.batches(address, tmp_path / "pages"):
            assert {*batch.records.columns} <= {*COLUMNS}
            assert {*batch.records.dtypes} == {pl.String}

    def test_a_broken_record_is_set_apart(self, account: OpenAccount, tmp_path: Path) -> None:
        there = account(self.count)
        there.replace({**there.records()[0], there.name_field: {"not": "text"}})
        batches = self.batches(there.address, tmp_path / "pages")
        assert sum(batch.records.height for batch in batches) == self.count - 1
        assert sum(batch.broken.height for batch in batches) == 1

    def test_an_undocumented_field_is_kept_and_noted(self, account: OpenAccount, tmp_path: Path) -> None:
        there = account(self.count)
        there.replace({**there.records()[0], "loyaltyTier": {"level": 3}})
        source = opening.open_source(there.address)
        try:
            records = pl.concat([part.read().records for part in source.parts(tmp_path / "pages")])
            notes = [note for layout in source.layouts() for note in layout.notes]
        finally:
            source.close()
        found = [json.loads(text).get(f"{there.provider}.loyaltyTier") for text in records["metadata"].drop_nulls()]
        assert [value for value in found if value] == [{"level": 3}]
        assert any("loyaltyTier" in note for note in notes)

    def test_a_wrong_key_is_refused_by_the_name_of_its_variable(self, account: OpenAccount, tmp_path: Path) -> None:
        there = account(self.count)
        there.accept_only("another")
        [(variable, key)] = there.environment.items()
        with pytest.raises(Refused, match=variable) as caught:
            self.batches(there.address, tmp_path / "pages")
        assert key not in str(caught.value)
        assert provider_services.check(there.address)[-1].state == "fail"

    def test_a_missing_key_is_named(self, accounts: OpenAccount, monkeypatch: pytest.MonkeyPatch) -> None:
        there = accounts(self.count)
        [variable] = there.environment
        monkeypatch.delenv(variable, raising=False)
        with pytest.raises(ConfigError, match=variable):
            opening.open_source(there.address)

    def test_a_key_in_the_address_is_refused_and_not_shown(self, account: OpenAccount) -> None:
        there = account(self.count)
        [key] = there.environment.values()
        with pytest.raises(ConfigError) as caught:
            opening.open_source(there.address.replace("://", f"://{key}@"))
        assert key not in str(caught.value)

    def test_doctor_finds_nothing_wrong(self, account: OpenAccount) -> None:
        there = account(self.count)
        before = there.records()
        findings = provider_services.check(there.address)
        expected = {"address", "key", "reachable", "key accepted", "rights", "clock", "rate limits"}
        assert {finding.state for finding in findings} == {"ok"}
        assert expected <= {finding.what for finding in findings}
        assert there.records() == before
        [key] = there.environment.values()
        assert not any(key in finding.sentence for finding in findings)


class ProviderDestinationContract(_ProviderContract, DestinationContract):
    """Tests that every provider must pass as a destination."""

    @pytest.fixture
    def address(self, account: OpenAccount) -> str:
        """The address of an empty account."""
        return account(0).address


class _Silent:
    """An observer that ignores everything."""

    def note(self, text: str) -> None:
        """Ignore it."""

    def written(self, records: int, total: int, errors: int = 0) -> None:
        """Ignore it."""


def _options(folder: Path) -> dict[str, Any]:
    return {
        **{"raw": False, "create": True, "overwrite": True, "written": folder / "known"},
        **{"memory": "100MB", "lock_timeout": 10.0, "statement_timeout": 0.0, "pace": None, "observer": _Silent()},
    }


def _request(folder: Path, names: Sequence[str]) -> WriteRequest:
    numbers = [str(number) for number in range(1, len(names) + 1)]
    given: dict[str, list[Any]] = {
        "external_id": numbers,
        "name": list(names),
        "email": [f"{number}@example.com" for number in numbers],
    }
    # Some providers refuse a customer without these.
    given["country"] = ["DE"] * len(names)
    given |= {"customer_type": ["BUSINESS"] * len(names), "created_at": [datetime(2024, 1, 1, tzinfo=UTC)] * len(names)}
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
    )
