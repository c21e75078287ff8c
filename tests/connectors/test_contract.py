"""The contract of every connector of the registry, as a source and as a destination."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pytest
from msgspec.structs import replace

from support.accounts import PROVIDERS
from support.long_tests import combined
from support.warehouse import Record, Warehouse, fates, write_csv
from support.workbooks import from_frame
from tranship.connectors import lookup, opening
from tranship.connectors.contract import Batch, Layout
from tranship.connectors.databases.table_mapping import RUN
from tranship.connectors.errors import ConfigError, GateClosed
from tranship.connectors.registry import CONNECTORS
from tranship.connectors.testing import DestinationContract, SourceContract
from tranship.pipelines import run as flow
from tranship.pipelines import settings
from tranship.pipelines.observer import Quiet, WriteProgress
from tranship.pipelines.verify import Verification
from tranship.schemas.customer import KEY
from tranship.schemas.faults import BROKEN

pytestmark = pytest.mark.slow

ENDS: dict[str, Callable[[Path, str], str]] = {
    "csv": lambda folder, _: str(folder / "end.csv"),
    "duckdb": lambda folder, _: f"duckdb:///{folder}/end.duckdb?table=people",
    "excel": lambda folder, _: str(folder / "end.xlsx"),
    "json": lambda folder, _: str(folder / "end.jsonl"),
    "parquet": lambda folder, _: str(folder / "end.parquet"),
    "postgresql": lambda _, database: f"{database}?table=people",
}
"""The address of each connector in a test, given a folder and, if needed, an empty database."""

SERVED = ("postgresql",)
"""Connectors that need a server."""

NOWHERE = "postgresql://nowhere.invalid/nowhere"
OPTIONS: dict[str, Any] = {
    **{"raw": False, "create": True, "overwrite": True, "written": Path("written")},
    **{
        "memory": "100MB",
        "lock_timeout": 10.0,
        "statement_timeout": 0.0,
        "pace": None,
        "observer": WriteProgress(Quiet()),
    },
}

READERS = [name for name, one in CONNECTORS.items() if one.abilities.reads and not one.abilities.continues]
"""Files and tables; providers have a suite of their own, test_contract_of_providers.py."""
WRITERS = [name for name, one in CONNECTORS.items() if one.abilities.writes and not one.abilities.continues]

MANY = 70_000
"""More than fit into one batch of any connector but CSV, whose batches have a number of bytes."""

HOSTILE = (
    'quotes " and "" and \' and `',
    "delimiters , ; | \\t \\n",
    "Zürich 東京 🦀 e\u0301",
    "=1+1",
    "+1",
    "-1",
    "@cmd",
    "'=1",
    "'; DROP TABLE people; --",
    "<script>alert(1)</script>",
    "\\",
    "\\N",
    "NULL",
    "null",
    "NaN",
    "true",
    "007",
    "1e5",
    "%s {} $1 ?",
    "\u202eright to left",
    "x" * 255,
)

RICH: dict[str, str | None] = {
    **{"external_id": "1", "email": "ann@acme.com", "name": "Ann", "legal_name": "Ann & Co", "phone": "+4930901820"},
    **{"customer_type": "BUSINESS", "address_line1": "1 Main St", "address_line2": "2nd", "city": "Bonn"},
    **{"state": "NRW", "zip_code": "00120", "country": "DE", "currency": "EUR", "timezone": "Europe/Berlin"},
    **{"language": "de-DE", "status": "active", "net_terms": "30", "created_at": "2024-01-02T03:04:05.000006Z"},
    **{"updated_at": "2199-12-31T23:59:59.999999Z", "trial_started": "1900-01-01", "paid_started": "2024-02-29"},
    **{"cancel_date": "2024-03-01", "tax_id": "DE1", "billing_contact_name": "Bea"},
    **{"billing_contact_email": "b@acme.com", "invoice_cc_emails": "c@acme.com;d@acme.com"},
    **{"aliases": '["a;b", "c", "\\"d\\""]', "metadata": '{"n": 1, "deep": {"x": [null, "é"]}, "Seats": "7"}'},
    **{"provider": "stripe", "provider_id": "cus_1"},
}
POOR = {"external_id": None, "email": "cy@acme.com", "name": "Cy"}


class End:
    """One connector's end in a folder or database: filled by the pipeline, read through the contract."""

    direct: ClassVar[dict[str, list[dict[str, Any]]]] = {}
    """Records as JSON → the customers read from them."""

    def __init__(self, kind: str, folder: Path, request: pytest.FixtureRequest, database: str | None = None) -> None:
        self.kind = kind
        if database is None:
            database = request.getfixturevalue("postgres_database").url if kind in SERVED else NOWHERE
        self.database = database
        self.address = ENDS[kind](folder, database)
        self.warehouse = Warehouse(folder)

    def fill(self, source: list[Record] | Path, **options: Any) -> dict[str, int]:
        if not CONNECTORS[self.kind].abilities.writes:
            return self._fill_by_hand(source, **options)
        if self.kind != "csv":
            options.pop("raw", None)
        return fates(self.warehouse.load(source, destination=self.address, **options))

    def _fill_by_hand(self, source: list[Record] | Path, **options: Any) -> dict[str, int]:
        """Write a format that the pipeline cannot write, from CSV, with another library."""
        file = self.warehouse.folder / "by_hand.csv"
        found = fates(self.warehouse.load(source, destination=str(file), **{**options, "raw": True}))
        records = pl.read_csv(file, infer_schema=False)
        from_frame(
            Path(self.address), records.select(*(c.name for c in records if c.null_count() < len(c) or c.is_empty()))
        )
        file.unlink()
        return found

    def read(self) -> tuple[list[Layout], list[Batch]]:
        source = opening.open_source(self.address)
        try:
            return source.layouts(), [part.read() for part in source.parts(Path("pages"))]
        finally:
            source.close()

    @cached_property
    def batches(self) -> list[Batch]:
        """What an end contains that is not written any more: it is read once for all tests."""
        return self.read()[1]

    def customers(self) -> list[dict[str, Any]]:
        """Return the customers of this end, loaded into a separate table."""
        self.warehouse.load(self.address, table="read_back", allow_empty=True)
        return self._meant("read_back")

    def customers_of(self, source: list[Record]) -> list[dict[str, Any]]:
        """Return the customers of these records, loaded directly; computed once for all tests."""
        given = json.dumps(source)
        if given not in self.direct:
            self.warehouse.load(source, table="direct")
            self.direct[given] = self._meant("direct")
        return self.direct[given]

    def _meant(self, table: str) -> list[dict[str, Any]]:
        """Return the customers of a table, with metadata parsed, since a database may write the same JSON
        differently."""
        rows = self.warehouse.rows(f"SELECT * EXCLUDE ({RUN}) FROM {table} ORDER BY {KEY}")
        return [{**row, "metadata": json.loads(row["metadata"] or "null")} for row in rows]


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> End:
    return End(request.param, tmp_path, request)


