"""What tests with damaged inputs try, and a table of it, with which `make fuzz` ends.

Input N is made from seed N, and `TRANSHIP_SEED` is the first one: with another one, all inputs are new.

A test with the mark `fuzz("CSV")` counts the outcomes of its inputs with the fixture `tried`; the counts travel with its
report, so that those of all workers and of failed tests are there.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable

import pytest

FIRST_SEED = int(os.environ.get("TRANSHIP_SEED", "0"))

_PROPERTY = "tried"


def seeds(number: int) -> range:
    """Return the seeds of this many inputs."""
    return range(FIRST_SEED, FIRST_SEED + number)


def record(item: pytest.Item, count: Counter[str]) -> None:
    """Add the count of a test, outcome → inputs, to the report of its end. Workers can send plain types only."""
    mark = item.get_closest_marker("fuzz")
    if not mark or not mark.args:
        pytest.fail('Inputs are counted by kind: mark the test with pytest.mark.fuzz("KIND").', pytrace=False)
    item.user_properties.append((_PROPERTY, [mark.args[0], dict(count)]))


def table(reports: Iterable[object]) -> list[str]:
    """Return the lines of the table: kind, inputs, and how many of them had which outcome; empty without counts."""
    kinds: dict[str, Counter[str]] = {}
    for report in reports:
        if isinstance(report, pytest.TestReport) and report.when == "teardown":
            for name, value in report.user_properties:
                if name == _PROPERTY and isinstance(value, list):
                    kinds.setdefault(value[0], Counter()).update(value[1])
    if not kinds:
        return []
    every: Counter[str] = sum(kinds.values(), Counter())
    rows = [("kind", "inputs", "outcome")]
    for kind, count in [*sorted(kinds.items()), ("all", every)]:
        outcome = "" if kind == "all" else ", ".join(f"{number:,} {name}" for name, number in count.most_common())
        rows.append((kind, f"{count.total():,}", outcome))
    wide = [max(len(row[at]) for row in rows) for at in (0, 1)]
    return [f"{kind:<{wide[0]}}  {inputs:>{wide[1]}}  {outcome}".rstrip() for kind, inputs, outcome in rows]
