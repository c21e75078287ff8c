"""GrowPanel's API for raw customers: `/data/customers`, `/data/data-sources`, and the analytics list `/customers`.

There are two dialects. The default is that of the machine-readable specification, from which GrowPanel's own clients
are generated (https://api.growpanel.io/openapi.json); `docs` is that of the older reference
(https://growpanel.io/docs/rest-api/reference/data/customers). They differ in the required fields, the effect of a POST
and the responses. Both are served with and without the prefix `/v1`. Behaviour that neither documents is marked
*assumed*.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import parse_qs

from tranship.connectors.sandbox.contract import Answer, Call, Problem, Route, SandboxApi, answer
from tranship.connectors.sandbox.growpanel_analytics import (
    BASE_CURRENCY,
    analytics_filter,
    analytics_item,
    analytics_record,
)
from tranship.connectors.sandbox.growpanel_customer import REQUIRED, TEXTS, UPDATED, Row, fault, key_of, merged
from tranship.connectors.sandbox.store import Collection, Store, decode

PORT: Final = 8704
SWITCHES: Final = {"dialect": ("spec", "docs"), "limits": ("off", "on"), "account": ("good", "blocked")}
"""`account=blocked`: the trial is over, and every call is answered with 403."""

LARGEST_BODY: Final = 10_000_000
"""Bytes (assumed)."""
MOST_ROWS: Final = 1000
"""Rows of one POST (assumed)."""
PAGE: Final = 50
LARGEST_PAGE: Final = 500
"""Maximum customers of a page of the analytics list; a larger limit is reduced to it (assumed)."""
RATES: Final = {"GET": 300, "POST": 100, "PUT": 100, "DELETE": 50}
"""Calls per minute and account: https://growpanel.io/developers/rest-api/rate-limiting"""

SOURCE_TYPES: Final = ("stripe", "api", "csv", "manual", "google-sheets", "recurly", "chargebee", "alunta")
"""The specification has `csv` where the client has `manual`."""
WITH_TOKEN: Final = ("api", "google-sheets")
"""Types of data sources that are created with a key of their own."""


MAIN: Final = "ds_main"
"""The data source of a new account."""
_VIEWER: Final = "gp_viewer_"
_OF_SOURCE: Final = "gp_source_"
_PIECE: Final = 2000
"""The number of customers of a list that are sent together."""


def api(store: Store, switches: Mapping[str, str]) -> SandboxApi:
    """Return the API. At GrowPanel, keys are opaque; here, keys with the prefix `gp_viewer_` may only read, those of
    data sources begin with `gp_source_`, and all others are an admin's.
    """
    return _GrowPanel(store, older=switches["dialect"] == "docs", blocked=switches["account"] == "blocked").api()


