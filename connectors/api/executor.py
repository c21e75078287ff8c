"""Carry out a plan at a provider: requests from disk, a journal beside them, exactly one effect and outcome per row.

The provider's part is an `Operations` value (`connectors/api/operations.py`), which sends nothing by itself.

Decisions rest on state, not on steps: a row that may have been sent before is looked up, and only what is missing is
sent. A request whose response was lost is never repeated without that look-up. A record that has changed since the plan
was made is not written: its row is `stale`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import TimeoutError as NotYetError
from itertools import islice
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq
from msgspec import Struct
from msgspec.structs import replace

from tranship.connectors.api.bulk_writer import BulkWriter
from tranship.connectors.api.checked_operations import checked
from tranship.connectors.api.concurrency import Stopped
from tranship.connectors.api.http_client import HttpClient, Traffic
from tranship.connectors.api.journal import Journal
from tranship.connectors.api.known_ids import KnownIds
from tranship.connectors.api.operations import Operations
from tranship.connectors.api.plan_rows import PlanProgress, PlanRow, read_rows
from tranship.connectors.api.request_files import write_outcomes
from tranship.connectors.api.retry import RetryPolicy
from tranship.connectors.api.row_sender import RowSender
from tranship.connectors.api.row_writer import RowWriter
from tranship.connectors.api.service import ANY, Service
from tranship.connectors.api.traffic_log import TrafficLog
from tranship.connectors.background_loop import BackgroundLoop
from tranship.connectors.contract import TRAFFIC
from tranship.connectors.errors import ConfigError


class ExecutionResult(Struct, frozen=True):
    """The result of a run: (action, outcome) → rows, network traffic, and duration in seconds."""

    counts: Mapping[tuple[str, str], int]
    traffic: Traffic
    seconds: float
    notes: tuple[str, ...] = ()
    """Notes on the journal that was found."""


def carry_out(
    requests: Sequence[Path],
    operations: Operations,
    service: Service,
    *,
    run_id: str,
    journal: Path,
    outcomes: Path,
    limit: int | None = None,
    pace: float | None = None,
    retry_policy: RetryPolicy | None = None,
    begun: bool = False,
    known_ids: KnownIds | None = None,
    advanced: Callable[[int, int, int], None] = lambda *_: None,
) -> ExecutionResult:
    """Send the rows of `requests` (Parquet, columns of `REQUESTS`), except those done according to `journal`.

    `begun` if an earlier process may have sent something, whatever the journal contains. `known_ids`: the customers of
    the account when the plan was made; no create can have their ids. Only the first
    `limit` rows are sent, at most `pace` calls per second beside the limits of the service. `advanced` is called with
    (rows done, all rows, rows done that failed) in the calling thread. `outcomes` is written however it ends.

    Raises Refused (the key, a right) and Unreachable (no answer for as long as `retry_policy` allows; to be continued),
    and KeyboardInterrupt. What was in flight is finished then, and calling it again continues.
    """
    began = time.monotonic()
    retry_policy = retry_policy or RetryPolicy()
    known = Journal(journal, run_id, begun=begun)
    try:
        service = replace(service, per_second={**service.per_second, **({ANY: pace} if pace else {})})
        client = HttpClient(service, retry_policy, operations.in_flight)
        executor = Executor(operations, client, known, run_id, known_ids or KnownIds())
        total = sum(pq.read_metadata(file).num_rows for file in requests)
        total = total if limit is None else min(limit, total)
        traffic_log = TrafficLog(outcomes.with_name(TRAFFIC), run_id, executor.traffic)

        def sampled() -> None:
            traffic_log.sample(executor.done)
            advanced(executor.done, total, executor.failed)

        try:
            _run_to_end(executor, requests, total, sampled)
        finally:
            traffic_log.close(executor.done)
            known.flush()
            counts = write_outcomes(requests, known, outcomes)
        return ExecutionResult(counts, executor.traffic, time.monotonic() - began, tuple(known.notes))
    finally:
        known.close()


def _run_to_end(executor: Executor, requests: Sequence[Path], total: int, advanced: Callable[[], None]) -> None:
    background = BackgroundLoop()
    try:
        running = background.submit(executor.run(read_rows(requests, total)))
        try:
            while True:
                try:
                    running.result(0.1)
                    break
                except NotYetError:
                    if running.done():
                        raise
                    advanced()
        except KeyboardInterrupt:
            executor.stop()
            running.result()
            raise
        finally:
            advanced()
    finally:
        background.close()


_QUEUED_ROWS: Final = 64
"""Minimum rows waiting for a worker."""


_WORKERS_PER_REQUEST: Final = 4
"""Workers for each concurrent request: some of them wait before they look up the effect of a lost response."""


_BATCH_ROWS: Final = 128
"""Minimum rows that are read, and whose intents are written, together."""


class Executor:
    """Carries out the rows of one plan on the event loop that runs `run`; `stop` and `done` are for any thread."""

    def __init__(
        self, operations: Operations, client: HttpClient, journal: Journal, run_id: str, known_ids: KnownIds
    ) -> None:
        operations = checked(operations)
        self._known_ids = known_ids
        self.traffic = client.traffic
        self._operations, self._client, self._journal = operations, client, journal
        self._progress = PlanProgress(journal)
        self._sender = RowSender(operations, client, journal, run_id)
        self._single = RowWriter(operations, self._sender, self._progress, known_ids)
        self._bulk = BulkWriter(operations, self._sender, self._progress, self._single)
        self._limit = self._sender.limit
        self._began = time.monotonic()
        self._error: BaseException | None = None
        self._reached = 0
        """Rows of the plan read so far."""

    @property
    def done(self) -> int:
        """Rows with a known outcome."""
        return self._progress.done

    @property
    def failed(self) -> int:
        """Those of them that were not written."""
        return self._progress.failed

    def stop(self) -> None:
        """Send nothing more; `run` ends when requests in flight have been answered."""
        self._limit.stop()

    async def run(self, rows: Iterator[PlanRow]) -> None:
        """Send all rows. When it raises (ConnectorError, ConfigError of the journal), no request is in flight."""
        jobs: asyncio.Queue[list[PlanRow] | None] = asyncio.Queue(_QUEUED_ROWS)
        async with self._client:
            self._limit.begin()
            workers = [
                asyncio.create_task(self._work(jobs)) for _ in range(_WORKERS_PER_REQUEST * self._operations.in_flight)
            ]
            feeder = asyncio.create_task(self._guarded(self._feed(rows, jobs)))
            stopped = asyncio.create_task(self._stopping())
            # A feeder that waits for room in the queue does not notice the end.
            await asyncio.wait({feeder, stopped}, return_when=asyncio.FIRST_COMPLETED)
            feeder.cancel()
            for _ in workers:
                await jobs.put(None)
            await asyncio.gather(*workers)
            stopped.cancel()
        # A row that may have been sent by an earlier process, and has no entry left, keeps its present intent.
        known = [row for row in self._progress.begun.values() if not row.past or row.past.attempts]
        unsent = [row.intent() for row in known if not row.spent]
        await asyncio.to_thread(self._journal.withdraw, unsent)
        if self._error:
            raise self._error

    async def _stopping(self) -> None:
        """When sending is stopped, cancel the tasks that wait for their turn."""
        await self._limit.stopped.wait()
        self._sender.cancel_waiting()

    # Feeding

    async def _feed(self, rows: Iterator[PlanRow], jobs: asyncio.Queue[list[PlanRow] | None]) -> None:
        bulk, bulk_lookup = self._operations.bulk, self._operations.bulk_lookup
        size = max(_QUEUED_ROWS, bulk.size if bulk else 1, bulk_lookup.size if bulk_lookup else 1)
        count = math.ceil(_BATCH_ROWS / size) * size
        # While rows are sent, the intents of the next ones are written to disk.
        following = asyncio.create_task(self._next_batch(rows, count))
        try:
            while (batch := await following) is not None:
                following = asyncio.create_task(self._next_batch(rows, count))
                for start in range(0, len(batch), size):
                    part = batch[start : start + size]
                    await self._sender.look_up_many(
                        [row for row in part if row.action != "create" or self._operations.create_overwrites]
                    )
                    for job in self._bulk.jobs(part):
                        await jobs.put(job)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        await jobs.join()
        while deferred := self._progress.deferred:
            self._progress.deferred, done = [], self.done
            for row in deferred:
                await jobs.put([row])
            await jobs.join()
            self._progress.is_final = self.done == done

    async def _next_batch(self, rows: Iterator[PlanRow], count: int) -> list[PlanRow] | None:
        """Return those of the next rows that are not done, with intents on disk; None after the last row."""
        batch = await asyncio.to_thread(self._read_batch, rows, count)
        if not batch:
            return None
        batch = [row for row in batch if not self._is_done(row)]
        wanted = [row.wanted for row in batch if row.action != "delete"]
        if wanted:
            await self._sender.checked(self._operations.prepare(self._sender.ask, wanted))
        self._progress.begun.update((row.row, row) for row in batch)
        await self._journal.intend([row.intent() for row in batch], self._reached)
        return batch

    def _read_batch(self, rows: Iterator[PlanRow], count: int) -> list[PlanRow]:
        """Read the next rows with their history. Callable from any thread."""
        batch = list(islice(rows, count))
        past = self._journal.past([row.row for row in batch])
        self._reached += len(batch)
        for row in batch:
            row.past = past.get(row.row)
        return batch

    def _is_done(self, row: PlanRow) -> bool:
        if not (known := row.past):
            return False
        if known.digest not in (None, row.digest):
            raise ConfigError(
                f"{self._journal.file}: was begun with another plan (row {row.row} differs). A plan that is being "
                "carried out cannot be changed. Make a new plan."
            )
        if known.result and known.result.outcome != "unknown":
            if row.action == "create" and known.result.provider_id:
                self._known_ids.claim(known.result.provider_id, row.row)
            self._progress.done += 1
            return True
        row.attempt, row.possibly_applied, row.sent_at = known.attempts + 1, True, self._began
        return False

    # Working

    async def _work(self, jobs: asyncio.Queue[list[PlanRow] | None]) -> None:
        while job := await jobs.get():
            await self._guarded(self._bulk.carry_out(job) if self._bulk.takes(job) else self._single.carry_out(job[0]))
            jobs.task_done()

    async def _guarded(self, work: Awaitable[None]) -> None:
        """Run work; an error stops everything, and the first one is raised at the end."""
        try:
            await work
        except Stopped:
            pass
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._error = self._error or error
            self._limit.stop()
