"""The time that the rest of a write takes, and requests over time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tranship.connectors.contract import Effort
from tranship.pipelines.pages import traffic
from tranship.pipelines.pages.traffic import Process, Traffic

BEGAN = "2026-01-31T22:00:00+00:00"


def measured(rows: int, seconds: float) -> Traffic:
    return Traffic([Process(BEGAN, [(seconds, rows, rows * 2, 0, 0, 0.0)])])


def test_more_that_was_written_narrows_the_interval() -> None:
    effort = Effort(10_000, 0, 100.0)
    intervals = [
        traffic.remaining(effort, 10_000, sent) for sent in (Traffic(), measured(10, 0.2), measured(1_000, 20.0))
    ]
    widths = [interval.most / interval.least for interval in intervals if interval is not None]
    assert len(widths) == 3
    assert widths == sorted(widths, reverse=True)
    # 9,000 are left, at 50 a second as measured; the provider permits 100.
    assert intervals[2] is not None
    assert intervals[2].least < 180 < intervals[2].most
    assert intervals[2].least >= 90


@pytest.mark.parametrize(
    ("effort", "rows", "sent"),
    [
        (Effort(10, 0, None), 10, Traffic()),  # nothing is known
        (Effort(10, 0, 5.0), 10, measured(10, 2.0)),  # nothing is left
        (Effort(0, 0, 5.0), 0, Traffic()),
    ],
)
def test_what_cannot_be_told_is_not(effort: Effort, rows: int, sent: Traffic) -> None:
    assert traffic.remaining(effort, rows, sent) is None


def test_columns_add_up_to_the_counter() -> None:
    points = [(float(second), second * 3, second * 4, second % 3, 0, 0.0) for second in range(1, 201)]
    sent = Traffic([Process(BEGAN, points)])
    columns = sent.per_column(0, 1)
    assert len(columns) == 48
    assert sum(columns) == pytest.approx(600)
    assert max(columns) == pytest.approx(min(columns))


def test_a_damaged_file_is_no_traffic(tmp_path: Path) -> None:
    for text in ("", "[]", '{"run_id": "x", "processes": [{"began": 1}]}', json.dumps({"run_id": "other"})):
        (tmp_path / "traffic.json").write_text(text)
        assert traffic.read(tmp_path, "x") == Traffic()
    assert traffic.read(tmp_path / "missing", "x") == Traffic()


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.42, "0.4 s"), (11.2, "11 s"), (300, "5 min"), (9000, "2.5 h"), (119.4, "119 s")]
)
def test_durations_are_for_people(seconds: float, shown: str) -> None:
    assert traffic.duration(seconds) == shown
