"""Open the source or destination behind an address, with the options that its connector declares."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tranship.connectors.address_secrets import WEB
from tranship.connectors.addresses import STANDARD_OUTPUT, local_path, redacted, scheme_of
from tranship.connectors.apart import same_place
from tranship.connectors.chain import Chain
from tranship.connectors.contract import Connector, Destination, FileMark, Source, Waiting
from tranship.connectors.declared_options import DOWNLOAD_LIMITS, as_options, must_be_used, validated
from tranship.connectors.errors import ConfigError, TranshipError
from tranship.connectors.lookup import (
    connector_of,
    format_of,
    in_folder,
    load,
    named,
    provider_spec,
)
from tranship.connectors.registry import DEFAULT_FORMAT

if TYPE_CHECKING:
    import polars as pl

    from tranship.connectors.files.inputs import Downloads
    from tranship.connectors.files.new_files import NewFiles as NewFiles
    from tranship.connectors.files.storage import File, Seen


_OF_OUTPUT: Final = {"csv": "csv", "tsv": "csv", "jsonl": "json"}
"""Format of standard output → connector that writes it."""


def open_sources(
    specs: Sequence[str],
    options: Mapping[str, Any] | None = None,
    *,
    include_archived: bool = False,
    waiting: Waiting | None = None,
    downloads: Path | None = None,
    new: NewFiles | None = None,
) -> Source:
    """Open the sources behind several addresses as one source, in their order; a file named by several of them is read
    once. See `open_source`. Raises ConfigError for a table or account that is given twice.
    """
    for place, spec in enumerate(specs):
        twice = next((before for before in specs[:place] if same_place(before, spec)), None)
        if twice is not None:
            raise ConfigError(f"{redacted(spec)}: is given twice (as {redacted(twice)}); its records would be doubled.")
    connectors = [connector_of(spec) for spec in specs]
    seen: Seen = {}
    readers: set[str] = set()
    opened: list[Source] = []
    try:
        for spec, connector in zip(specs, connectors, strict=True):
            # If a provider is among the sources, the option applies only to providers.
            archived = include_archived and bool(connector.provider or not any(other.provider for other in connectors))
            opened.append(
                open_source(
                    spec,
                    options,
                    include_archived=archived,
                    waiting=waiting,
                    seen=seen,
                    downloads=downloads,
                    readers=readers,
                    new=new,
                )
            )
        must_be_used(options or {}, readers)
    except TranshipError:
        for source in opened:
            source.close()
        raise
    if len(opened) == 1:
        return opened[0]
    return Chain(opened, alike=len({connector.size_unit or connector.name for connector in connectors}) == 1)


def open_source(
    spec: str,
    options: Mapping[str, Any] | None = None,
    *,
    include_archived: bool = False,
    waiting: Waiting | None = None,
    seen: Seen | None = None,
    downloads: Path | None = None,
    readers: set[str] | None = None,
    new: NewFiles | None = None,
) -> Source:
    """Open the source behind an address. Raises ConfigError or ConnectorError.

    Of the `options` each connector takes those that it declares, such as the encoding of CSV files. `include_archived`
    also reads archived customers of a provider; `waiting` says how long to wait for a file that another process holds,
    which otherwise is an error at once; files that are `seen` already are left out; `downloads` is the folder in which
    downloads are kept until they have been read (null: a temporary one); the names of the connectors that read it are
    added to `readers`; of files, only those that `new` chooses are read.
    """
    connector = connector_of(spec)
    readers = set() if readers is None else readers
    if not connector.suffixes:
        readers.add(connector.name)
    if connector.provider:
        from tranship.connectors.api.source import ApiSource

        limits = validated(connector, options or {})
        return ApiSource(
            provider_spec(connector), spec, include_archived=include_archived, retry_policy=limits.retry_policy()
        )
    if include_archived:
        raise ConfigError(f"{redacted(spec)}: only providers have archived customers; leave --include-archived out.")
    if connector.source is None:
        raise ConfigError(f"{redacted(spec)}: {connector.shown} can only be written, not read.")
    if connector.suffixes:
        from tranship.connectors.files.inputs import Downloads

        say = waiting.say if waiting else Downloads().say
        limits = as_options(DOWNLOAD_LIMITS, "download", options or {}) if scheme_of(spec) in WEB else None
        kept = Downloads(downloads, say, limits)
        return _open_files(spec, connector, options or {}, {} if seen is None else seen, kept, readers, new)
    offered = {"options": validated(connector, options or {}), "waiting": waiting}
    source: Source = _called(connector.source, spec, offered)
    return source


def new_files(known: Sequence[FileMark], settle: timedelta, now: datetime) -> NewFiles:
    """Return what chooses the files of a run, by those that were read before (`known`); files that changed within the
    time to `settle` are left out.
    """
    from tranship.connectors.files.new_files import NewFiles

    return NewFiles(known, settle, now)


def _open_files(
    spec: str,
    connector: Connector,
    options: Mapping[str, Any],
    seen: Seen,
    downloads: Downloads,
    readers: set[str],
    new: NewFiles | None,
) -> Source:
    """Open the files of an address, each with the connector of its format. Raises ConfigError or ConnectorError."""
    from tranship.connectors.files.inputs import Inputs, Kinds, columns_of_folders
    from tranship.connectors.files.partitions import Partitioned

    inputs = Inputs(spec, Kinds(format_of, DEFAULT_FORMAT), in_folder(spec, connector), seen, downloads, new)
    opened: list[Source] = []
    try:
        for kind, files in inputs.groups:
            readers.add(kind)
            source = open_group(named(kind), files, options)
            if new:
                from tranship.connectors.files.new_files import limited

                source = limited(source, new, files)
            opened.append(source)
            if folders := columns_of_folders(files):
                opened[-1] = Partitioned(source, folders)
    except TranshipError:
        for source in opened:
            source.close()
        inputs.close()
        raise
    units = {named(kind).size_unit or kind for kind, _ in inputs.groups}
    read = [(kind, file) for kind, files in inputs.groups for file in files]
    return Chain(opened, alike=len(units) <= 1, release=inputs.release, close=inputs.close, files=read)


def open_group(connector: Connector, files: Sequence[File], options: Mapping[str, Any]) -> Source:
    """Open files of one format. Raises ConfigError."""
    if connector.source is None:
        raise ConfigError(f"{files[0].name}: {connector.shown} can only be written, not read.")
    offered = {"options": validated(connector, options), "suffixes": connector.suffixes, "files": files}
    if "files" in inspect.signature(load(connector.source)).parameters:
        source: Source = _called(connector.source, None, offered)
        return source
    one_by_one: list[Source] = []
    for file in files:
        if not file.address:
            raise ConfigError(f"{file.name}: {connector.shown} can only be read from a file. Save it as a file.")
        one_by_one.append(_called(connector.source, file.address, offered))
    return Chain(one_by_one, alike=True)


def _called(target: str, spec: str | None, offered: Mapping[str, Any]) -> Any:
    """Call a class or function with an address, if there is one, and those of the keyword arguments that it names."""
    function = load(target)
    known = inspect.signature(function).parameters
    return function(
        *([] if spec is None else [spec]), **{name: value for name, value in offered.items() if name in known}
    )


def must_take(spec: str, mode: str, *, for_good: bool) -> None:
    """Raise ConfigError if such a destination does not support the mode. This is known before anything is read."""
    connector = connector_of(spec)
    if connector.suffixes and mode != "upsert":
        raise ConfigError(f"{redacted(spec)}: a file is written whole; --mode {mode} needs a table.")
    if not connector.suffixes and mode not in connector.abilities.modes:
        raise ConfigError(f"{redacted(spec)}: {connector.shown} does not support --mode {mode}.")
    if connector.provider:
        from tranship.connectors.api.destination import refuse_unconfirmed_removal

        refuse_unconfirmed_removal(provider_spec(connector), spec, mode, for_good=for_good)


def open_destination(spec: str, options: Mapping[str, Any]) -> Destination:
    """Open the table, file or account to write to. `options`: raw (CSV cells unchanged), create (a missing table or
    file may be created; else ConfigError), overwrite (a file that Tranship did not write may be replaced), written (the
    folder with the record of the files that it wrote), format (of standard output: csv, tsv or jsonl; null: csv),
    memory (of a database), lock_timeout and statement_timeout (seconds, 0 is no limit), pace (calls a second at most,
    null: as declared), waiting (for a file that another process holds), observer (a `contract.WriteObserver`).
    """
    connector = connector_of(spec)
    if connector.provider:
        from tranship.connectors.api.destination import ProviderDestination

        module = importlib.import_module(connector.provider)
        arguments = {name: options[name] for name in ("observer", "memory", "pace")}
        arguments["retry_policy"] = validated(connector, options).retry_policy()
        return ProviderDestination(module.SPEC, spec, module.build_operations, **arguments)
    if connector.suffixes and scheme_of(spec) in WEB:
        raise ConfigError(f"{redacted(spec)}: a web address can be read, not written. Write to a file.")
    if spec == STANDARD_OUTPUT:
        connector = named(_OF_OUTPUT[options.get("format") or DEFAULT_FORMAT])
    if connector.destination is None:
        raise ConfigError(f"{redacted(spec)}: {connector.shown} can only be read. Write to a table, .csv or .parquet.")
    if connector.suffixes and not options["create"]:
        _must_exist(spec)
    from tranship.connectors.files.local_file import Written

    offered = {**options, "written": Written(options["written"]), "options": validated(connector, options)}
    destination: Destination = _called(connector.destination, spec, offered)
    return destination


def _must_exist(spec: str) -> None:
    """Raise ConfigError if a file that is to be replaced does not exist."""
    from tranship.connectors.existing import must_exist, not_created

    if scheme_of(spec):
        from tranship.connectors.files.cloud_object import CloudObject

        if not CloudObject(spec, overwrite=True).exists():
            raise not_created(f"object {redacted(spec)}", "")
    elif spec != STANDARD_OUTPUT:
        must_exist(local_path(spec))


def changes(spec: str, run_id: str, workspace: Path, customer: str | None) -> Iterator[pl.DataFrame]:
    """Yield what a run has changed at this destination (`contract.CHANGES`), or only the changes of one customer, given
    by key. `workspace` is the folder of the run. Raises ConfigError and ConnectorError.
    """
    connector = connector_of(spec)
    if connector.provider:
        from tranship.connectors.api.changes import changes

        module = importlib.import_module(connector.provider)
        return changes(module.SPEC, spec, module.build_operations, workspace, run_id, customer)
    if connector.changes is None:
        why = "is written as a whole" if connector.suffixes else f"is of {connector.shown}"
        raise ConfigError(
            f"{run_id}: {redacted(spec)} {why}, so that single changes are not recorded. To compare it with the run's "
            f"input: tranship verify {run_id}"
        )
    found: Iterator[pl.DataFrame] = load(connector.changes)(spec, run_id, customer)
    return found


def erasure_plan(spec: str, emails: Collection[str], ids: Collection[str], own_ids: Collection[str]) -> str:
    """Return what a person has to do to delete a customer at a destination: SQL for a table, words for a provider, at
    which the customer has the ids `own_ids`. Raises ConfigError and ConnectorError.
    """
    connector = connector_of(spec)
    if connector.provider:
        from tranship.connectors.api.erasure import plan

        module = importlib.import_module(connector.provider)
        return plan(module.SPEC, spec, module.build_operations, own_ids)
    if connector.erasure is None:
        raise ConfigError(
            f"{redacted(spec)}: is neither a table nor a provider. A file is written as a whole: write it again from "
            "a source without the customer."
        )
    text: str = load(connector.erasure)(spec, emails, ids)
    return text


def is_records(value: object) -> bool:
    """Return whether this is a frame, an Arrow stream or an iterable of dicts, which `spool` takes."""
    from tranship.connectors.files import spool

    return spool.is_records(value)


def spool(value: object, name: str, folder: Path, most: int | None = None) -> str:
    """Write records that were given in Python to `folder`, and return their address as a source. Raises ConfigError.
    `name` is their name in reports; with `most`, further records need not be written.
    """
    from tranship.connectors.files import spool as spooling

    return spooling.spool(value, name, folder, most).address


def held(files: Sequence[Path], fields: Sequence[str], database: Path, memory: str) -> Destination:
    """Return a table of canonical records (Parquet files with these fields) in a new database, for comparison."""
    from tranship.connectors.databases.duckdb.table import table_of_records

    return table_of_records(files, fields, database, memory)
