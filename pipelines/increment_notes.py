"""What a run says of the part of a source that it reads (`increment.py`), before and after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl

from tranship.connectors.contract import Watermark, position_of
from tranship.pipelines.cursor import Cut, Extent, Kind, decided, shown
from tranship.pipelines.settings_model import Settings
from tranship.schemas.counted import counted, it_or_them

BY_HAND: Final = "by hand"
"""`Watermark.run_id` of one that a person has set."""
_LONGEST_LOOKBACK: Final = timedelta(days=7)
"""Records that are later than this call for a full read from time to time."""


def begin_notes(
    settings: Settings, cut: Cut, mark: Watermark | None, source: str, known: Sequence[Watermark]
) -> Iterator[str]:
    """Yield the notes about the part of a source that a run reads; `known` are the watermarks of the destination."""
    name = cut.cursor.name
    if mark is None:
        others = [other.run_id for other in known if other.source == source]
        if others:
            since = "the watermark was set by hand" if others[-1] == BY_HAND else f"run {others[-1]}"
            yield (
                f"the mapping, or another setting that decides the outcome of a record, has changed since {since}: "
                "everything is read"
            )
        else:
            yield f"{source} was not read into this destination before: everything is read"
    elif cut.skips and cut.since is not None:
        back = f", with --lookback {settings.lookback}" if cut.since != mark.position else ""
        who = "the watermark was set by hand to" if mark.run_id == BY_HAND else f"run {mark.run_id} read up to"
        so_far = f"{who} {shown(mark.position)}{back}"
        yield f"reads records with {name} from {shown(cut.since)} on ({so_far})"


def read_notes(facts: Mapping[str, Any] | None, extents: Mapping[Kind, Extent], rejected: int) -> Iterator[str]:
    """Yield what there is to say about the cursors that were read."""
    if facts is None or not extents:
        return
    name, kind = facts["cursor"], decided(extents)
    extent = extents[kind]
    if extent.unreadable:
        what, have = "a time" if kind == "time" else "a whole number", "has" if extent.unreadable == 1 else "have"
        assert extent.first is not None  # noqa: S101  (there is one)
        source, line = extent.first
        yield (
            f"{counted(extent.unreadable, 'record')} {have} a value in {name} that is not {what}, and every "
            f"run reads {it_or_them(extent.unreadable)}; the first: {source}, line {line}"
        )
    if extent.ahead:
        have = "has" if extent.ahead == 1 else "have"
        yield (
            f"{counted(extent.ahead, 'record')} {have} a value in {name} after the start of this run: the watermark "
            f"stays before it, and the next run reads {it_or_them(extent.ahead)} again. If the source's times are "
            "local, set --timezone"
        )
    if not extent.filled and facts["known"] is None and facts["moves"]:
        yield f"no record that was read has a value in {name}: the next run with --since last reads everything"
    if rejected and facts["moves"]:
        them = it_or_them(rejected)
        yield (
            f"the watermark will move past {counted(rejected, 'rejected record')}: correct {them} in the rejects file "
            f"and run that; --since last does not read {them} again"
        )


def late_note(known: str, changed: pl.Series) -> str:
    """Return what a delta would have missed. `known` is the watermark; `changed` are the cursors of late records that
    change the destination.
    """
    if changed.is_empty():
        return "no late records: a delta would have missed nothing"
    oldest, position = changed.min(), position_of(known)
    count = counted(len(changed), "late record")
    if isinstance(position, int) or not isinstance(oldest, datetime):
        behind = position - oldest  # type: ignore[operator]
        return f"{count} a delta would have missed, the oldest {behind:,} behind; use --lookback {behind}"
    late = position - oldest
    if late > _LONGEST_LOOKBACK:
        return f"{count} a delta would have missed, the oldest {_duration(late)}; run --full from time to time"
    hours = -(-late // timedelta(hours=1))
    return f"{count} a delta would have missed, the oldest {_duration(late)}; use --lookback {hours}h"


def _duration(length: timedelta) -> str:
    minutes = -(-length // timedelta(minutes=1))
    days, hours = minutes // 1440, minutes // 60 % 24
    parts = [(days, "d"), (hours, "h")] if days else [(hours, "h"), (minutes % 60, "min")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count)
