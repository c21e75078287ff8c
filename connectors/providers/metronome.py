"""Metronome: the customers of an account, archived ones on request.

Key: METRONOME_BEARER_TOKEN, a bearer token.
Address: `metronome://`, or `metronome://127.0.0.1:8701` for a sandbox; `?page_size=` sets the customers per page.
METRONOME_BASE_URL replaces a missing host.

https://docs.metronome.com/api-reference/customers/list-customers, https://docs.metronome.com/api-reference/pagination,
https://docs.metronome.com/api-reference/customers/create-or-update-customer-ingest-aliases,
https://docs.metronome.com/api-reference/idempotency, https://docs.metronome.com/api-reference/status-codes
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from tranship.connectors.api.operations import (
    AmbiguousMatch,
    Ask,
    BulkLookup,
    Failure,
    KeyUnavailable,
    LookupKey,
    NotSearchable,
    Operations,
    Record,
    Reply,
    Request,
    path_part,
    search_pages,
)
from tranship.connectors.api.pagination import Cursor, Envelope, Listing, cursor_of
from tranship.connectors.api.spec import ProviderAddress, ProviderSpec, bearer, page_size
from tranship.connectors.errors import Malformed
from tranship.schemas.providers.metronome import ALIAS_LENGTH, SCHEMA

_PAGE: Final = 100
"""The maximum. The documentation of pagination recommends 50 for bulk reads, which would double the number of calls,
and each page can be requested only after the one before it."""


def _listings(address: ProviderAddress, include_archived: bool) -> list[Listing]:
    paging = Cursor("next_page", "limit", page_size(address, _PAGE))
    envelope = Envelope(("data",), next=("next_page",))

    def listing(name: str, archived: str) -> Listing:
        # No list has both kinds, and none states its total: that a customer has moved to a page read before shows only
        # when the list is read again.
        params = {"only_archived": archived}
        return Listing(name, "/v1/customers", paging, envelope, params, created="created_at", twice=True)

    active = listing("active customers", "false")
    return [active, listing("archived customers", "true")] if include_archived else [active]


def _error_message(body: Any) -> str | None:
    return str(body["message"])


SPEC: Final = ProviderSpec(
    schema=SCHEMA,
    key_variables=("METRONOME_BEARER_TOKEN",),
    header=bearer,
    listings=_listings,
    error_message=_error_message,
    base_url="https://api.metronome.com",
    base_url_variable="METRONOME_BASE_URL",
    options={"page_size": "customers per page, at most 100"},
    archived_field="archived_at",
    removal_is_final="archiving cannot be undone: it ends their contracts as of today and voids the invoices",
)


# Writing -------------------------------------------------------------------------------------------------------------

_ALL_PAGES: Final = 100_000
"""Pages of a list of all customers."""

_CUSTOMERS: Final = "/v1/customers"
_ONE: Final = "/v1/customers/{id}"
_FIELDS: Final = "/v1/customFields"
_CUSTOMER: Final = {"entity": "customer"}


def build_operations(_: ProviderAddress) -> Operations:
    """Create, change and archive customers: one call per create, up to five per change, none in bulk."""
    search = _Search()
    return Operations(
        schema=SCHEMA,
        look_up=search.look_up,
        create=_create,
        created_id=_created_id,
        change=_change,
        remove=_remove,
        retire=_retire,
        restore=_restore,
        failure=_failure,
        comparable=_comparable,
        bulk_lookup=BulkLookup(_PAGE, _look_up_many),
        prepare=_FieldKeys().register,
    )


# Looking up


_Marks = frozenset[tuple[str, str]]
"""The custom fields (key, value) that identify a customer without an ingest alias."""

_MARK: Final = re.compile(r"canon_(external_id|email)(_[0-9]+)?")


class _Search:
    """Finds customers. Those without an ingest alias can only be found by reading all customers, which is done once for
    all look-ups that wait for it.
    """

    def __init__(self) -> None:
        self._reading = asyncio.Lock()
        self._passes = 0
        self._wanted: set[_Marks] = set()
        self._found: Mapping[_Marks, Mapping[str, Record]] = {}

    async def look_up(self, ask: Ask, lookup_key: LookupKey) -> Record | None:
        if lookup_key.id is not None:
            reply = await ask(Request("GET", f"{_CUSTOMERS}/{path_part(lookup_key.id)}", _ONE))
            if not reply.ok and reply.status != 404:
                raise NotSearchable
            # An archived customer can be read, but no longer changed.
            return _unless_archived(reply.body["data"]) if reply.ok else None
        if lookup_key.external_id is not None and len(lookup_key.external_id) <= ALIAS_LENGTH:
            return await _look_up_by_alias(ask, lookup_key.external_id, lookup_key.record)
        if lookup_key.record.get("ingest_aliases"):
            return None  # it has an external id, and e-mails are not unique
        return await self._look_up_in_all(ask, _marks(lookup_key.record))

    async def _look_up_in_all(self, ask: Ask, marks: _Marks) -> Record | None:
        if not marks:
            raise NotSearchable
        before = self._passes
        self._wanted.add(marks)
        async with self._reading:
            if self._passes == before:
                self._passes += 1
                wanted, self._wanted = self._wanted, set()
                self._found = await _read_all(ask, wanted)
            found = list(self._found.get(marks, {}).values())
        if len(found) > 1:
            raise AmbiguousMatch
        return found[0] if found else None


async def _look_up_by_alias(ask: Ask, external_id: str, wanted: Record) -> Record | None:
    """Look a customer up by its first alias. Raises KeyUnavailable if another customer has one of its aliases, which
    are unique, and are not released by archiving.
    """
    owner = await _owner(ask, external_id)
    if owner is not None:
        if owner["ingest_aliases"][0] != external_id:
            raise KeyUnavailable("taken: external_id")
        return owner
    if await _owner(ask, external_id, archived=True):
        raise KeyUnavailable("locked: external_id")
    for alias in _aliases(wanted):
        if alias != external_id and (await _owner(ask, alias) or await _owner(ask, alias, archived=True)):
            raise KeyUnavailable("taken: aliases")
    return None


async def _owner(ask: Ask, alias: str, *, archived: bool = False) -> Record | None:
    params = [("ingest_alias", alias), ("only_archived", str(archived).lower()), ("limit", "2")]
    found = [customer async for customer in _listed(ask, params, "ingest_alias") if alias in _aliases(customer)]
    if len(found) > 1:
        raise AmbiguousMatch
    return found[0] if found else None


async def _look_up_many(ask: Ask, lookup_keys: Sequence[LookupKey]) -> list[Record | None]:
    ids = [str(lookup_key.id) for lookup_key in lookup_keys]
    # Joined as in the vendor's clients. Archived customers are not in this list.
    params = [("customer_ids", ",".join(ids)), ("only_archived", "false"), ("limit", str(_PAGE))]
    try:
        found = {customer["id"]: customer async for customer in _listed(ask, params, "customer_ids")}
    except NotSearchable as error:
        raise Malformed("Metronome: GET /v1/customers?customer_ids=… the response is not as documented.") from error
    return [found.get(customer_id) for customer_id in ids]


async def _listed(
    ask: Ask, params: Sequence[tuple[str, str]], label: str = "…", most: int = 1_000
) -> AsyncIterator[Record]:
    """Yield the customers of a list of at most this number of pages."""
    cursor, seen = "", {""}
    for _ in search_pages(SCHEMA.title, most):
        more = [("next_page", cursor)] if cursor else []
        reply = await ask(Request("GET", _CUSTOMERS, f"{_CUSTOMERS}?{label}=…", params=[*params, *more]))
        if not reply.ok:
            raise NotSearchable
        for customer in reply.body["data"]:
            yield customer
        cursor = cursor_of(reply.body["next_page"])
        if not cursor:
            return
        if cursor in seen:
            raise NotSearchable
        seen.add(cursor)


def _unless_archived(customer: Record) -> Record | None:
    return customer if customer["archived_at"] is None else None


def _marks(record: Record) -> _Marks:
    return frozenset((key, value) for key, value in _values(record).items() if _MARK.fullmatch(key))


async def _read_all(ask: Ask, wanted: set[_Marks]) -> dict[_Marks, dict[str, Record]]:
    """Return the customers without an alias that have these marks, by marks and id. The list is read a second time if
    some are missing, as it may change while it is read, and states no total.
    """
    found: dict[_Marks, dict[str, Record]] = {}
    for _ in range(2):
        async for customer in _listed(ask, [("only_archived", "false"), ("limit", str(_PAGE))], "limit", _ALL_PAGES):
            if not _aliases(customer) and (marks := _marks(customer)) in wanted:
                found.setdefault(marks, {})[customer["id"]] = customer
        if found.keys() == wanted:
            break
    return found


# Changing


def _create(wanted: Record) -> Request:
    return Request("POST", _CUSTOMERS, _CUSTOMERS, dict(wanted), keyed=True)


def _created_id(body: Any, wanted: Record) -> str:
    """Return the id of a created customer. Raises ValueError if the answer is about another one."""
    customer = body["data"]
    if not customer["id"] or not {*_aliases(wanted)} <= {*customer.get("ingest_aliases", _aliases(wanted))}:
        raise ValueError("another customer, or none")
    customer_id: str = customer["id"]
    return customer_id


def _change(current: Record, wanted: Record) -> list[Request]:
    """Return the requests of a change, each of which is idempotent. Aliases that the plan does not know are kept: usage
    is reported under them.
    """
    return _changed(current, wanted, list(dict.fromkeys([*_aliases(wanted), *_aliases(current)])))


def _restore(current: Record, wanted: Record) -> list[Request]:
    """Return the requests after which a customer has the wanted aliases and no others."""
    return _changed(current, wanted, _aliases(wanted))


def _retire(current: Record) -> list[Request]:
    """Return the requests that archive a customer and release its aliases, which it would keep for good."""
    released = [_step(current, "setIngestAliases", {"ingest_aliases": []})] if _aliases(current) else []
    return [*released, *_remove(current)]


def _step(current: Record, name: str, body: Record) -> Request:
    path = f"{_CUSTOMERS}/{path_part(current['id'])}/{name}"
    return Request("POST", path, f"{_ONE}/{name}", body, keyed=True)


def _changed(current: Record, wanted: Record, aliases: list[str]) -> list[Request]:
    customer_id, steps = current["id"], []

    def step(name: str, body: Record) -> Request:
        return _step(current, name, body)

    # The set is replaced.
    if aliases != _aliases(current):
        steps.append(step("setIngestAliases", {"ingest_aliases": aliases}))
    if wanted["name"] != current["name"]:
        steps.append(step("setName", {"name": wanted["name"]}))
    before, values = _values(current), _values(wanted)
    different = {key: value for key, value in values.items() if before.get(key) != value}
    if different:
        body = {**_CUSTOMER, "entity_id": customer_id, "custom_fields": different}
        steps.append(Request("POST", f"{_FIELDS}/setValues", f"{_FIELDS}/setValues", body, keyed=True))
    kept = _metadata(values)
    if gone := [key for key in before if key not in values and kept.get(key) != before[key]]:
        body = {**_CUSTOMER, "entity_id": customer_id, "keys": gone}
        steps.append(Request("POST", f"{_FIELDS}/deleteValues", f"{_FIELDS}/deleteValues", body, keyed=True))
    account = _account(wanted)
    if account is not None and account != _account(current):
        steps.append(step("updateConfig", {"salesforce_account_id": account}))
    return steps


def _remove(current: Record) -> list[Request]:
    path = f"{_CUSTOMERS}/archive"
    return [Request("POST", path, path, {"id": current["id"]}, keyed=True)]


def _comparable(record: Record) -> Record:
    """Return a record with its first alias and the set of all: during a change, old and new ones may be present."""
    aliases = _aliases(record)
    return {**record, "ingest_aliases": {"": aliases[:1], **dict.fromkeys(aliases, True)}}


def _aliases(record: Record) -> list[str]:
    return record.get("ingest_aliases") or []


def _values(record: Record) -> Mapping[str, str]:
    return record.get(SCHEMA.overflow.name) or {}


def _account(record: Record) -> str | None:
    return (record.get("customer_config") or {}).get("salesforce_account_id")


def _metadata(values: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the metadata entries that are not custom fields of their own, because they could be mistaken for ours.
    A custom field of others with the same key and value is kept.
    """
    parts = sorted(_parts(values))
    if not parts:
        return {}
    try:
        return msgspec.json.decode("".join(text for _, text in parts), type=dict[str, Any])
    except msgspec.DecodeError:
        return {}


