"""Deliveries to real servers, and to none."""

from __future__ import annotations

import json
import socket
import threading
import time

import pytest
from aiohttp import web

from support.served import as_json, nobody, raw, served
from tranship.pipelines.operation import delivery
from tranship.pipelines.operation.delivery import Deliveries, UndeliveredError

SECRET = "xoxb-hush-hush"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_PAUSES", (0.01, 0.01))


def failure(url: str) -> str:
    with pytest.raises(UndeliveredError) as failed:
        delivery.post_json(url, {"text": "x"})
    assert SECRET not in str(failed.value)
    assert failed.value.__cause__ is None
    return str(failed.value)


def test_a_webhook_gets_json() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    with served(answer) as hook:
        delivery.post_json(f"{hook.url}/services/{SECRET}", {"text": "Grüße\n"})

    assert hook.calls == [f"POST /services/{SECRET}"]
    assert json.loads(hook.bodies[0]) == {"text": "Grüße\n"}
    assert hook.headers[0]["Content-Type"] == "application/json"


def test_what_may_pass_is_tried_three_times() -> None:
    states = [503, 429, 200]

    async def answer(_: web.Request) -> web.Response:
        return as_json({}, states.pop(0))

    with served(answer) as hook:
        delivery.post_json(hook.url, {})
    assert len(hook.calls) == 3


@pytest.mark.parametrize(("status", "calls"), [(400, 1), (404, 1), (410, 1), (307, 1), (302, 1), (500, 3)])
def test_what_is_refused_is_said(status: int, calls: int) -> None:
    async def answer(_: web.Request) -> web.Response:
        return as_json({"error": SECRET}, status, Location=f"http://127.0.0.1/{SECRET}")

    with served(answer) as hook:
        assert failure(f"{hook.url}/{SECRET}") == f"HTTP {status}"
    assert len(hook.calls) == calls


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (f"ftp://127.0.0.1/{SECRET}", "its address is not an http or https URL"),
        (f"http://127.0.0.1:{SECRET}/", "its address is not a valid URL"),
        (f"https://[{SECRET}/", "its address is not a valid URL"),
        (f"http://127.0.0.1/{SECRET} \n x", "its address is not a valid URL"),
        (f"http://\u20ac{SECRET}.invalid/", "unreachable"),
    ],
)
def test_an_address_that_is_none(address: str, said: str) -> None:
    assert said in failure(address)


def test_nobody_and_nonsense() -> None:
    with nobody() as address:
        assert failure(f"{address}/{SECRET}") == "unreachable (connection refused)"
    with raw(b"SSH-2.0\r\n") as server:
        assert failure(server.url).startswith("unreachable (")
    with raw(None) as server:
        assert failure(server.url).startswith("unreachable (")


@pytest.mark.slow
def test_time_is_over_for_all_at_once() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        deliveries = Deliveries(0.4)
        started = time.monotonic()
        for name in "abc":
            deliveries.start(name, lambda: delivery.post_json(url, {}))
        deliveries.start("d", lambda: None)
        results = deliveries.wait()

    assert time.monotonic() - started < 1.5
    assert results == {**dict.fromkeys("abc", "no answer within 0.4 s"), "d": None}
    assert all(thread.daemon for thread in threading.enumerate() if thread.name.startswith("deliver"))


def test_an_error_of_a_library_is_named_without_its_words() -> None:
    def broken() -> None:
        raise KeyError(SECRET)

    deliveries = Deliveries()
    deliveries.start("a", broken)

    assert deliveries.wait() == {"a": "it failed with a KeyError"}


def test_a_variable_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "  ")
    with pytest.raises(UndeliveredError, match="the environment variable HOOK is not set"):
        delivery.address_in("HOOK")


# Other services ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of modules that apprise imports
def test_another_service_is_told_by_apprise(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    async def answer(request: web.Request) -> web.Response:
        return as_json({}, 404 if "gone" in request.path else 200)

    with served(answer) as hook:
        monkeypatch.setenv("HOOK", f"json://{hook.host}/{SECRET}")
        delivery.send("HOOK", {"text": "crm: failed\ncrm.csv → w.duckdb"})
        monkeypatch.setenv("HOOK", f"json://{hook.host}/gone/{SECRET}")
        with pytest.raises(UndeliveredError, match="the service did not accept it"):
            delivery.send("HOOK", {"text": "crm: failed"})
    with pytest.raises(UndeliveredError, match="apprise does not recognise its address"):
        delivery.notify(f"nothing://{SECRET}", "a", "b")

    body = json.loads(hook.bodies[0])
    assert (body["title"], body["message"]) == ("crm: failed", "crm.csv → w.duckdb")
    assert SECRET not in caplog.text


def test_without_apprise_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "apprise", None)
    monkeypatch.setenv("HOOK", f"slack://{SECRET}")
    with pytest.raises(UndeliveredError, match=r"pip install 'tranship\[notify\]'"):
        delivery.send("HOOK", {"text": "x"})
