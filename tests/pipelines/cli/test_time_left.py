"""The time left of a step, with simulated series of paces."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from tranship.pipelines.cli.time_left import TimeLeft

Pace = Callable[[float], float]


def reports(pace: Pace, noise: float, count: int = 400) -> list[tuple[float, float]]:
    """Return when each share of the work is done: the pace is the time for a share, at this place."""
    chance, time, found = random.Random(7), 0.0, []
    for number in range(count):
        time += pace((number + 0.5) / count) * chance.lognormvariate(0, noise)
        found.append((time, (number + 1) / count))
    return found


def wrong(pace: Pace, noise: float, unknown: Callable[[float], bool] = lambda _: False) -> Iterator[float]:
    """Yield the places, after the first tenth, at which the time left is wrong: by more than 20 %, and by more than
    a hundredth of the whole, which nobody notices at the end.
    """
    steps = reports(pace, noise)
    whole = steps[-1][0]
    left = TimeLeft(0.0)
    for time, share in steps[:-1]:
        left.advanced(time, share)
        seconds = left.seconds(time)
        if share < 0.1 or unknown(share):
            continue
        assert seconds is not None
        error = abs(seconds - (whole - time))
        if error > 0.2 * (whole - time) and error > 0.01 * whole:
            yield share


@pytest.mark.parametrize(
    ("pace", "noise"),
    [
        pytest.param(lambda _: 1.0, 0.0, id="steady"),
        pytest.param(lambda _: 1.0, 0.2, id="steady with noise"),
        pytest.param(lambda share: 1 + share, 0.02, id="slowing to half the speed"),
        pytest.param(lambda share: 1 + share / 4, 0.15, id="slowing a little with noise"),
        pytest.param(lambda share: 2 - share / 2, 0.02, id="quickening"),
        pytest.param(lambda share: 3.0 if int(share * 100) % 2 else 0.2, 0.05, id="bursts"),
    ],
)
def test_it_is_right_within_a_fifth_after_the_first_tenth(pace: Pace, noise: float) -> None:
    assert not list(wrong(pace, noise))


@pytest.mark.parametrize(
    ("before", "after"),
    [pytest.param(1.0, 2.5, id="slower"), pytest.param(2.5, 1.0, id="faster"), pytest.param(1.0, 8.0, id="throttled")],
)
def test_a_phase_of_another_speed_is_known_after_its_first_tenth(before: float, after: float) -> None:
    def pace(share: float) -> float:
        return before if share < 0.4 else after

    assert not list(wrong(pace, 0.05, unknown=lambda share: share < 0.5))


def test_it_counts_down_between_reports() -> None:
    left = TimeLeft(100.0)
    assert left.seconds(105.0) is None
    left.advanced(110.0, 0.1)
    assert left.seconds(110.0) == pytest.approx(90)
    assert left.seconds(115.0) == pytest.approx(85)


def test_it_grows_while_nothing_happens() -> None:
    """A provider takes the first batch at once, and lets the next one wait."""
    left = TimeLeft(0.0)
    left.advanced(0.1, 0.1)
    assert left.seconds(0.15) == pytest.approx(0.85)
    waited = [left.seconds(time) or 0 for time in (2.0, 4.0, 20.0)]
    assert 8 < waited[0] < waited[1] < waited[2]
    left.advanced(100.0, 1.0)
    assert left.seconds(200.0) == 0