def _parts(values: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    for key, text in values.items():
        if part := re.fullmatch(r"canon_metadata(?:_([0-9]{1,9}))?", key):
            yield int(part[1] or 0), text


class _FieldKeys:
    """The keys of custom fields, which must be registered before customers can have them."""

    def __init__(self) -> None:
        self._known: set[str] | None = None

    async def register(self, ask: Ask, wanted: Sequence[Record]) -> None:
        if self._known is None:
            self._known = {key async for key in _registered(ask)}
        for key in sorted({key for record in wanted for key in _values(record)} - self._known):
            # A 409 means that it is registered already. If registering fails, the provider refuses the customers that
            # need the key, with its message.
            body = {**_CUSTOMER, "key": key, "enforce_uniqueness": False}
            await ask(Request("POST", f"{_FIELDS}/addKey", f"{_FIELDS}/addKey", body, repeatable=True))
            self._known.add(key)


async def _registered(ask: Ask) -> AsyncIterator[str]:
    """Yield the registered keys, as far as they can be listed: registering a key again is harmless."""
    path, cursor = f"{_FIELDS}/listKeys", ""
    for _ in search_pages(SCHEMA.title):
        params = [("next_page", cursor)] if cursor else []
        reply = await ask(Request("POST", path, path, {"entities": ["customer"]}, params, repeatable=True))
        if not reply.ok:
            return
        for field in reply.body["data"]:
            yield field["key"]
        before, cursor = cursor, cursor_of(reply.body.get("next_page"))
        if cursor in ("", before):
            return


def _failure(reply: Reply) -> Failure:
    try:
        message = str(_error_message(reply.body))
    except (KeyError, TypeError):
        message = f"answered {reply.status}"
    # The status of a change to an archived customer is not documented.
    if reply.status == 404 or "is archived" in message.lower():
        return Failure("gone", f"gone: {message}")
    if reply.status == 409:
        # Only the message distinguishes an alias from a unique custom field. It has the alias, so it is not quoted.
        if "custom field" in message.lower():
            return Failure("refused", "taken: custom_fields")
        return Failure("taken", "taken: aliases")
    return Failure("refused", f"refused: {message}")
