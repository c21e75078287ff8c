"""An object in a bucket as a destination: `s3://bucket/customers.csv`, `gs://…`, `az://…`.

The file is made on disk and then uploaded as one object, or in parts that become an object once all have been uploaded.
A failed upload leaves no readable object, and the earlier object unchanged.
"""

from __future__ import annotations

import glob
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tranship.connectors.addresses import redacted
from tranship.connectors.errors import ConfigError
from tranship.connectors.files import buckets

_MARK: Final = "tranship"
"""Key of the metadata of an object that Tranship has written: letters only, as all providers allow them."""


class CloudObject:
    """The place of an object. One that Tranship did not write, by its metadata, is replaced only with `overwrite`."""

    def __init__(self, spec: str, *, overwrite: bool) -> None:
        self._spec = redacted(spec)
        self._overwrite = overwrite
        parts = urlsplit(spec)
        self._key = parts.path.lstrip("/")
        if not self._key or self._key.endswith("/") or glob.has_magic(self._key):
            raise ConfigError(f"{self._spec}: is not the name of an object. Write {parts.scheme}://BUCKET/FILE.")
        self._root = f"{parts.scheme}://{parts.netloc}"
        self._store = buckets.store_of(self._root)

    def __str__(self) -> str:
        return self._spec

    def exists(self) -> bool:
        """Return whether there is such an object. Raises Unreachable."""
        return self._head() is not None

    def must_be_free(self) -> None:
        """Raise ConfigError if there is an object that Tranship did not write. An empty one may be replaced."""
        if self._overwrite:
            return
        found = self._head()
        if found is None or found.meta["size"] == 0 or _MARK in found.attributes:
            return
        raise ConfigError(
            f"{self._spec}: exists, and Tranship did not write it; it was left unchanged. Are source and destination "
            "swapped? To replace it: --overwrite"
        )

    def put(self, make: Callable[[Path], None], workspace: Path) -> None:
        """Upload the file that `make` writes. Raises Unreachable, and ConfigError if another object has appeared."""
        import obstore

        made = workspace / "upload.partial"
        try:
            make(made)
            self.must_be_free()
            try:
                obstore.put(self._store, self._key, made, attributes={_MARK: "written"})
            except Exception as error:  # errors of obstore have no common base class
                raise buckets.unreachable(self._spec, "written", error) from error
        finally:
            made.unlink(missing_ok=True)

    def _head(self) -> Any:
        """Return size and attributes of the object, null if there is none."""
        import obstore

        try:
            return obstore.get(self._store, self._key, options={"head": True})
        except FileNotFoundError:
            return None
        except Exception as error:
            raise buckets.unreachable(self._spec, "looked up", error) from error
