"""Carrying out a plan: each row once, whatever happens; customers that have changed since are not written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from support.sandboxes import Sandbox
from support.served import nobody, served
from support.writing import OPERATIONS, QUICK, create, customer, delete, outcomes, send, update, write
from tranship.connectors.api.retry import RetryPolicy
from tranship.connectors.errors import ConfigError, Refused, Unreachable

ROOT = Path(__file__).resolve().parent.parent.parent.parent
KEY = {"x-api-key": "mf_sk_test"}
KILLS = int(os.environ.get("TRANSHIP_KILLS", "6"))
"""Moments at which the process is killed, in each of the sweeps."""
CREATES, RATE = int(os.environ.get("TRANSHIP_CREATES", "200")), int(os.environ.get("TRANSHIP_RATE", "100"))
"""With 5,000 creates or more, the used share of the rate is also measured."""
WEATHER = {"statuses": {"500": 0.04, "503": 0.03, "429": 0.05}, "late": 0.5, "cut_after": 0.05, "cut_before": 0.03}

Start = Callable[..., Sandbox]


def grown(sandbox: Sandbox, count: int) -> list[dict[str, Any]]:
    """Customers that exist before the plan is made."""
    for number in range(count):
        sandbox.ask("POST", "/v1/customers", customer(number), KEY)
    return sandbox.state()


def said(sandbox: Sandbox) -> list[dict[str, Any]]:
    """Return the records of the sandbox, without the fields that it sets itself."""
    made = ("id", "createdAt", "updatedAt")
    records = [{name: value for name, value in one.items() if name not in made} for one in sandbox.state()]
    return sorted(records, key=lambda one: str(one["externalId"]))


def mixed(sandbox: Sandbox, folder: Path, size: int) -> None:
    """Make a plan of creates, updates and deletes for a sandbox with `size` customers."""
    there = grown(sandbox, size)
    changed = [
        update(row, one, name=f"New {row}", metadata={"n": row, "new": None})
        for row, one in enumerate(there[: size // 2])
    ]
    gone = [delete(1000 + row, one) for row, one in enumerate(there[size // 2 : size * 3 // 4])]
    new = [create(2000 + row, customer(10_000 + row)) for row in range(2 * size)]
    write(folder, [*new[::2], *changed, *gone, *new[1::2]])


def sent_twice(sandbox: Sandbox) -> list[tuple[str, str, str]]:
    """Return writes that were repeated with the same content although the first one had been carried out."""
    stored, twice = set(), []
    for call in sandbox.calls():
        if call["method"] in ("POST", "PATCH", "DELETE"):
            what = (call["method"], call["path"], call["content"])
            if what in stored:
                twice.append(what)
            if call["worked"] and call["worked"] < 300:
                stored.add(what)
    return twice


# One effect ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The records of a sandbox after the mixed plan, without failures."""
    from support.sandboxes import sandboxes

    folder = tmp_path_factory.mktemp("quiet")
    with sandboxes() as start:
        sandbox = start("marginfront")
        mixed(sandbox, folder, 60)
        sent = send(sandbox.url, folder)
        assert sent.counts == {("create", "done"): 120, ("update", "done"): 30, ("delete", "done"): 15}
        return said(sandbox)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(int(os.environ.get("TRANSHIP_WEATHERS", "2"))))
def test_with_simulated_failures_the_effect_is_that_of_an_undisturbed_run(
    sandbox: Start, tmp_path: Path, quiet: list[dict[str, Any]], seed: int
) -> None:
    there = sandbox("marginfront")
    mixed(there, tmp_path, 60)
    there.record()
    there.weather(
        **WEATHER, timeout=0.01, half=0.02, html=0.01, seed=seed, retry_seconds=0.02, retry_after="milliseconds"
    )
    sent = send(there.url, tmp_path, retry_policy=replace(QUICK, silence=2))
    assert {outcome for _, outcome in sent.counts} == {"done"}
    assert said(there) == quiet
    assert sent_twice(there) == []


