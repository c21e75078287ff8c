"""MarginFront's customers API. Behaviour that is not documented is marked *assumed*.

https://docs.marginfront.com/sdk/customers, https://marginfront.mintlify.app/api-reference/errors,
https://marginfront.mintlify.app/mcp/tools
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from tranship.connectors.sandbox.contract import UUID, Answer, Call, Problem, Route, SandboxApi, answer
from tranship.connectors.sandbox.store import Record, Store, Taken, decode, numbered

PORT: Final = 8703
SWITCHES: Final = {"long": ("kept", "refused"), "list": ("envelope", "bare")}
"""`long=refused`: text of more than 255 characters is answered with 400; it is unknown whether MarginFront has a limit.
`list=bare`: a list is an array without an envelope, which the SDK's types allow."""

_EMAILS: Final = ("email", "billingContactEmail")
_TEXT: Final = (
    *("name", "externalId", "phone", "addressLine1", "addressLine2", "city", "state", "zipCode", "country"),
    *("timezone", "billingContactName", "agentCode", *_EMAILS),
)
_STATUSES: Final = ("active", "inactive", "suspended")
_ADDRESS: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_LONGEST: Final = 255
_BLANK: Final[Record] = {
    **dict.fromkeys(("id", "externalId", "name", "email", "phone")),
    **dict.fromkeys(("addressLine1", "addressLine2", "city", "state", "zipCode", "country")),
    "timezone": "UTC",
    "status": "active",
    **dict.fromkeys(("billingContactName", "billingContactEmail")),
    "netTerms": 30,
    "invoiceEmailRecipients": None,
    "metadata": None,
}
"""A customer without values, with its fields in order."""
_SETTABLE: Final = frozenset(_BLANK) - {"id"}


def api(store: Store, switches: Mapping[str, str]) -> SandboxApi:
    """Return the API. Secret keys (`mf_sk_…`) have all permissions, publishable keys (`mf_pk_…`) only GET verify."""
    front = _MarginFront(store, refuse_long=switches["long"] == "refused", bare=switches["list"] == "bare")
    customer = "/v1/customers/{id}"
    return SandboxApi(
        customers=front.customers,
        routes=[
            Route("GET", "/v1/verify", _verify),
            Route("POST", "/v1/customers", lambda call: Answer(201, front.admit(call.object()))),
            Route("GET", "/v1/customers", front.list, lists=True),
            Route("GET", customer, front.get),
            # The method of an update is assumed: PATCH, and a PUT does the same.
            Route("PATCH", customer, front.update),
            Route("PUT", customer, front.update),
            Route("DELETE", customer, front.delete),
        ],
        key=_key,
        allow=_allow,
        problem=_problem,
        admit=front.admit,
        remove=front.customers.delete,
        example="MF_API_SECRET_KEY=mf_sk_test_1 tranship run marginfront://127.0.0.1:{port} duckdb:///warehouse.duckdb",
        messages={401: "Invalid API key"},
    )


