"""Metrifox: the customers of an account, archived ones on request.

Key: METRIFOX_API_KEY.
Address: `metrifox://`, or `metrifox://127.0.0.1:8702` for a sandbox; `?page_size=` sets the customers per page.

https://docs.metrifox.com/api-reference/customers/post, the package metrifox-sdk 1.3.1,
https://github.com/metrifox/metrifox-js
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from tranship.connectors.api.operations import (
    AmbiguousMatch,
    Ask,
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
    path_part,
    search_pages,
)
from tranship.connectors.api.pagination import Envelope, Listing, Numbered
from tranship.connectors.api.reconcile import same
from tranship.connectors.api.spec import ProviderAddress, ProviderSpec, api_key, page_size
from tranship.schemas.providers.metrifox import SCHEMA

_PAGE: Final = 100
"""The maximum is not documented; if Metrifox returns shorter pages, their length is used."""


def _listings(address: ProviderAddress, _include_archived: bool) -> list[Listing]:
    # One list has all customers, newest first: each customer created meanwhile shifts all pages by one.
    envelope = Envelope(("data",), total=("meta", "total_count"), next=("meta", "next_page"))
    paging = Numbered("page", "per_page", page_size(address, _PAGE))
    return [Listing("customers", "/customers", paging, envelope, created="created_at")]


def _error_message(body: Any) -> str | None:
    return str(body["message"])


SPEC: Final = ProviderSpec(
    schema=SCHEMA,
    key_variables=("METRIFOX_API_KEY",),
    header=api_key,
    listings=_listings,
    error_message=_error_message,
    base_url="https://api.metrifox.com/api/v1",
    path="/api/v1",
    options={"page_size": "customers per page"},
    archived_field="archived_at",
    lists_archived=True,
    unique=("email",),
    immutable=("external_id",),
)


# Writing -------------------------------------------------------------------------------------------------------------

_BULK: Final = 100
"""https://docs.metrifox.com/api-reference/customers/create-multiple-customers-in-a-single-request"""

_CREATES: Final = ("/customers/new", "/customers")
_CHANGES: Final = ("PATCH", "PUT")
"""The spelling of the vendor's clients, and that of the documentation."""

_NOTHING: Final[dict[str, Any]] = {"array": [], "object": {}, "json": {}}
"""Kind → the value that clears such a field; null clears the others."""
_CHANGEABLE: Final = {
    **{field.name: field.kind for field in SCHEMA.fields if field.settable and field.name != "customer_key"},
    SCHEMA.overflow.name: "object",
}


def build_operations(_: ProviderAddress) -> Operations:
    """Create customers in bulk, where each row succeeds or fails independently and an existing customer is never
    changed; change and delete them one by one. A deleted customer is hidden, and its key and e-mail can be used again.
    """
    spelling = _Spelling()
    return Operations(
        schema=SCHEMA,
        look_up=_look_up,
        create=spelling.create,
        created_id=_created_id,
        change=spelling.change,
        remove=lambda current: [Request("DELETE", _path(current["customer_key"]), "/customers/{key}")],
        retire=_archive,
        restore=lambda current, wanted: [*_unarchive(current), *spelling.change(current, wanted)],
        dependents=_has_subscription,
        failure=_failure,
        interpret=spelling.interpret,
        comparable=_comparable,
        bulk=Bulk(_BULK, _bulk_request, _outcomes),
    )


def _archive(current: Record) -> list[Request]:
    return [] if current.get("archived_at") else [_step(current, "archive")]


def _unarchive(current: Record) -> list[Request]:
    return [_step(current, "unarchive")] if current.get("archived_at") else []


def _step(current: Record, name: str) -> Request:
    return Request("POST", f"{_path(current['customer_key'])}/{name}", f"/customers/{{key}}/{name}")


