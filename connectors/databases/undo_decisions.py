"""What an undo decides on each column of a customer: the comparison of three values, as SQL of the comparison.

Of a row, `u` is the customer in `_undone`, `f` its row in `_found`, and `o`, `w` and `t` the values in `_old`,
`_written_values` and `_now`; `x` is a time in `_times`, and `c` the row in `_changed` (`undo_plan.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from tranship.connectors.databases.before_images import ImageFacts, image
from tranship.connectors.databases.quoting import literal, quoted
from tranship.connectors.databases.table_mapping import DELETED, RUN, MappedField, new_key, stored_as_column


class Decisions(Struct, frozen=True):
    """The decisions on the customers of one run."""

    facts: ImageFacts
    columns: Mapping[str, MappedField]
    """Columns of the table that can be written → as a field of its own name."""
    key: str | None
    """The column with the key."""
    defaults: Collection[str]
    """Columns that have a default."""
    of_undo: bool
    """The run was itself an undo."""
    has_times: bool
    """The run has changed times in `_tranship_written`."""

    @property
    def updated(self) -> list[str]:
        """The columns that the run has updated, without those that the table sets itself."""
        return [name for name in self.facts.updated if name in self.columns and name not in self.facts.own_times]

    @property
    def dropped(self) -> dict[str, str]:
        """Columns that the run has written and the table does not have any more → the name in the run's plan."""
        fields = {column: field for field, column in self.facts.stored.items()}
        wrote = {**dict.fromkeys(self.facts.types), **dict.fromkeys(self.facts.updated)}
        return {name: fields.get(name, name) for name in wrote if name not in self.columns and name != RUN}

    def sql(self) -> str:
        """Return the query for `_decided`: n, action (of the run), target, restored (the columns to restore) and since
        (those that are left alone).
        """
        return " UNION ALL ".join((self._updates(), self._marks(), self._creates(), self._deletes()))

    def written(self) -> dict[str, MappedField | str]:
        """Return column → what the run wrote into it."""
        if self.of_undo:
            return {name: f"s.{quoted(stored_as_column(name))}" for name in self.columns}
        stored = {
            column: replace(self.columns[column], field=field)
            for field, column in self.facts.stored.items()
            if column in self.columns
        }
        written: dict[str, MappedField | str] = {
            name: MappedField(mapped.field, mapped.column) for name, mapped in stored.items()
        }
        if self.key:
            written[self.key] = new_key("s")
        return written

    def _after(self, name: str) -> str:
        """Return the value that the run wrote into a column of an existing row, as SQL (`o`, `w`)."""
        if self.of_undo:
            return f"w.{image(name)}"
        if name == RUN:
            return literal(self.facts.run_id)
        if name == DELETED:
            return "NULL"
        return f"w.{image(name)}" if name in self.facts.erased else f"coalesce(w.{image(name)}, o.{image(name)})"

    def _updates(self) -> str:
        conditions = []
        for name in self.updated:
            old, new, now = f"o.{image(name)}", self._after(name), f"t.{image(name)}"
            changed = f"{old} IS DISTINCT FROM {new}"
            conditions.append(
                (
                    name,
                    f"{changed} AND {now} IS NOT DISTINCT FROM {new}",
                    f"{changed} AND {now} IS DISTINCT FROM {new} AND {now} IS DISTINCT FROM {old}",
                )
            )
        times = ""
        if self.has_times:
            # The table sets the column itself, which proves nothing: the time that was last written counts.
            times = "LEFT JOIN _times x ON x.n = u.n "
            conditions += [
                (name, "x.changed AND x.as_written", "x.changed AND NOT x.as_written AND NOT x.as_before")
                for name in self.facts.own_times
                if name in self.columns and name in self.facts.updated
            ]
        restored = [(name, restore) for name, restore, _ in conditions]
        since = [(name, left) for name, _, left in conditions if name != RUN]
        changed = ""
        if gone := {column: name for column, name in self.dropped.items() if column in self.facts.updated}:
            changed = "LEFT JOIN _changed c ON c.row = u.row "
            since += [
                (column, f"coalesce(list_contains(c.changed, {literal(name)}), false)") for column, name in gone.items()
            ]
        return (
            f"SELECT u.n, u.action, f.target, {_named(restored)} AS restored, {_named_if_any(since)} AS since "
            "FROM _undone u JOIN _old o ON o.n = u.n LEFT JOIN _written_values w ON w.row = u.row "
            f"LEFT JOIN _found f ON f.n = u.n LEFT JOIN _now t ON t.n = u.n {times}{changed}WHERE u.action = 'update'"
        )

    def _marks(self) -> str:
        """A row that is marked as deleted, at any time, is as the run left it unless another run has written it."""
        deleted, run = f"t.{image(DELETED)}", f"t.{image(RUN)}"
        if DELETED not in self.columns:
            return (
                f"SELECT u.n, u.action, f.target, []::VARCHAR[], [{literal(DELETED)}] FROM _undone u "
                "LEFT JOIN _found f ON f.n = u.n WHERE u.action = 'mark'"
            )
        ours = f"{run} IS NOT DISTINCT FROM {literal(self.facts.run_id)}"
        restored = [(DELETED, f"{deleted} IS NOT NULL AND {ours}"), (RUN, ours)]
        since = [(DELETED, f"{deleted} IS NOT NULL AND NOT {ours}")]
        return (
            f"SELECT u.n, u.action, f.target, {_named(restored)}, {_named_if_any(since)} FROM _undone u "
            "LEFT JOIN _found f ON f.n = u.n LEFT JOIN _now t ON t.n = u.n WHERE u.action = 'mark'"
        )

    def _creates(self) -> str:
        written, differs = self.written(), []
        for name in self.columns:
            new, now = f"w.{image(name)}", f"t.{image(name)}"
            if name in (self.facts.own_times if self.of_undo else (RUN, *self.facts.own_times)):
                continue
            if name not in written:
                # A default may be any value. What has none was null.
                if name not in self.defaults:
                    differs.append((name, f"{now} IS NOT NULL"))
            elif self.columns[name].column.null_becomes_default:
                differs.append((name, f"{new} IS NOT NULL AND {now} IS DISTINCT FROM {new}"))
            else:
                differs.append((name, f"{now} IS DISTINCT FROM {new}"))
        return (
            f"SELECT u.n, u.action, f.target, NULL, {_named_if_any(differs)} FROM _undone u "
            "JOIN _written_values w ON w.row = u.row "
            "LEFT JOIN _found f ON f.n = u.n LEFT JOIN _now t ON t.n = u.n WHERE u.action = 'create'"
        )

    def _deletes(self) -> str:
        """Customers that the run removed. Where one returns, its values whose columns are gone are listed."""
        differs = [
            (name, f"f.target IS NOT NULL AND t.{image(name)} IS DISTINCT FROM o.{image(name)}")
            for name in self.columns
            if name != RUN
        ]
        differs += [(name, f"f.target IS NULL AND o.{image(name)} IS NOT NULL") for name in self.dropped]
        return (
            f"SELECT u.n, u.action, f.target, NULL, {_named_if_any(differs)} FROM _undone u JOIN _old o ON o.n = u.n "
            "LEFT JOIN _found f ON f.n = u.n LEFT JOIN _now t ON t.n = u.n WHERE u.action = 'delete'"
        )


def _named(conditions: Sequence[tuple[str, str]]) -> str:
    """Return a list of the columns whose condition is true, as SQL."""
    cases = ", ".join(f"CASE WHEN {condition} THEN {literal(name)} END" for name, condition in conditions)
    return f"list_filter([{cases or 'NULL::VARCHAR'}]::VARCHAR[], lambda f: f IS NOT NULL)"


def _named_if_any(conditions: Sequence[tuple[str, str]]) -> str:
    """Return the same, faster where a condition is rarely true."""
    anything = " OR ".join(f"({condition})" for _, condition in conditions) or "false"
    return f"CASE WHEN {anything} THEN {_named(conditions)} ELSE []::VARCHAR[] END"
