"""The settings for running unattended: the name of the pipeline, and who is notified of the end of a run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, field_validator

from tranship.pipelines.retention.rules import fault as retention_fault
from tranship.pipelines.setting_values import Texts, option_values, own_path, path_text

ALERT_STATES: Final = ("failed", "stopped", "degraded", "late")
"""States of a pipeline that are alerts; after each, the recovery is always sent."""
RECOVERED: Final = "recovered"
LEARNED: Final = "learned"

LINEAGE_PATH: Final = "/api/v1/lineage"
"""The path of a URL for lineage that has none, as in the clients of OpenLineage."""
HIDDEN: Final = "***"
"""In place of a part of an address that is not kept."""

_VARIABLE: Final = r"env:[A-Za-z_][A-Za-z0-9_]*"
_TO_HIDE: Final = (
    "is a secret, and would be visible to other users. Put it in an environment variable and give its name,"
)
_NAME: Final = r"[\w.-][\w ./:@-]{0,99}"
_RANGE: Final = r"(?=.*\d)(\d{1,15})?\.\.(\d{1,15})?"
_EXPECTED: Final = {
    "rows": (_RANGE, 'a range such as 1000.. or 900..1100, or "learned"'),
    "rejects": (r"\d{1,15}|\d{1,3}(\.\d+)?%", 'at most N or N%, or "learned"'),
    "duration": (r"\d{1,12}s|\d{1,10}min|\d{1,9}h", 'at most a time such as 30min, or "learned"'),
    "days_without_change": (r"\d{1,5}", 'at most a number of days, or "learned"'),
}
"""Quantity → the form of its limit, and the description in messages. No pattern is compiled before it is used."""


def alert_rules(value: Any) -> Any:
    """Return alerts as texts, `failed,late=env:NAME` or `env:NAME`, whether they are texts or tables of TOML. Raises
    ValueError, which never repeats an address.
    """
    given = [value] if isinstance(value, str | Mapping) else value
    if not isinstance(given, list | tuple):
        raise ValueError('is not an alert. Give env:NAME, or a table: [[alert]] to = "env:NAME"')
    return tuple(dict.fromkeys(_alert(rule) for rule in given))


def _alert(rule: Any) -> str:
    to: Any
    if isinstance(rule, str):
        when, _, to = rule.rpartition("=") if re.fullmatch(_VARIABLE, rule.rpartition("=")[2]) else ("", "", rule)
        states = [word.strip() for word in when.split(",") if word.strip()]
    elif isinstance(rule, Mapping):
        if unknown := [name for name in rule if name not in ("when", "to")]:
            raise ValueError(f"an alert has no {unknown[0]}. It has when (a list of states) and to")
        to, states = rule.get("to"), rule.get("when", [])
        states = [states] if isinstance(states, str) else states
    else:
        raise ValueError("an alert is a text or a table with when and to")
    if not isinstance(to, str) or not re.fullmatch(_VARIABLE, to):
        raise ValueError(f"the address of an alert {_TO_HIDE} env:SLACK_URL")
    if not isinstance(states, list | tuple) or not all(isinstance(state, str) for state in states):
        raise ValueError(f"when of an alert is a list of states: {', '.join(ALERT_STATES)}")
    if unknown := [state for state in states if state not in (*ALERT_STATES, RECOVERED)]:
        raise ValueError(f"{unknown[0]!r} is not a state. The states are {', '.join(ALERT_STATES)}")
    # The recovery is always sent.
    chosen = [state for state in ALERT_STATES if state in states]
    if states and not chosen:
        raise ValueError(f"an alert needs a state besides {RECOVERED}: {', '.join(ALERT_STATES)}")
    return f"{','.join(chosen)}={to}" if chosen and len(chosen) < len(ALERT_STATES) else to


def _expected(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    limits = option_values(value)
    for name, limit in limits.items():
        if name not in _EXPECTED:
            raise ValueError(f"{name!r} has no limit. Limits are {', '.join(_EXPECTED)}")
        form, described = _EXPECTED[name]
        if not isinstance(limit, str) or not (limit == LEARNED or re.fullmatch(form, limit)):
            raise ValueError(f"{name} is {described}")
        low, _, high = limit.partition("..")
        if low and high and int(low) > int(high):
            raise ValueError(f"{name} {limit} is empty: the first number is the smallest")
    return limits


def _retention(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    given = option_values(value)
    if reason := next((found for name, text in given.items() if (found := retention_fault(name, text))), None):
        raise ValueError(reason)
    if given and not {"keep", "keep_last", "values"} & given.keys():
        raise ValueError("retention needs keep, keep_last or values; keep_failed alone keeps what nothing removes")
    return given


def _name(value: Any) -> Any:
    """Return the name of a pipeline. pydantic would need 40 ms to compile its pattern."""
    if isinstance(value, str) and not re.fullmatch(_NAME, value):
        raise ValueError(f"{value!r} is not a name. Use up to 100 letters, digits, blanks and . - _ / : @")
    return value


def _recipients(value: tuple[str, ...]) -> tuple[str, ...]:
    """Return recipients. Whether they are keys is found out by the library, at the start of a run."""
    if not all(re.fullmatch(r"age1[0-9a-z]+|ssh-(ed25519|rsa) [A-Za-z0-9+/=]+( [^\r\n]*)?", text) for text in value):
        raise ValueError("is not a public key. Give the line that begins with age1, as age-keygen prints it")
    return value


def _variable(value: Any) -> Any:
    if value is None or (isinstance(value, str) and re.fullmatch(_VARIABLE, value)):
        return value
    raise ValueError(f"the address of a health check {_TO_HIDE} env:PING_URL")


_ALERT_SCHEMA: Final = {
    "type": "array",
    "items": {
        "anyOf": [
            {"type": "string"},
            {
                "type": "object",
                "properties": {
                    "when": {"type": "array", "items": {"enum": [*ALERT_STATES, RECOVERED]}},
                    "to": {"type": "string", "pattern": "^env:"},
                },
                "required": ["to"],
                "additionalProperties": False,
            },
        ]
    },
}


class Operating(BaseModel):
    """The settings for running unattended. None of them affects what a run reads or writes."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    pipeline: Annotated[str | None, BeforeValidator(_name)] = Field(
        None,
        description="Name of the pipeline in alerts, metrics, lineage and tranship runs. Default: the destination.",
    )
    alert: Annotated[tuple[str, ...], BeforeValidator(alert_rules), WithJsonSchema(_ALERT_SCHEMA)] = Field(
        (),
        description="Send an alert when the pipeline fails, stops, degrades, is late or recovers. env:NAME is the "
        "environment variable with the address; failed,late=env:NAME selects states. Repeatable.",
    )
    expect: Annotated[dict[str, str], BeforeValidator(_expected)] = Field(
        default_factory=dict,
        description="Limits of an ordinary run, for alerts: rows=900..1100, rejects=2%, duration=30min, "
        "days_without_change=3; learned instead of a limit takes it from the last 20 runs. Repeatable.",
    )
    on_failure: str | None = Field(
        None,
        min_length=1,
        description="Shell command to run if the exit code is neither 0 nor 6; TRANSHIP_REPORT is its report.",
    )
    ping: Annotated[str | None, BeforeValidator(_variable)] = Field(
        None,
        description="Report start and exit code to a health-check service. env:NAME is the environment variable with "
        "the address.",
    )

    metrics: Annotated[Path | None, BeforeValidator(own_path)] = Field(
        None, description="Write the metrics of the run to this file for Prometheus, FILE.prom."
    )
    traces: bool = Field(
        False, description="Send the steps of the run to OpenTelemetry, as a trace; the OTEL_ variables say where."
    )

    retention: Annotated[dict[str, str], BeforeValidator(_retention)] = Field(
        default_factory=dict,
        description="After each run, remove earlier ones of this pipeline: keep=30d, keep_last=10, keep_failed=true; "
        "values=7d removes only their records. Repeatable.",
    )

    encrypt_to: Annotated[Texts, AfterValidator(_recipients)] = Field(
        (),
        description="When a run ends, encrypt its files with records to this public key of age (age1…) or SSH. "
        "Repeatable.",
    )

    lineage: Annotated[str | None, BeforeValidator(path_text)] = Field(
        None,
        min_length=1,
        description="Append OpenLineage events to this file, or post them to this URL; env:NAME is the environment "
        "variable with a URL that is secret.",
    )

    @property
    def is_watched(self) -> bool:
        """Whether one of them is set by which the end of a run is reported or recorded."""
        return any(getattr(self, name) for name in OPERATION if name not in ("retention", "encrypt_to"))

    @field_validator("metrics")
    @classmethod
    def _has_the_suffix_of_metrics(cls, value: Path | None) -> Path | None:
        if value is not None and value.suffix != ".prom":
            raise ValueError(f"{value}: the name must end with .prom, or Prometheus does not read the file")
        return value

    @property
    def kept_lineage(self) -> str | None:
        """Where events of lineage are sent, as the files of a run keep it: the path of a URL may be a token."""
        if self.lineage is None or "://" not in self.lineage:
            return self.lineage
        url = urlsplit(self.lineage)
        return self.lineage if url.path in ("", "/", LINEAGE_PATH) else f"{url.scheme}://{url.netloc}/{HIDDEN}"

    @field_validator("lineage")
    @classmethod
    def _has_no_secret(cls, value: str | None) -> str | None:
        if value is not None and value.startswith("env:") and not re.fullmatch(_VARIABLE, value):
            raise ValueError("is not the name of an environment variable. Write env:NAME")
        if value is not None and "://" in value:
            url = urlsplit(value)
            if url.scheme not in ("http", "https") or not url.hostname:
                raise ValueError("is neither a file nor an http or https URL")
            if url.query or url.fragment or "@" in url.netloc:
                raise ValueError(
                    "may have a host and a path only. Put a key in OPENLINEAGE_API_KEY, or the whole address in an "
                    "environment variable and give its name, env:NAME"
                )
        return value


OPERATION: Final = tuple(Operating.model_fields)
"""Names of these settings. They are no part of what identifies the work of a run."""
