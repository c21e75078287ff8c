"""BlackWalnut: the customers of an app.

Key: BLACKWALNUT_API_KEY, a secret key (`sk_…`), or a public one (`pk_…`) for reading only.
Address: `blackwalnut://host/my-app`, your own instance and the app's slug. BLACKWALNUT_BASE_URL (`https://host/api/v1`)
replaces a missing host, BLACKWALNUT_APP a missing slug.

https://blackwalnut.dev/docs/api/customers/, https://blackwalnut.dev/docs/api/authentication/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tranship.connectors.api.operations import (
    AmbiguousMatch,
    Ask,
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
from tranship.connectors.api.reconcile import exactly, same
from tranship.connectors.api.spec import ProviderAddress, ProviderSpec, bearer
from tranship.schemas.providers.blackwalnut import SCHEMA

_PAGE: Final = 100
"""The maximum: https://blackwalnut.dev/docs/api/customers/"""


def _listings(address: ProviderAddress, _: bool) -> list[Listing]:
    envelope = Envelope(("data",), total=("meta", "total"))
    path = f"/apps/{address.options['app']}/customers"
    return [Listing("customers", path, Numbered("page", "per_page", _PAGE), envelope, created="created_at")]


def _error_message(body: Any) -> str | None:
    error = body["error"]
    return f"{error['code']}: {error['message']}"


def _advice(key: str) -> Mapping[int, str]:
    advice = {404: "Check the app's slug after the host, and that the host is a BlackWalnut instance."}
    if key.startswith("pk_"):
        advice[403] = "This is a public key (pk_…), which only reads: set BLACKWALNUT_API_KEY to a secret one (sk_…)."
    return advice


def _rights(key: str) -> str | None:
    # https://blackwalnut.dev/docs/api/authentication/
    if key.startswith("sk_"):
        return "a secret key (sk_…): may read and write"
    return "a public key (pk_…): may read, but not write" if key.startswith("pk_") else None


SPEC = ProviderSpec(
    schema=SCHEMA,
    key_variables=("BLACKWALNUT_API_KEY",),
    header=bearer,
    listings=_listings,
    error_message=_error_message,
    summary="BlackWalnut, an app's customers",
    example="blackwalnut://host/my-app",
    path="/api/v1",
    base_url_variable="BLACKWALNUT_BASE_URL",
    app_variable="BLACKWALNUT_APP",
    advice=_advice,
    rights=_rights,
    unique=("email",),
    removal_is_final="the licences of a deleted customer are deleted with it, for good",
)


# Writing -------------------------------------------------------------------------------------------------------------


def build_operations(address: ProviderAddress) -> Operations:
    """Create, change and delete customers of the address's app, one call each: there are no bulk calls.

    `get-or-create` is not used: if another customer has the e-mail, it returns that one without an indication.
    """
    app = _App(f"/apps/{address.options['app']}")
    return Operations(
        schema=SCHEMA,
        look_up=app.look_up,
        create=app.create,
        created_id=_created_id,
        change=app.change,
        remove=app.remove,
        failure=_failure,
        dependents=app.has_licences,
    )


