"""Locks that keep a second process from doing the same work: one file for each run, one for each destination.

The operating system releases such a lock (`flock`) when its process ends, however it ends. The process id, host and
time in the file are informational: process ids repeat in containers, and hosts may share a file system.

A command that needs both kinds takes the destination's first, so that no two commands wait for each other.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from tranship.connectors import mirrored
from tranship.connectors.contract import Waiting
from tranship.connectors.errors import Busy, ConfigError, LocalFailure, Skipped
from tranship.connectors.local_failures import local_failure

Flock = Callable[[int, int], Any]
"""`fcntl.flock`: locks an open file or raises OSError."""

try:
    import fcntl
except ImportError:  # no such locks on this system
    FLOCK: Flock | None = None
    _SHARED, _EXCLUSIVE, _UNLOCK = 0, 0, 0
else:
    FLOCK = fcntl.flock
    _SHARED, _EXCLUSIVE = fcntl.LOCK_SH | fcntl.LOCK_NB, fcntl.LOCK_EX | fcntl.LOCK_NB
    _UNLOCK = fcntl.LOCK_UN

FOLDER: Final = "locks"
"""In the state directory, with one file for each destination."""
_WIDTH: Final = 512
"""Bytes of a lock file. All are written at once, so that a holder is never read in part."""
GLANCE: Final = 1.0
"""Seconds within which a lock that another process only inspects becomes free again."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5


class Holder(Struct, frozen=True):
    """The process that holds a lock, as written in the lock file; all empty if that cannot be read."""

    pid: int = 0
    host: str = ""
    since: str = ""

    def __str__(self) -> str:
        if not self.pid:
            return "another process"
        return f"process {self.pid} on host {self.host}, since {self.since}"


