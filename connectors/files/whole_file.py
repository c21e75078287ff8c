"""A file as a destination: written whole, on this machine, in a bucket or on standard output."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import polars as pl
from msgspec.structs import replace

from tranship.connectors import known_secrets
from tranship.connectors.addresses import STANDARD_OUTPUT, redacted, scheme_of
from tranship.connectors.contract import Plan, WriteRequest, all_created
from tranship.connectors.errors import ConfigError, Unreachable
from tranship.connectors.files import buckets
from tranship.connectors.files.local_file import LocalFile, Written
from tranship.connectors.files.standard_output import StandardOutput
from tranship.connectors.local_failures import local_failure


class Place(Protocol):
    """The place of a file to be written; `str` is its name for people. The file is not visible there before it is
    complete.
    """

    def exists(self) -> bool:
        """Return whether there is something that would be replaced."""
        ...

    def must_be_free(self) -> None:
        """Raise ConfigError if there is something that must not be replaced."""
        ...

    def put(self, make: Callable[[Path], None], workspace: Path) -> None:
        """Put the file that `make` writes under a path there. `workspace` is a private folder for it.

        Raises OSError or ConnectorError if it cannot be put there, and what `must_be_free` raises.
        """
        ...


def place_of(spec: str, written: Written, *, overwrite: bool) -> Place:
    """Return the place of an address. Raises ConfigError if no file can be put there."""
    if spec == STANDARD_OUTPUT:
        return StandardOutput()
    if scheme_of(spec).lower() in buckets.SCHEMES:
        from tranship.connectors.files.cloud_object import CloudObject

        return CloudObject(spec, overwrite=overwrite)
    return LocalFile(spec, written, overwrite=overwrite)


class WholeFile:
    """A file as a destination: each run replaces it as a whole.

    A file that Tranship did not write, according to `written`, is replaced only with `overwrite`.
    """

    def __init__(
        self,
        spec: str,
        sink: Callable[[pl.LazyFrame, Path], None],
        written: Written,
        *,
        overwrite: bool,
        examine: Callable[[pl.LazyFrame], tuple[str, ...]] | None = None,
    ) -> None:
        """`examine` returns notes on values that the file cannot hold."""
        self._spec = redacted(spec)
        self._sink = sink
        self._examine = examine
        self._place = place_of(spec, written, overwrite=overwrite)
        self._place.must_be_free()

    def plan(self, request: WriteRequest) -> Plan:
        """Return a plan in which every survivor is created. Raises ConfigError for other modes than upsert."""
        if request.mode != "upsert":
            raise ConfigError(f"{self._spec}: a file is written whole; --mode {request.mode} needs a table.")
        notes: tuple[str, ...] = (f"{self._spec} exists; this run replaces it",) if self._place.exists() else ()
        if self._examine:
            notes += self._examine(_records_of(request))
        return replace(all_created(request), notes=notes)

    def apply(self, request: WriteRequest, plan: Plan) -> None:  # noqa: ARG002  (all survivors are written, whatever the plan's rows)
        """Write the file and put it in its place. Raises ConfigError if another file has appeared there, and
        Unreachable if it cannot be written.
        """
        try:
            self._place.put(lambda path: self._sink(_records_of(request), path), request.workspace)
        except (OSError, pl.exceptions.ComputeError) as error:
            why = known_secrets.safe_message(str(error))
            raise local_failure(error, self._place) or Unreachable(
                f"{self._place}: cannot be written ({why}). Check the permissions and the free space."
            ) from error

    def applied(self, run_id: str) -> bool:  # noqa: ARG002
        """Return false: it is not recorded, and writing again gives the same file."""
        return False

    def close(self) -> None:
        """Do nothing: no file is open."""


def _records_of(request: WriteRequest) -> pl.LazyFrame:
    return request.survivors.scan().select(pl.exclude("^_.*$"))
