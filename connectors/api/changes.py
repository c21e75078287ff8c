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
from tranship.connectors.api.saved_plan import SavedPlan
from tranship.connectors.api.spec import ProviderAddress, ProviderSpec, parse_address
from tranship.connectors.contract import CHANGES, key_spellings

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
        before, after = differences(operations, before, after)
        fields = [*before]
    images = {"before": _text(before), "after": _text(after)}
    return {"customer_key": key, "action": row["action"], "changed_fields": fields, **images}


def differences(operations: Operations, found: Record, wanted: Record) -> tuple[Record, Record]:
    """Return the fields that an update sets to another value, as the provider compares them, before and after. Entries
    of the overflow are fields of their own: `metadata.canon_city`.
    """
    schema = operations.schema
    known, new = operations.comparable(found), operations.comparable(wanted)
    names = [
        field.name
        for field in schema.fields
        if field.settable
        and not field.from_address
        and field.name != schema.overflow.name
        and not _equal(known.get(field.name), new.get(field.name))
        # What is not sent may be a value that the provider has filled in.
        and (field.name in wanted or not (field.server_generated or str(found.get(field.name)) == field.default))
    ]
    before = {name: found.get(name) for name in names}
    after = {name: wanted.get(name) for name in names}
    kept, sent = (record.get(schema.overflow.name) or {} for record in (found, wanted))
    for name in {**kept, **sent}:
        if not _equal(kept.get(name), sent.get(name)):
            before[f"{schema.overflow.name}.{name}"] = kept.get(name)
            after[f"{schema.overflow.name}.{name}"] = sent.get(name)
    return before, after


def _equal(left: Any, right: Any) -> bool:
    """Return whether two values are equal. An object without values is none."""
    are_objects = isinstance(left, Mapping) or isinstance(right, Mapping)
    return same(left or {}, right or {}) if are_objects else same(left, right)


def _text(record: Record) -> str | None:
    return known_secrets.without_secrets(msgspec.json.encode(record).decode()) if record else None
