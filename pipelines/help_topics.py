"""Topics of `tranship help`: where to find the answer to a common question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from tranship.connectors import key_shapes, suggestions
from tranship.connectors.errors import ConfigError


class Topic(Struct, frozen=True):
    """What to do, commands that do it, and the page of the documentation."""

    text: str
    commands: tuple[str, ...]
    page: str


TOPICS: Final = {
    "exports": Topic(
        "Load the export of Shopify, Stripe, HubSpot or another system unchanged: it is recognised by its headers.",
        (
            "tranship inspect customers_export.csv",
            'tranship run customers_export.csv "duckdb:///shop.duckdb?table=customers"',
        ),
        "docs/how-to/known-exports.md",
    ),
    "schedule": Topic(
        "Run every night with cron, systemd or an orchestrator. The exit code is reliable, and a limit stops a wrong "
        "file before the first write.",
        ('30 2 * * *  cd /srv/crm && tranship run "inbox/*.csv" crm.parquet --max-rejects 20 --quiet',),
        "docs/how-to/schedule.md",
    ),
    "migrate": Topic(
        "Move from one billing provider to another: save a plan, review it, apply ten customers, then the rest, and "
        "compare both sides.",
        (
            'tranship plan "growpanel://?source=ds_main" metronome:// --out move',
            "tranship apply move --limit 10",
            "tranship apply move",
            "tranship verify move",
        ),
        "docs/how-to/migrate.md",
    ),
    "python": Topic(
        "The commands are functions of the same names; they take the settings by name.",
        (
            "import tranship",
            'report = tranship.run("customers.csv", "duckdb:///warehouse.duckdb?table=customers", max_rejects=0.02)',
            "print(report.counts)",
        ),
        "docs/how-to/python.md",
    ),
    "codes": Topic(
        "Each code of a report, exit code and error has an explanation, and advice on what to do.",
        ("tranship explain identity.ambiguous_email", "tranship explain 5", "tranship explain"),
        "docs/reference/codes.md",
    ),
    "completion": Topic(
        "Complete commands, options and values with the tab key, in bash, zsh and fish.",
        (
            'eval "$(_TRANSHIP_COMPLETE=bash_source tranship)"',
            'eval "$(_TRANSHIP_COMPLETE=zsh_source tranship)"',
            "_TRANSHIP_COMPLETE=fish_source tranship | source",
        ),
        "docs/how-to/completion.md",
    ),
}
"""Word → answer: what people look for that is not the name of a command."""


def topic_of(word: str) -> Topic | None:
    """Return the topic of this name, or that of exports for a system whose exports are recognised, with its pages."""
    from tranship.schemas import export_profiles

    if topic := TOPICS.get(word.lower()):
        return topic
    exports = [name for name in export_profiles.index() if word.lower() in (name, name.partition("-")[0])]
    if not exports:
        return None
    pages = ", ".join(f"docs/how-to/exports/{name}.md" for name in exports)
    return Topic(TOPICS["exports"].text, TOPICS["exports"].commands, pages)


def unknown(word: str, commands: Sequence[str]) -> ConfigError:
    """Return the error about a word that is neither a command nor a topic, with what to type."""
    key_shapes.refuse(word, "topic of the help")
    near = suggestions.similar(word, [*commands, *TOPICS])
    if near:
        return ConfigError(f"{word}: is not a command or topic. {suggestions.did_you_mean(near)}")
    if "." in word or word.isdecimal():
        return ConfigError(f"{word}: is not a command. If it is a code, type: tranship explain {word}")
    return ConfigError(
        f"{word}: is not a command or topic. The topics are {', '.join(TOPICS)}; tranship --help lists the commands."
    )
