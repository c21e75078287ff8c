"""GrowPanel: reads the raw customers of one data source, with any key that may read, in GROWPANEL_API_KEY, and writes
them, with an admin's.

`growpanel://?source=ds_main`, or `growpanel://127.0.0.1:8704?source=ds_main` for a sandbox. All customers come in one
answer: there are no pages, and no archived customers.

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
from tranship.connectors.api.spec import HealthFinding, ProviderAddress, ProviderSpec, bearer
from tranship.schemas.providers.growpanel import SCHEMA

_CUSTOMERS: Final = "/data/customers"

_PER_MINUTE = {"GET": 300, "POST": 100, "PUT": 100, "DELETE": 50}
"""https://growpanel.io/developers/rest-api/rate-limiting"""


def _listings(address: ProviderAddress, _: bool) -> list[Listing]:
    # `count` are the rows of the answer. Ids are the account's own and creation times can be set: none of both tells
    # when a customer came.
    envelope = Envelope(("result", "list"), total=("result", "count"))
    return [Listing("customers", _CUSTOMERS, SinglePage(), envelope, _named(address))]


def _named(address: ProviderAddress) -> dict[str, str]:
    """The data source in a query: `source` in the specification, `data_source` in GrowPanel's own command line."""
    source = address.options["source"]
    return {"source": source, "data_source": source}


def _said(body: Any) -> str | None:
    # `error` in the specification, `message` in the older reference.
    message: str | None = body.get("error") or body.get("message")
    return message


def _advice(_: str) -> Mapping[int, str]:
    return {
        400: "Check ?source= in the address: it is the id of a data source.",
        403: "The account may be blocked or its trial over, or the key may belong to another data source, or be a "
        "viewer's, which writes nothing.",
        404: "Check the base URL; GROWPANEL_API_URL may name another one, with or without /v1.",
    }


class _Source(msgspec.Struct):
    id: str


class _Sources(msgspec.Struct):
    result: list[_Source]


def _probe(_: ProviderAddress) -> tuple[str, Sequence[tuple[str, str]]]:
    # One customer would do as well, but a data source that does not exist may be answered like an empty one.
    return "/data/data-sources", []


def _seen(address: ProviderAddress, body: bytes) -> list[HealthFinding]:
    """Whether the data source is there."""
    wanted = address.options["source"]
    try:
        there = [source.id for source in msgspec.json.decode(body, type=_Sources).result]
    except msgspec.DecodeError:
        return [HealthFinding("data source", "warn", "GrowPanel does not say which data sources there are")]
    if wanted in there:
        return [HealthFinding("data source", "ok", f"{wanted} is there")]
    known = f"there are: {', '.join(there)}" if there else "there are none"
    return [HealthFinding("data source", "fail", f"there is no data source {wanted}; {known}. Name one with ?source=")]


SPEC = ProviderSpec(
    schema=SCHEMA,
    key_variables=("GROWPANEL_API_KEY", "GROWPANEL_API_TOKEN"),
    header=bearer,
    listings=_listings,
    error_message=_said,
    summary="GrowPanel, a data source",
    example="growpanel://?source=ds_main",
    base_url="https://api.growpanel.io",
    base_url_variable="GROWPANEL_API_URL",
    options={"source": "the id of the data source"},
    required=("source",),
    immutable=("external_id",),
    advice=_advice,
    per_second={method: calls / 60 for method, calls in _PER_MINUTE.items()},
    probe=_probe,
    seen=_seen,
)


# Writing -------------------------------------------------------------------------------------------------------------

_BULK: Final = 500
"""Rows of one POST; how many are allowed is not documented."""

_LISTED: Final = 10_000
"""Customers up to which all are read to look some hundred of them up."""

