"""One run's settings as one frozen value, from file, environment and flags.

Flags win over the environment, and that over the file.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from tranship.connectors.errors import ConfigError, shown

ENVIRONMENT_PREFIX: Final = "TRANSHIP_"
_SOURCES_NAMED: Final = 5

Limit = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if isinstance(value, int) and not isinstance(value, bool) else value),
    Field(pattern=r"^\d+(\.\d+)?%$|^\d+$"),
]
"""A count (`20`) or a share (`2%`)."""

Duration = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if isinstance(value, int) and not isinstance(value, bool) else value),
    Field(pattern=r"^\d+(ms|s|min|h)$|^0$"),
]
"""A number with its unit (`30s`, `10min`), or 0."""


def _source_or_sources(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if not isinstance(value, list | tuple):
        if not isinstance(value, str):
            raise ValueError("Input should be a valid string, or a list of them")
        return value
    if not value:
        raise ValueError("the list is empty: name at least one source")
    sources = tuple(os.fspath(source) if isinstance(source, os.PathLike) else source for source in value)
    return sources[0] if len(sources) == 1 else sources


class Reading(BaseModel):
    """What can be said about a source: how its files are written and what its columns and values mean."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Annotated[str | tuple[str, ...], BeforeValidator(_source_or_sources)] = Field(
        description="Path, glob, folder, - or URL to read from; also several."
    )

    columns: dict[str, str | list[str]] = Field(
        default_factory=dict,
        description="Column = canonical field, or a list of fields; an empty field leaves the column out.",
    )
    defaults: dict[str, str] = Field(default_factory=dict, description="Field = value where the source has none.")
    extra: Literal["keep", "drop", "error"] = Field(
        "keep", description="Columns nobody mapped: keep them in metadata, drop them, or stop."
    )

    encoding: str | None = Field(None, description="Encoding of CSV files; found out if not given.")
    delimiter: str | None = Field(None, description="Delimiter of CSV files, one character; found out if not given.")
    quote: str | None = Field(None, description="Quote of CSV files, one character; found out if not given.")
    header: bool | None = Field(None, description="Whether CSV files have a header line; found out if not given.")

    include_archived: bool = Field(
        False, description="Read archived and deleted customers, too, where a provider offers them."
    )

    where: str | None = Field(
        None, description="Read only records for which this SQL condition over the source's columns is true."
    )

    timezone: str = Field("UTC", description="Zone of dates and times that name none (IANA).")
    date_format: tuple[str, ...] = Field((), description="A further form of dates (strftime), as %d/%m/%Y. Repeatable.")
    blocked: tuple[str, ...] = Field((), description="An e-mail or id that identifies nobody. Repeatable.")

    @property
    def sources(self) -> tuple[str, ...]:
        """All that is read, in order."""
        return (self.source,) if isinstance(self.source, str) else self.source

    @property
    def source_name(self) -> str:
        """What is read, for people."""
        return named(self.source)

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, OSError, KeyError) as error:
            raise ValueError(f"{value!r} is no IANA time zone such as Europe/Berlin") from error
        return value


