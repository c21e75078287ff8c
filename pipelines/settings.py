"""The settings of a run as one frozen value, from file, environment and flags.

Flags override the environment, and the environment overrides the file.
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
    """The settings of a source: the format of its files, and the meaning of its columns and values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Annotated[str | tuple[str, ...], BeforeValidator(_source_or_sources)] = Field(
        description="Path, glob, folder, - or URL to read from; or several."
    )

    columns: dict[str, str | list[str]] = Field(
        default_factory=dict,
        description="Column = canonical field, or a list of fields; an empty field leaves the column out.",
    )
    defaults: dict[str, str] = Field(default_factory=dict, description="Field = value where the source has none.")
    extra: Literal["keep", "drop", "error"] = Field(
        "keep", description="Unmapped columns: keep them in metadata, drop them, or stop."
    )

    encoding: str | None = Field(None, description="Encoding of CSV files; detected by default.")
    delimiter: str | None = Field(None, description="Delimiter of CSV files, one character; detected by default.")
    quote: str | None = Field(None, description="Quote of CSV files, one character; detected by default.")
    header: bool | None = Field(None, description="Whether CSV files have a header line; detected by default.")

    include_archived: bool = Field(
        False, description="Also read archived and deleted customers, where a provider offers them."
    )

    where: str | None = Field(
        None, description="Read only records for which this SQL condition on the source's columns is true."
    )

    timezone: str = Field("UTC", description="Time zone (IANA) of dates and times without one.")
    date_format: tuple[str, ...] = Field(
        (), description="A further format of dates (strftime), e.g. %d/%m/%Y. Repeatable."
    )
    blocked: tuple[str, ...] = Field((), description="An e-mail or id that does not identify a customer. Repeatable.")

    @property
    def sources(self) -> tuple[str, ...]:
        """All sources, in order."""
        return (self.source,) if isinstance(self.source, str) else self.source

    @property
    def source_name(self) -> str:
        """The sources as text, without secrets."""
        return named(self.source)

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, OSError, KeyError) as error:
            raise ValueError(f"{value!r} is not an IANA time zone such as Europe/Berlin") from error
        return value


class Settings(Reading):
    """All settings of a run. The names are those of the options, with `_` for `-`."""

    model_config = ConfigDict(title="tranship pipeline")

    destination: str = Field(description="Path or URL to write to.")

    survivor: Literal["newest", "first", "last"] = Field(
        "newest", description="Which record of a customer is kept: by updated_at, or by its place in the input."
    )
    fill: bool = Field(False, description="Fill the survivor's empty fields from the records merged into it.")

    mode: Literal["upsert", "insert", "update", "mirror"] = Field(
        "upsert", description="Which changes to customers are allowed."
    )
    nulls: Literal["keep", "overwrite"] = Field(
        "keep", description="Whether an empty value in the source erases the destination's."
    )
    older: Literal["skip", "write", "refuse"] | None = Field(
        None,
        description="How to treat records that are older (updated_at) than the destination's: skip (default), "
        "write, refuse. If set, a majority of older records does not stop the run.",
    )
    deletes: Literal["mark", "remove"] = Field(
        "mark", description="What mirror does with customers missing from the source."
    )
    evolve: bool = Field(False, description="Add columns missing from an existing table.")
    create: Literal["auto", "never"] = Field(
        "auto", description="Whether a table, schema or file that does not exist is created, or the run stops."
    )
    crosswalk: Path | None = Field(
        None, description="The crosswalk of an earlier run: which customer at the provider each record is."
    )
    remove_for_good: bool = Field(
        False,
        description="Allow mirror to do what cannot be undone at a provider: archive at Metronome, delete licences.",
    )
    overwrite: bool = Field(False, description="Replace a file that Tranship did not write.")
    raw: bool = Field(False, description="Write CSV cells unchanged, even if a spreadsheet would execute them.")

    max_rejects: Limit | None = Field(None, description="Stop before the first write if more are rejected: N or N%.")
    max_conflicts: Limit = Field(
        "1%",
        description="Stop before the first write if more records share an id with a different customer: N or N%.",
    )
    max_deletes: Limit | None = Field(None, description="Stop before the first write if mirror would delete more.")
    max_changes: Limit | None = Field(
        None, description="Stop before the first write if more of the customers already there would change."
    )
    allow_empty: bool = Field(False, description="Accept an empty source.")
    limit: int | None = Field(
        None, ge=1, description="Write this many records to a provider, then stop; resume continues."
    )
    dry_run: bool = Field(False, description="Stop after the plan and write nothing.")

    state_dir: Path = Field(Path(".tranship"), description="Where runs keep their files.")
    workers: int = Field(
        default_factory=lambda: min(os.cpu_count() or 1, 8),
        ge=1,
        le=64,
        description="Batches processed in parallel.",
    )
    memory: str = Field(
        "600MB",
        pattern=r"^\d+(MB|GB)$",
        description="What the destination database may use before it spills to disk, e.g. 600MB or 2GB.",
    )
    overlap: Literal["wait", "skip", "fail"] = Field(
        "wait", description="If another run is writing to the destination: wait for it, skip this run, or fail."
    )
    lock_timeout: Duration = Field(
        "10min",
        description="How long to wait for another process that uses the destination, e.g. 30s or 10min; 0: no limit.",
    )
    locks: bool = Field(
        True, description="Lock out a second process; no-locks is for file systems without locks, at your own risk."
    )
    pace: str | None = Field(
        None, pattern=r"^\d+(/s|/min)$", description="Maximum rate of calls to a provider, e.g. 50/s or 100/min."
    )
    statement_timeout: Duration = Field(
        "0", description="How long a statement of the write may run on a server, e.g. 30min or 2h; 0: no limit."
    )

    @model_validator(mode="after")
    def _mirror_has_a_limit(self) -> Self:
        if self.mode == "mirror" and self.max_deletes is None:
            raise ValueError("mode mirror needs max_deletes: how many customers may be deleted, N or N%")
        return self


