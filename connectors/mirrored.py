"""Folders on this machine that are working copies of a place elsewhere: of a state directory in a bucket.

All other code works with files in the folder. Where it matters that a file is there, or that it is kept, it says so
here; for other folders nothing happens. Files and messages name the place elsewhere, never the folder, which another
machine does not have: texts are translated when they are written and when they are read.

Code that changes files of an earlier run copies all of them first (`bring` its folder, with its lock), and keeps what
it has changed or removed at the end (`RunDirectory.keep`). A whole run is removed with `remove`.
"""

from __future__ import annotations

import atexit
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol


class Lease(Protocol):
    """A lock that all machines see. The processes that hold it are texts for people."""

    @property
    def is_held(self) -> bool:
        """Whether this object has it."""
        ...

    def take(self, glance: float = 0) -> bool:
        """Take it, and return whether this object holds it now."""
        ...

    def release(self) -> None:
        """Release it, if this object holds it."""
        ...

    def holder(self) -> object | None:
        """Return the process that holds it; null if there is none."""
        ...

    def last_holder(self) -> object:
        """Return the process that holds it, or was the last one."""
        ...


class Mirror(Protocol):
    """A folder and the place of which it is a copy."""

    folder: Path
    address: str

    def refresh(self) -> None:
        """Note what is kept there now. Raises ConnectorError."""
        ...

    def bring(self, path: Path) -> None:
        """Return when the file, or all files of the folder, are on this machine, if they exist. Raises Unreachable."""
        ...

    def save(self, file: Path) -> None:
        """Keep a file that was written; one of a run is kept with the next manifest. Raises ConnectorError."""
        ...

    def publish(self, file: Path) -> None:
        """Keep a file at once. Raises ConnectorError."""
        ...

    def remove(self, path: Path) -> None:
        """Remove a file or folder, which is gone here, from the place. Raises ConnectorError."""
        ...

    def lock(self, file: Path) -> Lease:
        """Return the lock that takes the place of this lock file."""
        ...

    def confirm(self) -> None:
        """Raise ConnectorError if another machine may have taken a lock of this process over."""
        ...

    def close(self) -> None:
        """Release the locks and remove the folder."""
        ...


_mirrors: list[Mirror] = []


def register(mirror: Mirror) -> None:
    """Add a working copy, which is removed at the end of the process or of a command."""
    if not _mirrors:
        atexit.register(close)
    _mirrors.append(mirror)


def close() -> None:
    """Remove all working copies."""
    while _mirrors:
        _mirrors.pop().close()


@contextmanager
def closed_at_end() -> Iterator[None]:
    """Remove all working copies at the end of the block."""
    try:
        yield
    finally:
        close()


def known(address: str) -> Mirror | None:
    """Return the working copy of a place; null if there is none yet."""
    return next((mirror for mirror in _mirrors if mirror.address == address), None)


def of(path: Path) -> Mirror | None:
    """Return the working copy in which a file or folder lies; null for all others."""
    return next((mirror for mirror in _mirrors if path.is_relative_to(mirror.folder)), None)


def bring(path: Path) -> None:
    """Return when a file, or all files of a folder, are on this machine."""
    if _mirrors and (mirror := of(path)):
        mirror.bring(path)


def save(file: Path) -> None:
    """Keep a file that was written."""
    if _mirrors and (mirror := of(file)):
        mirror.save(file)


def publish(file: Path) -> None:
    """Keep a file at once, before anything that depends on it is done."""
    if _mirrors and (mirror := of(file)):
        mirror.publish(file)


def remove(path: Path) -> None:
    """Remove a file or folder that was removed here."""
    if _mirrors and (mirror := of(path)):
        mirror.remove(path)


def confirm(path: Path) -> None:
    """Raise ConnectorError if another machine may work in the folder of a file by now."""
    if _mirrors and (mirror := of(path)):
        mirror.confirm()


def outward(text: str) -> str:
    """Return a text in which working copies have the address of their place."""
    for mirror in _mirrors:
        text = text.replace(str(mirror.folder), mirror.address)
    return text


def inward(text: str) -> str:
    """Return a text in which the places have the paths of their working copies."""
    for mirror in _mirrors:
        if mirror.address in text:
            text = re.sub(rf"{re.escape(mirror.address)}(?![\w.=-])", lambda _: str(mirror.folder), text)  # noqa: B023
    return text


def outward_values(values: Any) -> Any:
    """Return values for JSON, translated like a text."""
    return _translated(values, outward) if _mirrors else values


def inward_values(values: Any) -> Any:
    """Return values from JSON, translated back."""
    return _translated(values, inward) if _mirrors else values


def _translated(values: Any, translate: Any) -> Any:
    if isinstance(values, str):
        return translate(values)
    if isinstance(values, dict):
        return {name: _translated(value, translate) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [_translated(value, translate) for value in values]
    return values