class Lock:
    """The lock of one file, held by this object or by another."""

    def __init__(self, file: Path, flock: Flock | None = None) -> None:
        self.file = file
        self._flock = flock or FLOCK
        self._descriptor: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether this object has the lock."""
        return self._descriptor is not None

    def take(self, glance: float = 0) -> bool:
        """Take the lock, and return whether this object holds it now. Waits `glance` seconds for processes that only
        inspect it, but never for another holder.

        Raises ConfigError if the file cannot be used or its file system has no locks.
        """
        started = time.monotonic()
        while self._descriptor is None:
            descriptor = self._opened(os.O_RDWR | os.O_CREAT)
            try:
                if self._locked(descriptor, _EXCLUSIVE):
                    if self._is_in_place(descriptor):
                        self._must_exclude()
                        _write(descriptor, Holder(os.getpid(), socket.gethostname(), _now()))
                        self._descriptor, descriptor = descriptor, -1
                    # Otherwise the file was removed before it was locked, and other processes do not see it.
                elif time.monotonic() - started >= glance:
                    return False
                else:
                    time.sleep(_FIRST_PAUSE)
            except OSError as error:
                raise self._unusable(error) from error
            finally:
                if descriptor >= 0:
                    os.close(descriptor)
        return True

    def release(self) -> None:
        """Release the lock, if this object holds it."""
        if self._descriptor is not None:
            self._unlock(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def holder(self) -> Holder | None:
        """Return the holder, which may be this object; null if there is none."""
        try:
            descriptor = self._opened(os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            if not self._locked(descriptor, _SHARED):
                return _read(descriptor)
            self._unlock(descriptor)
            return None
        finally:
            os.close(descriptor)

    def last_holder(self) -> Holder:
        """Return the current or last holder."""
        with suppress(OSError, ConfigError):
            descriptor = self._opened(os.O_RDONLY)
            try:
                return _read(descriptor)
            finally:
                os.close(descriptor)
        return Holder()

    def _opened(self, flags: int) -> int:
        """Raises FileNotFoundError if there is no file and `flags` create none, ConfigError if it is not a lock
        file.
        """
        try:
            # Not inherited: a lock ends with its process. Not blocking: the file may be a pipe.
            extra = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK if os.name == "posix" else 0
            descriptor = os.open(self.file, flags | extra, 0o600)
        except FileNotFoundError:
            if flags & os.O_CREAT:
                raise ConfigError(
                    f"{self.file}: the folder of this lock file is gone. Start the command again."
                ) from None
            raise
        except OSError as error:
            raise self._unusable(error) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise self._unusable(OSError(errno.EINVAL, "it is not a regular file"))
        return descriptor

    def _unusable(self, error: OSError) -> ConfigError:
        # A link in its place is not followed, which the system reports as a loop of links.
        failure = None if error.errno == errno.ELOOP else local_failure(error, self.file)
        return failure or ConfigError(
            f"{self.file}: cannot be used as a lock file ({(error.strerror or str(error)).lower()}). Remove it if no "
            "Tranship process is running."
        )

    def _locked(self, descriptor: int, operation: int) -> bool:
        """Lock, and return whether that succeeded. Raises ConfigError if the file system has no locks."""
        if self._flock is None:
            raise self._without_locks("this operating system has no flock")
        try:
            self._flock(descriptor, operation)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            raise self._without_locks((error.strerror or str(error)).lower()) from error
        return True

    def _unlock(self, descriptor: int) -> None:
        """Closing is not enough: a program that was just started has a copy of the descriptor until it replaces our
        process image (the kernel closes descriptors marked O_CLOEXEC only after the parent continues)."""
        if self._flock is not None:
            with suppress(OSError):
                self._flock(descriptor, _UNLOCK)

    def _must_exclude(self) -> None:
        """Raises ConfigError if the file system grants the same lock twice, as some do."""
        second = self._opened(os.O_RDWR)
        try:
            if self._locked(second, _EXCLUSIVE):
                raise self._without_locks("a locked file could be locked again")
        finally:
            os.close(second)

    def _without_locks(self, why: str) -> ConfigError:
        return ConfigError(
            f"{self.file.parent}: files cannot be locked here ({why}), so a second process could write the same "
            "customers again. Use a folder on a local disk, or, if you are sure that only one process runs at a time, "
            "--no-locks."
        )

    def _is_in_place(self, descriptor: int) -> bool:
        try:
            there = self.file.stat(follow_symlinks=False)
        except FileNotFoundError:
            return False
        ours = os.fstat(descriptor)
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def lock_at(file: Path) -> Lock | mirrored.Lease:
    """Return the lock of this file; one that all machines see if the folder is a working copy."""
    mirror = mirrored.of(file)
    return Lock(file) if mirror is None else mirror.lock(file)


def of_destination(state_dir: Path, identity: str) -> Lock | mirrored.Lease:
    """Return the lock of a destination. `identity` is the same for all its spellings. Raises ConfigError."""
    folder = state_dir / FOLDER
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise LocalFailure(
            f"{folder}: cannot be created or used ({(error.strerror or str(error)).lower()}). Free some space there, "
            "use another --state-dir, or remove the file that is in the way."
        ) from error
    return lock_at(folder / f"{hashlib.sha256(identity.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.lock")


def wait_for(
    lock: Lock | mirrored.Lease, destination: str, overlap: str, waiting: Waiting, check: Callable[[], None]
) -> None:
    """Take the lock of a destination, waiting for its holder if necessary. `check` is called before each attempt, and
    raises an error if there is no reason to wait any longer.

    Raises Skipped or Busy, depending on `overlap`.
    """
    started, pause, announced = time.monotonic(), _FIRST_PAUSE, False
    while True:
        check()
        if lock.take():
            return
        held = f"{destination}: another run is writing to it ({lock.last_holder()})"
        if overlap == "skip":
            raise Skipped(f"{held}. Nothing was done.")
        if overlap == "fail":
            raise Busy(f"{held}. Nothing was done. Wait for it to end, or let this run wait: --overlap wait")
        if waiting.seconds and time.monotonic() - started >= waiting.seconds:
            raise Busy(
                f"{held}, and has not ended within {waiting.seconds:g} s. Nothing was done. Wait for it or end it, or "
                "allow more with --lock-timeout."
            )
        if not announced:
            waiting.say(f"{held}; waiting for it to end")
            announced = True
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _write(descriptor: int, holder: Holder) -> None:
    text = json.dumps({"pid": holder.pid, "host": holder.host[:128], "since": holder.since}).encode()
    os.pwrite(descriptor, text.ljust(_WIDTH - 1) + b"\n", 0)
    os.ftruncate(descriptor, _WIDTH)


def _read(descriptor: int) -> Holder:
    try:
        facts = json.loads(os.pread(descriptor, _WIDTH, 0))
        holder = Holder(int(facts["pid"]), str(facts["host"]), str(facts["since"]))
        return holder if str(holder).isprintable() else Holder()
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return Holder()
