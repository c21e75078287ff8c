"""Nights of a pipeline, played by a script, and what a team is told about each."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from support.served import Served, as_json, nobody, served
from tranship.connectors.databases.duckdb.table import DuckDbTable
from tranship.connectors.errors import ConnectorError, GateClosed, Skipped, TranshipError
from tranship.pipelines import locks, run
from tranship.pipelines.endpoints import destination_identity
from tranship.pipelines.operation import delivery, freshness
from tranship.pipelines.operation.pipeline_state import StateFile
from tranship.pipelines.settings import load

FIRST = datetime(2026, 11, 2, 3, 0, tzinfo=UTC)
USUAL = 40
SECRET = "T024BE7LD-xoxb-hush"
CITY = "Gelsenkirchen"
"""In every record, and in no alert."""


@dataclass
class Heard:
    """An observer that keeps what it is told."""

    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def step(self, name: str, total: int | None) -> None: ...

    def advanced(self, position: int, records: int, errors: int = 0) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@dataclass
class Nights:
    """A pipeline from crm.csv to a table, night after night."""

    hook: Served
    now: datetime = FIRST
    settings: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def records(self, count: int, broken: int = 0) -> None:
        rows = [f"{n},a{n}@acme.example,Customer {n},{CITY} {self.now:%j}" for n in range(count - broken)]
        rows += [f"{n},nobody,Customer {n},{CITY}" for n in range(broken)]
        Path("crm.csv").write_text("\n".join(["external_id,email,name,city", *rows, ""]))

    def run(self, **options: Any) -> int:
        """Run the pipeline at this time; return the exit code."""
        heard = Heard()
        settings = {
            **{"source": "crm.csv", "destination": "customers.jsonl", "overwrite": True, "pipeline": "crm"},
            **{"alert": ["env:HOOK"], "expect": {"rows": "learned"}, **self.settings, **options},
        }
        try:
            return run.run(load(settings, {}), heard, now=self.now).exit_code
        except TranshipError as error:
            return error.exit_code
        finally:
            self.warnings = heard.warnings

    def check(self) -> bool:
        """Look whether the pipeline is late, as a second line of cron does; return whether it is."""
        return any(one.late for one in freshness.check(Path(".tranship"), timedelta(hours=26), now=self.now).pipelines)

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts since the last call."""
        bodies = [json.loads(body) for body in self.hook.bodies if body]
        self.hook.bodies.clear()
        return bodies


@pytest.fixture
def nights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nights]:
    async def answer(_: web.Request) -> web.Response:
        return as_json({})

    monkeypatch.chdir(tmp_path)
    with served(answer) as hook:
        monkeypatch.setenv("HOOK", f"{hook.url}/services/{SECRET}")
        yield Nights(hook)


# What is wanted ------------------------------------------------------------------------------------------------------

Play = Callable[[Nights], Any]


def empty(nights: Nights) -> None:
    nights.records(0)
    nights.run()


