"""BlackWalnut: reads an app's customers, with a secret (`sk_…`) or public key (`pk_…`) in BLACKWALNUT_API_KEY, and
writes them, with a secret one.

`blackwalnut://host/my-app`: the host is your own instance, behind it stands the app's slug. Without a host
BLACKWALNUT_BASE_URL counts (`https://host/api/v1`), without an app BLACKWALNUT_APP.

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
)
from tranship.connectors.api.pagination import Envelope, Listing, Numbered
from tranship.connectors.api.reconcile import exactly, same
from tranship.connectors.api.spec import ProviderAddress, ProviderSpec, bearer
from tranship.schemas.providers.blackwalnut import SCHEMA

_PAGE: Final = 100
"""The largest that is allowed: https://blackwalnut.dev/docs/api/customers/"""


def _listings(address: ProviderAddress, _: bool) -> list[Listing]:
    envelope = Envelope(("data",), total=("meta", "total"))
    path = f"/apps/{address.options['app']}/customers"
    return [Listing("customers", path, Numbered("page", "per_page", _PAGE), envelope, created="created_at")]


def _said(body: Any) -> str | None:
    error = body["error"]
    return f"{error['code']}: {error['message']}"


def _advice(key: str) -> Mapping[int, str]:
    found = {404: "Check the app's slug behind the host, and that the host is a BlackWalnut instance."}
    if key.startswith("pk_"):
        found[403] = "This is a public key (pk_…), which only reads: set BLACKWALNUT_API_KEY to a secret one (sk_…)."
    return found


def _rights(key: str) -> str | None:
    # https://blackwalnut.dev/docs/api/authentication/
    if key.startswith("sk_"):
        return "a secret key (sk_…): may read and write"
    return "a public key (pk_…): may read, and not write" if key.startswith("pk_") else None


SPEC = ProviderSpec(
    schema=SCHEMA,
    key_variables=("BLACKWALNUT_API_KEY",),
    header=bearer,
    listings=_listings,
    error_message=_said,
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
    """Create, change and delete customers of the address's app, one call each: there is nothing in bulk.

    The create of `get-or-create` is not used: it gives back whoever has the e-mail, and does not say that it is another
    one.
    """
    app = _App(f"/apps/{address.options['app']}/customers")
    return Operations(
        schema=SCHEMA,
        look_up=app.look_up,
        create=app.create,
        created_id=_created_id,
        change=app.change,
        remove=app.remove,
        failure=_failure,
    )


class _App:
    """The customers of one app, which lie under `path`."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def look_up(self, ask: Ask, lookup_key: LookupKey) -> Record | None:
        if lookup_key.external_id is not None:
            return await self._look_up_by_external_id(ask, lookup_key.external_id)
        if lookup_key.id is not None:
            reply = await ask(Request("GET", self._one(lookup_key.id), f"{self._path}/{{id}}"))
        else:
            # The filter of the list finds parts of e-mails, too.
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
            # What was sent has none: somebody else was quicker.
            raise KeyUnavailable("taken: email")
        return customer

    async def _look_up_by_external_id(self, ask: Ask, external_id: str) -> Record | None:
        """By the list and not by `by-external-id`: that external ids are unique is not documented, and a list shows it
        if one has been given to two.
        """
        params = [("external_id", external_id), ("per_page", str(_PAGE))]
        reply = await ask(Request("GET", self._path, f"{self._path}?external_id=…", params=params))
        if not reply.ok:
            raise NotSearchable
        found = [one for one in reply.body["data"] if one.get("external_id") == external_id]
        if len(found) > 1:
            raise AmbiguousMatch
        return found[0] if found else None

    def create(self, wanted: Record) -> Request:
        return Request("POST", self._path, self._path, dict(wanted))

    def change(self, current: Record, wanted: Record) -> list[Request]:
        """With all fields: whether a PUT keeps those that it does not name is not documented."""
        fields, overflow = [one.name for one in SCHEMA.fields if one.settable], SCHEMA.overflow.name
        if all(same(current.get(name), wanted.get(name)) for name in fields) and exactly(
            current.get(overflow), wanted.get(overflow)
        ):
            return []
        # An object is what it takes.
        filled = {**wanted, overflow: wanted.get(overflow) or {}}
        body = {name: filled.get(name) for name in (*fields, overflow) if current.get(name) or filled.get(name)}
        return [Request("PUT", self._one(current["id"]), f"{self._path}/{{id}}", body)]

    def remove(self, current: Record) -> list[Request]:
        return [Request("DELETE", self._one(current["id"]), f"{self._path}/{{id}}")]

    def _one(self, its_id: str) -> str:
        return f"{self._path}/{path_part(its_id)}"


def _created_id(body: Any, _: Record) -> str:
    return str(_customer(body)["id"])


def _customer(body: Any) -> Record:
    """Raises KeyError if it is no customer."""
    one: Record = body["data"]
    if not one["id"]:
        raise KeyError("id")
    return one


_IS_TAKEN: Final = re.compile(r"taken|already|duplicate|unique", re.IGNORECASE)


def _failure(reply: Reply) -> Failure:
    # A duplicate is a 422 or a 409: neither is documented.
    try:
        said = _said(reply.body) or ""
        faults = list(_faults(reply.body["error"].get("details") or {}))
    except (KeyError, TypeError, AttributeError):
        said, faults = f"answered {reply.status}", []
    if reply.status == 404:
        return Failure("gone", f"gone: {said}")
    taken = [name for name, failure in faults if _IS_TAKEN.search(failure)]
    if faults and len(taken) == len(faults):
        return Failure("taken", f"taken: {', '.join(taken)}")
    if reply.status == 409 or (not faults and _IS_TAKEN.search(said)):
        return Failure("taken", f"taken: {said}")
    return Failure("refused", f"refused: {said}")


def _faults(details: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Field and what is wrong with it, each."""
    for name, faults in details.items():
        for failure in faults if isinstance(faults, list) else [faults]:
            yield name, str(failure)
