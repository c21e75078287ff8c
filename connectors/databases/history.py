"""The history of a table of customers: `<table>_history`, beside it, with one row for each version of each customer.

A version has `customer_key`, the columns of the customer, and

- `valid_from`, `valid_to`: from when on and until when the customer was so; null: until now
- `deleted`: the customer was not there in this time; the columns are those it had when this was recorded
- `recorded_at`, `_run_id`: when the version was recorded, and by which run.

A record is valid from its `updated_at` on, or from the start of the run if it has none. A record that the table takes
although the history has a later version is valid from the start of the run as well: the table is what the versions
without an end say. Equal neighbours are one version. All of it happens in the transaction of the run, which fails if
the versions of a customer have a gap or overlap.

Any plan is recorded so, also one that takes back a run: its write is followed by `HistoryWriter.record`, which finds
what has become of the customers that the plan names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from tranship.connectors.contract import Plan, WriteRequest
from tranship.connectors.databases.changes import KEY_OF_DELETE, key_of_create, key_of_update
from tranship.connectors.databases.comparison import unique_column
from tranship.connectors.databases.diff import OLDER
from tranship.connectors.databases.history_sql import AT, Tracked
from tranship.connectors.databases.history_table import VALID_FROM
from tranship.connectors.databases.quoting import literal, quoted
from tranship.connectors.databases.table_mapping import TableMapping
from tranship.connectors.errors import Refused
from tranship.schemas.counted import counted
from tranship.schemas.customer import KEY

_FOUND, _TOUCHED, _STALE, _TAKEN = "found", "touched", "stale", "taken"
"""Temporary tables: customers that others have changed; those that the run writes; late records that the table refuses
as older, and those that it takes."""
_CUSTOMERS, _NEW, _SPLICED = "customers", "new", "spliced"


class Store(Protocol):
    """A table and its history in a database."""

    @property
    def exists(self) -> bool:
        """Whether there is a history."""
        ...

    def tracked(self) -> Tracked:
        """Return the table and its history as they are now. Raises ConfigError if they do not fit together."""
        ...

    def values(self) -> Mapping[str, str]:
        """Return column that the records bring → its value as SQL of the comparison."""
        ...

    def execute(self, sql: str) -> int:
        """Run a statement; return the number of rows written."""
        ...

    def value(self, sql: str) -> int:
        """Return the one number that a query selects."""
        ...

    def temporary(self, name: str) -> str:
        """Return the name of a temporary table, as SQL."""
        ...

    def load(self, name: str, rows: str) -> int:
        """Create a temporary table with the rows of a query of the comparison; return their number."""
        ...

    def extend(self) -> None:
        """Create the history, empty, or add the columns that the table has in addition."""
        ...

    def is_as_left(self) -> bool:
        """Return whether certainly no row of the table has changed since `leave`."""
        ...

    def leave(self) -> None:
        """Record the state of the table, by which later runs recognise that it is unchanged."""
        ...


class HistoryWriter:
    """Keeps the history of a table in the transaction in which a plan is made and carried out."""

    def __init__(self, store: Store, mapping: TableMapping, request: WriteRequest) -> None:
        self._store, self._mapping, self._request = store, mapping, request
        self._now = f"TIMESTAMP WITH TIME ZONE {literal(request.started_at)}"
        self._keys: list[str] = []
        """The temporary tables with customers whose versions change."""
        self._temporary: set[str] = set()
        """All temporary tables that there are."""
        self._known = False
        """The table was certainly as the history says before the write."""

    def foresee(self, plan: Plan) -> tuple[str, ...]:
        """Find out what the run adds to the history besides its changes; return notes about it. Nothing is written
        except temporary tables. Raises Refused if customers cannot be distinguished.
        """
        tracked, store, notes = self._store.tracked(), self._store, []
        self._keys = []
        self._temporary.clear()
        late = 0
        if plan.counts.get("stale") or (self._request.older == "refuse" and plan.counts["refused"]):
            late = self._load(_STALE, self._late(f"p.reason = {literal(OLDER)}"))
        self._known = store.exists and store.is_as_left()
        if not self._known:
            self._check_keys(tracked)
        if not store.exists:
            without = self._count(f"SELECT 1 FROM ({tracked.current}) c WHERE c.{AT} IS NULL")
            return (_begins(tracked, plan.existing, without), *([_late(tracked, late)] if late else []))
        if not self._known and (found := self._kept(_FOUND, tracked.differing())):
            self._keys.append(_FOUND)
            notes.append(_found(tracked, found))
        if late:
            spliced = self._count(tracked.spliced(store.temporary(_STALE)))
            unplaced = self._count(tracked.without_place(store.temporary(_STALE)))
            notes += [_late(tracked, spliced)] * bool(spliced) + [_unplaced(tracked, unplaced)] * bool(unplaced)
        return tuple(notes)

    def prepare(self, plan: Plan) -> None:
        """Bring the history up to the table as it is before the write, and put late records in their places."""
        store, began = self._store, not self._store.exists
        store.extend()
        if began:
            self._begin()
        tracked = store.tracked()
        if _FOUND in self._keys:
            self._kept(_CUSTOMERS, tracked.among(store.temporary(_FOUND)))
            self._append(tracked, _FOUND, f"c.{AT}")
        if _STALE in self._keys:
            self._splice(tracked, _STALE)
        if not any(plan.counts[action] for action in ("create", "update", "delete")):
            return
        self._load(_TOUCHED, self._touched())
        touched = store.temporary(_TOUCHED)
        versions = f"JOIN ({tracked.open_versions}) o ON o.{KEY} = k.{KEY}"
        if self._count(f"SELECT 1 FROM {touched} k {versions} WHERE k.{AT} < o.{VALID_FROM}"):
            self._load(_TAKEN, self._late("p.action IN ('create', 'update')"))
            self._splice(tracked, _TAKEN)

    def record(self, plan: Plan) -> None:
        """Record what the run has changed, and prove that the history is right. Raises Refused if it is not."""
        tracked = self._store.tracked()
        if _TOUCHED in self._keys:
            touched = self._store.temporary(_TOUCHED)
            self._check_written(tracked, plan, self._kept(_CUSTOMERS, tracked.among(touched)))
            self._append(tracked, _TOUCHED, f"k.{AT}")
        if self._keys:
            self._prove(tracked, " UNION ".join(f"SELECT {KEY} FROM {self._store.temporary(k)}" for k in self._keys))
        if self._keys or not self._known:
            self._store.leave()
        for name in sorted(self._temporary):
            # A server that dies between the commit and the end of the session would keep them.
            self._store.execute(f"DROP TABLE {self._store.temporary(name)}")
        self._temporary.clear()

    def begin(self) -> None:
        """Create the history of a table that this run has created and filled."""
        self._store.extend()
        self._begin()
        self._store.leave()

    def state(self) -> dict[str, int]:
        """Return the number of versions, of customers whose versions have a gap or overlap, and of those that differ
        from the table. Empty without a history.
        """
        if not self._store.exists:
            return {}
        tracked = self._store.tracked()
        return {
            "versions": self._count(f"SELECT 1 FROM {tracked.history}"),
            "broken": self._count(f"SELECT DISTINCT {KEY} FROM ({tracked.broken()}) b"),
            "different": self._count(tracked.differing()),
        }

    # Statements ---------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        tracked = self._store.tracked()
        began = self._store.execute(tracked.beginning(self._now, self._request.run_id))
        rows = self._count(f"SELECT 1 FROM {tracked.rows} t")
        if began != rows:
            raise RuntimeError(f"{counted(began, 'version')} of {counted(rows, 'row')}")
        self._prove(tracked, "")

    def _append(self, tracked: Tracked, keys: str, at: str) -> None:
        """Add versions of the customers in two tables: their keys, and what is known of them now."""
        temporary = self._store.temporary
        self._kept(_NEW, tracked.appended(temporary(keys), temporary(_CUSTOMERS), at, self._now))
        for statement in tracked.appending(self._store.temporary(_NEW), self._request.run_id):
            self._store.execute(statement)

    def _splice(self, tracked: Tracked, late: str) -> None:
        if self._kept(_SPLICED, tracked.spliced(self._store.temporary(late))):
            for statement in tracked.splicing(self._store.temporary(_SPLICED), self._request.run_id):
                self._store.execute(statement)

    def _check_keys(self, tracked: Tracked) -> None:
        without = self._count(f"SELECT 1 FROM ({tracked.current}) c WHERE {KEY} IS NULL")
        if without:
            raise Refused(
                f"{tracked.title}: {counted(without, 'row')} without an external id or e-mail, which identify a "
                "customer in its history. Fill them in, or leave --history out."
            )
        twice = self._count(f"SELECT {KEY} FROM ({tracked.current}) c GROUP BY {KEY} HAVING count(*) > 1")
        if twice:
            raise Refused(
                f"{tracked.title}: {counted(twice, 'customer')} with several rows, of which a history cannot tell one "
                "from the other. Remove the repeated rows, or leave --history out."
            )

    def _prove(self, tracked: Tracked, keys: str) -> None:
        if broken := self._count(tracked.broken(keys)):
            raise Refused(
                f"{tracked.title}: {counted(broken, 'version')} in {tracked.shown} would have a gap or overlap. "
                "Nothing was written. If the history was edited, correct it, or rename it: a new one begins."
            )

    def _check_written(self, tracked: Tracked, plan: Plan, found: int) -> None:
        """Raise Refused unless the rows that were written are found by the keys of their customers."""
        fates = ("create", "update") if self._request.hard_delete else ("create", "update", "delete")
        written = sum(plan.counts[fate] for fate in fates)
        if found != written:
            raise Refused(
                f"{tracked.title}: of {counted(written, 'row')} to be written, {found:,} would have the id or e-mail "
                "of their customer, which a history needs; a trigger or a collation of the table changes the others. "
                "Nothing was written. Leave --history out."
            )

    def _load(self, name: str, rows: str) -> int:
        self._keys.append(name)
        self._temporary.add(name)
        return self._store.load(name, rows)

    def _kept(self, name: str, rows: str) -> int:
        """Create a temporary table with the rows of a query; return their number."""
        table = self._store.temporary(name)
        self._store.execute(f"DROP TABLE IF EXISTS {table}")
        self._store.execute(f"CREATE TEMP TABLE {table} AS {rows}")
        self._temporary.add(name)
        return self._count(f"SELECT 1 FROM {table}")

    def _count(self, query: str) -> int:
        return self._store.value(f"SELECT count(*) FROM ({query}) counted")

    # Rows of the comparison ---------------------------------------------------------------------------------------

    @property
    def _held_key(self) -> str:
        """The key that a row of `_table h` has."""
        key = self._mapping.key
        return f"h.{quoted(unique_column(key))}::VARCHAR" if key else KEY_OF_DELETE

    def _touched(self) -> str:
        """Return a query for the customers that the plan changes, under the keys before and after, with `updated_at` of
        the record.
        """
        after = self._held_key if self._mapping.key else key_of_update(self._mapping)
        record = "_plan p JOIN _survivors s ON s._row = p.row"
        return (
            f"SELECT {KEY}, max({AT}) AS {AT} FROM ("
            f"SELECT {key_of_create(self._mapping)} AS {KEY}, s.updated_at AS {AT} FROM {record} "
            "WHERE p.action = 'create' UNION ALL "
            f"SELECT {after}, s.updated_at FROM {record} JOIN _table h ON h.target = p.target "
            "WHERE p.action = 'update' UNION ALL "
            f"SELECT {self._held_key}, NULL FROM _plan p JOIN _table h ON h.target = p.target "
            "WHERE p.action = 'update' UNION ALL "
            f"SELECT {self._held_key}, NULL FROM _gone g JOIN _table h ON h.target = g.target) GROUP BY {KEY}"
        )

    def _late(self, which: str) -> str:
        """Return a query for records of the plan with an `updated_at`, with the values that they bring."""
        values = "".join(f", {value} AS {quoted(name)}" for name, value in self._store.values().items())
        key = f"CASE WHEN h.target IS NULL THEN {key_of_create(self._mapping)} ELSE {self._held_key} END"
        return (
            f"SELECT {key} AS {KEY}, s.updated_at AS {AT}{values} FROM _plan p JOIN _survivors s ON s._row = p.row "
            f"LEFT JOIN _table h ON h.target = p.target WHERE {which} AND s.updated_at IS NOT NULL"
        )


def _begins(tracked: Tracked, rows: int, without: int) -> str:
    if not rows:
        return f"{tracked.shown} begins with this run"
    begins = f"{tracked.shown} begins with one version for each of {counted(rows, 'customer')}"
    if not without:
        return begins
    theirs = "has no updated_at: its version begins" if without == 1 else "have no updated_at: their versions begin"
    return f"{begins}; {without:,} {theirs} at the time of this run"


def _found(tracked: Tracked, count: int) -> str:
    return (
        f"{counted(count, 'customer')} changed without --history since the last run with it: recorded in "
        f"{tracked.shown} from a newer updated_at, or from the time of this run"
    )


def _late(tracked: Tracked, count: int) -> str:
    return f"{counted(count, 'late record')} recorded in {tracked.shown} before versions that are newer"


def _unplaced(tracked: Tracked, count: int) -> str:
    return (
        f"{counted(count, 'late record')} not recorded in {tracked.shown}, which has another version from the same "
        "updated_at on"
    )
