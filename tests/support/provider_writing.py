"""Each provider as a destination in tests: its operations against a sandbox, and plans in its own records.

`PARTICULARS` declares for each provider the data that the shared suite, `tests/connectors/providers/test_writing.py`,
needs.
"""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from msgspec.structs import replace

from support import writing
from support.accounts import USUAL
from support.sandboxes import Sandbox
from tranship.connectors.api.operations import LookupKey, Operations, Record, Reply, Request
from tranship.connectors.api.spec import ProviderAddress, ProviderSpec, parse_address, service
from tranship.connectors.registry import CONNECTORS


@dataclass(frozen=True)
class Particulars:
    """The particulars of writing to one provider. Records are in its own fields."""

    external_id: str
    """The field with the external id; the first element of it if it is a list."""
    email: Sequence[str]
    """The field with the e-mail, and the key in it if it is a custom field."""
    minimal: Record
    """A customer with as few fields as possible."""
    full: Record
    """A customer with many fields."""
    customer: Callable[[int], dict[str, Any]]
    """The n-th customer of a plan."""
    changes: Sequence[Mapping[str, Any]]
    """The fields that plans change in customers; `{n}` in a text is the customer's number."""
    without_external_id: Callable[[int], dict[str, Any]] | None = None
    """The n-th customer that has no external id; null if each must have one."""
    filled_in: Mapping[str, Any] = field(default_factory=dict)
    """Fields that the provider sets in a new customer if they are missing."""
    odd_ids: Sequence[str] = ("a+b&c=d/é ü?#%25", "100%", ' "quoted" ', "名前")
    """External ids that a URL or a search could misread."""
    switches: Sequence[Mapping[str, str]] = ({},)
    """Variants of the sandbox."""
    reads_by_post: bool = False
    """A plan begins with a POST that only reads."""
    custom_fields: Sequence[str] = ()
    """Keys that have to be registered first."""


def _marginfront(number: int) -> dict[str, Any]:
    return writing.customer(number, city="Umeå")


def _metrifox(number: int) -> dict[str, Any]:
    key = f"cus_{number:05}"
    given = {"customer_key": key, "customer_type": "BUSINESS", "primary_email": f"{key}@x.example"}
    return {**given, "legal_name": f"Firm {key}", "city": "Oslo", "metadata": {"n": number, "deep": {"a": [1, None]}}}


def _growpanel(number: int) -> dict[str, Any]:
    given = {
        "id": f"cus_{number:05}",
        "name": f"Firm {number}",
        "created_date": "2021-04-02T08:00:00Z",
        "country": "SE",
    }
    return {
        **given,
        "data_source": "ds_main",
        "email": f"{number}@x.example",
        "custom_variables": {"canon_city": "Umeå"},
    }


def _metronome(number: int) -> dict[str, Any]:
    values = {"canon_email": f"c{number}@x.example", "canon_country": "SE", "n": str(number)}
    return {"name": f"Customer {number}", "ingest_aliases": [f"cus_{number:05}"], "custom_fields": values}


def _blackwalnut(number: int) -> dict[str, Any]:
    given = {"email": f"c{number}@x.example", "name": f"Customer {number}", "external_id": f"cus_{number:05}"}
    return {**given, "metadata": {"n": number, "canon": {"status": "active"}}}


