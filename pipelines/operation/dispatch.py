"""Alerts from the decision to the delivery, so that each is sent once, even if several runs end at the same time.

A process decides what is due and claims it under the lock of the pipeline's state, sends it, and records what was
delivered. If it dies in between, its claim expires, and the next run sends the alert.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from tranship.pipelines.operation import alerts, delivery, messages
from tranship.pipelines.operation.alerts import Rule, Sent
from tranship.pipelines.operation.pipeline_state import PipelineState, StateFile
from tranship.pipelines.operation.run_end import RunEnd


class Due(Struct, frozen=True):
    """An alert that this process sends. `number` is that of its claim."""

    rule: Rule
    alert: dict[str, Any]
    number: int

    @property
    def name(self) -> str:
        """What a message about a failed delivery begins with."""
        return f"alert to {self.rule.text} was not delivered"


def claim(state: PipelineState, now: datetime, end: RunEnd | None) -> list[Due]:
    """Return the alerts that are due, and claim them in the state. An address whose rule was removed after an alert
    gets the recovery, and nothing else.
    """
    found = []
    open_ones = [text for text, sent in state.sent.items() if text not in state.rules and sent.state != "ok"]
    state.sent = {text: sent for text, sent in state.sent.items() if text in (*state.rules, *open_ones)}
    for rule in map(alerts.rule_of, (*state.rules, *open_ones)):
        sent = state.sent.get(rule.text, Sent())
        kind = alerts.due(rule, state.state, sent, now)
        if kind is None or (rule.text in open_ones and kind != "recovered"):
            continue
        before = alerts.known(sent, now)
        sent = state.sent[rule.text] = alerts.claimed(rule, state.state, sent, now)
        found.append(Due(rule, messages.message(kind, before, state, now, end), sent.number))
    return found


def start(due: Sequence[Due], deliveries: delivery.Deliveries) -> None:
    """Begin to send these alerts."""
    for one in due:
        deliveries.start(one.name, lambda one=one: delivery.send(one.rule.variable, one.alert))  # type: ignore[misc]


def settle(file: StateFile, due: Sequence[Due], failures: dict[str, str | None], now: datetime) -> None:
    """Record what was delivered. If that cannot be saved, the claims expire."""
    if not due:
        return
    with file.changed() as (state, _):
        for one in due:
            sent = state.sent.get(one.rule.text, Sent())
            at = None if failures.get(one.name) else now
            state.sent[one.rule.text] = alerts.settled(sent, one.number, at)