def halved(nights: Nights) -> None:
    nights.records(USUAL // 2)
    nights.run()


def doubled(nights: Nights) -> None:
    nights.records(USUAL * 2)
    nights.run()


def missing(nights: Nights) -> None:
    Path("crm.csv").unlink()
    nights.run()


def full_of_rejects(nights: Nights) -> None:
    nights.records(USUAL, broken=15)
    nights.run()


def stopped_by_rejects(nights: Nights) -> None:
    nights.records(USUAL, broken=15)
    nights.run(max_rejects="5%")


def locked(nights: Nights) -> None:
    nights.records(USUAL)
    settings = load({"source": "crm.csv", "destination": "customers.jsonl"}, {})
    lock = locks.of_destination(Path(".tranship"), destination_identity(settings))
    assert lock.take()
    try:
        assert nights.run(lock_timeout="1ms") == 3
    finally:
        lock.release()


def skipped(nights: Nights) -> None:
    nights.records(USUAL)
    settings = load({"source": "crm.csv", "destination": "customers.jsonl"}, {})
    lock = locks.of_destination(Path(".tranship"), destination_identity(settings))
    assert lock.take()
    try:
        assert nights.run(overlap="skip") == 6
    finally:
        lock.release()


def no_run(nights: Nights) -> None:
    nights.now += timedelta(hours=3)  # the second line of cron, at six
    nights.check()
    nights.now -= timedelta(hours=3)


def usual(nights: Nights) -> None:
    nights.records(USUAL)
    assert nights.run() == 0
    nights.check()


TABLE: list[tuple[str, list[Play], list[list[tuple[str, str, str]]]]] = [
    ("usual", [usual, usual], [[], []]),
    ("empty", [empty, usual], [[("change", "ok", "stopped")], [("recovered", "stopped", "ok")]]),
    ("halved", [halved, usual], [[("change", "ok", "degraded")], [("recovered", "degraded", "ok")]]),
    ("doubled", [doubled, usual], [[("change", "ok", "degraded")], [("recovered", "degraded", "ok")]]),
    ("missing", [missing, usual], [[("change", "ok", "failed")], [("recovered", "failed", "ok")]]),
    ("locked", [locked, usual], [[("change", "ok", "failed")], [("recovered", "failed", "ok")]]),
    ("skipped", [skipped, usual], [[], []]),
    ("full of rejects", [full_of_rejects, usual], [[("change", "ok", "degraded")], [("recovered", "degraded", "ok")]]),
    (
        "stopped by rejects",
        [stopped_by_rejects, usual],
        [[("change", "ok", "stopped")], [("recovered", "stopped", "ok")]],
    ),
    ("late", [no_run, usual], [[("change", "ok", "late")], [("recovered", "late", "ok")]]),
    (
        "the same again is a reminder",
        [empty, empty, usual, usual],
        [[("change", "ok", "stopped")], [("reminder", "stopped", "stopped")], [("recovered", "stopped", "ok")], []],
    ),
    (
        "one trouble after the other",
        [missing, halved, empty, usual],
        [
            [("change", "ok", "failed")],
            [("change", "failed", "degraded")],
            [("change", "degraded", "stopped")],
            [("recovered", "stopped", "ok")],
        ],
    ),
    (
        "a failure explains why it is late",
        [missing, no_run, usual],
        [[("change", "ok", "failed")], [("reminder", "failed", "failed")], [("recovered", "failed", "ok")]],
    ),
    (
        "late, then failed",
        [no_run, missing, usual],
        [[("change", "ok", "late")], [("change", "late", "failed")], [("recovered", "failed", "ok")]],
    ),
]
"""Name; what happens in each night, after six usual ones; for each of them the alerts that a team wants: kind, state
before, state."""


@pytest.fixture(scope="module")
def six_nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the pipeline has run for six nights without an alert."""
    folder = tmp_path_factory.mktemp("nights")
    before = Path.cwd()
    os.chdir(folder)
    try:
        nights = Nights(Served(), settings={"alert": []})
        for _ in range(6):
            usual(nights)
            nights.now += timedelta(days=1)
    finally:
        os.chdir(before)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("plays", "wanted"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_a_team_is_told_what_it_wants_to_know(
    plays: list[Play], wanted: list[list[tuple[str, str, str]]], nights: Nights, six_nights: Path
) -> None:
    shutil.copytree(six_nights, ".", dirs_exist_ok=True)
    nights.now = FIRST + timedelta(days=6)
    usual(nights)
    assert nights.alerts() == []
    given, told = [], []
    for play in plays:
        nights.now += timedelta(days=1)
        play(nights)
        alerts = nights.alerts()
        given.append([(alert["kind"], alert["before"], alert["state"]) for alert in alerts])
        told += alerts

    assert given == wanted
    assert nights.warnings == [] or all(text.startswith("unexpected: ") for text in nights.warnings)
    for alert in told:
        text = json.dumps(alert, ensure_ascii=False)
        assert CITY not in text
        assert "@" not in text
        assert SECRET not in text
        assert alert["pipeline"] == "crm"
        assert alert["text"].startswith("crm: ")


def test_an_alert_says_what_happened(nights: Nights) -> None:
    nights.records(USUAL, broken=3)
    assert nights.run() == 4

    (alert,) = nights.alerts()
    assert alert["exit_code"] == 4
    assert alert["counts"]["rejected"] == 3
    assert alert["rejects_by_code"] == {"email.syntax": 3}
    assert alert["last_success"] == alert["since"]
    assert alert["host"] == socket.gethostname()
    assert Path(alert["report"]).is_file()
    assert alert["text"].splitlines()[:4] == [
        "crm: degraded, exit code 4",
        "crm.csv → customers.jsonl",
        "40 read, 3 rejected, 37 created, 1 warning",
        "3 × email.syntax",
    ]


def test_what_is_unexpected_is_in_the_report(nights: Nights) -> None:
    nights.records(USUAL)
    assert nights.run(expect={"rows": "50..", "rejects": "0", "duration": "1h"}) == 0

    said = "unexpected: 40 records read; expected at least 50"
    assert nights.warnings == [said]
    report = json.loads(next(Path(".tranship/runs").glob("*/report.json")).read_text())
    assert said in report["notes"]
    assert nights.alerts()[0]["unexpected"] == ["40 records read; expected at least 50"]


@pytest.mark.slow
def test_days_without_a_change(nights: Nights) -> None:
    nights.settings = {"destination": "duckdb:///w.duckdb"}
    nights.records(USUAL)
    codes = []
    for _ in range(5):
        codes.append(nights.run(expect={"days_without_change": "3"}))
        nights.now += timedelta(days=1)

    assert codes == [0] * 5
    (alert,) = nights.alerts()
    assert alert["unexpected"] == ["4 days without a change; expected at most 3"]


@pytest.mark.slow
def test_an_address_that_wants_failures_only_gets_them_and_their_end(nights: Nights) -> None:
    nights.settings = {"alert": [{"when": ["failed"], "to": "env:HOOK"}]}
    told = []
    for play in (full_of_rejects, missing, full_of_rejects, usual):
        play(nights)
        told.append([(alert["kind"], alert["state"]) for alert in nights.alerts()])
        nights.now += timedelta(days=1)

    assert told == [[], [("change", "failed")], [("recovered", "degraded")], []]


def test_who_was_alerted_is_told_of_the_recovery_although_the_rule_is_gone(nights: Nights) -> None:
    missing_first = Path("crm.csv")
    missing_first.touch()
    missing(nights)
    assert [alert["kind"] for alert in nights.alerts()] == ["change"]
    nights.now += timedelta(days=1)
    nights.settings = {"alert": []}
    usual(nights)

    assert [alert["kind"] for alert in nights.alerts()] == ["recovered"]


# Delivery never changes a run --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_alert_that_cannot_be_delivered_is_one_line_and_is_sent_the_next_night(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = os.environ["HOOK"]
    with nobody() as address:
        monkeypatch.setenv("HOOK", f"{address}/{SECRET}")
        nights.records(USUAL, broken=1)
        assert nights.run() == 4
    assert nights.warnings == ["alert to env:HOOK was not delivered: unreachable (connection refused)"]
    monkeypatch.delenv("HOOK")
    nights.now += timedelta(days=1)
    assert nights.run() == 4
    (said,) = nights.warnings
    assert said == "alert to env:HOOK was not delivered: the environment variable HOOK is not set"
    monkeypatch.setenv("HOOK", works)
    nights.now += timedelta(days=1)
    assert nights.run() == 4

    assert [(alert["kind"], alert["before"]) for alert in nights.alerts()] == [("change", "ok")]
    kept = [file for file in Path().rglob("*") if file.is_file()]
    assert len(kept) > 20
    assert not [file for file in kept if SECRET.encode() in file.read_bytes()]


def test_a_variable_that_is_missing_is_said_before_an_alert_is_due(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOOK")
    nights.records(USUAL)

    assert nights.run() == 0
    assert nights.warnings == ["alerts to env:HOOK cannot be sent: the environment variable HOOK is not set"]


@pytest.mark.slow
def test_an_address_that_never_answers_holds_the_run_for_a_moment_only(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "SECONDS", 0.3)
    monkeypatch.setattr(delivery.Deliveries.__init__, "__defaults__", (0.3,))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("HOOK", f"http://127.0.0.1:{silent.getsockname()[1]}/{SECRET}")
        nights.records(USUAL, broken=1)
        started = time.monotonic()
        assert nights.run() == 4

    assert time.monotonic() - started < 5
    assert nights.warnings == ["alert to env:HOOK was not delivered: no answer within 0.3 s"]


@pytest.mark.slow
def test_a_state_that_cannot_be_saved_is_said_and_the_alert_is_sent(nights: Nights) -> None:
    Path(".tranship").mkdir()
    Path(".tranship/pipelines").touch()
    nights.records(USUAL)

    assert nights.run() == 0
    (said,) = nights.warnings
    assert said.endswith("cannot be saved (file exists). Alerts may be repeated.")
    nights.records(0)
    assert [nights.run(), nights.run()] == [5, 5]
    assert [alert["kind"] for alert in nights.alerts()] == ["change", "change"]


@pytest.mark.slow
def test_a_damaged_state_begins_anew(nights: Nights) -> None:
    nights.records(USUAL)
    nights.run()
    (file,) = Path(".tranship/pipelines").glob("*.json")
    for content in (
        b"",
        b"[]",
        b'{"pipeline": "crm", "runs": [{}]}',
        file.read_bytes()[:-9],
        b'{"runs": 5, "told": []}',
    ):
        file.write_bytes(content)
        nights.now += timedelta(days=1)
        assert nights.run() == 0
        assert "A new one was started; the damaged file is" in nights.warnings[0]
        assert StateFile(Path(".tranship"), "crm").read().last_success


def test_a_bug_in_what_tells_is_said_and_changes_nothing(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError(CITY)

    monkeypatch.setattr(StateFile, "changed", broken)
    nights.records(USUAL)

    assert nights.run() == 0
    assert nights.warnings == ["notifying of the end of this run failed: a bug in Tranship (ZeroDivisionError)"]


# Health checks and commands ----------------------------------------------------------------------------------------


def test_a_health_check_hears_the_start_and_the_exit_code(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHECK", f"{nights.hook.url}/ping/{SECRET}?rid=1")
    nights.settings = {"alert": [], "ping": "env:CHECK"}
    nights.records(USUAL)
    nights.run()
    nights.records(USUAL, broken=1)
    nights.run()
    nights.records(0)
    nights.run()
    skipped(nights)

    calls = [call.removeprefix(f"POST /ping/{SECRET}/") for call in nights.hook.calls]
    assert calls == [
        *("start?rid=1", "0?rid=1", "start?rid=1", "4?rid=1", "start?rid=1", "5?rid=1"),
        "start?rid=1",  # of the run that was skipped; the one that holds the destination sends its own end
    ]


@pytest.mark.slow
def test_a_command_is_started_after_a_failure_only(nights: Nights) -> None:
    nights.settings = {"alert": [], "on_failure": 'echo "$TRANSHIP_STATE $TRANSHIP_EXIT_CODE $TRANSHIP_REPORT" >> said'}
    nights.records(USUAL)
    assert nights.run() == 0
    assert not Path("said").exists()
    nights.records(USUAL, broken=1)
    assert nights.run() == 4
    Path("crm.csv").unlink()
    assert nights.run() == 2

    first, second = Path("said").read_text().splitlines()
    state, code, report = first.split()
    assert (state, code) == ("degraded", "4")
    assert json.loads(Path(report).read_text())["counts"]["rejected"] == 1
    assert second == "failed 2 "


def test_a_command_that_fails_is_one_line(nights: Nights) -> None:
    nights.settings = {"alert": [], "on_failure": "exit 7"}
    nights.records(0)

    assert nights.run() == 5
    assert nights.warnings == ["--on-failure failed: exit code 7"]


# What is not watched -----------------------------------------------------------------------------------------------


def test_a_dry_run_and_a_plan_tell_nobody(nights: Nights) -> None:
    nights.records(USUAL, broken=1)
    assert nights.run(dry_run=True) == 4

    assert nights.hook.calls == []
    assert not Path(".tranship/pipelines").exists()


@pytest.mark.slow
def test_a_run_that_is_continued_by_hand_recovers_its_pipeline(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ConnectorError("the disk of the server is full")

    nights.settings = {"destination": "duckdb:///w.duckdb"}
    nights.records(USUAL)
    with monkeypatch.context() as patched:
        patched.setattr(DuckDbTable, "apply", broken)
        assert nights.run() == 3
    assert [alert["state"] for alert in nights.alerts()] == ["failed"]
    assert run.resume(Path(".tranship"), "last").exit_code == 0

    assert [(alert["kind"], alert["before"]) for alert in nights.alerts()] == [("recovered", "failed")]


@pytest.mark.slow
def test_nothing_of_it_is_imported_by_a_run_that_does_not_use_it(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("external_id,email,name\n1,a@acme.example,Ann\n")
    script = """
import sys
from tranship.pipelines.cli.main import main
assert main(["run", "a.csv", "b.jsonl", "--quiet"]) == 0
known = ("tranship.pipelines.operation.", "apprise", "opentelemetry", "urllib.request")
print([name for name in sys.modules if name.startswith(known)])
"""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TRANSHIP_")}
    command = [sys.executable, "-c", script]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, env=clean)

    assert ran.stdout.strip() == "[]"
    assert not (tmp_path / ".tranship" / "pipelines").exists()


def test_errors_keep_their_kind(nights: Nights) -> None:
    nights.records(0)
    settings = load({"source": "crm.csv", "destination": "duckdb:///w.duckdb", "alert": ["env:HOOK"]}, {})

    with pytest.raises(GateClosed) as stopped:
        run.run(settings)
    assert stopped.value.report is not None
    assert not issubclass(GateClosed, Skipped)
