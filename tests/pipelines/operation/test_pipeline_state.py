"""The state of a pipeline, changed by many at once, and by processes that die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tranship.pipelines.operation import dispatch, pipeline_state
from tranship.pipelines.operation.pipeline_state import StateFile, all_states
from tranship.pipelines.operation.run_end import RunEnd

NOW = datetime(2026, 11, 2, 3, tzinfo=UTC)


def ended(code: int, now: datetime = NOW) -> RunEnd:
    return RunEnd("crm", "crm.csv", "w.csv", now, now, code, None, None)


def test_fifty_runs_that_fail_at_the_same_time_are_one_alert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_state, "_LOCK_SECONDS", 60)
    together = threading.Barrier(50)

    def fail(_: int) -> int:
        file = StateFile(tmp_path, "crm")
        together.wait()
        with file.changed() as (state, problems):
            assert problems == []
            state.rules = ("env:HOOK",)
            state.add(ended(3), None, False)
            due = dispatch.claim(state, NOW, ended(3))
        dispatch.settle(file, due, {one.name: None for one in due}, NOW)
        return len(due)

    with ThreadPoolExecutor(50) as pool:
        sent = list(pool.map(fail, range(50)))

    assert sum(sent) == 1
    assert StateFile(tmp_path, "crm").read().sent["env:HOOK"].state == "failed"


@pytest.mark.kill
@pytest.mark.parametrize("moment", ["claimed", "writing"])
def test_a_process_that_is_killed_loses_no_alert(moment: str, tmp_path: Path) -> None:
    script = f"""
import os, signal
from datetime import datetime, UTC
from pathlib import Path
from tranship.connectors import durable
from tranship.pipelines.operation import dispatch
from tranship.pipelines.operation.pipeline_state import StateFile
from tranship.pipelines.operation.run_end import RunEnd

now = datetime.fromisoformat({NOW.isoformat()!r})
end = RunEnd("crm", "crm.csv", "w.csv", now, now, 3, None, None)
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
if {moment!r} == "writing":
    durable.sync_folder = die
with StateFile(Path({str(tmp_path)!r}), "crm").changed() as (state, _):
    state.rules = ("env:HOOK",)
    state.add(end, None, False)
    assert len(dispatch.claim(state, now, end)) == 1
die()
"""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TRANSHIP_")}
    ran = subprocess.run([sys.executable, "-c", script], env=clean, capture_output=True, text=True, check=False)
    assert ran.returncode == -signal.SIGKILL, ran.stderr

    due = []
    for later in (NOW + timedelta(seconds=5), NOW + timedelta(days=1)):
        file = StateFile(tmp_path, "crm")
        with file.changed() as (state, problems):
            assert problems == []
            state.add(ended(3, later), None, False)
            due.append([one.alert["kind"] for one in dispatch.claim(state, later, ended(3, later))])
    # While it may still be sending, nobody else does; afterwards the next run tells what it has not.
    assert due == [[], ["change"]]


def test_a_lock_that_is_held_for_too_long_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_state, "_LOCK_SECONDS", 0.05)
    with StateFile(tmp_path, "crm").changed(), StateFile(tmp_path, "crm").changed() as (state, problems):
        state.come_into("failed", NOW)
    assert "cannot be saved (locked by process" in problems[0]
    assert StateFile(tmp_path, "crm").read().state == "ok"


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    file = StateFile(tmp_path, "crm")
    with file.changed() as (state, _):
        state.rules = ("env:HOOK", "failed=env:PAGER")
        state.add(ended(0), None, True)
        state.add(ended(5, NOW + timedelta(days=1)), None, False)
        dispatch.claim(state, NOW, None)
        kept = state

    assert file.read() == kept
    assert kept.last_success == kept.last_change == NOW
    assert (kept.state, kept.state_since) == ("stopped", NOW + timedelta(days=1))
    assert [one.pipeline for one in all_states(tmp_path)[0]] == ["crm"]


def test_files_of_other_forms_are_named(tmp_path: Path) -> None:
    with StateFile(tmp_path, "crm").changed():
        pass
    other = tmp_path / "pipelines" / "other.json"
    for content in ("", "[]", "{}", '{"pipeline": 5, "runs": [{}], "rules": [], "sent": {}}', '{"sent": 1}'):
        other.write_text(content)
        states, damaged = all_states(tmp_path)
        assert [state.pipeline for state in states] == ["crm"]
        assert len(damaged) == 1
        assert str(other) in damaged[0]


def test_a_pipeline_is_forgotten(tmp_path: Path) -> None:
    file = StateFile(tmp_path, "crm")
    assert not file.forget()
    with file.changed():
        pass
    assert file.forget()
    assert all_states(tmp_path) == ([], [])
