"""Technical names of columns, as tables and API objects have them: each feeds the field that a reader would choose."""

from __future__ import annotations

from pathlib import Path

import pytest

from tranship.connectors.contract import Layout
from tranship.connectors.errors import ConfigError
from tranship.pipelines.mapping import propose
from tranship.pipelines.settings_model import Reading

PERSON = frozenset({"name", "billing_contact_name"})
STRUCTURES = [
    block.split("\n", 1)
    for block in Path(__file__).with_name("technical_names.txt").read_text(encoding="utf-8").split("\n== ")[1:]
]


def differences(columns: list[str]) -> list[str]:
    """Return the columns that feed another field than the one written behind them."""
    named = [column.partition("=") for column in columns]
    map_of = propose(
        [Layout("in.csv", tuple(name for name, *_ in named))], Reading.model_validate({"source": "in.csv"})
    )
    found = []
    for name, _, expected in named:
        fields = map_of.by_column.get(name, [])
        fields = {fields} if isinstance(fields, str) else {*fields}
        wanted = PERSON if expected.endswith("person") else {expected.removeprefix("?")}
        if not (fields & wanted if expected and (fields or not expected.startswith("?")) else not fields):
            found.append(f"{name} feeds {', '.join(sorted(fields)) or 'no field'} instead of {expected or 'none'}")
    return found


@pytest.mark.parametrize(("head", "columns"), STRUCTURES, ids=[head.split(" | ")[0] for head, _ in STRUCTURES])
def test_a_technical_name_feeds_the_field_that_it_means(head: str, columns: str) -> None:
    listed = columns.strip("\n").split("\t")
    if " (asks) | " in head:
        with pytest.raises(ConfigError, match="--map "):
            differences(listed)
    else:
        assert differences(listed) == []
