"""Pipelines whose last success is too long ago, which no run can report: none may have started."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from msgspec import Struct

from tranship.connectors.errors import ConfigError
from tranship.pipelines.operation import delivery, dispatch
from tranship.pipelines.operation.pipeline_state import PipelineState, StateFile, all_states
from tranship.pipelines.operation_settings import alert_rules

_UNITS: Final = {"d": 86_400, "h": 3_600, "min": 60, "s": 1}
_PATTERN: Final = re.compile(r"max_age\s*=\s*([1-9]\d{0,6})(d|h|min|s)")


class Freshness(Struct, frozen=True):
    """A pipeline, and whether it is late. `last_success` is null if it has never succeeded here."""

    pipeline: str
    late: bool
    last_success: datetime | None


class Checked(Struct, frozen=True):
    """Every pipeline that was checked, and the problems: state that cannot be read, alerts that were not delivered."""

    pipelines: tuple[Freshness, ...]
    problems: tuple[str, ...]


def max_age(text: str) -> timedelta:
    """Return the limit of a check, `max_age=26h`. Raises ConfigError."""
    found = _PATTERN.fullmatch(text.strip())
    if found is None:
        raise ConfigError(f"--check {text}: is not valid. Give the maximum age of the last success: max_age=26h")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def check(
    state_dir: Path,
    limit: timedelta,
    names: Sequence[str] = (),
    alerts: Sequence[str] = (),
    now: datetime | None = None,
) -> Checked:
    """Check the pipelines of these names, or all that are known. Alerts are sent as the last run of a pipeline was
    configured, and to the addresses of `alerts`.

    An unknown pipeline is late. Raises ConfigError if there is nothing to check.
    """
    now = now or datetime.now(UTC)
    try:
        rules = alert_rules(list(alerts))
    except ValueError as error:
        raise ConfigError(f"--alert: {error}.") from error
    known, problems = all_states(state_dir)
    wanted = names or [state.pipeline for state in known]
    if not wanted:
        raise ConfigError(f"{state_dir}: has no pipeline to check. Give runs a name (--pipeline NAME) or an alert.")
    found = []
    for name in dict.fromkeys(wanted):
        fresh, said = _check_one(StateFile(state_dir, name), limit, rules, now)
        found.append(fresh)
        problems += [f"{name}: {text}" for text in said]
    return Checked(tuple(found), tuple(problems))


def _check_one(file: StateFile, limit: timedelta, rules: tuple[str, ...], now: datetime) -> tuple[Freshness, list[str]]:
    with file.changed() as (state, problems):
        age = now - state.last_success if state.last_success else None
        late = age is None or age > limit
        if late and state.state not in ("failed", "stopped"):
            # The failure that was sent is the reason: no second alert.
            state.come_into("late", now)
        elif not late and state.state == "late":
            state.come_into("ok", now)
        state.rules = tuple(dict.fromkeys((*state.rules, *rules)))
        due = dispatch.claim(state, now, None)
    deliveries = delivery.Deliveries()
    dispatch.start(due, deliveries)
    failures = deliveries.wait()
    problems += [f"{name}: {reason}" for name, reason in failures.items() if reason]
    dispatch.settle(file, due, failures, now)
    return Freshness(state.pipeline, late, state.last_success), problems


def forget(state_dir: Path, names: Sequence[str]) -> None:
    """Remove the state of pipelines that no longer run. Raises ConfigError for a name that is not known."""
    for name in names:
        if not StateFile(state_dir, name).forget():
            known = ", ".join(_named(all_states(state_dir)[0])) or "none"
            raise ConfigError(f"{name}: is not a pipeline in {state_dir}. Pipelines: {known}")


def _named(states: Sequence[PipelineState]) -> list[str]:
    return [state.pipeline for state in states]
