"""The files behind an address, those in archives too, each with the connector that reads it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from tranship.connectors.address_secrets import WEB
from tranship.connectors.addresses import redacted, scheme_of
from tranship.connectors.errors import ConfigError
from tranship.connectors.files import folders, formats, locating, storage
from tranship.connectors.files.archive import Archive
from tranship.connectors.files.formats import Format
from tranship.connectors.files.storage import File, Seen
from tranship.schemas.counted import counted

if TYPE_CHECKING:
    from tranship.connectors.files.download import Download, DownloadLimits
    from tranship.connectors.files.new_files import NewFiles

_ZIP_END: Final = formats.ZIP.suffixes
_READ_BY_CONTENT: Final = (formats.PARQUET, formats.JSON, formats.EXCEL)


class Downloads(Struct, frozen=True):
    """Where downloads are kept until they have been read (null: a temporary folder), and where they are reported."""

    folder: Path | None = None
    say: Callable[[str], None] = lambda _: None
    limits: DownloadLimits | None = None


class Kinds(Struct, frozen=True):
    """The connectors of files: `of_name` returns the one for a name in lower case, null if none has its suffix."""

    of_name: Callable[[str], str | None]
    default: str
    """The one for a file whose name and contents are inconclusive."""

    def is_table(self, name: str) -> bool:
        """Return whether a file of this name in a folder is read."""
        return name.endswith(_ZIP_END) or self.of_name(name) is not None

    def reader(self, found: Format) -> str | None:
        """Return the connector that reads a format; null if none does."""
        return self.of_name(found.reader) if found.reader else None

    def is_special(self, kind: str | None) -> bool:
        """Return whether only the connector of another package can judge the contents of such a file."""
        return kind not in {None, self.default, *map(self.reader, _READ_BY_CONTENT)}


class Inputs:
    """The files of one address, in order. Raises ConfigError if there are none, or one of them is not read."""

    def __init__(
        self,
        spec: str,
        kinds: Kinds,
        is_table: storage.IsTable,
        seen: Seen,
        downloads: Downloads | None = None,
        new: NewFiles | None = None,
    ) -> None:
        """With `new`, only the files that it chooses are read."""
        self._kinds = kinds
        self._download: Download | None = None
        self._closers = contextlib.ExitStack()
        self._found: list[tuple[str, File]] = []
        try:
            files = self._located(spec, is_table, seen, downloads or Downloads())
            for file in new.choose(files) if new else files:
                self._found += self._read_by(file)
        except BaseException:
            self.release()
            self.close()
            raise

    @property
    def groups(self) -> list[tuple[str, tuple[File, ...]]]:
        """Connector → consecutive files that it reads."""
        grouped = groupby(self._found, key=lambda found: found[0])
        return [(kind, tuple(file for _, file in found)) for kind, found in grouped]

    def release(self) -> None:
        """Remove a download that was read."""
        if self._download:
            self._download.remove()

    def close(self) -> None:
        """Close archives and pipes."""
        self._closers.close()

    def _located(self, spec: str, is_table: storage.IsTable, seen: Seen, downloads: Downloads) -> list[File]:
        if scheme_of(spec) not in WEB:
            return locating.new_ones(locating.located(spec, is_table), seen)
        from tranship.connectors.files.download import Download

        place = (spec.partition("#")[0],)
        if place in seen:
            seen[place].also.append(redacted(spec))
            return []
        self._download = Download(spec, downloads.folder, downloads.say, self._closers, downloads.limits)
        return locating.new_ones([self._download.file(place, self._kinds.is_table)], seen)

    def _read_by(self, file: File, *, is_member: bool = False) -> list[tuple[str, File]]:
        """Return a file, or the members of an archive, each with its connector."""
        name = file.kind_name.lower()
        named = self._kinds.of_name(name)
        if self._kinds.is_special(named):
            return [(str(named), file)]
        head, is_packed, file = self._peek(file)
        found = formats.recognise(head, name)
        _must_be_zip_if_named_so(file.name, name, found)
        if found is formats.ZIP and not is_packed:
            try:
                archive = self._archive(file)
            except ConfigError:
                if named is None or named != self._kinds.reader(formats.EXCEL) or file.once:
                    raise
                return [(named, file)]  # its connector reports what is wrong with a workbook
            document = archive.document
            if document is None and not is_member:
                return self._members(archive, file)
            found, file = document or found, archive.file
        if found is None:
            return [(named or self._kinds.default, file)]
        if found is formats.ZIP:
            around = "a compressed file" if is_packed else "another archive"
            raise ConfigError(f"{file.name}: is a zip archive within {around}. {found.way_out}.")
        kind = self._kinds.reader(found)
        if kind is None:
            raise formats.refusal(found, file.name)
        if is_packed and found is not formats.JSON:
            raise ConfigError(f"{file.name}: is {found.what}, compressed as a whole. Decompress it first.")
        if kind != named and (named or found is not formats.JSON):
            file = replace(file, remarks=(*file.remarks, f"is {found.what}, despite its name"))
        return [(kind, file)]

    def _peek(self, file: File) -> tuple[bytes, bool, File]:
        """Return its first bytes, decompressed; whether it is compressed; and the file to be read from now on."""
        head, file = storage.peeked(file, self._closers)
        plain = storage.decompressed(head, formats.HEAD_BYTES)
        return (head, False, file) if plain is None else (plain, True, file)

    def _archive(self, file: File) -> Archive:
        archive = Archive(file)
        self._closers.callback(archive.close)
        return archive

    def _members(self, archive: Archive, file: File) -> list[tuple[str, File]]:
        members = {member.name.removeprefix(f"{file.name}/"): member for member in archive.members()}
        kept, passed_over = folders.sift(members, self._kinds.is_table)
        if not kept:
            # The only file of an archive is read, whatever its name.
            kept, passed_over = folders.sift(members, lambda _: True)
            if len(kept) != 1:
                there = f" ({folders.listed([*kept, *passed_over])})" if members else ""
                raise ConfigError(
                    f"{file.name}: {counted(len(members), 'member')} in this zip archive, none of a known kind{there}."
                )
        remarks = folders.remarks("the archive", passed_over)
        found: list[tuple[str, File]] = []
        for at, key in enumerate(kept):
            member = replace(
                members[key],
                partitions={**file.partitions, **folders.partitions(key.split("/")[:-1], members[key].name)},
                container=None if at else file,
                remarks=() if at else remarks,
            )
            found += self._read_by(member, is_member=True)
        return found


def _must_be_zip_if_named_so(name: str, kind_name: str, found: Format | None) -> None:
    if found is None and kind_name.endswith(".zip"):
        raise ConfigError(
            f"{name}: is not a zip archive, or a damaged one. Download or copy it again; if it is a table, name it by "
            "its format, such as .csv."
        )


def columns_of_folders(files: Iterable[File]) -> dict[str, dict[str, str | None]]:
    """Return name of a file → the columns that its folders give, for the files that have any."""
    return {file.name: dict(file.partitions) for file in files if file.partitions}