def named(source: str | Sequence[str]) -> str:
    """Return the sources as text, without secrets; of many, only the first."""
    sources = [source] if isinstance(source, str) else source
    more = len(sources) - _SOURCES_NAMED
    return ", ".join(map(shown, sources[:_SOURCES_NAMED])) + (f" and {more} more" if more > 0 else "")


def load(
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    file: Path | None = None,
) -> Settings:
    """Merge flags, environment and file. Raises ConfigError that names the setting and where it was set."""
    return _validated(Settings, flags, environment, file)


def from_command(
    source: str | Sequence[str] | None,
    destination: str | None,
    options: Mapping[str, Any],
    environment: Mapping[str, str],
) -> Settings:
    """Return the settings of `run SOURCE... DESTINATION`, or of `run pipeline.toml`; options override the file.

    Raises ConfigError.
    """
    addresses = _addresses(source, destination, options)
    return load({**options, **addresses}, environment, _settings_file(source))


def reading_from_command(
    source: str | Sequence[str], options: Mapping[str, Any], environment: Mapping[str, str]
) -> Reading:
    """Return the settings of `inspect SOURCE...` or `inspect pipeline.toml`. Raises ConfigError."""
    addresses = _addresses(source, None, options)
    file = _settings_file(source)
    return _validated(Settings if file else Reading, {**options, **addresses}, environment, file)


def _settings_file(source: str | Sequence[str] | None) -> Path | None:
    """Return the settings file given in place of a source, if any. Raises ConfigError if there are other sources."""
    given = [source] if isinstance(source, str) else list(source or ())
    files = [source for source in given if str(source).lower().endswith(".toml")]
    if files and len(given) > 1:
        raise ConfigError(f"{files[0]}: is a settings file and names its own sources. Remove the other sources.")
    return Path(files[0]) if files else None


def _addresses(
    source: str | Sequence[str] | None, destination: str | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    given = {"source": None if _settings_file(source) else source or None, "destination": destination}
    addresses = {name: address for name, address in given.items() if address is not None}
    for name in addresses:
        if name in options:
            raise ConfigError(f"{name}: is given twice, as an argument and as an option. Give it once.")
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
    """Return a limit (`2%` or `20`) as a number of records."""
    return float(value[:-1]) / 100 * of if value.endswith("%") else float(value)


def seconds(value: str) -> float:
    """Return a duration in seconds: `10min` is 600."""
    number = value.rstrip("himsn")
    return float(number) * {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "": 1}[value[len(number) :]]


def per_second(value: str) -> float:
    """Return a pace in calls per second: `100/min` is 1.67."""
    number, _, unit = value.partition("/")
    return float(number) / {"s": 1, "min": 60}[unit]


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: is not valid TOML: {error}") from error


def _from(environment: Mapping[str, str], kind: type[Reading]) -> dict[str, Any]:
    """`TRANSHIP_MAX_REJECTS=2%` is max_rejects; lists are separated by commas, tables are `a=b,c=d`. Sources are
    separated by line breaks, since paths and addresses contain commas.

    An empty variable counts as not set.
    """
    found: dict[str, Any] = {}
    for variable, text in environment.items():
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if not variable.startswith(ENVIRONMENT_PREFIX) or not text:
            continue
        if name in kind.model_fields:
            found[name] = _value(name, text)
        # Kubernetes sets variables with our prefix for a service called tranship; only likely typos are reported.
        elif name not in Settings.model_fields and (near := _nearest(name, cutoff=0.85)):
            raise ConfigError(f"{variable}: unknown setting. Did you mean {_variable(near)}?")
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
    """Return the value of `columns` or `defaults` from pairs; a column that occurs more than once feeds several fields.

    Raises ConfigError, naming `where` they were given, if a field has two defaults.
    """
    found: dict[str, Any] = {}
    for key, value in pairs:
        if name == "columns" and key in found:
            found[key] = [*([found[key]] if isinstance(found[key], str) else found[key]), value]
        elif found.setdefault(key, value) != value:
            raise ConfigError(f"{where}: {key} has two values, {found[key]!r} and {value!r}. Give one.")
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
            known = f"Did you mean {near}?" if near else f"The settings are: {', '.join(Settings.model_fields)}."
            lines.append(f"{name}{where}: unknown setting. {known}")
        elif problem["type"] == "missing":
            lines.append(f"{name}: is missing. {Settings.model_fields[name].description}")
        elif problem["type"] == "string_pattern_mismatch":
            lines.append(f"{name}{where}: is not valid. {Settings.model_fields[name].description}")
        else:
            lines.append(f"{name}{where}: {problem['msg'].removeprefix('Value error, ')}.")
    return "\n".join(lines)