class Settings(Reading):
    """Everything a run can be told. The names are those of the options, with `_` for `-`."""

    model_config = ConfigDict(title="tranship pipeline")

    destination: str = Field(description="Path or URL to write to.")

    survivor: Literal["newest", "first", "last"] = Field(
        "newest", description="Which record of a customer stays: by updated_at, or by its place in the input."
    )
    fill: bool = Field(False, description="Fill the survivor's empty fields from the records merged into it.")

    mode: Literal["upsert", "insert", "update", "mirror"] = Field("upsert", description="What may happen to customers.")
    nulls: Literal["keep", "overwrite"] = Field(
        "keep", description="Whether an empty value in the source erases the destination's."
    )
    older: Literal["skip", "write", "refuse"] | None = Field(
        None,
        description="What becomes of records that are older (updated_at) than the destination's: skip (default), "
        "write, refuse. If given, mostly older records do not stop the run.",
    )
    deletes: Literal["mark", "remove"] = Field("mark", description="What mirror does with customers the source lacks.")
    evolve: bool = Field(False, description="Add columns that an existing table lacks.")
    create: Literal["auto", "never"] = Field(
        "auto", description="Whether a table, schema or file that does not exist is created, or the run stops."
    )
    crosswalk: Path | None = Field(
        None, description="A crosswalk of an earlier run: which customer at the provider each record is."
    )
    remove_for_good: bool = Field(
        False, description="Let mirror do at a provider what cannot be undone: archive at Metronome, delete licences."
    )
    overwrite: bool = Field(False, description="Replace a file that Tranship did not write.")
    raw: bool = Field(False, description="Write CSV cells as they are, also those a spreadsheet would run.")

    max_rejects: Limit | None = Field(None, description="Stop before the first write if more are rejected: N or N%.")
    max_conflicts: Limit = Field(
        "1%",
        description="Stop before the first write if more records share an id with somebody else's: N or N%.",
    )
    max_deletes: Limit | None = Field(None, description="Stop before the first write if mirror would delete more.")
    max_changes: Limit | None = Field(
        None, description="Stop before the first write if more of the customers already there would change."
    )
    allow_empty: bool = Field(False, description="Let an empty source pass.")
    limit: int | None = Field(None, ge=1, description="Write so many records to a provider and stop; resume goes on.")
    dry_run: bool = Field(False, description="Stop after the plan; write nothing.")

    state_dir: Path = Field(Path(".tranship"), description="Where runs keep their files.")
    workers: int = Field(
        default_factory=lambda: min(os.cpu_count() or 1, 8),
        ge=1,
        le=64,
        description="Batches worked on side by side.",
    )
    memory: str = Field(
        "600MB",
        pattern=r"^\d+(MB|GB)$",
        description="What the destination database may use before it spills to disk, as 600MB or 2GB.",
    )
    overlap: Literal["wait", "skip", "fail"] = Field(
        "wait", description="If another run is writing to the destination: wait for it, skip this run, or fail."
    )
    lock_timeout: Duration = Field(
        "10min",
        description="How long to wait for another process that holds the destination, e.g. 30s or 10min; 0: no limit.",
    )
    locks: bool = Field(
        True, description="Lock out a second process; no-locks is for file systems that cannot, at your own risk."
    )
    pace: str | None = Field(
        None, pattern=r"^\d+(/s|/min)$", description="Calls to a provider at most, as 50/s or 100/min."
    )
    statement_timeout: Duration = Field(
        "0", description="How long a statement of the write may take at a server, as 30min or 2h; 0 is for ever."
    )

    @model_validator(mode="after")
    def _mirror_has_a_limit(self) -> Self:
        if self.mode == "mirror" and self.max_deletes is None:
            raise ValueError("mode mirror needs max_deletes: how many customers may be deleted, N or N%")
        return self


def named(source: str | Sequence[str]) -> str:
    """One source or several, for people: without secrets, and of many the first ones."""
    sources = [source] if isinstance(source, str) else source
    more = len(sources) - _SOURCES_NAMED
    return ", ".join(map(shown, sources[:_SOURCES_NAMED])) + (f" and {more} more" if more > 0 else "")


def load(
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    file: Path | None = None,
) -> Settings:
    """Put the three together. Raises ConfigError naming the setting and where it was given."""
    return _validated(Settings, flags, environment, file)


def from_command(
    source: str | Sequence[str] | None,
    destination: str | None,
    options: Mapping[str, Any],
    environment: Mapping[str, str],
) -> Settings:
    """Settings of `run SOURCE... DESTINATION`, or of `run pipeline.toml`; options replace what the file says.

    Raises ConfigError.
    """
    addresses = _addresses(source, destination, options)
    return load({**options, **addresses}, environment, _settings_file(source))


def reading_from_command(
    source: str | Sequence[str], options: Mapping[str, Any], environment: Mapping[str, str]
) -> Reading:
    """What `inspect SOURCE...` or `inspect pipeline.toml` says about the source. Raises ConfigError."""
    addresses = _addresses(source, None, options)
    file = _settings_file(source)
    return _validated(Settings if file else Reading, {**options, **addresses}, environment, file)


def _settings_file(source: str | Sequence[str] | None) -> Path | None:
    """The settings file that stands for the source, if there is one. Raises ConfigError where it is one of several."""
    given = [source] if isinstance(source, str) else list(source or ())
    files = [source for source in given if str(source).lower().endswith(".toml")]
    if files and len(given) > 1:
        raise ConfigError(
            f"{files[0]}: is a settings file; it says itself what is read. Give no other source beside it."
        )
    return Path(files[0]) if files else None


