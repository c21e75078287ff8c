"""What a run has changed at a provider, from its requests and their outcomes on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from tranship.connectors import durable, known_secrets
from tranship.connectors.api.operations import Operations, Record
from tranship.connectors.api.reconcile import same
from tranship.connectors.api.request_files import REQUESTS, read_batches
from tranship.connectors.api.request_plan import SavedPlan
from tranship.connectors.api.spec import ProviderAddress, ProviderSpec, parse_address
from tranship.connectors.contract import CHANGES, key_spellings
from tranship.schemas.provider import ProviderSchema

_BATCH_ROWS = 8_192


def changes(
    spec: ProviderSpec,
    url: str,
    build_operations: Callable[[ProviderAddress], Operations],
    workspace: Path,
    run_id: str,
    customer: str | None,
) -> Iterator[pl.DataFrame]:
    """Yield what a run has changed (`contract.CHANGES`), as far as the provider has confirmed it; with `customer`, only
    that of one, given by key. Raises ConfigError, and Damaged if a file was changed.
    """
    operations = build_operations(parse_address(spec, url, os.environ))
    try:
        saved = SavedPlan.read(workspace)
    except FileNotFoundError:
        raise durable.damaged(workspace / "plan.json") from None
    durable.check(workspace, saved.files)
    outcomes = pl.scan_parquet(workspace / "outcomes.parquet", glob=False)
    done = outcomes.filter(pl.col("outcome") == "done").select("row", "provider_id")
    for batch in read_batches(saved.requests(workspace), _BATCH_ROWS, REQUESTS.names):
        rows = pl.DataFrame(batch).lazy().join(done, on="row", maintain_order="left").collect()
        found = [_change(operations, row) | {"run_id": run_id} for row in rows.to_dicts()]
        if customer is not None:
            found = [change for change in found if change["customer_key"] in key_spellings(customer)]
        if found:
            yield pl.DataFrame(found, schema=CHANGES)


def _change(operations: Operations, row: Mapping[str, Any]) -> dict[str, Any]:
    key = row["external_id"] or (row["email"] and f"email:{row['email']}") or row["provider_id"] or row["target"]
    before, after = (msgspec.json.decode(row[side]) if row[side] else {} for side in ("found", "wanted"))
    fields = None
    if row["action"] == "update":
        fields = _changed_fields(operations, before, after)
        before, after = ({name: record.get(name) for name in fields} for record in (before, after))
    images = {"before": _text(before), "after": _text(after)}
    return {"customer_key": key, "action": row["action"], "changed_fields": fields, **images}


def _changed_fields(operations: Operations, found: Record, wanted: Record) -> list[str]:
    """Return the fields that an update sets to another value, as the provider compares them."""
    schema = operations.schema
    before, after = operations.comparable(found), operations.comparable(wanted)
    return [
        name
        for name in _settable(schema)
        if not same(before.get(name), after.get(name))
        # What is not sent stays as the provider has filled it in.
        and (name in wanted or name == schema.overflow.name or _is_own(schema, name, found))
    ]


def _settable(schema: ProviderSchema) -> list[str]:
    return [*(field.name for field in schema.fields if field.settable and not field.from_address), schema.overflow.name]


def _is_own(schema: ProviderSchema, name: str, found: Record) -> bool:
    field = schema.by_name[name]
    return not field.server_generated and str(found.get(name)) != field.default


def _text(record: Record) -> str | None:
    return known_secrets.without_secrets(msgspec.json.encode(record).decode()) if record else None
