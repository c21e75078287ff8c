"""traffic.json: the requests of a run over time."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tranship.connectors import durable
from tranship.connectors.api import traffic_log
from tranship.connectors.api.http_client import Traffic
from tranship.connectors.api.traffic_log import TrafficLog


class Clock:
    """A clock that goes on when it is told to."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(traffic_log, "time", clock)
    return clock


def test_a_long_write_has_few_points_that_cover_all_of_it(tmp_path: Path, clock: Clock) -> None:
    file, traffic = tmp_path / "traffic.json", Traffic()
    log = TrafficLog(file, "run", traffic)
    for tenth in range(100_000):
        clock.now = tenth / 10
        traffic.requests = tenth
        log.sample(tenth // 2)
    log.close(50_000)
    [process] = durable.read_json(file)["processes"]
    times = [point[0] for point in process["points"]]
    assert 100 < len(times) <= 250
    assert times == sorted(times)
    assert (times[0], times[-1]) == (0, 9_999.9)
    assert max(after - before for before, after in pairwise(times)) < 100
    assert process["points"][-1][1:3] == [50_000, 99_999]


def test_each_process_adds_its_own(tmp_path: Path, clock: Clock) -> None:
    file = tmp_path / "traffic.json"
    for requests in (3, 5):
        TrafficLog(file, "run", Traffic(requests=requests, throttled=1, waited=0.5)).close(requests)
    assert [process["points"][-1][2] for process in durable.read_json(file)["processes"]] == [3, 5]
    file.write_text("damaged")
    TrafficLog(file, "run", Traffic()).close(0)
    TrafficLog(file, "another", Traffic()).close(0)
    assert len(durable.read_json(file)["processes"]) == 1


def test_a_write_does_not_fail_for_it(tmp_path: Path, clock: Clock) -> None:
    TrafficLog(tmp_path / "gone" / "traffic.json", "run", Traffic()).close(1)
