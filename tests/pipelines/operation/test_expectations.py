"""What is expected of a run."""

from __future__ import annotations

import random

import pytest

from tranship.pipelines.operation.expectations import Measured, unexpected


def run(rows: int = 100, rejects: int = 0, seconds: float = 60, idle: float = 0, unexpected: bool = False) -> Measured:
    return Measured(rows, rows, rejects, seconds, idle, unexpected)


LEARN = dict.fromkeys(("rows", "rejects", "duration", "days_without_change"), "learned")


@pytest.mark.parametrize(
    ("expect", "measured", "said"),
    [
        ({"rows": "100.."}, run(rows=99), ["99 records read; expected at least 100"]),
        ({"rows": "100.."}, run(rows=100), []),
        ({"rows": "..100"}, run(rows=101), ["101 records read; expected at most 100"]),
        ({"rows": "90..110"}, run(rows=1), ["1 record read; expected 90 to 110"]),
        ({"rows": "0..0"}, run(rows=0), []),
        ({"rejects": "2"}, run(rejects=2), []),
        ({"rejects": "2"}, run(rejects=3), ["3 rejected records; expected at most 2"]),
        ({"rejects": "2%"}, run(rows=150, rejects=3), []),
        ({"rejects": "2%"}, run(rows=100, rejects=3), ["3 rejected records; expected at most 2%"]),
        ({"duration": "30min"}, run(seconds=1800), []),
        ({"duration": "30min"}, run(seconds=1801), ["1,801 s; expected at most 1,800 s"]),
        ({"days_without_change": "3"}, run(idle=3.01), []),
        ({"days_without_change": "3"}, run(idle=3.99), ["4 days without a change; expected at most 3"]),
        ({"rows": "101..", "rejects": "0"}, run(rejects=1), ["100 records read; expected at least 101", "1 rejected record; expected at most 0"]),
    ],
)  # fmt: skip
def test_a_limit(expect: dict[str, str], measured: Measured, said: list[str]) -> None:
    assert list(unexpected(expect, measured, [])) == said


def judge(nights: list[Measured]) -> list[bool]:
    """Return for each night whether it is unexpected, where everything is learned from those before it."""
    before: list[Measured] = []
    for night in nights:
        found = bool(unexpected(LEARN, night, before))
        before.append(Measured(night.rows, night.considered, night.rejects, night.seconds, night.idle_days, found))
    return [night.unexpected for night in before]


def of_rows(*rows: int) -> list[bool]:
    return judge([run(rows=count) for count in rows])


def test_nothing_is_learned_from_four_runs() -> None:
    assert of_rows(100, 100, 100, 100, 1) == [False] * 5
    assert of_rows(100, 100, 100, 100, 100, 1)[-1]


def test_what_varies_as_usual_is_expected() -> None:
    chance = random.Random(7)
    nights = [
        run(chance.randint(9_500, 10_500), chance.randint(0, 12), chance.uniform(200, 340), chance.choice([0, 0, 1]))
        for _ in range(200)
    ]
    assert not any(judge(nights))


def test_small_numbers_vary_by_chance() -> None:
    assert not any(of_rows(8, 5, 9, 4, 7, 3, 10, 6, 2, 8))


def test_halved_doubled_and_empty_are_unexpected() -> None:
    for rows in (50, 200, 0):
        assert of_rows(*[100] * 8, rows, 100)[-2:] == [True, False]


def test_what_happened_once_is_not_learned() -> None:
    assert of_rows(*[100] * 8, 50, *[100] * 6, 50)[-1]


def test_a_disturbance_of_several_nights_counts_once() -> None:
    assert of_rows(*[100] * 8, 50, 50, 50, *[100] * 6, 50)[-1]


def test_weekends_are_learned() -> None:
    weeks = of_rows(*([100] * 5 + [40] * 2) * 4)

    assert any(weeks[:14])
    assert not any(weeks[14:])


def test_a_level_that_stays_is_unexpected_for_ten_nights_and_then_the_rule() -> None:
    nights = of_rows(*[100] * 20, *[250] * 30)

    assert nights[20:30] == [True] * 10
    assert not any(nights[30:])


def test_fifteen_rejects_are_unexpected_after_two() -> None:
    nights = [run(rejects=count) for count in (2, 1, 2, 3, 2, 2, 15)]

    assert judge(nights) == [False] * 6 + [True]
    assert unexpected({"rejects": "learned"}, nights[-1], nights[:-1]) == (
        "15 rejected records; expected at most 6, learned from 6 runs",
    )


def test_a_duration_may_double() -> None:
    usual = [run(seconds=seconds) for seconds in (300, 310, 290, 305, 300, 300)]

    assert unexpected({"duration": "learned"}, run(seconds=590), usual) == ()
    assert unexpected({"duration": "learned"}, run(seconds=700), usual) == (
        "700 s; expected at most 610 s, learned from 6 runs",
    )


def test_only_the_last_twenty_runs_are_learned_from() -> None:
    (said,) = unexpected({"rows": "learned"}, run(rows=10), [run(rows=10)] * 30 + [run(rows=100)] * 20)

    assert said.endswith("learned from 20 runs")
