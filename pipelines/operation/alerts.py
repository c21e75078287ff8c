"""Which alerts are due: one for each change of state, a reminder after a day, and always the recovery."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from tranship.pipelines.operation.run_end import State
from tranship.pipelines.operation_settings import ALERT_STATES

Kind = Literal["change", "reminder", "recovered"]
Moment = Annotated[datetime, Meta(tz=True)]
"""A time, as it is kept in JSON."""

_REMIND_AFTER: Final = timedelta(hours=23, minutes=30)
"""A day, less half an hour: a nightly run ends some minutes earlier or later, and reminds every night."""
_CLAIM_LASTS: Final = timedelta(seconds=30)
"""Longer than any delivery takes: after this time, the process that claimed an alert has died."""


class Rule(Struct, frozen=True):
    """Where alerts are sent, and when. `text` is the rule as the settings have it."""

    text: str
    variable: str
    when: tuple[str, ...]


class Sent(Struct, frozen=True):
    """The state that was last sent to an address, and when: `ok` if nothing was sent, or a recovery. `claim` is the
    state that a process is sending, until `claimed_until`. `number` counts the claims.
    """

    state: State = "ok"
    at: Moment | None = None
    claim: State | None = None
    claimed_until: Moment | None = None
    number: int = 0


def rule_of(text: str) -> Rule:
    """Return the rule that a setting gives."""
    states, _, variable = text.rpartition("env:")
    return Rule(text, variable, tuple(states.rstrip("=").split(",")) if states else ALERT_STATES)


def due(rule: Rule, state: State, sent: Sent, now: datetime) -> Kind | None:
    """Return which alert is due if the pipeline is in this state, null if none is. A state that the rule does not
    select counts as ok.
    """
    state = state if state in rule.when else "ok"
    last = known(sent, now)
    at = now if _is_claimed(sent, now) else sent.at
    if state == last:
        is_old = state != "ok" and at is not None and now - at >= _REMIND_AFTER
        return "reminder" if is_old else None
    return "recovered" if state == "ok" else "change"


def known(sent: Sent, now: datetime) -> State:
    """Return the state that is known at the address, or will be in a moment."""
    return sent.claim if sent.claim is not None and _is_claimed(sent, now) else sent.state


def _is_claimed(sent: Sent, now: datetime) -> bool:
    return sent.claim is not None and sent.claimed_until is not None and now < sent.claimed_until


def claimed(rule: Rule, state: State, sent: Sent, now: datetime) -> Sent:
    """Return it with the claim of this process to send the state."""
    claim: State = state if state in rule.when else "ok"
    return Sent(sent.state, sent.at, claim, now + _CLAIM_LASTS, sent.number + 1)


def settled(sent: Sent, number: int, at: datetime | None) -> Sent:
    """Return it after the claim of this number was delivered `at`, or not (null). A later claim stays."""
    if sent.number != number:
        return sent
    if at is None or sent.claim is None:
        return Sent(sent.state, sent.at, number=number)
    return Sent(sent.claim, at, number=number)