async def _has_subscription(ask: Ask, current: Record) -> bool:
    path = "check-active-subscription"
    reply = await ask(Request("GET", f"{_path(current['customer_key'])}/{path}", f"/customers/{{key}}/{path}"))
    if not reply.ok:
        raise NotSearchable
    return bool(reply.body["data"]["has_active_subscription"])


class _Spelling:
    """The path of a create and the method of a change at this account: documentation and clients disagree."""

    def __init__(self) -> None:
        self._create, self._change = _CREATES[0], _CHANGES[0]

    def create(self, wanted: Record) -> Request:
        return Request("POST", self._create, self._create, dict(wanted))

    def change(self, current: Record, wanted: Record) -> list[Request]:
        """Send the fields that differ; arrays and metadata are sent complete, as they are replaced as a whole."""
        body = _differences(current, wanted)
        return [Request(self._change, _path(current["customer_key"]), "/customers/{key}", body)] if body else []

    def interpret(self, request: Request, reply: Reply) -> Reply:
        """Use the other spelling from now on if the path or method does not exist."""
        if reply.status == 405 or (reply.status == 404 and not _is_of_customer(reply)):
            # A request sent before the spelling changed proves nothing about the new one.
            if request.path == self._create:
                self._create = _other(_CREATES, self._create)
            elif request.method == self._change:
                self._change = _other(_CHANGES, self._change)
        return reply


def _other(spellings: Sequence[str], spelling: str) -> str:
    return spellings[spelling == spellings[0]]


def _is_of_customer(reply: Reply) -> bool:
    """Return whether a 404 is about the customer, not about the path."""
    return "customer" in _message(reply.body).lower()


def _path(key: str) -> str:
    return f"/customers/{path_part(key)}"


# Looking up


async def _look_up(ask: Ask, lookup_key: LookupKey) -> Record | None:
    """Look a customer up by its key, which never changes, or by e-mail if it has no key."""
    if lookup_key.email is not None:
        return await _look_up_by_email(ask, lookup_key.email)
    key = lookup_key.record["customer_key"] if lookup_key.external_id is None else lookup_key.external_id
    reply = await ask(Request("GET", _path(key), "/customers/{key}"))
    if reply.status == 404:
        return None
    if not reply.ok:
        raise NotSearchable
    customer: Record = reply.body["data"]
    # An unknown key is interpreted as an id; and a customer that was deleted and created again has another id.
    if customer["customer_key"] != key or lookup_key.id not in (None, customer["id"]):
        return None
    if lookup_key.id is None and not lookup_key.possibly_applied and customer.get("archived_at"):
        # It is not documented whether lists contain archived customers: the plan does not know this one.
        raise KeyUnavailable("locked: external_id")
    return customer


async def _look_up_by_email(ask: Ask, email: str) -> Record | None:
    """Search for an e-mail, and compare: the search also matches parts of e-mails and names. Raises AmbiguousMatch."""
    seen: dict[str, Record] = {}
    for page in search_pages(SCHEMA.title):
        params = [("search_term", email), ("page", str(page)), ("per_page", str(_PAGE))]
        reply = await ask(Request("GET", "/customers", "/customers?search_term=…", params=params))
        if not reply.ok:
            raise NotSearchable
        customers, known = reply.body["data"], len(seen)
        seen |= {customer["id"]: customer for customer in customers}
        goes_on = (reply.body.get("meta") or {}).get("next_page", len(customers) == _PAGE)
        if not goes_on or len(seen) == known:
            break
    found = [customer for customer in seen.values() if str(customer.get("primary_email")).lower() == email.lower()]
    if len(found) > 1:
        raise AmbiguousMatch
    return found[0] if found else None


# Comparing


def _comparable(record: Record) -> Record:
    """Return a record without empty text, with the primary e-mail in lower case, and without it among the addresses,
    where Metrifox adds it.
    """
    comparable = {name: value for name, value in record.items() if value != ""}
    if email := comparable.get("primary_email"):
        comparable["primary_email"] = str(email).lower()
    return {**comparable, "email_addresses": list(_further(record))}


