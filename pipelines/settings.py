"""The settings of a run as one frozen value, from file, environment and flags.

Flags override the environment, and the environment overrides the file.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence, Set
from datetime import UTC, date, timedelta
from decimal import Decimal
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

from tranship.connectors import known_secrets
from tranship.connectors.addresses import STANDARD_OUTPUT, redacted
from tranship.connectors.errors import ConfigError
from tranship.pipelines import field_rules
from tranship.schemas.visible import visible

ENVIRONMENT_PREFIX: Final = "TRANSHIP_"
_SOURCES_NAMED: Final = 5


def _limit(value: Any) -> Any:
    """Return a limit as text: a count as it is, a share (0.4) as a percentage (40%)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f'{_kind(value)} is not a limit. Give a count (20) or a share (0.02 or "2%")')
    if not isinstance(value, float):
        return str(value)
    if not 0 <= value <= 1:
        raise ValueError(f"{value} is not a share. Give a count (20) or a share from 0 to 1 (0.02)")
    return f"{(Decimal(repr(float(value))) * 100).normalize():f}%"


def _duration(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | str | timedelta):
        raise ValueError(f'{_kind(value)} is not a duration. Give a number with its unit ("30s") or a timedelta')
    if not isinstance(value, timedelta):
        return str(value)
    if value < timedelta():
        raise ValueError("a negative timedelta is not a duration")
    # Rounded up: 0 has a meaning of its own.
    return f"{-(-value // timedelta(milliseconds=1))}ms" if value else "0"


Limit = Annotated[str, BeforeValidator(_limit), Field(pattern=r"^\d+(\.\d+)?%$|^\d+$")]
"""A count (`20`) or a share (`2%`)."""

Duration = Annotated[str, BeforeValidator(_duration), Field(pattern=r"^\d+(ms|s|min|h)$|^0$")]
"""A number with its unit (`30s`, `10min`), or 0."""


