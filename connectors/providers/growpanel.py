"""GrowPanel: the raw customers of one data source.

Key: GROWPANEL_API_KEY (or GROWPANEL_API_TOKEN), an admin's for writing, any for reading.
Address: `growpanel://?source=ds_main`, or `growpanel://127.0.0.1:8704?source=ds_main` for a sandbox. GROWPANEL_API_URL
replaces a missing host. All customers are in one response: there are no pages, and no archived customers.

https://api.growpanel.io/openapi.json, https://growpanel.io/docs/rest-api/reference/data/customers,
https://growpanel.io/developers/rest-api/authentication
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from tranship.connectors.api.operations import (
    Ask,
    Bulk,
    BulkLookup,
    Created,
    Failure,
    LookupKey,
    Operations,
    Record,
    Reply,
    Request,
    path_part,
)
from tranship.connectors.api.pagination import Envelope, Listing, SinglePage
from tranship.connectors.api.reconcile import same
from tranship.connectors.api.spec import HealthFinding, ProviderAddress, ProviderSpec, bearer, shown_names
from tranship.schemas.providers.growpanel import SCHEMA

_CUSTOMERS: Final = "/data/customers"

_PER_MINUTE = {"GET": 300, "POST": 100, "PUT": 100, "DELETE": 50}
"""https://growpanel.io/developers/rest-api/rate-limiting"""


def _listings(address: ProviderAddress, _: bool) -> list[Listing]:
    # `count` is the number of rows in the response. Ids and creation times are set by the account, so neither shows
    # when a customer was added.
    envelope = Envelope(("result", "list"), total=("result", "count"))
    return [Listing("customers", _CUSTOMERS, SinglePage(), envelope, _named(address))]


def _named(address: ProviderAddress) -> dict[str, str]:
    """Return the data source as query parameters: `source` in the specification, `data_source` in GrowPanel's own
    command line.
    """
    source = address.options["source"]
    return {"source": source, "data_source": source}


def _error_message(body: Any) -> str | None:
    # `error` in the specification, `message` in the older reference.
    message: str | None = body.get("error") or body.get("message")
    return message


def _advice(_: str) -> Mapping[int, str]:
    return {
        400: "Check ?source= in the address: it is the id of a data source.",
        403: "The account may be blocked or its trial over, or the key may belong to another data source, or be a "
        "viewer's key, which cannot write.",
        404: "Check the base URL; GROWPANEL_API_URL sets another one, with or without /v1.",
    }


class _Source(msgspec.Struct):
    id: str


class _Sources(msgspec.Struct):
    result: list[_Source]


def _probe(_: ProviderAddress) -> tuple[str, Sequence[tuple[str, str]]]:
    # The list of customers may be empty, rather than an error, for a data source that does not exist.
    return "/data/data-sources", []


def _seen(address: ProviderAddress, body: bytes) -> list[HealthFinding]:
    """Check that the data source exists."""
    wanted = address.options["source"]
    try:
        existing = [source.id for source in msgspec.json.decode(body, type=_Sources).result]
    except (ValueError, RecursionError):
        return [HealthFinding("data source", "warn", "GrowPanel did not return the list of data sources")]
    if wanted in existing:
        return [HealthFinding("data source", "ok", f"{wanted} exists")]
    known = f"known data sources: {shown_names(existing)}" if existing else "the account has none"
    return [
        HealthFinding("data source", "fail", f"data source {wanted} does not exist; {known}. Choose one with ?source=")
    ]


SPEC = ProviderSpec(
    schema=SCHEMA,
    key_variables=("GROWPANEL_API_KEY", "GROWPANEL_API_TOKEN"),
    header=bearer,
    listings=_listings,
    error_message=_error_message,
    summary="GrowPanel, a data source",
    example="growpanel://?source=ds_main",
    base_url="https://api.growpanel.io",
    base_url_variable="GROWPANEL_API_URL",
    options={"source": "the id of the data source"},
    required=("source",),
    immutable=("external_id",),
    removal_note="GrowPanel's analytics are recalculated later: until then they include the customers that are removed",
    advice=_advice,
    per_second={method: calls / 60 for method, calls in _PER_MINUTE.items()},
    probe=_probe,
    seen=_seen,
)


# Writing -------------------------------------------------------------------------------------------------------------

_BULK: Final = 500
"""Rows of one POST; the maximum is not documented."""

_LISTED: Final = 10_000
"""Maximum customers of a data source that is read completely for a look-up in bulk."""

_SETTABLE: Final = (*(field.name for field in SCHEMA.fields if field.settable), SCHEMA.overflow.name)
_FORESEEN: Final = tuple(
    name for name in _SETTABLE if name not in {field.name for field in SCHEMA.fields if field.server_generated}
)
"""Fields that are returned as they were sent. The values of the others are kept in the custom variables as well."""
_DATES: Final = ("created_date", "trial_started", "paid_started", "cancel_date")


