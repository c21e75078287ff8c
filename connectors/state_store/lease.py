"""A lock in a bucket: an object that is written only if nobody else has written it meanwhile.

Its holder renews it while it works. One that was not renewed for its whole time, by the clock of the storage, may be
taken over: its holder was killed, or cannot reach the bucket. A holder that could not renew it stops by itself before
that time has passed, by its own clock, so that two never work at once, however wrong the clocks of machines are.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from msgspec.structs import replace

from tranship.connectors.errors import Busy, ConnectorError
from tranship.connectors.state_store.bucket import Bucket, ChangedError, Found, Version

_TRUSTED: Final = 0.7
"""The part of its time after which a holder no longer relies on a lease that it could not renew."""
_RENEWED: Final = 0.25
"""The part of its time after which it is renewed."""
_PAUSE: Final = 0.2
"""Seconds between two attempts."""
_ROUNDING: Final = timedelta(seconds=2)
"""Storage gives times in whole seconds."""


class Holder(msgspec.Struct, frozen=True):
    """The process that holds a lease, as the object has it. `token` is its own, empty after the release; `seconds` is
    the time within which it is renewed, `renewal` makes each object unlike the one before.
    """

    pid: int = 0
    host: str = ""
    since: str = ""
    token: str = ""
    seconds: float = 0
    renewal: int = 0

    def __str__(self) -> str:
        if not self.pid or not self.host.isprintable() or not self.since.isprintable():
            return "another process"
        return f"process {self.pid} on host {self.host[:128]}, since {self.since[:40]}"


class Lease:
    """The lock of one object, held by this object or by another. Callable from any thread."""

    def __init__(
        self, bucket: Bucket, name: str, seconds: float, held: set[Lease], taken: Callable[[str], None]
    ) -> None:
        """`held` are the leases of this process; `taken` is called with the name when it has this one."""
        self.name = name
        self._bucket, self._seconds, self._held, self._taken = bucket, seconds, held, taken
        self._holder = Holder()
        self._version: Version | None = None
        self._confirmed = 0.0
        self._is_lost = False
        self._using = threading.Lock()
        self._ended = threading.Event()

    @property
    def is_held(self) -> bool:
        """Whether this object has it."""
        return self in self._held

    def take(self, glance: float = 0) -> bool:
        """Take it, waiting `glance` seconds for another holder, and return whether this object holds it now.

        Raises ConfigError if the storage cannot exclude others, and ConnectorError.
        """
        started = time.monotonic()
        while not self.is_held and not self._taken_now():
            if time.monotonic() - started >= glance:
                return False
            time.sleep(_PAUSE)
        return True

    def _taken_now(self) -> bool:
        found = self._bucket.read(self.name)
        if found is not None and self._is_in_use(found):
            return False
        now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
        self._holder = Holder(os.getpid(), socket.gethostname(), now, secrets.token_hex(8), self._seconds)
        started = time.monotonic()
        try:
            self._version = self._bucket.put(self.name, self._content(), found.version if found else None)
        except ChangedError:
            return False
        self._confirmed, self._is_lost = started, False
        self._bucket.must_exclude(self.name, self._version)
        self._held.add(self)
        self._ended = threading.Event()
        threading.Thread(target=self._renew_often, name="tranship-lease", daemon=True).start()
        try:
            self._taken(self.name)
        except BaseException:
            self.release()
            raise
        return True

    def release(self) -> None:
        """Release it, if this object holds it. If that fails, it ends by itself."""
        if not self.is_held:
            return
        self._held.discard(self)
        self._ended.set()
        with self._using, suppress(ChangedError, ConnectorError):
            self._holder = replace(self._holder, token="", renewal=self._holder.renewal + 1)
            if not self._is_lost:
                self._bucket.put(self.name, self._content(), self._version)

    def holder(self) -> Holder | None:
        """Return the holder, which may be this object; null if there is none. Raises ConnectorError."""
        found = self._bucket.read(self.name)
        return _read(found) if found is not None and self._is_in_use(found) else None

    def last_holder(self) -> Holder:
        """Return the current or last holder."""
        with suppress(ConnectorError):
            return _read(self._bucket.read(self.name))
        return Holder()

    def confirm(self) -> None:
        """Renew it if that is due. Raises Busy if another process may have it."""
        if time.monotonic() - self._confirmed > self._seconds * _TRUSTED:
            with suppress(ConnectorError):
                self._renew()
        if self._is_lost or time.monotonic() - self._confirmed > self._seconds * _TRUSTED:
            raise Busy(
                f"{self._bucket.address}: this process could not keep its lock for {self._seconds:g} s, and another "
                "one may work on it now. It has stopped writing there. When no other process works on it, run the same "
                "command again."
            )

    def _renew_often(self) -> None:
        while not self._ended.wait(self._seconds * _RENEWED):
            with suppress(ConnectorError):
                self._renew()

    def _renew(self) -> None:
        with self._using:
            if self._is_lost or self._ended.is_set():
                return
            started = time.monotonic()
            self._holder = replace(self._holder, renewal=self._holder.renewal + 1)
            try:
                self._version = self._bucket.put(self.name, self._content(), self._version)
            except ChangedError:
                # An earlier renewal whose answer was lost may have arrived.
                found = self._bucket.read(self.name)
                if found is None or _read(found).token != self._holder.token:
                    self._is_lost = True
                    return
                self._version = found.version
            self._confirmed = started

    def _content(self) -> bytes:
        return msgspec.json.encode(self._holder)

    def _is_in_use(self, found: Found) -> bool:
        holder = _read(found)
        if not holder.token:
            return False
        age = self._bucket.now(f"{self.name}-clock-{secrets.token_hex(4)}") - found.written_at
        return age < timedelta(seconds=holder.seconds) + _ROUNDING


def _read(found: Found | None) -> Holder:
    try:
        return msgspec.json.decode(found.content, type=Holder) if found is not None else Holder()
    except msgspec.DecodeError:  # not a lock of ours; it is taken over
        return Holder()
