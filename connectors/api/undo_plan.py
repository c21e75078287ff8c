"""The plan that takes back what a run did at a provider: requests like those of any plan, from its own requests.

Each request of the run has the customer as it was read before and as it was wanted; the account, read again, has it as
it is now. The three are compared field by field, in the provider's own fields and as the provider compares them; an
entry of the overflow is a field of its own. Times set by the provider are not compared: they prove nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import count as counter
from pathlib import Path
from typing import Any, Final

import duckdb
import msgspec
import polars as pl

from tranship.connectors import durable
from tranship.connectors.api.changes import differences
from tranship.connectors.api.known_ids import write_known_ids
from tranship.connectors.api.operations import Operations, Record
from tranship.connectors.api.reconcile import same
from tranship.connectors.api.request_files import REQUESTS, read_batches, write_requests
from tranship.connectors.api.saved_plan import SavedPlan
from tranship.connectors.api.spec import ProviderAddress, ProviderSpec
from tranship.connectors.contract import LEFT_ALONE, REVIEW, Plan, Undone, WriteRequest, key_spellings
from tranship.schemas import cells
from tranship.schemas.counted import counted

NAMES: Final = "undone.parquet"
"""The customers of the undone run: row (of the undo), customer (its key), action (of the run), external_id, email and
own_id (the provider's id then).
"""
_NAMES: Final = {
    "row": pl.UInt64,
    "customer": pl.String,
    "action": pl.String,
    "external_id": pl.String,
    "email": pl.String,
    "own_id": pl.String,
}
_LEFT: Final = {"customer": pl.String, "action": pl.String, "reason": pl.String}
_REVIEW: Final = dict.fromkeys(("what", "customer", "field", "now", "back"), pl.String)
_PLAN: Final = pl.Schema(
    {"row": pl.UInt64(), "action": pl.String(), "reason": pl.String(), "changed": pl.List(pl.String())}
)
_REQUESTS: Final = pl.Schema({name: pl.UInt64() if name == "row" else pl.String() for name in REQUESTS.names})
_BATCH_ROWS: Final = 8_192
_ACTIONS: Final = ("create", "update", "unchanged", "stale", "refused", "ambiguous", "delete")


class UndoRequests:
    """Decides on each customer that the run has changed, and writes the requests."""

    def __init__(
        self, spec: ProviderSpec, address: ProviderAddress, operations: Operations, run: duckdb.DuckDBPyConnection
    ) -> None:
        self._spec, self._operations, self._run, self._schema = spec, operations, run, spec.schema
        self._settable = [field for field in self._schema.fields if field.settable and not field.from_address]
        self._from_address = {
            field.name: address.options.get("source", "") for field in self._schema.fields if field.from_address
        }
        self._overflow = self._schema.overflow.name
        self._names: list[dict[str, Any]] = []
        self._rows: list[dict[str, Any]] = []
        self._left: list[dict[str, Any]] = []
        self._review: list[dict[str, Any]] = []
        self._targets: list[dict[str, Any]] = []
        self._fields: Counter[str] = Counter()

    def plan(self, write: WriteRequest, undone: Undone, notes: tuple[str, ...]) -> Plan:
        """Write the plan of an undo. The account is in the table `there`. Raises Damaged."""
        folder, numbers, files = write.workspace, counter(), counter()
        (folder / "requests").mkdir(mode=0o700, exist_ok=True)
        counts: Counter[str] = Counter()
        partly = 0
        found: set[str] = set()
        chosen = None if undone.keys is None else {name for key in undone.keys for name in key_spellings(key)}
        for batch in self._changed(undone):
            requests = []
            for request in batch:
                if not _is_chosen(request, undone, chosen, found):
                    continue
                row = next(numbers)
                decided = self._decide(request)
                name = {"customer": _key(request), "action": request["action"]}
                known = {field: request[field] for field in ("external_id", "email", "own_id")}
                self._names.append({"row": row, **name, **known})
                counts[decided.action] += 1
                self._fields.update(decided.changed)
                if decided.action != "delete":
                    changed = list(decided.changed) or None
                    reason = decided.reason if decided.action == "refused" else None
                    self._rows.append({"row": row, "action": decided.action, "reason": reason, "changed": changed})
                if decided.reason:
                    self._left.append({**name, "reason": decided.reason})
                    partly += decided.action == "update"
                if decided.action in ("create", "update", "delete"):
                    requests.append({"row": row, **decided.request(request)})
                else:
                    self._targets.append({"row": row, "own_id": request["provider_id"] or request["target"]})
                if write.compare:
                    self._review += [{**dict.fromkeys(_REVIEW), "customer": name["customer"], **line}
                                     for line in decided.review()]  # fmt: skip
            frame = pl.DataFrame(requests, schema=_REQUESTS)
            write_requests(frame, folder, next(files))
        self._save(folder, compare=write.compare)
        write_known_ids(self._run, folder)
        all_counts = {**dict.fromkeys(_ACTIONS, 0), **counts}
        existing = self._run.execute("SELECT count(*) FROM held").fetchall()[0][0]
        more = self._notes(undone, found, all_counts["delete"])
        return Plan(folder / "plan.parquet", all_counts, dict(self._fields), existing, (*notes, *more), partly=partly)

    def _notes(self, undone: Undone, found: set[str], deletes: int) -> Iterator[str]:
        if deletes and self._spec.removal_note:
            yield self._spec.removal_note
        missing = sum(not found.intersection(key_spellings(key)) for key in undone.keys or ())
        if missing:
            yield f"{counted(missing, 'key')} of no customer that the run has changed"

    def _save(self, folder: Path, *, compare: bool) -> None:
        pl.DataFrame(self._rows, schema=_PLAN).write_parquet(folder / "plan.parquet")
        pl.DataFrame(self._names, schema=_NAMES).write_parquet(folder / NAMES)
        pl.DataFrame(self._targets, schema={"row": pl.UInt64, "own_id": pl.String}).write_parquet(
            folder / "targets.parquet"
        )
        for name in (LEFT_ALONE, REVIEW):
            (folder / name).unlink(missing_ok=True)
        if self._left:
            pl.DataFrame(self._left, schema=_LEFT).sort("customer").write_parquet(folder / LEFT_ALONE)
        if compare:
            pl.DataFrame(self._review, schema=_REVIEW).sort("what", "customer").write_parquet(folder / REVIEW)

    def _changed(self, undone: Undone) -> Iterator[list[dict[str, Any]]]:
        """Yield the requests of the run that were carried out, or may have been, each with its `outcome`, the
        `provider_id`, and the customer as it is `now` (null: it is gone) and whether it is `archived`.
        """
        try:
            saved = SavedPlan.read(undone.folder)
        except FileNotFoundError:
            raise durable.damaged(undone.folder / "plan.json") from None
        durable.check(undone.folder, saved.files)
        outcomes = pl.scan_parquet(undone.folder / "outcomes.parquet", glob=False)
        sent = outcomes.filter(pl.col("outcome").is_in(["done", "unknown"])).select("row", "outcome", "provider_id")
        for batch in read_batches(saved.requests(undone.folder), _BATCH_ROWS, REQUESTS.names):
            rows = pl.DataFrame(batch).lazy().join(sent, on="row", maintain_order="left").collect()
            rows = rows.with_columns(own_id=pl.coalesce("provider_id", "target"))
            self._run.register("undone", rows.select("own_id").unique().to_arrow())
            there = self._run.sql(
                "SELECT own_id, raw AS now, archived FROM there WHERE own_id IN (SELECT own_id FROM undone)"
            ).pl()
            self._run.unregister("undone")
            yield rows.join(there, on="own_id", how="left", maintain_order="left").to_dicts()

    def _decide(self, request: Mapping[str, Any]) -> _Decision:
        before, after, now = (_decoded(request[name]) for name in ("found", "wanted", "now"))
        gone = request["now"] is None or bool(request["archived"])
        if request["outcome"] == "unknown":
            return _Decision("refused", "unknown: whether the run has changed it was never answered")
        if request["action"] == "create":
            return self._remove(after, now, gone=gone)
        if request["action"] == "delete":
            return self._return(request, before)
        if gone:
            return _Decision("refused", "gone")
        return self._restore(before, after, now)

    def _remove(self, after: Record, now: Record, *, gone: bool) -> _Decision:
        if gone:
            return _Decision("unchanged")
        changed, _ = differences(self._operations, now, after)
        if changed:
            return _Decision("refused", f"changed_since: {', '.join(changed)}")
        if self._operations.remove is None:
            return _Decision("refused", "cannot_be_removed")
        return _Decision("delete")

    def _return(self, request: Mapping[str, Any], before: Record) -> _Decision:
        if request["now"] is not None and not request["archived"]:
            return _Decision("unchanged")
        if request["now"] is not None:
            if self._spec.removal_is_final:
                return _Decision("refused", "archived: an archived customer never returns")
            return _Decision("update", wanted=self._complete(before), changed=(self._spec.archived_field or "",))
        return _Decision("create", wanted=self._complete(before))

    def _restore(self, before: Record, after: Record, now: Record) -> _Decision:
        old, _ = differences(self._operations, before, after)
        known = {
            side: self._operations.comparable(record)
            for side, record in (("now", now), ("before", before), ("after", after))
        }
        restored: list[str] = []
        since: list[str] = []
        for name in old:
            current = self._value(known["now"], name)
            if self._is(name, current, self._value(known["before"], name)):
                continue
            (restored if self._is(name, current, self._value(known["after"], name)) else since).append(name)
        reason = f"changed_since: {', '.join(since)}" if since else None
        if not restored:
            return _Decision("refused" if since else "unchanged", reason)
        wanted = dict(self._complete(now))
        overflow = dict(wanted.get(self._overflow) or {})
        for name in restored:
            place, key = self._place(name)
            target, source = (overflow, before.get(self._overflow) or {}) if place else (wanted, before)
            if source.get(key) is None:
                target.pop(key, None)
            else:
                target[key] = source[key]
        if overflow or self._overflow in wanted:
            wanted[self._overflow] = overflow
        shown = {name: (self._value(now, name), self._value(before, name)) for name in restored}
        return _Decision("update", reason, wanted=wanted, changed=tuple(restored), shown=shown)

    def _place(self, name: str) -> tuple[bool, str]:
        """Return whether a field is an entry of the overflow, and its name there."""
        prefix = f"{self._overflow}."
        return (True, name.removeprefix(prefix)) if name.startswith(prefix) else (False, name)

    def _value(self, record: Record, name: str) -> Any:
        place, key = self._place(name)
        return ((record.get(self._overflow) or {}) if place else record).get(key)

    def _is(self, name: str, current: Any, other: Any) -> bool:
        """Return whether a field has this value, or the one that the provider fills in for none."""
        field = self._schema.by_name.get(name)
        if other is None and field is not None and field.default is not None and str(current) == field.default:
            return True
        return same(current, other)

    def _complete(self, record: Record) -> Record:
        """Return a customer with all that can be written, as a request has it."""
        values = {field.name: record.get(field.name) for field in self._settable}
        values[self._overflow] = record.get(self._overflow)
        filled = {name: value for name, value in values.items() if value is not None}
        return {**filled, **self._from_address}


class _Decision:
    """What an undo does about one customer: an action of a plan, and why it is left alone, or a part of it."""

    def __init__(
        self,
        action: str,
        reason: str | None = None,
        *,
        wanted: Record | None = None,
        changed: Sequence[str] = (),
        shown: Mapping[str, tuple[Any, Any]] | None = None,
    ) -> None:
        self.action, self.reason, self.changed = action, reason, changed
        self._wanted, self._shown = wanted, shown or {}

    def request(self, undone: Mapping[str, Any]) -> dict[str, Any]:
        """Return the request, given that of the run."""
        target = None if self.action == "create" else undone["provider_id"] or undone["target"]
        return {
            "action": self.action,
            "target": target,
            "external_id": undone["external_id"],
            "email": undone["email"],
            "wanted": msgspec.json.encode(self._wanted).decode() if self._wanted is not None else None,
            "found": None if self.action == "create" else undone["now"],
        }

    def review(self) -> Iterator[dict[str, Any]]:
        """Yield the lines about it for people."""
        if self.action == "update":
            for name, (now, back) in self._shown.items():
                yield {"what": "restore", "field": name, "now": _text(now), "back": _text(back)}
            if not self._shown:
                yield {"what": "return"}
        elif self.action in ("create", "delete"):
            yield {"what": "return" if self.action == "create" else "remove"}
        if self.reason:
            yield {"what": "leave", "field": self.reason}


def _is_chosen(request: Mapping[str, Any], undone: Undone, chosen: set[str] | None, found: set[str]) -> bool:
    """Return whether a request is to be taken back: any of its customer's names is `chosen`. Names of the customers of
    all requests are added to `found`.
    """
    if request["outcome"] is None or request["action"] not in undone.actions:
        return False
    names = {_key(request), *([f"email:{request['email'].lower()}"] if request["email"] else [])}
    found |= names
    return chosen is None or not names.isdisjoint(chosen)


def _key(request: Mapping[str, Any]) -> str:
    key = request["external_id"] or (request["email"] and f"email:{request['email']}")
    return str(key or request["provider_id"] or request["target"])


def _decoded(text: str | None) -> dict[str, Any]:
    return msgspec.json.decode(text, type=dict[str, Any]) if text else {}


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()


def write_left(workspace: Path) -> dict[str, Path]:
    """Write the customers that an undo has left alone, by its plan and by the outcomes of its requests, as CSV; return
    its file, none if all were taken back.
    """
    planned = workspace / LEFT_ALONE
    names = pl.read_parquet(workspace / NAMES)
    outcomes = pl.read_parquet(workspace / "sent.parquet").filter(pl.col("outcome") != "done")
    reason = pl.concat_str("outcome", pl.col("reason").fill_null(""), separator=": ").str.strip_chars_end(": ")
    reason = pl.when(pl.col("outcome") == "refused").then(pl.coalesce("reason", "outcome")).otherwise(reason)
    failed = outcomes.select("row", reason=reason).join(names, on="row").select(*_LEFT)
    left = pl.concat([pl.read_parquet(planned), failed]) if planned.exists() else failed
    file = workspace / "left.csv"
    file.unlink(missing_ok=True)
    if left.is_empty():
        return {}
    cells.as_csv(left.lazy()).sink_csv(file)
    return {"left": file}
