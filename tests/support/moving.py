"""Customers on their way into a provider's account, for tests: what is moved, what the account holds afterwards, what
was sent on the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

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
"""Of a provider that is on this machine."""

_READING = ("/v1/customFields/listKeys",)
"""POSTs that change nothing."""


def customer(number: int, **fields: Any) -> dict[str, Any]:
    """One that every provider takes, in canonical fields as a CSV file has them."""
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
    """These customers as a CSV file."""
    rows = list(customers)
    columns = dict.fromkeys(name for row in rows for name in row)
    pl.DataFrame([{name: row.get(name) for name in columns} for row in rows], infer_schema_length=None).write_csv(file)
    return file


def moved(folder: Path, source: Path | str, destination: Account | str, **options: Any) -> Report:
    """A run from a file into an account, with its state in `folder`."""
    return flow.run(given(folder, source, destination, **options))


def given(folder: Path, source: Path | str, destination: Account | str, **options: Any) -> settings.Settings:
    """Its settings."""
    address = destination.address if isinstance(destination, Account) else destination
    said = {"source": str(source), "destination": address, "state_dir": folder / "state"}
    return settings.load({**said, **options}, {})


def outcomes(report: Report) -> list[dict[str, Any]]:
    """What became of each record: row, action, outcome, reason, provider_id."""
    return pl.read_parquet(report.files["outcomes"]).sort("row").to_dicts()


def planned(report: Report) -> list[dict[str, Any]]:
    """What was to become of each: row, action, reason, changed."""
    return pl.read_parquet(report.files["plan"]).sort("row").to_dicts()


def writes(there: Account) -> list[dict[str, Any]]:
    """The calls noted that would change something."""
    return [call for call in there.sandbox.calls() if call["method"] != "GET" and not call["path"].startswith(_READING)]


def schema_of(there: Account) -> ProviderSchema:
    """How its records look."""
    return lookup.provider_spec(lookup.connector_of(there.address)).schema


def settable(there: Account, *without: str) -> list[dict[str, Any]]:
    """What it holds, sorted: what can be set, and not what it makes itself."""
    declared = schema_of(there)
    names = [one.name for one in declared.fields if one.settable and not one.from_address] + [declared.overflow.name]
    records = [{name: one.get(name) for name in names if name not in without} for one in there.sandbox.state()]
    return sorted(records, key=lambda one: json.dumps(one, sort_keys=True))


def held(there: Account) -> dict[str, dict[str, Any]]:
    """What it holds, as canonical customers by its own ids; text as it came."""
    declared = schema_of(there)
    records = there.sandbox.state()
    decoded = json_codec.decode(declared, [json.dumps(records).encode()], [])
    rows = decoded.records.to_dicts()
    return {str(row["provider_id"]): row for row in rows}


def hurry(put: Callable[[Any, str, Any], None] = setattr) -> None:
    """From now on pauses are as they are right for a provider on this machine, and no pace is declared."""

    def unpaced(*given: Any) -> Service:
        return replace(spec.service(*given), per_second={})

    put(account, "carry_out", partial(executor.carry_out, retry_policy=QUICK))
    put(account, "ApiSource", partial(api.ApiSource, retry_policy=QUICK))
    put(account, "service", unpaced)
