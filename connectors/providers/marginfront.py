"""MarginFront: the customers of an account.

Key: MF_API_SECRET_KEY, a secret key (`mf_sk_…`).
Address: `marginfront://`, or `marginfront://127.0.0.1:8703` for a sandbox; `?page_size=` sets the customers per page.
MF_API_BASE_URL replaces a missing host.

https://docs.marginfront.com/sdk/customers, https://marginfront.mintlify.app/api-reference/errors
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from tranship.connectors.api.operations import (
    AmbiguousMatch,
    Ask,
    Failure,
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
from tranship.connectors.api.reconcile import exactly, same
from tranship.connectors.api.spec import ProviderAddress, ProviderSpec, api_key, page_size
from tranship.schemas.providers.marginfront import SCHEMA

_PAGE: Final = 100
"""The maximum: https://marginfront.mintlify.app/mcp/tools"""
_SEARCH_PASSES: Final = 5
"""Maximum complete reads of search results that change meanwhile."""


def _listings(address: ProviderAddress, _: bool) -> list[Listing]:
    # `hasMore` is documented; the SDK's types also allow a bare list. Both are read.
    envelope = Envelope(("data",), total=("totalResults",), more=("hasMore",))
    paging = Numbered("page", "limit", page_size(address, _PAGE))
    return [Listing("customers", "/customers", paging, envelope, created="createdAt")]


def _error_message(body: Any) -> str | None:
    message = body["message"]
    return "; ".join(message) if isinstance(message, list) else message


def _advice(key: str) -> Mapping[int, str]:
    if key.startswith("mf_pk_"):
        advice = (
            "This is a publishable key (mf_pk_…), which cannot read customers: set MF_API_SECRET_KEY to a secret one "
            "(mf_sk_…)."
        )
        return {401: advice, 403: advice}
    return {
        401: "The key in MF_API_SECRET_KEY is not accepted. A key of the test environment is not valid in the live "
        "environment, and vice versa."
    }


def _rights(key: str) -> str | None:
    return "a secret key (mf_sk_…): may read and write" if key.startswith("mf_sk_") else None


SPEC = ProviderSpec(
    schema=SCHEMA,
    key_variables=("MF_API_SECRET_KEY",),
    header=api_key,
    listings=_listings,
    error_message=_error_message,
    base_url="https://api.marginfront.com/v1",
    path="/v1",
    base_url_variable="MF_API_BASE_URL",
    options={"page_size": "customers per page"},
    advice=_advice,
    rights=_rights,
)


# Writing -------------------------------------------------------------------------------------------------------------


def build_operations(_: ProviderAddress) -> Operations:
    """Create, change and delete customers, one call each: there are no bulk calls."""
    changes = _Changes()
    return Operations(
        schema=SCHEMA,
        look_up=_look_up,
        create=_create,
        created_id=_created_id,
        change=changes.change,
        remove=_remove,
        failure=changes.failure,
    )


async def _look_up(ask: Ask, lookup_key: LookupKey) -> Record | None:
    if lookup_key.id is not None:
        reply = await ask(Request("GET", _path(lookup_key.id), _ONE))
        if reply.status == 404:
            return None
        if not reply.ok:
            raise NotSearchable
        return _customer(reply.body)
    if lookup_key.external_id is None:
        return await _look_up_by_email(ask, lookup_key)
    found = await _search(
        ask, lookup_key.external_id, lambda customer: customer.get("externalId") == lookup_key.external_id
    )
    return found[0] if found else None


async def _look_up_by_email(ask: Ask, lookup_key: LookupKey) -> Record | None:
    """Search for the name and compare e-mails, which are neither unique nor searchable. Only customers without an
    external id match.
    """
    name, email = lookup_key.record.get("name"), str(lookup_key.email).strip().lower()
    if lookup_key.record.get("externalId"):
        return None
    if not name:
        raise NotSearchable

    def matches(customer: Record) -> bool:
        return not customer.get("externalId") and str(customer.get("email")).strip().lower() == email

    found = await _search(ask, name, matches, first=False)
    if len(found) > 1:
        raise AmbiguousMatch
    return found[0] if found else None