class _MarginFront:
    def __init__(self, store: Store, *, refuse_long: bool, bare: bool) -> None:
        self._store, self._refuse_long, self._bare = store, refuse_long, bare
        self.customers = store.collection(
            "customers",
            unique={"externalId": lambda record: [record["externalId"]] if record.get("externalId") else []},
            text=lambda record: f"{record.get('name')}\n{record.get('externalId') or ''}".lower(),
        )
        self._subscriptions = store.collection("subscriptions", lists=lambda record: [record["customerId"]])

    def admit(self, body: Record) -> bytes:
        """Create a customer and return its JSON. Raises Problem."""
        self._check(body, creating=True)
        time = _stamp(self._store.moment())
        given = {name: value for name, value in body.items() if name in _SETTABLE and value is not None}
        record = {**_BLANK, **given, "id": self._store.uuid(), "createdAt": time, "updatedAt": time}
        stored = self._put(record)
        if agent := body.get("agentCode"):
            subscription = {"id": self._store.uuid(), "customerId": record["id"], "agentCode": agent}
            self._subscriptions.put({**subscription, "status": "active", "createdAt": time})
        return stored

    def get(self, call: Call) -> Answer:
        """Return a customer with its subscriptions."""
        key, body = self._found(call)
        subscriptions = b",".join(self._subscriptions.bodies(self._subscriptions.view(key)))
        return Answer(200, b'%b,"subscriptions":[%b]}' % (body[:-1], subscriptions))

    def list(self, call: Call) -> Answer:
        """Return a page, in the order of creation (assumed)."""
        page, limit = _number(call, "page", 1), _number(call, "limit", 20)
        if limit > 100:
            raise Problem(400, "limit must not be greater than 100")
        view = self.customers.view()
        if needle := call.query("search"):
            view = self.customers.search(needle, view)
        rows = b",".join(self.customers.bodies(numbered(view, page, limit)))
        if self._bare:
            return Answer(200, b"[%b]" % rows)
        # That page and limit are returned is assumed.
        more = b"true" if page * limit < len(view) else b"false"
        form = b'{"data":[%b],"totalResults":%d,"hasMore":%b,"page":%d,"limit":%d}'
        return Answer(200, form % (rows, len(view), more, page, limit))

    def update(self, call: Call) -> Answer:
        """Change the fields sent. Null restores the initial value; metadata is replaced (both assumed)."""
        record = decode(self._found(call)[1])
        body = call.object()
        self._check(body, creating=False)
        for name in _SETTABLE & body.keys():
            record[name] = _BLANK[name] if body[name] is None else body[name]
        record["updatedAt"] = _stamp(self._store.moment())
        return Answer(200, self._put(record))

    def delete(self, call: Call) -> Answer:
        """Delete a customer without active subscriptions. That the deleted customer is returned is assumed."""
        key, body = self._found(call)
        if self._subscriptions.view(key):
            raise Problem(409, "Customer has active subscriptions")
        self.customers.delete(key)
        return Answer(200, body)

    def _found(self, call: Call) -> tuple[str, bytes]:
        key = call.params["id"].lower()
        if not UUID.fullmatch(key):
            raise Problem(400, "Validation failed (uuid is expected)")
        body = self.customers.raw(key)
        if body is None:
            raise Problem(404, "Customer not found")
        return key, body

    def _put(self, record: Record) -> bytes:
        try:
            return self.customers.put(record)
        except Taken:
            raise Problem(409, "Customer with this externalId already exists") from None

    def _check(self, body: Record, *, creating: bool) -> None:
        wrong = []
        if (creating or "name" in body) and body.get("name") in (None, ""):
            wrong.append("name should not be empty")
        for name in _TEXT:
            value = body.get(name)
            if value is None:
                continue
            if not isinstance(value, str):
                wrong.append(f"{name} must be a string")
            elif name in _EMAILS and not _ADDRESS.fullmatch(value):
                wrong.append(f"{name} must be an email")
            elif self._refuse_long and len(value) > _LONGEST:
                wrong.append(f"{name} must be shorter than or equal to {_LONGEST} characters")
        if body.get("status") not in (None, *_STATUSES):
            wrong.append(f"status must be one of the following values: {', '.join(_STATUSES)}")
        terms = body.get("netTerms")
        if isinstance(terms, bool) or not isinstance(terms, int | float | None):
            wrong.append("netTerms must be a number")
        recipients = body.get("invoiceEmailRecipients")
        if not isinstance(recipients, list | None):
            wrong.append("invoiceEmailRecipients must be an array")
        elif not all(isinstance(recipient, str) for recipient in recipients or ()):
            wrong.append("each value in invoiceEmailRecipients must be a string")
        if not isinstance(body.get("metadata"), dict | None):
            wrong.append("metadata must be an object")
        if wrong:
            raise Problem(400, "Bad Request", wrong)


def _verify(_: Call) -> Answer:
    organization = {"id": "00000000-0000-4000-8000-000000000001", "name": "Sandbox"}
    return answer(200, {"verified": True, "organization": organization})


def _key(call: Call) -> str | None:
    key = call.headers.get("x-api-key", "")
    return key if re.fullmatch(r"mf_[sp]k_\S+", key) else None


def _allow(key: str, call: Call) -> None:
    if key.startswith("mf_pk_") and call.route.path != "/v1/verify":
        # It is assumed that a publishable key cannot read customers.
        raise Problem(403, "A publishable key has no access to this endpoint; use a secret key")


def _problem(problem: Problem) -> Any:
    message = problem.details or problem.message
    return {"statusCode": problem.status, "message": message, "error": HTTPStatus(problem.status).phrase}


def _number(call: Call, name: str, default: int) -> int:
    text = call.query(name)
    if text is None:
        return default
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or int(text) < 1:
        raise Problem(400, f"{name} must not be less than 1")
    return int(text)


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
