"""What a run reads of its source: everything, the records from a watermark on, or the files that are new."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from tranship.connectors.addresses import redacted
from tranship.connectors.contract import Destination, FileChoice, KeepsWatermarks, Layout, Narrowing
from tranship.pipelines import file_marks, increment
from tranship.pipelines.cursor import Cut
from tranship.pipelines.endpoints import choose_files, keeps_state, source_identity
from tranship.pipelines.expressions import Expression
from tranship.pipelines.increment import Increment
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.settings_model import Settings
from tranship.pipelines.watermark_files import keeper_of

if TYPE_CHECKING:
    from tranship.pipelines.endpoints import NewFiles


class ReadBefore(Struct, frozen=True):
    """What was read of the source into a destination before: `keeper` has its watermarks. `files` are chosen by it, and
    null if all are read.
    """

    settings: Settings
    keeper: KeepsWatermarks
    files: NewFiles | None


class PartialRead(Struct, frozen=True):
    """What a run reads. Without `increment` and `files` it is everything; `files` are as the manifest keeps them."""

    increment: Increment | None = None
    files: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()

    @property
    def cut(self) -> Cut | None:
        """The records that are read; null for all of them."""
        return self.increment.cut if self.increment else None

    def meaning(self) -> list[object] | None:
        """Return what decides which records of a file are read, and what is known of them."""
        return self.cut.meaning() if self.cut else None

    def facts(self) -> dict[str, Any]:
        """Return what later processes of the run need, as the manifest keeps it."""
        return {"increment": self.increment.facts() if self.increment else None, "files": self.files}


def read_before(settings: Settings, destination: Destination, now: datetime) -> ReadBefore:
    """Return what was read before, and choose the files for a run that reads only new ones. Raises ConfigError."""
    keeper = keeper_of(settings, destination)
    files = None
    if settings.new_files:
        known = keeper.files_read(file_marks.reading(settings, source_identity(settings)))
        files = choose_files(settings, known, now)
    return ReadBefore(settings, keeper, files)


def begin(
    settings: Settings,
    columns: ColumnMap,
    layouts: Sequence[Layout],
    where: Expression | None,
    source: object,
    before: ReadBefore | None,
    now: datetime,
) -> PartialRead:
    """Return what a run reads of the open source; everything if nothing is known of what was read `before`. `settings`
    are those with the profile. Raises ConfigError.
    """
    if before is None or not (settings.since or settings.full or settings.new_files):
        return PartialRead()
    place = settings.source_name, source_identity(settings)
    part = None
    if not settings.new_files:
        part = increment.begin(settings, columns, layouts, where, before.keeper.watermarks(), place, now)
    facts = file_marks.facts(before.settings, place, before.files) if before.files else None
    return PartialRead(part, facts, tuple(_notes(settings, source, part, before.files)))


def _notes(settings: Settings, source: object, part: Increment | None, files: FileChoice | None) -> Iterator[str]:
    """Yield what there is to say about what is read."""
    yield from (part.notes if part else ())
    yield from (files.notes if files else ())
    is_delta = files is not None or (part is not None and part.cut.skips and part.cut.since is not None)
    if is_delta and files is None and not isinstance(source, Narrowing):
        yield f"{settings.source_name} cannot be asked for changes: everything is read, and filtered then"
    if is_delta and not keeps_state(settings):
        yield f"{redacted(settings.destination)} is written whole: it will contain only what is new"
