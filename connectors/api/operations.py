"""The operations of one provider: how a customer is looked up, created, changed and removed, and what responses mean.

Each provider declares them in an `Operations` value; `connectors/api/executor.py` sends the requests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal
from urllib.parse import quote

from msgspec import Struct, field
from msgspec.structs import replace

from tranship.connectors.errors import Malformed
from tranship.schemas.provider import ProviderSchema

Record = Mapping[str, Any]
"""A customer as the provider's JSON."""


class Request(Struct, frozen=True):
    """One request."""

    method: str
    path: str
    """Appended to the base URL unchanged: its parts must be encoded (`path_part`)."""
    label: str
    """The path as shown in messages, without personal data: `/customers/{id}`."""
    body: Any = None
    """JSON; None: no body."""
    params: Sequence[tuple[str, str]] = ()
    keyed: bool = False
    """Whether it is sent with an Idempotency-Key."""
    repeatable: bool = False
    """Whether it may be repeated without a look-up, like every GET: it only reads, or is idempotent."""


class Reply(Struct, frozen=True):
    """A response: 2xx, or a status from 400 to 499 other than 401, 403, 408, 425 and 429."""

    status: int
    body: Any
    """Decoded JSON; None where there was no body, or (of a 4xx) none that is JSON."""

    @property
    def ok(self) -> bool:
        """Whether it is a 2xx."""
        return self.status < 300


class LookupKey(Struct, frozen=True):
    """The key of a customer to find: exactly one of `id`, `external_id` and `email` is not None."""

    id: str | None = None
    """The provider's own id, of a record that was read."""
    external_id: str | None = None
    email: str | None = None
    record: Record = field(default_factory=dict)
    """The customer as it should be (one to create), or as it was when it was read."""
    possibly_applied: bool = False
    """Some request for it was sent, with an unknown outcome."""


class Failure(Struct, frozen=True):
    """The meaning of a response other than 2xx.

    taken: another customer has the external id, the key or the e-mail, and is looked up. refused: the record is not
    accepted. gone: there is no such customer. again: another try may succeed, after a look-up.
    """

    kind: Literal["taken", "refused", "gone", "again"]
    reason: str = ""
    """For refused (and for taken, if the look-up finds nothing): a code and the provider's message, which become the
    `reason` of the outcome: `refused: email must be an email`."""


class Created(Struct, frozen=True):
    """A customer exists under this id."""

    id: str


class AmbiguousMatch(Exception):
    """A look-up found several customers with the key: none of them is written to."""


class KeyUnavailable(Exception):
    """The key belongs to a customer that can neither be changed nor release it (archived).

    Its text is the outcome's reason: `locked: external_id`.
    """


class NotSearchable(Exception):
    """The provider offers no way to search for this key."""


def path_part(text: str) -> str:
    """Encode a text as one part of a path. One or two dots alone would be taken as a relative path (RFC 3986, 3.3).

    Raises ValueError if it is empty, as the path would be that of all customers, or is not text.
    """
    if not text:
        raise ValueError("empty")
    encoded = quote(text, safe="")
    return encoded if encoded.strip(".") else encoded.replace(".", "%2E")


_SEARCHED_PAGES: Final = 1_000


def search_pages(provider: str, most: int = _SEARCHED_PAGES) -> Iterator[int]:
    """Yield the numbers of the pages of one search, from 1. Raises Malformed after `most` pages."""
    yield from range(1, most + 1)
    raise Malformed(
        f"{provider}: a search for customers does not end: page {most:,} still announces another. Check that the host "
        "is the provider's API."
    )


Ask = Callable[[Request], Awaitable[Reply]]
"""Sends a repeatable request, with retries. Raises ConnectorError, which operations do not catch."""


class Bulk(Struct, frozen=True):
    """Creates many customers with one request."""

    size: int
    request: Callable[[Sequence[Record]], Request]
    outcomes: Callable[[Any, Sequence[Record]], Sequence[Created | Failure | None]]
    """(Body of the 2xx, records) → an outcome for each, in their order; None: not in the response, so it is looked
    up."""
    changes: Callable[[Record, Record], Record | None] | None = None
    """If it is an upsert: (current record, wanted record) → the record to send; None: this change cannot be sent in
    bulk. Null: only creates can."""


class BulkLookup(Struct, frozen=True):
    """Looks up many customers with one request (or a few)."""

    size: int
    look_up: Callable[[Ask, Sequence[LookupKey]], Awaitable[Sequence[Record | None]]]
    """Look up by the provider's id, or all by external id; return a record or None for each, in their order."""
    by_external_id: bool = False
    """Look-up by external id is supported as well."""


async def _nothing(_: Ask, __: Sequence[Record]) -> None: ...


class Operations(Struct, frozen=True, kw_only=True):
    """The operations of one provider. All are plain functions; only those that take `Ask` call the provider."""

    schema: ProviderSchema
    look_up: Callable[[Ask, LookupKey], Awaitable[Record | None]]
    """Return the current, complete record with this id, external id or e-mail; None if there is none. Compares exactly
    (e-mails as the provider does) and reads all pages of a search. Raises AmbiguousMatch, KeyUnavailable,
    NotSearchable."""
    create: Callable[[Record], Request]
    """The wanted record → the one request that creates it."""
    created_id: Callable[[Any, Record], str]
    """(Body of that request's 2xx, wanted) → the provider's id. Any error (KeyError, TypeError …) means that the
    response is malformed: the customer is looked up."""
    change: Callable[[Record, Record], Sequence[Request]]
    """(Current record, wanted record) → the requests that turn one into the other, in order; none if they are equal.
    After a lost response it is called again with the record as it is then, so steps may be done already."""
    failure: Callable[[Reply], Failure]
    """The meaning of a 4xx of create, change or remove."""
    remove: Callable[[Record], Sequence[Request]] | None = None
    """Current record → the requests that delete or archive it. None: not supported by the provider."""
    retire: Callable[[Record], Sequence[Request]] | None = None
    """How an undo removes a customer that a run has created, if not by `remove`."""
    restore: Callable[[Record, Record], Sequence[Request]] | None = None
    """How an undo changes a customer, if not by `change`: (current record, wanted record) → requests, after which the
    customer has exactly the wanted values."""
    dependents: Callable[[Ask, Record], Awaitable[bool]] | None = None
    """Whether a customer has licences, subscriptions or the like, for which an undo leaves it. Raises NotSearchable.
    Null: the provider has none, or refuses to remove such a customer."""
    in_flight: int = 8
    """Maximum concurrent requests."""
    bulk: Bulk | None = None
    bulk_lookup: BulkLookup | None = None
    create_overwrites: bool = False
    """A create overwrites an existing customer (an upsert): look-ups precede creates as well."""
    interpret: Callable[[Request, Reply], Reply] = lambda _, reply: reply
    """(Request of one row, its response) → the response as it is meant: a 2xx that refuses the row becomes a 4xx."""
    comparable: Callable[[Record], Record] = lambda record: record
    """A record in the form used for comparison: without values that the provider derives from other fields or spells in
    its own way. The wanted record of a delete is empty."""
    prepare: Callable[[Ask, Sequence[Record]], Awaitable[None]] = _nothing
    """Called with the wanted records of a few hundred rows before any is sent (Metronome registers keys)."""

    def for_undo(self) -> Operations:
        """Return the operations of an undo."""
        return replace(self, change=self.restore or self.change, remove=self.retire or self.remove)
