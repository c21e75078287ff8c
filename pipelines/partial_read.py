"""The part of a source that a run reads, between its two ends: new records, or new files.

How far the source was read is kept by the destination, or for it in the state directory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tranship.connectors.addresses import redacted
from tranship.connectors.contract import Destination, FileChoice, KeepsWatermarks, Layout, Narrowing, Source
from tranship.pipelines import file_marks, increment
from tranship.pipelines.endpoints import choose_files, keeps_state, source_identity
from tranship.pipelines.expressions import Expression
from tranship.pipelines.increment import Increment
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.settings_model import Settings
from tranship.pipelines.write_step import watermark_file

if TYPE_CHECKING:
    from tranship.pipelines.endpoints import NewFiles


def chosen_files(settings: Settings, destination: Destination, now: datetime) -> NewFiles | None:
    """Return what chooses the files of the source, for a run that reads only new ones."""
    if not settings.new_files:
        return None
    reading = file_marks.reading(settings, source_identity(settings))
    return choose_files(settings, _keeper(settings, destination).files_read(reading), now)


def files_facts(settings: Settings, files: FileChoice | None) -> dict[str, Any] | None:
    """Return the chosen files as the manifest keeps them."""
    if files is None:
        return None
    return file_marks.facts(settings, (settings.source_name, source_identity(settings)), files)


def _keeper(settings: Settings, destination: Destination) -> KeepsWatermarks:
    """Return what keeps how far sources were read into the destination."""
    return destination if isinstance(destination, KeepsWatermarks) else watermark_file(settings)


def increment_of(
    settings: Settings,
    columns: ColumnMap,
    layouts: Sequence[Layout],
    where: Expression | None,
    destination: Destination,
    now: datetime,
) -> Increment | None:
    """Return the part of the source that a run reads, by the watermarks of the destination."""
    if not (settings.since or settings.full):
        return None
    source = settings.source_name, source_identity(settings)
    known = _keeper(settings, destination).watermarks()
    return increment.begin(settings, columns, layouts, where, known, source, now)


def notes(settings: Settings, source: Source, part: Increment | None, files: FileChoice | None) -> Iterator[str]:
    """Yield what there is to say about the part of the source that is read."""
    if part is None and files is None:
        return
    yield from (part.notes if part else ())
    yield from (files.notes if files else ())
    is_delta = files is not None or (part is not None and part.cut.skips and part.cut.since is not None)
    if is_delta and files is None and not isinstance(source, Narrowing):
        yield f"{settings.source_name} cannot be asked for changes: everything is read, and filtered then"
    if is_delta and not keeps_state(settings):
        yield f"{redacted(settings.destination)} is written whole: it will contain only what is new"


def narrow(source: Source, part: Increment | None) -> None:
    """Let the source leave out what is not read, where it can."""
    if (
        part
        and part.cut.skips
        and part.cut.since is not None
        and part.cut.cursor.column
        and isinstance(source, Narrowing)
    ):
        source.narrow(part.cut.cursor.column, part.cut.since)
