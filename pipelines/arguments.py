"""The settings as keyword arguments of the Python API: their types, for editors and type checkers.

`pipelines/settings_model.py` has the defaults, and checks the values; a test checks that both have the same settings.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, timedelta, tzinfo
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeAlias, TypedDict

import polars as pl

from tranship.connectors import key_shapes, suggestions
from tranship.connectors.errors import ConfigError
from tranship.pipelines.setting_values import own_path, path_text, source_text, state_path

Address: TypeAlias = str | os.PathLike[str]
"""A path or a URL."""


class ArrowStream(Protocol):
    """A frame of polars or pandas, a table or reader of pyarrow, a DuckDB relation, or any other Arrow stream."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return a PyCapsule of an ArrowArrayStream."""
        ...


class ArrowArray(Protocol):
    """A record batch of Arrow."""

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]:
        """Return PyCapsules of an ArrowSchema and an ArrowArray."""
        ...


class ArrowDataset(Protocol):
    """A data set of pyarrow."""

    def scanner(self, *arguments: Any, **options: Any) -> Any:
        """Return a scanner of its files."""
        ...


Frame: TypeAlias = ArrowStream | ArrowArray | ArrowDataset | pl.LazyFrame
"""Records in a frame or another form of Arrow."""

Records: TypeAlias = Frame | Sequence[Mapping[str, Any]] | Iterator[Mapping[str, Any]]
"""Records in Python. A generator, or another source that can be read only once, is read once. Any iterable of dicts is
accepted; for type checkers it is a list or an iterator, since they cannot infer a list of sources beside `Iterable`.
"""

Sources: TypeAlias = Address | Frame | Sequence[Address | Records | Mapping[str, Any]] | Iterator[Mapping[str, Any]]
"""One path, glob, folder or URL, or records, or a list of several of these."""

Limit: TypeAlias = int | float | str
"""A count (`20`) or a share (`0.02` or `"2%"`)."""

Duration: TypeAlias = timedelta | str
"""`timedelta(seconds=30)` or `"30s"`."""

Texts: TypeAlias = str | list[str] | tuple[str, ...] | AbstractSet[str]
"""One text, or several."""


class MeaningOptions(TypedDict, total=False):
    """Settings about what the columns and values of a source mean."""

    profile: Address | None
    fields: Mapping[str, str]
    ignore: Texts
    values: Mapping[str, Mapping[str, str | int | date]]
    defaults: Mapping[str, str | int | date]
    set: Mapping[str, str]
    corrections: Address | None
    extra: Literal["keep", "drop", "error"]
    where: str | None
    timezone: str | tzinfo
    date_format: Texts
    blocked: Texts
    on_invalid: Mapping[str, Literal["reject", "warn"]]
    strict: bool


class SourceOptions(MeaningOptions, total=False):
    """Settings about a source: how its files are written, and what its columns and values mean."""

    allow_missing: bool
    encoding: str | None
    delimiter: str | None
    quote: str | None
    header: bool | None
    skip_lines: int
    header_line: int | None
    sheet: str | int | None
    options: Mapping[str, str | int | float | bool]
    include_archived: bool


class IdentityOptions(TypedDict, total=False):
    """Settings about which records are one customer."""

    survivor: Literal["newest", "first", "last"]
    fill: bool
    max_conflicts: Limit


class CleanOptions(MeaningOptions, IdentityOptions, total=False):
    """Settings that need neither files nor a destination: those of records in a data frame of a cluster."""


class RunOptions(SourceOptions, IdentityOptions, total=False):
    """Settings of a run."""

    since: str | date | int | None
    until: str | date | int | None
    cursor: str | None
    lookback: Duration | int
    full: bool
    new_files: bool
    settle: Duration
    mode: Literal["upsert", "insert", "update", "mirror"]
    columns: Mapping[str, str]
    nulls: Literal["keep", "overwrite"]
    older: Literal["skip", "write", "refuse"] | None
    deletes: Literal["mark", "remove"]
    evolve: bool
    changes: Literal["on", "off"]
    undo: bool
    history: bool
    create: Literal["auto", "never"]
    crosswalk: Address | None
    remove_for_good: bool
    overwrite: bool
    format: Literal["csv", "tsv", "jsonl"] | None
    raw: bool
    max_rejects: Limit | None
    max_warnings: Limit | None
    max_deletes: Limit | None
    max_changes: Limit | None
    allow_empty: bool
    limit: int | None
    dry_run: bool
    report_samples: Literal["on", "off"]
    mask: Mapping[str, Literal["hmac", "hide"]]
    engine: Literal["spark", "sail"] | None
    remote: str | None
    work: Address | None
    state_dir: Address
    workers: int
    memory: str
    overlap: Literal["wait", "skip", "fail"]
    lock_timeout: Duration
    locks: bool
    pace: str | None
    statement_timeout: Duration
    pipeline: str | None
    alert: Texts | Sequence[Mapping[str, str | Sequence[str]]]
    expect: Mapping[str, int | str]
    retention: Mapping[str, int | str | bool]
    encrypt_to: Texts
    on_failure: str | None
    ping: str | None
    metrics: Address | None
    traces: bool
    lineage: Address | None


class LockOptions(TypedDict, total=False):
    """Settings that may differ when a run is continued; those not given are the ones of that run."""

    overlap: Literal["wait", "skip", "fail"]
    lock_timeout: Duration
    locks: bool
    memory: str


