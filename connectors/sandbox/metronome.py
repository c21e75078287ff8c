"""Metronome's customers API. Behaviour that is not documented is marked *assumed*.

https://docs.metronome.com/api-reference/customers/list-customers,
https://docs.metronome.com/api-reference/idempotency, https://docs.metronome.com/api-reference/status-codes
"""

from __future__ import annotations

import base64
import re
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Set
from hashlib import blake2b
from typing import Any, Final, TypeGuard

from tranship.connectors.sandbox.contract import UUID, Answer, Call, Problem, Route, SandboxApi, answer
from tranship.connectors.sandbox.metronome_billing import READING, Billing
from tranship.connectors.sandbox.metronome_values import object_of, one_of, stamp, text_of
from tranship.connectors.sandbox.store import Ranks, Record, Store, Taken, decode, encode, following
from tranship.schemas.providers.metronome import ALIAS_LENGTH, ALIASES, KEY_LENGTH, NAME_LENGTH, VALUE_LENGTH

PORT: Final = 8701
SWITCHES: Final = {"billable_status": ("hidden", "shown"), "retry_hint": ("none", "no")}
"""`billable_status=shown`: customers have `current_billable_status`, as in some accounts. `retry_hint=no`: a 409 has
the header `x-should-retry: false`, so that the vendor's clients do not repeat the request."""

IDS: Final = 100
"""Maximum ids in a filter of a list."""
LIMIT: Final = 100
"""Maximum customers of a page."""
USUAL_LIMIT: Final = 50
"""Customers of a page by default (assumed)."""
KEYS_IN_A_PAGE: Final = 100
"""Custom field keys of a page (assumed); the call has no parameter for it."""

_SHORT: Final = ("id", "external_id", "ingest_aliases", "name", "custom_fields")
"""The fields of a customer in the responses of create and rename."""
_ENTITIES: Final = frozenset(
    (
        *("alert", "billable_metric", "charge", "commit", "contract", "contract_credit", "contract_product"),
        *("credit_grant", "customer", "customer_plan", "discount", "invoice", "package_commit"),
        *("package_credit", "package_scheduled_charge", "package_subscription", "plan", "product"),
        *("professional_service", "rate_card", "scheduled_charge", "subscription"),
    )
)
_READING_POSTS: Final = ("/v1/customFields/listKeys", READING)
_NOT_KEPT: Final = (401, 403, 429)
"""Statuses of calls that were not admitted: they do not use up an idempotency key (assumed)."""


def api(store: Store, switches: Mapping[str, str]) -> SandboxApi:
    """Return the API. Any bearer token has all permissions; one with the prefix `ro_` may only read (assumed)."""
    return _Metronome(store, switches).api()


