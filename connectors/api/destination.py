"""A provider's account as a destination: what it holds is read once, compared as a table is, and the difference is a
list of requests on disk.

`destination/` has the provider's answers, `destination.duckdb` what they hold: the customers `there`, in canonical
columns, each with its own id and its record as it came. `connectors/databases/diff.py` compares. What is to be done
stands in `plan.parquet` and, as the provider's JSON, in `requests/*.parquet`; `plan.json` is written last, with the
seals of these files: a plan that is there, and whole, is carried out as it stands, by whoever continues the run.
"""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import count as counter
from pathlib import Path
from typing import Any, Final

import duckdb
import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tranship.connectors import durable
from tranship.connectors.api import json_codec as wires
from tranship.connectors.api.executor import Sent, carry_out
from tranship.connectors.api.operations import Verbs
from tranship.connectors.api.request_files import REQUESTS
from tranship.connectors.api.source import ApiPart, ApiSource
from tranship.connectors.api.spec import Address, Api, parse, service
from tranship.connectors.contract import Outcomes, Plan, WriteRequest
from tranship.connectors.databases.diff import Classifier, see_survivors
from tranship.connectors.databases.table_mapping import DELETED, RUN, TYPE_OF, Column, Stored, Target, literal, quoted
from tranship.connectors.errors import ConfigError, Damaged, shown
from tranship.schemas import cells
from tranship.schemas.customer import COLUMNS
from tranship.schemas.provider import ORIGIN, OWN, SPILLED

_BATCH: Final = 20_000
_DELETE: Final = 1 << 61
"""The bit of the rows that are deletes. The one above it has a use at the stage, and SQLite knows none above that."""
_NOT_COMPARED: Final = (*OWN, *ORIGIN)

CROSSWALK: Final = pa.schema(
    (name, pa.string())
    for name in (
        *("source_provider", "source_id", "external_id", "email"),
        *("destination_provider", "destination_id", "action", "run", "updated_at"),
    )
)
"""Who is who: one row for each customer that a run has created, updated or found unchanged or newer, with the source's
`updated_at` (ISO 8601). Those of earlier versions lack that."""


def must_be_meant(api: Api, spec: str, mode: str, *, for_good: bool) -> None:
    """Raises ConfigError where mirror would do what cannot be undone, and nobody has said that it may."""
    if mode == "mirror" and api.removal_is_final and not for_good:
        raise ConfigError(
            f"{shown(spec)}: mirror removes customers there, and {api.removal_is_final}. If that is wanted: "
            "--remove-for-good"
        )


