"""MarginFront: reads and writes customers, with a secret key (`mf_sk_…`) in MF_API_SECRET_KEY.

`marginfront://`, or `marginfront://127.0.0.1:8703` for a sandbox. `?page_size=` asks for other pages than of 100.

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
)
from tranship.connectors.api.pagination import Envelope, Listing, Numbered
from tranship.connectors.api.reconcile import exactly, same
from tranship.connectors.api.spec import ProviderAddress, ProviderSpec, api_key, page_size
from tranship.schemas.providers.marginfront import SCHEMA

_PAGE: Final = 100
"""The largest that is allowed: https://marginfront.mintlify.app/mcp/tools"""
_READINGS: Final = 5
"""Of a search that moves while it is read."""


def _listings(address: ProviderAddress, _: bool) -> list[Listing]:
    # `hasMore` is documented, a bare list is what the SDK's type also allows; the reader takes both.
    envelope = Envelope(("data",), total=("totalResults",), more=("hasMore",))
    paging = Numbered("page", "limit", page_size(address, _PAGE))
    return [Listing("customers", "/customers", paging, envelope, created="createdAt")]


def _said(body: Any) -> str | None:
    message = body["message"]
    return "; ".join(message) if isinstance(message, list) else message


def _advice(key: str) -> Mapping[int, str]:
    if key.startswith("mf_pk_"):
        told = (
            "This is a publishable key (mf_pk_…), which reads no customers: set MF_API_SECRET_KEY to a secret one "
            "(mf_sk_…)."
        )
        return {401: told, 403: told}
    return {
        401: "The key in MF_API_SECRET_KEY is not accepted; one of a test environment is not valid in the live one, "
        "and the other way round."
    }


def _rights(key: str) -> str | None:
    return "a secret key (mf_sk_…): may read and write" if key.startswith("mf_sk_") else None


SPEC = ProviderSpec(
    schema=SCHEMA,
    key_variables=("MF_API_SECRET_KEY",),
    header=api_key,
    listings=_listings,
    error_message=_said,
    base_url="https://api.marginfront.com/v1",
    path="/v1",
    base_url_variable="MF_API_BASE_URL",
    options={"page_size": "customers a page"},
    advice=_advice,
    rights=_rights,
)


# Writing -------------------------------------------------------------------------------------------------------------


def build_operations(_: ProviderAddress) -> Operations:
    """Create, change and delete customers, one call each: there is nothing in bulk."""
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
    found = await _search(ask, lookup_key.external_id, lambda one: one.get("externalId") == lookup_key.external_id)
    return found[0] if found else None


async def _look_up_by_email(ask: Ask, lookup_key: LookupKey) -> Record | None:
    """E-mails are neither unique nor searched for: the name is. A customer with an external id is another one."""
    name, email = lookup_key.record.get("name"), str(lookup_key.email).strip().lower()
    if lookup_key.record.get("externalId"):
        return None
    if not name:
        raise NotSearchable

    def fits(one: Record) -> bool:
        return not one.get("externalId") and str(one.get("email")).strip().lower() == email

    found = await _search(ask, name, fits, only=False)
    if len(found) > 1:
        raise AmbiguousMatch
    return found[0] if found else None


async def _search(ask: Ask, text: str, fits: Callable[[Record], bool], *, only: bool = True) -> list[Record]:
    """The customers that fit, of those with the text anywhere in their name or external id; `only`: the first one."""
    before: set[str] = set()
    for _ in range(_READINGS):
        seen: set[str] = set()
        found: list[Record] = []
        page, more = 1, True
        while more:
            params = [("search", text), ("limit", str(_PAGE)), ("page", str(page))]
            reply = await ask(Request("GET", "/customers", "/customers?search=…", params=params))
            if not reply.ok:
                raise NotSearchable
            customers, more = _page(reply.body)
            fresh = [one for one in customers if one["id"] not in seen]
            seen.update(one["id"] for one in fresh)
            found.extend(one for one in fresh if fits(one))
            if found and only:
                return found
            page, more = page + 1, more and bool(fresh)
        # Numbered pages shift when customers come and go: one may have jumped to a page that had been read.
        if page == 2 or seen == before:
            return found
        before = seen
    raise NotSearchable


def _page(body: Any) -> tuple[list[Record], bool]:
    """Customers, and whether there are more."""
    if isinstance(body, list):
        return body, len(body) == _PAGE
    customers = body["data"]
    return customers, bool(body.get("hasMore", len(customers) == _PAGE))


def _create(wanted: Record) -> Request:
    return Request("POST", "/customers", "/customers", dict(wanted))


def _created_id(body: Any, _: Record) -> str:
    return str(_customer(body)["id"])


def _customer(body: Any) -> Record:
    """Bare, or wrapped: the documentation shows no answer. Raises KeyError if it is no customer."""
    one: Record = body["data"] if isinstance(body.get("data"), dict) else body
    if not one["id"]:
        raise KeyError("id")
    return one


def _remove(current: Record) -> list[Request]:
    return [Request("DELETE", _path(current["id"]), _ONE)]


_ONE: Final = "/customers/{id}"


def _path(its_id: str) -> str:
    return f"/customers/{path_part(its_id)}"


def _whole(wanted: Record) -> dict[str, Any]:
    """Every field that can be set, as it should stand: null brings nothing back, where MarginFront fills in a value it
    is that one.
    """
    fields = {one.name: wanted.get(one.name) for one in SCHEMA.fields if one.settable}
    filled_in = {name: _DEFAULTS.get(name) if value is None else value for name, value in fields.items()}
    # Replaced as a whole, and an object is what it takes.
    return {**filled_in, SCHEMA.overflow.name: wanted.get(SCHEMA.overflow.name) or {}}


_DEFAULTS: Final = {
    one.name: msgspec.json.decode(one.default) if one.kind == "number" else one.default
    for one in SCHEMA.fields
    if one.default is not None
}


class _Changes:
    """How a customer is changed: by PATCH, of which the documentation speaks, but not on the page of customers. Where
    there is no such method it is PUT, and then with all fields: that may replace the customer.
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
        said = _words(reply)
        if reply.status == 405 or said.startswith("Cannot PATCH"):
            self._method = "PUT"
            return Failure("again", f"refused: {said}")
        if reply.status == 404:
            return Failure("gone", f"gone: {said}")
        # Of a delete: it has active subscriptions.
        if reply.status == 409 and "subscription" not in said.lower():
            return Failure("taken", "taken: external_id")
        return Failure("refused", f"refused: {said}")


def _words(reply: Reply) -> str:
    try:
        said = _said(reply.body)
    except (KeyError, TypeError):
        said = None
    return said or f"answered {reply.status}"
