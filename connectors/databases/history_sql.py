"""The statements on a table and its history (`connectors/databases/history.py`), in SQL of DuckDB and of Postgres.

In it `t` is a row of the table as it is stored, `c` the customer of a row, `o` the version of a customer without an
end, and `l` a late record.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from msgspec import Struct

from tranship.connectors.databases.history_table import GONE, RECORDED_AT, VALID_FROM, VALID_TO
from tranship.connectors.databases.quoting import literal, quoted
from tranship.connectors.databases.table_mapping import RUN
from tranship.schemas.customer import KEY

AT: Final = "_tranship_at"
"""The column of temporary tables with the time from which a record is valid."""
_SPLIT: Final = "_tranship_split"
"""The beginning of the version that a late record splits; null if it is earlier than all."""
_JOINS: Final = "_tranship_joins"
"""Whether a late record equals the version after it, which then begins earlier."""


class Tracked(Struct, frozen=True):
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
    unseen: tuple[str, ...]
    """The columns of customers that the history does not have yet."""
    given: Mapping[str, str]
    """Column that the records bring → the value of a late record, as SQL."""
    erased: Collection[str]
    """Those of them that a null erases."""
    differ: Callable[[Sequence[str], Sequence[str]], str]
    """Returns whether values differ in any way from values of the same types, as SQL."""

    @property
    def current(self) -> str:
        """A query for the customers: customer_key, their columns, deleted, and the time from which they are valid."""
        columns = "".join(f", t.{quoted(name)}" for name in (*self.columns, *self.unseen))
        return f"SELECT {self.key} AS {KEY}{columns}, {self.deleted} AS {GONE}, {self.time} AS {AT} FROM {self.rows} t"

    @property
    def open_versions(self) -> str:
        """A query for the versions without an end."""
        return f"SELECT * FROM {self.history} WHERE {VALID_TO} IS NULL"

    def differing(self) -> str:
        """Return a query for the customers that are not as the history says."""
        return (
            f"SELECT coalesce(c.{KEY}, o.{KEY}) AS {KEY} FROM ({self.current}) c FULL JOIN ({self.open_versions}) o "
            f"ON o.{KEY} = c.{KEY} WHERE {self._is_different}"
        )

    def among(self, keys: str) -> str:
        """Return a query for the customers of a table of keys, with the columns of `current`."""
        return f"SELECT * FROM ({self.current}) c{_in(f'SELECT {KEY} FROM {keys}')}"

    def appended(self, keys: str, customers: str, at: str, now: str) -> str:
        """Return a query for the next version of each customer that is not as the history says, among those of a table
        of keys `k`. `customers` are those, in a table; `at` is the time from which it is valid, as SQL of `k` and `c`,
        `now` that of the run.
        """
        versions = f"SELECT * FROM ({self.open_versions}) o{_in(f'SELECT {KEY} FROM {keys}')}"
        values = "".join(
            f", CASE WHEN c.{KEY} IS NULL THEN o.{quoted(name)} ELSE c.{quoted(name)} END AS {quoted(name)}"
            for name in self.columns
        )
        # Where the table has become so without a later time, it has been so at the latest since this run.
        begins = (
            f"CASE WHEN o.{KEY} IS NULL THEN coalesce({at}, {now}) WHEN {at} > o.{VALID_FROM} THEN {at} "
            f"ELSE greatest({now}, o.{VALID_FROM} + INTERVAL '1 microsecond') END"
        )
        return (
            f"SELECT k.{KEY}{values}, coalesce(c.{GONE}, true) AS {GONE}, {begins} AS {VALID_FROM} FROM {keys} k "
            f"LEFT JOIN {customers} c ON c.{KEY} = k.{KEY} LEFT JOIN ({versions}) o ON o.{KEY} = k.{KEY} "
            f"WHERE {self._is_different}"
        )

    def spliced(self, records: str) -> str:
        """Return a query for the versions that late records become: those that lie before the version without an end,
        begin at no other version's time, and differ from the version that they split.
        """
        names = [quoted(name) for name in self.columns]
        first = (
            f"SELECT {KEY}, min({VALID_FROM}) AS {VALID_FROM} FROM {self.history} "
            f"WHERE {KEY} IN (SELECT {KEY} FROM {records}) GROUP BY {KEY}"
        )
        version = (
            f"SELECT l.{KEY}{self._overlaid('b')}, false AS {GONE}, l.{AT} AS {VALID_FROM}, "
            f"coalesce(b.{VALID_TO}, f.{VALID_FROM}) AS {VALID_TO}, b.{VALID_FROM} AS {_SPLIT} FROM {records} l "
            f"LEFT JOIN {self.history} b ON b.{KEY} = l.{KEY} AND b.{VALID_FROM} < l.{AT} AND l.{AT} < b.{VALID_TO} "
            f"LEFT JOIN ({first}) f ON f.{KEY} = l.{KEY} WHERE b.{KEY} IS NOT NULL OR l.{AT} < f.{VALID_FROM}"
        )
        split, after, made = ([f"{alias}.{name}" for name in names] for alias in ("b", "a", "v"))
        return (
            f"SELECT v.*, coalesce(NOT a.{GONE} AND NOT ({self.differ(made, after)}), false) AS {_JOINS} "
            f"FROM ({version}) v LEFT JOIN {self.history} b ON b.{KEY} = v.{KEY} AND b.{VALID_FROM} = v.{_SPLIT} "
            f"LEFT JOIN {self.history} a ON a.{KEY} = v.{KEY} AND a.{VALID_FROM} = v.{VALID_TO} "
            f"WHERE b.{KEY} IS NULL OR b.{GONE} OR {self.differ(made, split)}"
        )

    def without_place(self, records: str) -> str:
        """Return a query for the late records that have no place: a version with other values begins at the same time,
        or they are within the version without an end.
        """
        made, there = ([f"{alias}.{quoted(name)}" for name in self.columns] for alias in ("v", "x"))
        version = (
            f"SELECT l.{KEY}{self._overlaid('x')}, x.{VALID_FROM} FROM {records} l "
            f"JOIN {self.history} x ON x.{KEY} = l.{KEY} AND x.{VALID_FROM} <= l.{AT} "
            f"AND (l.{AT} < x.{VALID_TO} OR x.{VALID_TO} IS NULL) "
            f"WHERE x.{VALID_FROM} = l.{AT} OR x.{VALID_TO} IS NULL"
        )
        return (
            f"SELECT v.{KEY} FROM ({version}) v JOIN {self.history} x ON x.{KEY} = v.{KEY} "
            f"AND x.{VALID_FROM} = v.{VALID_FROM} WHERE x.{GONE} OR {self.differ(made, there)}"
        )

    def splicing(self, spliced: str, run_id: str) -> tuple[str, ...]:
        """Return the statements that put versions (`spliced`), in a table, into the history."""
        split = f"{self._setting(VALID_TO, spliced)} AND h.{VALID_FROM} = n.{_SPLIT}"
        joined = f"{self._setting(VALID_FROM, spliced)} AND n.{_JOINS} AND h.{VALID_FROM} = n.{VALID_TO}"
        return split, joined, self._insert(f"SELECT * FROM {spliced} WHERE NOT {_JOINS}", run_id, f"r.{VALID_TO}")

    def appending(self, new: str, run_id: str) -> tuple[str, ...]:
        """Return the statements that end versions and add those after them (`appended`), in a table."""
        ended = f"{self._setting(VALID_TO, new)} AND h.{VALID_TO} IS NULL"
        return ended, self._insert(f"SELECT * FROM {new}", run_id)

    def beginning(self, now: str, run_id: str) -> str:
        """Return the statement that gives each customer of the table a version."""
        return self._insert(f"SELECT c.*, coalesce(c.{AT}, {now}) AS {VALID_FROM} FROM ({self.current}) c", run_id)

    def broken(self, keys: str = "") -> str:
        """Return a query for the versions, of all customers or of these keys, that do not end where the next one of
        their customer begins, or that end before they begin. Only the last one has no end, since none follows it.
        """
        return (
            f"SELECT {KEY} FROM (SELECT {KEY}, {VALID_FROM}, {VALID_TO}, lead({VALID_FROM}) OVER (PARTITION BY {KEY} "
            f"ORDER BY {VALID_FROM}) AS following FROM {self.history}{_in(keys)}) v "
            f"WHERE following IS DISTINCT FROM {VALID_TO} OR {VALID_FROM} >= {VALID_TO}"
        )

    @property
    def _is_different(self) -> str:
        left, right = ([f"{alias}.{quoted(name)}" for name in self.columns] for alias in ("c", "o"))
        unseen = "".join(f" OR c.{quoted(name)} IS NOT NULL" for name in self.unseen)
        return (
            f"CASE WHEN c.{KEY} IS NULL THEN NOT o.{GONE} WHEN o.{KEY} IS NULL THEN true "
            f"ELSE c.{GONE} <> o.{GONE} OR {self.differ(left, right)}{unseen} END"
        )

    def _overlaid(self, base: str) -> str:
        """Return the columns of a late record, with what it does not have from a version."""
        found = ""
        for name in self.columns:
            held = f"{base}.{quoted(name)}"
            if name in self.given:
                held = self.given[name] if name in self.erased else f"coalesce({self.given[name]}, {held})"
            found += f", {held} AS {quoted(name)}"
        return found

    def _setting(self, column: str, versions: str) -> str:
        """Return an UPDATE that sets a column to the beginning of new versions `n` of the same customers."""
        return f"UPDATE {self.history} h SET {column} = n.{VALID_FROM} FROM {versions} n WHERE h.{KEY} = n.{KEY}"

    def _insert(self, rows: str, run_id: str, valid_to: str = "NULL") -> str:
        columns = (KEY, *self.columns, GONE, VALID_FROM)
        return (
            f"INSERT INTO {self.history} ({', '.join(map(quoted, columns))}, {VALID_TO}, {RECORDED_AT}, {quoted(RUN)}) "
            f"SELECT {', '.join(f'r.{quoted(name)}' for name in columns)}, {valid_to}, now(), {literal(run_id)} "
            f"FROM ({rows}) r"
        )


def _in(keys: str) -> str:
    return f" WHERE {KEY} IN ({keys})" if keys else ""