def _addresses(
    source: str | Sequence[str] | None, destination: str | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    given = {"source": None if _settings_file(source) else source or None, "destination": destination}
    addresses = {name: address for name, address in given.items() if address is not None}
    for name in addresses:
        if name in options:
            raise ConfigError(f"{name}: is given twice, as an argument and as an option.")
    return addresses


_S = TypeVar("_S", bound=Reading)


def _validated(
    kind: type[_S], flags: Mapping[str, Any], environment: Mapping[str, str], file: Path | None = None
) -> _S:
    merged: dict[str, Any] = {}
    origin: dict[str, str] = {}
    from_file = _read(file) if file else {}
    for where, given in (
        (str(file), from_file),
        ("environment", _from(environment, kind)),
        ("command", flags),
    ):
        for name, value in given.items():
            if name in ("columns", "defaults") and isinstance(value, Mapping):
                merged[name] = {**merged.get(name, {}), **value}
            else:
                merged[name] = value
            origin[name] = where
    try:
        return kind(**merged)
    except ValidationError as error:
        raise ConfigError(_sentence(error, origin)) from None


def limit(value: str, of: int) -> float:
    """A limit as a number of records: `2%` of these, or `20`."""
    return float(value[:-1]) / 100 * of if value.endswith("%") else float(value)


def seconds(value: str) -> float:
    """A duration in seconds: `10min` is 600."""
    number = value.rstrip("himsn")
    return float(number) * {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "": 1}[value[len(number) :]]


def per_second(value: str) -> float:
    """A pace in calls a second: `100/min` is 1.67."""
    number, _, unit = value.partition("/")
    return float(number) / {"s": 1, "min": 60}[unit]


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: is no valid TOML: {error}") from error


def _from(environment: Mapping[str, str], kind: type[Reading]) -> dict[str, Any]:
    """`TRANSHIP_MAX_REJECTS=2%` is max_rejects; lists are separated by commas, tables are `a=b,c=d`. Several sources
    stand on a line each: paths and addresses hold commas.

    An empty variable is not given.
    """
    found: dict[str, Any] = {}
    for variable, text in environment.items():
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if not variable.startswith(ENVIRONMENT_PREFIX) or not text:
            continue
        if name in kind.model_fields:
            found[name] = _value(name, text)
        # Kubernetes sets names with our prefix for a service called tranship; only a slip is told.
        elif name not in Settings.model_fields and (near := _nearest(name, cutoff=0.85)):
            raise ConfigError(f"{variable}: there is no such setting; did you mean {_variable(near)}?")
    return found


def _value(name: str, text: str) -> Any:
    if name == "source":
        return tuple(line.strip() for line in text.splitlines() if line.strip()) or text
    if name in ("columns", "defaults"):
        pairs = (pair.partition("=") for pair in text.split(","))
        return table(name, [(key, value) for key, _, value in pairs if key], _variable(name))
    if Settings.model_fields[name].annotation == tuple[str, ...]:
        return tuple(part for part in text.split(",") if part)
    return text


def table(name: str, pairs: Sequence[tuple[str, str]], where: str) -> dict[str, Any]:
    """The value of `columns` or `defaults` from pairs: a column that occurs more than once feeds several fields.

    Raises ConfigError, naming `where` they were given, if a field has two defaults.
    """
    found: dict[str, Any] = {}
    for key, value in pairs:
        if name == "columns" and key in found:
            found[key] = [*([found[key]] if isinstance(found[key], str) else found[key]), value]
        elif found.setdefault(key, value) != value:
            raise ConfigError(f"{where}: {key} is given two values, {found[key]!r} and {value!r}. Give it one.")
    return found


def _nearest(name: str, cutoff: float = 0.6) -> str | None:
    return next(iter(get_close_matches(name, Settings.model_fields, n=1, cutoff=cutoff)), None)


def _variable(name: str) -> str:
    return ENVIRONMENT_PREFIX + name.upper()


def _sentence(error: ValidationError, origin: Mapping[str, str]) -> str:
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        if not problem["loc"]:  # about several settings; the message names them
            lines.append(problem["msg"].removeprefix("Value error, ") + ".")
            continue
        name = str(problem["loc"][0])
        given = {"environment": _variable(name)}.get(origin.get(name, ""), origin.get(name))
        where = f" ({given})" if given else ""
        if problem["type"] == "extra_forbidden":
            near = _nearest(name)
            known = f"Did you mean {near}?" if near else f"There are: {', '.join(Settings.model_fields)}."
            lines.append(f"{name}{where}: there is no such setting. {known}")
        elif problem["type"] == "missing":
            lines.append(f"{name}: is not given. {Settings.model_fields[name].description}")
        elif problem["type"] == "string_pattern_mismatch":
            lines.append(f"{name}{where}: is not understood. {Settings.model_fields[name].description}")
        else:
            lines.append(f"{name}{where}: {problem['msg'].removeprefix('Value error, ')}.")
    return "\n".join(lines)
