"""The state of a pipeline: its last runs, its last success and change, and the alerts that were sent.

`<state dir>/pipelines/<digest of the name>.json`. It is changed under a lock and written atomically, so that it
remains intact if several runs end at the same time, or are killed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, field

from tranship.connectors import durable, mirrored
from tranship.connectors.errors import ConnectorError, Damaged, TranshipError
from tranship.pipelines.locks import Lock, lock_at
from tranship.pipelines.operation.alerts import Moment, Sent
from tranship.pipelines.operation.expectations import LEARNS_FROM, Measured
from tranship.pipelines.operation.run_end import RunEnd, State

FOLDER: Final = "pipelines"
_KEPT: Final = 2 * LEARNS_FROM
_LOCK_SECONDS: Final = 3.0


class PipelineState(Struct):
    """The state of one pipeline. `runs` are the complete ones, oldest first. `rules` are the alerts of its last run, as
    set; `sent` is rule → what was sent to its address. `state_since` is the time of the last change of `state`.
    """

    pipeline: str
    rules: tuple[str, ...] = ()
    state: State = "ok"
    state_since: Moment | None = None
    first_seen: Moment | None = None
    last_end: Moment | None = None
    last_success: Moment | None = None
    last_change: Moment | None = None
    runs: list[Measured] = field(default_factory=list)
    sent: dict[str, Sent] = field(default_factory=dict)

    def idle_days(self, now: datetime, changed: bool) -> float:
        """Return the days since a run changed a customer; `changed` is whether the run that ends now did."""
        since = self.last_change or self.first_seen
        return 0.0 if changed or since is None else max(0.0, (now - since).total_seconds() / 86_400)

    def add(self, end: RunEnd, run: Measured | None, changed: bool) -> None:
        """Add a run; `run` is what was measured of it if it is complete."""
        self.first_seen = self.first_seen or end.ended_at
        self.last_end = end.ended_at
        if end.succeeded:
            self.last_success = end.ended_at
        if changed:
            self.last_change = end.ended_at
        if run is not None:
            self.runs = [*self.runs, run][-_KEPT:]
        self.come_into(end.state, end.ended_at)

    def come_into(self, state: State, now: datetime) -> None:
        """Set the state of the pipeline."""
        if state != self.state or self.state_since is None:
            self.state, self.state_since = state, now


class StateFile:
    """The file of a pipeline's state."""

    def __init__(self, state_dir: Path, pipeline: str, *, locks: bool = True) -> None:
        digest = hashlib.sha256(pipeline.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        self._state_dir, self._pipeline, self._locks = state_dir, pipeline, locks
        self._file = state_dir / FOLDER / f"{digest}.json"

    def read(self) -> PipelineState:
        """Return the state; a new one if there is none. Raises Damaged."""
        try:
            return msgspec.convert(durable.read_json(self._file), PipelineState)
        except FileNotFoundError:
            return PipelineState(self._pipeline)
        except msgspec.ValidationError as error:
            raise durable.damaged(self._file) from error

    @contextmanager
    def changed(self) -> Iterator[tuple[PipelineState, list[str]]]:
        """Yield the state, and save it at the end of the block; the list is complete after it, and has what went wrong.

        A state that cannot be locked or saved, as on a full disk, is used all the same: an alert that may be repeated
        is better than none.
        """
        problems: list[str] = []
        lock = lock_at(self._file.with_suffix(".lock"))
        can_be_saved = self._lock(lock, problems)
        try:
            state = self._read_or_new(problems)
            yield state, problems
            if can_be_saved:
                self._save(state, problems)
        finally:
            lock.release()

    def _lock(self, lock: Lock | mirrored.Lease, problems: list[str]) -> bool:
        """Lock the state, and return whether it may be saved."""
        try:
            for folder in (self._state_dir, self._file.parent):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._locks or lock.take(_LOCK_SECONDS):
                return True
            problems.append(self._unsaved(f"locked by {lock.last_holder()}"))
        except OSError as error:
            problems.append(self._unsaved((error.strerror or "error").lower()))
        except TranshipError as error:
            problems.append(self._unsaved(str(error)))
        return False

    def _read_or_new(self, problems: list[str]) -> PipelineState:
        try:
            return self.read()
        except Damaged as error:
            with suppress(OSError):
                aside = durable.move_aside(self._file)
                problems.append(f"{error} A new one was started; the damaged file is {aside}.")
            return PipelineState(self._pipeline)

    def _save(self, state: PipelineState, problems: list[str]) -> None:
        try:
            durable.write_json(self._file, msgspec.to_builtins(state))
        except OSError as error:
            problems.append(self._unsaved((error.strerror or "error").lower()))
        except ConnectorError as error:
            problems.append(self._unsaved(str(error)))

    def _unsaved(self, reason: str) -> str:
        return f"{self._file}: cannot be saved ({reason}). Alerts may be repeated."

    def forget(self) -> bool:
        """Remove the file; return whether there was one."""
        is_there = self._file.exists()
        self._file.unlink(missing_ok=True)
        mirrored.remove(self._file)
        return is_there


def all_states(state_dir: Path) -> tuple[list[PipelineState], list[str]]:
    """Return the states of all pipelines by name, and what is wrong with those that cannot be read."""
    found, damaged = [], []
    for file in sorted((state_dir / FOLDER).glob("*.json")):
        try:
            found.append(msgspec.convert(durable.read_json(file), PipelineState))
        except Damaged as error:
            damaged.append(str(error))
        except msgspec.ValidationError:
            damaged.append(str(durable.damaged(file)))
    return sorted(found, key=lambda state: state.pipeline), damaged
