"""All workers together keep the declared pace. The calls are counted by the sandbox."""

from __future__ import annotations

from bisect import bisect_left
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from support import moving
from support.accounts import opened
from support.moving import customer, moved, written
from support.sandboxes import Start
from tranship.connectors.api import destination, executor

pytestmark = pytest.mark.slow

RATE = 50


def ended(call: dict[str, Any]) -> float:
    """Return the time of the answer, in seconds."""
    return datetime.fromisoformat(call["at"]).timestamp()


def arrivals(calls: list[dict[str, Any]]) -> list[float]:
    """Return the times of arrival, in seconds, in order."""
    return sorted(ended(call) - call["seconds"] for call in calls)


def busiest(times: list[float]) -> int:
    """Return the most calls within any second."""
    return max(bisect_left(times, first + 1) - at for at, first in enumerate(times))


@pytest.mark.parametrize(("provider", "in_flight"), [("marginfront", 8), ("metronome", 8)])
def test_no_window_has_more_calls_than_are_allowed(
    provider: str, in_flight: int, sandbox: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = opened(sandbox, provider, process=True, weather={"latency": 0.02})
    for name, value in there.environment.items():
        monkeypatch.setenv(name, value)
    source = written(tmp_path / "ours.csv", map(customer, range(2 * RATE)))
    there.sandbox.record()
    report = moved(tmp_path, source, there, pace=f"{RATE}/s")
    assert report.counts.created == 2 * RATE
    times = arrivals(moving.writes(there))
    # A delay of a tenth of a second is caught up. Calls sent in time may arrive late, but no more than are in flight.
    assert busiest(times) <= 1.1 * RATE + in_flight


def test_what_the_provider_declares_is_kept_without_a_word(
    sandbox: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GrowPanel allows 50 deletes a minute."""
    there = opened(sandbox, "growpanel", process=True)
    for name, value in there.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(destination, "carry_out", partial(executor.carry_out, retry_policy=moving.QUICK))
    moved(tmp_path, written(tmp_path / "ours.csv", map(customer, range(4))), there)
    there.sandbox.record()
    report = moved(tmp_path, written(tmp_path / "ours.csv", [customer(0)]), there, mode="mirror", max_deletes="100%")
    assert report.counts.deleted == 3
    deletes = arrivals(moving.writes(there))
    # Counted from the answer before the first call was sent, since the first one, too, may arrive late.
    before = max(at for call in there.sandbox.calls() if (at := ended(call)) <= deletes[0])
    assert deletes[-1] - before > 2 * 60 / 50 - 0.1
    assert any("at 0.83 calls/s" in note for note in report.notes), report.notes
