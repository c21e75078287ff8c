"""Metronome: reads and writes customers, with a bearer token in METRONOME_BEARER_TOKEN; archived ones are read where
they are wanted.

`metronome://`, or `metronome://127.0.0.1:8701` for a sandbox; METRONOME_BASE_URL counts where the address names no
host. `?page_size=` asks for other pages than of 100.

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
)
from tranship.connectors.api.pagination import Cursor, Envelope, Listing
from tranship.connectors.api.spec import ProviderAddress, ProviderSpec, bearer, page_size
from tranship.connectors.errors import Malformed
from tranship.schemas.providers.metronome import ALIAS_LENGTH, SCHEMA

_PAGE: Final = 100
"""The largest that is allowed. The pagination page advises 50 for bulk reads, twice the calls of a list in which each
page has to wait for the one before it."""


def _listings(address: ProviderAddress, include_archived: bool) -> list[Listing]:
    paging = Cursor("next_page", "limit", page_size(address, _PAGE))
    envelope = Envelope(("data",), next=("next_page",))

    def listing(name: str, archived: str) -> Listing:
        # There is no list of both, and none says how many there are: a customer that moves from the pages to come to
        # those that were read shows only when the list is read again.
        params = {"only_archived": archived}
        return Listing(name, "/v1/customers", paging, envelope, params, created="created_at", twice=True)

    active = listing("active customers", "false")
    return [active, listing("archived customers", "true")] if include_archived else [active]


def _said(body: Any) -> str | None:
    return str(body["message"])


SPEC: Final = ProviderSpec(
    schema=SCHEMA,
    key_variables=("METRONOME_BEARER_TOKEN",),
    header=bearer,
    listings=_listings,
    error_message=_said,
    base_url="https://api.metronome.com",
    base_url_variable="METRONOME_BASE_URL",
    options={"page_size": "customers a page, at most 100"},
    archived_field="archived_at",
    removal_is_final="archiving cannot be undone: it ends their contracts as of today and voids the invoices",
)


# Writing -------------------------------------------------------------------------------------------------------------

_CUSTOMERS: Final = "/v1/customers"
_ONE: Final = "/v1/customers/{id}"
_FIELDS: Final = "/v1/customFields"
_CUSTOMER: Final = {"entity": "customer"}


def build_operations(_: ProviderAddress) -> Operations:
    """Create, change and archive customers: one call a create, up to five a change, nothing in bulk."""
    search = _Search()
    return Operations(
        schema=SCHEMA,
        look_up=search.look_up,
        create=_create,
        created_id=_created_id,
        change=_change,
        remove=_remove,
        failure=_failure,
        comparable=_compared,
        bulk_lookup=BulkLookup(_PAGE, _look_up_many),
        prepare=_Keys().register,
    )


# Looking


_Marks = frozenset[tuple[str, str]]
"""What tells a customer without an ingest alias from others, as its custom fields have it."""

_MARK: Final = re.compile(r"canon_(external_id|email)(_[0-9]+)?")


class _Search:
    """Finds customers. Those without an ingest alias are found in no other way than by reading all: one reading is for
    all that wait for it.
    """

    def __init__(self) -> None:
        self._one_reads = asyncio.Lock()
        self._readings = 0
        self._wanted: set[_Marks] = set()
        self._found: Mapping[_Marks, Mapping[str, Record]] = {}

    async def look_up(self, ask: Ask, lookup_key: LookupKey) -> Record | None:
        if lookup_key.id is not None:
            reply = await ask(Request("GET", f"{_CUSTOMERS}/{path_part(lookup_key.id)}", _ONE))
            if not reply.ok and reply.status != 404:
                raise NotSearchable
            # An archived one can be read, and never be written to again.
            return _unless_archived(reply.body["data"]) if reply.ok else None
        if lookup_key.external_id is not None and len(lookup_key.external_id) <= ALIAS_LENGTH:
            return await _look_up_by_alias(ask, lookup_key.external_id, lookup_key.record)
        if lookup_key.record.get("ingest_aliases"):
            return None  # it has an id, and e-mails are no keys here
        return await self._look_up_in_all(ask, _marks(lookup_key.record))

    async def _look_up_in_all(self, ask: Ask, marks: _Marks) -> Record | None:
        if not marks:
            raise NotSearchable
        before = self._readings
        self._wanted.add(marks)
        async with self._one_reads:
            if self._readings == before:
                self._readings += 1
                wanted, self._wanted = self._wanted, set()
                self._found = await _read_all(ask, wanted)
            found = list(self._found.get(marks, {}).values())
        if len(found) > 1:
            raise AmbiguousMatch
        return found[0] if found else None


async def _look_up_by_alias(ask: Ask, external_id: str, wanted: Record) -> Record | None:
    """Raises Locked if an alias of the customer is another one's: none can be given to two, nor taken away from one
    that is archived.
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
    found = [one async for one in _listed(ask, params, "ingest_alias") if alias in _aliases(one)]
    if len(found) > 1:
        raise AmbiguousMatch
    return found[0] if found else None


