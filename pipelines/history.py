"""Whether a run can keep the history of its destination (`--history`)."""

from __future__ import annotations

from tranship.connectors import lookup
from tranship.connectors.addresses import redacted
from tranship.connectors.errors import ConfigError
from tranship.pipelines.settings_model import Settings


def check(settings: Settings) -> None:
    """Raise ConfigError if the destination, or the engine, keeps no history."""
    if not settings.history:
        return
    if settings.engine:
        raise ConfigError(
            f"--history: a run on an engine keeps no history. Leave --engine {settings.engine} out, or --history."
        )
    if not lookup.connector_of(settings.destination).abilities.keeps_history:
        raise ConfigError(
            f"--history: {redacted(settings.destination)} is not a table of DuckDB or Postgres, beside which a history "
            "is kept. Name one (duckdb:///warehouse.duckdb?table=customers), or leave --history out."
        )