PARTICULARS: Mapping[str, Particulars] = {
    "blackwalnut": Particulars(
        external_id="external_id",
        email=["email"],
        minimal={"email": "only@x.example"},
        full={
            **{"email": "ap@nordlys.example", "name": "Nordlys AB", "external_id": "cus_1"},
            "metadata": {"tier": "pro", "canon": {"country": "SE", "net_terms": 45}},
        },
        customer=_blackwalnut,
        without_external_id=lambda number: {"email": f"a+{number}%41&b=c@x.example"},
        changes=[
            {"name": None, "email": "new{n}@x.example", "metadata": {"more": 1}},
            {"name": "New", "metadata": {"canon": {"city": None}}},
        ],
        filled_in={"metadata": {}},
        switches=({}, {"lenient": "on"}),
    ),
    "growpanel": Particulars(
        external_id="id",
        email=["email"],
        minimal={
            "id": "a",
            "name": "A",
            "created_date": "2021-04-02T08:00:00Z",
            "country": "SE",
            "data_source": "ds_main",
        },
        full={**_growpanel(1), "state": "AB", "custom_variables": {"canon_city": "Umeå", "b": "1"}},
        customer=_growpanel,
        changes=[
            {"name": "Nordlys AB", "email": "ap@nordlys.example"},
            {"email": None},
            {"country": "NO", "created_date": "2019-01-01T00:00:00Z"},
            {"custom_variables": None},
        ],
        odd_ids=("a/b", "a?b#c", "ä ö+&=", "%2F", ".", "..", "{id}", '"', "a\\b"),
        switches=({}, {"dialect": "docs"}),
    ),
    "marginfront": Particulars(
        external_id="externalId",
        email=["email"],
        minimal={"name": "only"},
        full={
            **{"externalId": "cus_1", "name": "Nordlys AB", "email": "ap@nordlys.example", "phone": "+4612345"},
            **{"addressLine1": "Storgatan 1", "addressLine2": "2 tr", "city": "Umeå", "state": "AC"},
            **{"zipCode": "903 26", "country": "SE", "timezone": "Europe/Stockholm", "status": "suspended"},
            **{"billingContactName": "Åsa", "billingContactEmail": "asa@nordlys.example", "netTerms": 45},
            **{"invoiceEmailRecipients": ["cfo@nordlys.example"]},
            "metadata": {"tier": "pro", "nested": {"a": [1, None]}},
        },
        customer=_marginfront,
        without_external_id=lambda number: {
            **{"name": " Nord & Süd + Co? #1 %41/x=1", "email": f"ap{number}@nordlys.example", "city": "Umeå"}
        },
        changes=[
            {"name": "New {n}", "city": None, "netTerms": 45, "metadata": {"new": 1}},
            {"email": "new{n}@x.example", "metadata": {}},
        ],
        filled_in={"timezone": "UTC", "status": "active", "netTerms": 30},
    ),
    "metrifox": Particulars(
        external_id="customer_key",
        email=["primary_email"],
        minimal={"customer_key": "a", "customer_type": "BUSINESS", "primary_email": "a@x.example", "legal_name": "A"},
        full={**_metrifox(1), "primary_phone": "+46 8 1", "language": "sv", "documents": {"a": 1}},
        customer=_metrifox,
        changes=[
            {"city": "Umeå", "metadata": {"new": True}},
            {"primary_email": "moved{n}@x.example"},
            {"payment_terms": [{"type": "Custom", "value": "45"}], "city": None},
            {"customer_type": "INDIVIDUAL", "first_name": "Ada", "legal_name": None},
        ],
        odd_ids=("a/b", "a?b#c", "ä ö+&=", "%2F", ".", "..", "new", "bulk-create", "{key}", '"', "a\\b"),
        switches=({}, {"spelling": "docs"}),
    ),
    "metronome": Particulars(
        external_id="ingest_aliases",
        email=["custom_fields", "canon_email"],
        minimal={"name": "only"},
        full={
            "name": "Nordlys AB",
            "ingest_aliases": ["cus_1", "old-1", "ap@nordlys.example"],
            "customer_config": {"salesforce_account_id": "001A"},
            "custom_fields": {"canon_email": "ap@nordlys.example", "canon_country": "SE", "tier": "pro"},
        },
        customer=_metronome,
        without_external_id=lambda number: {
            **{"name": "Nordlys", "custom_fields": {"canon_email": f"ap{number}@x.example"}}
        },
        changes=[
            {
                "name": "New {n}",
                "custom_fields": {"canon_country": "DE", "m": "new"},
                "customer_config": {"salesforce_account_id": "00{n}"},
            },
            {"name": "Moved", "custom_fields": {"canon_email": "moved{n}@x.example"}},
        ],
        filled_in={"customer_config": {"salesforce_account_id": None}},
        reads_by_post=True,
        custom_fields=("canon_email", "canon_country", "tier", "n"),
    ),
}


