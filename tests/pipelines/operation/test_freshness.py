"""`tranship runs --check`, as a second line of cron starts it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from support.commands import told
from support.served import as_json, served
from tranship.connectors.errors import ConfigError
from tranship.pipelines.operation import freshness
from tranship.pipelines.operation.pipeline_state import StateFile
from tranship.pipelines.operation.run_end import RunEnd

NOW = datetime.now(UTC)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ended(pipeline: str, hours: float, code: int = 0, rules: tuple[str, ...] = ()) -> None:
    """A run of this pipeline has ended so many hours ago."""
    at = NOW - timedelta(hours=hours)
    with StateFile(Path(".tranship"), pipeline).changed() as (state, _):
        state.rules = rules
        state.add(RunEnd(pipeline, "a.csv", "b.csv", at, at, code, None, None), None, False)


def test_a_pipeline_that_is_late_is_named_and_alerted_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(_: web.Request) -> web.Response:
        return as_json({})

    ended("crm", 30, rules=("env:HOOK",))
    ended("shop", 2, rules=("env:HOOK",))
    with served(answer) as hook:
        monkeypatch.setenv("HOOK", hook.url)
        codes = [told("runs", "--check", "max_age=26h")[0] for _ in range(2)]
        code, out, err = told("runs", "--check", "max_age=26h")
        ended("crm", 0, rules=("env:HOOK",))
        assert told("runs", "--check", "max_age=26h", "--json")[0] == 0

    assert codes == [4, 4]
    assert (code, err) == (4, "")
    assert [line.split()[:2] for line in out.splitlines()] == [["crm", "late"], ["shop", "fresh"]]
    alerts = [json.loads(body) for body in hook.bodies]
    assert [(alert["pipeline"], alert["kind"], alert["state"]) for alert in alerts] == [
        ("crm", "change", "late"),
        ("crm", "recovered", "ok"),
    ]
    assert alerts[0]["text"].startswith("crm: late\nlast success: ")


def test_a_pipeline_that_never_ran_is_late_if_it_is_named(folder: Path) -> None:
    ended("crm", 1)
    code, out, _ = told("runs", "--check", "max_age=1d", "--pipeline", "crm", "--pipeline", "shop")

    assert code == 4
    assert "shop  late   no success yet" in out


def test_an_address_may_be_given_to_the_check(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(_: web.Request) -> web.Response:
        return as_json({})

    ended("crm", 30)
    with served(answer) as hook:
        monkeypatch.setenv("PAGER", hook.url)
        assert told("runs", "--check", "max_age=26h", "--alert", "late=env:PAGER")[0] == 4

    assert json.loads(hook.bodies[0])["state"] == "late"


def test_a_failed_pipeline_is_late_without_a_second_alert(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended("crm", 50)
    ended("crm", 2, code=3)
    (one,) = freshness.check(Path(".tranship"), timedelta(hours=26)).pipelines

    assert one.late
    assert StateFile(Path(".tranship"), "crm").read().state == "failed"


def test_a_check_tells_what_the_run_could_not(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(_: web.Request) -> web.Response:
        return as_json({})

    ended("crm", 2, code=5, rules=("env:HOOK",))
    with served(answer) as hook:
        monkeypatch.setenv("HOOK", hook.url)
        assert told("runs", "--check", "max_age=26h")[0] == 4

    assert json.loads(hook.bodies[0])["state"] == "stopped"


def test_what_is_forgotten_is_not_late(folder: Path) -> None:
    ended("crm", 30)
    ended("shop", 1)
    assert told("runs", "--forget", "crm")[0] == 0

    assert told("runs", "--check", "max_age=26h")[0] == 0
    code, _, err = told("runs", "--forget", "crm")
    assert code == 2
    assert "Pipelines: shop" in err


@pytest.mark.parametrize("text", ["", "26h", "max_age=", "max_age=26", "max_age=0h", "max_age=-1h", "age=26h"])
def test_a_check_that_is_none(text: str, folder: Path) -> None:
    code, _, err = told("runs", "--check", text)

    assert code == 2
    assert "max_age=26h" in err


def test_there_must_be_something_to_check(folder: Path) -> None:
    with pytest.raises(ConfigError, match="has no pipeline to check"):
        freshness.check(Path(".tranship"), timedelta(hours=1))
    with pytest.raises(ConfigError, match="is a secret"):
        freshness.check(Path(".tranship"), timedelta(hours=1), alerts=["https://hooks.example/x"])
    assert "--alert: has no effect without --check" in told("runs", "--alert", "env:HOOK")[2]
