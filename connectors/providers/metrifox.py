"""Metrifox: reads and writes customers, with a key in METRIFOX_API_KEY; archived ones too where they are wanted.

`metrifox://`, or `metrifox://127.0.0.1:8702` for a sandbox. `?page_size=` asks for other pages than of 100.

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
)
from tranship.connectors.api.pagination import Envelope, Listing, Numbered
from tranship.connectors.api.reconcile import same
from tranship.connectors.api.spec import ProviderAddress, ProviderSpec, api_key, page_size
from tranship.schemas.providers.metrifox import SCHEMA

_PAGE: Final = 100
"""The largest page is not documented; where Metrifox gives shorter ones, the reader goes by their length."""


def _listings(address: ProviderAddress, _include_archived: bool) -> list[Listing]:
    # One list holds all. The newest come first: each customer that is created meanwhile shifts all pages by one.
    envelope = Envelope(("data",), total=("meta", "total_count"), next=("meta", "next_page"))
    paging = Numbered("page", "per_page", page_size(address, _PAGE))
    return [Listing("customers", "/customers", paging, envelope, created="created_at")]


def _said(body: Any) -> str | None:
    return str(body["message"])


SPEC: Final = ProviderSpec(
    schema=SCHEMA,
    key_variables=("METRIFOX_API_KEY",),
    header=api_key,
    listings=_listings,
    error_message=_said,
    base_url="https://api.metrifox.com/api/v1",
    path="/api/v1",
    options={"page_size": "customers a page"},
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
"""As the vendor's clients spell it, and as the documentation does."""

_NOTHING: Final[dict[str, Any]] = {"array": [], "object": {}, "json": {}}
"""What empties a field of a kind; null does for the others."""
_CHANGEABLE: Final = {
    **{one.name: one.kind for one in SCHEMA.fields if one.settable and one.name != "customer_key"},
    SCHEMA.overflow.name: "object",
}


def build_operations(_: ProviderAddress) -> Operations:
    """Creates go in bulk, where each row is taken or refused for itself and one whose key is there is never changed.

    The other calls are for one customer each. Deleting one hides it at Metrifox, and makes its key and e-mail free.
    """
    spelling = _Spelling()
    return Operations(
        schema=SCHEMA,
        look_up=_look_up,
        create=spelling.create,
        created_id=_created_id,
        change=spelling.change,
        remove=lambda current: [Request("DELETE", _one(current["customer_key"]), "/customers/{key}")],
        failure=_failure,
        interpret=spelling.interpret,
        comparable=_compared,
        bulk=Bulk(_BULK, _together, _outcomes),
    )


class _Spelling:
    """How this account's API spells a create and a change: documentation and clients disagree."""

    def __init__(self) -> None:
        self._create, self._change = _CREATES[0], _CHANGES[0]

    def create(self, wanted: Record) -> Request:
        return Request("POST", self._create, self._create, dict(wanted))

    def change(self, current: Record, wanted: Record) -> list[Request]:
        """The fields that differ, arrays and metadata whole: that is how they are replaced."""
        body = _differences(current, wanted)
        return [Request(self._change, _one(current["customer_key"]), "/customers/{key}", body)] if body else []

    def interpret(self, request: Request, reply: Reply) -> Reply:
        """Spell it the other way from now on, if there is no such path or verb."""
        if reply.status == 405 or (reply.status == 404 and not _is_of_customer(reply)):
            # One that was on its way when the spelling changed says nothing of the new one.
            if request.path == self._create:
                self._create = _other(_CREATES, self._create)
            elif request.method == self._change:
                self._change = _other(_CHANGES, self._change)
        return reply


def _other(spellings: Sequence[str], one: str) -> str:
    return spellings[one == spellings[0]]


def _is_of_customer(reply: Reply) -> bool:
    """Whether a 404 says that there is no such customer, and not that there is no such path."""
    return "customer" in _message(reply.body).lower()


def _one(key: str) -> str:
    return f"/customers/{path_part(key)}"


# Looking


async def _look_up(ask: Ask, lookup_key: LookupKey) -> Record | None:
    """By the key, which never changes; by e-mail where there is none."""
    if lookup_key.email is not None:
        return await _look_up_by_email(ask, lookup_key.email)
    key = lookup_key.record["customer_key"] if lookup_key.external_id is None else lookup_key.external_id
    reply = await ask(Request("GET", _one(key), "/customers/{key}"))
    if reply.status == 404:
        return None
    if not reply.ok:
        raise NotSearchable
    customer: Record = reply.body["data"]
    # A key that nobody has is taken for an id; and who was deleted and made anew is another one.
    if customer["customer_key"] != key or lookup_key.id not in (None, customer["id"]):
        return None
    if lookup_key.id is None and not lookup_key.possibly_applied and customer.get("archived_at"):
        # Whether lists hold those that are archived is not documented: the plan has not seen this one.
        raise KeyUnavailable("locked: external_id")
    return customer