def build_operations(address: ProviderAddress) -> Operations:
    """Create and change customers by id with POSTs of many rows, after looking them up.

    A look-up costs a call per row, and 300 are allowed a minute, in which POSTs could send 50,000 rows. In a data
    source of more than ten thousand customers, creates are therefore sent without a look-up, as the plan found no
    customer; those whose response was lost, and all changes, are always looked up.
    """
    source = _DataSource(address)
    return Operations(
        schema=SCHEMA,
        look_up=source.look_up,
        create=lambda wanted: Request("POST", _CUSTOMERS, _CUSTOMERS, dict(wanted)),
        created_id=_created_id,
        change=source.change,
        remove=source.remove,
        failure=_failure,
        interpret=source.interpret,
        comparable=_comparable,
        bulk=Bulk(
            _BULK, lambda rows: Request("POST", _CUSTOMERS, _CUSTOMERS, list(rows)), source.outcomes, source.upserted
        ),
        bulk_lookup=BulkLookup(_BULK, source.look_up_many, by_external_id=True),
        create_overwrites=True,
    )


class _DataSource:
    """The customers of one data source."""

    def __init__(self, address: ProviderAddress) -> None:
        self._source, self._named = address.options["source"], tuple(_named(address).items())
        self._is_large = False
        self._only_inserts = False
        """A POST does not change existing customers, as in the older reference, whereas a PUT does."""

    async def look_up(self, ask: Ask, lookup_key: LookupKey) -> Record | None:
        """Look a customer up by id only: e-mails are not unique, so another customer may have the same one."""
        customer_id = lookup_key.external_id if lookup_key.id is None else lookup_key.id
        if customer_id is None:
            return None
        reply = await ask(Request("GET", _path(customer_id), f"{_CUSTOMERS}/{{id}}", params=self._named))
        if not reply.ok or reply.body["id"] != customer_id or not self._is_ours(reply.body):
            return None
        found: Record = reply.body
        return found

    async def look_up_many(self, ask: Ask, lookup_keys: Sequence[LookupKey]) -> list[Record | None]:
        listed = await self._listed(ask)

        async def look_up_listed(lookup_key: LookupKey) -> Record | None:
            found = listed and listed.get(str(lookup_key.external_id if lookup_key.id is None else lookup_key.id))
            # A missing customer that was read before is looked up separately, in case the list is cut off. Without a
            # list, so is one that may have been created.
            if not found and (lookup_key.id is not None or (listed is None and lookup_key.possibly_applied)):
                return await self.look_up(ask, lookup_key)
            return found or None

        answers = await asyncio.gather(*map(look_up_listed, lookup_keys), return_exceptions=True)
        found: list[Record | None] = []
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            found.append(answer)
        return found

    async def _listed(self, ask: Ask) -> Mapping[str, Record] | None:
        """Return all customers by id, or None if there are too many."""
        if self._is_large:
            return None
        params = [*self._named, ("limit", str(_LISTED))]
        reply = await ask(Request("GET", _CUSTOMERS, _CUSTOMERS, params=params))
        customers = reply.body["result"]["list"] if reply.ok else []
        self._is_large = not reply.ok or len(customers) >= _LISTED
        return (
            None if self._is_large else {customer["id"]: customer for customer in customers if self._is_ours(customer)}
        )

    def _is_ours(self, customer: Record) -> bool:
        return customer.get("data_source") in (None, self._source)

    def change(self, current: Record, wanted: Record) -> list[Request]:
        if all(same(before, after) for before, after in _pairs(current, wanted, _FORESEEN)):
            return []
        row = _row(current, wanted)
        if not self._only_inserts:
            return [Request("POST", _CUSTOMERS, _CUSTOMERS, [row])]
        changed = [name for name in _SETTABLE if not same(current.get(name), row.get(name))]
        body = {name: row.get(name) for name in changed if name not in ("id", "data_source")}
        return [Request("PUT", _path(current["id"]), f"{_CUSTOMERS}/{{id}}", body, self._named)]

    def upserted(self, current: Record, wanted: Record) -> Record | None:
        """Return the row that changes a customer in a POST of many; None if a POST changes none."""
        return None if self._only_inserts else _row(current, wanted)

    def outcomes(self, body: Any, rows: Sequence[Record]) -> list[Created | Failure | None]:
        """Return the outcome of each row of a POST of many."""
        outcomes = _outcomes(body, rows)
        self._only_inserts |= any(isinstance(outcome, Failure) and outcome.kind == "taken" for outcome in outcomes)
        return outcomes

    def remove(self, current: Record) -> list[Request]:
        return [Request("DELETE", _path(current["id"]), f"{_CUSTOMERS}/{{id}}", params=self._named)]

    def interpret(self, request: Request, reply: Reply) -> Reply:
        """Turn the 2xx to a single row (an object to create, a list to change) into a 4xx if the row failed.

        A change is answered with 405 if a POST changes no existing customers; from then on, PUT is used.
        """
        if request.method != "POST":
            return reply
        is_change = isinstance(request.body, list)
        failure = (
            _failure_of_row(reply, request.body[0] if is_change else request.body) if reply.ok else _failure(reply)
        )
        if is_change and failure and failure.kind == "taken":
            self._only_inserts = True
            return Reply(405, reply.body)
        if not reply.ok or failure is None or (failure.kind == "again" and not is_change):
            return reply  # a create without an outcome fails in `_created_id`, and is looked up
        return Reply(_STATUSES[failure.kind], {"error": failure.reason.removeprefix("refused: ")})


