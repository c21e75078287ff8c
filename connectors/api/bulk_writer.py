"""Carry out rows of a plan with requests that create or change many customers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Iterator, Sequence

from tranship.connectors.api.checked_operations import SHAPE_ERRORS, InvalidAnswer
from tranship.connectors.api.concurrency import TRIES
from tranship.connectors.api.journal import Result
from tranship.connectors.api.operations import Bulk, Created, Failure, Operations, Record, Reply
from tranship.connectors.api.plan_rows import PlanProgress, PlanRow
from tranship.connectors.api.reasons import coded
from tranship.connectors.api.row_sender import OutcomeUnknown, RowSender
from tranship.connectors.api.row_writer import RowWriter


class BulkWriter:
    """Carries out many rows at a time; `single` carries out those that need a request of their own."""

    def __init__(self, operations: Operations, sender: RowSender, progress: PlanProgress, single: RowWriter) -> None:
        self._operations, self._sender, self._progress, self._single = operations, sender, progress, single

    def jobs(self, rows: Sequence[PlanRow]) -> Iterator[list[PlanRow]]:
        """Split rows into jobs: first those with a request of their own, then the bulk requests."""
        bulk = self._operations.bulk
        together = [row for row in rows if bulk and _fits(row, bulk)]
        apart = {row.row for row in together}
        for row in rows:
            if row.row not in apart:
                yield [row]
        for start in range(0, len(together), bulk.size if bulk else 1):
            yield together[start : start + bulk.size] if bulk else []

    def takes(self, job: Sequence[PlanRow]) -> bool:
        """Return whether a job is sent in bulk."""
        return self._operations.bulk is not None and _fits(job[0], self._operations.bulk)

    async def carry_out(self, rows: list[PlanRow]) -> None:
        """Carry out rows until each has an outcome. Rows that are not accepted in bulk are sent one by one."""
        bulk = self._operations.bulk
        if bulk is None:
            raise TypeError(f"{self._operations.schema.title} accepts no bulk requests")
        tries = 0
        while tries < TRIES:
            rows = await self._ready(rows)
            if not rows:
                return
            sent = [self._record(row, bulk) or row.wanted for row in rows]
            try:
                reply = await self._sender.send_for(rows, bulk.request(sent))
            except OutcomeUnknown:
                tries = await self._sender.pause(tries)
                continue
            if not reply.ok:
                break  # part of it is not accepted; sent one by one, the rows show which part
            rows = await self._settle(rows, _outcomes(bulk, reply, sent))
            tries = await self._sender.pause(tries) if rows else tries
        await _all_of(self._single.carry_out(row) for row in rows)

    async def _settle(self, rows: Sequence[PlanRow], found: Sequence[Created | Failure | None]) -> list[PlanRow]:
        """Settle rows that were sent together; return those that may be sent again after a look-up."""
        again, apart = [], []
        for row, outcome in zip(rows, found, strict=True):
            if isinstance(outcome, Created) and self._single.is_own(row, outcome.id):
                self._progress.settle(Result(row.row, "done", None, outcome.id))
            elif not isinstance(outcome, Failure) or outcome.kind in ("again", "gone"):
                row.possibly_applied = True
                again.append(row)
            else:
                apart.append(self._refused(row, coded(outcome, self._operations.schema)))
        await _all_of(apart)
        return again

    async def _refused(self, row: PlanRow, failure: Failure) -> None:
        """Handle a row that failed in a bulk request."""
        if failure.kind == "refused":
            self._progress.settle(Result(row.row, "refused", failure.reason or "refused", row.target))
        else:
            await self._single.carry_out(row, failure if row.action == "create" else None)

    async def _ready(self, rows: list[PlanRow]) -> list[PlanRow]:
        """Return the rows that may be sent in bulk; carry out the others (present or changed) one by one."""
        looked_for = [
            row for row in rows if row.possibly_applied or row.action != "create" or self._operations.create_overwrites
        ]
        if not looked_for:
            return rows
        await self._sender.look_up_many([row for row in looked_for if not row.looked_up])
        alone = {row.row for row in looked_for if not self._is_ready(row)}
        await _all_of(self._single.carry_out(row) for row in rows if row.row in alone)
        return [row for row in rows if row.row not in alone]

    def _is_ready(self, row: PlanRow) -> bool:
        if not row.looked_up:
            return False
        if row.action == "create":
            return row.current is None
        try:
            return (
                row.current is not None
                and not self._single.unexpected_changes(row, row.current)
                and bool(self._record(row, self._operations.bulk))
            )
        except (InvalidAnswer, RecursionError):
            return False  # sent alone, it gets its own outcome

    def _record(self, row: PlanRow, bulk: Bulk | None) -> Record | None:
        """Return the record to send in bulk; None: it cannot be sent in bulk, or there is nothing to do."""
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


def _fits(row: PlanRow, bulk: Bulk) -> bool:
    return row.action == "create" or (row.action == "update" and bulk.changes is not None)


def _outcomes(bulk: Bulk, reply: Reply, wanted: Sequence[Record]) -> Sequence[Created | Failure | None]:
    try:
        return bulk.outcomes(reply.body, wanted)
    except SHAPE_ERRORS:
        return [None] * len(wanted)


async def _all_of(works: Iterable[Awaitable[None]]) -> None:
    """Run all concurrently to completion; then raise the first error, if any."""
    for result in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