class FixOptions(LockOptions, total=False):
    """Settings of the run that loads corrected rejects."""

    dry_run: bool


class UndoOptions(LockOptions, total=False):
    """Settings of an undo."""

    dry_run: bool
    max_deletes: Limit | None
    max_changes: Limit | None
    remove_for_good: bool


def undo_options(options: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the options of an undo; those of locks may be in the environment. Raises ConfigError for any other."""
    own = set(UndoOptions.__annotations__) - set(LockOptions.__annotations__)
    locks = lock_options({}, environment)
    return locks | _known(options, [*LockOptions.__annotations__, *sorted(own)], "an undo")


def fix_options(options: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the options of a run that loads corrected rejects. Raises ConfigError for any other."""
    own = set(FixOptions.__annotations__) - set(LockOptions.__annotations__)
    locks = lock_options({}, environment)
    return locks | _known(options, [*LockOptions.__annotations__, *sorted(own)], "a fix")


def lock_options(options: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the options in the environment, overridden by those given. Raises ConfigError for any other option."""
    known = list(LockOptions.__annotations__)
    _known(options, known, "a run that is continued")
    variables = {name: environment.get(f"{_PREFIX}{name.upper()}") for name in known}
    return {name: value for name, value in variables.items() if value} | dict(options)


def _known(options: Mapping[str, Any], known: Sequence[str], of: str) -> dict[str, Any]:
    for name in options:
        if name not in known:
            advice = suggestions.advice(name, known, "Its options are")
            raise ConfigError(f"{name}: is not an option of {of}. {advice}")
    return dict(options)


def choices(name: str, value: object, known: Sequence[str]) -> tuple[str, ...]:
    """Return an argument that is one or several of these words. Raises ConfigError."""
    given = (
        (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple | AbstractSet) else ()
    )
    wrong = [word for word in given if word not in known]
    if wrong or (not given and value not in ((), [])):
        raise ConfigError(f"{name}: {wrong[0] if wrong else value!r} is not accepted. Use {', '.join(known)}.")
    return given


def state_dir(given: object, environment: Mapping[str, str]) -> Path:
    """Return the folder for the files of runs: as given, else TRANSHIP_STATE_DIR, else `.tranship`. Raises
    ConfigError.
    """
    if given is None:
        name = f"{_PREFIX}STATE_DIR"
        return Path(path(name, environment.get(name) or ".tranship", state_path))
    return Path(path("state_dir", given, state_path))


def identity(given: object, environment: Mapping[str, str]) -> Path | None:
    """Return the file with a secret key: as given, else TRANSHIP_IDENTITY; null if neither is. Raises ConfigError."""
    name = f"{_PREFIX}IDENTITY"
    if given is None:
        return Path(path(name, environment[name])) if environment.get(name) else None
    key_shapes.refuse_in(given, "identity")
    return Path(path("identity", given))


def path(name: str, value: object, meaning: Callable[[str], str] = own_path) -> str:
    """Return an argument that is a path or the id of a run, as text; `meaning` is for other kinds of path. Raises
    ConfigError.
    """
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str):
        raise ConfigError(f"{name}: {type(value).__name__} is not accepted. Give a string or a path.")
    try:
        return str(meaning(text))
    except ValueError as error:
        raise ConfigError(f"{name}: {error}.") from error


def position(name: str, value: object) -> str:
    """Return an argument that is a time or a whole number, as text. Raises ConfigError."""
    found = source_text(value)
    if not isinstance(found, str):
        raise ConfigError(f"{name}: {type(value).__name__} is not accepted. Give a time or a whole number.")
    return found


def window(value: object) -> str:
    """Return the length of a window as text. Raises ConfigError."""
    if isinstance(value, timedelta):
        if value < timedelta(seconds=1) or value.microseconds:
            raise ConfigError(f"window: {value} is not accepted. Give whole seconds.")
        return f"{value // timedelta(seconds=1)}s"
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value)
    raise ConfigError(f'window: {type(value).__name__} is not accepted. Give a timedelta, "1d" or a whole number.')


def address(name: str, value: object) -> str:
    """Return an argument that is a path or a URL, as text. Raises ConfigError."""
    try:
        found = path_text(value)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}.") from error
    if not isinstance(found, str):
        raise ConfigError(f"{name}: {type(value).__name__} is not accepted. Give a path or a URL.")
    return found


def text(name: str, value: object) -> str:
    """Return an argument that is text. Raises ConfigError."""
    if not isinstance(value, str):
        raise ConfigError(f"{name}: {type(value).__name__} is not accepted. Give a string.")
    return value


def texts(name: str, value: object) -> tuple[str, ...]:
    """Return an argument that is one text or several. Raises ConfigError."""
    given = (
        (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple | AbstractSet) else None
    )
    if given is None or not all(isinstance(one, str) for one in given):
        raise ConfigError(f"{name}: {type(value).__name__} is not accepted. Give a string, or a list of them.")
    return given


def count(name: str, value: object, least: int = 1, most: int | None = None) -> int:
    """Return an argument that is a whole number. Raises ConfigError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        numbers = f"{least} or more" if most is None else f"from {least} to {most}"
        raise ConfigError(f"{name}: {value!r} is not accepted. Give a whole number, {numbers}.")
    return value


_PREFIX: Final = "TRANSHIP_"