async def _look_up_many(ask: Ask, several: Sequence[LookupKey]) -> list[Record | None]:
    ids = [str(lookup_key.id) for lookup_key in several]
    # Joined as the vendor's clients do it. Archived ones are not in the list.
    params = [("customer_ids", ",".join(ids)), ("only_archived", "false"), ("limit", str(_PAGE))]
    try:
        found = {one["id"]: one async for one in _listed(ask, params, "customer_ids")}
    except NotSearchable as error:
        raise Malformed("Metronome: GET /v1/customers?customer_ids=… is not answered as documented.") from error
    return [found.get(one) for one in ids]


async def _listed(ask: Ask, params: Sequence[tuple[str, str]], label: str = "…") -> AsyncIterator[Record]:
    cursors: list[str | None] = [None]
    while len(cursors) == len(set(cursors)):
        more = [("next_page", cursors[-1])] if cursors[-1] else []
        reply = await ask(Request("GET", _CUSTOMERS, f"{_CUSTOMERS}?{label}=…", params=[*params, *more]))
        if not reply.ok:
            raise NotSearchable
        for one in reply.body["data"]:
            yield one
        if not reply.body["next_page"]:
            return
        cursors.append(reply.body["next_page"])
    raise NotSearchable


def _unless_archived(customer: Record) -> Record | None:
    return customer if customer["archived_at"] is None else None


def _marks(record: Record) -> _Marks:
    return frozenset((key, value) for key, value in _values(record).items() if _MARK.fullmatch(key))


async def _read_all(ask: Ask, wanted: set[_Marks]) -> dict[_Marks, dict[str, Record]]:
    """The customers without an alias that are marked so, by mark and id. No list says how many there are: what is not
    found is looked for twice, for a list may move while it is read.
    """
    found: dict[_Marks, dict[str, Record]] = {}
    for _ in range(2):
        async for one in _listed(ask, [("only_archived", "false"), ("limit", str(_PAGE))], "limit"):
            if not _aliases(one) and (marks := _marks(one)) in wanted:
                found.setdefault(marks, {})[one["id"]] = one
        if found.keys() == wanted:
            break
    return found


# Changing


def _create(wanted: Record) -> Request:
    return Request("POST", _CUSTOMERS, _CUSTOMERS, dict(wanted), keyed=True)


def _created_id(body: Any, _: Record) -> str:
    if not body["data"]["id"]:
        raise ValueError("no id")
    return str(body["data"]["id"])