_SETTABLE: Final = (*(one.name for one in SCHEMA.fields if one.settable), SCHEMA.overflow.name)
_FORESEEN: Final = tuple(
    name for name in _SETTABLE if name not in {one.name for one in SCHEMA.fields if one.server_generated}
)
"""What comes back as it was sent. What the others say stands among the custom variables, too."""
_DATES: Final = ("created_date", "trial_started", "paid_started", "cancel_date")


def build_operations(address: ProviderAddress) -> Operations:
    """A POST of many rows creates and changes customers by their id; what is there is looked at before.

    To look a row up costs a call, and there are 300 a minute where POSTs carry 50,000 rows. In a data source of more
    than ten thousand customers a create is therefore taken for new, as the plan has found it; one whose answer was
    lost, and every change, is looked up anywhere.
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
        comparable=_compared,
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
        """A POST does not change what is there, as in the older reference: a PUT does."""

    async def look_up(self, ask: Ask, lookup_key: LookupKey) -> Record | None:
        """By id. E-mails are not unique, so nobody who has one stands in the way."""
        customer = lookup_key.external_id if lookup_key.id is None else lookup_key.id
        if customer is None:
            return None
        reply = await ask(Request("GET", _one(customer), f"{_CUSTOMERS}/{{id}}", params=self._named))
        if not reply.ok or reply.body["id"] != customer or not self._is_ours(reply.body):
            return None
        found: Record = reply.body
        return found

    async def look_up_many(self, ask: Ask, them: Sequence[LookupKey]) -> list[Record | None]:
        listed = await self._listed(ask)

        async def one(lookup_key: LookupKey) -> Record | None:
            found = listed and listed.get(str(lookup_key.external_id if lookup_key.id is None else lookup_key.id))
            # Asked for by itself: one that should be there, in case a list is cut, and where there is no list one that
            # may be there.
            if not found and (lookup_key.id is not None or (listed is None and lookup_key.possibly_applied)):
                return await self.look_up(ask, lookup_key)
            return found or None

        answers = await asyncio.gather(*map(one, them), return_exceptions=True)
        found: list[Record | None] = []
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            found.append(answer)
        return found

    async def _listed(self, ask: Ask) -> Mapping[str, Record] | None:
        """All customers by id, or None if there are too many."""
        if self._is_large:
            return None
        params = [*self._named, ("limit", str(_LISTED))]
        reply = await ask(Request("GET", _CUSTOMERS, _CUSTOMERS, params=params))
        customers = reply.body["result"]["list"] if reply.ok else []
        self._is_large = not reply.ok or len(customers) >= _LISTED
        return None if self._is_large else {one["id"]: one for one in customers if self._is_ours(one)}

    def _is_ours(self, customer: Record) -> bool:
        return customer.get("data_source") in (None, self._source)

    def change(self, current: Record, wanted: Record) -> list[Request]:
        if all(same(there, new) for there, new in _pairs(current, wanted, _FORESEEN)):
            return []
        row = _row(current, wanted)
        if not self._only_inserts:
            return [Request("POST", _CUSTOMERS, _CUSTOMERS, [row])]
        changed = [name for name in _SETTABLE if not same(current.get(name), row.get(name))]
        body = {name: row.get(name) for name in changed if name not in ("id", "data_source")}
        return [Request("PUT", _one(current["id"]), f"{_CUSTOMERS}/{{id}}", body, self._named)]

    def upserted(self, current: Record, wanted: Record) -> Record | None:
        """The row that changes a customer by a POST of many."""
        return None if self._only_inserts else _row(current, wanted)

    def outcomes(self, body: Any, rows: Sequence[Record]) -> list[Created | Failure | None]:
        """What became of each row of a POST of many."""
        found = _outcomes(body, rows)
        self._only_inserts |= any(isinstance(one, Failure) and one.kind == "taken" for one in found)
        return found

    def remove(self, current: Record) -> list[Request]:
        return [Request("DELETE", _one(current["id"]), f"{_CUSTOMERS}/{{id}}", params=self._named)]

    def interpret(self, request: Request, reply: Reply) -> Reply:
        """What became of a row that was sent alone, an object to create and a list to change. A 405 where a POST
        changes nothing that is there: it goes by PUT then, and from then on.
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
            return reply  # that of a create which says nothing is found out by who looks for the id in it
        return Reply(_STATUSES[failure.kind], {"error": failure.reason.removeprefix("refused: ")})


