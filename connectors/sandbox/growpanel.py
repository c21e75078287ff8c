"""GrowPanel's API for raw customers, locally: `/data/customers`, `/data/data-sources`, the analytics list `/customers`.

Two dialects are in use. The default is that of the machine-readable specification, from which GrowPanel's own
clients are made (https://api.growpanel.io/openapi.json); `docs` is that of the older reference
(https://growpanel.io/docs/rest-api/reference/data/customers). They differ in what is required, what a POST means and
how every call is answered; both are served with and without `/v1` in front. What neither says is decided here, and
marked *assumed*.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qs

from tranship.connectors.sandbox.contract import Answer, Call, Problem, Route, SandboxApi, answer
from tranship.connectors.sandbox.growpanel_analytics import (
    BASE_CURRENCY,
    analytics_filter,
    analytics_item,
    analytics_record,
)
from tranship.connectors.sandbox.store import Collection, Store, decode
from tranship.schemas.codes import country_codes

Row = dict[str, Any]

PORT: Final = 8704
SWITCHES: Final = {"dialect": ("spec", "docs"), "limits": ("off", "on"), "account": ("good", "blocked")}
"""`account=blocked`: the trial is over, every call is a 403."""

TEXTS: Final = (
    *("id", "name", "email", "created_date", "country", "state", "trial_started", "paid_started", "cancel_date"),
    *("status", "currency"),
)
"""The fields of a customer that are text or null, as they are answered."""
DATES: Final = ("created_date", "trial_started", "paid_started", "cancel_date")
REQUIRED: Final = ("id", "created_date", "country", "data_source")
UPDATED: Final = ("name", "email", "custom_variables", "status", "currency", "paid_started", "cancel_date")
"""What a PUT changes. The specification has the first three; the others are fields that only the older reference
knows, and are taken in both dialects (assumed)."""

LARGEST_BODY: Final = 10_000_000
"""Bytes (assumed)."""
MOST_ROWS: Final = 1000
"""Rows of one POST (assumed)."""
LONGEST_VARIABLE: Final = 255
LONGEST_VALUE: Final = 1000
"""Characters of a custom variable's name and value (assumed)."""
PAGE: Final = 50
LARGEST_PAGE: Final = 500
"""Of the analytics list, by its specification; a larger limit is taken for this one (assumed)."""
RATES: Final = {"GET": 300, "POST": 100, "PUT": 100, "DELETE": 50}
"""Calls a minute and account: https://growpanel.io/developers/rest-api/rate-limiting"""

SOURCE_TYPES: Final = ("stripe", "api", "csv", "manual", "google-sheets", "recurly", "chargebee", "alunta")
"""The specification has `csv` where the client has `manual`."""
WITH_TOKEN: Final = ("api", "google-sheets")
"""Types of data sources that come with a key of their own."""


# One customer ----------------------------------------------------------------------------------------------------


def fault(row: Row, required: Sequence[str]) -> str | None:
    """What is wrong with a row, in the words of the answer, or null."""
    for field in TEXTS:
        value = row.get(field)
        if value is not None and not isinstance(value, str):
            return f"{field} must be a string"
    for field in required:
        if not row.get(field):
            return f"{field} is required"
    for field in DATES:
        if row.get(field) and not _is_date(row[field]):
            return f"{field} must be an ISO 8601 date"
    if row.get("country") and row["country"].upper() not in country_codes():
        return "country must be an ISO 3166 alpha-2 code"
    return _variables_fault(row.get("custom_variables"))


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _variables_fault(variables: object) -> str | None:
    if variables is None:
        return None
    if not isinstance(variables, dict):
        return "custom_variables must be an object"
    for name, value in variables.items():
        if value is not None and not isinstance(value, str):
            return "custom_variables: values must be strings"
        if len(name) > LONGEST_VARIABLE:
            return f"custom_variables: a key has at most {LONGEST_VARIABLE} characters"
        if value is not None and len(value) > LONGEST_VALUE:
            return f"custom_variables: a value has at most {LONGEST_VALUE} characters"
    return None


def merged(old: Row | None, sent: Row, fields: Sequence[str]) -> Row:
    """The customer after these fields were sent: what was not sent stays, null clears (assumed).

    Custom variables are merged by name, and null removes one (assumed). A status that nobody ever sent follows
    from the dates (assumed).
    """
    new: Row = dict(old) if old else {**dict.fromkeys(TEXTS), "custom_variables": {}, "data_source": None}
    for field in fields:
        if field in sent and field != "custom_variables":
            new[field] = sent[field]
    if "custom_variables" in fields and "custom_variables" in sent:
        variables = sent["custom_variables"]
        kept = {} if variables is None else {**new["custom_variables"], **variables}
        new["custom_variables"] = {name: value for name, value in kept.items() if value is not None}
    if not new["status"] or (old and "status" not in sent and old["status"] == status_by_dates(old)):
        new["status"] = status_by_dates(new)
    return new


def status_by_dates(row: Row) -> str:
    """The status of a customer to whom nobody gave one (assumed)."""
    if row["cancel_date"]:
        return "canceled"
    if row["paid_started"]:
        return "active"
    return "trialing" if row["trial_started"] else "lead"