@pytest.fixture(params=WRITERS)
def writer(request: pytest.FixtureRequest, tmp_path: Path) -> End:
    return End(request.param, tmp_path, request)


@pytest.fixture(scope="module")
def kept_end(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., End]]:
    """`kept_end(kind, source)`: an end with these records that tests only read; each is filled once."""
    ends: dict[str, End] = {}
    with ExitStack() as stack:

        def end(kind: str, source: list[Record] | Path) -> End:
            known = f"{kind} {source if isinstance(source, Path) else json.dumps(source)}"
            if known not in ends:
                database = None
                if kind in SERVED:
                    server = request.getfixturevalue("postgres_servers")()
                    database = stack.enter_context(server.database()).url
                ends[known] = End(kind, tmp_path_factory.mktemp("end"), request, database or NOWHERE)
                ends[known].fill(source)
            return ends[known]

        yield end


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More customers than fit into one batch."""
    file = tmp_path_factory.mktemp("many") / "many.parquet"
    numbers = pl.DataFrame({"external_id": pl.int_range(1, MANY + 1, eager=True).cast(pl.String)})
    numbers.with_columns(name=pl.format("Customer {}", "external_id")).write_parquet(file)
    return file


@pytest.fixture(params=READERS)
def small_end(request: pytest.FixtureRequest, kept_end: Callable[..., End]) -> End:
    """An end with two customers, to be read."""
    return kept_end(request.param, [RICH, POOR])


@pytest.fixture(params=READERS)
def full_end(request: pytest.FixtureRequest, kept_end: Callable[..., End], many: Path) -> End:
    """An end with many customers, to be read."""
    return kept_end(request.param, many)


def test_every_connector_is_tried_here() -> None:
    assert {*ENDS, *PROVIDERS} == set(CONNECTORS)


def test_the_registry_is_sorted_and_named_once() -> None:
    assert list(CONNECTORS) == sorted(CONNECTORS)
    assert [connector.name for connector in CONNECTORS.values()] == list(CONNECTORS)


@pytest.mark.parametrize("kind", CONNECTORS)
def test_an_example_leads_to_its_connector(kind: str) -> None:
    assert lookup.kind_of(CONNECTORS[kind].example) == kind


@pytest.mark.parametrize("kind", ENDS)
def test_an_address_leads_to_its_connector(kind: str, tmp_path: Path) -> None:
    assert lookup.kind_of(ENDS[kind](tmp_path, NOWHERE)) == kind


@pytest.mark.parametrize("address", ["oracle://host/db", "fo_o://bar"])
def test_an_unknown_connector_is_answered_with_those_there_are(address: str) -> None:
    with pytest.raises(ConfigError, match="unknown scheme") as raised:
        lookup.kind_of(address)
    schemes = {scheme for connector in CONNECTORS.values() for scheme in connector.schemes}
    assert all(f"{scheme}://" in str(raised.value) for scheme in (*schemes, "s3", "https"))


@pytest.mark.parametrize(
    ("address", "near"),
    [
        ("postgre://host/db", "postgres://"),
        ("metronom://", "metronome://"),
        ("DUCK:///a", "duckdb://"),
        ("jdbc:postgresql://h/db", "postgresql://"),
        ("htp://h", "http://"),
    ],
)
def test_an_unknown_scheme_is_answered_with_the_nearest(address: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f": unknown scheme. Did you mean {near}\\?"):
        lookup.kind_of(address)


def test_the_advice_for_a_duckdb_file_shows_no_secret() -> None:
    with pytest.raises(ConfigError, match="duckdb:///") as raised:
        lookup.kind_of("https?token=s3cr3t&file=a.duckdb")
    assert "s3cr3t" not in str(raised.value)


# Source ----------------------------------------------------------------------------------------------------------


def test_each_record_is_read_once(full_end: End) -> None:
    ids = [value for batch in full_end.batches for value in batch.records["external_id"]]
    assert sorted(map(int, ids)) == list(range(1, MANY + 1))


def test_a_batch_gives_the_place_of_each_record(full_end: End) -> None:
    batches = full_end.batches
    lines = [line for batch in batches for line in batch.lines]
    assert lines == list(range(lines[0], lines[0] + MANY))
    for batch in batches:
        assert batch.lines.dtype == pl.UInt64
        assert len(batch.lines) == batch.records.height
        assert batch.source


def test_batches_have_the_columns_that_the_layout_promised(small_end: End) -> None:
    [layout], batches = small_end.read()
    assert {tuple(batch.records.columns) for batch in batches if batch.records.height} == {layout.columns}


def test_types_do_not_change_from_batch_to_batch(full_end: End) -> None:
    batches = full_end.batches
    assert len(batches) > 1 or full_end.kind == "csv"
    assert len({tuple(batch.records.dtypes) for batch in batches if batch.records.height}) == 1


def test_nothing_is_broken_in_what_is_whole(small_end: End) -> None:
    for batch in small_end.batches:
        assert batch.broken.is_empty()
        assert dict(batch.broken.schema) == BROKEN


def test_an_empty_source_gives_no_records(reader: End) -> None:
    reader.fill([], allow_empty=True)

    layouts, batches = reader.read()
    assert len(layouts) == 1
    assert sum(batch.records.height for batch in batches) == 0
    with pytest.raises(GateClosed, match="contains no record"):
        reader.warehouse.load(reader.address, table="read_back")


def test_reading_twice_gives_the_same(reader: End) -> None:
    reader.fill([RICH, POOR, *({"external_id": str(n), "name": f"N{n}"} for n in range(2, 50))])

    first, second = reader.read(), reader.read()
    assert [replace(layout, head=None) for layout in first[0]] == [replace(layout, head=None) for layout in second[0]]
    heads = [[layout.head() if layout.head else None for layout in layouts] for layouts, _ in (first, second)]
    assert [head if head is None else head.to_dicts() for head in heads[0]] == [
        head if head is None else head.to_dicts() for head in heads[1]
    ]
    assert [batch.records.to_dicts() for batch in first[1]] == [batch.records.to_dicts() for batch in second[1]]
    assert [batch.lines.to_list() for batch in first[1]] == [batch.lines.to_list() for batch in second[1]]


def test_progress_ends_at_the_size(full_end: End) -> None:
    source = opening.open_source(full_end.address)
    try:
        positions = [part.position for part in source.parts(Path("pages"))]
        assert positions == sorted(positions)
        assert positions[-1] == source.size
    finally:
        source.close()


def test_a_fingerprint_fits_into_a_manifest(small_end: End) -> None:
    prints = []
    for _ in range(2):
        source = opening.open_source(small_end.address)
        prints.append(source.fingerprint())
        source.close()
    assert prints[0] == prints[1]
    assert json.loads(json.dumps(prints[0])) == prints[0]
    assert {"name", "size"} <= set(prints[0][0])


def test_what_does_not_exist_is_explained(reader: End) -> None:
    with pytest.raises(ConfigError, match="people" if reader.kind in SERVED else "end"):
        opening.open_source(reader.address).layouts()


# Destination -----------------------------------------------------------------------------------------------------


def test_every_field_comes_back_as_it_was_written(writer: End) -> None:
    assert writer.fill([RICH, POOR]) == {"created": 2}

    assert writer.customers() == writer.customers_of([RICH, POOR])


@pytest.mark.alternating("field")
@pytest.mark.parametrize("field", ["external_id", "name", "metadata"])
def test_hostile_values_come_back_as_they_were_written(writer: End, field: str) -> None:
    records: list[Record] = [
        {"external_id": str(n), "email": f"c{n}@acme.com", "name": "x"}
        | ({"Note": text} if field == "metadata" else {field: text})
        for n, text in enumerate(HOSTILE, 1)
        # These words are not names or ids.
        if text not in {"name": ("\\N", "NULL", "null", "NaN", "true"), "external_id": ("true",)}.get(field, ())
    ]
    writer.fill(records, raw=True)

    direct = writer.customers_of(records)
    assert len(direct) == len(records)
    assert writer.customers() == direct


def test_nulls_come_back_as_nulls(writer: End) -> None:
    writer.fill([POOR])

    [row] = writer.customers()
    assert {name for name, value in row.items() if value is not None} == {"customer_key", "email", "name"}


def test_nobody_is_written_for_an_empty_source(writer: End) -> None:
    assert writer.fill([], allow_empty=True) == {}
    assert writer.customers() == []


def test_an_empty_source_without_leave_writes_nothing(writer: End) -> None:
    writer.fill([RICH])
    before = writer.customers()

    with pytest.raises(GateClosed):
        writer.fill([])
    assert writer.customers() == before


def test_writing_twice_is_writing_once(writer: End) -> None:
    writer.fill([RICH, POOR])
    before = writer.customers()

    second = writer.fill([RICH, POOR])
    assert second == ({"unchanged": 2} if CONNECTORS[writer.kind].abilities.keeps_state else {"created": 2})
    assert writer.customers() == before


def test_a_dry_run_writes_nothing(writer: End) -> None:
    before = set(writer.warehouse.folder.iterdir())
    assert writer.fill([RICH], dry_run=True) == {"created": 1}

    assert {path.name for path in set(writer.warehouse.folder.iterdir()) - before} == {"in.csv", "state"}


def test_modes_beyond_its_abilities_are_refused_before_anything_is_written(writer: End) -> None:
    writer.fill([RICH])
    before = writer.customers()

    for mode in {"upsert", "insert", "update", "mirror"} - set(CONNECTORS[writer.kind].abilities.modes):
        with pytest.raises(ConfigError, match=f"--mode {mode} needs a table"):
            writer.fill([POOR], mode=mode, **({"max_deletes": "1"} if mode == "mirror" else {}))
    assert writer.customers() == before


def test_modes_within_its_abilities_are_carried_out(writer: End) -> None:
    for mode in CONNECTORS[writer.kind].abilities.modes:
        assert writer.fill([RICH], mode=mode, **({"max_deletes": "1"} if mode == "mirror" else {}))


def test_the_plan_has_a_row_for_each_survivor(writer: End) -> None:
    repeated = {**POOR, "email": "Cy@acme.com"}
    report = writer.warehouse.load([RICH, POOR, repeated], destination=writer.address)

    rows = pl.read_parquet(report.files["plan"])
    assert rows.columns == ["row", "action", "reason", "changed"]
    assert rows["row"].dtype == pl.UInt64
    assert rows["action"].to_list() == ["create", "create"]


def test_a_run_that_nobody_made_is_not_applied(writer: End) -> None:
    writer.fill([RICH])
    table = opening.open_destination(writer.address, OPTIONS)
    try:
        assert not table.applied("20240101T000000-abcdef")
    finally:
        table.close()


def test_what_is_half_written_leaves_no_trace(writer: End) -> None:
    """A run that fails before its write leaves the end and its folder unchanged."""
    writer.fill([RICH])
    files = set(writer.warehouse.folder.iterdir())
    with pytest.raises(GateClosed):
        writer.fill([POOR, {"external_id": "x", "name": None}], max_rejects="0")

    assert set(writer.warehouse.folder.iterdir()) == files


def test_a_missing_folder_or_database_is_explained(writer: End, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        opening.open_destination(ENDS[writer.kind](tmp_path / "nowhere", f"{writer.database}_nowhere"), OPTIONS)


# Verification ---------------------------------------------------------------------------------------------------


def verified(end: End, source: list[Record], **options: Any) -> Verification:
    file = write_csv(end.warehouse.folder / "again.csv", source)
    given = {"source": str(file), "destination": end.address, "state_dir": end.warehouse.folder / "state [1]*"}
    return flow.verify(settings.load({**given, **options}, {}))


def differences(found: Verification) -> list[tuple[Any, ...]]:
    rows = pl.read_csv(found.files["differences"], infer_schema=False, glob=False).rows()
    return sorted(rows, key=str)


NOBODY = {"equal": 0, "different": 0, "only_in_source": 0, "only_at_destination": 0, "refused": 0}


def test_what_was_just_written_is_equal(writer: End) -> None:
    records = [RICH, POOR, *({"external_id": f"c{n}", "name": f"Ünïcode {n}"} for n in range(2, 50))]
    writer.fill(records)
    found = verified(writer, records)

    assert (found.equal, found.counts) == (True, {**NOBODY, "equal": 50})
    assert not found.files
    again = flow.verify_run(writer.warehouse.folder / "state", "last")
    assert (again.equal, again.counts) == (True, found.counts)


def test_hostile_values_are_equal_to_what_was_written_of_them(writer: End) -> None:
    records: list[Record] = [{"external_id": f"c{n}", "name": "x", "Note": text} for n, text in enumerate(HOSTILE)]
    writer.fill(records, raw=True)

    assert verified(writer, records).equal


def test_each_difference_is_found_once(writer: End) -> None:
    writer.fill([RICH, POOR, {"external_id": "9", "email": "nine@acme.com", "name": "Nine"}])
    other = {**RICH, "name": "Anna", "net_terms": "60", "invoice_cc_emails": "z@acme.com"}
    found = verified(writer, [other, POOR, {"external_id": "8", "email": "eight@acme.com", "name": "Eight"}])

    assert not found.equal
    assert found.counts == {**NOBODY, "equal": 1, "different": 1, "only_in_source": 1, "only_at_destination": 1}
    assert dict(found.different_fields) == {"invoice_cc_emails": 1, "name": 1, "net_terms": 1}
    told = differences(found)
    assert [row for row in told if row[3] != "invoice_cc_emails"] == [
        ("different", "1", "ann@acme.com", "name", "Anna", "Ann"),
        ("different", "1", "ann@acme.com", "net_terms", "60", "30"),
        ("only_at_destination", "9", "nine@acme.com", None, None, None),
        ("only_in_source", "8", "eight@acme.com", None, None, None),
    ]
    [listed] = [row for row in told if row[3] == "invoice_cc_emails"]
    assert listed[4] == "z@acme.com"
    assert "c@acme.com" in listed[5]


def test_looking_again_changes_nothing(writer: End) -> None:
    writer.fill([RICH, POOR])
    files = {path: path.stat() for path in writer.warehouse.folder.iterdir() if path.stem == "end"}
    before = writer.customers()
    verified(writer, [{**RICH, "name": "Anna"}])

    assert writer.customers() == before
    if not CONNECTORS[writer.kind].abilities.keeps_state:
        after = {path: path.stat() for path in files}
        assert {path: (stat.st_ino, stat.st_mtime_ns) for path, stat in after.items()} == {
            path: (stat.st_ino, stat.st_mtime_ns) for path, stat in files.items()
        }


def test_several_sources_are_compared_as_one(writer: End) -> None:
    writer.fill([RICH, POOR])
    one, two = (write_csv(writer.warehouse.folder / f"{n}.csv", [it], list(RICH)) for n, it in enumerate([RICH, POOR]))
    given = {"destination": writer.address, "state_dir": writer.warehouse.folder / "state [1]*"}
    found = flow.verify(settings.load({**given, "source": [str(one), str(two)]}, {}))

    assert (found.equal, found.counts["equal"]) == (True, 2)
    assert found.source == f"{one}, {two}"


# Between any two -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted({*READERS} & {*WRITERS}))
def test_an_end_is_not_written_to_itself(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    end = End(kind, tmp_path, request)
    end.fill([RICH, POOR])
    before = end.customers()
    with pytest.raises(ConfigError, match="cannot be the destination"):
        end.warehouse.load(end.address, destination=end.address, overwrite=True)

    assert end.customers() == before


@pytest.mark.parametrize(("first", "second"), combined(READERS, READERS[1:] + READERS[:1]))
def test_two_sources_are_read_one_behind_the_other(
    first: str, second: str, tmp_path: Path, kept_end: Callable[..., End]
) -> None:
    ends = [
        kept_end(kind, [{**RICH, "external_id": f"{kind} {at}"}, {**POOR, "email": f"cy{at}@acme.com"}])
        for at, kind in enumerate((first, second))
    ]
    source = opening.open_sources([end.address for end in ends])
    try:
        parts = list(source.parts(tmp_path / "pages"))
        batches = [part.read() for part in parts]
        assert [layout.name for layout in source.layouts()] == list(dict.fromkeys(batch.source for batch in batches))
        assert [id_ for batch in batches for id_ in batch.records["external_id"] if id_] == [
            f"{first} 0",
            f"{second} 1",
        ]
        positions = [part.position for part in parts]
        assert positions == sorted(positions)
        assert source.size in (positions[-1], None)
        assert len(source.fingerprint()) == 2
    finally:
        source.close()


PAIRS = [pair for pair in combined(READERS, WRITERS[1:] + WRITERS[:1]) if len({*pair}) == 2]


@pytest.mark.parametrize(("source", "destination"), PAIRS)
def test_customers_move_from_any_end_to_any_other(
    source: str, destination: str, tmp_path: Path, request: pytest.FixtureRequest, kept_end: Callable[..., End]
) -> None:
    end = End(destination, tmp_path, request)
    end.warehouse.load(kept_end(source, [RICH, POOR]).address, destination=end.address)

    assert end.customers() == end.customers_of([RICH, POOR])


def test_a_csv_of_the_tests_is_read_as_written(tmp_path: Path) -> None:
    """The tests write their inputs themselves, so their own CSV must be correct."""
    file = write_csv(tmp_path / "x.csv", [{"a": 'x"y', "b": None}, {"a": "1,2", "b": "z\nz"}])

    assert file.read_text(encoding="utf-8") == 'a,b\n"x""y",\n"1,2","z\nz"\n'


# The suites that other packages run, too -------------------------------------------------------------------------


class TestSource(SourceContract):
    @pytest.fixture(params=READERS)
    def address(self, request: pytest.FixtureRequest, kept_end: Callable[..., End]) -> str:
        numbers = range(1, self.count + 1)
        return kept_end(request.param, [{"external_id": str(n), "name": f"Customer {n}"} for n in numbers]).address


class TestDestination(DestinationContract):
    @pytest.fixture
    def address(self, writer: End) -> str:
        return writer.address