def _further(record: Record) -> Iterator[Record]:
    """Yield the e-mail addresses other than the primary one."""
    primary = str(record.get("primary_email")).lower()
    for address in record.get("email_addresses") or ():
        if str(address.get("email")).lower() != primary:
            yield {name: value for name, value in address.items() if name != "is_primary"}


def _differences(current: Record, wanted: Record) -> Record:
    before, after = _comparable(current), _comparable(wanted)
    if not wanted.get("email_addresses"):
        after = {**after, "email_addresses": before["email_addresses"]}
    body = {
        name: wanted[name] if name in after else _NOTHING.get(kind)
        for name, kind in _CHANGEABLE.items()
        if not same(before.get(name), after.get(name))
    }
    if "primary_email" in body and not wanted.get("email_addresses"):
        # It is not documented whether the former primary e-mail stays among the addresses.
        primary = {"email": wanted["primary_email"], "is_primary": True}
        body["email_addresses"] = [primary, *({**address, "is_primary": False} for address in _further(current))]
    return body


# Responses


def _created_id(body: Any, wanted: Record) -> str:
    return _id(body["data"], body["data"]["customer_key"], wanted)


def _id(customer: Record, key: str, wanted: Record) -> str:
    """Return the id of a customer. Raises ValueError if it is another customer, or has no id."""
    keys = {key, customer.get("customer_key", key), wanted["customer_key"]}
    if len(keys) > 1 or not customer["id"]:
        raise ValueError("another customer")
    customer_id: str = customer["id"]
    return customer_id


def _bulk_request(wanted: Sequence[Record]) -> Request:
    return Request("POST", "/customers/bulk-create", "/customers/bulk-create", {"customers": list(wanted)})


def _outcomes(body: Any, wanted: Sequence[Record]) -> list[Created | Failure | None]:
    """Return the outcome of each row, by key: only one example shows where `index` starts."""
    data = body["data"]
    created = {row["customer_key"]: row["data"] for row in data["customers_created"]}
    failed = {row["customer_key"]: str(row["error"]) for row in data["customers_failed"]}

    def outcome(record: Record) -> Created | Failure | None:
        key = record["customer_key"]
        if key in failed:
            return _row_failure(failed[key])
        return Created(_id(created[key], key, record)) if key in created else None

    return [outcome(record) for record in wanted]


_IS_TAKEN: Final = re.compile(r"unique|taken|duplicate|already|(?<!not )\bexist", re.IGNORECASE)


def _row_failure(message: str) -> Failure:
    """Return the failure of a row of a bulk create. If it also has other faults, a single create shows them."""
    if not _IS_TAKEN.search(message):
        return Failure("refused", f"refused: {message}")
    return Failure("taken", _taken(message))


def _taken(message: str) -> str:
    text = message.lower()
    return "taken: email" if "email" in text and "key" not in text else "taken: external_id"


def _failure(reply: Reply) -> Failure:
    if reply.status in (404, 405):
        return Failure("gone", f"answered {reply.status}")
    faults = [f"{name} {fault}" for name, fault in _faults(reply.body)]
    message = "; ".join(faults) or _message(reply.body) or f"answered {reply.status}"
    # A duplicate is a 400 with fields and faults in the examples of the clients, a 409 or 422 elsewhere.
    if reply.status == 409 or all(_IS_TAKEN.search(fault) for fault in faults or [message]):
        return Failure("taken", _taken(message))
    return Failure("refused", f"refused: {message}")


def _faults(body: Any) -> Iterator[tuple[str, str]]:
    """Yield field and message of each fault."""
    errors = body.get("errors") if isinstance(body, dict) else None
    for name, faults in errors.items() if isinstance(errors, dict) else ():
        for fault in faults if isinstance(faults, list) else [faults]:
            yield name, str(fault)


def _message(body: Any) -> str:
    return str(body.get("message") or "") if isinstance(body, dict) else ""