class _App:
    """The customers and licences of one app, under `path`."""

    def __init__(self, path: str) -> None:
        self._path, self._licences = f"{path}/customers", f"{path}/licenses"

    async def look_up(self, ask: Ask, lookup_key: LookupKey) -> Record | None:
        if lookup_key.external_id is not None:
            return await self._look_up_by_external_id(ask, lookup_key.external_id)
        if lookup_key.id is not None:
            reply = await ask(Request("GET", self._path_of(lookup_key.id), f"{self._path}/{{id}}"))
        else:
            # The filter of the list also matches parts of e-mails.
            path = f"{self._path}/by-email"
            reply = await ask(Request("GET", path, f"{path}?email=…", params=[("email", str(lookup_key.email))]))
        if reply.status == 404:
            return None
        if not reply.ok:
            raise NotSearchable
        customer = _customer(reply.body)
        if lookup_key.email is not None and str(customer["email"]).lower() != lookup_key.email.lower():
            return None
        if (
            lookup_key.possibly_applied
            and customer.get("external_id")
            and lookup_key.id is None
            and not lookup_key.record.get("external_id")
        ):
            # The record sent has no external id: another client has created this customer.
            raise KeyUnavailable("taken: email")
        return customer

    async def _look_up_by_external_id(self, ask: Ask, external_id: str) -> Record | None:
        """Search the list instead of using `by-external-id`: it is not documented that external ids are unique, and the
        list shows whether two customers have the same one.
        """
        params = [("external_id", external_id), ("per_page", str(_PAGE))]
        reply = await ask(Request("GET", self._path, f"{self._path}?external_id=…", params=params))
        if not reply.ok:
            raise NotSearchable
        found = [customer for customer in reply.body["data"] if customer.get("external_id") == external_id]
        if len(found) > 1:
            raise AmbiguousMatch
        return found[0] if found else None

    def create(self, wanted: Record) -> Request:
        return Request("POST", self._path, self._path, dict(wanted))

    def change(self, current: Record, wanted: Record) -> list[Request]:
        """Send all fields: it is not documented whether a PUT keeps missing ones."""
        fields, overflow = [field.name for field in SCHEMA.fields if field.settable], SCHEMA.overflow.name
        if all(same(current.get(name), wanted.get(name)) for name in fields) and exactly(
            current.get(overflow), wanted.get(overflow)
        ):
            return []
        # Metadata must be an object, not null.
        filled = {**wanted, overflow: wanted.get(overflow) or {}}
        body = {name: filled.get(name) for name in (*fields, overflow) if current.get(name) or filled.get(name)}
        return [Request("PUT", self._path_of(current["id"]), f"{self._path}/{{id}}", body)]

    def remove(self, current: Record) -> list[Request]:
        return [Request("DELETE", self._path_of(current["id"]), f"{self._path}/{{id}}")]

    async def has_licences(self, ask: Ask, customer: Record) -> bool:
        """Return whether a customer has licences, which a delete would remove. The list of licences is not documented:
        it is read like that of customers, and its filter is not trusted.
        """
        params = [("customer_id", customer["id"]), ("per_page", str(_PAGE))]
        for page in search_pages(SCHEMA.title):
            numbered = [*params, ("page", str(page))]
            reply = await ask(Request("GET", self._licences, f"{self._licences}?customer_id=…", params=numbered))
            if not reply.ok:
                raise NotSearchable
            licences = reply.body["data"]
            if any(licence["customer_id"] == customer["id"] for licence in licences):
                return True
            if len(licences) < _PAGE:
                return False
        return True

    def _path_of(self, customer_id: str) -> str:
        return f"{self._path}/{path_part(customer_id)}"


def _created_id(body: Any, _: Record) -> str:
    customer_id: str = _customer(body)["id"]
    return customer_id


def _customer(body: Any) -> Record:
    """Return the customer in a response. Raises KeyError if there is none."""
    customer: Record = body["data"]
    if not customer["id"]:
        raise KeyError("id")
    return customer


_IS_TAKEN: Final = re.compile(r"taken|already|duplicate|unique", re.IGNORECASE)


def _failure(reply: Reply) -> Failure:
    # Whether a duplicate is a 422 or a 409 is not documented.
    try:
        message = _error_message(reply.body) or ""
        faults = list(_faults(reply.body["error"].get("details") or {}))
    except (KeyError, TypeError, AttributeError):
        message, faults = f"answered {reply.status}", []
    if reply.status == 404:
        return Failure("gone", f"gone: {message}")
    if faults and all(_IS_TAKEN.search(fault) for _, fault in faults):
        known = [name for name, _ in faults if name in SCHEMA.by_name]
        return Failure("taken", f"taken: {', '.join(known)}" if known else "taken")
    if reply.status == 409 or (not faults and _IS_TAKEN.search(message)):
        named = [field for field in ("email", "external_id") if re.search(rf"\b{field}\b", message, re.IGNORECASE)]
        return Failure("taken", f"taken: {named[0]}" if len(named) == 1 else "taken")
    return Failure("refused", f"refused: {message}")


def _faults(details: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield field and message of each fault."""
    for name, faults in details.items():
        for fault in faults if isinstance(faults, list) else [faults]:
            yield name, str(fault)
