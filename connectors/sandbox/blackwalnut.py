"""BlackWalnut's customers API. Behaviour that is not documented is marked *assumed*.

https://blackwalnut.dev/docs/api, https://blackwalnut.dev/docs/api/customers/,
https://blackwalnut.dev/docs/api/authentication/, https://blackwalnut.dev/docs/licenses/
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from tranship.connectors.sandbox.contract import Answer, Call, Problem, Route, SandboxApi, answer
from tranship.connectors.sandbox.store import Collection, Record, Store, Taken, decode, encode, numbered

PORT: Final = 8705
SWITCHES: Final = {"lenient": ("off", "on")}
"""`lenient=on`: several customers may have the same external id; it is unknown whether BlackWalnut forbids that."""

APPS: Final = ("my-app", "second-app")
"""The slugs of the existing apps."""

_ADDRESS: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_MOST_METADATA: Final = 64 << 10
"""Maximum bytes of a customer's metadata as JSON (assumed)."""
_TERMS: Final = ("duration_days", "expires_at", "forever")
_CODES: Final = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    422: "validation_error",
    429: "rate_limited",
}


def api(store: Store, switches: Mapping[str, str]) -> SandboxApi:
    """Return the API. Secret keys (`sk_…`) have all permissions, public keys (`pk_…`) may only read."""
    lenient = switches["lenient"] == "on"
    walnut = _BlackWalnut(store, lenient=lenient)
    app = "/api/v1/apps/{slug}"
    customers, customer = f"{app}/customers", f"{app}/customers/{{id}}"
    return SandboxApi(
        customers=walnut.apps[APPS[0]],
        routes=[
            Route("GET", "/api/health", lambda _: answer(200, {"status": "ok"}), open=True),
            Route("GET", customers, walnut.list, lists=True),
            Route("POST", customers, walnut.create),
            # Before the routes with ids, which would match these as well.
            Route("GET", f"{customers}/by-email", walnut.by_email),
            Route("GET", f"{customers}/by-external-id", walnut.by_external_id),
            Route("POST", f"{customers}/get-or-create", walnut.get_or_create),
            Route("GET", customer, walnut.get),
            Route("PUT", customer, walnut.update),
            Route("DELETE", customer, walnut.delete),
            Route("POST", f"{app}/licenses", walnut.license),
            Route("GET", f"{app}/licenses", walnut.licenses),
        ],
        key=_key,
        allow=_allow,
        problem=_problem,
        admit=lambda body: walnut.admit(walnut.apps[APPS[0]], body),
        remove=lambda key: walnut.remove(walnut.apps[APPS[0]], key),
        example="BLACKWALNUT_API_KEY=sk_live_1 tranship run blackwalnut://127.0.0.1:{port}/my-app "
        "duckdb:///warehouse.duckdb",
        messages={401: "Invalid or missing API key"},
    )


