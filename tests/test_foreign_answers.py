"""Providers whose answers are about a customer other than the one that was requested or written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from support.accounts import PROVIDERS, USUAL
from support.mutation import Interceptor, Kind, Writer, intercepted, misbehaved, refill, write

Swap = Callable[[Any, str, dict[str, Any]], Any]


def with_foreign_ids(answer: Any, id_field: str, foreign: dict[str, Any]) -> Any:
    """Return the answer with the id of another customer in each record."""
    if isinstance(answer, dict):
        changed = {key: with_foreign_ids(value, id_field, foreign) for key, value in answer.items()}
        return changed | {id_field: foreign[id_field]} if id_field in answer else changed
    return [with_foreign_ids(value, id_field, foreign) for value in answer] if isinstance(answer, list) else answer


def with_foreign_records(answer: Any, id_field: str, foreign: dict[str, Any]) -> Any:
    """Return the answer with another customer in place of each record."""
    if isinstance(answer, dict):
        if id_field in answer:
            return {key: foreign.get(key, value) for key, value in answer.items()} | {id_field: foreign[id_field]}
        return {key: with_foreign_records(value, id_field, foreign) for key, value in answer.items()}
    return [with_foreign_records(value, id_field, foreign) for value in answer] if isinstance(answer, list) else answer


def in_another_order(answer: Any, id_field: str, foreign: dict[str, Any]) -> Any:
    """Return the answer with all its lists reversed."""
    if isinstance(answer, dict):
        return {key: in_another_order(value, id_field, foreign) for key, value in answer.items()}
    if isinstance(answer, list):
        return [in_another_order(value, id_field, foreign) for value in reversed(answer)]
    return answer


def with_ids_exchanged(answer: Any, id_field: str, _: dict[str, Any]) -> Any:
    """Return the answer with the id of the next record in each record of a list."""
    if isinstance(answer, dict):
        return {key: with_ids_exchanged(value, id_field, _) for key, value in answer.items()}
    if isinstance(answer, list):
        records = [_record(value, id_field) for value in answer]
        ids = [record[id_field] for record in records if record]
        if len(ids) == len(answer) > 1:
            for record, other in zip(records, [*ids[1:], ids[0]], strict=True):
                assert record
                record[id_field] = other
    return answer


def _record(value: Any, id_field: str) -> dict[str, Any] | None:
    if not isinstance(value, dict):
        return None
    return value if id_field in value else next((r for v in value.values() if (r := _record(v, id_field))), None)


LONG = bool(os.environ.get("TRANSHIP_MISBEHAVIOUR"))
SWAPS: tuple[Swap, ...] = (with_foreign_ids, with_foreign_records)
if LONG:
    SWAPS = (*SWAPS, in_another_order, with_ids_exchanged)


@pytest.mark.slow
@pytest.mark.parametrize("begun", [False, True] if LONG else [True])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_another_customer_is_never_written_to_nor_taken_for_the_one_meant(
    provider: str, begun: bool, tmp_path: Path
) -> None:
    with intercepted(provider) as (writer, interceptor):
        kinds = _kinds(writer, interceptor, tmp_path / "begun")
        for number, kind in enumerate(kinds):
            for swap in SWAPS:
                folder = tmp_path / f"{number}-{swap.__name__}{'-begun' if begun else ''}"
                _attack(writer, interceptor, kind, swap, folder)


def _kinds(writer: Writer, interceptor: Interceptor, folder: Path) -> list[Kind]:
    """Return the kinds of answers with records in a plan, begun or not."""
    for place in (folder, folder.with_name("first")):
        refill(writer)
        interceptor.seen.clear() if place == folder else None
        assert misbehaved(write, writer, place) is None
    return [kind for kind in interceptor.seen if not kind[2] and "custom" + "Fields" not in kind[1]]


def _attack(writer: Writer, interceptor: Interceptor, kind: Kind, swap: Swap, folder: Path) -> None:
    id_field = USUAL[writer.provider].id
    interceptor.kind = None
    *_, victim = before = refill(writer)
    interceptor.kind = kind
    interceptor.change = lambda answer: json.dumps(swap(answer, id_field, victim)).encode()
    case = f"{kind} {swap.__name__}"
    # Only the answer to their creation tells which of two new customers has which id.
    is_arbitrary = swap is with_ids_exchanged and kind[0] == "POST"
    assert misbehaved(write, writer, folder) is None, case
    interceptor.kind = None
    after = {record[id_field]: record for record in writer.sandbox.state()}
    assert after[victim[id_field]] == victim, case
    done = [row for row in pq.read_table(folder / "outcomes").to_pylist() if row["outcome"] == "done"]
    ids = [row["provider_id"] for row in done]
    assert victim[id_field] not in ids, case
    assert len(ids) == len(set(ids)), case
    existing = {record[id_field] for record in before}
    rows = {row["row"]: row for file in folder.glob("*.parquet") for row in pq.read_table(file).to_pylist()}
    for row in done:
        meant = rows[row["row"]]
        if row["action"] == "create":
            created = after[row["provider_id"]]
            assert row["provider_id"] not in existing or writer.provider == "growpanel", case
            assert is_arbitrary or writer.external_id(created) == meant["external_id"], case
        else:
            assert row["provider_id"] == meant["target"], case