def lived(sandbox: Sandbox, folder: Path, seed: int, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "support.writing", sandbox.url, str(folder), str(seed), str(KILLS), *options]
    return subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )


@pytest.mark.kill
def test_killed_again_and_again_with_simulated_failures_the_effect_is_that_of_an_undisturbed_run(
    sandbox: Start, tmp_path: Path, quiet: list[dict[str, Any]]
) -> None:
    there = sandbox("marginfront")
    mixed(there, tmp_path, 60)
    there.record()
    there.weather(**WEATHER, retry_seconds=0.02, retry_after="milliseconds")
    life = lived(there, tmp_path, seed=1)
    assert life.returncode == 0, life.stderr
    assert {outcome for _, outcome, _ in outcomes(tmp_path).values()} == {"done"}
    assert said(there) == quiet
    assert sent_twice(there) == []


@pytest.mark.kill
def test_without_a_journal_the_same_sweep_fails(sandbox: Start, tmp_path: Path, quiet: list[dict[str, Any]]) -> None:
    there = sandbox("marginfront")
    mixed(there, tmp_path, 60)
    there.record()
    there.weather(**WEATHER, retry_seconds=0.02, retry_after="milliseconds")
    lived(there, tmp_path, 1, "no-journal")
    assert sent_twice(there) != []


def test_a_plan_that_was_carried_out_sends_nothing_more(sandbox: Start, tmp_path: Path) -> None:
    there = sandbox("marginfront")
    write(tmp_path, [create(row, customer(row)) for row in range(20)])
    send(there.url, tmp_path)
    there.record()
    assert send(there.url, tmp_path).counts == {("create", "done"): 20}
    assert there.calls() == []


def test_the_first_rows_and_then_the_rest(sandbox: Start, tmp_path: Path) -> None:
    there = sandbox("marginfront")
    write(tmp_path, [create(row, customer(row)) for row in range(100)])
    steps: list[tuple[int, int]] = []
    sent = send(there.url, tmp_path, limit=7, advanced=lambda done, total, _: steps.append((done, total)))
    assert sent.counts == {("create", "done"): 7, ("create", "left"): 93}
    assert [one["externalId"] for one in said(there)] == [customer(row)["externalId"] for row in range(7)]
    assert steps[-1] == (7, 7)
    assert send(there.url, tmp_path).counts == {("create", "done"): 100}
    assert there.counts()["calls"] == {"201": 100}


# Changed customers, refusals ---------------------------------------------------------------------------------------


def test_exactly_the_customers_changed_since_the_plan_are_not_written(sandbox: Start, tmp_path: Path) -> None:
    there = sandbox("marginfront")
    known = grown(there, 10)
    rows = [update(row, one, phone="1") for row, one in enumerate(known[:6])]
    rows += [delete(row, one) for row, one in enumerate(known[6:], 6)]
    write(tmp_path, rows)
    for row in (2, 7):
        there.ask("PATCH", f"/v1/customers/{known[row]['id']}", {"metadata": {"theirs": 1}}, KEY)
    for row in (3, 8):
        there.ask("DELETE", f"/v1/customers/{known[row]['id']}", None, KEY)
    send(there.url, tmp_path)
    found = outcomes(tmp_path)
    moved = {row: one[1:] for row, one in found.items() if one[1] != "done"}
    gone, changed = ("stale", "gone"), ("stale", "changed: metadata")
    assert moved == {2: changed, 3: gone, 7: changed, 8: gone}
    left = {one["externalId"]: (one["phone"], one["metadata"]) for one in said(there)}
    assert left["cus_00002"] == (None, {"theirs": 1})
    assert left["cus_00007"] == (None, {"theirs": 1})
    assert sorted(left) == [f"cus_{row:05}" for row in (0, 1, 2, 4, 5, 7)]