# The endpoints ---------------------------------------------------------------------------------------------------

MAIN: Final = "ds_main"
"""The data source that an account begins with."""
_VIEWER: Final = "gp_viewer_"
_OF_SOURCE: Final = "gp_source_"
_PIECE: Final = 2000
"""Customers of a list that are sent in one piece."""


def api(store: Store, switches: Mapping[str, str]) -> SandboxApi:
    """Keys are opaque at GrowPanel. Here those that begin with `gp_viewer_` may read, those of data sources are
    `gp_source_…`, and any other one is an admin's.
    """
    return _GrowPanel(store, older=switches["dialect"] == "docs", blocked=switches["account"] == "blocked").api()


class _GrowPanel:
    def __init__(self, store: Store, *, older: bool, blocked: bool) -> None:
        self._store, self._older, self._blocked = store, older, blocked
        self._customers = store.collection("customers", key=_key_of, lists=lambda row: [row["data_source"]])
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
            one = f"{path}/{{id}}"
            routes += [
                Route("GET", path, self._list_sources),
                Route("POST", path, self._create_source),
                Route("PUT", one, self._update_source),
                Route("DELETE", one, self._delete_source),
                Route("GET", f"{one}/progress", self._progress),
                Route("POST", f"{one}/reset", self._reset_source),
                # There is nothing to import from here: both are taken and done at once.
                Route("POST", f"{one}/full-import", self._import),
                Route("POST", f"{one}/abort", self._import),
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
            found=self._found,
            from_address={"data_source": MAIN},
            rate=RATES,
            retry_after=False,
            words={429: "Rate limit exceeded"},
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
        """The data source whose key this is, null for an account's."""
        token = self._tokens.get(self._key(call) or "")
        return token["data_source"] if token else None

    def _source(self, call: Call) -> str | None:
        """The data source that the query names, by either name; null if none."""
        named = call.query("source") or call.query("data_source")
        bound = self._bound(call)
        if bound and named and named != bound:
            raise Problem(403, "This API key belongs to another data source")
        if not named and not self._older:
            raise Problem(400, "source is required")
        return named or bound

    # Customers

    def admit(self, body: Row) -> bytes:
        """Save a customer as a POST would. Gives its JSON; raises Problem."""
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
        old = self._customers.get(_key_of(row))
        new = merged(old, row, (*TEXTS, "custom_variables", "data_source"))
        if not new["created_date"]:
            new["created_date"] = self._now()  # only the older dialect does without
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

    def _insert(self, rows: list[Row], bound: str | None, several: bool) -> Answer:
        """The older dialect: what cannot be inserted is missing in the answer; a single one is answered with the reason
        (assumed).
        """
        saved = []
        for sent in rows:
            row = {"data_source": bound or next(iter(self._sources.keys()), None), **sent}
            wrong = self._fault(row, bound)
            if not wrong and _key_of(row) in self._customers:
                wrong = "A customer with this id exists"
            if not wrong:
                self._put(row)
                saved.append({"id": row["id"]})
            elif not several:
                raise Problem(409 if "exists" in wrong else 400, wrong)
        return answer(201, {"result": {"count": len(saved), "list": saved}})

    def _list(self, call: Call) -> Answer:
        source = self._source(call)
        limit = _whole(call, "limit", None)
        keys = self._keys(source or "")[:limit]
        # Taken together here: what is changed while they are sent is changed for the next call.
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
        """Deleting whom nobody knows is no error (assumed)."""
        key = self._target(call)
        if key:
            self._customers.delete(key)
        customer = call.params["id"]
        if self._older:
            return answer(200, {"result": {"id": customer, "deleted": True}})
        return answer(200, {"success": True, "id": customer})

    def _target(self, call: Call) -> str | None:
        """The key of the customer that a PUT or DELETE means; neither has to name a data source (assumed)."""
        named = call.query("source") or call.query("data_source")
        bound = self._bound(call)
        if bound and named and named != bound:
            raise Problem(403, "This API key belongs to another data source")
        return self._place(call.params["id"], named or bound)

    def _place(self, customer: str, source: str | None) -> str | None:
        """The key of a customer; of several with one id, the one in the data source that was made first (assumed)."""
        sources = [source] if source else self._sources.keys()
        return next((key for key in (f"{customer}\0{one}" for one in sources) if key in self._customers), None)

    def _keys(self, source: str) -> list[str]:
        """The keys of the customers of a data source (`""`: of all), by id (assumed)."""
        view = self._customers.view(source)
        state = self._store.serial, len(view)
        known, keys = self._sorted.get(source, (None, []))
        if known != state:
            keys = sorted(self._customers.keys(view))
            self._sorted[source] = state, keys
        return keys

    # The analytics view

    def _analytics_list(self, call: Call) -> Answer:
        limit, offset = _whole(call, "limit", PAGE) or PAGE, _whole(call, "offset", 0, least=0) or 0
        keys = self._wanted(call)[offset : offset + min(limit, LARGEST_PAGE)]
        rows = [row for row in map(self._customers.get, keys) if row is not None]
        items = [analytics_item(row) for row in rows]
        if fields := call.query("fields"):
            shown = {"id", "name", *re.split(r"[\s,]+", fields)}
            items = [{field: value for field, value in item.items() if field in shown} for item in items]
        return answer(200, {"result": {"count": len(items), "list": items}, "currency": BASE_CURRENCY})

    def _wanted(self, call: Call) -> list[str]:
        """The keys of the customers that pass the filters of the query."""
        query = parse_qs(call.target.partition("?")[2], keep_blank_values=True)
        asked = {name: said[0] for name, said in query.items() if name not in ("limit", "offset", "fields")}
        bound = self._bound(call)
        keys = self._keys(bound or "")
        types = {source["id"]: source["type"] for source in _all(self._sources)}
        try:
            tests = analytics_filter(asked, types)
        except ValueError as error:
            raise Problem(400, str(error)) from None
        if not tests:
            return keys
        if self._filtered[:3] != (self._store.version, bound, asked):
            rows = ((key, self._customers.get(key)) for key in keys)
            found = [key for key, row in rows if row and all(test(row) for test in tests)]
            self._filtered = self._store.version, bound, asked, found
        return self._filtered[3]

    def _analytics_get(self, call: Call) -> Answer:
        key = self._place(call.params["id"], self._bound(call))
        row = self._customers.get(key) if key else None
        if row is None:
            raise Problem(404, "Customer not found")
        return answer(200, analytics_record(row))

    # Data sources

    def _found(self) -> None:
        self._sources.put(self._new_source(MAIN, "Main", "api"))

    def _new_source(self, key: str, name: str, kind: str) -> Row:
        now = self._now()
        return {
            **{"id": key, "name": name, "type": kind, "status": "connected", "created_at": now, "updated_at": now},
            **{"import_status": None, "import_started": None},
        }

    def _list_sources(self, call: Call) -> Answer:
        bound, kind = self._bound(call), call.query("type")
        wanted = [one for one in _all(self._sources) if bound in (None, one["id"]) and kind in (None, one["type"])]
        return answer(200, {"result": wanted})

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
        source, body = self._one_source(call), _within_limit(call).object()
        # The name is all that a person can change (assumed); the rest is the provider's.
        if "name" in body:
            source |= {"name": body["name"], "updated_at": self._now()}
        return Answer(200, self._sources.put(source))

    def _delete_source(self, call: Call) -> Answer:
        """The connection goes, and its keys and raw customers with it (assumed); an unknown one is no error."""
        source = call.params["id"]
        self._empty(source)
        self._sources.delete(source)
        for token in _all(self._tokens):
            if token["data_source"] == source:
                self._tokens.delete(token["id"])
        return Answer(204) if self._older else answer(200, {"success": True, "id": source})

    def _reset_source(self, call: Call) -> Answer:
        source = self._one_source(call)["id"]
        self._empty(source)
        return answer(200, {"success": True, "id": source})

    def _progress(self, call: Call) -> Answer:
        self._one_source(call)
        return answer(200, {"phase": "idle", "enqueuedCount": 0, "processedCount": 0, "failedCount": 0})

    def _import(self, call: Call) -> Answer:
        return answer(200, {"success": True, "id": self._one_source(call)["id"]})

    def _one_source(self, call: Call) -> Row:
        source = self._sources.get(call.params["id"])
        if source is None or self._bound(call) not in (None, source["id"]):
            raise Problem(404, "Data source not found")
        return source

    def _empty(self, source: str) -> None:
        with self._store.bulk():
            for key in self._customers.keys(list(self._customers.view(source))):
                self._customers.delete(key)

    def _now(self) -> str:
        return self._store.moment().isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _key_of(row: Row) -> str:
    """Ids are unique within a data source only; by id comes first in the order."""
    return f"{row['id']}\0{row['data_source']}"


def _all(collection: Collection) -> list[Row]:
    return [decode(body) for body in collection.bodies(collection.view())]


def _within_limit(call: Call) -> Call:
    if len(call.body) > LARGEST_BODY:
        raise Problem(413, "Payload too large")
    return call


def _whole(call: Call, name: str, usual: int | None, *, least: int = 1) -> int | None:
    text = call.query(name)
    if text is None:
        return usual
    if not re.fullmatch(r"\d{1,12}", text) or int(text) < least:
        raise Problem(400, f"{name} must be a number from {least}")
    return int(text)


def _in_pieces(rows: list[bytes]) -> bytes | Iterator[bytes]:
    """The list of customers, in one piece while it is small: all of them at once may be hundreds of megabytes."""
    head = b'{"result":{"count":%d,"list":[' % len(rows)
    if len(rows) <= _PIECE:
        return b"%b%b]}}" % (head, b",".join(rows))
    return _pieces(head, rows)


def _pieces(head: bytes, rows: list[bytes]) -> Iterator[bytes]:
    yield head
    for at in range(0, len(rows), _PIECE):
        yield (b"," if at else b"") + b",".join(rows[at : at + _PIECE])
    yield b"]}}"
