"""How one provider is written to: how a customer is looked up, which requests create, change or remove it, and what
its answers mean. A provider's room says so in a `Verbs` value; `connectors/api/executor.py` does the sending.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tranship.schemas.provider import ProviderSchema

Record = Mapping[str, Any]
"""A customer as the provider's JSON has it."""


@dataclass(frozen=True)
class Request:
    """One request."""

    method: str
    path: str
    """Put behind the base URL as it stands: what goes into it is encoded (`urllib.parse.quote(…, safe="")`)."""
    label: str
    """The path as messages may show it, without data: `/customers/{id}`."""
    body: Any = None
    """JSON; None: no body."""
    params: Sequence[tuple[str, str]] = ()
    keyed: bool = False
    """It goes with an Idempotency-Key."""
    repeatable: bool = False
    """It may be sent again without a look, as every GET may: it only reads, or comes to the same however often."""


@dataclass(frozen=True)
class Reply:
    """What came back: 2xx, or a status from 400 to 499 other than 401, 403, 408, 425 and 429."""

    status: int
    body: Any
    """JSON, decoded; None where there was no body, or none that is JSON (of a 4xx)."""

    @property
    def ok(self) -> bool:
        """Whether it is a 2xx."""
        return self.status < 300


@dataclass(frozen=True)
class LookupKey:
    """A customer to be found by one thing: exactly one of `id`, `external_id` and `email` is not None."""

    id: str | None = None
    """The provider's own id, of a record that was read."""
    external_id: str | None = None
    email: str | None = None
    record: Record = field(default_factory=dict)
    """What it should be (of one that is to be created), or what it was when it was read."""
    possibly_applied: bool = False
    """Something of it was sent, and what came of that is not known."""


@dataclass(frozen=True)
class Failure:
    """What an answer that is no 2xx means.

    taken: somebody has the external id, the key or the e-mail; it is looked up who. refused: this record will not do.
    gone: there is no such customer. again: it may go well the next time, after a look.
    """

    kind: Literal["taken", "refused", "gone", "again"]
    reason: str = ""
    """Of refused (and of taken, if the look shows nothing): a code and the provider's words, for the outcome's
    `reason`: `refused: email must be an email`."""


@dataclass(frozen=True)
class Created:
    """A customer is there, under this id."""

    id: str


class AmbiguousMatch(Exception):
    """A look found more than one customer that has the key: nothing is written to any of them."""


class KeyUnavailable(Exception):
    """A look found that the key belongs to a customer that can neither be changed nor give it back (archived).

    Its text is the outcome's reason: `locked: external_id`.
    """


class NotSearchable(Exception):
    """The provider has no way to look for that."""


Ask = Callable[[Request], Awaitable[Reply]]
"""Sends a request that is repeatable, as often as it takes. Raises ConnectorError, which verbs let through."""


@dataclass(frozen=True)
class Bulk:
    """Many creates in one call."""

    size: int
    request: Callable[[Sequence[Record]], Request]
    outcomes: Callable[[Any, Sequence[Record]], Sequence[Created | Failure | None]]
    """(Body of the 2xx, records) → one outcome for each, in their order; None: the answer says nothing of it, it is
    looked up."""
    changes: Callable[[Record, Record], Record | None] | None = None
    """It is an upsert: (as it is now, as it should be) → the record to send that makes one of the other; None: this
    change does not go in it. Without it only creates do."""


@dataclass(frozen=True)
class BulkLookup:
    """Many looks in one call (or in few)."""

    size: int
    look_up: Callable[[Ask, Sequence[LookupKey]], Awaitable[Sequence[Record | None]]]
    """All of them by own id, or all by external id; one record or None for each, in their order."""
    by_external_id: bool = False
    """It can be asked by external id, too; else only by own id."""


async def _nothing(_: Ask, __: Sequence[Record]) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Operations:
    """How one provider is written to. Each is a plain function; only those that take `Ask` call the provider."""

    schema: ProviderSchema
    look_up: Callable[[Ask, LookupKey], Awaitable[Record | None]]
    """The customer with that id, external id or e-mail as it is now (whole), None if there is none. Compares exactly
    (e-mails as the provider does), goes through all pages of a search. Raises Several, Locked, Blind."""
    create: Callable[[Record], Request]
    """The wanted record → the one request that creates it."""
    created_id: Callable[[Any, Record], str]
    """(Body of that request's 2xx, wanted) → the provider's own id. Whatever it raises (KeyError, TypeError …) means
    that the answer is broken: the customer is looked up."""
    change: Callable[[Record, Record], Sequence[Request]]
    """(As it is now, as it should be) → the requests that lead from one to the other, in order; none if nothing is to
    do. Each of them may find itself done already: after a lost answer it is called again with what is there then."""
    failure: Callable[[Reply], Failure]
    """What a 4xx of create, change or remove means."""
    remove: Callable[[Record], Sequence[Request]] | None = None
    """As it is now → the requests that delete or archive it. None: the provider cannot."""
    in_flight: int = 8
    """Requests at the same time, at most."""
    bulk: Bulk | None = None
    bulk_lookup: BulkLookup | None = None
    create_overwrites: bool = False
    """A create of what is there overwrites it (an upsert): creates are looked for, too, before they are sent."""
    interpret: Callable[[Request, Reply], Reply] = lambda _, reply: reply
    """(A request of one row, its answer) → what that answer says: a 2xx by which the row is refused is made a 4xx."""
    comparable: Callable[[Record], Record] = lambda record: record
    """A record as it is compared with what it was and what it should be: without what the provider derives from the
    rest or spells in its own way. That of a delete, which should be nothing, is empty."""
    prepare: Callable[[Ask, Sequence[Record]], Awaitable[None]] = _nothing
    """Called with the wanted records of some hundred rows before any of them is sent (Metronome registers keys)."""
