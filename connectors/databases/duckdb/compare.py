"""The table where it lies, as `connectors/databases/diff.py` compares it with the survivors."""

from __future__ import annotations

import duckdb

from tranship.connectors.contract import WriteRequest
from tranship.connectors.databases.diff import see_survivors
from tranship.connectors.databases.duckdb.address import Address
from tranship.connectors.databases.duckdb.catalog import column_collations, references_to
from tranship.connectors.databases.duckdb.constraints import Objections
from tranship.connectors.databases.table_mapping import (
    Target,
    quoted,
)


class Held:
    """The table where it lies, its texts compared byte by byte whatever collation they have."""

    place = "t.rowid"

    def __init__(self, run: duckdb.DuckDBPyConnection, address: Address, load: WriteRequest, target: Target) -> None:
        self._run, self._address, self._load, self._target = run, address, load, target
        self._collations = column_collations(run, address)
        exact = ", ".join(f"{quoted(name)} COLLATE c AS {quoted(name)}" for name in self._collations)
        self._exact = f"(SELECT * REPLACE ({exact}), rowid FROM {address.name})" if exact else address.name
        self._objections: Objections | None = None

    def see_survivors(self) -> None:
        """Make `_survivors`."""
        see_survivors(self._run, self._load)

    def see_table(self, select: str, joined: str) -> None:
        """Make `_table`."""
        self._run.execute(
            f"CREATE OR REPLACE TEMP VIEW _table AS SELECT {select} FROM {self._exact} t {joined}"
        ).fetchall()

    def undecided(self) -> str:
        """Return the relation with the rows that `_plan` has not decided on."""
        return self._exact

    def object(self, *, alone: bool) -> int:
        """Refuse in `_plan` what would break a constraint."""
        if self._objections is None:
            self._objections = Objections(self._run, self._address, self._load, self._target, self._collations)
        return self._objections.refuse(alone=alone)

    def keep(self) -> list[tuple[str, int]]:
        """Take from `_gone` the rows that others refer to."""
        kept = []
        for table, their, own in references_to(self._run, self._address):
            pairs = zip(own, their, strict=True)
            there = " AND ".join(f"t.{quoted(mine)} = r.{quoted(theirs)}" for mine, theirs in pairs)
            done = self._run.execute(
                f"DELETE FROM _gone WHERE target IN (SELECT t.rowid FROM {self._address.name} t WHERE EXISTS "
                f"(SELECT 1 FROM {self._address.place}.{quoted(table)} r WHERE {there}))"
            ).fetchall()
            kept += [(table, int(done[0][0]))] if done[0][0] else []
        return kept
