"""The settings of a source and of a run: their names, types, defaults and descriptions."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from tranship.connectors import known_secrets
from tranship.connectors.addresses import STANDARD_OUTPUT, redacted
from tranship.pipelines.operation_settings import Operating
from tranship.pipelines.option_texts import (
    LIMIT,
    LOCK_TIMEOUT,
    LOCKS,
    MAX_CHANGES,
    MAX_DELETES,
    MEMORY,
    OVERLAP,
    REMOVE_FOR_GOOD,
    STATE_DIR,
)
from tranship.pipelines.setting_values import (
    Duration,
    Limit,
    Lookback,
    Texts,
    field_values,
    field_words,
    option_values,
    own_path,
    path_text,
    sheet_text,
    source_or_sources,
    source_text,
    state_path,
    zone_name,
)

_SOURCES_NAMED: Final = 5
_REMOTE: Final = r"sc://[^/;@?#]*/?(;(use_ssl|user_id)=[\w.-]*)*;?"


class Reading(BaseModel):
    """The settings of a source: the format of its files, and the meaning of its columns and values."""

    # Of the two models, a command uses one: each is built when it is first used.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    source: Annotated[str | tuple[str, ...], BeforeValidator(source_or_sources)] = Field(
        description="Path, glob, folder, - or URL to read from, or a list of them."
    )

    profile: Annotated[str | None, BeforeValidator(path_text)] = Field(
        None,
        description="Export profile: the meaning of a system's columns and words. Give a name, a file "
        "(.toml), or none to use no profile; by default recognised by the headers of the source.",
    )
    fields: dict[str, str] = Field(
        default_factory=dict,
        description='Build a field from columns: "Company | First Name + Last Name". The first alternative that is '
        "not empty is used; + joins columns with a blank.",
    )
    ignore: Texts = Field((), description="Source column to leave out. Repeatable.")
    values: Annotated[dict[str, dict[str, str]], BeforeValidator(field_words)] = Field(
        default_factory=dict,
        description="Value of a field for a word in the source; case is ignored. Repeatable.",
    )
    defaults: Annotated[dict[str, str], BeforeValidator(field_values)] = Field(
        default_factory=dict, description="Value for a field where the source has none."
    )
    set: dict[str, str] = Field(
        default_factory=dict, description="Compute a field with an SQL expression on the source's columns."
    )
    corrections: Annotated[Path | None, BeforeValidator(own_path)] = Field(
        None,
        description="File with corrections of values that are wrong at the source again and again; "
        "`tranship fix --always` adds to it.",
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
    sheet: Annotated[str | None, BeforeValidator(sheet_text)] = Field(
        None, description="Sheet of Excel workbooks, by name or number; by default the only one with a table."
    )

    options: Annotated[dict[str, str], BeforeValidator(option_values)] = Field(
        default_factory=dict, description="Option of a connector, such as a limit of a provider's answers."
    )

    include_archived: bool = Field(
        False, description="Also read archived and deleted customers, if the provider returns them."
    )

    where: str | None = Field(
        None, description="Read only records that satisfy this SQL condition on the source's columns."
    )

    timezone: Annotated[str, BeforeValidator(zone_name)] = Field(
        "UTC", description="IANA time zone for dates and times that have none."
    )
    date_format: Texts = Field((), description="Additional date format (strftime), e.g. %d.%m.%Y. Repeatable.")
    blocked: Texts = Field(
        (), description="E-mail address or id that identifies no customer and is never used for matching. Repeatable."
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
            raise ValueError("header_line gives the line of a header, but header is false. Remove one of them")
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
                raise ValueError(f"{field} has a value for an empty word. Use defaults for records without a value")
        return values

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, OSError, KeyError) as error:
            raise ValueError(f"{value!r} is not an IANA time zone such as Europe/Berlin") from error
        return value


class Cleaning(Reading):
    """The settings of a source, and of which of its records are one customer."""

    survivor: Literal["newest", "first", "last"] = Field(
        "newest", description="Which record of a customer survives: by updated_at, or by position in the input."
    )
    fill: bool = Field(False, description="Fill the survivor's empty fields from the records merged into it.")
    max_conflicts: Limit = Field(
        "1%",
        description="Stop before the first write if more records than this share an id with another customer: N or N%.",
    )


class Settings(Operating, Cleaning):
    """All settings of a run. The names are those of the options, with `_` for `-`."""

    model_config = ConfigDict(title="tranship pipeline")

    destination: Annotated[str, BeforeValidator(path_text)] = Field(
        description="Path or URL to write to, or - for standard output."
    )

    since: Annotated[str | None, BeforeValidator(source_text)] = Field(
        None,
        description="Read only what is new: records with a cursor from this time on, or from where the last run "
        "stopped (last). Records without a cursor are always read.",
    )
    until: Annotated[str | None, BeforeValidator(source_text)] = Field(
        None,
        description="With since TIME: read only records before this time. The watermark is left as it is.",
    )
    cursor: str | None = Field(
        None, description="Source column by which new records are known; by default the one mapped to updated_at."
    )
    lookback: Lookback = Field(
        "0", description="How far --since last goes back, for records that arrive late, e.g. 1h."
    )
    full: bool = Field(
        False, description="Read everything, in spite of --since, and report what that would have missed."
    )

    new_files: bool = Field(
        False,
        description="Read only files that are new or have changed, by their contents; of a CSV or JSON Lines file that "
        "has grown, only the end.",
    )
    settle: Duration = Field(
        "0", description="With new_files: leave out files that changed within this time, e.g. 60s."
    )

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
    changes: Literal["on", "off"] = Field(
        "on", description="Record each changed customer of a table, with before and after, in _tranship_changes."
    )
    undo: bool = Field(
        True, description="Keep the values that a run into a table replaces, so that tranship undo can take it back."
    )
    history: bool = Field(False, description="Keep the former versions of each customer of a table, in TABLE_history.")
    create: Literal["auto", "never"] = Field("auto", description="Create a missing table, schema or file, or stop.")
    crosswalk: Annotated[Path | None, BeforeValidator(own_path)] = Field(
        None, description="Crosswalk file of an earlier run; records are matched to the provider's customers by it."
    )
    remove_for_good: bool = Field(
        False,
        description=REMOVE_FOR_GOOD,
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
    max_deletes: Limit | None = Field(None, description=MAX_DELETES)
    max_changes: Limit | None = Field(None, description=MAX_CHANGES)
    allow_empty: bool = Field(False, description="Accept an empty source.")
    limit: int | None = Field(None, ge=1, description=LIMIT)
    dry_run: bool = Field(False, description="Show what would be done; write nothing.")
    report_samples: Literal["on", "off"] = Field(
        "on", description="Show values of some records in the pages of the run: report.html, plan.html, migration.html."
    )

    mask: dict[str, Literal["hmac", "hide"]] = Field(
        default_factory=dict,
        description="Do not show the values of this field in rejects.csv, warnings and pages: hmac, with the key in "
        "TRANSHIP_MASK_KEY, shows which are equal, hide nothing. Repeatable.",
    )

    engine: Literal["spark", "sail"] | None = Field(
        None, description="Run on this engine, for hundreds of millions of records; sail needs no cluster and no Java."
    )
    remote: str | None = Field(
        None,
        pattern="^sc://",
        description="Address of the engine's server, sc://host:15002; keep a token in SPARK_REMOTE instead.",
    )
    work: Annotated[str | None, BeforeValidator(path_text)] = Field(
        None,
        description="Folder or URL for the tables between the steps, which all machines of the engine reach. "
        "Default: the folder of the run.",
    )

    state_dir: Annotated[Path, BeforeValidator(state_path)] = Field(Path(".tranship"), description=STATE_DIR)
    workers: int = Field(
        default_factory=lambda: min(os.cpu_count() or 1, 8),
        ge=1,
        le=64,
        description="Number of batches processed in parallel.",
    )
    memory: str = Field(
        "600MB",
        pattern=r"^\d+(MB|GB)$",
        description=MEMORY,
    )
    overlap: Literal["wait", "skip", "fail"] = Field("wait", description=OVERLAP)
    lock_timeout: Duration = Field(
        "10min",
        description=LOCK_TIMEOUT,
    )
    locks: bool = Field(
        True,
        description=LOCKS,
    )
    pace: str | None = Field(
        None, pattern=r"^\d+(/s|/min)$", description="Maximum rate of calls to a provider, e.g. 50/s or 100/min."
    )
    statement_timeout: Duration = Field(
        "0", description="Time limit for each SQL statement of the write, e.g. 30min or 2h; 0: no limit."
    )

    @property
    def pipeline_name(self) -> str:
        """The name of the pipeline; without one, the destination, without secrets: a source may have the date in its
        name."""
        return self.pipeline or redacted(self.destination)

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
                "format applies only to standard output (-); the format of a file follows from its name. Leave it out"
            )
        return self

    @model_validator(mode="after")
    def _remote_and_work_are_of_an_engine(self) -> Self:
        given = next((name for name in ("remote", "work") if getattr(self, name) is not None), None)
        if given and self.engine is None:
            raise ValueError(f"{given} applies only to a run on an engine. Add engine spark or sail, or leave it out")
        if self.remote is not None and not re.fullmatch(_REMOTE, self.remote):
            raise ValueError(
                "remote may have a host, a port, use_ssl and user_id. Anything else may be a secret, which other users "
                "of this machine can see. Put the whole address in the environment variable SPARK_REMOTE and leave "
                "remote out"
            )
        if self.work is not None and redacted(self.work) != self.work:
            raise ValueError("work contains a secret, which the files of the run would keep. Set it in the environment")
        return self

    @model_validator(mode="after")
    def _mirror_reads_everything(self) -> Self:
        partial = "since" if self.since is not None else "new_files"
        if self.mode == "mirror" and (self.since is not None or self.new_files) and not self.full:
            raise ValueError(
                f"mode mirror cannot be combined with {partial}: a partial read cannot say what is gone. Use mode "
                "upsert, or full to read everything"
            )
        return self

    @model_validator(mode="after")
    def _new_files_stand_alone(self) -> Self:
        if self.new_files and self.since is not None:
            raise ValueError("new_files cannot be combined with since. Choose one")
        if self.settle != "0" and not self.new_files:
            raise ValueError("settle has no effect without new_files. Add new_files, or leave settle out")
        return self

    @model_validator(mode="after")
    def _a_cursor_has_a_use(self) -> Self:
        if self.until is not None and (self.since in (None, "last") or self.full):
            raise ValueError("until needs since with a time. Give both, or leave until out")
        for name, given in (("cursor", self.cursor is not None), ("lookback", self.lookback != "0")):
            if given and self.since is None and not self.full:
                raise ValueError(f"{name} has no effect without since or full. Add since, or leave {name} out")
        return self

    @model_validator(mode="before")
    @classmethod
    def _encrypted_values_are_on_no_page(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("encrypt_to"):
            if given.get("report_samples", "off") != "off":
                raise ValueError("report_samples on cannot be combined with encrypt_to: pages stay readable")
            return {**given, "report_samples": "off"}
        return given

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
