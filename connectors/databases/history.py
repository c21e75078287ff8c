"""The history of a table of customers: `<table>_history`, beside it, with one row for each version of each customer.

A version has `customer_key`, the columns of the customer, and

- `valid_from`, `valid_to`: from when on and until when the customer was so; null: until now
- `deleted`: the customer was not there in this time; the columns are those it had before
- `recorded_at`, `_run_id`: when the version was recorded, and by which run.

A record is valid from its `updated_at` on, or from the start of the run if it has none. A record that the table takes
although the history has a later version is valid from the start of the run as well: the table is what the versions
without an end say. Equal neighbours are one version. All of it happens in the transaction of the run, which fails if the
versions of a customer have a gap, overlap, or differ from the table.

SQL in this module runs in DuckDB and in Postgres, except `touched` and `late`, which run in the DuckDB that compares.
In it `c` is a row of the table, `o` the version of a customer without an end, `t` a row of the table as it is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from tranship.connectors.contract import Plan, WriteRequest
from tranship.connectors.databases.changes import KEY_OF_DELETE, key_of_create, key_of_update
from tranship.connectors.databases.comparison import unique_column
from tranship.connectors.databases.diff import OLDER
from tranship.connectors.databases.history_table import (
    GONE,
    RECORDED_AT,
    VALID_FROM,
    VALID_TO,
)
from tranship.connectors.databases.quoting import literal, quoted
from tranship.connectors.databases.table_mapping import RUN, MappedField, TableMapping
from tranship.connectors.errors import Refused
from tranship.schemas.counted import counted
from tranship.schemas.customer import KEY

AT: Final = "_tranship_at"
"""The column of temporary tables with the time from which a record is valid."""
_SPLIT: Final = "_tranship_split"
"""The beginning of the version that a late record splits; null if it is earlier than all."""
_JOINS: Final = "_tranship_joins"
"""Whether a late record equals the version after it, which then begins earlier."""

FOUND, TOUCHED, STALE, TAKEN = "found", "touched", "stale", "taken"
"""Temporary tables: customers that others have changed; those that the run writes; late records that the table refuses
as older, and those that it takes."""
_NEW, _SPLICED = "new", "spliced"


class Store(Protocol):
    """A table and its history in a database."""

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

    def create(self) -> None:
        """Create the history, empty."""
        ...

    def add_columns(self) -> None:
        """Add to the history the columns that the table has in addition."""
        ...

    def differ(self, left: Sequence[str], right: Sequence[str]) -> str:
        """Return whether values differ in any way from values of the same types, as SQL."""
        ...


@dataclass(frozen=True)
class Tracked:
    """A table and its history, as the statements see them."""

    title: str
    """The table, for messages."""
    history: str
    """The history, quoted."""
    shown: str
    """Its name, for messages."""
    rows: str
    """The rows `t` of the table, as SQL."""
    key: str
    """The key of a row, as SQL."""
    deleted: str
    """Whether a row is marked as deleted, as SQL."""
    time: str
    """The time from which the row is valid, as SQL; null if it is unknown."""
    columns: tuple[str, ...]
    """The columns of customers, which the history has, too."""
    unseen: tuple[str, ...] = ()
    """The columns of customers that the history does not have yet."""

    @property
    def current(self) -> str:
        """The customers of the table: customer_key, their columns, deleted, and the time from which they are valid."""
        columns = "".join(f", t.{quoted(name)}" for name in (*self.columns, *self.unseen))
        return (
            f"SELECT {self.key} AS {KEY}{columns}, {self.deleted} AS {GONE}, {self.time} AS {AT} FROM {self.rows} t"
        )

    @property
    def open_versions(self) -> str:
        """The versions without an end."""
        return f"SELECT * FROM {self.history} WHERE {VALID_TO} IS NULL"


class HistoryWriter:
    """Keeps the history of a table in the transaction in which a plan is made and carried out."""

    def __init__(
        self,
        store: Store,
        tracked: Callable[[], Tracked],
        mapping: TableMapping,
        request: WriteRequest,
        given: Mapping[str, tuple[str, str]],
    ) -> None:
        """`tracked` describes table and history as they are at the time. `given` has the columns that the records
        bring: column → (its value as SQL of the comparison, the value `l` as it is loaded in the column's type)."""
        self._store, self._tracked, self._mapping, self._request = store, tracked, mapping, request
        self._given = given
        self._now = f"TIMESTAMP WITH TIME ZONE {literal(request.started_at)}"

    # Before the write ---------------------------------------------------------------------------------------------

    def foresee(self, plan: Plan, *, exists: bool) -> tuple[str, ...]:
        """Find out what the run adds to the history besides its changes; return notes about it. Nothing is written,
        except temporary tables.
        """
        tracked, store = self._tracked(), self._store
        self._check_keys(tracked)
        late = store.load(STALE, self._late(f"p.reason = {literal(OLDER)}")) if self._has_older(plan) else 0
        if not exists:
            notes = [_begins(tracked, plan.existing, self._count(f"({tracked.current}) c WHERE c.{AT} IS NULL"))]
            return (*notes, *([_late(tracked, late)] if late else []))
        notes = []
        self._keep(FOUND, self._differing(tracked))
        if found := self._count(store.temporary(FOUND)):
            notes.append(_found(tracked, found))
        if late:
            spliced = self._count(f"({self._spliced(tracked, STALE)}) v")
            notes += [_late(tracked, spliced)] if spliced else []
            unrecorded = self._count(self._unrecorded(tracked))
            notes += [_unrecorded(tracked, unrecorded)] if unrecorded else []
        return tuple(notes)

    def prepare(self, plan: Plan, *, exists: bool) -> None:
        """Bring the history up to the table as it is before the write, and put late records in their places."""
        store = self._store
        if not exists:
            store.create()
            self._begin()
        else:
            store.add_columns()
            if self._count(store.temporary(FOUND)):
                self._append(FOUND, f"c.{AT}")
        if self._has_older(plan):
            self._splice(STALE)
        if not _changes(plan):
            return
        store.load(TOUCHED, self._touched())
        tracked = self._tracked()
        late = (
            f"{store.temporary(TOUCHED)} k JOIN ({tracked.open_versions}) o ON o.{KEY} = k.{KEY} "
            f"WHERE k.{AT} < o.{VALID_FROM}"
        )
        if self._count(late):
            store.load(TAKEN, self._late("p.action IN ('create', 'update')"))
            self._splice(TAKEN)

    # After the write ----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Create the history of a table that this run has created and filled."""
        self._store.create()
        self._begin()

    def record(self, plan: Plan, *, existed: bool) -> None:
        """Record what the run has changed, and prove that the history is right."""
        if _changes(plan):
            self._append(TOUCHED, f"k.{AT}")
        names = [TOUCHED] * _changes(plan) + [FOUND] * existed + [STALE] * self._has_older(plan)
        if names:
            keys = " UNION ".join(f"SELECT {KEY} FROM {self._store.temporary(name)}" for name in names)
            self._prove(keys)

    # Statements ---------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        tracked = self._tracked()
        self._insert(tracked, f"SELECT c.*, coalesce(c.{AT}, {self._now}) AS {VALID_FROM} FROM ({tracked.current}) c")
        self._prove("")

    def _append(self, keys: str, at: str) -> None:
        """Add a version for each customer that differs from its version without an end, which ends then. `at` is the
        time from which it is valid, as SQL, of the key `k` or the row `c`."""
        tracked, store = self._tracked(), self._store
        values = "".join(
            f", CASE WHEN c.{KEY} IS NULL THEN o.{quoted(name)} ELSE c.{quoted(name)} END AS {quoted(name)}"
            for name in tracked.columns
        )
        # Where the table has become so without a later time, it has been so at the latest since this run.
        begins = (
            f"CASE WHEN o.{KEY} IS NULL THEN coalesce({at}, {self._now}) WHEN {at} > o.{VALID_FROM} THEN {at} "
            f"ELSE greatest({self._now}, o.{VALID_FROM} + INTERVAL '1 microsecond') END"
        )
        new = self._keep(
            _NEW,
            f"SELECT k.{KEY}{values}, coalesce(c.{GONE}, true) AS {GONE}, {begins} AS {VALID_FROM} "
            f"FROM {store.temporary(keys)} k LEFT JOIN ({tracked.current}) c ON c.{KEY} = k.{KEY} "
            f"LEFT JOIN ({tracked.open_versions}) o ON o.{KEY} = k.{KEY} WHERE {self._is_different(tracked)}",
        )
        store.execute(
            f"UPDATE {tracked.history} h SET {VALID_TO} = n.{VALID_FROM} FROM {new} n "
            f"WHERE h.{KEY} = n.{KEY} AND h.{VALID_TO} IS NULL"
        )
        self._insert(tracked, f"SELECT * FROM {new}")

    def _splice(self, late: str) -> None:
        """Put late records between the versions that they belong to."""
        tracked, store = self._tracked(), self._store
        spliced = self._keep(_SPLICED, self._spliced(tracked, late))
        store.execute(
            f"UPDATE {tracked.history} h SET {VALID_TO} = v.{VALID_FROM} FROM {spliced} v "
            f"WHERE h.{KEY} = v.{KEY} AND h.{VALID_FROM} = v.{_SPLIT}"
        )
        store.execute(
            f"UPDATE {tracked.history} h SET {VALID_FROM} = v.{VALID_FROM} FROM {spliced} v "
            f"WHERE v.{_JOINS} AND h.{KEY} = v.{KEY} AND h.{VALID_FROM} = v.{VALID_TO}"
        )
        self._insert(tracked, f"SELECT * FROM {spliced} WHERE NOT {_JOINS}", f"r.{VALID_TO}")

    def _insert(self, tracked: Tracked, rows: str, valid_to: str = "NULL") -> None:
        columns = ", ".join(map(quoted, (KEY, *tracked.columns, GONE, VALID_FROM)))
        values = ", ".join(f"r.{quoted(name)}" for name in (KEY, *tracked.columns, GONE, VALID_FROM))
        self._store.execute(
            f"INSERT INTO {tracked.history} ({columns}, {VALID_TO}, {RECORDED_AT}, {quoted(RUN)}) "
            f"SELECT {values}, {valid_to}, now(), {literal(self._request.run_id)} FROM ({rows}) r"
        )

    def _spliced(self, tracked: Tracked, late: str) -> str:
        """Return a query for the versions that late records become: those that lie before the version without an end,
        begin at no other version's time, and differ from the version that they split."""
        records, history, store = self._store.temporary(late), tracked.history, self._store
        names = [quoted(name) for name in tracked.columns]
        first = (
            f"SELECT {KEY}, min({VALID_FROM}) AS {VALID_FROM} FROM {history} "
            f"WHERE {KEY} IN (SELECT {KEY} FROM {records}) GROUP BY {KEY}"
        )
        version = (
            f"SELECT l.{KEY}{self._overlaid(tracked, 'b')}, false AS {GONE}, l.{AT} AS {VALID_FROM}, "
            f"coalesce(b.{VALID_TO}, f.{VALID_FROM}) AS {VALID_TO}, b.{VALID_FROM} AS {_SPLIT} FROM {records} l "
            f"LEFT JOIN {history} b ON b.{KEY} = l.{KEY} AND b.{VALID_FROM} < l.{AT} AND l.{AT} < b.{VALID_TO} "
            f"LEFT JOIN ({first}) f ON f.{KEY} = l.{KEY} WHERE b.{KEY} IS NOT NULL OR l.{AT} < f.{VALID_FROM}"
        )
        split, after, made = ([f"{alias}.{name}" for name in names] for alias in ("b", "a", "v"))
        return (
            f"SELECT v.*, coalesce(NOT a.{GONE} AND NOT ({store.differ(made, after)}), false) AS {_JOINS} "
            f"FROM ({version}) v LEFT JOIN {history} b ON b.{KEY} = v.{KEY} AND b.{VALID_FROM} = v.{_SPLIT} "
            f"LEFT JOIN {history} a ON a.{KEY} = v.{KEY} AND a.{VALID_FROM} = v.{VALID_TO} "
            f"WHERE b.{KEY} IS NULL OR b.{GONE} OR {store.differ(made, split)}"
        )

    def _unrecorded(self, tracked: Tracked) -> str:
        """Return a relation with the late records that have no place: another version begins at the same time, or they
        lie in the version without an end."""
        made, there = ([f"{alias}.{quoted(name)}" for name in tracked.columns] for alias in ("v", "x"))
        versions = (
            f"SELECT l.{KEY}, l.{AT}{self._overlaid(tracked, 'x')}, x.{VALID_FROM} FROM "
            f"{self._store.temporary(STALE)} l JOIN {tracked.history} x ON x.{KEY} = l.{KEY} AND x.{VALID_FROM} <= "
            f"l.{AT} AND (l.{AT} < x.{VALID_TO} OR x.{VALID_TO} IS NULL) "
            f"WHERE x.{VALID_FROM} = l.{AT} OR x.{VALID_TO} IS NULL"
        )
        return (
            f"({versions}) v JOIN {tracked.history} x ON x.{KEY} = v.{KEY} AND x.{VALID_FROM} = v.{VALID_FROM} "
            f"WHERE x.{GONE} OR {self._store.differ(made, there)}"
        )

    def _overlaid(self, tracked: Tracked, base: str) -> str:
        """Return the columns of a late record `l`, with what it does not have from a version."""
        erased = {mapped.column_name for mapped in self._mapping.fields if mapped.erasable(self._request)}
        found = ""
        for name in tracked.columns:
            held = f"{base}.{quoted(name)}"
            if name in self._given:
                _, value = self._given[name]
                held = value if name in erased else f"coalesce({value}, {held})"
            found += f", {held} AS {quoted(name)}"
        return found

    def _is_different(self, tracked: Tracked) -> str:
        """Return whether a customer of the table, `c`, is not as its version without an end, `o`, says, as SQL."""
        left, right = ([f"{alias}.{quoted(name)}" for name in tracked.columns] for alias in ("c", "o"))
        unseen = "".join(f" OR c.{quoted(name)} IS NOT NULL" for name in tracked.unseen)
        return (
            f"CASE WHEN c.{KEY} IS NULL THEN NOT o.{GONE} WHEN o.{KEY} IS NULL THEN true "
            f"ELSE c.{GONE} <> o.{GONE} OR {self._store.differ(left, right)}{unseen} END"
        )

    def _differing(self, tracked: Tracked, keys: str = "") -> str:
        """Return a query for the customers that are not as the history says; among all, or among these keys."""
        some = f" WHERE {KEY} IN ({keys})" if keys else ""
        customers = f"SELECT * FROM ({tracked.current}) c{some}" if keys else tracked.current
        versions = f"SELECT * FROM ({tracked.open_versions}) o{some}" if keys else tracked.open_versions
        return (
            f"SELECT coalesce(c.{KEY}, o.{KEY}) AS {KEY} FROM ({customers}) c FULL JOIN ({versions}) o "
            f"ON o.{KEY} = c.{KEY} WHERE {self._is_different(tracked)}"
        )

    # Checks -------------------------------------------------------------------------------------------------------

    def _check_keys(self, tracked: Tracked) -> None:
        """Raise Refused if customers of the table cannot be told apart."""
        without = self._count(f"({tracked.current}) c WHERE {KEY} IS NULL")
        if without:
            raise Refused(
                f"{tracked.title}: {counted(without, 'row')} without an external id or e-mail, which identify a "
                "customer in its history. Fill them in, or leave --history out."
            )
        twice = self._count(f"(SELECT {KEY} FROM ({tracked.current}) c GROUP BY {KEY} HAVING count(*) > 1) d")
        if twice:
            raise Refused(
                f"{tracked.title}: {counted(twice, 'customer')} with several rows, of which a history cannot tell one "
                "from the other. Remove the repeated rows, or leave --history out."
            )

    def _prove(self, keys: str) -> None:
        """Raise Refused unless the versions of these customers (of all, if empty) are right."""
        tracked = self._tracked()
        faulty = self._count(f"({broken(tracked.history, keys)}) b")
        other = 0 if faulty else self._count(f"({self._differing(tracked, keys)}) d")
        if faulty or other:
            what = "have a gap or overlap" if faulty else "differ from the table"
            raise Refused(
                f"{tracked.title}: the versions of {counted(faulty or other, 'customer')} in {tracked.shown} would "
                f"{what}. Nothing was written. If the history was edited, correct it, or rename it: a new one begins."
            )

    def state(self) -> dict[str, int]:
        """Return the number of versions, of customers whose versions have a gap or overlap, and of those that are not
        as the table says."""
        tracked = self._tracked()
        return {
            "versions": self._count(tracked.history),
            "broken": self._count(f"(SELECT DISTINCT {KEY} FROM ({broken(tracked.history)}) b) b"),
            "different": self._count(f"({self._differing(tracked)}) d"),
        }

    def _keep(self, name: str, rows: str) -> str:
        """Create a temporary table with the rows of a query; return its name as SQL."""
        table = self._store.temporary(name)
        self._store.execute(f"DROP TABLE IF EXISTS {table}")
        self._store.execute(f"CREATE TEMP TABLE {table} AS {rows}")
        return table

    def _count(self, relation: str) -> int:
        return self._store.value(f"SELECT count(*) FROM {relation}")

    # Rows of the comparison ---------------------------------------------------------------------------------------

    def _has_older(self, plan: Plan) -> bool:
        return bool(plan.counts.get("stale") or self._request.older == "refuse" and plan.counts["refused"])

    @property
    def _held_key(self) -> str:
        """The key that a row of `_table h` has."""
        key = self._mapping.key
        return f"h.{quoted(unique_column(key))}::VARCHAR" if key else KEY_OF_DELETE

    def _touched(self) -> str:
        """Return a query for the customers that the plan changes, under the keys before and after, with `updated_at` of
        the record."""
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
        values = "".join(f", {value} AS {quoted(name)}" for name, (value, _) in self._given.items())
        key = f"CASE WHEN h.target IS NULL THEN {key_of_create(self._mapping)} ELSE {self._held_key} END"
        return (
            f"SELECT {key} AS {KEY}, s.updated_at AS {AT}{values} FROM _plan p JOIN _survivors s ON s._row = p.row "
            f"LEFT JOIN _table h ON h.target = p.target WHERE {which} AND s.updated_at IS NOT NULL"
        )


def broken(history: str, keys: str = "") -> str:
    """Return a query for the versions that do not end where the next one of their customer begins, or that end before
    they begin: `customer_key`. The last one has no end; there is one, since every version has at most one successor.
    """
    some = f" WHERE {KEY} IN ({keys})" if keys else ""
    return (
        f"SELECT {KEY} FROM (SELECT {KEY}, {VALID_FROM}, {VALID_TO}, lead({VALID_FROM}) OVER (PARTITION BY {KEY} "
        f"ORDER BY {VALID_FROM}) AS following FROM {history}{some}) v "
        f"WHERE following IS DISTINCT FROM {VALID_TO} OR {VALID_FROM} >= {VALID_TO}"
    )


def given_columns(
    mapping: TableMapping, request: WriteRequest, value: Callable[[MappedField], tuple[str, str]]
) -> dict[str, tuple[str, str]]:
    """Return the columns that the records bring, with their values (`HistoryWriter`)."""
    return {
        mapped.column_name: value(mapped) for mapped in mapping.fields if mapped.field in request.survivors.columns
    }


def _changes(plan: Plan) -> bool:
    return any(plan.counts[action] for action in ("create", "update", "delete"))


def _begins(tracked: Tracked, rows: int, without: int) -> str:
    since = f", {without:,} of them from the time of this run, since they have no updated_at" if without else ""
    return f"{tracked.shown} begins with one version for each of {counted(rows, 'customer')}{since}"


def _found(tracked: Tracked, count: int) -> str:
    return (
        f"{counted(count, 'customer')} changed without --history since the last run with it: recorded in "
        f"{tracked.shown} from a newer updated_at, or from the time of this run"
    )


def _late(tracked: Tracked, count: int) -> str:
    return f"{counted(count, 'late record')} recorded in {tracked.shown} before versions that are newer"


def _unrecorded(tracked: Tracked, count: int) -> str:
    return (
        f"{counted(count, 'late record')} not recorded in {tracked.shown}, which has another version from the same "
        "updated_at on"
    )
