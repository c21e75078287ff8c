"""How far sources were read into a destination: watermarks are listed, set to another value, removed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from tranship.connectors.addresses import redacted
from tranship.connectors.contract import KeepsWatermarks
from tranship.connectors.contract import Watermark as Watermark
from tranship.connectors.errors import ConfigError
from tranship.pipelines import increment
from tranship.pipelines.cursor import shown, text_of
from tranship.pipelines.endpoints import open_destination
from tranship.pipelines.increment_notes import BY_HAND
from tranship.pipelines.observer import Quiet
from tranship.pipelines.ownership import owned
from tranship.pipelines.settings import load
from tranship.pipelines.watermark_files import keeper_of


class Cleared(NamedTuple):
    """What was removed at a destination."""

    watermarks: tuple[Watermark, ...]
    files: int
    """The number of files that were forgotten."""


def watermarks(destination: str, state_dir: Path) -> list[Watermark]:
    """Return the watermarks of a destination. Raises ConfigError and ConnectorError."""
    with _kept(destination, state_dir, writes=False) as keeper:
        return keeper.watermarks()


def set_watermark(destination: str, state_dir: Path, value: str, source: str | None) -> Watermark:
    """Set a watermark to a time, or to a whole number if it is one; return it. Raises ConfigError if it is unclear
    which is meant, and ConnectorError.
    """
    with _kept(destination, state_dir, writes=True) as keeper:
        old = _only(keeper.watermarks(), destination, source)
        position = increment.parse(value, "state set", "UTC", (), numbers=isinstance(old.position, int))
        if isinstance(position, int) != isinstance(old.position, int):
            raise ConfigError(f"state set {value}: the watermark of {old.source} is a whole number. Give one.")
        new = replace(old, value=text_of(position), run_id=BY_HAND)
        keeper.replace_watermark(old, new)
        return new


def clear(destination: str, state_dir: Path, source: str | None) -> Cleared:
    """Remove the watermarks of a destination, or those of one source, and forget its files; return the watermarks and
    the number of files. The next runs read everything.
    """
    with _kept(destination, state_dir, writes=True) as keeper:
        removed = [mark for mark in keeper.watermarks() if source in (None, mark.source)]
        for mark in removed:
            keeper.replace_watermark(mark, None)
        files = keeper.forget_files(source)
        if source is not None and not removed and not files:
            raise _unknown(source, destination)
        return Cleared(tuple(removed), files)


def entries(marks: Sequence[Watermark]) -> list[dict[str, str]]:
    """Return watermarks for programs; `shown` is the value for people."""
    return [
        {
            **{"source": mark.source, "cursor": mark.cursor, "value": mark.value, "run_id": mark.run_id},
            "shown": shown(mark.position),
        }
        for mark in marks
    ]


@contextmanager
def _kept(destination: str, state_dir: Path, *, writes: bool) -> Iterator[KeepsWatermarks]:
    """Yield what keeps the watermarks of a destination, which no run writes meanwhile if this `writes`."""
    settings = load({"source": "-", "destination": destination, "state_dir": state_dir, "dry_run": not writes}, {})
    with owned(settings, Quiet()), closing(open_destination(settings, Quiet())) as opened:
        yield keeper_of(settings, opened)


def _only(known: list[Watermark], destination: str, source: str | None) -> Watermark:
    found = [mark for mark in known if source in (None, mark.source)]
    if len(found) == 1:
        return found[0]
    if source is not None and not found:
        raise _unknown(source, destination)
    if not found:
        raise ConfigError(
            f"{redacted(destination)}: no source has a watermark here. The first run with --since last sets it; to "
            "begin at a time, use --since TIME."
        )
    sources = list(dict.fromkeys(mark.source for mark in found))
    if len(sources) == 1:
        raise ConfigError(
            f"{sources[0]}: is read in {len(found)} ways (mappings), each with a watermark. Clear them, then run with "
            "--since TIME."
        )
    raise ConfigError(f"{redacted(destination)}: name one of its sources with --source: {', '.join(sources)}")


def _unknown(source: str, destination: str) -> ConfigError:
    return ConfigError(
        f"--source {redacted(source)}: has no watermark in {redacted(destination)}. List them: tranship state list"
    )
