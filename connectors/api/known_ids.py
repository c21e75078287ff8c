"""The provider's ids of customers that exist: a create that is answered with one of them has created no customer."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from tranship.connectors.databases.quoting import literal

FILE: Final = "account_ids.parquet"
"""The ids of the account when the plan was made, each as a part of its MD5: 8 bytes per customer."""


def write_known_ids(run: duckdb.DuckDBPyConnection, workspace: Path) -> None:
    """Write the ids of the table `there`."""
    run.execute(
        f"COPY (SELECT md5_number_upper(own_id) AS id FROM there WHERE own_id IS NOT NULL ORDER BY 1) "
        f"TO {literal(workspace / FILE)} (FORMAT parquet)"
    ).fetchall()


class KnownIds:
    """Ids that belong to a customer: those of the account, and those that rows of the plan have been given."""

    def __init__(self, account: npt.NDArray[np.uint64] | None = None) -> None:
        self._account = np.empty(0, np.uint64) if account is None else account
        self._owners: dict[int, int] = {}

    @classmethod
    def read(cls, workspace: Path) -> KnownIds:
        """Read the ids of an account; none where an earlier version made the plan."""
        file = workspace / FILE
        return cls(pq.read_table(file)["id"].to_numpy()) if file.exists() else cls()

    def claim(self, id: str, row: int) -> bool:
        """Return whether a row may have this id: it is neither one of the account nor that of another row."""
        number = _number(id)
        place = int(np.searchsorted(self._account, np.uint64(number)))
        if place < len(self._account) and self._account[place] == number:
            return False
        return self._owners.setdefault(number, row) == row


def _number(id: str) -> int:
    """Return the same number as DuckDB's `md5_number_upper`."""
    return int.from_bytes(hashlib.md5(id.encode(), usedforsecurity=False).digest()[:8], "little")