class _Metronome:
    def __init__(self, store: Store, switches: Mapping[str, str]) -> None:
        self._store = store
        self._shows_billable = switches["billable_status"] == "shown"
        self._conflict_headers = {"x-should-retry": "false"} if switches["retry_hint"] == "no" else {}
        self._running: set[str] = set()
        self._known_keys: tuple[tuple[int, int], Set[str]] = (0, 0), frozenset()
        self._customers = store.collection("customers", unique={"alias": _aliases_of}, lists=_lists_of)
        self._keys = store.collection(
            "custom_field_keys",
            key=lambda record: _key_of(record["entity"], record["key"]),
            lists=lambda record: [record["entity"], *(["unique"] if record["enforce_uniqueness"] else [])],
        )
        # The owner of each value of a key that enforces uniqueness.
        self._claims = store.collection("unique_values", key=lambda record: _key_of(record["key"], record["value"]))
        self._billing = Billing(store, self._known, self._writable)
        self._drafts = store.collection("leave_stripe_invoices_in_draft")
        self._answers = store.collection("idempotency_keys", key=lambda record: str(record["key"]))

    def api(self) -> SandboxApi:
        customer = "/v1/customers/{id}"
        return SandboxApi(
            customers=self._customers,
            routes=[
                Route("POST", "/v1/customers", self._create),
                Route("GET", "/v1/customers", self._list, lists=True),
                Route("POST", "/v1/customers/archive", self._archive),
                Route("GET", customer, self._get),
                Route("POST", f"{customer}/setName", self._set_name),
                Route("POST", f"{customer}/setIngestAliases", self._set_aliases),
                Route("POST", f"{customer}/updateConfig", self._update_config),
                Route("POST", "/v1/customFields/addKey", self._add_key),
                Route("POST", "/v1/customFields/listKeys", self._list_keys),
                Route("POST", "/v1/customFields/removeKey", self._remove_key),
                Route("POST", "/v1/customFields/setValues", self._set_values),
                Route("POST", "/v1/customFields/deleteValues", self._delete_values),
                *self._billing.routes(),
            ],
            key=_token,
            allow=_allow,
            problem=lambda problem: {"message": problem.message},
            admit=self.admit,
            remove=self._retire,
            around=self._once,
            example="METRONOME_BEARER_TOKEN=t tranship run metronome://127.0.0.1:{port} duckdb:///warehouse.duckdb",
        )

    def admit(self, body: Record) -> Record:
        """Create a customer, after registering its custom field keys, and return it. Raises Problem."""
        for key in sorted(body.get("custom_fields", {}).keys() - self._customer_keys()):
            self._register("customer", key, unique=False)
        return self._made(body)

    async def _once(self, call: Call, execute: Callable[[], Awaitable[Answer]]) -> Answer:
        """Answer a repeated idempotency key with the stored response, including errors such as 500:
        https://docs.metronome.com/api-reference/idempotency."""
        key = call.headers.get("Idempotency-Key")
        if call.method != "POST" or not key or _token(call) is None:
            return self._hinted(await execute())
        request = blake2b(call.target.encode() + b"\n" + call.body, digest_size=16).hexdigest()
        kept = self._answers.get(key)
        if kept is not None and kept["request"] == request:
            return self._hinted(Answer(kept["status"], kept["body"].encode()))
        if kept is not None or key in self._running:
            why = "is in use by a call that still runs" if kept is None else "was used with other parameters"
            return self._hinted(answer(409, {"message": f"This idempotency key {why}"}))
        self._running.add(key)
        try:
            reply = await execute()
        finally:
            self._running.discard(key)
        if reply.status not in _NOT_KEPT:
            body = reply.body if isinstance(reply.body, bytes) else b"".join(reply.body)
            self._answers.put({"key": key, "request": request, "status": reply.status, "body": body.decode()})
        return self._hinted(reply)

    def _hinted(self, reply: Answer) -> Answer:
        return reply._replace(headers={**reply.headers, **self._conflict_headers}) if reply.status == 409 else reply

    # Customers

    def _create(self, call: Call) -> Answer:
        return _short(self._made(call.object()))

    def _made(self, body: Record) -> Record:
        name = text_of(body, "name")[:NAME_LENGTH]
        aliases = _first(text_of(body, "external_id", ALIAS_LENGTH) if "external_id" in body else None, _aliases(body))
        fields = self._fields(body.get("custom_fields", {}))
        config = object_of(body, "customer_config")
        # `customer_config` is not in the vendor's client; that it is accepted here is assumed.
        account = text_of(config, "salesforce_account_id") if config.get("salesforce_account_id") is not None else None
        customer = self._store.uuid()
        put_billing = self._billing.prepared(body, customer)
        time = stamp(self._store.moment())
        record = {
            "id": customer,
            "external_id": aliases[0] if aliases else customer,
            "ingest_aliases": aliases,
            "name": name,
            "custom_fields": fields,
            "customer_config": {"salesforce_account_id": account},
            "created_at": time,
            "updated_at": time,
            "archived_at": None,
        }
        if self._shows_billable:
            record["current_billable_status"] = {"value": "billable", "effective_at": None}
        self._put(record)
        put_billing()
        return record

    def _get(self, call: Call) -> Answer:
        return Answer(200, b'{"data":%b}' % self._raw(call.params["id"]))

    def _list(self, call: Call) -> Answer:
        limit, archived = _limit(call), _truth(call, "only_archived")
        ids, accounts = _several(call, "customer_ids"), _several(call, "salesforce_account_ids")
        alias = call.query("ingest_alias")
        if any(not UUID.fullmatch(customer_id) for customer_id in ids or ()):
            raise Problem(400, "customer_ids must be UUIDs")
        view = self._customers.view("archived" if archived else "active")
        if alias is not None:
            owner = self._customers.owner("alias", alias)
            view = _both(self._customers.ranks([owner] if owner else []), view)
        if ids is not None:
            view = _both(self._customers.ranks(customer_id.lower() for customer_id in ids), view)
        if accounts is not None:
            found: set[int] = set().union(*(self._customers.view(_account(account)) for account in accounts))
            view = _both(sorted(found), view)
        filters = encode([archived, alias, ids, accounts])
        page, more = following(view, _place(call, filters), limit)
        cursor = encode(_cursor(page[-1], filters)) if more else b"null"
        return Answer(200, b'{"data":[%b],"next_page":%b}' % (b",".join(self._customers.bodies(page)), cursor))

    def _set_name(self, call: Call) -> Answer:
        record = self._writable(call.params["id"])
        return _short(self._changed(record, name=text_of(call.object(), "name")[:NAME_LENGTH]))

    def _set_aliases(self, call: Call) -> Answer:
        record, body = self._writable(call.params["id"]), call.object()
        if "ingest_aliases" not in body:
            raise Problem(400, "ingest_aliases is required")
        aliases = _first(None, _aliases(body))
        if aliases != record["ingest_aliases"]:
            self._changed(record, ingest_aliases=aliases, external_id=aliases[0] if aliases else record["id"])
        return Answer(200)

    def _update_config(self, call: Call) -> Answer:
        record, body = self._writable(call.params["id"]), call.object()
        account, draft = body.get("salesforce_account_id"), body.get("leave_stripe_invoices_in_draft")
        if not isinstance(account, str | None):
            raise Problem(400, "salesforce_account_id must be a string or null")
        if not isinstance(draft, bool | None):
            raise Problem(400, "leave_stripe_invoices_in_draft must be a boolean or null")
        if "salesforce_account_id" in body:
            self._changed(record, customer_config={**record["customer_config"], "salesforce_account_id": account})
        if "leave_stripe_invoices_in_draft" in body:
            self._drafts.put({"id": record["id"], "leave_stripe_invoices_in_draft": draft})
        return Answer(200)

    def _archive(self, call: Call) -> Answer:
        record = self._writable(text_of(call.object(), "id"))
        self._changed(record, archived_at=stamp(self._store.moment()))
        return answer(200, {"data": {"id": record["id"]}})

    def _retire(self, customer: str) -> None:
        record = self._customers.get(customer)
        if record is not None and record.get("archived_at") is None:
            self._changed(record, archived_at=stamp(self._store.moment()))

    def _raw(self, customer: object) -> bytes:
        if not isinstance(customer, str) or not UUID.fullmatch(customer):
            raise Problem(400, "The customer's id must be a UUID")
        raw = self._customers.raw(customer.lower())
        if raw is None:
            raise Problem(404, "Customer not found")
        return raw

    def _known(self, customer: object) -> str:
        return str(decode(self._raw(customer))["id"])

    def _writable(self, customer: object) -> Record:
        record: Record = decode(self._raw(customer))
        if record.get("archived_at") is not None:
            raise Problem(400, "Customer is archived")
        return record

    def _changed(self, record: Record, **fields: Any) -> Record:
        was = record["custom_fields"]
        record.update(fields, updated_at=stamp(self._store.moment()))
        self._put(record, was)
        return record

    def _put(self, record: Record, was: Mapping[str, str] | None = None) -> None:
        """Store a customer. `was`: its previous custom fields."""
        claims = self._claimed(record["id"], record["custom_fields"])
        try:
            self._customers.put(record)
        except Taken as taken:
            # The message is assumed.
            raise Problem(409, f"Ingest alias already in use: {taken.value}") from None
        for gone in self._claimed(record["id"], was or {}):
            self._claims.delete(_key_of(gone["key"], gone["value"]))
        for claim in claims:
            self._claims.put(claim)

    def _claimed(self, customer: str, fields: Mapping[str, str]) -> list[Record]:
        """Return the unique values of a customer. Raises Problem 409 (assumed) if another customer has one of them."""
        claims = []
        for entity_key in self._keys.keys(self._keys.view("unique")):
            entity, key = entity_key.split("\0", 1)
            if entity == "customer" and key in fields:
                claim = {"key": key, "value": fields[key], "customer": customer}
                owner = self._claims.get(_key_of(key, fields[key]))
                if owner is not None and owner["customer"] != customer:
                    raise Problem(409, f"Custom field value already in use: {key}")
                claims.append(claim)
        return claims

    # Custom fields

    def _fields(self, fields: object) -> dict[str, str]:
        if not isinstance(fields, dict):
            raise Problem(400, "custom_fields must be an object")
        self._registered(fields)
        for key, value in fields.items():
            if not isinstance(value, str) or len(value) > VALUE_LENGTH:
                raise Problem(400, f"Custom field {key} must be a string of at most {VALUE_LENGTH} characters")
        return fields

    def _customer_keys(self) -> Set[str]:
        view = self._keys.view("customer")
        # Ranks only grow: a list of the same length with the same end is the same list.
        state = len(view), view[-1] if view else 0
        if self._known_keys[0] != state:
            self._known_keys = state, frozenset(key.split("\0", 1)[1] for key in self._keys.keys(view))
        return self._known_keys[1]

    def _registered(self, keys: Iterable[str]) -> None:
        if unknown := set(keys) - self._customer_keys():
            # The message is documented; the status 400 is assumed.
            raise Problem(400, f"Invalid custom field keys: {', '.join(sorted(unknown))}")

    def _register(self, entity: str, key: object, *, unique: bool) -> None:
        if not isinstance(key, str) or not 1 <= len(key) <= KEY_LENGTH:
            raise Problem(400, f"key must be a string of 1 to {KEY_LENGTH} characters")
        if _key_of(entity, key) in self._keys:
            # The response to a second registration is assumed.
            raise Problem(409, f"Custom field key already exists: {key}")
        self._keys.put({"entity": entity, "key": key, "enforce_uniqueness": unique})

    def _add_key(self, call: Call) -> Answer:
        body = call.object()
        entity, unique = one_of(body, "entity", _ENTITIES), body.get("enforce_uniqueness")
        if not isinstance(unique, bool):
            raise Problem(400, "enforce_uniqueness must be a boolean")
        self._register(entity, body.get("key"), unique=unique)
        return Answer(200)

    def _list_keys(self, call: Call) -> Answer:
        entities = (call.object() if call.body else {}).get("entities")
        view = self._keys.view()
        if entities is not None:
            if not _texts(entities) or not _ENTITIES.issuperset(entities):
                raise Problem(400, f"entities must be a list of: {', '.join(sorted(_ENTITIES))}")
            view = sorted(set().union(*(self._keys.view(entity) for entity in entities)))
        filters = encode(entities)
        page, more = following(view, _place(call, filters), KEYS_IN_A_PAGE)
        cursor = encode(_cursor(page[-1], filters)) if more else b"null"
        return Answer(200, b'{"data":[%b],"next_page":%b}' % (b",".join(self._keys.bodies(page)), cursor))

    def _remove_key(self, call: Call) -> Answer:
        body = call.object()
        entity, key = one_of(body, "entity", _ENTITIES), text_of(body, "key")
        if _key_of(entity, key) not in self._keys:
            raise Problem(404, f"Custom field key not found: {key}")
        if entity == "customer":
            mark = encode(key) + b":"
            every = self._customers.keys()
            for customer in every:
                raw = self._customers.raw(customer)
                record = self._customers.get(customer) if raw and mark in raw else None
                if record and key in record["custom_fields"]:
                    was = dict(record["custom_fields"])
                    del record["custom_fields"][key]
                    self._put(record, was)
        self._keys.delete(_key_of(entity, key))
        return Answer(200)

    def _set_values(self, call: Call) -> Answer:
        body = call.object()
        record = self._entity(body)
        fields = self._fields(body.get("custom_fields"))
        self._change_fields(record, {**record["custom_fields"], **fields})
        return Answer(200)

    def _delete_values(self, call: Call) -> Answer:
        body = call.object()
        record, keys = self._entity(body), body.get("keys")
        if not _texts(keys):
            raise Problem(400, "keys must be a list of strings")
        self._registered(keys)
        self._change_fields(record, {key: value for key, value in record["custom_fields"].items() if key not in keys})
        return Answer(200)

    def _entity(self, body: Record) -> Record:
        if one_of(body, "entity", _ENTITIES) != "customer":
            raise Problem(404, "The sandbox has no entities but customers")
        return self._writable(body.get("entity_id"))

    def _change_fields(self, record: Record, fields: dict[str, str]) -> None:
        was = record["custom_fields"]
        record.update(custom_fields=fields, updated_at=stamp(self._store.moment()))
        self._put(record, was)