async def _search(ask: Ask, text: str, matches: Callable[[Record], bool], *, first: bool = True) -> list[Record]:
    """Return the matching customers among those with the text anywhere in their name or external id.

    `first`: stop at the first page with a match. Raises NotSearchable.
    """
    before: set[str] = set()
    for _ in range(_SEARCH_PASSES):
        seen: set[str] = set()
        found: list[Record] = []
        for page in search_pages(SCHEMA.title):
            params = [("search", text), ("limit", str(_PAGE)), ("page", str(page))]
            reply = await ask(Request("GET", "/customers", "/customers?search=…", params=params))
            if not reply.ok:
                raise NotSearchable
            customers, more = _page(reply.body)
            fresh = [customer for customer in customers if customer["id"] not in seen]
            seen.update(customer["id"] for customer in fresh)
            found.extend(customer for customer in fresh if matches(customer))
            if found and first:
                return found
            if not (more and fresh):
                break
        # Numbered pages shift when customers are created or deleted: one may have moved to a page read before.
        if page == 1 or seen == before:
            return found
        before = seen
    raise NotSearchable


def _page(body: Any) -> tuple[list[Record], bool]:
    """Return the customers of a page, and whether more follow."""
    if isinstance(body, list):
        return body, len(body) == _PAGE
    customers = body["data"]
    return customers, bool(body.get("hasMore", len(customers) == _PAGE))


def _create(wanted: Record) -> Request:
    return Request("POST", "/customers", "/customers", dict(wanted))


def _created_id(body: Any, _: Record) -> str:
    customer_id: str = _customer(body)["id"]
    return customer_id


def _customer(body: Any) -> Record:
    """Return the customer in a response, bare or within `data`: the documentation shows no response.

    Raises KeyError if there is none.
    """
    customer: Record = body["data"] if isinstance(body.get("data"), dict) else body
    if not customer["id"]:
        raise KeyError("id")
    return customer


def _remove(current: Record) -> list[Request]:
    return [Request("DELETE", _path(current["id"]), _ONE)]


_ONE: Final = "/customers/{id}"


def _path(customer_id: str) -> str:
    return f"/customers/{path_part(customer_id)}"


def _whole(wanted: Record) -> dict[str, Any]:
    """Return all settable fields: null where the customer has no value, or MarginFront's default if there is one."""
    fields = {field.name: wanted.get(field.name) for field in SCHEMA.fields if field.settable}
    filled_in = {name: _DEFAULTS.get(name) if value is None else value for name, value in fields.items()}
    # Metadata is replaced as a whole, and must be an object.
    return {**filled_in, SCHEMA.overflow.name: wanted.get(SCHEMA.overflow.name) or {}}


_DEFAULTS: Final = {
    field.name: msgspec.json.decode(field.default) if field.kind == "number" else field.default
    for field in SCHEMA.fields
    if field.default is not None
}


class _Changes:
    """Changes customers by PATCH, which the documentation mentions, though not on the page of customers. If that is not
    allowed, by PUT with all fields, as a PUT may replace the customer.
    """

    def __init__(self) -> None:
        self._method = "PATCH"

    def change(self, current: Record, wanted: Record) -> list[Request]:
        whole = _whole(wanted)
        different = {
            name: value
            for name, value in whole.items()
            if not (exactly if name == SCHEMA.overflow.name else same)(current.get(name), value)
        }
        if not different:
            return []
        return [Request(self._method, _path(current["id"]), _ONE, different if self._method == "PATCH" else whole)]

    def failure(self, reply: Reply) -> Failure:
        message = _message(reply)
        if reply.status == 405 or message.startswith("Cannot PATCH"):
            self._method = "PUT"
            return Failure("again", f"refused: {message}")
        if reply.status == 404:
            return Failure("gone", f"gone: {message}")
        # A delete is refused with 409 if the customer has active subscriptions.
        if reply.status == 409 and "subscription" in message.lower():
            return Failure("refused", "has_dependents")
        if reply.status == 409:
            return Failure("taken", "taken: external_id")
        return Failure("refused", f"refused: {message}")


def _message(reply: Reply) -> str:
    try:
        message = _error_message(reply.body)
    except (KeyError, TypeError):
        message = None
    return message or f"answered {reply.status}"
