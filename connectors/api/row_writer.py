"""Carry out one row of a plan: create, change or remove a customer, whatever was sent before and whatever the provider
has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tranship.connectors.api.checked_operations import SHAPE_ERRORS, InvalidAnswer, is_of_another, says_failure
from tranship.connectors.api.concurrency import TRIES
from tranship.connectors.api.journal import Result
from tranship.connectors.api.known_ids import KnownIds
from tranship.connectors.api.operations import (
    AmbiguousMatch,
    Failure,
    KeyUnavailable,
    LookupKey,
    NotSearchable,
    Operations,
    Record,
    Reply,
    Request,
)
from tranship.connectors.api.plan_rows import PlanProgress, PlanRow
from tranship.connectors.api.reasons import coded
from tranship.connectors.api.reconcile import lies_between, may_derive_from, same
from tranship.connectors.api.row_sender import OutcomeUnknown, RowSender

_HIDDEN_TRIES: Final = 2
"""Tries after which a key that is taken, but by no customer that can be found, counts as taken by a hidden one."""


class RowWriter:
    """Carries out rows, one at a time."""

    def __init__(self, operations: Operations, sender: RowSender, progress: PlanProgress, known_ids: KnownIds) -> None:
        self._operations, self._sender, self._progress = operations, sender, progress
        self._known_ids = known_ids
        schema = operations.schema
        self._settable = [field.name for field in schema.fields if field.settable and not field.from_address]
        self._settable.append(schema.overflow.name)
        self._external = [field.name for field in schema.fields if field.canonical == "external_id"]
        self._foreseen = [name for name in self._settable if not self._is_server_generated(name)]

    def _is_server_generated(self, name: str) -> bool:
        known = self._operations.schema.by_name.get(name)
        return known is not None and known.server_generated

    async def carry_out(self, row: PlanRow, failure: Failure | None = None) -> None:
        """Carry out a row until it has an outcome; `failure` is the result of its create in a bulk request."""
        try:
            result = await self._after_failure(row, failure) if failure else None
            result = result or await self._carry_out(row)
        except AmbiguousMatch:
            result = Result(row.row, "refused", "matches_several")
        except KeyUnavailable as locked:
            result = Result(row.row, "refused", str(locked) or "locked")
            row.key_taken = str(locked).startswith("taken: ")
        except InvalidAnswer as invalid:
            result = _unusable(row, str(invalid))
        except RecursionError:
            result = _unusable(row, "the provider's record of the customer is nested too deeply")
        except NotSearchable:
            result = Result(row.row, "unknown", "sent, and there is nothing to look it up by")
        if row.key_taken and result.outcome in ("refused", "stale") and not self._progress.is_final:
            row.key_taken = row.looked_up = False
            self._progress.deferred.append(row)
        else:
            self._progress.settle(result)

    async def _carry_out(self, row: PlanRow) -> Result:
        if row.action == "create":
            return await self._create(row)
        return await self._apply_difference(row)

    # Creating

    async def _create(self, row: PlanRow) -> Result:
        operations, tries, why = self._operations, 0, ""
        while tries < TRIES:
            if row.possibly_applied or operations.create_overwrites:
                current = await self._sender.look_up(row)
                if current is not None:
                    return await self._already_exists(row, current)
            try:
                reply = await self._sender.send(row, operations.create(row.wanted))
                if reply.ok:
                    created = operations.created_id(reply.body, row.wanted)
                    if not self.is_own(row, created):
                        raise ValueError("the id of another customer")
                    return Result(row.row, "done", None, created)
                result = await self._after_failure(row, failure := self._failure(reply))
                if result:
                    return result
                why = failure.reason or failure.kind
                if failure.kind == "taken" and tries >= _HIDDEN_TRIES and not row.possibly_applied:
                    return Result(row.row, "refused", why)
            except OutcomeUnknown as unknown:
                why = str(unknown.error)
            except SHAPE_ERRORS:
                row.possibly_applied, why = True, "answered without an id"
            tries = await self._sender.pause(tries)
        if row.possibly_applied and (current := await self._sender.look_up(row, fresh=True)) is not None:
            return await self._already_exists(row, current)
        return Result(row.row, "refused", f"unresolved: {why}")

    async def _after_failure(self, row: PlanRow, failure: Failure) -> Result | None:
        """Return the result of a create that failed; None: try again."""
        if failure.kind == "refused":
            return Result(row.row, "refused", failure.reason or "refused")
        if failure.kind == "taken":
            return await self._key_is_taken(row)
        row.possibly_applied = row.possibly_applied or failure.kind == "again"
        return None

    async def _key_is_taken(self, row: PlanRow) -> Result | None:
        """Handle a create whose key is taken: by another customer, or by this one, sent before."""
        current = await self._sender.look_up(row, fresh=True)
        if current is not None:
            # Found by its e-mail it is another one, which may be about to release it.
            row.key_taken = row.external_id is None and any(current.get(name) for name in self._external)
            return await self._already_exists(row, current)
        if row.external_id is not None and row.email is not None:
            email_key = LookupKey(email=row.email, record=row.wanted)
            owner = await self._sender.checked(self._operations.look_up(self._sender.ask, email_key))
            if owner is not None:
                row.key_taken = True
                return Result(row.row, "refused", "taken: email")
        return None

    async def _already_exists(self, row: PlanRow, current: Record) -> Result:
        """Handle a customer to create that exists already."""
        existing, wanted = self._operations.comparable(current), self._operations.comparable(row.wanted)
        is_ours = row.possibly_applied and all(
            may_derive_from(existing.get(name), wanted.get(name)) for name in self._foreseen
        )
        if not is_ours or not self.is_own(row, self._id(current)):
            return Result(row.row, "stale", "created", self._id(current))
        row.looked_up, row.current, row.found, row.target = True, current, current, self._id(current)
        return await self._apply_difference(row)

    def is_own(self, row: PlanRow, id: str) -> bool:
        """Return whether an id that a create was answered with can be that of the row's customer."""
        return row.action != "create" or self._known_ids.claim(id, row.row)

    def _id(self, record: Record) -> str:
        return str(record[self._operations.schema.id])

    # From the current record to the wanted one

    async def _apply_difference(self, row: PlanRow) -> Result:
        """Change or remove a customer, whatever its current state."""
        tries, why = 0, ""
        while True:
            current = await self._sender.look_up(row)
            if current is None:
                gone = row.action == "delete" and row.possibly_applied
                return Result(row.row, "done" if gone else "stale", "gone", row.target)
            unexpected = self.unexpected_changes(row, current)
            if unexpected:
                return Result(row.row, "stale", f"changed: {', '.join(unexpected)}", row.target)
            if row.action == "delete" and self._operations.dependents and not row.possibly_applied:
                try:
                    if await self._sender.checked(self._operations.dependents(self._sender.ask, current)):
                        return Result(row.row, "refused", "has_dependents", row.target)
                except NotSearchable:
                    return Result(row.row, "refused", "dependents_unknown", row.target)
            steps = self._steps_for(row, current)
            if tries >= TRIES and steps:
                is_untouched = self._is_as_found(row, current)
                return Result(row.row, "refused" if is_untouched else "unknown", f"unresolved: {why}", row.target)
            try:
                failure = await self._send_steps(row, steps)
                if failure is None:
                    return Result(row.row, "done", None, row.target)
                if failure.kind in ("refused", "taken"):
                    row.key_taken = failure.kind == "taken"
                    return Result(row.row, "refused", failure.reason or failure.kind, row.target)
                why = failure.reason or failure.kind
            except OutcomeUnknown as unknown:
                why = str(unknown.error)
            row.possibly_applied, row.looked_up = True, False
            tries = await self._sender.pause(tries)

    def _steps_for(self, row: PlanRow, current: Record) -> Sequence[Request]:
        if row.action != "delete":
            return self._operations.change(current, row.wanted)
        if self._operations.remove is None:
            raise TypeError(f"{self._operations.schema.title} removes no customers, and the plan has one to remove")
        return self._operations.remove(current)

    async def _send_steps(self, row: PlanRow, steps: Sequence[Request]) -> Failure | None:
        for place, request in enumerate(steps):
            reply = await self._sender.send(row, request, following=place > 0)
            row.possibly_applied = True
            if not reply.ok:
                return self._failure(reply)
            strays = is_of_another(self._operations.schema, reply.body, {}, row.target)
            if strays or says_failure(reply.body):
                if row.strayed:
                    if strays:
                        raise InvalidAnswer("the provider answered with another customer")
                    return Failure("refused", f"refused: answered {reply.status} with an error")
                row.strayed = True
                return Failure("again")  # a look-up shows whether the customer was changed
        return None

    def _is_as_found(self, row: PlanRow, current: Record) -> bool:
        """Return whether a customer is as the plan found it: nothing that was sent has arrived."""
        now, found = self._operations.comparable(current), self._operations.comparable(row.found)
        return all(same(now.get(name), found.get(name)) for name in self._settable)

    def _failure(self, reply: Reply) -> Failure:
        return coded(self._operations.failure(reply), self._operations.schema, reply.status)

    def unexpected_changes(self, row: PlanRow, current: Record) -> list[str]:
        """Return the fields that are neither as the plan found them nor, if possibly applied, as it wants them."""
        comparable = self._operations.comparable
        current, found, wanted = comparable(current), comparable(row.found), comparable(row.wanted)

        def may_be_ours(name: str) -> bool:
            return name not in self._foreseen or lies_between(current.get(name), found.get(name), wanted.get(name))

        return [
            name
            for name in self._settable
            if not same(current.get(name), found.get(name)) and not (row.possibly_applied and may_be_ours(name))
        ]


def _unusable(row: PlanRow, reason: str) -> Result:
    """Return the outcome of a row whose customer cannot be read: nothing is written to it."""
    return Result(row.row, "unknown" if row.possibly_applied else "refused", reason, row.target)
