"""The plan of a provider's destination: the difference between survivors and account, as requests on disk.

`plan.parquet` has the action of each record, `requests/*.parquet` the provider's JSON (`saved_plan.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import count as counter
from typing import Final

import duckdb
import polars as pl
from msgspec.structs import replace

from tranship.connectors.api import json_codec
from tranship.connectors.api.account import (
    TYPES,
    HeldCustomers,
    batched_rows,
    batched_survivors,
    create_merged_survivors_view,
)
from tranship.connectors.api.known_ids import write_known_ids
from tranship.connectors.api.operations import Operations
from tranship.connectors.api.request_files import write_requests
from tranship.connectors.api.spec import ProviderAddress, ProviderSpec
from tranship.connectors.contract import Effort, Plan, WriteRequest
from tranship.connectors.databases.diff import Classifier
from tranship.connectors.databases.quoting import files_literal, literal, quoted
from tranship.connectors.databases.table_mapping import Column, MappedField, TableMapping
from tranship.schemas.compatibility import losses
from tranship.schemas.counted import counted
from tranship.schemas.customer import COLUMNS
from tranship.schemas.provider import (
    CODES_NEVER_DEFAULTED,
    NEVER_DEFAULTED,
    ORIGIN,
    OVERFLOW_FIELDS,
    PROVIDER_OWNED,
    UNREADABLE,
)

_DELETE_BIT: Final = 1 << 61
"""The bit that marks rows of deletes. The stage uses the next one, and SQLite's integers end above that."""


_NOT_COMPARED: Final = (*PROVIDER_OWNED, *ORIGIN)


