"""Sources that are given in Python: frames, Arrow streams and iterables of dicts.

Their records are written to a folder of the state directory and read from there, so that a run can be continued by
another process. They are removed when the run has read them.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tranship.connectors.addresses import SpooledRecords, is_in_python, spooled_records
from tranship.connectors.errors import LocalFailure
from tranship.pipelines import endpoints
from tranship.pipelines.run_directory import STAGE_STEP, all_runs
from tranship.pipelines.settings_model import Reading, Settings

_FOLDER = "frames"


def named(source: Any) -> Any:
    """Return the source of a call, with a named address in place of each object that contains records."""
    if endpoints.is_records(source):
        return SpooledRecords(Path(), type(source).__name__).address
    if isinstance(source, list | tuple) and any(map(endpoints.is_records, source)):
        seen: Counter[str] = Counter()
        return [_named_among(each, seen) for each in source]
    return source


def _named_among(source: Any, seen: Counter[str]) -> Any:
    if not endpoints.is_records(source):
        return source
    name = type(source).__name__
    seen[name] += 1
    return SpooledRecords(Path(), name if seen[name] == 1 else f"{name} {seen[name]}").address


_R = TypeVar("_R", bound=Reading)


@contextmanager
def spooled(reading: _R, source: Any, most: int | None = None) -> Iterator[_R]:
    """Yield the settings, in which `named` sources are replaced by files with the records of `source`. With `most`,
    only this number of records is needed.

    Raises ConfigError if they are not records, or cannot be written.
    """
    if not any(map(is_in_python, reading.sources)):
        yield reading
        return
    given = source if isinstance(source, list | tuple) and not endpoints.is_records(source) else [source]
    with ExitStack() as stack:
        if isinstance(reading, Settings):
            folder = reading.state_dir / _FOLDER
            _make(folder)
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tranship-")))
        made: list[str] = []
        try:
            for address, records in zip(reading.sources, given, strict=True):
                name = spooled_records(address).name if is_in_python(address) else ""
                made.append(endpoints.spool(records, name, folder, most) if name else address)
            yield reading.model_copy(update={"source": made[0] if len(made) == 1 else tuple(made)})
        finally:
            if isinstance(reading, Settings):
                discard(reading.state_dir, made)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise LocalFailure(
            f"{folder}: cannot be created ({error.strerror}). Free some space there, or use another state_dir."
        ) from error


def discard(state_dir: Path, sources: Iterable[str]) -> None:
    """Remove the records of these sources, unless the last run that reads them must still do so."""
    kept = [source for source in sources if is_in_python(source)]
    if not kept:
        return
    runs = all_runs(state_dir)
    for source in kept:
        last = next((run for run in runs if source in _sources_of(run.manifest["settings"])), None)
        if last is None or last.done(STAGE_STEP) is not None:
            spooled_records(source).path.unlink(missing_ok=True)


def _sources_of(settings: dict[str, Any]) -> list[str]:
    source = settings["source"]
    return [source] if isinstance(source, str) else list(source)