def _change(current: Record, wanted: Record) -> list[Request]:
    """Each of these comes to the same however often it is sent."""
    its_id, steps = current["id"], []

    def step(name: str, body: Record) -> Request:
        return Request("POST", f"{_CUSTOMERS}/{path_part(its_id)}/{name}", f"{_ONE}/{name}", body, keyed=True)

    # The set is replaced. An alias carries the usage that is sent under it: what the plan does not know of stays.
    aliases = list(dict.fromkeys([*_aliases(wanted), *_aliases(current)]))
    if aliases != _aliases(current):
        steps.append(step("setIngestAliases", {"ingest_aliases": aliases}))
    if wanted["name"] != current["name"]:
        steps.append(step("setName", {"name": wanted["name"]}))
    there, values = _values(current), _values(wanted)
    different = {key: value for key, value in values.items() if there.get(key) != value}
    if different:
        body = {**_CUSTOMER, "entity_id": its_id, "custom_fields": different}
        steps.append(Request("POST", f"{_FIELDS}/setValues", f"{_FIELDS}/setValues", body, keyed=True))
    kept = _metadata(values)
    if gone := [key for key in there if key not in values and kept.get(key) != there[key]]:
        body = {**_CUSTOMER, "entity_id": its_id, "keys": gone}
        steps.append(Request("POST", f"{_FIELDS}/deleteValues", f"{_FIELDS}/deleteValues", body, keyed=True))
    account = _account(wanted)
    if account is not None and account != _account(current):
        steps.append(step("updateConfig", {"salesforce_account_id": account}))
    return steps


def _remove(current: Record) -> list[Request]:
    path = f"{_CUSTOMERS}/archive"
    return [Request("POST", path, path, {"id": current["id"]}, keyed=True)]


def _compared(record: Record) -> Record:
    """The first alias and the set of all: while a change is on its way the others may be those of before and after."""
    aliases = _aliases(record)
    return {**record, "ingest_aliases": {"": aliases[:1], **dict.fromkeys(aliases, True)}}


def _aliases(record: Record) -> list[str]:
    return record.get("ingest_aliases") or []


def _values(record: Record) -> Mapping[str, str]:
    return record.get(SCHEMA.overflow.name) or {}


def _account(record: Record) -> str | None:
    return (record.get("customer_config") or {}).get("salesforce_account_id")


def _metadata(values: Mapping[str, str]) -> Mapping[str, Any]:
    """Entries of metadata that do not stand in fields of their own: ours could be mistaken for them. Where others have
    put them, there they stay.
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
        if part := re.fullmatch(r"canon_metadata(?:_([0-9]+))?", key):
            yield int(part[1] or 0), text


class _Keys:
    """The keys of custom fields, which are registered before a customer can have them."""

    def __init__(self) -> None:
        self._known: set[str] | None = None

    async def register(self, ask: Ask, wanted: Sequence[Record]) -> None:
        if self._known is None:
            self._known = {key async for key in _registered(ask)}
        for key in sorted({key for record in wanted for key in _values(record)} - self._known):
            # That it is registered already is a 409. Without the key the customers that need it are refused, in words.
            body = {**_CUSTOMER, "key": key, "enforce_uniqueness": False}
            await ask(Request("POST", f"{_FIELDS}/addKey", f"{_FIELDS}/addKey", body, repeatable=True))
            self._known.add(key)


async def _registered(ask: Ask) -> AsyncIterator[str]:
    """What is not listed here is registered again, which does no harm."""
    path, cursors = f"{_FIELDS}/listKeys", [""]
    while len(cursors) == len(set(cursors)):
        params = [("next_page", cursors[-1])] if cursors[-1] else []
        reply = await ask(Request("POST", path, path, {"entities": ["customer"]}, params, repeatable=True))
        if not reply.ok:
            return
        for one in reply.body["data"]:
            yield one["key"]
        if not reply.body.get("next_page"):
            return
        cursors.append(reply.body["next_page"])


def _failure(reply: Reply) -> Failure:
    try:
        said = str(_said(reply.body))
    except (KeyError, TypeError):
        said = f"answered {reply.status}"
    # An archived one takes no change; its status is not documented.
    if reply.status == 404 or "is archived" in said.lower():
        return Failure("gone", f"gone: {said}")
    if reply.status == 409:
        # Only the wording tells an alias from a custom field that is unique; it names the alias, so it is not quoted.
        if "custom field" in said.lower():
            return Failure("refused", "taken: custom_fields")
        return Failure("taken", "taken: aliases")
    return Failure("refused", f"refused: {said}")
