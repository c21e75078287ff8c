"""The folders in which downloads are kept until they have been read."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Final

from msgspec import Struct, field

from tranship.connectors import durable
from tranship.connectors.errors import Damaged, LocalFailure

_BODY: Final = "body"
_ABOUT: Final = "about.json"


class Entry(Struct):
    """The kept part of a download: its bytes, and the server's headers about them."""

    folder: Path
    etag: str = ""
    modified: str = ""
    complete: bool = False
    seal: str = ""
    """Size and SHA-256 of the whole file."""
    names: list[str] = field(default_factory=list)
    """Names of the file, the most specific one first."""
    safe: int = 0
    """Number of bytes that survive a power failure; a download continues from there."""

    @property
    def body(self) -> Path:
        """The file with the bytes."""
        return self.folder / _BODY

    @property
    def size(self) -> int:
        """Number of bytes on disk."""
        return self.body.stat().st_size if self.body.exists() else 0

    @property
    def is_strong(self) -> bool:
        """Whether the bytes can be continued: only a strong ETag promises the same bytes."""
        return self.etag.startswith('"')

    def load(self) -> None:
        """Reuse the part that an earlier process downloaded, if it is intact."""
        with contextlib.suppress(FileNotFoundError, Damaged, KeyError, TypeError):
            kept = durable.read_json(self.folder / _ABOUT)
            if kept["complete"] and not durable.is_whole(self.body, kept["seal"]):
                return
            if self.size < kept["safe"]:
                return
            os.truncate(self.body, kept["safe"])
            self.etag, self.modified, self.complete = kept["etag"], kept["modified"], kept["complete"]
            self.seal, self.names, self.safe = kept["seal"], kept["names"], kept["safe"]

    def save(self) -> None:
        """Save the description of the bytes."""
        kept = {"etag": self.etag, "modified": self.modified, "complete": self.complete}
        facts = {**kept, "seal": self.seal, "names": self.names, "safe": self.safe}
        durable.write_json(self.folder / _ABOUT, facts)

    def open(self) -> BinaryIO:
        """Open the file to append to it, readable by its owner only."""
        return open(self.body, "ab", opener=_private)

    def keep(self, out: BinaryIO) -> None:
        """Keep the bytes that were written so far."""
        out.flush()
        os.fsync(out.fileno())
        self.safe = out.tell()
        self.save()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@contextlib.contextmanager
def own_folder(downloads: Path | None, spec: str) -> Iterator[Path]:
    """Yield the folder of a download, locked against other processes; if one uses it, a temporary folder."""
    with ExitStack() as stack:
        if downloads is not None:
            folder = downloads / hashlib.sha256(spec.encode("utf-8", "surrogateescape")).hexdigest()[:32]
            try:
                for parent in (downloads.parent, downloads, folder):
                    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                if stack.enter_context(_locked(folder)):
                    yield folder
                    return
            except OSError as error:
                raise LocalFailure(
                    f"{downloads}: nothing can be downloaded to this folder ({error.strerror}). Free some space there, "
                    "or choose another --state-dir."
                ) from error
        yield Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tranship-")))


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Yield whether this process has the folder; the lock ends with the process."""
    try:
        import fcntl
    except ImportError:
        yield True
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine, there = os.fstat(opened), folder.stat()
            has_it = (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)
        except (BlockingIOError, FileNotFoundError):
            has_it = False
        yield has_it
    finally:
        os.close(opened)