class RequestPlanner:
    """Compares the survivors with `held` (see `account.py`) and writes the requests.

    `per_second`: the provider's limits by method; `pace`: the user's, in calls per second, or null.
    """

    def __init__(
        self,
        spec: ProviderSpec,
        address: ProviderAddress,
        operations: Operations,
        per_second: Mapping[str, float],
        pace: float | None,
    ) -> None:
        self._spec, self._address, self._operations, self._per_second, self._pace = (
            spec,
            address,
            operations,
            per_second,
            pace,
        )

    def plan(self, run: duckdb.DuckDBPyConnection, write: WriteRequest, notes: tuple[str, ...]) -> Plan:
        """Compare; write `plan.parquet`, `targets.parquet`, the ids of the account and the requests.

        Raises the errors of DuckDB.
        """
        rows = write.workspace / "plan.parquet"
        target = self._target()
        classifier = Classifier(run, HeldCustomers(run, write, self._merged), target, write)
        classifier.compare()
        self._refuse_locked(run)
        self._refuse_immutable(run)
        self._refuse_unread(run)
        self._refuse_invalid(run, write)
        self._refuse_exchanges(run)
        (write.workspace / "requests").mkdir(mode=0o700, exist_ok=True)
        numbers = counter()
        self._write_requests(run, write, numbers)
        plan = classifier.finish(rows, notes, "ORDER BY row")
        self._write_removals(run, write, numbers)
        write_known_ids(run, write.workspace)
        run.execute(
            "COPY (SELECT p.row, h.own_id FROM _plan p JOIN held h ON h.target = p.target "
            "WHERE p.action IN ('update', 'unchanged', 'stale')) "
            f"TO {literal(write.workspace / 'targets.parquet')} (FORMAT parquet)"
        ).fetchall()
        effort = self._effort(plan.counts)
        return replace(
            plan,
            notes=(*notes, *self._notes(write, plan.counts, effort), *self._archived(run)),
            losses=self._losses(write),
            effort=effort,
        )

    def _archived(self, run: duckdb.DuckDBPyConnection) -> Iterator[str]:
        """Yield a note about archived customers of the plan: their values are written, and they remain archived."""
        archived = run.execute(
            "SELECT count(*) FROM _plan p JOIN there t ON t.target = p.target "
            "WHERE t.archived AND p.action IN ('update', 'unchanged')"
        ).fetchall()[0][0]
        if archived:
            yield f"archived at {self._spec.schema.title}, and left so: {counted(archived, 'customer')}"

    def _effort(self, counts: Mapping[str, int]) -> Effort:
        """Return the number of calls, and the limit of the slowest kind of them."""
        bulk, bulk_lookup = self._operations.bulk, self._operations.bulk_lookup
        creates, updates, deletes = counts["create"], counts["update"], counts["delete"]
        together = bulk.size if bulk else 1
        writes = math.ceil(creates / together) + deletes
        writes += math.ceil(updates / together) if bulk and bulk.changes else updates
        reads = math.ceil((updates + deletes) / (bulk_lookup.size if bulk_lookup else 1))
        sent = {"POST", "PUT", "PATCH", *(["DELETE"] if deletes else [])}
        per_second = [pace for method, pace in self._per_second.items() if method in sent]
        per_second += [self._pace] if self._pace else []
        return Effort(writes, reads, min(per_second, default=None))

    def _losses(self, write: WriteRequest) -> dict[str, str]:
        """Return the fields of the source that are kept without a native field, or that the provider does not keep."""
        schema = self._spec.schema
        lost = {loss.field: loss.why for loss in losses(schema)}
        return {
            name: f"kept in {schema.spill(name)} (no native field)" if name in self._spilled(write) else lost[name]
            for name in write.survivors.columns
            if name in lost or name in self._spilled(write)
        }

    def _spilled(self, write: WriteRequest) -> list[str]:
        schema = self._spec.schema
        return [name for name in write.survivors.columns if name in OVERFLOW_FIELDS and name not in schema.native]

    def _notes(self, write: WriteRequest, counts: Mapping[str, int], effort: Effort) -> Iterator[str]:
        """Yield notes for the summary: the number of calls, their duration, and the fields without a native field."""
        if effort.writes:
            slowest = effort.per_second
            duration = f", {_duration(effort.writes / slowest)} at {_rate(slowest)}" if slowest else ""
            yield f"{counted(effort.writes + effort.reads, 'call')} needed{duration}"
        spilled = self._spilled(write)
        if spilled and counts["create"] + counts["update"]:
            yield f"kept in {self._spec.schema.overflow.name} (no native field): {', '.join(spilled)}"

    @property
    def _merged(self) -> frozenset[str]:
        """Fields in which entries of others are kept: metadata, and native aliases, as usage is reported under each."""
        return frozenset(("metadata", "aliases") if "aliases" in self._spec.schema.native else ("metadata",))

    def _target(self) -> TableMapping:
        stored = [
            MappedField(name, Column(name, TYPES[name], cast_by_server=name in self._merged))
            for name in COLUMNS
            if name not in _NOT_COMPARED
        ]
        return TableMapping(
            tuple(stored),
            key=None,
            bookkeeping=True,
            required=(),
            unique=("external_id", *self._spec.unique),
            lookup_columns=("_known_id", "_known_email"),
            written_key="t.own_id",
        )

    def _refuse_locked(self, run: duckdb.DuckDBPyConnection) -> None:
        """Refuse creates whose external id belongs to an archived customer, which cannot be changed or release it."""
        if not (self._spec.removal_is_final and self._spec.archives):
            return
        run.execute(
            "UPDATE _plan SET action = 'refused', reason = 'locked: external_id' WHERE action = 'create' AND row IN ("
            "SELECT s._row FROM _survivors s JOIN there t ON t.archived AND t.external_id = s.external_id)"
        ).fetchall()

    def _refuse_immutable(self, run: duckdb.DuckDBPyConnection) -> None:
        """Refuse updates of fields that the provider does not change after creation."""
        for name in self._spec.immutable:
            run.execute(
                f"UPDATE _plan SET action = 'refused', reason = {literal(f'immutable: {name}')}, changed = NULL "
                f"WHERE action = 'update' AND list_contains(changed, {literal(name)})"
            ).fetchall()

    def _refuse_exchanges(self, run: duckdb.DuckDBPyConnection) -> None:
        """Refuse customers that would exchange unique values in a cycle, and those that wait for them: no request could
        be the first. One that waits for a value to be released is written later (`connectors/api/executor.py`).
        """
        for name in ("external_id", *self._spec.unique):
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
        """Refuse updates that would erase a value of the provider that has no canonical form."""
        run.execute(
            "UPDATE _plan SET action = 'refused', reason = 'unreadable: ' || array_to_string(h.unread, ', '), "
            "changed = NULL FROM held h WHERE h.target = _plan.target AND action = 'update' "
            "AND NOT list_has_all(changed, h.unread)"
        ).fetchall()

    def _refuse_invalid(self, run: duckdb.DuckDBPyConnection, write: WriteRequest) -> None:
        """Refuse records that lack a value that invoices depend on because it is invalid: the provider would fill in a
        default of its own.
        """
        if not write.left_out:
            return
        is_null = " OR ".join(f"(l.field = {literal(name)} AND s.{quoted(name)} IS NULL)" for name in NEVER_DEFAULTED)
        run.execute(
            "UPDATE _plan SET action = 'refused', reason = i.reason, changed = NULL FROM ("
            f"SELECT s._row, '{UNREADABLE}' || string_agg(format('{{}} \"{{}}\"', l.field, l.value[:80]), ', ' "
            "ORDER BY l.field) AS reason "
            "FROM (SELECT source, line, value, split_part(code, '.', 1) AS field "
            f"FROM read_parquet({files_literal(write.left_out)}) "
            "WHERE list_contains(?, code)) l JOIN _survivors s ON s._source = l.source AND s._line = l.line "
            f"WHERE {is_null} GROUP BY s._row) i "
            "WHERE _plan.row = i._row AND action IN ('create', 'update', 'unchanged')",
            [CODES_NEVER_DEFAULTED],
        ).fetchall()

    def _write_requests(self, run: duckdb.DuckDBPyConnection, write: WriteRequest, numbers: Iterator[int]) -> None:
        """Write the customers to create and to change, as the provider's JSON; mark the refused ones in the plan."""
        from_address = {
            field.name: self._address.options.get("source", "")
            for field in self._spec.schema.fields
            if field.from_address
        }
        refused: list[pl.DataFrame] = []
        for condition in batched_survivors(run, write, create_merged_survivors_view):
            batch = run.sql(_wanted_customers(write, condition)).pl()
            customers = batch.select(pl.col(name).cast(dtype) for name, dtype in COLUMNS.items())
            encoded = json_codec.encode(self._spec.schema, customers, from_address)
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
            write_requests(requests, write.workspace, next(numbers))
        if any(frame.height for frame in refused):
            run.register("refused", pl.concat(refused).to_arrow())
            run.execute(
                "UPDATE _plan SET action = 'refused', reason = r.reason, changed = NULL FROM refused r "
                "WHERE _plan.row = r.row"
            ).fetchall()
            run.unregister("refused")

    def _write_removals(self, run: duckdb.DuckDBPyConnection, write: WriteRequest, numbers: Iterator[int]) -> None:
        """Write the customers that mirror removes."""
        gone = (
            "SELECT h.target, h.own_id, h.external_id, h.email, h.raw FROM held h JOIN _gone g ON g.target = h.target"
        )
        for batch in batched_rows(run, gone, write.workspace):
            requests = batch.select(
                row=pl.col("target").cast(pl.UInt64) + _DELETE_BIT,
                action=pl.lit("delete"),
                target="own_id",
                external_id="external_id",
                email="email",
                wanted=pl.lit(None),
                found="raw",
            )
            write_requests(requests, write.workspace, next(numbers))


