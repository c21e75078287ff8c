"""The server of the sandboxes: how it starts and stops, and a state that survives `kill -9`."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support.sandboxes import ROOT, Reply, Sandbox, Start
from tranship.connectors.errors import ConfigError
from tranship.connectors.registry import PROVIDERS
from tranship.connectors.sandbox.server import running, serve

KEY = {"x-api-key": "mf_sk_test_1"}


def create(front: Sandbox, name: str = "N", **body: Any) -> Reply:
    return front.call("POST", "/v1/customers", {"name": name, **body}, KEY)


# State


@pytest.mark.slow
def test_a_killed_sandbox_has_lost_nothing_that_it_answered(sandbox: Start, tmp_path: Path) -> None:
    state = tmp_path / "state"
    front = sandbox("marginfront", seed=10, state=state, process=True)
    answered: list[dict[str, Any]] = []

    def busy(worker: int) -> None:
        try:
            for number in range(100_000):
                answered.append(create(front, externalId=f"{worker}-{number}").json)
        except (OSError, ValueError):
            return

    threads = [threading.Thread(target=busy, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    while len(answered) < 200:
        time.sleep(0.01)
    front.kill()
    for thread in threads:
        thread.join()
    again = sandbox("marginfront", seed=10, state=state)
    kept = {one["id"]: one for one in again.state()}
    assert all(kept[one["id"]] == one for one in answered)
    assert len(answered) <= len(kept) - 10 <= len(answered) + 4
    assert create(again, externalId="0-0").status == 409


def test_a_state_is_not_seeded_again(sandbox: Start, tmp_path: Path) -> None:
    with running("marginfront", seeding=5, state=tmp_path / "state"):
        pass
    with running("marginfront", seeding=7, state=tmp_path / "state") as (_, server):
        assert len(server.api.customers) == 5
        assert "was ignored" in server.notes[0]


# Starting


def said(process: subprocess.Popen[str], enough: Callable[[str], bool]) -> str:
    assert process.stderr
    text = ""
    while not enough(text):
        line = process.stderr.readline()
        assert line, text
        text += line
    return text


@pytest.mark.slow
def test_serve_says_where_it_is_logs_calls_and_stops_on_interrupt() -> None:
    code = "from tranship.connectors.sandbox.server import serve; serve('marginfront', 0, 3, log=True)"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        begin = said(process, lambda text: "Try:" in text)
        port = int(re.findall(r"marginfront sandbox on http://127\.0\.0\.1:(\d+), 3 customers", begin)[0])
        assert f"MF_API_SECRET_KEY=mf_sk_test_1 tranship run marginfront://127.0.0.1:{port} duckdb:///" in begin
        front = Sandbox(f"http://127.0.0.1:{port}")
        front.call("GET", "/v1/customers?limit=2&search=nordlys", headers=KEY)
        log = said(process, lambda text: "\n" in text)
        assert log.startswith("GET /v1/customers limit=2 search=… 200 ")
    finally:
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=60)[1]
    assert process.returncode == 0
    assert rest == "stopped\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"provider": "nobody"}, f"Use one of: {', '.join(PROVIDERS)}"),
        (
            {"provider": "marginfront", "switches": {"dialect": "docs"}},
            "dialect=docs: .* Use one of: long: kept or refused",
        ),
        ({"provider": "marginfront", "switches": {"long": "cut"}}, "long=cut"),
    ],
)
def test_what_does_not_exist_is_explained(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        serve(**arguments)


def test_a_port_in_use_is_explained() -> None:
    with running("marginfront") as (url, _), pytest.raises(ConfigError, match="is in use"):
        serve("marginfront", int(url.rpartition(":")[2]), say=lambda _: None)


def test_many_calls_at_once_make_one_customer_of_one_external_id(sandbox: Start) -> None:
    front = sandbox("marginfront")
    with ThreadPoolExecutor(16) as pool:
        statuses = [reply.status for reply in pool.map(lambda _: create(front, externalId="x"), range(50))]
    assert sorted(statuses) == [201] + [409] * 49
    assert front.counts()["customers"] == 1
