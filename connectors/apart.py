"""The check that a run does not read what it writes, and does not read a table or account twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tranship.connectors.addresses import STANDARD_OUTPUT, is_same_file, local_path, redacted
from tranship.connectors.contract import Connector
from tranship.connectors.errors import ConfigError
from tranship.connectors.lookup import connector_of, identity, in_folder, load


def must_be_apart(specs: Sequence[str], destination: str) -> None:
    """Raise ConfigError if a run would read what it writes: a source is the destination, or contains it."""
    for spec in specs:
        why = why_not_apart(spec, destination)
        if why:
            raise ConfigError(
                f"{redacted(destination)}: cannot be the destination, because it {why} ({redacted(spec)}). "
                "Nothing was read or written. Name another destination, after all sources; put a pattern of sources in "
                "quotes."
            )


def must_not_hold(specs: Sequence[str], folder: Path, shown: str) -> None:
    """Raise ConfigError if a source contains a folder, named `shown`, in which runs keep their files: later runs would
    read those.
    """
    from tranship.connectors.files.overlap import holds

    for spec in specs:
        if connector_of(spec).suffixes and holds(spec, folder):
            raise ConfigError(
                f"{shown}: is within what is read ({redacted(spec)}), so that later runs would read the files of this "
                "one. Nothing was read or written. Name a folder elsewhere, or one whose name begins with a dot."
            )


def must_be_unused(path: Path, specs: Sequence[str], destination: str, shown: str) -> None:
    """Raise ConfigError if a file that a command writes, named `shown`, is the destination, or is read by this run or
    the next one.
    """
    from tranship.connectors.files.overlap import reads

    target = connector_of(destination)
    file = local_path(destination) if target.suffixes else _file_of(target, destination)
    if file and file.resolve() == path.resolve():
        raise ConfigError(f"{shown}: is the destination. Nothing was read or written. Name another file.")
    for spec in specs:
        source = connector_of(spec)
        if source.suffixes and reads(spec, in_folder(spec, source), path):
            raise ConfigError(
                f"{shown}: would be read as a source ({redacted(spec)}). Nothing was read or written. Name another "
                "file."
            )


def why_not_apart(spec: str, destination: str) -> str | None:
    """Return why a source includes the destination, or would once it is written; null if it does not."""
    from tranship.connectors.files.overlap import is_among, takes_in

    source, target = connector_of(spec), connector_of(destination)
    if target.suffixes and "://" in destination:
        from tranship.connectors.files.buckets import takes_in_object

        is_read = source.suffixes and takes_in_object(spec, in_folder(spec, source), destination)
        return "is read by this run, or would be by the next one" if is_read else None
    if target.suffixes:
        path = Path("/dev/stdout").resolve() if destination == STANDARD_OUTPUT else local_path(destination)
        if destination == STANDARD_OUTPUT and not path.is_file():
            return None
        if source.suffixes:
            return takes_in(spec, in_folder(spec, source), path)
        file = _file_of(source, spec)
        return "is in the file that is read" if file and is_same_file(file, path) else None
    if source.suffixes:
        file = _file_of(target, destination)
        return "is read by this run" if file and is_among(spec, in_folder(spec, source), file) else None
    return "is read by this run" if same_place(spec, destination) else None


def _file_of(connector: Connector, spec: str) -> Path | None:
    """Return the local file in which a connector keeps the tables of an address, null if there is none."""
    return load(connector.file)(spec) if connector.file else None


def same_place(first: str, second: str) -> bool:
    """Return whether two addresses mean one table or account. Files are compared when they are opened.

    Raises ConfigError, and ConnectorError where a server must be asked.
    """
    connector = connector_of(first)
    if connector.suffixes or connector != connector_of(second):
        return False
    if connector.same_place:
        return bool(load(connector.same_place)(first, second))
    return identity(first) == identity(second)