class _GrowPanel:
    def __init__(self, store: Store, *, older: bool, blocked: bool) -> None:
        self._store, self._older, self._blocked = store, older, blocked
        self._customers = store.collection("customers", key=key_of, lists=lambda row: [row["data_source"]])
        self._sources = store.collection("data_sources")
        self._tokens = store.collection("tokens")
        self._sorted: dict[str, tuple[tuple[int, int], list[str]]] = {}
        self._filtered: tuple[int, str | None, Mapping[str, str], list[str]] = (-1, None, {}, [])

    def api(self) -> SandboxApi:
        customers, sources = "/data/customers", ("/data/data-sources", "/data/data_sources")
        routes = [
            Route("GET", "/customers", self._analytics_list, lists=True),
            Route("GET", "/customers/{id:[^/]+}", self._analytics_get),
            Route("GET", customers, self._list, lists=True),
            Route("POST", customers, self._save),
            Route("GET", f"{customers}/{{id:[^/]+}}", self._get),
            Route("PUT", f"{customers}/{{id:[^/]+}}", self._update),
            Route("DELETE", f"{customers}/{{id:[^/]+}}", self._delete),
        ]
        for path in sources:
            source = f"{path}/{{id}}"
            routes += [
                Route("GET", path, self._list_sources),
                Route("POST", path, self._create_source),
                Route("PUT", source, self._update_source),
                Route("DELETE", source, self._delete_source),
                Route("GET", f"{source}/progress", self._progress),
                Route("POST", f"{source}/reset", self._reset_source),
                # There is nothing to import: both are accepted without an effect.
                Route("POST", f"{source}/full-import", self._import),
                Route("POST", f"{source}/abort", self._import),
            ]
        return SandboxApi(
            customers=self._customers,
            routes=[
                Route(route.method, prefix + route.path, route.handler, route.lists)
                for prefix in ("", "/v1")
                for route in routes
            ],
            key=self._key,
            allow=self._allow,
            problem=lambda problem: {"error": problem.message, "message": problem.message},
            admit=self.admit,
            remove=self._customers.delete,
            initialise=self._initialise,
            from_address={"data_source": MAIN},
            rate=RATES,
            retry_after=False,
            messages={429: "Rate limit exceeded"},
            example='GROWPANEL_API_KEY=gp_test tranship run "growpanel://127.0.0.1:{port}?source=ds_main" '
            "duckdb:///w.duckdb",
        )

    # Keys

    def _key(self, call: Call) -> str | None:
        scheme, _, key = call.headers.get("Authorization", "").partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key or (key.startswith(_OF_SOURCE) and key not in self._tokens):
            return None
        return key

    def _allow(self, key: str, call: Call) -> None:
        if self._blocked:
            raise Problem(403, "Account is blocked or trial expired")
        if call.method == "GET":
            return
        if key.startswith(_VIEWER):
            raise Problem(403, "This API key can only read")
        if key.startswith(_OF_SOURCE) and "/data/data" in call.route.path:
            raise Problem(403, "This API key belongs to one data source")

    def _bound(self, call: Call) -> str | None:
        """Return the data source of the call's key; null for a key of the account."""
        token = self._tokens.get(self._key(call) or "")
        return token["data_source"] if token else None

    def _source(self, call: Call) -> str | None:
        """Return the data source of the query, under either name; null without one."""
        named = call.query("source") or call.query("data_source")
        bound = self._bound(call)
        if bound and named and named != bound:
            raise Problem(403, "This API key belongs to another data source")
        if not named and not self._older:
            raise Problem(400, "source is required")
        return named or bound

    # Customers

    def admit(self, body: Row) -> bytes:
        """Save a customer like a POST, and return its JSON. Raises Problem."""
        wrong = self._fault(body, None)
        if wrong:
            raise Problem(400, wrong)
        return self._put(body)

    def _fault(self, row: Row, bound: str | None) -> str | None:
        wrong = fault(row, ("id",) if self._older else REQUIRED)
        if wrong:
            return wrong
        if not self._older and not (row.get("name") or row.get("email")):
            return "name or email is required"
        source = row.get("data_source")
        if not isinstance(source, str) or source not in self._sources or bound not in (None, source):
            return "unknown data source"
        return None

    def _put(self, row: Row) -> bytes:
        old = self._customers.get(key_of(row))
        new = merged(old, row, (*TEXTS, "custom_variables", "data_source"))
        if not new["created_date"]:
            new["created_date"] = self._timestamp()  # optional in the older dialect only
        return self._customers.put(new)

    def _save(self, call: Call) -> Answer:
        body = _within_limit(call).json()
        rows = body if isinstance(body, list) else [body]
        if not all(isinstance(row, dict) for row in rows):
            raise Problem(400, "The body must be a customer or a list of customers")
        if len(rows) > MOST_ROWS:
            raise Problem(400, f"At most {MOST_ROWS} customers at once")
        bound = self._bound(call)
        return self._insert(rows, bound, isinstance(body, list)) if self._older else self._upsert(rows, bound)

    def _upsert(self, rows: list[Row], bound: str | None) -> Answer:
        results = []
        for row in rows:
            wrong = self._fault(row, bound)
            if wrong:
                results.append({**row, "export_status": "error", "export_error": wrong})
            else:
                self._put(row)
                results.append({**row, "export_status": "success"})
        return answer(200, {"result": results})

    def _insert(self, rows: list[Row], bound: str | None, is_list: bool) -> Answer:
        """Insert rows in the older dialect: those that fail are missing in the response; a single one is answered with
        the reason (assumed).
        """
        saved = []
        for sent in rows:
            row = {"data_source": bound or next(iter(self._sources.keys()), None), **sent}
            wrong = self._fault(row, bound)
            if not wrong and key_of(row) in self._customers:
                wrong = "A customer with this id exists"
            if not wrong:
                self._put(row)
                saved.append({"id": row["id"]})
            elif not is_list:
                raise Problem(409 if "exists" in wrong else 400, wrong)
        return answer(201, {"result": {"count": len(saved), "list": saved}})

    def _list(self, call: Call) -> Answer:
        source = self._source(call)
        limit = _number(call, "limit", None)
        keys = self._keys(source or "")[:limit]
        # A snapshot: changes made while it is sent are visible to the next call only.
        rows = [row for row in map(self._customers.raw, keys) if row is not None]
        return Answer(200, _in_pieces(rows))

    def _get(self, call: Call) -> Answer:
        source = self._source(call)
        key = self._place(call.params["id"], source)
        row = self._customers.raw(key) if key else None
        if row is None:
            raise Problem(404, "Not found")
        return Answer(200, row)

    def _update(self, call: Call) -> Answer:
        sent = _within_limit(call).object()
        wrong = fault(sent, ())
        if wrong:
            raise Problem(400, wrong)
        key = self._target(call)
        old = self._customers.get(key) if key else None
        if old is None:
            raise Problem(404, "Customer not found")
        fields = (*TEXTS[1:], "custom_variables") if self._older else UPDATED
        self._customers.put(merged(old, sent, fields))
        if self._older:
            changed = [field for field in sent if field in fields]
            return answer(200, {"result": {"id": old["id"], "updated_fields": changed}})
        return answer(200, {"success": True, "id": old["id"]})

    def _delete(self, call: Call) -> Answer:
        """Delete a customer. An unknown one is not an error (assumed)."""
        key = self._target(call)
        if key:
            self._customers.delete(key)
        customer = call.params["id"]
        if self._older:
            return answer(200, {"result": {"id": customer, "deleted": True}})
        return answer(200, {"success": True, "id": customer})

    def _target(self, call: Call) -> str | None:
        """Return the key of the customer of a PUT or DELETE; the data source is optional (assumed)."""
        named = call.query("source") or call.query("data_source")
        bound = self._bound(call)
        if bound and named and named != bound:
            raise Problem(403, "This API key belongs to another data source")
        return self._place(call.params["id"], named or bound)

    def _place(self, customer: str, source: str | None) -> str | None:
        """Return the key of a customer; of several with this id, that of the oldest data source (assumed)."""
        sources = [source] if source else self._sources.keys()
        return next((key for key in (f"{customer}\0{name}" for name in sources) if key in self._customers), None)

    def _keys(self, source: str) -> list[str]:
        """Return the keys of the customers of a data source (`""`: of all), sorted by id (assumed)."""
        view = self._customers.view(source)
        state = self._store.serial, len(view)
        known, keys = self._sorted.get(source, (None, []))
        if known != state:
            keys = sorted(self._customers.keys(view))
            self._sorted[source] = state, keys
        return keys

    # The analytics view

    def _analytics_list(self, call: Call) -> Answer:
        limit, offset = _number(call, "limit", PAGE) or PAGE, _number(call, "offset", 0, least=0) or 0
        keys = self._wanted(call)[offset : offset + min(limit, LARGEST_PAGE)]
        rows = [row for row in map(self._customers.get, keys) if row is not None]
        items = [analytics_item(row) for row in rows]
        if fields := call.query("fields"):
            shown = {"id", "name", *re.split(r"[\s,]+", fields)}
            items = [{field: value for field, value in item.items() if field in shown} for item in items]
        return answer(200, {"result": {"count": len(items), "list": items}, "currency": BASE_CURRENCY})

    def _wanted(self, call: Call) -> list[str]:
        """Return the keys of the customers that match the filters of the query."""
        query = parse_qs(call.target.partition("?")[2], keep_blank_values=True)
        filters = {name: values[0] for name, values in query.items() if name not in ("limit", "offset", "fields")}
        bound = self._bound(call)
        keys = self._keys(bound or "")
        types = {source["id"]: source["type"] for source in _all(self._sources)}
        try:
            tests = analytics_filter(filters, types)
        except ValueError as error:
            raise Problem(400, str(error)) from None
        if not tests:
            return keys
        if self._filtered[:3] != (self._store.version, bound, filters):
            rows = ((key, self._customers.get(key)) for key in keys)
            found = [key for key, row in rows if row and all(test(row) for test in tests)]
            self._filtered = self._store.version, bound, filters, found
        return self._filtered[3]

    def _analytics_get(self, call: Call) -> Answer:
        key = self._place(call.params["id"], self._bound(call))
        row = self._customers.get(key) if key else None
        if row is None:
            raise Problem(404, "Customer not found")
        return answer(200, analytics_record(row))

    # Data sources

    def _initialise(self) -> None:
        self._sources.put(self._new_source(MAIN, "Main", "api"))

    def _new_source(self, key: str, name: str, kind: str) -> Row:
        time = self._timestamp()
        return {
            **{"id": key, "name": name, "type": kind, "status": "connected", "created_at": time, "updated_at": time},
            **{"import_status": None, "import_started": None},
        }

    def _list_sources(self, call: Call) -> Answer:
        bound, kind = self._bound(call), call.query("type")
        sources = [
            source for source in _all(self._sources) if bound in (None, source["id"]) and kind in (None, source["type"])
        ]
        return answer(200, {"result": sources})

    def _create_source(self, call: Call) -> Answer:
        body = _within_limit(call).json()
        if not isinstance(body, dict):
            raise Problem(400, "Invalid body")
        name, kind = body.get("name"), body.get("type")
        if not (isinstance(name, str) and name):
            raise Problem(400, "name is required")
        if kind not in SOURCE_TYPES:
            raise Problem(400, "Invalid type")
        source = self._new_source(f"ds_{self._store.token(12)}", name, kind)
        self._sources.put(source)
        if kind not in WITH_TOKEN:
            return answer(201, source)
        token = f"{_OF_SOURCE}{self._store.token(32)}"
        self._tokens.put({"id": token, "data_source": source["id"]})
        return answer(201, {**source, "access_token": token})

    def _update_source(self, call: Call) -> Answer:
        source, body = self._existing_source(call), _within_limit(call).object()
        # Only the name can be changed (assumed).
        if "name" in body:
            source |= {"name": body["name"], "updated_at": self._timestamp()}
        return Answer(200, self._sources.put(source))

    def _delete_source(self, call: Call) -> Answer:
        """Delete a data source with its keys and raw customers (assumed). An unknown one is not an error."""
        source = call.params["id"]
        self._empty(source)
        self._sources.delete(source)
        for token in _all(self._tokens):
            if token["data_source"] == source:
                self._tokens.delete(token["id"])
        return Answer(204) if self._older else answer(200, {"success": True, "id": source})

    def _reset_source(self, call: Call) -> Answer:
        source = self._existing_source(call)["id"]
        self._empty(source)
        return answer(200, {"success": True, "id": source})

    def _progress(self, call: Call) -> Answer:
        self._existing_source(call)
        return answer(200, {"phase": "idle", "enqueuedCount": 0, "processedCount": 0, "failedCount": 0})

    def _import(self, call: Call) -> Answer:
        return answer(200, {"success": True, "id": self._existing_source(call)["id"]})

    def _existing_source(self, call: Call) -> Row:
        source = self._sources.get(call.params["id"])
        if source is None or self._bound(call) not in (None, source["id"]):
            raise Problem(404, "Data source not found")
        return source

    def _empty(self, source: str) -> None:
        with self._store.bulk():
            for key in self._customers.keys(list(self._customers.view(source))):
                self._customers.delete(key)

    def _timestamp(self) -> str:
        return self._store.moment().isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _all(collection: Collection) -> list[Row]:
    return [decode(body) for body in collection.bodies(collection.view())]


def _within_limit(call: Call) -> Call:
    if len(call.body) > LARGEST_BODY:
        raise Problem(413, "Payload too large")
    return call


def _number(call: Call, name: str, default: int | None, *, least: int = 1) -> int | None:
    text = call.query(name)
    if text is None:
        return default
    if not re.fullmatch(r"\d{1,12}", text) or int(text) < least:
        raise Problem(400, f"{name} must be a number from {least}")
    return int(text)


def _in_pieces(rows: list[bytes]) -> bytes | Iterator[bytes]:
    """Return the list of customers, in pieces if it is long, as it may have hundreds of megabytes."""
    head = b'{"result":{"count":%d,"list":[' % len(rows)
    if len(rows) <= _PIECE:
        return b"%b%b]}}" % (head, b",".join(rows))
    return _pieces(head, rows)


def _pieces(head: bytes, rows: list[bytes]) -> Iterator[bytes]:
    yield head
    for start in range(0, len(rows), _PIECE):
        yield (b"," if start else b"") + b",".join(rows[start : start + _PIECE])
    yield b"]}}"
