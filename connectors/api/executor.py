"""Carry out a plan at a provider: requests from disk, a journal beside them, exactly one effect and outcome per row.

The provider's part is an `Operations` value (`connectors/api/operations.py`), which sends nothing by itself.

Decisions rest on state, not on steps: a row that may have been sent before is looked up, and only what is missing is
sent. A request whose response was lost is never repeated without that look-up. A record that has changed since the
plan was made is left alone: its row is `stale`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import TimeoutError as NotYetError
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import pyarrow.parquet as pq

from tranship.connectors.api.background_loop import BackgroundLoop
from tranship.connectors.api.concurrency import TRIES, ConcurrencyLimit, Stopped
from tranship.connectors.api.http_client import HttpClient, Traffic
from tranship.connectors.api.http_errors import Unanswered
from tranship.connectors.api.journal import Intent, Journal, Past, Result, digest
from tranship.connectors.api.operations import (
    AmbiguousMatch,
    Bulk,
    Created,
    Failure,
    KeyUnavailable,
    LookupKey,
    NotSearchable,
    Operations,
    Record,
    Reply,
    Request,
)
from tranship.connectors.api.reconcile import lies_between, may_derive_from, same
from tranship.connectors.api.request_files import REQUESTS, read_batches, write_outcomes
from tranship.connectors.api.retry import RetryPolicy, longest_pause
from tranship.connectors.api.service import ANY, Service
from tranship.connectors.errors import ConfigError, ConnectorError, Malformed, Refused

T = TypeVar("T")


@dataclass(frozen=True)
class ExecutionResult:
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
    advanced: Callable[[int, int], None] = lambda *_: None,
) -> ExecutionResult:
    """Send the rows of `requests` (Parquet, columns of `REQUESTS`), except those done according to `journal`.

    `begun` if an earlier process may have sent something, whatever the journal contains. Only the first
    `limit` rows are sent, at most `pace` calls per second beside the limits of the service. `advanced` is called with
    (rows done, all rows) in the calling thread. `outcomes` is written however it ends.

    Raises Refused (the key, a right) and Unreachable (no answer for as long as `retry_policy` allows; to be continued),
    and KeyboardInterrupt. What was in flight is finished then, and calling it again continues.
    """
    began = time.monotonic()
    retry_policy = retry_policy or RetryPolicy()
    known = Journal(journal, run_id, begun=begun)
    try:
        service = replace(service, per_second={**service.per_second, **({ANY: pace} if pace else {})})
        executor = Executor(operations, HttpClient(service, retry_policy, operations.in_flight), known, run_id)
        total = sum(pq.read_metadata(file).num_rows for file in requests)
        total = total if limit is None else min(limit, total)
        try:
            _run_to_end(executor, requests, total, advanced)
        finally:
            known.flush()
            counts = write_outcomes(requests, known, outcomes)
        return ExecutionResult(counts, executor.traffic, time.monotonic() - began, tuple(known.notes))
    finally:
        known.close()


def _run_to_end(executor: Executor, requests: Sequence[Path], total: int, advanced: Callable[[int, int], None]) -> None:
    background = BackgroundLoop()
    try:
        running = background.submit(executor.run(_rows(requests, total)))
        try:
            while True:
                try:
                    running.result(0.1)
                    break
                except NotYetError:
                    if running.done():
                        raise
                    advanced(executor.done, total)
        except KeyboardInterrupt:
            executor.stop()
            running.result()
            raise
        finally:
            advanced(executor.done, total)
    finally:
        background.close()


# Rows ----------------------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Row:
    """The state of one row."""

    row: int
    action: str
    target: str | None
    external_id: str | None
    email: str | None
    wanted: Record
    found: Record
    digest: str
    past: Past | None = None
    attempt: int = 1
    """The number of the try whose intent is in the journal, from 1 over all runs."""
    spent: bool = False
    """That try was sent."""
    possibly_applied: bool = False
    """It was sent with an unknown outcome: some of it may be there already."""
    sent_at: float = 0.0
    """When it was sent last, in seconds since 1970."""
    key_taken: bool = False
    """It was refused because another customer has its key."""
    looked_up: bool = False
    current: Record | None = None
    """The record at the provider, if `looked_up`."""

    def lookup_key(self) -> LookupKey:
        """Return the key to look it up by. Raises NotSearchable."""
        if self.target is not None:
            return LookupKey(id=self.target, record=self.found, possibly_applied=self.possibly_applied)
        if self.external_id is not None:
            return LookupKey(external_id=self.external_id, record=self.wanted, possibly_applied=self.possibly_applied)
        if self.email is not None:
            return LookupKey(email=self.email, record=self.wanted, possibly_applied=self.possibly_applied)
        raise NotSearchable


def _rows(requests: Sequence[Path], total: int) -> Iterator[_Row]:
    left = total
    for batch in read_batches(requests, 1024, REQUESTS.names):
        for one in batch.to_pylist():
            if left == 0:
                return
            left -= 1
            wanted, found = one["wanted"], one["found"]
            yield _Row(
                row=one["row"],
                action=one["action"],
                target=one["target"],
                external_id=one["external_id"],
                email=one["email"],
                wanted=msgspec.json.decode(wanted) if wanted else {},
                found=msgspec.json.decode(found) if found else {},
                digest=digest(one["action"], wanted),
            )


# Carrying out --------------------------------------------------------------------------------------------------------


_FIRST_TRIES: Final = 3
"""Tries to reach a host that has never answered."""


_QUEUED_ROWS: Final = 64
"""Minimum rows waiting for a worker."""


_WORKERS_PER_REQUEST: Final = 4
"""Workers for each concurrent request: some of them wait before they look up the effect of a lost response."""


_BATCH_ROWS: Final = 128
"""Minimum rows that are read, and whose intents are written, together."""


_HIDDEN_TRIES: Final = 2
"""Tries after which a key that is taken, but by no customer that can be found, counts as taken by a hidden one."""


_RECORD_STATUSES: Final = frozenset(range(400, 500)) - {401, 403, 408, 425, 429}
"""Statuses that concern one record."""


_SHAPE_ERRORS: Final = (KeyError, TypeError, IndexError, AttributeError, ValueError)
"""Errors raised by reading a response of another shape."""


class _OutcomeUnknown(Exception):
    """A request was sent, and its outcome is unknown."""

    def __init__(self, error: ConnectorError) -> None:
        super().__init__()
        self.error = error


class Executor:
    """Carries out the rows of one plan on the event loop that runs `run`; `stop` and `done` are for any thread."""

    def __init__(self, operations: Operations, client: HttpClient, journal: Journal, run_id: str) -> None:
        self.done = 0
        """Rows with a known outcome."""
        self.traffic = client.traffic
        self._operations, self._client, self._journal, self._run_id = operations, client, journal, run_id
        self._limit = ConcurrencyLimit(operations.in_flight, client.retry_policy)
        self._began = time.time()
        self._error: BaseException | None = None
        self._reached = 0
        """Rows of the plan read so far."""
        self._intended: dict[int, _Row] = {}
        self._waiting: set[asyncio.Task[Any]] = set()
        self._deferred: list[_Row] = []
        """Refused because another customer has their key, who may release it later in the same plan."""
        self._final = False
        self._settable = [one.name for one in operations.schema.fields if one.settable and not one.from_address]
        self._settable.append(operations.schema.overflow.name)
        self._external = [one.name for one in operations.schema.fields if one.canonical == "external_id"]
        self._foreseen = [name for name in self._settable if not self._is_server_generated(name)]

    def _is_server_generated(self, name: str) -> bool:
        known = self._operations.schema.by_name.get(name)
        return known is not None and known.server_generated

    def stop(self) -> None:
        """Send nothing more; `run` ends when requests in flight have been answered."""
        self._limit.stop()

    async def run(self, rows: Iterator[_Row]) -> None:
        """Send all rows. When it raises (ConnectorError, ConfigError of the journal), no request is in flight."""
        jobs: asyncio.Queue[list[_Row] | None] = asyncio.Queue(_QUEUED_ROWS)
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
        # A row that may have been sent by an earlier process, of which no entry is left, keeps the one it has now.
        known = [row for row in self._intended.values() if not row.past or row.past.attempts]
        unsent = [self._intent(row) for row in known if not row.spent]
        await asyncio.to_thread(self._journal.withdraw, unsent)
        if self._error:
            raise self._error

    async def _stopping(self) -> None:
        """When sending is stopped, cancel the tasks that wait for their turn; they have sent nothing."""
        await self._limit.stopped.wait()
        for task in self._waiting:
            task.cancel()

    # Feeding

    async def _feed(self, rows: Iterator[_Row], jobs: asyncio.Queue[list[_Row] | None]) -> None:
        bulk, bulk_lookup = self._operations.bulk, self._operations.bulk_lookup
        size = max(_QUEUED_ROWS, bulk.size if bulk else 1, bulk_lookup.size if bulk_lookup else 1)
        count = math.ceil(_BATCH_ROWS / size) * size
        # While rows are sent, the intents of the next ones are written to disk.
        following = asyncio.create_task(self._next_batch(rows, count))
        try:
            while (batch := await following) is not None:
                following = asyncio.create_task(self._next_batch(rows, count))
                for at in range(0, len(batch), size):
                    some = batch[at : at + size]
                    await self._look_up_many(
                        [row for row in some if row.action != "create" or self._operations.create_overwrites]
                    )
                    for job in self._jobs(some):
                        await jobs.put(job)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        await jobs.join()
        while rows_again := self._deferred:
            self._deferred, done = [], self.done
            for row in rows_again:
                await jobs.put([row])
            await jobs.join()
            self._final = self.done == done

    async def _next_batch(self, rows: Iterator[_Row], count: int) -> list[_Row] | None:
        """Return those of the next rows that are not done, with intents on disk; None after the last row."""
        some = await asyncio.to_thread(self._read_rows, rows, count)
        if not some:
            return None
        some = [row for row in some if not self._is_done(row)]
        wanted = [row.wanted for row in some if row.action != "delete"]
        if wanted:
            await self._checked(self._operations.prepare(self._ask, wanted))
        self._intended.update((row.row, row) for row in some)
        await self._journal.intend([self._intent(row) for row in some], self._reached)
        return some

    def _read_rows(self, rows: Iterator[_Row], count: int) -> list[_Row]:
        """Read the next rows with their history. Callable from any thread."""
        some = list(islice(rows, count))
        past = self._journal.past([row.row for row in some])
        self._reached += len(some)
        for row in some:
            row.past = past.get(row.row)
        return some

    def _is_done(self, row: _Row) -> bool:
        if not (known := row.past):
            return False
        if known.digest not in (None, row.digest):
            raise ConfigError(
                f"{self._journal.file}: was begun with another plan (row {row.row} differs). A plan that is being "
                "carried out cannot be changed. Make a new plan."
            )
        if known.result and known.result.outcome != "unknown":
            self.done += 1
            return True
        row.attempt, row.possibly_applied, row.sent_at = known.attempts + 1, True, self._began
        return False

    async def _look_up_many(self, rows: Sequence[_Row]) -> None:
        bulk_lookup = self._operations.bulk_lookup
        if not bulk_lookup:
            return
        groups = [[row for row in rows if row.target is not None]]
        if bulk_lookup.by_external_id:
            groups.append([row for row in rows if row.target is None and row.external_id is not None])
        for group in groups:
            for at in range(0, len(group), bulk_lookup.size):
                some = group[at : at + bulk_lookup.size]
                await self._wait_to_settle(some)
                found = await self._checked(bulk_lookup.look_up(self._ask, [row.lookup_key() for row in some]))
                for row, current in zip(some, found, strict=True):
                    row.looked_up, row.current = True, current

    def _jobs(self, rows: Sequence[_Row]) -> Iterator[list[_Row]]:
        bulk = self._operations.bulk
        together = [row for row in rows if bulk and self._fits_bulk(row, bulk)]
        apart = {row.row for row in together}
        for row in rows:
            if row.row not in apart:
                yield [row]
        for at in range(0, len(together), bulk.size if bulk else 1):
            yield together[at : at + bulk.size] if bulk else []

    def _fits_bulk(self, row: _Row, bulk: Bulk) -> bool:
        return row.action == "create" or (row.action == "update" and bulk.changes is not None)

    # Working

    async def _work(self, jobs: asyncio.Queue[list[_Row] | None]) -> None:
        while job := await jobs.get():
            await self._guarded(self._carry_out_bulk(job) if self._is_bulk(job) else self._carry_out_one(job[0]))
            jobs.task_done()

    def _is_bulk(self, job: Sequence[_Row]) -> bool:
        return self._operations.bulk is not None and self._fits_bulk(job[0], self._operations.bulk)

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

    async def _carry_out_one(self, row: _Row, failure: Failure | None = None) -> None:
        """Carry a row to its outcome; `failure` is the result of its create in a bulk request."""
        try:
            result = await self._after_failure(row, failure) if failure else None
            result = result or await self._carry_out(row)
        except AmbiguousMatch:
            result = Result(row.row, "refused", "matches_several")
        except KeyUnavailable as locked:
            result = Result(row.row, "refused", str(locked) or "locked")
            row.key_taken = str(locked).startswith("taken: ")
        except NotSearchable:
            result = Result(row.row, "unknown", "sent, and there is nothing to look it up by")
        if row.key_taken and result.outcome in ("refused", "stale") and not self._final:
            row.key_taken = row.looked_up = False
            self._deferred.append(row)
        else:
            self._settle(result)

    def _settle(self, *results: Result) -> None:
        self._journal.settle(results)
        for result in results:
            self._intended.pop(result.row, None)
        self.done += len(results)

    async def _carry_out(self, row: _Row) -> Result:
        if row.action == "create":
            return await self._create(row)
        return await self._apply_difference(row)

    # Creating

    async def _create(self, row: _Row) -> Result:
        operations, tries, why = self._operations, 0, ""
        while tries < TRIES:
            if row.possibly_applied or operations.create_overwrites:
                current = await self._look_up(row)
                if current is not None:
                    return await self._already_exists(row, current)
            try:
                reply = await self._send(row, operations.create(row.wanted))
                if reply.ok:
                    return Result(row.row, "done", None, operations.created_id(reply.body, row.wanted))
                result = await self._after_failure(row, failure := operations.failure(reply))
                if result:
                    return result
                why = failure.reason or failure.kind
                if failure.kind == "taken" and tries >= _HIDDEN_TRIES and not row.possibly_applied:
                    return Result(row.row, "refused", why)
            except _OutcomeUnknown as unknown:
                why = str(unknown.error)
            except _SHAPE_ERRORS:
                row.possibly_applied, why = True, "answered without an id"
            tries = await self._pause(tries)
        return Result(row.row, "refused", f"unresolved: {why}")

    async def _after_failure(self, row: _Row, failure: Failure) -> Result | None:
        """Return the result of a create that failed; None: try again."""
        if failure.kind == "refused":
            return Result(row.row, "refused", failure.reason or "refused")
        if failure.kind == "taken":
            return await self._key_is_taken(row)
        row.possibly_applied = row.possibly_applied or failure.kind == "again"
        return None

    async def _key_is_taken(self, row: _Row) -> Result | None:
        """Handle a create whose key is taken: by another customer, or by this one, sent before."""
        current = await self._look_up(row, fresh=True)
        if current is not None:
            # Found by its e-mail it is another one, which may be about to release it.
            row.key_taken = row.external_id is None and any(current.get(name) for name in self._external)
            return await self._already_exists(row, current)
        if row.external_id is not None and row.email is not None:
            owner = await self._checked(
                self._operations.look_up(self._ask, LookupKey(email=row.email, record=row.wanted))
            )
            if owner is not None:
                row.key_taken = True
                return Result(row.row, "refused", "taken: email")
        return None

    async def _already_exists(self, row: _Row, current: Record) -> Result:
        """Handle a customer to create that exists already."""
        there, wanted = self._operations.comparable(current), self._operations.comparable(row.wanted)
        if not row.possibly_applied or not all(
            may_derive_from(there.get(name), wanted.get(name)) for name in self._foreseen
        ):
            return Result(row.row, "stale", "created", self._id(current))
        row.looked_up, row.current, row.found, row.target = True, current, current, self._id(current)
        return await self._apply_difference(row)

    # From the current record to the wanted one

    async def _apply_difference(self, row: _Row) -> Result:
        """Change or remove a customer, whatever its current state."""
        tries, why = 0, ""
        while tries < TRIES:
            current = await self._look_up(row)
            if current is None:
                gone = row.action == "delete" and row.possibly_applied
                return Result(row.row, "done" if gone else "stale", "gone", row.target)
            unexpected = self._unexpected_changes(row, current)
            if unexpected:
                return Result(row.row, "stale", f"changed: {', '.join(unexpected)}", row.target)
            try:
                failure = await self._send_steps(row, self._steps_for(row, current))
                if failure is None:
                    return Result(row.row, "done", None, row.target)
                if failure.kind in ("refused", "taken"):
                    row.key_taken = failure.kind == "taken"
                    return Result(row.row, "refused", failure.reason or failure.kind, row.target)
                why = failure.reason or failure.kind
            except _OutcomeUnknown as unknown:
                why = str(unknown.error)
            row.possibly_applied, row.looked_up = True, False
            tries = await self._pause(tries)
        return Result(row.row, "unknown", f"unresolved: {why}", row.target)

    def _steps_for(self, row: _Row, current: Record) -> Sequence[Request]:
        if row.action != "delete":
            return self._operations.change(current, row.wanted)
        if self._operations.remove is None:
            raise TypeError(f"{self._operations.schema.title} removes no customers, and the plan has one to remove")
        return self._operations.remove(current)

    async def _send_steps(self, row: _Row, steps: Sequence[Request]) -> Failure | None:
        for place, request in enumerate(steps):
            reply = await self._send(row, request, following=place > 0)
            row.possibly_applied = True
            if not reply.ok:
                return self._operations.failure(reply)
        return None

    def _unexpected_changes(self, row: _Row, current: Record) -> list[str]:
        """Return the fields that are neither as the plan found them nor, if possibly applied, as it wants them."""
        current, found, wanted = (self._operations.comparable(one) for one in (current, row.found, row.wanted))

        def may_be_ours(name: str) -> bool:
            return name not in self._foreseen or lies_between(current.get(name), found.get(name), wanted.get(name))

        return [
            name
            for name in self._settable
            if not same(current.get(name), found.get(name)) and not (row.possibly_applied and may_be_ours(name))
        ]

    def _id(self, record: Record) -> str:
        return str(record[self._operations.schema.id])

    # Many at once

    async def _carry_out_bulk(self, rows: list[_Row]) -> None:
        bulk = self._operations.bulk
        if bulk is None:
            raise TypeError(f"{self._operations.schema.title} takes nothing in bulk")
        tries = 0
        while tries < TRIES:
            rows = await self._ready_for_bulk(rows)
            if not rows:
                return
            sent = [self._bulk_record(row, bulk) or row.wanted for row in rows]
            try:
                reply = await self._send_for(rows, bulk.request(sent))
            except _OutcomeUnknown:
                tries = await self._pause(tries)
                continue
            if not reply.ok:
                break  # something in it is not accepted; one by one it shows what
            rows = await self._outcomes(rows, _bulk_outcomes(bulk, reply, sent))
            tries = await self._pause(tries) if rows else tries
        await self._all_of(self._carry_out_one(row) for row in rows)

    async def _outcomes(self, rows: Sequence[_Row], found: Sequence[Created | Failure | None]) -> list[_Row]:
        """Settle rows that were sent together; return those that may be sent again after a look-up."""
        again, apart = [], []
        for row, outcome in zip(rows, found, strict=True):
            if isinstance(outcome, Created):
                self._settle(Result(row.row, "done", None, outcome.id))
            elif outcome is None or outcome.kind in ("again", "gone"):
                row.possibly_applied = True
                again.append(row)
            else:
                apart.append(self._refused_in_bulk(row, outcome))
        await self._all_of(apart)
        return again

    async def _refused_in_bulk(self, row: _Row, failure: Failure) -> None:
        """Handle a row that failed in a bulk request."""
        if failure.kind == "refused":
            self._settle(Result(row.row, "refused", failure.reason or "refused", row.target))
        else:
            await self._carry_out_one(row, failure if row.action == "create" else None)

    async def _ready_for_bulk(self, rows: list[_Row]) -> list[_Row]:
        """Return the rows that may be sent in bulk; carry out the others (present or changed) one by one."""
        looked_for = [
            row for row in rows if row.possibly_applied or row.action != "create" or self._operations.create_overwrites
        ]
        if not looked_for:
            return rows
        await self._look_up_many([row for row in looked_for if not row.looked_up])
        alone = {row.row for row in looked_for if not self._is_ready_for_bulk(row)}
        await self._all_of(self._carry_out_one(row) for row in rows if row.row in alone)
        return [row for row in rows if row.row not in alone]

    def _is_ready_for_bulk(self, row: _Row) -> bool:
        if not row.looked_up:
            return False
        if row.action == "create":
            return row.current is None
        return (
            row.current is not None
            and not self._unexpected_changes(row, row.current)
            and bool(self._bulk_record(row, self._operations.bulk))
        )

    def _bulk_record(self, row: _Row, bulk: Bulk | None) -> Record | None:
        """Return the record to send in bulk; None: it cannot be sent in bulk, or nothing is to do."""
        if row.action == "create":
            return row.wanted
        if (
            bulk is None
            or bulk.changes is None
            or row.current is None
            or not self._operations.change(row.current, row.wanted)
        ):
            return None
        return bulk.changes(row.current, row.wanted)

    async def _all_of(self, works: Iterable[Awaitable[None]]) -> None:
        """Run all to their end concurrently; then raise the first error, if any."""
        for result in await asyncio.gather(*works, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    # One request

    async def _look_up(self, row: _Row, fresh: bool = False) -> Record | None:
        if row.looked_up and not fresh:
            return row.current
        await self._wait_to_settle([row])
        row.current = await self._checked(self._operations.look_up(self._ask, row.lookup_key()))
        row.looked_up = True
        return row.current

    async def _checked(self, work: Awaitable[T]) -> T:
        """Await an operation. Raises Malformed where responses have another shape."""
        try:
            return await work
        except _SHAPE_ERRORS as error:
            raise Malformed(
                f"{self._client.service.place}: the response to a look-up has another shape than documented "
                f"({type(error).__name__}). Check the host and the version of its API."
            ) from error

    async def _wait_to_settle(self, rows: Sequence[_Row]) -> None:
        last = max((row.sent_at for row in rows if row.possibly_applied), default=0.0)
        settles = self._client.retry_policy.settles
        left = last + settles - time.time()
        if left > 0:
            await asyncio.sleep(min(left, settles))

    async def _ask(self, request: Request) -> Reply:
        tries = 0
        while True:
            try:
                return await self._send_until_answered(request)
            except _OutcomeUnknown as unknown:
                tries = await self._pause(tries)
                if tries == TRIES:
                    raise unknown.error from unknown

    async def _send(self, row: _Row, request: Request, following: bool = False) -> Reply:
        """Send a request of a row whose intent is on disk. Raises _OutcomeUnknown."""
        return self._operations.interpret(request, await self._send_for([row], request, following))

    async def _send_for(self, rows: Sequence[_Row], request: Request, following: bool = False) -> Reply:
        spent = [row for row in rows if row.spent and not following]
        for row in spent:
            row.attempt += 1
        if spent:
            await self._journal.intend([self._intent(row) for row in spent])
        for row in rows:
            row.spent, row.looked_up, row.sent_at = True, False, time.time()
        try:
            return await self._send_until_answered(request, rows[0])
        except (Stopped, Refused):
            for row in rows:
                row.spent = following  # it was not sent, or was turned away
            raise
        except _OutcomeUnknown:
            for row in rows:
                row.possibly_applied, row.sent_at = True, time.time()
            raise

    async def _send_until_answered(self, request: Request, row: _Row | None = None) -> Reply:
        """Send a request that takes effect at most once; resend it if it had none. Raises _OutcomeUnknown, Stopped."""
        body = None if request.body is None else msgspec.json.encode(request.body)
        turns = 0
        while True:
            # A resent request gets a new key: a provider may have stored a 429 for the old one.
            key = self._key(row, request, turns) if row and request.keyed else None
            turns += 1
            await self._limit.enter()
            began = time.monotonic()
            try:
                await self._wait_turn(request.method)
                answer = await self._client.attempt(
                    request.method,
                    request.path,
                    params=request.params,
                    body=body,
                    idempotency_key=key,
                    expected=_RECORD_STATUSES,
                    label=request.label,
                )
            except Unanswered as failure:
                self._limit.leave(began, failure)
                if not failure.nothing_done:
                    raise _OutcomeUnknown(failure.error) from failure
                if not failure.throttled:
                    if not self.traffic.answered and self._limit.failures >= _FIRST_TRIES:
                        raise failure.error from failure
                    await self._pause(self._limit.failures)
                continue
            except BaseException:
                self._limit.leave(began, None)
                raise
            self._limit.leave(began, None)
            return _decode_reply(answer.status, answer.body)

    async def _wait_turn(self, method: str) -> None:
        """Wait for the rate limit. Raises Stopped if sending is stopped meanwhile."""
        task = asyncio.current_task()
        if task is None:
            raise TypeError("runs in a task")
        self._waiting.add(task)
        try:
            await self._client.wait_turn(method)
        except asyncio.CancelledError:
            if not self._limit.stopped.is_set():
                raise
            task.uncancel()
            raise Stopped from None
        finally:
            self._waiting.discard(task)

    async def _pause(self, tries: int) -> int:
        """Pause before another try and return the number of tries; not counted while the provider is down."""
        longest = longest_pause(self._client.retry_policy, tries)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._limit.stopped.wait(), random.uniform(0, longest))  # noqa: S311  no secret
        return tries if self._limit.is_down else tries + 1

    def _intent(self, row: _Row) -> Intent:
        return Intent(row.row, row.attempt, row.action, row.digest)

    def _key(self, row: _Row, request: Request, turn: int) -> str:
        """Return the idempotency key of one try of one request, never used for another one."""
        content = msgspec.json.encode((self._run_id, row.row, row.attempt, turn, request.path, request.body))
        return hashlib.blake2b(content, digest_size=20).hexdigest()


def _bulk_outcomes(bulk: Bulk, reply: Reply, wanted: Sequence[Record]) -> Sequence[Created | Failure | None]:
    try:
        found = bulk.outcomes(reply.body, wanted)
    except _SHAPE_ERRORS:
        found = ()
    return found if len(found) == len(wanted) else [None] * len(wanted)


def _decode_reply(status: int, body: bytes) -> Reply:
    if not body:
        return Reply(status, None)
    try:
        return Reply(status, msgspec.json.decode(body))
    except msgspec.DecodeError:
        return Reply(status, None)