_STATUSES: Final = {"taken": 409, "refused": 422, "gone": 404, "again": 404}
"""As `_fault` reads them."""


def _one(customer: str) -> str:
    return f"{_CUSTOMERS}/{path_part(customer)}"


# Comparing


def _pairs(current: Record, wanted: Record, names: Sequence[str]) -> list[tuple[Any, Any]]:
    there, new = _compared(current), _compared(wanted)
    return [(there.get(name), new.get(name)) for name in names]


def _row(current: Record, wanted: Record) -> Record:
    """The whole row. Whether what is not sent stays is not documented: null is what clears it."""
    cleared = {name: None for name in _SETTABLE if current.get(name) not in (None, {}) and name not in wanted}
    overflow = SCHEMA.overflow.name
    variables = {**dict.fromkeys(current.get(overflow) or {}), **(wanted.get(overflow) or {})}
    return {**cleared, **wanted, **({overflow: variables} if variables else {})}


def _compared(record: Record) -> Record:
    """With instants, countries, states and currencies in one spelling."""
    said = dict(record)
    for name in _DATES:
        if said.get(name):
            said[name] = _instant(str(said[name]))
    for name in ("country", "state", "currency"):
        if said.get(name):
            said[name] = str(said[name]).upper()
    if variables := said.get(SCHEMA.overflow.name):
        said[SCHEMA.overflow.name] = {name: value for name, value in variables.items() if value is not None}
    return said


def _instant(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat()


# Answers


def _created_id(body: Any, wanted: Record) -> str:
    """Raises ValueError if the answer does not say that it is there."""
    outcome = _outcomes(body, [wanted])[0]
    if not isinstance(outcome, Created):
        raise ValueError("not said to be there")
    return outcome.id


def _outcomes(body: Any, rows: Sequence[Record]) -> list[Created | Failure | None]:
    result = body["result"]
    if isinstance(result, list):
        told = {one["id"]: one for one in result}
        return [_outcome(told.get(row["id"]), row) for row in rows]
    # The older reference: those that were saved; of the others nothing is said, so they are sent alone.
    saved = {one["id"] for one in result["list"]}
    return [Created(row["id"]) if row["id"] in saved else Failure("taken", "taken: external_id") for row in rows]


def _outcome(told: Record | None, row: Record) -> Created | Failure | None:
    match told:
        case {"export_status": "success"}:
            return Created(row["id"])
        case {"export_status": "error", **said}:
            return _failure_from(str(said.get("export_error") or "no reason is given"))
    return None


def _failure_of_row(reply: Reply, row: Record) -> Failure | None:
    """What is wrong with the one row of a 2xx; None: nothing is."""
    try:
        outcome = _outcomes(reply.body, [row])[0]
    except (KeyError, TypeError, AttributeError):
        outcome = None
    return None if isinstance(outcome, Created) else outcome or Failure("again", "the answer does not speak of the row")


_IS_TAKEN: Final = re.compile(r"already|duplicate|taken|(?<!not )\bexists\b", re.IGNORECASE)


def _failure_from(said: str) -> Failure:
    if _IS_TAKEN.search(said):
        return Failure("taken", "taken: external_id")
    return Failure("refused", f"refused: {said}")


def _failure(reply: Reply) -> Failure:
    if reply.status in (404, 405):
        return Failure("gone", f"answered {reply.status}")
    if reply.status == 409:
        return Failure("taken", "taken: external_id")
    said = _said(reply.body) if isinstance(reply.body, dict) else None
    return _failure_from(said or f"answered {reply.status}")
