"""Before-images: the values that a run into a table replaces, kept in its run directory so that it can be undone.

`before.parquet` has a row for each customer that the run has updated or deleted: `row` (its record in the run, or a
number that no record has), `action` (update; delete: the row is removed; mark: it is marked as deleted), `key`, `id`
and `mail` (the customer as the run has left it, to find its row again; `key` is null where the table has none, the
other two are null where it has one), and a column `=<name>` for each column of the table that the run writes; of a row
that is removed, for all. `written.parquet` has the times in `_tranship_written` that the run replaces
(`written_times.py`), if it does. `undo.json` has what else an undo must know, with the seals of these files. All are on
disk before the commit.

A customer that the run has created needs no copy: the run directory has its record, which is compared with its row.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from tranship.connectors import durable
from tranship.connectors.contract import BEFORE_IMAGES, IMAGE_FACTS, Plan, WriteRequest
from tranship.connectors.databases.quoting import quoted
from tranship.connectors.databases.table_mapping import DELETED, RUN, MappedField, TableMapping
from tranship.connectors.databases.written_times import TIMES
from tranship.connectors.errors import ConfigError

RESTORED: Final = "restored.parquet"
"""What an undo writes: its records, with the columns of the table as `_as_<name>` (`undo_plan.py`)."""


class ImageFacts(msgspec.Struct, frozen=True):
    """undo.json: what a run has written, and where."""

    run_id: str
    stored: dict[str, str]
    """Field → column, of the fields that its records have."""
    erased: list[str]
    """Columns in which a null of a record erases the value."""
    updated: list[str]
    """Columns that its updates write."""
    own_times: list[str]
    """Columns whose values the table sets itself, such as by a trigger."""
    types: dict[str, str]
    """All columns of the table that can be written, with their types."""
    files: dict[str, str]
    """Name → seal."""


def image(column: str) -> str:
    """Return the column of `before.parquet` for a column of the table, quoted."""
    return quoted(f"={column}")


def is_updated(mapped: MappedField, plan: Plan) -> bool:
    """Return whether the updates of a plan write a column."""
    return mapped.field in plan.changed_fields or mapped.column_name == RUN


def updated_columns(mapping: TableMapping, plan: Plan) -> list[str]:
    """Return the columns that the updates of a plan write."""
    changed = [mapped.column_name for mapped in mapping.fields if is_updated(mapped, plan)]
    return [*changed, *((RUN, DELETED) if mapping.bookkeeping else ())]


def customer_after(mapping: TableMapping, request: WriteRequest) -> tuple[str, str, str]:
    """Return key, external id and e-mail of an updated customer after the update, as SQL of the comparison (`t`, or `s`
    and `_table` as `h`).
    """
    if mapping.key:
        return f"t.{quoted(mapping.key)}", "NULL::VARCHAR", "NULL::VARCHAR"
    if request.undo:
        return "NULL::VARCHAR", "s.external_id", "s.email"
    known = f"coalesce({mapping.survivor_external_id}, h.id)" if mapping.has_id else "NULL::VARCHAR"
    return "NULL::VARCHAR", known, "coalesce(s.email, h.mail)"


def customer_removed(mapping: TableMapping) -> tuple[str, str, str]:
    """Return key, external id and e-mail of a deleted customer, as SQL of the comparison (`t`, or `_table` as `h`)."""
    if mapping.key:
        return f"t.{quoted(mapping.key)}", "NULL::VARCHAR", "NULL::VARCHAR"
    return "NULL::VARCHAR", "h.id", "h.mail"


def keep_facts(mapping: TableMapping, request: WriteRequest, plan: Plan, types: Mapping[str, str]) -> None:
    """Write undo.json, once the other files are complete, and wait until all are on disk. `types` is column → type."""
    written = [mapped for mapped in mapping.fields if mapped.field in request.survivors.columns]
    times = mapping.mapped("updated_at") if mapping.written_key else None
    own_times = [times.column_name] if times else []
    if request.undo:
        own_times = read_facts(request.undo.folder, request.undo.run_id).own_times
    facts = ImageFacts(
        request.run_id,
        {mapped.field: mapped.column_name for mapped in written},
        [mapped.column_name for mapped in written if mapped.erasable(request)],
        updated_columns(mapping, plan),
        own_times,
        dict(types),
        durable.seals(request.workspace, [BEFORE_IMAGES, TIMES]),
    )
    durable.write_json(request.workspace / IMAGE_FACTS, msgspec.to_builtins(facts))


def remove_images(folder: Path) -> None:
    """Remove what an earlier attempt of a run has kept."""
    for name in (IMAGE_FACTS, BEFORE_IMAGES, TIMES):
        (folder / name).unlink(missing_ok=True)


def read_facts(folder: Path, run_id: str) -> ImageFacts:
    """Return what a run has kept. Raises Damaged if it is missing or was changed."""
    file = folder / IMAGE_FACTS
    try:
        facts = msgspec.convert(durable.read_json(file), ImageFacts)
    except (FileNotFoundError, msgspec.ValidationError) as error:
        raise durable.damaged(file) from error
    if facts.run_id != run_id:
        raise durable.damaged(file)
    durable.check(folder, facts.files)
    return facts


def must_still_fit(where: str, facts: ImageFacts, types: Mapping[str, str]) -> tuple[str, ...]:
    """Return notes on columns that are gone since a run. Raises ConfigError if one has another type since: its values
    may mean something else.
    """
    for name, dtype in facts.types.items():
        if types.get(name, dtype) != dtype:
            raise ConfigError(
                f"{where}: column {name} was of type {dtype} when run {facts.run_id} wrote it, and is of type "
                f"{types[name]} now. Change it back, then undo the run."
            )
    gone = [name for name in facts.types if name not in types]
    what, them = ("column", "it") if len(gone) == 1 else ("columns", "them")
    return (f"the table has no {what} {', '.join(gone)} any more: values in {them} are not restored",) if gone else ()
