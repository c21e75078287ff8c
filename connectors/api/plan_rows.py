"""The rows of a plan while they are carried out: their requests and their state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from tranship.connectors.api.journal import Intent, Journal, Past, Result, digest
from tranship.connectors.api.operations import LookupKey, NotSearchable, Record
from tranship.connectors.api.request_files import REQUESTS, read_batches


class PlanRow(Struct, eq=False):
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
    """Whether that try was sent."""
    possibly_applied: bool = False
    """Whether it was sent with an unknown outcome, so that the provider may have part of it already."""
    sent_at: float = 0.0
    """When it was sent last, in seconds since 1970."""
    key_taken: bool = False
    """Whether it was refused because another customer has its key."""
    strayed: bool = False
    """Whether a write to it was answered with another customer."""
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

    def intent(self) -> Intent:
        """Return the intent of the current try."""
        return Intent(self.row, self.attempt, self.action, self.digest)


class PlanProgress:
    """Which rows of a plan are begun, done or deferred. `done` may be read by any thread."""

    def __init__(self, journal: Journal) -> None:
        self.done = 0
        """Rows with a known outcome."""
        self.failed = 0
        """Those of them that this process could not write."""
        self.begun: dict[int, PlanRow] = {}
        """Rows whose intent is in the journal, without an outcome."""
        self.deferred: list[PlanRow] = []
        """Refused because another customer has their key, who may release it later in the same plan."""
        self.is_final = False
        """Whether rows are no longer deferred, because the last pass over the deferred rows has settled none."""
        self._journal = journal

    def settle(self, *results: Result) -> None:
        """Record outcomes in the journal. Raises ConfigError if it cannot be written."""
        self._journal.settle(results)
        for result in results:
            self.begun.pop(result.row, None)
        self.done += len(results)
        self.failed += sum(result.outcome != "done" for result in results)


def read_rows(requests: Sequence[Path], total: int) -> Iterator[PlanRow]:
    """Yield the first `total` rows of the files (Parquet, columns of `REQUESTS`), in order."""
    left = total
    for batch in read_batches(requests, 1024, REQUESTS.names):
        for request in batch.to_pylist():
            if left == 0:
                return
            left -= 1
            wanted, found = request["wanted"], request["found"]
            yield PlanRow(
                row=request["row"],
                action=request["action"],
                target=request["target"],
                external_id=request["external_id"],
                email=request["email"],
                wanted=msgspec.json.decode(wanted) if wanted else {},
                found=msgspec.json.decode(found) if found else {},
                digest=digest(request["action"], wanted),
            )