@dataclass
class Writer:
    """A provider's operations and a sandbox that simulates it."""

    provider: str
    sandbox: Sandbox

    @cached_property
    def particulars(self) -> Particulars:
        return PARTICULARS[self.provider]

    @cached_property
    def spec(self) -> ProviderSpec:
        spec: ProviderSpec = self._module.SPEC
        return spec

    @cached_property
    def operations(self) -> Operations:
        operations: Operations = self._module.build_operations(self.address)
        return operations

    @property
    def _module(self) -> Any:
        return importlib.import_module(f"tranship.connectors.providers.{self.provider}")

    @cached_property
    def key(self) -> dict[str, str]:
        return {str(CONNECTORS[self.provider].key_variable): USUAL[self.provider].key}

    @cached_property
    def address(self) -> ProviderAddress:
        usual = USUAL[self.provider].address
        return parse_address(self.spec, f"{self.provider}://127.0.0.1:{self.sandbox.port}{usual}", self.key)

    @cached_property
    def settable(self) -> list[str]:
        """Return the fields that a record to be written may have."""
        schema = self.spec.schema
        return [*(declared.name for declared in schema.fields if declared.settable), schema.overflow.name]

    # Requests

    def ask(self, request: Request) -> Reply:
        """Send one request."""
        known = service(self.spec, self.address, self.key)
        base = known.base_url.partition("://")[2].partition("/")[2]
        path = f"/{base}{request.path}" if base else request.path
        query = f"?{urlencode(request.params)}" if request.params else ""
        headers = {**known.headers, "Content-Type": "application/json"}
        reply = self.sandbox.call(request.method, path + query, request.body, headers)
        return Reply(reply.status, reply.json if reply.body else None)

    def prepare(self) -> None:
        """Make the account ready for the particulars' customers."""
        known = self.sandbox.state("custom_field_keys") if self.particulars.custom_fields else []
        for key in set(self.particulars.custom_fields) - {registered["key"] for registered in known}:
            body = {"entity": "customer", "key": key, "enforce_uniqueness": False}
            assert self.ask(Request("POST", "/v1/customFields/addKey", "", body)).ok

    def look_up(self, **key: Any) -> Record | None:
        async def ask(request: Request) -> Reply:
            return self.ask(request)

        return asyncio.run(self.operations.look_up(ask, LookupKey(**key)))

    def make(self, wanted: Record) -> str:
        """Create a customer and return its id."""
        reply = self._answered(self.operations.create(wanted))
        if reply.status in (404, 405):  # there are two ways, and from now on the one that works is known
            reply = self._answered(self.operations.create(wanted))
        assert reply.ok, reply.body
        return self.operations.created_id(reply.body, wanted)

    def _answered(self, request: Request) -> Reply:
        return self.operations.interpret(request, self.ask(request))

    # Plans

    def create(self, row: int, wanted: Record) -> dict[str, Any]:
        known = {"target": None, "external_id": self.external_id(wanted), "email": self._email(wanted)}
        return {"row": row, "action": "create", **known, "wanted": json.dumps(wanted), "found": None}

    def update(self, row: int, found: Record, changes: Mapping[str, Any]) -> dict[str, Any]:
        """A row that changes fields; null removes a value."""
        wanted = {name: found.get(name) for name in self.settable} | changes
        wanted = {name: value for name, value in wanted.items() if value is not None}
        return {**self.delete(row, found), "action": "update", "wanted": json.dumps(wanted)}

    def delete(self, row: int, found: Record) -> dict[str, Any]:
        target = str(found[USUAL[self.provider].id])
        known = {"target": target, "external_id": self.external_id(found), "email": self._email(found)}
        return {"row": row, "action": "delete", **known, "wanted": None, "found": json.dumps(found)}

    def external_id(self, record: Record) -> str | None:
        value = record.get(self.particulars.external_id)
        return (value or [None])[0] if isinstance(value, list) else value

    def _email(self, record: Record) -> str | None:
        value: Any = record
        for name in self.particulars.email:
            value = (value or {}).get(name)
        return str(value) if value else None

    def with_external_id(self, record: Record, external_id: str) -> dict[str, Any]:
        name = self.particulars.external_id
        value = [external_id] if isinstance(self.particulars.full[name], list) else external_id
        return {**record, name: value}

    def carry_out(self, folder: Path, rows: Sequence[Mapping[str, Any]]) -> dict[int, tuple[str, str, str | None]]:
        """Carry out a plan, without a declared pace; return row → action, outcome, reason."""
        writing.write(folder, rows)
        known = replace(service(self.spec, self.address, self.key), per_second={})
        policy = replace(writing.QUICK, silence=5, total=60)
        writing.send(self.sandbox.url, folder, operations=self.operations, service=known, retry_policy=policy)
        return writing.outcomes(folder)

    def stored(self) -> list[dict[str, Any]]:
        """Return the records of the sandbox, without the provider's own fields, sorted; `archived` is whether a
        customer is archived."""
        records = [
            {name: record.get(name) for name in self.settable} | {"archived": bool(record.get("archived_at"))}
            for record in self.sandbox.state()
        ]
        return sorted(records, key=lambda record: json.dumps(record, sort_keys=True))


def numbered(value: Any, number: int) -> Any:
    """Return the value with a customer's number in its texts."""
    if isinstance(value, dict):
        return {name: numbered(inner, number) for name, inner in value.items()}
    return value.replace("{n}", str(number)) if isinstance(value, str) else value
