"""The results of steps add up to that of the run."""

from __future__ import annotations

from pathlib import Path

from tranship.pipelines.step_result import StepResult


def test_counts_add_up() -> None:
    first = StepResult(read=5, staged=3, rejected=2, by_code={"a": 2}, merges={"email": 0})
    second = StepResult(read=1, skipped=1, rejected=1, by_code={"a": 1, "b": 1}, merges={"email": 4})
    assert first + second == StepResult(
        read=6, skipped=1, staged=3, rejected=3, by_code={"a": 3, "b": 1}, merges={"email": 4}
    )


def test_the_first_place_of_a_code_stays() -> None:
    total = StepResult(first={"a": ("x.csv", 2)}) + StepResult(first={"b": ("y.csv", 1), "a": ("y.csv", 9)})
    assert list(total.first.items()) == [("a", ("x.csv", 2)), ("b", ("y.csv", 1))]


def test_a_later_step_retracts_warnings() -> None:
    total = StepResult(warnings={"a": 2, "b": 1}) + StepResult(warnings={"c": 1}, retracted={"a": 1, "b": 1})
    assert total.warnings == {"a": 1, "c": 1}
    assert not total.retracted


def test_a_retraction_waits_for_the_warnings_of_earlier_steps() -> None:
    later = StepResult(retracted={"a": 2}) + StepResult(warnings={"c": 1}, retracted={"a": 1})
    assert (StepResult(warnings={"a": 4}) + later).warnings == {"a": 1, "c": 1}


def test_a_note_is_kept_once_and_a_later_file_wins() -> None:
    total = StepResult(notes=("a", "b"), files={"stale": Path("1")}) + StepResult(
        notes=("b", "c"), files={"stale": Path("2")}
    )
    assert total.notes == ("a", "b", "c")
    assert total.files == {"stale": Path("2")}


def test_adding_leaves_both_as_they_are() -> None:
    first, second = StepResult(by_code={"a": 1}), StepResult(by_code={"a": 2})
    assert (first + second).by_code == {"a": 3}
    assert (first.by_code, second.by_code) == ({"a": 1}, {"a": 2})
