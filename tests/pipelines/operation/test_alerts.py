"""Which alerts are due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tranship.pipelines.operation import alerts
from tranship.pipelines.operation.alerts import Sent, rule_of

NOW = datetime(2026, 11, 2, 3, tzinfo=UTC)
ALL, SOME = rule_of("env:HOOK"), rule_of("failed,late=env:HOOK")


@pytest.mark.parametrize(
    ("rule", "sent", "state", "due"),
    [
        (ALL, Sent(), "ok", None),
        (ALL, Sent(), "failed", "change"),
        (ALL, Sent(), "late", "change"),
        (ALL, Sent("failed", NOW), "failed", None),
        (ALL, Sent("failed", NOW - timedelta(hours=23)), "failed", None),
        (ALL, Sent("failed", NOW - timedelta(hours=24, minutes=-5)), "failed", "reminder"),
        (ALL, Sent("failed", NOW), "degraded", "change"),
        (ALL, Sent("failed", NOW), "ok", "recovered"),
        (ALL, Sent("ok", NOW - timedelta(days=9)), "ok", None),
        (SOME, Sent(), "degraded", None),
        (SOME, Sent(), "failed", "change"),
        (SOME, Sent("failed", NOW), "degraded", "recovered"),
        (SOME, Sent("late", NOW), "failed", "change"),
        # While another process sends an alert, it counts as sent; after its claim has expired, as not sent.
        (ALL, Sent("ok", None, "failed", NOW + timedelta(seconds=1), 1), "failed", None),
        (ALL, Sent("ok", None, "failed", NOW + timedelta(seconds=1), 1), "ok", "recovered"),
        (ALL, Sent("ok", None, "failed", NOW - timedelta(seconds=1), 1), "failed", "change"),
        (ALL, Sent("ok", None, "failed", NOW - timedelta(seconds=1), 1), "ok", None),
    ],
)
def test_what_is_due(rule: alerts.Rule, sent: Sent, state: alerts.State, due: str | None) -> None:
    assert alerts.due(rule, state, sent, NOW) == due


def test_an_alert_is_told_when_it_is_delivered() -> None:
    sent = alerts.claimed(ALL, "failed", Sent(), NOW)

    assert (sent.state, sent.claim, sent.number) == ("ok", "failed", 1)
    assert alerts.settled(sent, 1, NOW) == Sent("failed", NOW, number=1)
    assert alerts.settled(sent, 1, None) == Sent("ok", None, number=1)


def test_a_slow_delivery_does_not_undo_a_later_one() -> None:
    first = alerts.claimed(ALL, "failed", Sent(), NOW)
    second = alerts.settled(alerts.claimed(ALL, "ok", first, NOW), 2, NOW)

    assert alerts.settled(second, 1, NOW) == second
    assert second.state == "ok"
