"""The page about connectors: their abilities, limits, and what is lost on the way."""

from __future__ import annotations

from importlib import import_module

from builder.markdown import anchor, table
from tranship.connectors import provider_services
from tranship.connectors.api.spec import ProviderSpec
from tranship.connectors.contract import Connector
from tranship.connectors.registry import CONNECTORS
from tranship.schemas import compatibility
from tranship.schemas.provider import Loss

_INTRODUCTION = """\
# Connectors

<!-- Written by docs/reference/build.py. -->

`tranship connectors` prints this table, with the connectors of other packages. For how addresses are written, see
[Source files](source-files.md), [Postgres](postgres.md) and [Billing providers](providers.md).
"""

_LOSSES = """\
Written to the provider of the column and read back, a customer of the provider of the row loses these fields. All
others are kept, in a native field or beside it. `tranship connectors --losses metronome marginfront` also shows where,
and what the other provider requires."""


def page() -> str:
    """Return the page."""
    providers = {
        name: import_module(connector.provider).SPEC for name, connector in CONNECTORS.items() if connector.provider
    }
    rows = [_row(connector) for connector in CONNECTORS.values()]
    head = ("connector", "what", "reads", "writes", "modes", "undo", "history", "example")
    parts = [_INTRODUCTION, table(head, rows)]
    parts += ["## Providers", *(_provider(spec) for spec in providers.values())]
    parts += [
        anchor("losses"),
        "## Fields lost between two providers",
        _LOSSES,
        _between(list(providers)),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _row(connector: Connector) -> tuple[str, ...]:
    can = connector.abilities
    words = ["yes" if ability else "no" for ability in (can.reads, can.writes)]
    more = ["yes" if ability else "no" for ability in (can.undoes, can.keeps_history)]
    modes = ", ".join(can.modes) if can.writes else ""
    name = f"[`{connector.name}`](#{connector.name})" if connector.provider else f"`{connector.name}`"
    return (name, connector.summary, *words, modes, *more, f"`{connector.example}`")


def _provider(spec: ProviderSpec) -> str:
    schema = spec.schema
    facts = [
        f"- Key: {', '.join(f'`{name}`' for name in spec.key_variables)}",
        f"- Native fields: {_names(schema.native)}; others are kept in `{schema.overflow.name}`",
    ]
    if spec.per_second:
        rates = ", ".join(f"{method} {60 * rate:.0f}" for method, rate in spec.per_second.items())
        facts.append(f"- Calls per minute: {rates}")
    facts += [f"- Option of the address `{name}`: {text}" for name, text in spec.options.items()]
    if spec.unique:
        facts.append(f"- No two customers may share: {_names(spec.unique)}")
    if spec.immutable:
        facts.append(f"- Cannot be changed after creation: {_names(spec.immutable)}")
    facts.append(f"- Archived customers {'can' if spec.archives else 'cannot'} be read")
    if spec.removal_is_final:
        facts.append(f"- A removal must be confirmed, because {spec.removal_is_final}")
    limits = [
        (f"`{field.name}`", ", ".join(_limits(field.required, field.max_length, field.choices)))
        for field in schema.fields
        if field.settable and _limits(field.required, field.max_length, field.choices)
    ]
    limits += [(f"`{rule.field}`", rule.demand) for rule in schema.rules]
    parts = [anchor(spec.name), f"### {schema.title}", "\n".join(facts)]
    if limits:
        parts += ["A record that breaks one of these rules is refused:", table(("field", "rule"), limits)]
    parts += ["Not returned as it was written:", _losses(compatibility.losses(schema))]
    return "\n\n".join(parts)


def _names(names: object) -> str:
    assert isinstance(names, frozenset | tuple)
    return ", ".join(f"`{name}`" for name in sorted(names))


def _limits(required: bool, longest: int | None, choices: tuple[str, ...]) -> list[str]:
    return [
        *(["required"] if required else []),
        *([f"at most {longest} characters"] if longest else []),
        *([f"one of {', '.join(f'`{choice}`' for choice in choices)}"] if choices else []),
    ]


def _losses(found: tuple[Loss, ...]) -> str:
    return table(("field", "why"), [(f"`{loss.field}`", loss.why.replace("<", "\\<")) for loss in found])


def _between(names: list[str]) -> str:
    rows = []
    for source in names:
        cells = []
        for destination in names:
            lost = (
                []
                if source == destination
                else [loss.field for loss in provider_services.passage(source, destination).lost]
            )
            cells.append("" if source == destination else ", ".join(f"`{field}`" for field in lost) or "none")
        rows.append((f"`{source}`", *cells))
    return table(("", *(f"`{name}`" for name in names)), rows)