def test_a_customer_that_came_into_being_since_the_plan_is_left_alone(sandbox: Start, tmp_path: Path) -> None:
    there = sandbox("marginfront")
    grown(there, 1)
    before = said(there)
    write(tmp_path, [create(0, customer(0, name="Ours")), create(1, customer(1))])
    send(there.url, tmp_path)
    assert outcomes(tmp_path) == {0: ("create", "stale", "created"), 1: ("create", "done", None)}
    assert said(there)[:1] == before


def test_it_is_left_alone_also_where_the_first_answer_was_lost(sandbox: Start, tmp_path: Path) -> None:
    there = sandbox("marginfront")
    grown(there, 1)
    before = there.state()
    write(tmp_path, [create(0, customer(0, name="Ours"))])
    there.weather(cut_before=1, methods=["POST"])
    send(there.url, tmp_path)
    assert outcomes(tmp_path) == {0: ("create", "stale", "created")}
    assert there.state() == before


def test_one_refusal_spares_the_rest(sandbox: Start, tmp_path: Path) -> None:
    there = sandbox("marginfront")
    rows = [create(row, customer(row, **({"email": "nowhere"} if row == 3 else {}))) for row in range(6)]
    write(tmp_path, rows)
    send(there.url, tmp_path)
    found = outcomes(tmp_path)
    assert found.pop(3) == ("create", "refused", "refused (400, email): email must be an email")
    assert {one[1] for one in found.values()} == {"done"}


def test_what_cannot_be_looked_up_is_not_sent_again(sandbox: Start, tmp_path: Path) -> None:
    there = sandbox("marginfront", weather={"cut_after": 1, "methods": ("POST",)})
    write(tmp_path, [create(0, {"name": "Nobody"})])
    send(there.url, tmp_path)
    assert outcomes(tmp_path)[0][1] == "unknown"
    assert len(there.state()) == 1


