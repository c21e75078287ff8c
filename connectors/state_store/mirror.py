"""The working copy of a state directory in a bucket.

The bucket has the same files as a state directory on a disk. Manifests and other small files are copied when a command
begins, again when it has got a lock, and everything else when it is needed. A run is kept at each save of its
manifest: first the files that have changed, then the manifest, so that whatever the manifest names is there. A process
that was killed between two of these uploads leaves what a kill leaves on a disk.

Each upload replaces only the object that this process knows, and only while its locks are confirmed.
"""

from __future__ import annotations

import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from msgspec import Struct

from tranship.connectors.errors import Busy
from tranship.connectors.state_store.bucket import Bucket, ChangedError, Version
from tranship.connectors.state_store.lease import Lease

_RUNS: Final = "runs"
_MARKS: Final = {_RUNS: "manifest.json", "applied": "plan.json"}
"""Folders whose folders are kept as a whole, and the file of each that is kept last."""
_SMALL: Final = ("manifest.json", "report.json")
"""Files of a run that every command copies when it begins."""
_OF_THIS_MACHINE: Final = frozenset(("downloads", "frames", "spill"))
"""Folders that are not kept: they save a download, or are of use to their process only."""
_TEMPORARY: Final = (".partial", ".lock", "-wal", "-shm", ".duckdb.wal")
_THREADS: Final = 8

Stamp = tuple[int, int, int]
"""Size, time and inode of a file: whether it has changed since it was copied."""


class _Object(Struct):
    """What is known of an object: its version, and the stamp of its copy here; null if there is none yet."""

    version: Version
    stamp: Stamp | None = None