class ProviderDestination:
    """A provider's account as a destination. Everything lies in `WriteRequest.workspace`."""

    def __init__(
        self,
        api: Api,
        spec: str,
        verbs: Callable[[Address], Verbs],
        *,
        memory: str = "600MB",
        pace: float | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._api, self._spec, self._verbs, self._memory, self._pace = api, spec, verbs, memory, pace
        self._environment = os.environ if environment is None else environment
        self._address = parse(api, spec, self._environment)
        self._service = service(api, self._address, self._environment)

    def plan(self, load: WriteRequest) -> Plan:
        """The plan that is there, or a new one. Reads everything that the provider holds; changes nothing there."""
        kept = self._kept(load)
        if kept is not None:
            return kept
        must_be_meant(self._api, self._spec, load.mode, for_good=load.remove_for_good)
        database = load.workspace / "destination.duckdb"
        database.unlink(missing_ok=True)
        shutil.rmtree(load.workspace / "requests", ignore_errors=True)
        with closing(duckdb.connect(str(database))) as run:
            self._set_up(run, load)
            try:
                notes = self._read(run, load)
                plan = self._compare(run, load, notes)
            except duckdb.OutOfMemoryException as error:
                raise ConfigError(
                    f"{shown(self._spec)}: {self._memory} of memory are too little to compare it with what is to be "
                    "written. Allow more: --memory 2GB"
                ) from error
        requests = sorted((load.workspace / "requests").glob("*.parquet"))
        names = [f"requests/{file.name}" for file in requests]
        sealed = durable.seals(load.workspace, [plan.rows.name, "targets.parquet", *names])
        durable.write_json(
            load.workspace / "plan.json", {"run_id": load.run_id, "files": sealed, "plan": _facts_of(plan)}
        )
        return plan

    def _kept(self, load: WriteRequest) -> Plan | None:
        """The plan that is there. Raises Damaged if it is not what was written, or is gone when it was begun."""
        file = load.workspace / "plan.json"
        try:
            kept = msgspec.convert(durable.read_json(file), _Kept)
        except FileNotFoundError:
            if load.write_began:
                raise durable.damaged(file) from None
            return None
        except msgspec.ValidationError as error:
            raise durable.damaged(file) from error
        if kept.run_id != load.run_id:
            raise Damaged(f"{file}: belongs to another run ({kept.run_id}).")
        durable.check(load.workspace, kept.files)
        return Plan(
            load.workspace / "plan.parquet",
            *(kept.plan.counts, kept.plan.changed_fields, kept.plan.existing, tuple(kept.plan.notes)),
            *(kept.plan.withheld, tuple(kept.plan.unidentified)),
        )

    def apply(self, load: WriteRequest, plan: Plan) -> Outcomes:
        """Send what is left of the plan and return the outcomes of all its records.

        Raises Refused and Unreachable, which carry the outcomes so far. A second call continues.
        """
        kept = msgspec.convert(durable.read_json(load.workspace / "plan.json"), _Kept)
        requests = [load.workspace / name for name in sorted(kept.files) if name.startswith("requests/")]
        told = load.workspace / "sent.parquet"
        told.unlink(missing_ok=True)
        try:
            sent = carry_out(
                requests,
                self._verbs(self._address),
                self._service,
                run_id=load.run_id,
                journal=load.workspace / "journal.sqlite",
                outcomes=told,
                limit=load.limit,
                begun=load.write_began,
                pace=self._pace,
                advanced=load.advanced,
            )
        except BaseException as error:
            if told.exists():
                error.outcomes = self._outcomes(load, plan, told, None)  # type: ignore[attr-defined]
            raise
        return self._outcomes(load, plan, told, sent)

    def _outcomes(self, load: WriteRequest, plan: Plan, told: Path, sent: Sent | None) -> Outcomes:
        files = self._write_outcomes(load, plan)
        found = _count_outcomes(told)
        return Outcomes(_counts(found, plan), self._reasons(load), files, tuple(_notes(sent, found)))

    def applied(self, run_id: str) -> bool:  # noqa: ARG002
        """Never known beforehand: the journal knows of each record."""
        return False

    def close(self) -> None:
        """Nothing is held open between steps."""

    def _write_outcomes(self, load: WriteRequest, plan: Plan) -> dict[str, Path]:
        """What became of each survivor, and who is who: `outcomes.parquet`, `crosswalk.parquet` and `.csv`."""
        files = {
            "outcomes": load.workspace / "outcomes.parquet",
            "crosswalk": load.workspace / "crosswalk.csv",
        }
        whole = load.workspace / "crosswalk.parquet"
        with closing(duckdb.connect()) as run:
            self._set_up(run, load)
            sent, targets = (literal(load.workspace / f"{name}.parquet") for name in ("sent", "targets"))
            run.execute(
                "COPY ("
                f"SELECT row, action, outcome, reason, provider_id FROM read_parquet({sent}) UNION ALL "
                "SELECT p.row, p.action, CASE p.action WHEN 'unchanged' THEN 'unchanged' WHEN 'stale' THEN 'older' "
                f"ELSE 'refused' END, p.reason, t.own_id FROM read_parquet({literal(plan.rows)}) p "
                f"LEFT JOIN read_parquet({targets}) t ON t.row = p.row "
                "WHERE p.action IN ('unchanged', 'stale', 'refused') "
                f") TO {literal(files['outcomes'])} (FORMAT parquet, ROW_GROUP_SIZE {_BATCH})"
            ).fetchall()
            with pq.ParquetWriter(whole, CROSSWALK) as crosswalk:
                for some in _by_and_by(run, load, see_survivors):
                    found = run.sql(
                        "SELECT s.provider AS source_provider, s.provider_id AS source_id, s.external_id, s.email, "
                        f"{literal(self._api.name)} AS destination_provider, o.provider_id AS destination_id, "
                        f"o.action, {literal(load.run_id)} AS run, "
                        "strftime(s.updated_at, '%Y-%m-%dT%H:%M:%S.%fZ') AS updated_at "
                        f"FROM read_parquet({literal(files['outcomes'])}) o JOIN _survivors s ON s._row = o.row "
                        "WHERE o.outcome IN ('done', 'unchanged', 'older') AND o.provider_id IS NOT NULL "
                        f"AND {some} ORDER BY o.row"
                    )
                    crosswalk.write_table(found.to_arrow_table().cast(CROSSWALK))
        known = pl.scan_parquet(whole)
        known.with_columns(cells.written(known.collect_schema())).sink_csv(files["crosswalk"])
        return files

    def _reasons(self, load: WriteRequest) -> dict[str, int]:
        refused = pl.scan_parquet(load.workspace / "outcomes.parquet").filter(pl.col("outcome") == "refused")
        counted = refused.group_by("reason").len().sort("len", descending=True).collect()
        return dict(counted.iter_rows())

    def _set_up(self, run: duckdb.DuckDBPyConnection, load: WriteRequest) -> None:
        run.execute(f"SET memory_limit = {literal(self._memory)}").fetchall()
        run.execute(f"SET temp_directory = {literal(load.workspace / 'spill')}").fetchall()
        run.execute("SET TimeZone = 'UTC'").fetchall()

    # What is there -------------------------------------------------------------------------------------------

    def _read(self, run: duckdb.DuckDBPyConnection, load: WriteRequest) -> tuple[str, ...]:
        """Make `there`, and `held`, those of them that can be written to; what is to be told about it."""
        columns = ", ".join(f"{quoted(name)} {_TYPES[name]}" for name in COLUMNS)
        run.execute(
            "CREATE TABLE there (target BIGINT, own_id VARCHAR, raw VARCHAR, archived BOOLEAN, unread VARCHAR[], "
            f"{columns}, known BOOLEAN, _known_id VARCHAR, _known_email VARCHAR, {quoted(RUN)} VARCHAR, "
            f"{quoted(DELETED)} TIMESTAMPTZ)"
        ).fetchall()
        final = "archived" if self._api.removal_is_final and self._api.archives else "false"
        run.execute(f"CREATE VIEW held AS FROM there WHERE NOT {final}").fetchall()
        broken = 0
        with closing(
            ApiSource(self._api, self._spec, include_archived=self._api.archives, environment=self._environment)
        ) as source:
            for part in source.parts(load.workspace / "destination"):
                broken += self._put_in(run, part)
            notes = [note for layout in source.layouts() for note in layout.notes]
        if broken:
            notes.append(
                f"{broken:,} customers there break the provider's own schema: what they hold is not known, and they "
                "are left alone"
            )
        self._recognise(run, load)
        return tuple(notes)

    def _put_in(self, run: duckdb.DuckDBPyConnection, part: ApiPart) -> int:
        decoded = wires.decode(self._api.wire, part.group.lists(), part.group.dropped, raw=True)
        assert decoded.raw is not None  # noqa: S101  (asked for)
        frame = decoded.records.with_columns(own_id="provider_id", raw=decoded.raw)
        known = run.execute("SELECT count(*) FROM there").fetchall()[0][0]
        run.register("read", frame.with_row_index("place").to_arrow())
        values = ", ".join(_read_as(name) for name in COLUMNS)
        unread = ", ".join(
            f"CASE WHEN {quoted(name)} IS NOT NULL AND {_read_as(name)} IS NULL THEN {literal(name)} END"
            for name in COLUMNS
            if _TYPES[name] != "VARCHAR"
        )
        run.execute(
            f"INSERT INTO there SELECT place + {known}, own_id, raw, "
            "coalesce(json_extract_string(raw, '$.archived_at') IS NOT NULL, false), "
            f"list_filter([{unread}], lambda f: f IS NOT NULL), {values}, "
            f"false, {_read_as('external_id')}, {_read_as('email')}, NULL, NULL FROM read"
        ).fetchall()
        run.unregister("read")
        return decoded.broken.height

    def _recognise(self, run: duckdb.DuckDBPyConnection, load: WriteRequest) -> None:
        """Say of whom this tool once wrote (`_run_id`), and under which external id and e-mail the run knows those who
        are in the crosswalk.
        """
        history = [file for file in load.history if file.exists()]
        if history:
            run.execute(
                f"UPDATE there SET {quoted(RUN)} = 'earlier' WHERE own_id IN (SELECT destination_id "
                f"FROM read_parquet([{_listed(history)}], union_by_name = true) WHERE action IN ('create', 'update'))"
            ).fetchall()
        self._see_written(run, history)
        if load.crosswalk is not None:
            self._see_crosswalk(run, load.crosswalk)
            see_survivors(run, load)
            run.execute(
                "CREATE TEMP TABLE by_source AS SELECT c.destination_id, s.external_id, s.email FROM crosswalk c "
                "JOIN _survivors s ON c.source_id = s.provider_id AND c.source_provider = s.provider"
            ).fetchall()
            run.execute(
                "UPDATE there SET known = true, _known_id = k.external_id, _known_email = k.email FROM ("
                "SELECT destination_id, any_value(external_id) AS external_id, any_value(email) AS email FROM ("
                "FROM by_source UNION ALL SELECT c.destination_id, s.external_id, s.email FROM crosswalk c "
                "JOIN _survivors s ON c.external_id = s.external_id "
                "WHERE c.destination_id NOT IN (SELECT destination_id FROM by_source)"
                ") GROUP BY 1 HAVING count(*) = 1) k WHERE k.destination_id = own_id"
            ).fetchall()
            if load.present:
                # Whom a rejected record means is not gone, whatever they are called there.
                present = f"read_parquet([{_listed(load.present)}]) p"
                run.execute(
                    f"UPDATE there SET {quoted(RUN)} = NULL WHERE own_id IN ("
                    f"SELECT destination_id FROM crosswalk c JOIN {present} ON c.external_id = p.external_id UNION ALL "
                    f"SELECT destination_id FROM crosswalk c JOIN {present} ON c.email = p.email)"
                ).fetchall()

    def _see_written(self, run: duckdb.DuckDBPyConnection, history: Sequence[Path]) -> None:
        """Make `_written`: the source's `updated_at` of what was last written to each customer. A later run that found
        the customer unchanged has shown that this is also how it was then: a later time of such a run counts.
        """
        run.execute("CREATE TEMP TABLE _written (customer VARCHAR, updated_at TIMESTAMPTZ)").fetchall()
        timed = [file for file in history if "updated_at" in pq.read_schema(file).names]
        if not timed:
            return
        run.register("runs", pl.DataFrame({"file": map(str, timed)}).with_row_index("age").to_arrow())
        run.execute(
            "INSERT INTO _written WITH known AS (SELECT destination_id, action, r.age, "
            "TRY_CAST(c.updated_at AS TIMESTAMPTZ) AS time "
            f"FROM read_parquet([{_listed(timed)}], filename = true) c JOIN runs r ON r.file = c.filename "
            "WHERE action IN ('create', 'update', 'unchanged') AND time IS NOT NULL), "
            "last AS (SELECT destination_id, min(age) AS age FROM known WHERE action <> 'unchanged' GROUP BY 1) "
            "SELECT k.destination_id, max(k.time) FROM known k LEFT JOIN last l ON l.destination_id = k.destination_id "
            "WHERE l.age IS NULL OR k.age <= l.age GROUP BY 1"
        ).fetchall()
        run.unregister("runs")

    def _see_crosswalk(self, run: duckdb.DuckDBPyConnection, file: Path) -> None:
        columns = ("source_provider", "source_id", "external_id", "email", "destination_id")
        if file.suffix == ".parquet":
            select = f"SELECT {', '.join(columns)} FROM read_parquet({literal(file)})"
        else:
            bare = (f"regexp_replace({name}, {literal(cells.GUARD)}, '\\1') AS {name}" for name in columns)
            select = f"SELECT {', '.join(bare)} FROM read_csv({literal(file)}, all_varchar = true)"
        try:
            run.execute(f"CREATE TEMP VIEW crosswalk AS {select}").fetchall()
            run.execute("FROM crosswalk LIMIT 0").fetchall()
        except duckdb.Error as error:
            raise ConfigError(
                f"--crosswalk {file}: cannot be read, or lacks a column. It is crosswalk.csv or crosswalk.parquet of "
                "an earlier run."
            ) from error

    # What is wanted ------------------------------------------------------------------------------------------

    def _compare(self, run: duckdb.DuckDBPyConnection, load: WriteRequest, notes: tuple[str, ...]) -> Plan:
        rows = load.workspace / "plan.parquet"
        target = self._target()
        classifier = Classifier(run, _Held(run, load, self._merged), target, load)
        classifier.compare()
        self._refuse_locked(run)
        self._refuse_immutable(run)
        self._refuse_unread(run)
        self._refuse_exchanges(run)
        (load.workspace / "requests").mkdir(mode=0o700, exist_ok=True)
        numbers = counter()
        self._write_requests(run, load, numbers)
        plan = classifier.settle(rows, notes, "ORDER BY row")
        self._write_removals(run, load, numbers)
        run.execute(
            "COPY (SELECT p.row, h.own_id FROM _plan p JOIN held h ON h.target = p.target "
            "WHERE p.action IN ('update', 'unchanged', 'stale')) "
            f"TO {literal(load.workspace / 'targets.parquet')} (FORMAT parquet)"
        ).fetchall()
        return dataclasses.replace(plan, notes=(*notes, *self._told(load, plan.counts)))

    def _told(self, load: WriteRequest, counts: Mapping[str, int]) -> Iterator[str]:
        """What a person should know of the plan: how much there is to do, and what has no place of its own."""
        wire, verbs = self._api.wire, self._verbs(self._address)
        bulk, looks = verbs.bulk, verbs.looks
        creates, updates, deletes = counts["create"], counts["update"], counts["delete"]
        together = bulk.size if bulk else 1
        writes = math.ceil(creates / together) + deletes
        writes += math.ceil(updates / together) if bulk and bulk.changes else updates
        reads = math.ceil((updates + deletes) / (looks.size if looks else 1))
        if writes:
            sent = {"POST", "PUT", "PATCH", *(["DELETE"] if deletes else [])}
            paces = [pace for method, pace in self._service.per_second.items() if method in sent]
            paces += [self._pace] if self._pace else []
            slowest = min(paces, default=None)
            took = f", {_duration(writes / slowest)} at {slowest:,.2g} a second" if slowest else ""
            yield f"{writes + reads:,} calls are needed{took}"
        spilled = [name for name in load.survivors.columns if name in SPILLED and name not in wire.native]
        if spilled and creates + updates:
            yield f"kept in {wire.bag.name}, for want of a place of their own: {', '.join(spilled)}"

    @property
    def _merged(self) -> frozenset[str]:
        """Fields in which what others have put there stays. Where other ids are the provider's own, usage comes in
        under each of them.
        """
        return frozenset(("metadata", "aliases") if "aliases" in self._api.wire.native else ("metadata",))

    def _target(self) -> Target:
        stored = [
            Stored(name, Column(name, _TYPES[name], by_server=name in self._merged))
            for name in COLUMNS
            if name not in _NOT_COMPARED
        ]
        return Target(
            tuple(stored),
            key=None,
            bookkeeping=True,
            required=(),
            unique=("external_id", *self._api.unique),
            found_by=("_known_id", "_known_email"),
            written="t.own_id",
        )

    def _refuse_locked(self, run: duckdb.DuckDBPyConnection) -> None:
        """What an archived customer has cannot be had by another one, and it cannot be changed itself."""
        if not (self._api.removal_is_final and self._api.archives):
            return
        run.execute(
            "UPDATE _plan SET action = 'refused', reason = 'locked: external_id' WHERE action = 'create' AND row IN ("
            "SELECT s._row FROM _survivors s JOIN there t ON t.archived AND t.external_id = s.external_id)"
        ).fetchall()

    def _refuse_immutable(self, run: duckdb.DuckDBPyConnection) -> None:
        """What the provider never changes of a customer."""
        for name in self._api.immutable:
            run.execute(
                f"UPDATE _plan SET action = 'refused', reason = {literal(f'immutable: {name}')}, changed = NULL "
                f"WHERE action = 'update' AND list_contains(changed, {literal(name)})"
            ).fetchall()

    def _refuse_exchanges(self, run: duckdb.DuckDBPyConnection) -> None:
        """Customers that would hand on a value in a circle (or wait for such): there is no request to begin with. Who
        waits for somebody that gives the value up is written after that one (`connectors/api/executor.py`).
        """
        for name in ("external_id", *self._api.unique):
            waits = run.execute(
                "SELECT p.row, q.row FROM _plan p JOIN _survivors s ON s._row = p.row "
                f"JOIN held h ON h.{name} = s.{name} JOIN _plan q ON q.target = h.target "
                "WHERE p.action IN ('create', 'update') AND h.target IS DISTINCT FROM p.target"
            ).fetchall()
            stuck = {row for row, _ in waits}
            while free := stuck - {row for row, holder in waits if holder in stuck}:
                stuck -= free
            run.execute(
                f"UPDATE _plan SET action = 'refused', reason = {literal(f'taken: {name}')}, changed = NULL "
                "WHERE list_contains(?, row)",
                [sorted(stuck)],
            ).fetchall()

    def _refuse_unread(self, run: duckdb.DuckDBPyConnection) -> None:
        """A value there that no field of ours can hold would be erased by the update of another one."""
        run.execute(
            "UPDATE _plan SET action = 'refused', reason = 'unreadable: ' || array_to_string(h.unread, ', '), "
            "changed = NULL FROM held h WHERE h.target = _plan.target AND action = 'update' "
            "AND NOT list_has_all(changed, h.unread)"
        ).fetchall()

    def _write_requests(self, run: duckdb.DuckDBPyConnection, load: WriteRequest, numbers: Iterator[int]) -> None:
        """The customers to create and to change, as the provider's JSON; what it would refuse goes back to the plan."""
        told = {one.name: self._address.options.get("source", "") for one in self._api.wire.fields if one.told}
        refused: list[pl.DataFrame] = []
        for some in _by_and_by(run, load, _see_survivors):
            batch = run.sql(_wanted(load, some)).pl()
            customers = batch.select(pl.col(name).cast(dtype) for name, dtype in COLUMNS.items())
            encoded = wires.encode(self._api.wire, customers, told)
            refused.append(_refusals(batch["row"], encoded.refused))
            requests = batch.select(
                "row",
                "action",
                target="own_id",
                external_id="external_id",
                email="email",
                wanted=encoded.bodies,
                found="raw",
            ).filter(pl.col("wanted").is_not_null())
            _write(requests, load.workspace, next(numbers))
        if any(frame.height for frame in refused):
            run.register("refused", pl.concat(refused).to_arrow())
            run.execute(
                "UPDATE _plan SET action = 'refused', reason = r.reason, changed = NULL FROM refused r "
                "WHERE _plan.row = r.row"
            ).fetchall()
            run.unregister("refused")

    def _write_removals(self, run: duckdb.DuckDBPyConnection, load: WriteRequest, numbers: Iterator[int]) -> None:
        """The customers that mirror removes."""
        gone = (
            "SELECT h.target, h.own_id, h.external_id, h.email, h.raw FROM held h JOIN _gone g ON g.target = h.target"
        )
        for batch in _batches(run, gone, load.workspace):
            requests = batch.select(
                row=pl.col("target").cast(pl.UInt64) + _DELETE,
                action=pl.lit("delete"),
                target="own_id",
                external_id="external_id",
                email="email",
                wanted=pl.lit(None),
                found="raw",
            )
            _write(requests, load.workspace, next(numbers))


_TYPES: Final = {**TYPE_OF, "metadata": "VARCHAR"}


class _Held:
    """The account as `connectors/databases/diff.py` sees it: the table `held`."""

    place = "t.target"

    def __init__(self, run: duckdb.DuckDBPyConnection, load: WriteRequest, merged: frozenset[str]) -> None:
        self._run, self._load, self._merged = run, load, merged
        run.execute("CREATE OR REPLACE TEMP TABLE _merged (row UBIGINT, text VARCHAR)").fetchall()
        run.execute("CREATE OR REPLACE TEMP TABLE _all_ids (row UBIGINT, ids VARCHAR[])").fetchall()

    def see_survivors(self) -> None:
        _see_survivors(self._run, self._load)

    def see_table(self, select: str, joined: str) -> None:
        self._run.execute(f"CREATE OR REPLACE TEMP VIEW _table AS SELECT {select} FROM held t {joined}").fetchall()

    def undecided(self) -> str:
        """Metadata of the source is laid over what is there, key by key: what others have put there stays."""
        query = (
            "SELECT p.row, s.metadata::VARCHAR AS here, t.metadata AS there FROM _plan p "
            "JOIN _survivors s ON s._row = p.row JOIN held t ON t.target = p.target "
            "WHERE p.action IS NULL AND t.metadata IS NOT NULL AND s.metadata::VARCHAR IS DISTINCT FROM t.metadata"
        )
        for batch in _batches(self._run, query, self._load.workspace):
            merged = [laid_over(here, there) for here, there in batch.select("here", "there").iter_rows()]
            frame = batch.select("row", text=pl.Series(merged, dtype=pl.String))
            self._run.register("merged", frame.to_arrow())
            self._run.execute("INSERT INTO _merged SELECT row, text FROM merged").fetchall()
            self._run.unregister("merged")
        if "aliases" in self._merged:
            self._run.execute(
                "INSERT INTO _all_ids SELECT p.row, CASE WHEN len(list_filter(s.aliases, lambda a: "
                "NOT list_contains(t.aliases, a))) > 0 THEN list_concat(s.aliases, list_filter(t.aliases, lambda a: "
                "NOT list_contains(s.aliases, a))) ELSE t.aliases END FROM _plan p "
                "JOIN _survivors s ON s._row = p.row JOIN held t ON t.target = p.target "
                "WHERE p.action IS NULL AND t.aliases IS NOT NULL AND s.aliases IS DISTINCT FROM t.aliases"
            ).fetchall()
        return "held"

    def object(self, *, alone: bool) -> int:  # noqa: ARG002  (a provider says so itself)
        return 0

    def keep(self) -> list[tuple[str, int]]:
        return []


def _see_survivors(run: duckdb.DuckDBPyConnection, load: WriteRequest) -> None:
    """Survivors, with their metadata and aliases laid over those of the customer that is there."""
    also = (
        ", coalesce(m.text, s.metadata) AS _as_metadata, false AS _unfit_metadata"
        ", coalesce(a.ids, s.aliases) AS _as_aliases, false AS _unfit_aliases"
    )
    see_survivors(run, load, also, " LEFT JOIN _merged m ON m.row = s._row LEFT JOIN _all_ids a ON a.row = s._row")


def _by_and_by(
    run: duckdb.DuckDBPyConnection, load: WriteRequest, see: Callable[[duckdb.DuckDBPyConnection, WriteRequest], None]
) -> Iterator[str]:
    """Conditions on `s`, a row of `_survivors`: under each of them come some, under all of them all, in the order of
    their rows. All together would not fit into memory, and so the view is of one file after the other.
    """
    for file in load.survivors.files:
        see(run, dataclasses.replace(load, survivors=dataclasses.replace(load.survivors, files=(file,))))
        rows = run.sql("SELECT _row FROM _survivors ORDER BY _row").fetchnumpy()["_row"]
        for at in range(0, len(rows), _BATCH):
            some = rows[at : at + _BATCH]
            yield f"s._row BETWEEN {some[0]} AND {some[-1]}"


def laid_over(here: str | None, there: str) -> str:
    """Metadata of the source over that of the destination, both JSON objects; the destination's own text where nothing
    of it differs, whatever the order of its keys.
    """
    if here is None:
        return there
    ours = msgspec.json.decode(here, type=dict[str, msgspec.Raw])
    theirs = msgspec.json.decode(there, type=dict[str, msgspec.Raw])
    changed = {key: value for key, value in ours.items() if key not in theirs or not _same(value, theirs[key])}
    return msgspec.json.encode({**theirs, **changed}).decode() if changed else there


def _same(one: msgspec.Raw, other: msgspec.Raw) -> bool:
    """Equal as JSON: the order of keys does not count, true is not 1."""
    if bytes(one) == bytes(other):
        return True
    sorted_ = [msgspec.json.encode(msgspec.json.decode(value), order="sorted") for value in (one, other)]
    return sorted_[0] == sorted_[1]


def _count_outcomes(told: Path) -> Counter[tuple[str, str]]:
    """(action, outcome) → records, of those that were to be written."""
    counted = pl.scan_parquet(told).group_by("action", "outcome").len().collect()
    return Counter({(action, outcome): count for action, outcome, count in counted.iter_rows()})


def _counts(came: Counter[tuple[str, str]], plan: Plan) -> dict[str, int]:
    """The ledger's counts. A delete that was not carried out is no record of the source's."""
    fates = {
        outcome: came["create", outcome] + came["update", outcome]
        for outcome in ("refused", "stale", "unknown", "left")
    }
    return {
        **plan.counts,
        **{action: came[action, "done"] for action in ("create", "update", "delete")},
        **fates,
        "refused": plan.counts["refused"] + fates["refused"],
        "stale": plan.counts.get("stale", 0) + fates["stale"],
        "moved": fates["stale"],
        "deletes_left": came["delete", "left"],
    }


def _notes(sent: Sent | None, came: Counter[tuple[str, str]]) -> Iterator[str]:
    for outcome in ("refused", "stale", "unknown", "left"):
        if count := came["delete", outcome]:
            yield f"{count:,} customers that were to be removed are {outcome}"
    if sent is None:
        return
    yield from sent.notes
    traffic = sent.traffic
    if traffic.requests:
        yield f"{traffic.requests:,} requests in {sent.seconds:,.1f} s, {traffic.requests / sent.seconds:,.0f} a second"
    yield from traffic.notes()


def _duration(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds < 120 else f"{seconds / 60:,.0f} min"


def _read_as(name: str) -> str:
    """A canonical column as text → typed, as SQL; null if it cannot be read."""
    column, dtype = quoted(name), _TYPES[name]
    if dtype.endswith("[]"):
        return f"from_json({column}, '[\"VARCHAR\"]')"
    if name == "email":
        return f"lower({column})"
    if dtype == "INTEGER":  # DuckDB would round 30.5
        return f"CASE WHEN regexp_full_match({column}, '-?[0-9]+') THEN TRY_CAST({column} AS INTEGER) END"
    return column if dtype == "VARCHAR" else f"TRY_CAST({column} AS {dtype})"


def _wanted(load: WriteRequest, some: str) -> str:
    """Each customer to create or to change as it should stand: what is there, and over it what the source says."""

    def value(name: str) -> str:
        ours, theirs = f"s.{quoted(name)}", f"h.{quoted(name)}"
        if name in OWN:
            return "NULL"
        if name in ORIGIN:
            return ours
        if name == "metadata":
            return (
                f"CASE WHEN h.target IS NULL THEN {ours}::VARCHAR ELSE coalesce(s._as_metadata::VARCHAR, {theirs}) END"
            )
        if name == "aliases":
            ours = "s._as_aliases"
        if load.overwrite_nulls and name in load.survivors.columns and name != "external_id":
            return ours
        return f"coalesce({ours}, {theirs})"

    values = ", ".join(f"{value(name)} AS {quoted(name)}" for name in COLUMNS)
    return (
        f"SELECT p.row, p.action, h.own_id, h.raw, {values} FROM _plan p JOIN _survivors s ON s._row = p.row "
        f"LEFT JOIN held h ON h.target = p.target WHERE p.action IN ('create', 'update') AND {some} ORDER BY p.row"
    )


def _batches(run: duckdb.DuckDBPyConnection, query: str, workspace: Path) -> Iterator[pl.DataFrame]:
    """The rows of a query, while the connection is used for something else: by way of the disk."""
    file = workspace / "batches.parquet"
    run.execute(f"COPY ({query}) TO {literal(file)} (FORMAT parquet, ROW_GROUP_SIZE {_BATCH})").fetchall()
    try:
        with pq.ParquetFile(file) as rows:
            for batch in rows.iter_batches(_BATCH, use_threads=False):
                yield pl.DataFrame(batch)
    finally:
        file.unlink()


def _refusals(rows: pl.Series, refused: pl.DataFrame) -> pl.DataFrame:
    """Row and reason, the first reason of each."""
    first = refused.group_by("position", maintain_order=True).first()
    return first.select(row=rows.gather(first["position"]), reason=pl.format("{}: {}", "code", "demand"))


def _write(requests: pl.DataFrame, workspace: Path, number: int) -> None:
    if requests.height:
        pq.write_table(
            requests.select(REQUESTS.names).to_arrow().cast(REQUESTS),
            workspace / "requests" / f"{number:06}.parquet",
            compression="lz4",
        )


def _listed(files: Sequence[Path]) -> str:
    return ", ".join(map(literal, files))


class _Facts(msgspec.Struct, frozen=True):
    counts: dict[str, int]
    changed_fields: dict[str, int]
    existing: int
    notes: list[str]
    withheld: int = 0
    unidentified: list[str] = []


class _Kept(msgspec.Struct, frozen=True):
    """plan.json: the plan, and the seals of the files that belong to it."""

    run_id: str
    files: dict[str, str]
    plan: _Facts


def _facts_of(plan: Plan) -> dict[str, Any]:
    facts = dataclasses.asdict(plan)
    del facts["rows"]
    return facts