async def _look_up_by_email(ask: Ask, email: str) -> Record | None:
    """The search finds parts of e-mails and of names, too."""
    seen: dict[str, Record] = {}
    for page in range(1, 1_000_000):
        params = [("search_term", email), ("page", str(page)), ("per_page", str(_PAGE))]
        reply = await ask(Request("GET", "/customers", "/customers?search_term=…", params=params))
        if not reply.ok:
            raise NotSearchable
        customers, known = reply.body["data"], len(seen)
        seen |= {one["id"]: one for one in customers}
        goes_on = (reply.body.get("meta") or {}).get("next_page", len(customers) == _PAGE)
        if not goes_on or len(seen) == known:
            break
    found = [one for one in seen.values() if str(one.get("primary_email")).lower() == email.lower()]
    if len(found) > 1:
        raise AmbiguousMatch
    return found[0] if found else None


# Comparing


def _compared(record: Record) -> Record:
    """Without the primary e-mail among the addresses, where Metrifox puts it by itself; how e-mails are cased, and
    whether a text is empty or null, says nothing.
    """
    said = {name: value for name, value in record.items() if value != ""}
    if email := said.get("primary_email"):
        said["primary_email"] = str(email).lower()
    return {**said, "email_addresses": list(_further(record))}


def _further(record: Record) -> Iterator[Record]:
    """The e-mail addresses beside the primary one."""
    primary = str(record.get("primary_email")).lower()
    for one in record.get("email_addresses") or ():
        if str(one.get("email")).lower() != primary:
            yield {name: value for name, value in one.items() if name != "is_primary"}


def _differences(current: Record, wanted: Record) -> Record:
    there, new = _compared(current), _compared(wanted)
    if not wanted.get("email_addresses"):
        new = {**new, "email_addresses": there["email_addresses"]}
    body = {
        name: wanted[name] if name in new else _NOTHING.get(kind)
        for name, kind in _CHANGEABLE.items()
        if not same(there.get(name), new.get(name))
    }
    if "primary_email" in body and not wanted.get("email_addresses"):
        # Whether the former one would stay among them is not documented.
        primary = {"email": wanted["primary_email"], "is_primary": True}
        body["email_addresses"] = [primary, *({**one, "is_primary": False} for one in _further(current))]
    return body


# Answers


def _created_id(body: Any, wanted: Record) -> str:
    return _id(body["data"], body["data"]["customer_key"], wanted)


def _id(customer: Record, key: str, wanted: Record) -> str:
    """Raises ValueError if the answer is of another customer, or has no id."""
    if key != wanted["customer_key"] or not customer["id"]:
        raise ValueError("another customer")
    return str(customer["id"])


def _together(wanted: Sequence[Record]) -> Request:
    return Request("POST", "/customers/bulk-create", "/customers/bulk-create", {"customers": list(wanted)})


def _outcomes(body: Any, wanted: Sequence[Record]) -> list[Created | Failure | None]:
    """By key: what `index` counts from is shown in one example only."""
    data = body["data"]
    created = {one["customer_key"]: one["data"] for one in data["customers_created"]}
    failed = {one["customer_key"]: str(one["error"]) for one in data["customers_failed"]}

    def outcome(record: Record) -> Created | Failure | None:
        key = record["customer_key"]
        if key in failed:
            return _row_failure(failed[key])
        return Created(_id(created[key], key, record)) if key in created else None

    return [outcome(record) for record in wanted]


_IS_TAKEN: Final = re.compile(r"unique|taken|duplicate|already|(?<!not )\bexist", re.IGNORECASE)


def _row_failure(said: str) -> Failure:
    """Of a row of a bulk create. One that speaks of other things, too, is told what they are by a create of its own."""
    if not _IS_TAKEN.search(said):
        return Failure("refused", f"refused: {said}")
    return Failure("taken", _taken(said))


def _taken(said: str) -> str:
    return "taken: email" if "email" in said.lower() and "key" not in said.lower() else "taken: external_id"


def _failure(reply: Reply) -> Failure:
    if reply.status in (404, 405):
        return Failure("gone", f"answered {reply.status}")
    faults = [f"{name} {word}" for name, word in _faults(reply.body)]
    said = "; ".join(faults) or _message(reply.body) or f"answered {reply.status}"
    # A 400 in the clients' examples, with the fields and what is wrong with each; a 409 or 422 elsewhere.
    if reply.status == 409 or all(_IS_TAKEN.search(one) for one in faults or [said]):
        return Failure("taken", _taken(said))
    return Failure("refused", f"refused: {said}")


def _faults(body: Any) -> Iterator[tuple[str, str]]:
    """Field and what is wrong with it, each."""
    errors = body.get("errors") if isinstance(body, dict) else None
    for name, words in errors.items() if isinstance(errors, dict) else ():
        for word in words if isinstance(words, list) else [words]:
            yield name, str(word)


def _message(body: Any) -> str:
    return str(body.get("message") or "") if isinstance(body, dict) else ""
