"""Addresses of state directories in buckets, and their working copies: one for each address in a process."""

from __future__ import annotations

import re
import tempfile
import threading
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from tranship.connectors import mirrored
from tranship.connectors.addresses import redacted
from tranship.connectors.errors import ConfigError, LocalFailure
from tranship.connectors.state_store.bucket import Bucket
from tranship.connectors.state_store.mirror import BucketMirror

_LEASE_SECONDS: Final = 60.0
_using = threading.Lock()


def working_copy(address: str) -> Path:
    """Return the folder that is a copy of the state directory with this address, up to date.

    Raises ConfigError for an address that cannot be one, and ConnectorError.
    """
    place, seconds = _parsed(address)
    with _using:
        mirror = mirrored.known(place)
        if mirror is None:
            bucket = Bucket(place)
            try:
                folder = Path(tempfile.mkdtemp(prefix="tranship-state-")).resolve()
            except OSError as error:
                raise LocalFailure(
                    f"{tempfile.gettempdir()}: cannot keep a working copy of {place} ({error.strerror}). Free some "
                    "space there, or set TMPDIR."
                ) from error
            mirror = BucketMirror(bucket, folder, seconds)
            mirrored.register(mirror)
    mirror.refresh()
    return mirror.folder


def _parsed(address: str) -> tuple[str, float]:
    """Return the address without options and a slash at its end, and the time of locks. Raises ConfigError."""
    parts = urlsplit(address)
    # Without options and what is before the host, where secrets would be.
    shown = redacted(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", parts.netloc):
        raise ConfigError(
            f"--state-dir {shown}: is not the address of a bucket. Write {parts.scheme}://BUCKET/FOLDER, and give the "
            "credentials in the environment."
        )
    if not re.fullmatch(r"[\w./=-]*", parts.path, re.ASCII) or ".." in parts.path or "//" in parts.path:
        raise ConfigError(f"--state-dir {shown}: use letters, digits and . _ - = / for the folder.")
    seconds = _LEASE_SECONDS
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        found = re.fullmatch(r"(\d{1,4})s", value)
        if name != "lease" or found is None or int(found[1]) < 2:
            raise ConfigError(f"--state-dir {shown}: the only option is lease, such as ?lease=60s (2s or more).")
        seconds = float(found[1])
    return f"{parts.scheme.lower()}://{parts.netloc}{parts.path.rstrip('/')}", seconds
