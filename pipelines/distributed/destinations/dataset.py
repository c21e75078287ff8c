"""A dataset of Parquet files: each run that changes something writes a folder `run=<id>/` of its own, and then the
pointer, `_current.json`. Readers follow the pointer: they never see a part of a run, nor two runs at once.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any, Final

import pyarrow.parquet as pq
from pyspark.sql import functions as fn

from tranship.connectors.addresses import local_path, redacted, scheme_of
from tranship.connectors.errors import ConfigError, Malformed
from tranship.connectors.existing import not_created
from tranship.connectors.files.data_folder import data_folder
from tranship.pipelines.distributed import stage_rows
from tranship.pipelines.distributed.destinations.contract import LEFT_OUT, STALE, Planned, Request
from tranship.pipelines.distributed.stage_rows import spark_schema
from tranship.schemas.counted import counted
from tranship.schemas.customer import COLUMNS
from tranship.schemas.schema_version import SCHEMA_VERSION

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

POINTER: Final = "_current.json"
_EMPTY: Final = "part-empty.parquet"
_FATES: Final = ("create", "update", "unchanged", "stale", "refused", "ambiguous", "delete")


class ParquetDataset:
    """A folder that each run writes as a whole."""

    def __init__(self, address: str, *, overwrite: bool, create: bool = True) -> None:
        """Raises ConfigError if the folder has files that no run has written, or no dataset and none may be created."""
        self._shown = redacted(address)
        path = address if scheme_of(address) else str(local_path(address).resolve())
        self._address = path.rstrip("/")
        self._folder = data_folder(self._address)
        self._digest: dict[str, Any] = {}
        self._is_same = False
        strange = [name for name in self._folder.names() if name != POINTER and not name.startswith(("run=", ".", "_"))]
        pointer = self._pointer()
        if pointer is None and not create:
            raise not_created(f"dataset {self._shown}", "")
        if strange and pointer is None and not overwrite:
            raise ConfigError(
                f"{self._shown}: contains files that Tranship did not write, such as {strange[0]}. Name another "
                "folder, or write beside them: --overwrite"
            )

    def plan(self, request: Request) -> Planned:
        """Return a plan in which all customers are created, or unchanged if the current run has written the same."""
        self._digest = _digest(request.customers)
        pointer = self._pointer() or {}
        is_same = pointer.get("digest") == self._digest and pointer["folder"] in self._folder.names()
        self._is_same = is_same
        notes = []
        if pointer:
            what = "has the same customers: nothing is written" if is_same else "is kept beside that of this run"
            notes.append(f"{self._shown}: {pointer['folder']} {what}")
        return Planned(
            counts=dict.fromkeys(_FATES, 0) | {"unchanged" if is_same else "create": request.count},
            left_out=request.session.createDataFrame([], spark_schema(LEFT_OUT)),
            stale=request.session.createDataFrame([], spark_schema(STALE)),
            existing=int(pointer.get("customers", 0)),
            notes=tuple(notes),
        )

    def apply(self, request: Request, _planned: Planned, /) -> None:
        """Write the folder, then the pointer to it, and remove folders of attempts of this run that died."""
        if self._is_same:
            return
        earlier = [name for name in self._folder.names() if name.startswith(f"run={request.run_id}")]
        # A task of an attempt that died may still be writing to its folder.
        folder = f"run={request.run_id}" + (f"-{len(earlier) + 1}" if earlier else "")
        path = f"{self._address}/{folder}"
        request.customers.select(*COLUMNS).write.parquet(path)
        if not request.count:
            # An engine may leave no file of an empty table, and readers need one for the columns.
            self._folder.write(f"{folder}/{_EMPTY}", _empty_file())
        written = request.session.read.schema(request.customers.select(*COLUMNS).schema).parquet(path).count()
        if written != request.count:
            raise Malformed(
                f"{self._shown}/{folder}: the engine wrote {counted(written, 'customer')} of {request.count:,}. "
                "Readers still see the earlier run. Run the same command again."
            )
        pointer = {"run": request.run_id, "folder": folder, "customers": written, "digest": self._digest}
        versioned = {"schema_version": SCHEMA_VERSION, **pointer}
        self._folder.write(POINTER, json.dumps(versioned, indent=1).encode())
        for name in earlier:
            self._folder.remove(name)

    def applied(self, run_id: str) -> bool:
        """Return whether the pointer is that of this run."""
        return (self._pointer() or {}).get("run") == run_id

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def _pointer(self) -> dict[str, Any] | None:
        text = self._folder.read(POINTER)
        if text is None:
            return None
        try:
            pointer = json.loads(text)
        except ValueError:
            pointer = None
        if not isinstance(pointer, dict) or not isinstance(pointer.get("folder"), str):
            raise ConfigError(
                f"{self._shown}/{POINTER}: is damaged. Remove it: the next run writes all customers again."
            )
        return pointer


def _empty_file() -> bytes:
    """Return a Parquet file without customers."""
    file = io.BytesIO()
    pq.write_table(stage_rows.arrow_schema(COLUMNS).empty_table(), file)
    return file.getvalue()


def _digest(customers: DataFrame) -> dict[str, Any]:
    """Return what identifies these customers, whatever their order: sums of the halves of the digests of the rows."""
    digest = fn.md5(fn.to_json(fn.struct(*COLUMNS)))
    halves = [fn.conv(fn.substring(digest, at, 15), 16, 10).cast("decimal(38,0)") for at in (1, 17)]
    first, second = customers.select(*(fn.sum(half) for half in halves)).collect()[0]
    return {"rows": [str(first or 0), str(second or 0)]}