# A customer's places in the store --------------------------------------------------------------------------------


def _aliases_of(record: Record) -> Iterable[str]:
    aliases = record.get("ingest_aliases")
    return [alias for alias in aliases if isinstance(alias, str)] if isinstance(aliases, list) else []


def _lists_of(record: Record) -> Iterable[str]:
    config = record.get("customer_config")
    account = config.get("salesforce_account_id") if isinstance(config, dict) else None
    yield "active" if record.get("archived_at") is None else "archived"
    if isinstance(account, str):
        yield _account(account)


def _account(salesforce_account: str) -> str:
    return f"salesforce {salesforce_account}"


def _key_of(*parts: str) -> str:
    return "\0".join(parts)


# Keys and rights -------------------------------------------------------------------------------------------------


def _token(call: Call) -> str | None:
    found = re.fullmatch(r"Bearer\s+(\S+)", call.headers.get("Authorization", ""), re.IGNORECASE)
    return found[1] if found else None


def _allow(token: str, call: Call) -> None:
    if token.startswith("ro_") and call.method != "GET" and call.route.path not in _READING_POSTS:
        raise Problem(403, "This token may only read")


# What was sent ---------------------------------------------------------------------------------------------------


def _texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _aliases(body: Record) -> list[str]:
    aliases = body.get("ingest_aliases", [])
    if not isinstance(aliases, list):
        raise Problem(400, "ingest_aliases must be a list")
    for alias in aliases:
        if not isinstance(alias, str) or not 1 <= len(alias) <= ALIAS_LENGTH:
            raise Problem(400, f"Each ingest alias must be a string of 1 to {ALIAS_LENGTH} characters")
    return aliases


