"""Send the requests of rows: each at most once without a look-up, after its intent is in the journal.

Concurrency, rate limit and pauses are kept here; what a response means to a row is decided by the caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import time
from collections.abc import Awaitable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from tranship.connectors.api.checked_operations import SHAPE_ERRORS, InvalidAnswer, checked_record
from tranship.connectors.api.concurrency import TRIES, ConcurrencyLimit, Stopped
from tranship.connectors.api.http_client import HttpClient
from tranship.connectors.api.http_errors import Unanswered
from tranship.connectors.api.journal import Journal
from tranship.connectors.api.operations import Operations, Record, Reply, Request
from tranship.connectors.api.plan_rows import PlanRow
from tranship.connectors.api.retry import random_pause
from tranship.connectors.errors import ConnectorError, Malformed, Refused, Unreachable

T = TypeVar("T")

_FIRST_TRIES: Final = 3
"""Tries to reach a host that has never answered."""


_RECORD_STATUSES: Final = frozenset(range(400, 500)) - {401, 403, 408, 425, 429}
"""Statuses that concern one record."""


class OutcomeUnknown(Exception):
    """A request was sent, and its outcome is unknown."""

    def __init__(self, error: ConnectorError) -> None:
        super().__init__()
        self.error = error


class _TurnedAway(Unreachable):
    """A request was turned away for too long, each time without an effect."""


class RowSender:
    """Sends the requests of one plan, on the event loop that `begin` was called on."""

    def __init__(self, operations: Operations, client: HttpClient, journal: Journal, run_id: str) -> None:
        self.limit = ConcurrencyLimit(operations.in_flight, client.retry_policy)
        self._operations, self._client, self._journal, self._run_id = operations, client, journal, run_id
        self._waiting: set[asyncio.Task[Any]] = set()

    def cancel_waiting(self) -> None:
        """Cancel the tasks that wait for their turn; they have sent nothing."""
        for task in self._waiting:
            task.cancel()

    # Looking up

    async def look_up(self, row: PlanRow, fresh: bool = False) -> Record | None:
        """Return the current record of a row; with `fresh` even if it was looked up before."""
        if row.looked_up and not fresh:
            return row.current
        await self._wait_to_settle([row])
        row.current = await self.checked(self._operations.look_up(self.ask, row.lookup_key()))
        row.looked_up = True
        return row.current

    async def look_up_many(self, rows: Sequence[PlanRow]) -> None:
        """Look rows up in bulk, as far as the provider supports it; the others stay as they are."""
        bulk_lookup = self._operations.bulk_lookup
        if not bulk_lookup:
            return
        groups = [[row for row in rows if row.target is not None]]
        if bulk_lookup.by_external_id:
            groups.append([row for row in rows if row.target is None and row.external_id is not None])
        for group in groups:
            for start in range(0, len(group), bulk_lookup.size):
                batch = group[start : start + bulk_lookup.size]
                await self._wait_to_settle(batch)
                keys = [row.lookup_key() for row in batch]
                found = await self.checked(bulk_lookup.look_up(self.ask, keys))
                for row, key, record in zip(batch, keys, found, strict=True):
                    with contextlib.suppress(InvalidAnswer):  # it is looked up separately
                        row.current = checked_record(self._operations.schema, key, record)
                        row.looked_up = True

    async def checked(self, work: Awaitable[T]) -> T:
        """Await an operation. Raises Malformed where responses have an unexpected shape."""
        try:
            return await work
        except SHAPE_ERRORS as error:
            raise Malformed(
                f"{self._client.service.place}: the response to a look-up does not have the documented shape "
                f"({type(error).__name__}). Check the host and the version of its API."
            ) from error

    async def ask(self, request: Request) -> Reply:
        """Send a repeatable request, with retries."""
        tries = 0
        while True:
            try:
                return await self._send_until_answered(request)
            except OutcomeUnknown as unknown:
                tries = await self.pause(tries)
                if tries == TRIES:
                    raise unknown.error from unknown

    async def _wait_to_settle(self, rows: Sequence[PlanRow]) -> None:
        last = max((row.sent_at for row in rows if row.possibly_applied), default=0.0)
        settles = self._client.retry_policy.settles
        left = last + settles - time.monotonic()
        if left > 0:
            await asyncio.sleep(min(left, settles))

    # Writing

    async def send(self, row: PlanRow, request: Request, following: bool = False) -> Reply:
        """Send a request of a row whose intent is on disk. `following`: not the first one of its try. Raises
        OutcomeUnknown.
        """
        return self._operations.interpret(request, await self.send_for([row], request, following))

    async def send_for(self, rows: Sequence[PlanRow], request: Request, following: bool = False) -> Reply:
        """Send one request for several rows. As `send`, without interpreting the response."""
        spent = [row for row in rows if row.spent and not following]
        for row in spent:
            row.attempt += 1
        if spent:
            await self._journal.intend([row.intent() for row in spent])
        for row in rows:
            row.spent, row.looked_up, row.sent_at = True, False, time.monotonic()
        try:
            return await self._send_until_answered(request, rows[0])
        except (Stopped, Refused, _TurnedAway):
            for row in rows:
                row.spent = following  # it was not sent, or was turned away
            raise
        except OutcomeUnknown:
            for row in rows:
                row.possibly_applied, row.sent_at = True, time.monotonic()
            raise

    async def pause(self, tries: int) -> int:
        """Pause before another try and return the number of tries; not counted while the provider is down."""
        seconds = random_pause(self._client.retry_policy, tries)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.limit.stopped.wait(), seconds)
        return tries if self.limit.is_down else tries + 1

    async def _send_until_answered(self, request: Request, row: PlanRow | None = None) -> Reply:
        """Send a request that takes effect at most once; resend it if it had none. Raises OutcomeUnknown, Stopped, and
        Unreachable if it is turned away (429) for too long.
        """
        body = None if request.body is None else msgspec.json.encode(request.body)
        sendings, refused_at = 0, math.inf
        while True:
            # A resent request gets a new key: a provider may have stored a 429 for the old one.
            key = self._key(row, request, sendings) if row and request.keyed else None
            sendings += 1
            await self.limit.enter()
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
                self.limit.leave(began, failure)
                if not failure.nothing_done:
                    raise OutcomeUnknown(failure.error) from failure
                refused_at = min(refused_at, began)
                if (waited := time.monotonic() - refused_at) > self._client.retry_policy.total:
                    raise _TurnedAway(
                        f"{failure.error} No other request was answered for {waited:,.0f} s. Completed writes are in "
                        "the journal; run the same command later to continue."
                    ) from failure
                if not failure.throttled:
                    if not self._client.traffic.answered and self.limit.failures >= _FIRST_TRIES:
                        raise failure.error from failure
                    await self.pause(self.limit.failures)
                continue
            except BaseException:
                self.limit.leave(began, None)
                raise
            self.limit.leave(began, None)
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
            if not self.limit.stopped.is_set():
                raise
            task.uncancel()
            raise Stopped from None
        finally:
            self._waiting.discard(task)

    def _key(self, row: PlanRow, request: Request, sendings: int) -> str:
        """Return the idempotency key of one try of one request, never used for another one."""
        content = msgspec.json.encode((self._run_id, row.row, row.attempt, sendings, request.path, request.body))
        return hashlib.blake2b(content, digest_size=20).hexdigest()


def _decode_reply(status: int, body: bytes) -> Reply:
    if not body:
        return Reply(status, None)
    try:
        return Reply(status, msgspec.json.decode(body))
    except (ValueError, RecursionError):
        return Reply(status, None)
