"""Uses of a provider besides reading and writing: check an account, compare schemas, run a sandbox, erase a customer
from a journal.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tranship.connectors import key_shapes
from tranship.connectors.addresses import redacted
from tranship.connectors.errors import ConfigError
from tranship.connectors.lookup import provider_spec
from tranship.connectors.plug_ins import plug_ins
from tranship.connectors.registry import CONNECTORS, PROVIDERS

if TYPE_CHECKING:
    from tranship.connectors.api.spec import HealthFinding, ProviderSpec
    from tranship.connectors.sandbox.session import Sandbox
    from tranship.connectors.sandbox.weather import Weather
    from tranship.schemas.compatibility import Passage


def check(spec: str) -> list[HealthFinding]:
    """Check whether a provider can be read, without changing anything. Raises ConfigError if it is not a provider."""
    from tranship.connectors.api.health import check

    return check(_spec_of(spec), spec)


def passage(here: str, there: str) -> Passage:
    """Return the losses of customers on the way from one provider to another and back, given the providers' names or
    addresses.

    Raises ConfigError if there is no such provider.
    """
    from tranship.schemas.compatibility import passage

    return passage(_spec_of(here).schema, _spec_of(there).schema)


def write_journal_without(journal: Path, copy: Path, run_id: str, rows: Collection[int]) -> int:
    """Write a copy of a run's journal without the entries of these rows, and return their number. Raises
    sqlite3.Error.
    """
    from tranship.connectors.api import journal_erasure

    return journal_erasure.write_without(journal, copy, run_id, rows)


def _spec_of(name_or_address: str) -> ProviderSpec:
    key_shapes.refuse(name_or_address, "name of a provider", is_address=True)
    name = re.split(r":|$", name_or_address, maxsplit=1)[0].lower()
    if name in PROVIDERS:
        return provider_spec(CONNECTORS[name])
    others = {name: connector for name, connector in plug_ins().connectors.items() if connector.provider}
    if name not in others:
        known = ", ".join((*PROVIDERS, *sorted(others)))
        raise ConfigError(f"{redacted(name_or_address)}: not a provider. Use one of: {known}")
    return provider_spec(others[name])


def serve_sandbox(
    provider: str,
    *,
    port: int | None,
    seeding: int | Path | None,
    state: Path | None,
    weather: Mapping[str, Any],
    switches: Mapping[str, str],
    log: bool,
) -> None:
    """Run a provider's sandbox until it is interrupted. Raises ConfigError for invalid arguments."""
    from tranship.connectors.sandbox.server import serve

    key_shapes.refuse(provider, "name of a provider")
    serve(provider, port, seeding, state, _weather(weather), switches, log=log)


def open_sandbox(
    provider: str,
    *,
    port: int,
    seeding: int | Path | None,
    state: Path | None,
    weather: Mapping[str, Any],
    switches: Mapping[str, str],
) -> AbstractContextManager[Sandbox]:
    """Open a provider's sandbox in a thread of this process. Raises ConfigError for invalid arguments."""
    from tranship.connectors.sandbox.session import session

    key_shapes.refuse(provider, "name of a provider")
    return session(
        provider, port=port, seeding=seeding, state=state, weather=_weather(weather), switches=dict(switches)
    )


def _weather(options: Mapping[str, Any]) -> Weather:
    import msgspec

    from tranship.connectors.sandbox.weather import Weather

    try:
        return msgspec.convert(dict(options), Weather)
    except msgspec.ValidationError as error:
        raise ConfigError(f"invalid weather (simulated failures): {error}") from None