class BucketMirror:
    """A folder of this machine and the bucket of which it is a copy. Callable from any thread."""

    def __init__(self, bucket: Bucket, folder: Path, seconds: float) -> None:
        """`seconds` is the time of its locks."""
        self.folder = folder
        self.address = bucket.address
        self._bucket, self._seconds = bucket, seconds
        self._known: dict[str, _Object] = {}
        self._leases: set[Lease] = set()
        self._using = threading.RLock()

    # From the bucket

    def refresh(self, prefix: str = "") -> None:
        """Note what is in the bucket now, below a prefix, and copy what is small. Raises ConnectorError."""
        with self._using:
            listed = self._bucket.list(prefix)
            ours = {lease.name.rpartition("/")[0] for lease in self._leases} if not prefix else set()
            gone = [name for name in self._known if name.startswith(prefix) and name not in listed]
            for name in gone:
                if _unit(name) not in ours:
                    self._drop(name)
            for unit in {_unit(name) for name in gone} - {"", *ours, *map(_unit, listed)}:
                shutil.rmtree(self.folder / unit, ignore_errors=True)
            for name, found in listed.items():
                known = self._known.get(name)
                if not _is_kept(name) or _unit(name) in ours or (known and known.version.tag == found.version.tag):
                    continue
                self._drop(name)
                self._known[name] = _Object(found.version)
            self._copy(name for name in self._known if name.startswith(prefix) and _is_small(name))

    def bring(self, path: Path) -> None:
        """Copy a file, or all files of a folder, that are not here yet."""
        name = self._name(path)
        with self._using:
            if name in self._known:
                self._copy([name])
            else:
                self._copy(other for other in self._known if other.startswith(f"{name}/"))

    def _copy(self, names: Iterable[str]) -> None:
        missing = [name for name in names if self._known[name].stamp is None]
        _in_parallel(self._download, missing)

    def _download(self, name: str) -> None:
        file = self.folder / name
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = file.with_name(f".{file.name}.{secrets.token_hex(8)}.partial")
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)):
                version = self._bucket.download(name, temporary)
            if version is None:  # removed since it was listed
                self._known.pop(name)
                return
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
        self._known[name] = _Object(version, _stamp(file))

    def _drop(self, name: str) -> None:
        """Forget an object, and remove its copy."""
        known = self._known.pop(name, None)
        if known is not None and known.stamp is not None:
            (self.folder / name).unlink(missing_ok=True)

    # To the bucket

    def save(self, file: Path) -> None:
        """Keep a file that was written; one of a run is kept with the next manifest."""
        name = self._name(file)
        unit = _unit(name)
        if not _is_kept(name) or (unit and name != f"{unit}/{_MARKS[name.partition('/')[0]]}"):
            return
        with self._using:
            if unit:
                files = {self._name(path) for path in (self.folder / unit).rglob("*") if path.is_file()}
                _in_parallel(self._upload, sorted(other for other in files if other != name and _is_kept(other)))
            self._upload(name)
            if unit:
                # Only what was here: a run of which this process has not copied everything keeps the rest.
                gone = [
                    other
                    for other, known in self._known.items()
                    if known.stamp is not None and other.startswith(f"{unit}/") and other not in files
                ]
                self._delete(gone)

    def publish(self, file: Path) -> None:
        """Keep a file at once."""
        with self._using:
            self._upload(self._name(file))

    def _upload(self, name: str) -> None:
        file = self.folder / name
        known = self._known.get(name)
        try:
            stamp = _stamp(file)
        except FileNotFoundError:
            return
        if known is not None and known.stamp == stamp:
            return
        self.confirm()
        try:
            version = self._bucket.put(name, file, known.version if known else None)
        except ChangedError as error:
            raise Busy(
                f"{self.address}/{name}: another process has written it. This process has stopped writing there. When "
                "no other process works on it, run the same command again."
            ) from error
        self._known[name] = _Object(version, stamp)

    def remove(self, path: Path) -> None:
        """Remove a file or folder that is gone here. A manifest is removed last, so that it can be done again."""
        name = self._name(path)
        with self._using:
            if name in self._known:
                self._delete([name])
                return
            self.confirm()
            gone = [other for other in self._bucket.list(f"{name}/") if _is_kept(other)]
            marks = [other for other in gone if other == f"{name}/manifest.json"]
            self._delete([other for other in gone if other not in marks])
            self._delete(marks)
            self._bucket.delete([f"{name}/lock"])

    def _delete(self, names: list[str]) -> None:
        if names:
            self.confirm()
            self._bucket.delete(names)
            for name in names:
                self._known.pop(name, None)

    # Locks

    def lock(self, file: Path) -> Lease:
        """Return the lock that takes the place of this lock file."""
        return Lease(self._bucket, self._name(file), self._seconds, self._leases, self._taken)

    def confirm(self) -> None:
        """Raise Busy if another machine may have taken a lock of this process over."""
        for lease in tuple(self._leases):
            lease.confirm()

    def _taken(self, name: str) -> None:
        """Copy what the last holder of a lock has left."""
        folder = name.rpartition("/")[0]
        self.refresh("" if folder == "locks" else f"{folder}/")
        if _unit(name):
            self.bring(self.folder / folder)

    def close(self) -> None:
        """Release the locks and remove the folder."""
        for lease in tuple(self._leases):
            lease.release()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


def _unit(name: str) -> str:
    """Return the folder that is kept as a whole: `runs/<id>`; empty for other files."""
    parts = name.split("/")
    return "/".join(parts[:2]) if len(parts) > 2 and parts[0] in _MARKS else ""


def _is_kept(name: str) -> bool:
    *folders, last = name.split("/")
    return not (
        last == "lock" or last.startswith((".", "crash-")) or last.endswith(_TEMPORARY) or "-clock-" in last
    ) and not _OF_THIS_MACHINE.intersection(folders)


def _is_small(name: str) -> bool:
    return not name.startswith(f"{_RUNS}/") or (name.count("/") == 2 and name.rpartition("/")[2] in _SMALL)


def _stamp(file: Path) -> Stamp:
    stat = file.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def _in_parallel(work: Callable[[str], None], names: Iterable[str]) -> None:
    listed = list(names)
    if len(listed) < 2:
        for name in listed:
            work(name)
        return
    with ThreadPoolExecutor(min(_THREADS, len(listed)), thread_name_prefix="state") as pool:
        for _ in _results(pool, work, listed):
            pass


def _results(pool: ThreadPoolExecutor, work: Callable[[str], None], names: list[str]) -> Iterator[None]:
    try:
        yield from pool.map(work, names)
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise
