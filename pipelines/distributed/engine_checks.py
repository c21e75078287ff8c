"""What a run on an engine cannot do: said from its settings alone, before an engine is started."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from tranship.connectors import apart, lookup
from tranship.connectors.addresses import local_path, redacted, scheme_of
from tranship.connectors.errors import ConfigError
from tranship.connectors.files.data_folder import data_folder
from tranship.pipelines.settings_model import Settings

FOLDERS: Final = ("", "s3", "s3a", "gs", "az")
"""Schemes of folders of Parquet files."""
_PART: Final = "part.parquet"
"""A file of an engine, which stands for all."""
_SCHEMES: Final = (*filter(None, FOLDERS), *lookup.ENGINE_SCHEMES, "postgresql", "postgres")


def check(settings: Settings) -> None:
    """Raises ConfigError for sources, destinations and settings that a run on an engine does not have."""
    for option, address in (("", settings.destination), ("--work ", settings.work or "")):
        _check_slashes(option, address)
    if any(scheme_of(source) in lookup.ENGINE_SCHEMES for source in settings.sources):
        _check_table(settings)
    else:
        _check_files(settings)
    _check_destination(settings)
    _check_place(settings)


def _check_slashes(option: str, address: str) -> None:
    """Raises ConfigError for an address that lacks a slash: it would be the path of a folder on this machine."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):(/?)(?!/)", address)
    if found is None or not (found[2] or found[1].lower() in _SCHEMES):
        return
    scheme, shown = found[1], redacted(address)
    if scheme.lower() in _SCHEMES:
        slashes = ":///" if found[2] and scheme.lower() in lookup.ENGINE_SCHEMES else "://"
        meant = f"Write {redacted(scheme + slashes + address[found.end() :])}"
    else:
        meant = "Name a path, or a folder in s3://, gs:// or az://"
    raise ConfigError(
        f"{option}{shown}: is a path, because {scheme}: is not followed by two slashes. {meant}, or ./{shown} if you "
        "mean a folder of this name."
    )


def _check_files(settings: Settings) -> None:
    for source in settings.sources:
        if scheme_of(source) in ("http", "https") or source == "-" or not lookup.connector_of(source).suffixes:
            raise ConfigError(
                f"{redacted(source)}: an engine reads CSV, JSON and Parquet files. Leave --engine out, or save the "
                "records as files that all machines reach."
            )
    if folder := _folder(settings.destination):
        apart.must_be_apart(settings.sources, f"{folder}/run=ID/{_PART}")


def _check_table(settings: Settings) -> None:
    if len(settings.sources) > 1:
        raise ConfigError(f"{settings.source_name}: a table is read alone. Run the command for each source.")
    if _folder(settings.sources[0]) == _folder(settings.destination):
        raise ConfigError(f"{settings.source_name}: is also the destination. Name another one.")
    if settings.mode == "mirror":
        raise ConfigError(f"{settings.source_name}: --mode mirror needs files as source. Use --mode upsert.")


def _check_destination(settings: Settings) -> None:
    address, shown, scheme = settings.destination, redacted(settings.destination), scheme_of(settings.destination)
    if address == "-" or address.lower().endswith((".csv", ".tsv", ".jsonl", ".xlsx", ".gz", ".zst")):
        raise ConfigError(
            f"{shown}: an engine writes folders of Parquet files, and tables. Name a folder, delta://PATH or "
            "postgresql://…"
        )
    if settings.raw:
        raise ConfigError(f"--raw: applies only to CSV files, and {shown} is not one. Leave it out.")
    if settings.columns and scheme in (*FOLDERS, *lookup.ENGINE_SCHEMES):
        named = " ".join(f"--column {field}={column}" for field, column in settings.columns.items())
        raise ConfigError(
            f"{named}: the columns of {shown} have the names of the fields. For a column of the source, write --map "
            "FIELD=COLUMN."
        )
    if settings.mode != "upsert" and scheme in FOLDERS:
        raise ConfigError(f"{shown}: a dataset is written whole; --mode {settings.mode} needs a table.")
    if scheme == "iceberg" and settings.mode == "mirror" and settings.deletes == "remove":
        # No row would name the run (`table_logs.IcebergLog`).
        raise ConfigError(f"{shown}: rows of an Iceberg table are marked, not removed. Leave --deletes out.")
    if scheme == "iceberg" and settings.evolve:
        raise ConfigError(f"{shown}: columns are not added to an Iceberg table. Leave --evolve out.")


def _check_place(settings: Settings) -> None:
    """Raises ConfigError for a destination or work folder that is a file, or lies where it does not belong."""
    folder, work = _folder(settings.destination), _as_files(settings.work or "").rstrip("/")
    if folder and not scheme_of(folder):
        data_folder(folder).names()
        place = local_path(folder).resolve()
        for own in (settings.state_dir / "runs", settings.state_dir / "written"):
            if own.resolve() in place.parents:
                raise ConfigError(
                    f"{redacted(settings.destination)}: is within {own}, where runs keep their files. Write elsewhere."
                )
    if not work:
        return
    shown = redacted(settings.work or "")
    if not scheme_of(work):
        data_folder(work).names()
    if folder and f"{absolute(work)}/".startswith(f"{absolute(folder)}/"):
        raise ConfigError(f"--work {shown}: is within the destination, where readers would find it. Name another one.")
    for source in settings.sources:
        of_files = scheme_of(source) not in lookup.ENGINE_SCHEMES
        if of_files and (why := apart.why_not_apart(source, f"{work}/tranship-ID/stage/{_PART}")):
            raise ConfigError(
                f"--work {shown}: {why} ({redacted(source)}), and its tables would be read as sources. Name another "
                "folder."
            )


def must_be_apart(addresses: Sequence[str], settings: Settings) -> None:
    """Raises ConfigError if one of the files was written by an earlier run of this command."""
    folder = _folder(settings.destination)
    for address in addresses:
        if folder and absolute(address).startswith(f"{absolute(folder)}/"):
            raise ConfigError(
                f"{redacted(address)}: is within the destination, and would be read as a source. Name another folder."
            )


def absolute(address: str) -> str:
    """Return the address of a file or folder as it is from anywhere."""
    return address if scheme_of(address) else str(local_path(address).resolve())


def _folder(address: str) -> str:
    """Return the folder of a dataset or table in files, as an address of files; empty for a table of a database."""
    scheme = scheme_of(address)
    folder = address.partition("://")[2] if scheme in lookup.ENGINE_SCHEMES else address if scheme in FOLDERS else ""
    return _as_files(folder.rstrip("/"))


def _as_files(address: str) -> str:
    return re.sub("^s3a://", "s3://", address)