@pytest.mark.slow
def test_a_record_at_which_the_other_side_fails_is_given_up_and_the_rest_goes_on(tmp_path: Path) -> None:
    from aiohttp import web

    async def answer(request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.json_response({"data": [], "hasMore": False})
        name = (await request.json())["name"]
        wrong = name == "Customer 2"
        return (
            web.json_response({"message": "no"}, status=500) if wrong else web.json_response({"id": name}, status=201)
        )

    write(tmp_path, [create(row, customer(row)) for row in range(12)])
    with served(answer) as server:
        send(server.url, tmp_path)
    found = outcomes(tmp_path)
    action, outcome, reason = found.pop(2)
    assert (action, outcome) == ("create", "refused")
    assert reason is not None
    assert "500" in reason
    assert {one[1] for one in found.values()} == {"done"}


def test_what_one_customer_gives_up_another_may_have(sandbox: Start, tmp_path: Path) -> None:
    """Each customer takes the value that the next one still has, and the last one is removed."""
    there = sandbox("marginfront")
    known = grown(there, 5)
    rows = [update(row, known[row], externalId=known[row + 1]["externalId"]) for row in range(4)]
    write(tmp_path, [*rows, delete(9, known[4])])
    send(there.url, tmp_path)
    assert {one[1] for one in outcomes(tmp_path).values()} == {"done"}
    assert [(one["externalId"], one["name"]) for one in said(there)] == [
        (f"cus_{row + 1:05}", f"Customer {row}") for row in range(4)
    ]


def test_what_two_customers_would_have_to_swap_is_refused(sandbox: Start, tmp_path: Path) -> None:
    there = sandbox("marginfront")
    one, other = grown(there, 2)
    before = there.state()
    rows = [update(0, one, externalId=other["externalId"]), update(1, other, externalId=one["externalId"])]
    write(tmp_path, rows)
    send(there.url, tmp_path)
    assert {found[1] for found in outcomes(tmp_path).values()} == {"refused"}
    assert there.state() == before


def test_a_request_that_did_nothing_goes_out_under_a_new_key(sandbox: Start, tmp_path: Path) -> None:
    """A provider may also store the 429 that it answered for a key."""
    there = sandbox(
        "marginfront", weather={"statuses": {"429": 0.5}, "retry_seconds": 0.01, "retry_after": "milliseconds"}
    )
    keyed = replace(OPERATIONS, create=lambda wanted: replace(OPERATIONS.create(wanted), keyed=True))
    write(tmp_path, [create(row, customer(row)) for row in range(10)])
    there.record()
    send(there.url, tmp_path, operations=keyed)
    keys = [call["idempotency_key"] for call in there.calls()]
    assert len(keys) > 10
    assert len(set(keys)) == len(keys)
    assert all(keys)


# Stopping -------------------------------------------------------------------------------------------------


def test_a_key_that_stops_to_be_good_ends_it_at_once_and_it_can_be_continued(sandbox: Start, tmp_path: Path) -> None:
    there = sandbox("marginfront")
    there.keys(stops_after={"mf_sk_test": 30})
    write(tmp_path, [create(row, customer(row)) for row in range(200)])
    with pytest.raises(Refused, match=r"401 Unauthorized.*MF_API_SECRET_KEY"):
        send(there.url, tmp_path)
    calls = there.counts()["calls"]
    assert calls["201"] == 30
    assert calls["401"] <= OPERATIONS.in_flight
    found = Counter(one[1] for one in outcomes(tmp_path).values())
    assert found["done"] == 30
    assert found["unknown"] <= OPERATIONS.in_flight
    there.keys()
    send(there.url, tmp_path)
    assert len(there.state()) == 200


@pytest.mark.slow
def test_a_provider_that_is_down_is_waited_for(sandbox: Start, tmp_path: Path) -> None:
    there = sandbox("marginfront")
    write(tmp_path, [create(row, customer(row)) for row in range(60)])
    there.record()
    there.weather(statuses={"503": 1})
    threading.Timer(0.8, there.weather).start()
    assert send(there.url, tmp_path).counts == {("create", "done"): 60}
    down = [call for call in there.calls() if call["status"] == 503]
    assert len(down) < 60, "the circuit does not open"


@pytest.mark.slow
def test_a_provider_that_stays_down_ends_it_and_it_can_be_continued(sandbox: Start, tmp_path: Path) -> None:
    there = sandbox("marginfront")
    write(tmp_path, [create(row, customer(row)) for row in range(60)])
    there.weather(statuses={"503": 1})
    with pytest.raises(Unreachable, match=r"503 Service Unavailable.*continue"):
        send(there.url, tmp_path, retry_policy=replace(QUICK, total=0.5))
    there.weather()
    assert send(there.url, tmp_path).counts == {("create", "done"): 60}
    assert len(there.state()) == 60


@pytest.mark.slow
def test_a_provider_that_turns_away_all_writes_ends_it_and_it_can_be_continued(sandbox: Start, tmp_path: Path) -> None:
    there = sandbox("marginfront")
    write(tmp_path, [create(row, customer(row)) for row in range(6)])
    there.weather(statuses={"429": 1}, methods=["POST"])
    with pytest.raises(Unreachable, match=r"429 Too Many Requests.*continue"):
        send(there.url, tmp_path, retry_policy=replace(QUICK, total=0.3))
    assert {outcome for _, outcome, _ in outcomes(tmp_path).values()} == {"left"}
    there.weather()
    assert send(there.url, tmp_path).counts == {("create", "done"): 6}
    assert len(there.state()) == 6


def test_a_host_that_never_answered_is_not_waited_for(tmp_path: Path) -> None:
    write(tmp_path, [create(0, customer(0))])
    with nobody() as url, pytest.raises(Unreachable, match="cannot be reached"):
        send(url, tmp_path, retry_policy=replace(QUICK, total=36_000))
    assert outcomes(tmp_path) == {0: ("create", "unknown", "sent, and not answered")}


def stopped_when(reached: Callable[[int], bool]) -> Callable[[int, int, int], None]:
    """Press Ctrl-C once, when this number of rows is done."""
    pressed: list[bool] = []

    def advanced(done: int, *_: int) -> None:
        if not pressed and reached(done):
            pressed.append(True)
            os.kill(os.getpid(), signal.SIGINT)

    return advanced


@pytest.mark.slow
def test_stopped_by_hand_it_ends_what_is_in_flight_and_goes_on_later(sandbox: Start, tmp_path: Path) -> None:
    there = sandbox("marginfront", weather={"latency": 0.1})
    write(tmp_path, [create(row, customer(row)) for row in range(400)])
    with pytest.raises(KeyboardInterrupt):
        send(there.url, tmp_path, advanced=stopped_when(lambda done: done > 10))
    found = Counter(one[1] for one in outcomes(tmp_path).values())
    assert 0 < found["done"] < 400
    assert found == {"done": len(there.state()), "left": 400 - len(there.state())}
    there.weather()
    there.record()
    assert send(there.url, tmp_path).counts == {("create", "done"): 400}
    assert len(there.state()) == 400
    assert {call["method"] for call in there.calls()} == {"POST"}, "nothing was in doubt, and nothing is looked up"


def test_stopped_by_hand_it_waits_for_no_pause(sandbox: Start, tmp_path: Path) -> None:
    there = sandbox("marginfront", weather={"statuses": {"429": 1}, "retry_seconds": 36_000, "retry_after": "seconds"})
    write(tmp_path, [create(row, customer(row)) for row in range(20)])
    retry_policy = replace(QUICK, longest_wait=36_000, total=72_000)
    with pytest.raises(KeyboardInterrupt):
        send(
            there.url,
            tmp_path,
            retry_policy=retry_policy,
            advanced=stopped_when(lambda _: "429" in there.counts()["calls"]),
        )
    assert there.state() == []


def test_a_plan_cannot_be_changed_under_its_journal(sandbox: Start, tmp_path: Path) -> None:
    there = sandbox("marginfront")
    write(tmp_path, [create(0, customer(0))])
    send(there.url, tmp_path)
    write(tmp_path, [create(0, customer(0, name="Another"))])
    with pytest.raises(ConfigError, match="another plan"):
        send(there.url, tmp_path)


def test_a_journal_that_cannot_be_written_ends_it(sandbox: Start, tmp_path: Path) -> None:
    there = sandbox("marginfront")
    write(tmp_path, [create(0, customer(0))])
    (tmp_path / "journal.reached").symlink_to(tmp_path / "nowhere" / "at all")
    with pytest.raises(ConfigError, match="journal of this run"):
        send(there.url, tmp_path)
    assert there.state() == []


# Pace --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_pace_is_kept(sandbox: Start, tmp_path: Path) -> None:
    long = CREATES >= 5000
    limit = {"rate": {"POST": RATE}, "window": 1, "retry_after": "milliseconds"} if long else {}
    there = sandbox("marginfront", weather={"latency": 0.02, **limit}, process=True)
    write(tmp_path, [create(row, customer(row)) for row in range(CREATES)])
    there.record()
    began = time.monotonic()
    sent = send(there.url, tmp_path, pace=RATE, retry_policy=RetryPolicy())
    seconds = time.monotonic() - began
    assert sent.counts == {("create", "done"): CREATES}
    at = sorted(datetime.fromisoformat(call["at"]).timestamp() - call["seconds"] for call in there.calls())
    # A delay of a tenth of a second is caught up, and calls in flight may arrive late.
    busiest = max(bisect_left(at, first + 1) - place for place, first in enumerate(at))
    assert busiest <= 1.1 * RATE + OPERATIONS.in_flight
    if long:
        assert sent.traffic.throttled < 0.01 * CREATES
        assert CREATES / seconds > 0.95 * RATE


@pytest.mark.slow
def test_without_a_known_limit_it_finds_the_level(sandbox: Start, tmp_path: Path) -> None:
    there = sandbox(
        "marginfront", weather={"rate": {"POST": 200}, "window": 0.5, "latency": 0.01, "retry_after": "milliseconds"}
    )
    write(tmp_path, [create(row, customer(row)) for row in range(1000)])
    sent = send(there.url, tmp_path)
    assert sent.counts == {("create", "done"): 1000}
    assert sent.traffic.throttled < 100
