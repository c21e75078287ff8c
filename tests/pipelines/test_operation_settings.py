"""The settings for running unattended: their forms, and what is said about others."""

from __future__ import annotations

from typing import Any

import pytest

from tranship.connectors.errors import ConfigError
from tranship.pipelines.operation_settings import OPERATION
from tranship.pipelines.settings import load

ENDS = {"source": "crm.csv", "destination": "duckdb:///w.duckdb"}
HIDDEN = "https://hooks.example/services/T0/hush"


@pytest.mark.parametrize(
    ("given", "rules"),
    [
        ("env:A", ("env:A",)),
        (["env:A", "env:B", "env:A"], ("env:A", "env:B")),
        ("late,failed=env:A", ("failed,late=env:A",)),
        (" failed , recovered =env:A", ("failed=env:A",)),
        ("failed,stopped,degraded,late=env:A", ("env:A",)),
        ([{"to": "env:A"}], ("env:A",)),
        ([{"when": ["late", "recovered"], "to": "env:A"}, "env:B"], ("late=env:A", "env:B")),
        ({"when": "failed", "to": "env:A"}, ("failed=env:A",)),
    ],
)
def test_an_alert_is_a_text_or_a_table(given: Any, rules: tuple[str, ...]) -> None:
    assert load({**ENDS, "alert": given}, {}).alert == rules


def test_the_environment_has_one_alert_per_line() -> None:
    made = load(ENDS, {"TRANSHIP_ALERT": "env:A\nfailed,late=env:B\n", "TRANSHIP_EXPECT": "rows=10..,rejects=2%"})

    assert made.alert == ("env:A", "failed,late=env:B")
    assert made.expect == {"rows": "10..", "rejects": "2%"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"alert": HIDDEN}, "--alert: the address of an alert is a secret"),
        ({"alert": f"failed={HIDDEN}"}, "is a secret"),
        ({"alert": [{"to": HIDDEN}]}, "give its name, env:SLACK_URL"),
        ({"alert": [{"when": ["failed"]}]}, "is a secret"),
        ({"alert": [{"to": "env:A", "on": "failed"}]}, "an alert has no on. It has when"),
        ({"alert": "broken=env:A"}, "'broken' is not a state. The states are failed, stopped, degraded, late"),
        ({"alert": "recovered=env:A"}, "an alert needs a state besides recovered"),
        ({"alert": [{"when": 5, "to": "env:A"}]}, "when of an alert is a list of states"),
        ({"alert": 5}, "is not an alert"),
        ({"alert": [5]}, "an alert is a text or a table"),
        ({"ping": HIDDEN}, "--ping: the address of a health check is a secret"),
        ({"expect": {"row": "5"}}, "'row' has no limit. Limits are rows, rejects, duration, days_without_change"),
        ({"expect": {"rows": "5"}}, "rows is a range such as 1000.."),
        ({"expect": {"rows": ".."}}, "rows is a range"),
        ({"expect": {"rows": "9..1"}}, "rows 9..1 is empty"),
        ({"expect": {"rejects": "-1"}}, "rejects is at most N or N%"),
        ({"expect": {"duration": "5"}}, "duration is at most a time such as 30min"),
        ({"expect": {"days_without_change": "2.5"}}, "days_without_change is at most a number of days"),
        ({"expect": "rows"}, "is not a table"),
        ({"metrics": "crm.txt"}, "the name must end with .prom"),
        ({"lineage": "ftp://host/x"}, "is neither a file nor an http or https URL"),
        ({"lineage": "https://host/x?page=hush"}, "Put a key in OPENLINEAGE_API_KEY"),
        ({"lineage": "env:hush-hush"}, "is not the name of an environment variable"),
        ({"lineage": "https://ann:hush@host/x"}, "contains an address with a password"),
        ({"pipeline": "a,b"}, "--pipeline: 'a,b' is not a name"),
        ({"on_failure": ""}, "--on-failure"),
    ],
)
def test_what_cannot_be_used_is_said_without_its_secret(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load({**ENDS, **given}, {})

    assert said in str(refused.value)
    assert "hush" not in str(refused.value)


def test_a_pipeline_without_a_name_is_called_by_its_destination() -> None:
    assert load(ENDS, {}).pipeline_name == "duckdb:///w.duckdb"
    made = load({"source": "crm.csv", "destination": "postgresql://ann:hush@db/sales"}, {})
    assert made.pipeline_name == "postgresql://ann:***@db/sales"
    assert load({**ENDS, "pipeline": "crm: nightly"}, {}).pipeline_name == "crm: nightly"


def test_a_run_is_watched_if_one_of_them_is_set() -> None:
    assert not load(ENDS, {}).is_watched
    values = {
        **{"pipeline": "crm", "alert": "env:A", "expect": {"rows": "5.."}, "on_failure": "true", "ping": "env:A"},
        **{"metrics": "a.prom", "traces": True, "lineage": "a.jsonl"},
    }
    assert set(values) == set(OPERATION) - {"retention", "encrypt_to"}
    assert not load({**ENDS, "retention": {"keep": "30d"}}, {}).is_watched
    for name, value in values.items():
        assert load({**ENDS, name: value}, {}).is_watched
