"""Customers that are moved into a provider's account, for tests: their records, the account afterwards, and the calls
in between."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from msgspec.structs import replace

from support.accounts import Account
from tranship.connectors import lookup
from tranship.connectors.api import destination as account
from tranship.connectors.api import executor, json_codec, spec
from tranship.connectors.api import source as api
from tranship.connectors.api.retry import RetryPolicy
from tranship.connectors.api.service import Service
from tranship.pipelines import run as flow
from tranship.pipelines import settings
from tranship.pipelines.report import Report
from tranship.schemas.provider import ProviderSchema

QUICK = RetryPolicy(first_pause=0.01, longest_pause=0.2, silence=60, total=120, settles=0.05)
"""For a provider on this machine."""

_READING = ("/v1/customFields/listKeys",)
"""POSTs that only read."""


def customer(number: int, **fields: Any) -> dict[str, Any]:
    """Return a customer that every provider accepts, in the canonical fields of a CSV file."""
    return {
        "external_id": f"cus_{number:05}",
        "email": f"c{number}@x.example",
        "name": f"Customer {number}",
        "customer_type": "BUSINESS",
        "country": "DE",
        "created_at": "2024-01-02T03:04:05Z",
        "phone": f"+49301{number:06}",
        "city": "Köln",
        "metadata": json.dumps({"n": number, "tags": ["a", "b"]}),
        **fields,
    }


def written(file: Path, customers: Iterable[Mapping[str, Any]]) -> Path:
    """Write these customers to a CSV file."""
    rows = list(customers)
    columns = dict.fromkeys(name for row in rows for name in row)
    pl.DataFrame([{name: row.get(name) for name in columns} for row in rows], infer_schema_length=None).write_csv(file)
    return file


def moved(folder: Path, source: Path | str, destination: Account | str, **options: Any) -> Report:
    """Run from a file into an account, with the state in `folder`."""
    return flow.run(given(folder, source, destination, **options))


def given(folder: Path, source: Path | str, destination: Account | str, **options: Any) -> settings.Settings:
    """Return the settings of the run."""
    address = destination.address if isinstance(destination, Account) else destination
    said = {"source": str(source), "destination": address, "state_dir": folder / "state"}
    return settings.load({**said, **options}, {})


def outcomes(report: Report) -> list[dict[str, Any]]:
    """Return the outcome of each record: row, action, outcome, reason, provider_id."""
    return pl.read_parquet(report.files["outcomes"]).sort("row").to_dicts()


def planned(report: Report) -> list[dict[str, Any]]:
    """Return the plan of each record: row, action, reason, changed."""
    return pl.read_parquet(report.files["plan"]).sort("row").to_dicts()


def writes(there: Account) -> list[dict[str, Any]]:
    """Return the recorded calls that would change something."""
    return [call for call in there.sandbox.calls() if call["method"] != "GET" and not call["path"].startswith(_READING)]


def schema_of(there: Account) -> ProviderSchema:
    """Return the schema of its records."""
    return lookup.provider_spec(lookup.connector_of(there.address)).schema


def settable(there: Account, *without: str) -> list[dict[str, Any]]:
    """Return its records, sorted, with the settable fields only."""
    declared = schema_of(there)
    names = [one.name for one in declared.fields if one.settable and not one.from_address] + [declared.overflow.name]
    records = [{name: one.get(name) for name in names if name not in without} for one in there.sandbox.state()]
    return sorted(records, key=lambda one: json.dumps(one, sort_keys=True))


def held(there: Account) -> dict[str, dict[str, Any]]:
    """Return its customers in canonical fields, by their own ids, with text unchanged."""
    declared = schema_of(there)
    records = there.sandbox.state()
    decoded = json_codec.decode(declared, [json.dumps(records).encode()], [])
    rows = decoded.records.to_dicts()
    return {str(row["provider_id"]): row for row in rows}


def hurry(put: Callable[[Any, str, Any], None] = setattr) -> None:
    """Use short pauses, suitable for a provider on this machine, and no declared pace."""

    def unpaced(*given: Any) -> Service:
        return replace(spec.service(*given), per_second={})

    put(account, "carry_out", partial(executor.carry_out, retry_policy=QUICK))
    put(account, "ApiSource", partial(api.ApiSource, retry_policy=QUICK))
    put(account, "service", unpaced)
