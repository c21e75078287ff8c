"""A provider's account as a destination: it is read once and compared like a database table; the difference is written
as requests to disk, which are then sent with a journal.

In the workspace, `destination/` has the provider's responses, `destination.duckdb` the customers in them.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import duckdb
import polars as pl
from msgspec.structs import replace

from tranship.connectors import durable
from tranship.connectors.addresses import redacted
from tranship.connectors.api.account import BATCH, read_account
from tranship.connectors.api.crosswalk import recognise, write_crosswalk, write_undone
from tranship.connectors.api.executor import ExecutionResult, carry_out
from tranship.connectors.api.known_ids import KnownIds
from tranship.connectors.api.operations import Operations
from tranship.connectors.api.reasons import code_of
from tranship.connectors.api.request_plan import RequestPlanner
from tranship.connectors.api.retry import RetryPolicy
from tranship.connectors.api.saved_plan import SavedPlan, save_plan
from tranship.connectors.api.source import ApiSource
from tranship.connectors.api.spec import ProviderAddress, ProviderSpec, parse_address, service
from tranship.connectors.api.undo_plan import NAMES, UndoRequests, write_left
from tranship.connectors.contract import Outcomes, Plan, Undone, WriteObserver, WriteRequest
from tranship.connectors.databases.quoting import files_literal, literal
from tranship.connectors.errors import ConfigError, Damaged
from tranship.connectors.local_failures import local_failure
from tranship.schemas.counted import counted, it_or_them


def refuse_unconfirmed_removal(spec: ProviderSpec, url: str, mode: str, *, for_good: bool) -> None:
    """Raise ConfigError if mirror would remove customers for good and `for_good` does not permit it."""
    if mode == "mirror" and spec.removal_is_final and not for_good:
        raise ConfigError(
            f"{redacted(url)}: mirror removes customers there, and {spec.removal_is_final}. To permit that, add "
            "--remove-for-good"
        )


class ProviderDestination:
    """A provider's account as a destination. All files are in `WriteRequest.workspace`.

    `memory` limits DuckDB. `pace` is a number of calls per second that is not exceeded, null for the provider's limits.
    Raises ConfigError for an invalid address or a missing key.
    """

    def __init__(
        self,
        spec: ProviderSpec,
        url: str,
        operations: Callable[[ProviderAddress], Operations],
        *,
        observer: WriteObserver,
        memory: str = "600MB",
        pace: float | None = None,
        retry_policy: RetryPolicy | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._spec, self._url, self._operations, self._memory, self._pace = spec, url, operations, memory, pace
        self._observer, self._retry_policy = observer, retry_policy or RetryPolicy()
        self._environment = os.environ if environment is None else environment
        self._address = parse_address(spec, url, self._environment)
        self._service = service(spec, self._address, self._environment)

    def plan(self, write: WriteRequest) -> Plan:
        """Return the saved plan, or make one: read the whole account and compare. Changes nothing at the provider.

        Raises ConnectorError, ConfigError (too little memory, an unconfirmed removal) and Damaged (the saved plan).
        """
        saved = self._saved(write)
        if saved is not None:
            durable.check(write.workspace, saved.files)
            return saved.as_plan(write.workspace)
        if write.undo is None:
            refuse_unconfirmed_removal(self._spec, self._url, write.mode, for_good=write.provider.remove_for_good)
        database = write.workspace / "destination.duckdb"
        database.unlink(missing_ok=True)
        shutil.rmtree(write.workspace / "requests", ignore_errors=True)
        source = ApiSource(
            self._spec,
            self._url,
            include_archived=self._spec.archives,
            retry_policy=self._retry_policy,
            environment=self._environment,
        )
        planner = RequestPlanner(
            self._spec, self._address, self._operations(self._address), self._service.per_second, self._pace
        )
        with closing(duckdb.connect(str(database))) as run:
            self._set_up(run, write)
            try:
                notes = read_account(run, write, self._spec, source)
                if write.undo is not None:
                    plan = self._plan_undo(run, write, write.undo, notes)
                else:
                    recognise(run, write)
                    plan = planner.plan(run, write, notes)
            except duckdb.OutOfMemoryException as error:
                raise ConfigError(
                    f"{redacted(self._url)}: {self._memory} is not enough memory to compare it with the new "
                    "records. Allow more: --memory 2GB"
                ) from error
        save_plan(plan, write.run_id, write.workspace)
        return plan

    def _plan_undo(
        self, run: duckdb.DuckDBPyConnection, write: WriteRequest, undone: Undone, notes: tuple[str, ...]
    ) -> Plan:
        operations = self._operations(self._address)
        plan = UndoRequests(self._spec, self._address, operations, run).plan(write, undone, notes)
        # A customer with dependents is left alone: nothing is lost with the others.
        lost = self._spec.removal_is_final and operations.dependents is None
        if plan.counts["delete"] and lost and not write.provider.remove_for_good:
            count = plan.counts["delete"]
            raise ConfigError(
                f"{redacted(self._url)}: {counted(count, 'customer')} that the run has created would be removed, and "
                f"{self._spec.removal_is_final}. To permit that, add --remove-for-good; to leave "
                f"{it_or_them(count)}: --only updated"
            )
        return plan

    def _saved(self, write: WriteRequest) -> SavedPlan | None:
        """Return the saved plan, if any. Raises Damaged if it was changed, or is missing although sending has begun."""
        file = write.workspace / "plan.json"
        try:
            saved = SavedPlan.read(write.workspace)
        except FileNotFoundError:
            if write.provider.write_began:
                raise durable.damaged(file) from None
            return None
        if saved.run_id != write.run_id:
            raise Damaged(f"{file}: belongs to another run ({saved.run_id}).")
        return saved

    def apply(self, write: WriteRequest, plan: Plan) -> Outcomes:
        """Send the remaining requests of the plan and return the outcomes of all its records.

        Raises Refused and Unreachable, with the outcomes so far in `outcomes`. A second call continues.
        """
        requests = SavedPlan.read(write.workspace).requests(write.workspace)
        operations = self._operations(self._address)
        operations = operations.for_undo() if write.undo else replace(operations, dependents=None)
        sent_file = write.workspace / "sent.parquet"
        sent_file.unlink(missing_ok=True)
        try:
            sent = carry_out(
                requests,
                operations,
                self._service,
                run_id=write.run_id,
                journal=write.workspace / "journal.sqlite",
                outcomes=sent_file,
                limit=write.provider.limit,
                begun=write.provider.write_began,
                retry_policy=self._retry_policy,
                known_ids=KnownIds.read(write.workspace),
                pace=self._pace,
                advanced=self._observer.written,
            )
        except BaseException as error:
            # On a disk that fails, the file of outcomes is incomplete; the journal has them.
            if local_failure(error, write.workspace) is None and sent_file.exists():
                error.outcomes = self._outcomes(write, plan, sent_file, None)  # type: ignore[attr-defined]
            raise
        return self._outcomes(write, plan, sent_file, sent)

    def _outcomes(self, write: WriteRequest, plan: Plan, sent_file: Path, sent: ExecutionResult | None) -> Outcomes:
        files = self._write_outcomes(write, plan)
        outcomes = _count_outcomes(sent_file)
        counts = _counts(outcomes, plan)
        if write.undo:
            files |= write_left(write.workspace)
            counts["kept"] = sum(outcomes["delete", fate] for fate in ("refused", "stale", "unknown"))
        return Outcomes(counts, self._reasons(write), files, tuple(_notes(sent, outcomes)))

    def applied(self, run_id: str) -> bool:  # noqa: ARG002
        """Return False: a plan may be applied in part, and the journal has the outcome of each record."""
        return False

    def close(self) -> None:
        """Do nothing: no connection is kept open between steps."""

    def _write_outcomes(self, write: WriteRequest, plan: Plan) -> dict[str, Path]:
        """Write the outcome of each survivor and the crosswalk: `outcomes.parquet`, `crosswalk.parquet` and `.csv`."""
        outcomes = write.workspace / "outcomes.parquet"
        with closing(duckdb.connect()) as run:
            self._set_up(run, write)
            sent, targets = (files_literal([write.workspace / f"{name}.parquet"]) for name in ("sent", "targets"))
            run.execute(
                "COPY ("
                f"SELECT row, action, outcome, reason, provider_id FROM read_parquet({sent}) UNION ALL "
                "SELECT p.row, p.action, CASE p.action WHEN 'unchanged' THEN 'unchanged' WHEN 'stale' THEN 'older' "
                f"ELSE 'refused' END, p.reason, t.own_id FROM read_parquet({files_literal([plan.rows])}) p "
                f"LEFT JOIN read_parquet({targets}) t ON t.row = p.row "
                "WHERE p.action IN ('unchanged', 'stale', 'refused') "
                f") TO {literal(outcomes)} (FORMAT parquet, ROW_GROUP_SIZE {BATCH})"
            ).fetchall()
            if write.undo:
                crosswalk = write_undone(run, write, self._spec.name, outcomes, write.workspace / NAMES)
            else:
                crosswalk = write_crosswalk(run, write, self._spec.name, outcomes)
        return {"outcomes": outcomes, "crosswalk": crosswalk}

    def _reasons(self, write: WriteRequest) -> dict[str, int]:
        refused = pl.scan_parquet(write.workspace / "outcomes.parquet", glob=False).filter(
            pl.col("outcome") == "refused"
        )
        by_reason = refused.group_by(code_of(pl.col("reason"))).len().sort("len", descending=True).collect()
        return dict(by_reason.iter_rows())

    def _set_up(self, run: duckdb.DuckDBPyConnection, write: WriteRequest) -> None:
        run.execute(f"SET memory_limit = {literal(self._memory)}").fetchall()
        run.execute(f"SET temp_directory = {literal(write.workspace / 'spill')}").fetchall()
        run.execute("SET TimeZone = 'UTC'").fetchall()


def _count_outcomes(sent_file: Path) -> Counter[tuple[str, str]]:
    """Return (action, outcome) → records, of the rows with a request."""
    outcomes = pl.scan_parquet(sent_file, glob=False).group_by("action", "outcome").len().collect()
    return Counter({(action, outcome): count for action, outcome, count in outcomes.iter_rows()})


def _counts(outcomes: Counter[tuple[str, str]], plan: Plan) -> dict[str, int]:
    """Return the counts of the ledger. Deletes that were not carried out are counted separately."""
    fates = {
        outcome: outcomes["create", outcome] + outcomes["update", outcome]
        for outcome in ("refused", "stale", "unknown", "left")
    }
    return {
        **plan.counts,
        **{action: outcomes[action, "done"] for action in ("create", "update", "delete")},
        **fates,
        "refused": plan.counts["refused"] + fates["refused"],
        "stale": plan.counts.get("stale", 0) + fates["stale"],
        "moved": fates["stale"],
        "deletes_left": outcomes["delete", "left"],
    }


def _notes(sent: ExecutionResult | None, outcomes: Counter[tuple[str, str]]) -> Iterator[str]:
    for outcome in ("refused", "stale", "unknown", "left"):
        if count := outcomes["delete", outcome]:
            yield f"{counted(count, 'customer')} to delete: {outcome}"
    if sent is None:
        return
    yield from sent.notes
    traffic = sent.traffic
    if traffic.requests:
        pace = f"{traffic.requests / sent.seconds:,.0f}/s"
        yield f"{counted(traffic.requests, 'request')} in {sent.seconds:,.1f} s, {pace}"
    yield from traffic.notes()