def _path(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _several(value: Any) -> Any:
    """Return one text, or any collection of texts, as a tuple."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Set) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_several)]


def _values(value: Any) -> Any:
    """Values of fields as text: numbers and dates are written as a source would write them."""
    if not isinstance(value, Mapping):
        return value
    return {name: _written(given) for name, given in value.items()}


def _words(value: Any) -> Any:
    """Words of fields, and their values as text."""
    if not isinstance(value, Mapping):
        return value
    return {name: _values(words) for name, words in value.items()}


def _written(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _sheet(value: Any) -> Any:
    return str(value) if type(value) is int else value


def _option_values(value: Any) -> Any:
    """Options of connectors as text, whether they are from a command or from TOML or Python."""
    if not isinstance(value, Mapping):
        return value
    return {
        name: str(given).lower() if isinstance(given, bool) else str(given) if isinstance(given, int | float) else given
        for name, given in value.items()
    }


def _zone(value: Any) -> Any:
    if isinstance(value, ZoneInfo) and value.key:
        return value.key
    return "UTC" if value is UTC else value


def _kind(value: Any) -> str:
    return {type(None): "None"}.get(type(value), type(value).__name__)


def _source_or_sources(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if not isinstance(value, list | tuple):
        if not isinstance(value, str):
            raise ValueError(
                f"{_kind(value)} is not a source. Give a path, a URL or a list of them, or in Python a DataFrame, an "
                "Arrow table or an iterable of dicts"
            )
        return value
    if not value:
        raise ValueError("the list is empty: name at least one source")
    sources = tuple(map(_path, value))
    return sources[0] if len(sources) == 1 else sources


class Reading(BaseModel):
    """The settings of a source: the format of its files, and the meaning of its columns and values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Annotated[str | tuple[str, ...], BeforeValidator(_source_or_sources)] = Field(
        description="Path, glob, folder, - or URL to read from, or a list of them."
    )

    profile: Annotated[str | None, BeforeValidator(_path)] = Field(
        None,
        description="Export profile, which says what the columns and words of a system mean: a name, a file "
        "(.toml), or none to use no profile; by default recognised by the headers of the source.",
    )
    fields: dict[str, str] = Field(
        default_factory=dict,
        description='Build a field from columns: "Company | First Name + Last Name". The first alternative that is '
        "not empty is used; + joins columns with a blank.",
    )
    ignore: Texts = Field((), description="Source column to leave out. Repeatable.")
    values: Annotated[dict[str, dict[str, str]], BeforeValidator(_words)] = Field(
        default_factory=dict,
        description="Value of a field that a word in the source stands for; case is ignored. Repeatable.",
    )
    defaults: Annotated[dict[str, str], BeforeValidator(_values)] = Field(
        default_factory=dict, description="Value for a field where the source has none."
    )
    set: dict[str, str] = Field(
        default_factory=dict, description="Compute a field with an SQL expression on the source's columns."
    )
    allow_missing: bool = Field(
        False, description="Accept files that lack a mapped column that other files of the run have."
    )
    extra: Literal["keep", "drop", "error"] = Field(
        "keep", description="Unmapped columns: keep them in metadata, drop them, or stop with an error."
    )

    encoding: str | None = Field(None, description="Encoding of CSV files; detected by default.")
    delimiter: str | None = Field(None, description="Delimiter of CSV files, one character; detected by default.")
    quote: str | None = Field(None, description="Quote character of CSV files; detected by default.")
    header: bool | None = Field(
        None, description="Whether CSV files and Excel sheets have a header; detected by default."
    )
    skip_lines: int = Field(
        0, ge=0, description="Number of lines to ignore at the start of each CSV file, or of rows of an Excel sheet."
    )
    header_line: int | None = Field(
        None, ge=1, description="Line of the header, or row of an Excel sheet, counted from 1; detected by default."
    )
    sheet: Annotated[str | None, BeforeValidator(_sheet)] = Field(
        None, description="Sheet of Excel workbooks, by name or number; by default the only one with a table."
    )

    options: Annotated[dict[str, str], BeforeValidator(_option_values)] = Field(
        default_factory=dict, description="Option of a connector that another package provides."
    )

    include_archived: bool = Field(
        False, description="Also read archived and deleted customers, if the provider returns them."
    )

    where: str | None = Field(
        None, description="Read only records that satisfy this SQL condition on the source's columns."
    )

    timezone: Annotated[str, BeforeValidator(_zone)] = Field(
        "UTC", description="IANA time zone for dates and times that have none."
    )
    date_format: Texts = Field((), description="Additional date format (strftime), e.g. %d.%m.%Y. Repeatable.")
    blocked: Texts = Field(
        (), description="E-mail address or id that identifies nobody and is never used for matching. Repeatable."
    )
    on_invalid: dict[str, Literal["reject", "warn"]] = Field(
        default_factory=dict,
        description="What to do about an invalid value of this field: reject the record, or warn and leave the "
        "field empty. "
        "Default: reject for external_id, email and name, warn for the others. Repeatable.",
    )
    strict: bool = Field(False, description="Reject a record for any invalid value.")

    @property
    def sources(self) -> tuple[str, ...]:
        """All sources, in order."""
        return (self.source,) if isinstance(self.source, str) else self.source

    @property
    def source_name(self) -> str:
        """The sources as text, without secrets."""
        return named(self.source)

    @model_validator(mode="after")
    def _secrets_of_sources_are_known(self) -> Self:
        for source in self.sources:
            known_secrets.learn_address(source)
        return self

    @model_validator(mode="after")
    def _header_is_in_one_place(self) -> Self:
        if self.header_line is not None and self.header is False:
            raise ValueError("header_line names a header, and header says that there is none. Leave one of the two out")
        if self.header_line is not None and self.header_line <= self.skip_lines:
            raise ValueError(
                f"header_line {self.header_line} is one of the lines that skip_lines {self.skip_lines} skips. Lines "
                "are counted from the start of the file"
            )
        return self

    @field_validator("values")
    @classmethod
    def _no_blank_words(cls, values: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        for field, words in values.items():
            if not all(word.strip() for word in words):
                raise ValueError(f"{field} has a value for a blank. Use defaults for records without a value")
        return values

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

    destination: Annotated[str, BeforeValidator(_path)] = Field(
        description="Path or URL to write to, or - for standard output."
    )

    survivor: Literal["newest", "first", "last"] = Field(
        "newest", description="Which record of a customer survives: by updated_at, or by position in the input."
    )
    fill: bool = Field(False, description="Fill the survivor's empty fields from the records merged into it.")

    mode: Literal["upsert", "insert", "update", "mirror"] = Field(
        "upsert", description="Which customers may be created, updated or removed."
    )
    nulls: Literal["keep", "overwrite"] = Field(
        "keep", description="Whether an empty source value keeps or overwrites the destination's value."
    )
    older: Literal["skip", "write", "refuse"] | None = Field(
        None,
        description="Records with an older updated_at than the destination's: skip (default), write or refuse. "
        "If set, a run of mostly older records does not stop.",
    )
    deletes: Literal["mark", "remove"] = Field(
        "mark",
        description="What mirror does with customers that are missing from the source: mark them as deleted, or "
        "remove them.",
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="Column of the destination table in which a field is stored; matched by name by default.",
    )
    evolve: bool = Field(False, description="Add missing columns to an existing table.")
    create: Literal["auto", "never"] = Field("auto", description="Create a missing table, schema or file, or stop.")
    crosswalk: Path | None = Field(
        None, description="Crosswalk file of an earlier run; records are matched to the provider's customers by it."
    )
    remove_for_good: bool = Field(
        False,
        description="Allow mirror to make irreversible changes at a provider: archive at Metronome, delete licences.",
    )
    overwrite: bool = Field(False, description="Replace a file that Tranship did not write.")
    format: Literal["csv", "tsv", "jsonl"] | None = Field(
        None, description="Format of standard output (-) as destination: csv (default), tsv or jsonl."
    )
    raw: bool = Field(
        False, description="Write CSV cells unchanged, including those that a spreadsheet would run as formulas."
    )

    max_rejects: Limit | None = Field(
        None, description="Stop before the first write if more records than this are rejected: N or N%."
    )
    max_warnings: Limit | None = Field(
        None, description="Stop before the first write if there are more warnings than this: N or N% of the records."
    )
    max_conflicts: Limit = Field(
        "1%",
        description="Stop before the first write if more records than this share an id with another customer: N or N%.",
    )
    max_deletes: Limit | None = Field(
        None, description="Stop before the first write if mirror would delete more customers than this: N or N%."
    )
    max_changes: Limit | None = Field(
        None, description="Stop before the first write if more existing customers than this would change: N or N%."
    )
    allow_empty: bool = Field(False, description="Accept an empty source.")
    limit: int | None = Field(
        None, ge=1, description="Write at most N records to a provider, then stop; resume continues."
    )
    dry_run: bool = Field(False, description="Stop after the plan; write nothing.")

    state_dir: Path = Field(Path(".tranship"), description="Folder for the files of runs.")
    workers: int = Field(
        default_factory=lambda: min(os.cpu_count() or 1, 8),
        ge=1,
        le=64,
        description="Number of batches processed in parallel.",
    )
    memory: str = Field(
        "600MB",
        pattern=r"^\d+(MB|GB)$",
        description="Memory that DuckDB may use before it spills to disk, e.g. 600MB or 2GB.",
    )
    overlap: Literal["wait", "skip", "fail"] = Field(
        "wait", description="If another run is writing to the destination: wait for it, skip this run, or fail."
    )
    lock_timeout: Duration = Field(
        "10min",
        description="How long to wait for another process that has locked the destination, e.g. 30s or 10min; 0: "
        "no limit.",
    )
    locks: bool = Field(
        True,
        description="Lock the destination against other processes; use no-locks, at your own risk, on file "
        "systems without locks.",
    )
    pace: str | None = Field(
        None, pattern=r"^\d+(/s|/min)$", description="Maximum rate of calls to a provider, e.g. 50/s or 100/min."
    )
    statement_timeout: Duration = Field(
        "0", description="Time limit for each SQL statement of the write, e.g. 30min or 2h; 0: no limit."
    )

    @model_validator(mode="after")
    def _secrets_of_the_destination_are_known(self) -> Self:
        known_secrets.learn_address(self.destination)
        return self

    @model_validator(mode="after")
    def _missing_columns_erase_nothing(self) -> Self:
        if self.allow_missing and self.nulls == "overwrite":
            raise ValueError(
                "allow_missing cannot be combined with nulls overwrite: a file without a column would empty that field "
                "at the destination. Leave one of the two out"
            )
        return self

    @model_validator(mode="after")
    def _only_standard_output_has_a_format(self) -> Self:
        if self.format is not None and self.destination != STANDARD_OUTPUT:
            raise ValueError(
                "format is that of standard output (-); the format of a file is that of its name. Leave it out"
            )
        return self

    @model_validator(mode="after")
    def _mirror_has_a_limit(self) -> Self:
        if self.mode == "mirror" and self.max_deletes is None:
            raise ValueError("mode mirror needs max_deletes: how many customers may be deleted, N or N%")
        return self


def named(source: str | Sequence[str]) -> str:
    """Return the sources as text, without secrets; of many, only the first."""
    sources = [source] if isinstance(source, str) else source
    more = len(sources) - _SOURCES_NAMED
    return ", ".join(map(redacted, sources[:_SOURCES_NAMED])) + (f" and {more} more" if more > 0 else "")


def load(
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    file: Path | None = None,
) -> Settings:
    """Merge flags, environment and file. Raises ConfigError that names the setting and where it was set."""
    return _validated(Settings, flags, environment, file)


def fragment(given: Mapping[str, Any], file: str) -> Reading:
    """Return the settings of a profile. Raises ConfigError that names the setting and the file."""
    return _validated(Reading, given, {}, None, file)


def from_command(
    source: object,
    destination: object,
    options: Mapping[str, Any],
    environment: Mapping[str, str],
    place: str = "command",
) -> Settings:
    """Return the settings of `run SOURCE... DESTINATION`, or of `run pipeline.toml`; options override the file.

    Raises ConfigError, naming the `place` where the options were given.
    """
    addresses = _addresses(source, destination, options)
    return _validated(Settings, {**options, **addresses}, environment, _settings_file(source), place)


def reading_from_command(
    source: object, options: Mapping[str, Any], environment: Mapping[str, str], place: str = "command"
) -> Reading:
    """What `inspect SOURCE...` or `inspect pipeline.toml` says about the source. Raises ConfigError."""
    addresses = _addresses(source, None, options)
    file = _settings_file(source)
    return _validated(Settings if file else Reading, {**options, **addresses}, environment, file, place)


def _settings_file(source: object) -> Path | None:
    """The settings file that stands for the source, if there is one. Raises ConfigError where it is one of several."""
    given = source if isinstance(source, list | tuple) else [source]
    addresses = [_path(address) for address in given]
    files = [address for address in addresses if isinstance(address, str) and address.lower().endswith(".toml")]
    if files and len(given) > 1:
        raise ConfigError(f"{files[0]}: is a settings file and names its own sources. Remove the other sources.")
    return Path(files[0]) if files else None


def _addresses(source: object, destination: object, options: Mapping[str, Any]) -> dict[str, Any]:
    is_given = not isinstance(source, str | list | tuple) or source
    given = {"source": source if is_given and not _settings_file(source) else None, "destination": destination}
    addresses = {name: address for name, address in given.items() if address is not None}
    for name in addresses:
        if name in options:
            raise ConfigError(f"{name}: is given twice, as an argument and as an option. Give it once.")
    return addresses


_S = TypeVar("_S", bound=Reading)


def _validated(
    kind: type[_S],
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    file: Path | None = None,
    place: str = "command",
) -> _S:
    merged: dict[str, Any] = {}
    origin: dict[str, str] = {}
    from_file = _read(file) if file else {}
    for where, given in (
        (str(file), from_file),
        ("environment", _from(environment, kind)),
        (place, flags),
    ):
        for name, value in given.items():
            if name == "columns" and _is_of_source(value):
                raise ConfigError(
                    _now_fields(_variable(name) if where == "environment" else f"{name} ({where})", value)
                )
            merged[name] = _merged(merged.get(name), value) if name in TABLES else value
            origin[name] = where
        # A rule for a field replaces one of the other kind that was given farther away.
        for name, other in (("fields", "set"), ("set", "fields")):
            near = given.get(name)
            if isinstance(near, Mapping) and isinstance(merged.get(other), Mapping):
                own = given.get(other) or {}
                merged[other] = {
                    field: rule for field, rule in merged[other].items() if field not in near or field in own
                }
    try:
        return kind(**merged)
    except ValidationError as error:
        raise ConfigError(*_sentence(error, origin, kind).split("\n")) from None


def _merged(given: Any, nearer: Any) -> Any:
    """Return two tables as one; in `values`, the words of each field, too."""
    if not isinstance(given, Mapping) or not isinstance(nearer, Mapping):
        return nearer
    return {**given, **{key: _merged(given.get(key), value) for key, value in nearer.items()}}


def without_columns(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of an earlier version, whose `columns` were source column → field or fields, in today's form."""
    settings = dict(given)
    fields, ignored = _of_columns({} if "fields" in settings else settings.pop("columns", {}))
    if fields or ignored:
        settings["fields"] = fields | settings.get("fields", {})
        settings["ignore"] = [*ignored, *settings.get("ignore", [])]
    return settings


def _is_of_source(columns: Any) -> bool:
    """Whether `columns` are those of the source, column → field or fields, as earlier versions had them."""
    if not isinstance(columns, Mapping):
        return True
    from tranship.schemas.customer import COLUMNS  # not for help

    return any(
        not isinstance(value, str) or not value or (key not in COLUMNS and value in COLUMNS)
        for key, value in columns.items()
    )


def _of_columns(columns: Any) -> tuple[dict[str, str], list[str]]:
    """Return the rules of fields, and the ignored columns, for column → field or fields."""
    fields, ignored = {}, []
    for column, targets in columns.items() if isinstance(columns, Mapping) else ():
        for field in [targets] if isinstance(targets, str) else targets or [""]:
            if field:
                fields[str(field)] = field_rules.quoted(str(column))
            else:
                ignored.append(str(column))
    return fields, ignored


def _now_fields(where: str, columns: Any) -> str:
    """Return what to write instead of `columns`, which earlier versions had."""
    fields, ignored = _of_columns(columns)
    lines = [f"{field} = {json.dumps(rule, ensure_ascii=False)}" for field, rule in fields.items()]
    if not lines and not ignored:
        lines = ['name = "Company | First Name + Last Name"']
    left_out = [f"ignore = {json.dumps(ignored, ensure_ascii=False)}"] if ignored else []
    return "\n".join(
        [
            f"{where}: was replaced by fields, with the field first. Write:",
            *left_out,
            *(["[fields]", *lines] if lines else []),
        ]
    )


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
        content = tomllib.loads(file.read_text(encoding="utf-8"))
        # By this table, the file serves as a profile for other sources; it says nothing about the run.
        content.pop("recognise", None)
        return content
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: is not valid TOML: {error}") from error


def _from(environment: Mapping[str, str], kind: type[Reading]) -> dict[str, Any]:
    """`TRANSHIP_MAX_REJECTS=2%` is max_rejects; lists and defaults (`a=b,c=d`) are separated by commas. Sources, rules,
    words and expressions are separated by line breaks, since they contain commas.

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
    if name in TABLES:
        # Expressions and names of columns contain commas.
        pairs = text.splitlines() if name in ("fields", "values", "set") else text.split(",")
        return table(name, [pair for pair in pairs if pair.strip()], _variable(name))
    if Settings.model_fields[name].annotation == tuple[str, ...]:
        return tuple(part for part in text.split(",") if part)
    return text


def table(name: str, pairs: Sequence[str], where: str) -> dict[str, Any]:
    """Return one of the TABLES from pairs such as `currency=EUR` or, in `values`, `status:on hold=suspended`.

    Raises ConfigError, naming `where` they were given, if a pair has another form, or two give different values.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        form = _PAIRS["values" if name == "values" else ""].match(pair)
        if form is None:
            raise ConfigError(f"{where}: {pair!r} is not of the form {TABLES[name]}.")
        key, value = form["field"], form["value"].strip() if name in ("fields", "values", "set") else form["value"]
        place, label = found, key
        if name == "values":
            word = (form["quoted"] or "").replace('""', '"') or form["word"].strip()
            place, key, label = found.setdefault(key, {}), word, f"{key}:{word}"
        if place.setdefault(key, value) != value:
            raise ConfigError(f"{where}: {label} has two values, {place[key]!r} and {value!r}. Give one.")
    return found


TABLES: Final = {
    "fields": "FIELD=RULE",
    "values": "FIELD:WORD=VALUE",
    "defaults": "FIELD=VALUE",
    "set": "FIELD=EXPRESSION",
    "options": "NAME=VALUE",
    "on_invalid": "FIELD=reject|warn",
    "columns": "FIELD=COLUMN",
}
"""Settings that are tables, with the form of a pair."""

_PAIRS: Final = {
    "": re.compile(r"\s*(?P<field>[^=]*?)\s*=(?P<value>.*)$", re.DOTALL),
    "values": re.compile(
        r'\s*(?P<field>[^=:]*?)\s*:\s*(?:"(?P<quoted>(?:[^"]|"")+)"\s*|(?P<word>[^=]*))=(?P<value>.*)$', re.DOTALL
    ),
}


def _nearest(name: str, cutoff: float = 0.6, kind: type[Reading] | None = None) -> str | None:
    return next(iter(get_close_matches(name, (kind or Settings).model_fields, n=1, cutoff=cutoff)), None)


def _variable(name: str) -> str:
    return ENVIRONMENT_PREFIX + name.upper()


_PLAINER: Final = {"tuple_type": "Input should be a list of strings", "path_type": "Input should be a path"}


def _sentence(error: ValidationError, origin: Mapping[str, str], kind: type[Reading]) -> str:
    """Return a line for each invalid setting."""
    lines: dict[str, str] = {}
    for problem in error.errors(include_url=False, include_input=False):
        if not problem["loc"]:  # about several settings; the message names them
            lines[""] = problem["msg"].removeprefix("Value error, ") + "."
            continue
        name = visible(str(problem["loc"][0]))
        given = {"environment": _variable(name)}.get(origin.get(name, ""), origin.get(name))
        where = f" ({given})" if given else ""
        if problem["type"] == "extra_forbidden":
            near = _nearest(name, kind=kind)
            known = f"Did you mean {near}?" if near else f"The settings are: {', '.join(kind.model_fields)}."
            text = f"{name}{where}: unknown setting{_of(kind, name)}. {known}"
        elif problem["type"] == "missing":
            text = f"{name}: is missing. {Settings.model_fields[name].description}"
        elif problem["type"] == "string_pattern_mismatch":
            text = f"{name}{where}: is not valid. {Settings.model_fields[name].description}"
        else:
            message = _PLAINER.get(problem["type"], problem["msg"].removeprefix("Value error, "))
            text = f"{name}{where}: {message}."
        lines.setdefault(name, text)
    return "\n".join(lines.values())


def _of(kind: type[Reading], name: str) -> str:
    return " of a source" if name in Settings.model_fields and name not in kind.model_fields else ""