def _duration(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds < 120 else f"{seconds / 60:,.0f} min"


def _rate(calls: float) -> str:
    return f"{calls:,.0f} calls/s" if calls >= 10 else f"{calls:,.2g} calls/s"


def _wanted_customers(write: WriteRequest, condition: str) -> str:
    """Return the query for the customers to create or change: existing values, overridden by those of the source."""

    def value(name: str) -> str:
        ours, theirs = f"s.{quoted(name)}", f"h.{quoted(name)}"
        if name in PROVIDER_OWNED:
            return "NULL"
        if name in ORIGIN:
            return ours
        if name == "metadata":
            return (
                f"CASE WHEN h.target IS NULL THEN {ours}::VARCHAR ELSE coalesce(s._as_metadata::VARCHAR, {theirs}) END"
            )
        if name == "aliases":
            ours = "s._as_aliases"
        if write.overwrite_nulls and name in write.survivors.columns and name != "external_id":
            return ours
        return f"coalesce({ours}, {theirs})"

    values = ", ".join(f"{value(name)} AS {quoted(name)}" for name in COLUMNS)
    return (
        f"SELECT p.row, p.action, h.own_id, h.raw, {values} FROM _plan p JOIN _survivors s ON s._row = p.row "
        f"LEFT JOIN held h ON h.target = p.target WHERE p.action IN ('create', 'update') AND {condition} ORDER BY p.row"
    )


def _refusals(rows: pl.Series, refused: pl.DataFrame) -> pl.DataFrame:
    """Return row and reason of the refused records, the first reason of each."""
    first = refused.group_by("position", maintain_order=True).first()
    return first.select(row=rows.gather(first["position"]), reason=pl.format("{}: {}", "code", "demand"))