class _BlackWalnut:
    def __init__(self, store: Store, *, lenient: bool) -> None:
        self._store, self._lenient = store, lenient
        self.apps = {slug: self._customers("customers" if slug == APPS[0] else f"customers/{slug}") for slug in APPS}
        self._licenses = store.collection("licenses", lists=lambda record: [record["customer_id"]])

    def _customers(self, name: str) -> Collection:
        def external_id(record: Record) -> list[str]:
            return [record["external_id"]] if record.get("external_id") else []

        def email(record: Record) -> list[str]:
            # Stored as sent, compared case-insensitively (assumed).
            return [record["email"].lower()] if isinstance(record.get("email"), str) else []

        unique = {"email": email} if self._lenient else {"email": email, "external_id": external_id}
        return self._store.collection(
            name,
            unique=unique,
            lists=external_id if self._lenient else lambda _: (),
            text=lambda record: str(record.get("email")).lower(),
        )

    def list(self, call: Call) -> Answer:
        """Return a page, in the order of creation (assumed)."""
        app = self._app(call)
        page, size = _number(call, "page", 1), min(_number(call, "per_page", 20), 100)
        view: Sequence[int] = app.view()
        if external_id := call.query("external_id"):
            view = self._of_external_id(app, external_id)
        if needle := call.query("email"):
            view = app.search(needle, view)
        rows = b",".join(app.bodies(numbered(view, page, size)))
        meta = b'{"total":%d,"page":%d,"per_page":%d}' % (len(view), page, size)
        return Answer(200, b'{"data":[%b],"meta":%b}' % (rows, meta))

    def create(self, call: Call) -> Answer:
        """Create a customer. The status 201 is assumed."""
        return _data(201, self.admit(self._app(call), call.object()))

    def get_or_create(self, call: Call) -> Answer:
        """Return the customer with this e-mail, unchanged, or create it (assumed)."""
        app, body = self._app(call), call.object()
        _check(body, creating=True)
        owner = app.owner("email", body["email"].lower())
        if owner is None:
            return _data(201, self.admit(app, body))
        return _data(200, app.raw(owner) or b"")

    def get(self, call: Call) -> Answer:
        """Return a customer by its id."""
        app = self._app(call)
        return _data(200, self._found(app, call.params["id"]))

    def by_email(self, call: Call) -> Answer:
        """Return the customer with exactly this e-mail, case-insensitively (assumed)."""
        app = self._app(call)
        return _data(200, self._found(app, app.owner("email", _required(call, "email").lower())))

    def by_external_id(self, call: Call) -> Answer:
        """Return the customer with exactly this external id; of several, the oldest."""
        app = self._app(call)
        keys = app.keys(self._of_external_id(app, _required(call, "external_id"))[:1])
        return _data(200, self._found(app, keys[0] if keys else None))

    def update(self, call: Call) -> Answer:
        """Change the fields sent; metadata is replaced, null clears a field (all assumed)."""
        app = self._app(call)
        record = decode(self._found(app, call.params["id"]))
        body = call.object()
        _check(body, creating=False)
        record.update({name: body[name] for name in ("email", "name", "external_id") if name in body})
        if "metadata" in body:
            record["metadata"] = body["metadata"] or {}
        return _data(200, self._put(app, record))

    def delete(self, call: Call) -> Answer:
        """Delete a customer and all its licences. The empty response is assumed."""
        app = self._app(call)
        self._found(app, call.params["id"])
        self.remove(app, call.params["id"])
        return Answer(204)

    def license(self, call: Call) -> Answer:
        """Create a licence for a customer, only to show that a delete removes it."""
        app, body = self._app(call), call.object()
        wrong = {
            name: ["can't be blank"] for name in ("installation_id", "customer_id", "tier_id") if not body.get(name)
        }
        if not wrong and (not isinstance(body["customer_id"], str) or body["customer_id"] not in app):
            wrong["customer_id"] = ["does not exist"]
        if sum(body.get(name) is not None for name in _TERMS) != 1:
            wrong["expires_at"] = [f"exactly one of {', '.join(_TERMS)} is needed"]
        days = body.get("duration_days")
        if days is not None and (not isinstance(days, int) or not 0 < days < 36_500):
            wrong["duration_days"] = ["is invalid"]
        if wrong:
            raise _invalid(wrong)
        created_at = self._store.moment()
        record = {
            "id": f"lic_{self._store.token(10)}",
            **{name: body[name] for name in ("installation_id", "customer_id", "tier_id")},
            "features": body.get("features") or [],
            "expires_at": _stamp(created_at + timedelta(days=days)) if days else body.get("expires_at"),
            "created_at": _stamp(created_at),
        }
        return _data(201, self._licenses.put(record))

    def licenses(self, call: Call) -> Answer:
        """List the licences of a customer. That this exists, and its form, are assumed."""
        self._app(call)
        view = self._licenses.view(call.query("customer_id") or "")
        rows = b",".join(self._licenses.bodies(view))
        return Answer(200, b'{"data":[%b],"meta":{"total":%d}}' % (rows, len(view)))

    def admit(self, app: Collection, body: Record) -> bytes:
        """Create a customer and return its JSON. Raises Problem."""
        _check(body, creating=True)
        record = {
            "id": f"cus_{self._store.token(10)}",
            **{name: body.get(name) for name in ("email", "name", "external_id")},
            "metadata": body.get("metadata") or {},
            "created_at": _stamp(self._store.moment()),
        }
        return self._put(app, record)

    def remove(self, app: Collection, key: str) -> None:
        """Delete a customer and its licences."""
        for license_key in self._licenses.keys(self._licenses.view(key)):
            self._licenses.delete(license_key)
        app.delete(key)

    def _app(self, call: Call) -> Collection:
        app = self.apps.get(call.params["slug"])
        if app is None:
            raise Problem(404, "App not found")
        return app

    def _found(self, app: Collection, key: str | None) -> bytes:
        body = None if key is None else app.raw(key)
        if body is None:
            raise Problem(404, "Customer not found")
        return body

    def _of_external_id(self, app: Collection, external_id: str) -> Sequence[int]:
        if self._lenient:
            return app.view(external_id)
        owner = app.owner("external_id", external_id)
        return [] if owner is None else [app.rank(owner)]

    def _put(self, app: Collection, record: Record) -> bytes:
        try:
            return app.put(record)
        except Taken as taken:
            # A duplicate is answered with 422, not 409 (assumed).
            raise _invalid({taken.index: ["has already been taken"]}) from None


def _check(body: Record, *, creating: bool) -> None:
    wrong: dict[str, list[str]] = {}
    email = body.get("email")
    if email is None or email == "":
        if creating or "email" in body:
            wrong["email"] = ["can't be blank"]
    elif not isinstance(email, str) or not _ADDRESS.fullmatch(email):
        wrong["email"] = ["is invalid"]
    for name in ("name", "external_id"):
        if not isinstance(body.get(name), str | None):
            wrong[name] = ["is invalid"]
    metadata = body.get("metadata")
    if not isinstance(metadata, dict | None):
        wrong["metadata"] = ["is invalid"]
    elif metadata and len(encode(metadata)) > _MOST_METADATA:
        wrong["metadata"] = ["is too large"]
    if wrong:
        raise _invalid(wrong)


def _invalid(details: dict[str, list[str]]) -> Problem:
    name, faults = next(iter(details.items()))
    return Problem(422, f"{name.replace('_', ' ').capitalize()} {faults[0]}", details)


def _required(call: Call, name: str) -> str:
    value = call.query(name)
    if not value:
        raise _invalid({name: ["can't be blank"]})
    return value


def _data(status: int, body: bytes) -> Answer:
    return Answer(status, b'{"data":%b}' % body)


def _key(call: Call) -> str | None:
    found = re.fullmatch(r"(?i:Bearer) ([sp]k_\S+)", call.headers.get("Authorization", ""))
    return found[1] if found else None


def _allow(key: str, call: Call) -> None:
    if key.startswith("pk_") and call.method != "GET":
        raise Problem(403, "This endpoint requires a secret key (sk_*)")


def _problem(problem: Problem) -> Any:
    code = _CODES.get(problem.status, "internal_error")
    return {"error": {"code": code, "message": problem.message, "details": problem.details or {}}}


def _number(call: Call, name: str, default: int) -> int:
    # An invalid number is ignored (assumed).
    text = call.query(name) or ""
    return int(text) if re.fullmatch(r"\d{1,9}", text, re.ASCII) and int(text) > 0 else default


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
