"""The decisions of `identify.decide` where there are more candidates than fit in memory at once.

The same function, `identify.group`, groups rows three times: those of each chunk, with and without an id apart; of
these the newest of each id, in hash partitions of ids; and of these the newest of each id with the records without an
id, in hash partitions of e-mails. Each time, rows that lose point at the row they lost to and are left behind, so that
a key that millions of records share is one row of each chunk. At the end the pointers lead to the survivors. A few
numbers of each candidate are in memory; the keys are on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
from msgspec import Struct

from tranship.pipelines import identify
from tranship.pipelines.identify import Identity, SurvivorRule
from tranship.pipelines.spill import Spill

AT_ONCE: Final = 1 << 18
"""Candidates that are decided on at once: `decide` takes some 400 bytes for each."""

_KEYS: Final = ("row", "external_id", "email", "updated_at")
_ENOUGH: Final = 2
_LEAST_TIME: Final = np.iinfo(np.int64).min
"""Less than every time, as a null is."""

Rows = npt.NDArray[np.uint32]
Marks = npt.NDArray[np.bool_]


class Candidates(Struct, frozen=True):
    """The rows that may belong together (`rows_to_look_at`, ascending), and how they are read (`Stage.candidates`)."""

    rows: pl.Series
    read: Callable[[pl.Series], pl.DataFrame]


def decisions(
    candidates: Candidates, survivor: SurvivorRule, workspace: Path, *, fill: bool, at_once: int
) -> Iterator[Identity]:
    """Yield the decisions in slices, in the order of reading: those about the rows of each slice, and the members of
    customers whose survivor is among them; without `fill`, only of survivors that take over an external id.

    `workspace` is a folder for temporary files, which does not exist yet.
    """
    if len(candidates.rows) <= at_once:
        if len(candidates.rows):
            yield identify.decide(candidates.read(candidates.rows), survivor)
        return
    partitioned = _Partitioned(candidates, survivor, workspace, at_once, fill=fill)
    partitioned.group_chunks()
    partitioned.group_ids()
    partitioned.group_emails()
    yield from partitioned.slices()


class _Partitioned:
    """The candidates by their numbers, 0, 1, … in the order of reading; in the frames of partitions these are `row`."""

    def __init__(
        self, candidates: Candidates, survivor: SurvivorRule, workspace: Path, at_once: int, *, fill: bool
    ) -> None:
        self._candidates, self._survivor, self._at_once, self._fill = candidates, survivor, at_once, fill
        self._rows = candidates.rows.to_numpy()
        count = len(self._rows)
        self._partitions = -(-count // at_once)
        self._ids, self._emails, self._contested, self._owners = (
            Spill(workspace / name) for name in ("ids", "emails", "contested", "owners")
        )
        self._target: Rows = np.arange(count, dtype=np.uint32)
        """The row that each lost to; a row that has not lost is its own target."""
        self._sources: dict[str, int] = {}
        self._source: Rows = np.zeros(count, np.uint32)
        self._line = np.zeros(count, np.uint64)
        self._time = np.zeros(count if fill else 0, np.int64)
        self._has_id, self._ambiguous, self._shared, self._alike, self._in_conflict = (
            np.zeros(count, bool) for _ in range(5)
        )

    def _read(self, numbers: Rows) -> pl.DataFrame:
        """Return the candidates of these numbers, ascending, with the number as `row`."""
        found = self._candidates.read(pl.Series(self._rows[numbers]))
        return found.sort("row").with_columns(row=pl.Series(numbers))

    def _chunks(self, numbers: Rows) -> Iterator[pl.DataFrame]:
        for start in range(0, len(numbers), self._at_once):
            yield self._read(numbers[start : start + self._at_once])

    def _group(self, keys: pl.DataFrame) -> identify.Groups:
        """Group rows, and let those that lose point at their survivor."""
        groups = identify.group(keys, self._survivor)
        self._target[groups.members["row"].to_numpy()] = groups.members["survivor"].to_numpy()
        return groups

    def _targets(self, frame: pl.DataFrame) -> pl.Series:
        return pl.Series("target", self._target[frame["row"].to_numpy()])

    def _partition(self, keys: pl.Series) -> pl.Series:
        return keys.hash(seed=0x1D) % self._partitions

    def group_chunks(self) -> None:
        """Find the newest row of each id, and of each e-mail without an id, within each chunk."""
        for chunk in self._chunks(self._target.copy()):
            self._keep(chunk)
            has_id = pl.col("external_id").is_not_null()
            identified, alone = (chunk.filter(which).select(_KEYS) for which in (has_id, ~has_id))
            self._group(identified)
            target = self._targets(identified)
            mails = (
                identified.with_columns(target, mail=pl.col("email").hash())
                .filter(pl.col("email").is_not_null())
                .group_by("target")
                .agg(
                    pl.col("mail").min().alias("least"),
                    pl.col("mail").max().alias("most"),
                    pl.col("updated_at").is_null().any().alias("timeless"),
                )
            )
            newest = identified.filter(identified["row"] == target)
            newest = newest.join(mails, left_on="row", right_on="target", how="left", maintain_order="left")
            # Ids that look alike are in one partition, and so are equal ones.
            self._ids.add(newest, self._partition(identify.look(newest["external_id"])))
            self._group(alone)
            newest = alone.filter(alone["row"] == self._targets(alone))
            self._emails.add(newest, self._partition(newest["email"]))

    def _keep(self, chunk: pl.DataFrame) -> None:
        """Keep the numbers that are needed of each candidate."""
        at = chunk["row"].to_numpy()
        self._has_id[at] = chunk["external_id"].is_not_null().to_numpy()
        self._line[at] = chunk["line"].to_numpy()
        names = chunk["source"].unique()
        numbers = [self._sources.setdefault(name, len(self._sources)) for name in names]
        self._source[at] = chunk["source"].replace_strict(names, numbers, return_dtype=pl.UInt32)
        if self._fill:
            self._time[at] = chunk["updated_at"].dt.timestamp("us").fill_null(_LEAST_TIME).to_numpy()

    def group_ids(self) -> None:
        """Find the newest row of each id."""
        contested, timeless = np.zeros(len(self._rows), bool), np.zeros(len(self._rows), bool)
        for number in range(self._partitions):
            keys = self._ids.take(number)
            if keys is None:
                continue
            known = self._group(keys).known
            alike = known.filter(identify.look(known["external_id"]).is_duplicated())
            self._alike[alike["row"].to_numpy()] = True
            target = self._targets(keys)
            several = (
                keys.group_by(target)
                .agg(pl.col("least").min(), pl.col("most").max(), pl.col("timeless").any())
                .filter(pl.col("least") != pl.col("most"))
            )
            contested[several["target"].to_numpy()] = True
            timeless[several.filter("timeless")["target"].to_numpy()] = True
            newest = keys.filter((keys["row"] == target) & keys["email"].is_not_null()).select(_KEYS)
            # Two customers with an e-mail are enough to see that it is shared.
            further = newest.select(pl.int_range(pl.len()).over("email") >= _ENOUGH).to_series()
            self._shared[newest.filter(further)["row"].to_numpy()] = True
            newest = newest.filter(~further)
            self._emails.add(newest, self._partition(newest["email"]))
        self._find_conflicts(contested, timeless)

    def _find_conflicts(self, contested: Marks, timeless: Marks) -> None:
        """Compare the records of ids with several e-mails; `timeless` are the ids of which a record has no time. The
        records of other ids are compared with those of the same time only.
        """
        newest = self._target[self._target]
        for chunk in self._chunks(np.flatnonzero(contested[newest] & self._has_id).astype(np.uint32)):
            ids = pl.Series("id", newest[chunk["row"].to_numpy()])
            found = identify.contested_of(chunk.with_columns(ids), pl.col("id"))
            together = pl.Series(timeless[found["id"].to_numpy()])
            time = pl.when(together).then(0).otherwise(pl.col("updated_at").hash(seed=0x1D))
            keys = found.select(pl.col("id").cast(pl.UInt64) ^ time).to_series()
            self._contested.add(found, self._partition(keys))
        for number in range(self._partitions):
            contested_part = self._contested.take(number)
            if contested_part is not None:
                self._in_conflict[identify.strangers(contested_part).to_numpy()] = True

    def group_emails(self) -> None:
        """Find the customers of records without an id, and follow all rows to their survivors."""
        for number in range(self._partitions):
            keys = self._emails.take(number)
            if keys is None:
                continue
            groups = self._group(keys)
            self._ambiguous[groups.ambiguous.to_numpy()] = True
            self._shared[groups.shared.to_numpy()] = True
            surviving = groups.members.filter(pl.col("row") == pl.col("survivor"))
            heirs = surviving.filter(
                ~pl.Series(self._has_id[surviving["row"].to_numpy()]) & surviving["owner"].is_not_null()
            )
            self._owners.add(heirs.select("row", "owner"), heirs["row"] // self._at_once)
        # From a row to the newest of its chunk, from there to the newest of its id, from there to that of its e-mail.
        for _ in range(2):
            self._target = self._target[self._target]
        self._ambiguous = self._ambiguous[self._target]
        alike = self._target[self._alike]
        self._alike = np.zeros(len(self._rows), bool)
        self._alike[alike] = True

    def slices(self) -> Iterator[Identity]:
        """Yield the decisions."""
        by_survivor = np.argsort(self._target, kind="stable") if self._fill else None
        for start in range(0, len(self._rows), self._at_once):
            numbers = np.arange(start, min(start + self._at_once, len(self._rows)), dtype=np.uint32)
            owners = self._owners.take(start // self._at_once)
            if owners is None:
                owners = pl.DataFrame(schema={"row": pl.UInt32, "owner": pl.String})
            named = self._ambiguous | self._shared | self._alike | self._in_conflict
            found = self._read(numbers[named[numbers]]).join(owners, on="row", how="left", maintain_order="left")
            losing = numbers[(self._target[numbers] != numbers) & ~self._ambiguous[numbers]]
            yield Identity(
                pl.Series(self._rows[losing]),
                self._as_read(_marked(found, self._ambiguous)).select(identify.AMBIGUOUS),
                self._heirs(owners) if by_survivor is None else self._members(numbers, owners, by_survivor),
                self._merges(losing),
                _warnings("email.shared", found, self._shared, pl.col("email")),
                _warnings("external_id.lookalike", found, self._alike, pl.coalesce("external_id", "owner")),
                _warnings("external_id.conflict", found, self._in_conflict, pl.col("external_id")),
            )

    def _as_read(self, frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
        """Return a frame with the rows of the stage in place of the numbers of candidates."""
        return frame.with_columns(
            pl.Series(column, self._rows[frame[column].to_numpy()]) for column in ("row", *columns)
        )

    def _merges(self, losing: Rows) -> pl.DataFrame:
        target = self._target[losing]
        sources = pl.Series([*self._sources], dtype=pl.String)
        by_id = pl.Series(self._has_id[losing] & self._has_id[target])
        return pl.DataFrame(
            {
                "loser_source": sources.gather(self._source[losing]),
                "loser_line": self._line[losing],
                "survivor_source": sources.gather(self._source[target]),
                "survivor_line": self._line[target],
            }
        ).with_columns(rule=identify.merge_rule(pl.lit(by_id)))

    def _heirs(self, owners: pl.DataFrame) -> pl.DataFrame:
        """Return the survivors that take over an external id, as members."""
        heirs = owners.sort("row").select("row", "owner", survivor="row", rank=pl.lit(0), has_id=pl.lit(value=False))
        return self._as_read(heirs, "survivor")

    def _members(self, numbers: Rows, owners: pl.DataFrame, by_survivor: npt.NDArray[np.int64]) -> pl.DataFrame:
        """Return the members of the customers that survive in these rows."""
        first, end = np.searchsorted(self._target, [numbers[0], numbers[-1] + 1], sorter=by_survivor)
        at = by_survivor[first:end]
        at = at[~self._ambiguous[at]]
        members = pl.DataFrame(
            {
                "row": at.astype(np.uint32),
                "survivor": self._target[at],
                "updated_at": self._time[at],
                "has_id": self._has_id[at],
            }
        )
        members = members.sort(*identify.order(self._survivor)).with_row_index("rank").drop("updated_at")
        members = members.join(owners, left_on="survivor", right_on="row", how="left", maintain_order="left")
        return self._as_read(members, "survivor")


def _marked(found: pl.DataFrame, marks: Marks) -> pl.DataFrame:
    return found.filter(pl.Series(marks[found["row"].to_numpy()], dtype=pl.Boolean))


def _warnings(code: str, found: pl.DataFrame, marks: Marks, value: pl.Expr) -> pl.DataFrame:
    return identify.warnings(code, _marked(found, marks).with_columns(value=value))
