"""One run's settings as one frozen value, from file, environment and flags; flags win over the environment, and that
over the file.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from connectors.errors import ConfigError

ENVIRONMENT_PREFIX: Final = "TRANSHIP_"

Limit = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if isinstance(value, int) and not isinstance(value, bool) else value),
    Field(pattern=r"^\d+(\.\d+)?%$|^\d+$"),
]
"""A count (`20`) or a share (`2%`)."""


class Settings(BaseModel):
    """Everything a run can be told. The names are those of the options, with `_` for `-`."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="tranship pipeline")

    source: str = Field(description="Path, glob, folder, - or URL to read from.")
    destination: str = Field(description="Path or URL to write to.")

    columns: dict[str, str] = Field(
        default_factory=dict, description="Column = canonical field; an empty field leaves the column out."
    )
    defaults: dict[str, str] = Field(default_factory=dict, description="Field = value where the source has none.")
    extra: Literal["keep", "drop", "error"] = Field(
        "keep", description="Columns nobody mapped: keep them in metadata, drop them, or stop."
    )

    encoding: str | None = Field(None, description="Encoding of CSV files; found out if not given.")
    delimiter: str | None = Field(None, description="Delimiter of CSV files, one character; found out if not given.")
    quote: str | None = Field(None, description="Quote of CSV files, one character; found out if not given.")
    header: bool | None = Field(None, description="Whether CSV files have a header line; found out if not given.")

    timezone: str = Field("UTC", description="Zone of dates and times that name none (IANA).")
    date_format: tuple[str, ...] = Field((), description="A further form of dates (strftime), as %d/%m/%Y. Repeatable.")
    blocked: tuple[str, ...] = Field((), description="An e-mail or id that identifies nobody. Repeatable.")

    survivor: Literal["newest", "first", "last"] = Field(
        "newest", description="Which record of a customer stays: by updated_at, or by its place in the input."
    )
    fill: bool = Field(False, description="Fill the survivor's empty fields from the records merged into it.")

    mode: Literal["upsert", "insert", "update", "mirror"] = Field("upsert", description="What may happen to customers.")
    nulls: Literal["keep", "overwrite"] = Field(
        "keep", description="Whether an empty value in the source erases the destination's."
    )
    deletes: Literal["mark", "remove"] = Field("mark", description="What mirror does with customers the source lacks.")
    evolve: bool = Field(False, description="Add columns that an existing table lacks.")
    raw: bool = Field(False, description="Write CSV cells as they are, also those a spreadsheet would run.")

    max_rejects: Limit | None = Field(None, description="Stop before the first write if more are rejected: N or N%.")
    max_deletes: Limit | None = Field(None, description="Stop before the first write if mirror would delete more.")
    max_changes: Limit | None = Field(
        None, description="Stop before the first write if more of the customers already there would change."
    )
    allow_empty: bool = Field(False, description="Let an empty source pass.")
    dry_run: bool = Field(False, description="Stop after the plan; write nothing.")

    state_dir: Path = Field(Path(".tranship"), description="Where runs keep their files.")
    workers: int = Field(
        default_factory=lambda: min(os.cpu_count() or 1, 8), ge=1, le=64, description="Batches worked on side by side."
    )
    memory: str = Field(
        "600MB", pattern=r"^\d+(MB|GB)$", description="What the destination database may use before it spills to disk."
    )

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, OSError, KeyError) as error:
            raise ValueError(f"{value!r} is no IANA time zone such as Europe/Berlin") from error
        return value


def load(
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    file: Path | None = None,
) -> Settings:
    """Put the three together. Raises ConfigError naming the setting and where it was given."""
    merged: dict[str, Any] = {}
    origin: dict[str, str] = {}
    from_file = _read(file) if file else {}
    for where, given in ((str(file), from_file), ("environment", _from(environment)), ("command", flags)):
        for name, value in given.items():
            if name in ("columns", "defaults") and isinstance(value, Mapping):
                merged[name] = {**merged.get(name, {}), **value}
            else:
                merged[name] = value
            origin[name] = where
    try:
        return Settings(**merged)
    except ValidationError as error:
        raise ConfigError(_sentence(error, origin)) from None


def limit(value: str, of: int) -> float:
    """A limit as a number of records: `2%` of these, or `20`."""
    return float(value[:-1]) / 100 * of if value.endswith("%") else float(value)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: is no valid TOML: {error}") from error


def _from(environment: Mapping[str, str]) -> dict[str, Any]:
    """`TRANSHIP_MAX_REJECTS=2%` is max_rejects; lists are separated by commas, tables are `a=b,c=d`."""
    found: dict[str, Any] = {}
    for name, model_field in Settings.model_fields.items():
        text = environment.get(ENVIRONMENT_PREFIX + name.upper())
        if text is None:
            continue
        if name in ("columns", "defaults"):
            found[name] = dict(pair.split("=", 1) if "=" in pair else (pair, "") for pair in text.split(",") if pair)
        elif model_field.annotation == tuple[str, ...]:
            found[name] = tuple(part for part in text.split(",") if part)
        else:
            found[name] = text
    return found


def _sentence(error: ValidationError, origin: Mapping[str, str]) -> str:
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        name = str(problem["loc"][0]) if problem["loc"] else "settings"
        where = f" ({origin[name]})" if name in origin else ""
        if problem["type"] == "extra_forbidden":
            lines.append(f"{name}{where}: there is no such setting. There are: {', '.join(Settings.model_fields)}.")
        else:
            lines.append(f"{name}{where}: {problem['msg'].removeprefix('Value error, ')}.")
    return "\n".join(lines)
