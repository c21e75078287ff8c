"""A provider's account as tables: the data read for each customer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest
from msgspec.structs import replace

from tranship.connectors.api.account import read_account
from tranship.connectors.api.source import ApiPart
from tranship.connectors.api.spec import ProviderSpec
from tranship.connectors.providers import marginfront
from tranship.schemas.provider import Field, Overflow, ProviderSchema

SCHEMA = ProviderSchema(
    provider="strict",
    title="Strict",
    fields=(
        Field("id", canonical="provider_id", settable=False, always_present=True),
        Field("name", canonical="name"),
        Field("closedOn", settable=False),
    ),
    overflow=Overflow("metadata"),
)
SPEC = replace(marginfront.SPEC, schema=SCHEMA, removal_is_final="it is gone for good")


@dataclass
class Pages:
    """One page of records."""

    records: list[dict[str, Any]]
    dropped: tuple[int, ...] = ()

    def lists(self) -> list[bytes]:
        return [json.dumps(self.records).encode()]


@dataclass
class Source:
    """A source of one page that is already read."""

    records: list[dict[str, Any]]

    def parts(self, _: Path) -> Iterator[ApiPart]:
        yield ApiPart("strict://", SCHEMA, Pages(self.records), lambda _: None, lambda _: None)  # type: ignore[arg-type]

    def layouts(self) -> list[Any]:
        return []

    def close(self) -> None: ...


RECORDS = [
    {"id": "a", "name": "Open", "closedOn": None},
    {"id": "b", "name": "Closed", "closedOn": "2024-01-02"},
    {"id": "c", "name": "An undocumented field of another provider", "archived_at": "2024-01-02"},
]


@pytest.mark.parametrize(("field", "archived"), [("closedOn", ["b"]), (None, [])])
def test_a_customer_is_archived_by_the_field_that_its_provider_declares(
    field: str | None, archived: list[str], tmp_path: Path
) -> None:
    spec: ProviderSpec = replace(SPEC, archived_field=field)
    write: Any = SimpleNamespace(workspace=tmp_path)
    source: Any = Source(RECORDS)
    with duckdb.connect() as run:
        read_account(run, write, spec, source)
        rows = run.sql("SELECT own_id FROM there WHERE archived ORDER BY own_id").fetchall()
        writable = run.sql("SELECT count(*) FROM held").fetchall()
    assert [own_id for (own_id,) in rows] == archived
    assert writable == [(len(RECORDS) - len(archived),)]