_STATUSES: Final = {"taken": 409, "refused": 422, "gone": 404, "again": 404}
"""The statuses that `_failure` interprets as these."""


def _path(customer_id: str) -> str:
    return f"{_CUSTOMERS}/{path_part(customer_id)}"


# Comparing


def _pairs(current: Record, wanted: Record, names: Sequence[str]) -> list[tuple[Any, Any]]:
    before, after = _comparable(current), _comparable(wanted)
    return [(before.get(name), after.get(name)) for name in names]


def _row(current: Record, wanted: Record) -> Record:
    """Return the complete row, with null for fields to clear: it is not documented whether missing fields are kept."""
    cleared = {name: None for name in _SETTABLE if current.get(name) not in (None, {}) and name not in wanted}
    overflow = SCHEMA.overflow.name
    variables = {**dict.fromkeys(current.get(overflow) or {}), **(wanted.get(overflow) or {})}
    return {**cleared, **wanted, **({overflow: variables} if variables else {})}


def _comparable(record: Record) -> Record:
    """Return a record with instants, countries, states and currencies in one spelling."""
    comparable = dict(record)
    for name in _DATES:
        if comparable.get(name):
            comparable[name] = _instant(str(comparable[name]))
    for name in ("country", "state", "currency"):
        if comparable.get(name):
            comparable[name] = str(comparable[name]).upper()
    if variables := comparable.get(SCHEMA.overflow.name):
        comparable[SCHEMA.overflow.name] = {name: value for name, value in variables.items() if value is not None}
    return comparable


def _instant(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        return text


# Responses


def _created_id(body: Any, wanted: Record) -> str:
    """Return the id of a created customer. Raises ValueError if the response does not confirm it."""
    outcome = _outcomes(body, [wanted])[0]
    if not isinstance(outcome, Created):
        raise ValueError("not confirmed")
    return outcome.id


def _outcomes(body: Any, rows: Sequence[Record]) -> list[Created | Failure | None]:
    result = body["result"]
    if isinstance(result, list):
        results = {row_result["id"]: row_result for row_result in result}
        return [_outcome(results.get(row["id"]), row) for row in rows]
    # The older reference: only the saved rows are listed, so the others are sent alone.
    saved = {customer["id"] for customer in result["list"]}
    return [Created(row["id"]) if row["id"] in saved else Failure("taken", "taken: external_id") for row in rows]


def _outcome(row_result: Record | None, row: Record) -> Created | Failure | None:
    match row_result:
        case {"export_status": "success"}:
            return Created(row["id"])
        case {"export_status": "error", **details}:
            return _failure_from(str(details.get("export_error") or "no reason is given"))
    return None


def _failure_of_row(reply: Reply, row: Record) -> Failure | None:
    """Return the failure of the only row of a 2xx, if any."""
    try:
        outcome = _outcomes(reply.body, [row])[0]
    except (KeyError, TypeError, AttributeError):
        outcome = None
    return None if isinstance(outcome, Created) else outcome or Failure("again", "the answer does not speak of the row")


_IS_TAKEN: Final = re.compile(r"already|duplicate|taken|(?<!not )\bexists\b", re.IGNORECASE)


def _failure_from(message: str) -> Failure:
    if _IS_TAKEN.search(message):
        return Failure("taken", "taken: external_id")
    return Failure("refused", f"refused: {message}")


def _failure(reply: Reply) -> Failure:
    if reply.status in (404, 405):
        return Failure("gone", f"answered {reply.status}")
    if reply.status == 409:
        return Failure("taken", "taken: external_id")
    message = _error_message(reply.body) if isinstance(reply.body, dict) else None
    return _failure_from(message or f"answered {reply.status}")