def _first(external_id: str | None, aliases: Sequence[str]) -> list[str]:
    """The stored aliases: each once, the deprecated external id in front (assumed)."""
    several = list(dict.fromkeys(aliases if external_id is None else (external_id, *aliases)))
    if len(several) > ALIASES:
        raise Problem(400, f"A customer has at most {ALIASES} ingest aliases")
    return several


def _limit(call: Call) -> int:
    text = call.query("limit")
    if text is None:
        return USUAL_LIMIT
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= LIMIT:
        raise Problem(400, f"limit must be a number from 1 to {LIMIT}")
    return int(text)


def _truth(call: Call, name: str) -> bool:
    text = call.query(name)
    if text not in (None, "true", "false"):
        raise Problem(400, f"{name} must be true or false")
    return text == "true"


def _several(call: Call, name: str) -> list[str] | None:
    """Return the values of a parameter that is repeated, or joined by commas as in the vendor's clients; null without
    one.
    """
    given = call.queries(name)
    if not given:
        return None
    values = sorted({value for text in given for value in text.split(",")})
    if not 1 <= len(values) <= IDS or "" in values:
        raise Problem(400, f"{name} must hold 1 to {IDS} ids")
    return values


def _both(ranks: Sequence[int], view: Ranks) -> Ranks:
    """Return those of the given ranks that are in the view."""
    return [rank for rank in ranks if (place := bisect_left(view, rank)) < len(view) and view[place] == rank]


# Cursors, responses ----------------------------------------------------------------------------------------------


def _cursor(rank: int, filters: bytes) -> str:
    """Return a cursor of the end of a page and of its list: the cursor of another list is refused (assumed)."""
    mark = blake2b(b"%d %b" % (rank, filters), digest_size=6).digest()
    return base64.urlsafe_b64encode(rank.to_bytes(8, "big") + mark).decode().rstrip("=")


def _place(call: Call, filters: bytes) -> int | None:
    """Return the rank after which a page begins, null for the first page."""
    text = call.query("next_page")
    if text is None:
        return None
    try:
        rank = int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))[:8], "big")
    except ValueError:
        rank = 0
    if text != _cursor(rank, filters):
        raise Problem(400, "next_page is not a cursor of this list")
    return rank


def _short(record: Record) -> Answer:
    return answer(200, {"data": {name: record[name] for name in _SHORT}})
