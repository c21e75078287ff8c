"""The available sandboxes: a module here for each provider, found by its name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from tranship.connectors.errors import ConfigError
from tranship.connectors.sandbox.contract import SandboxApi
from tranship.connectors.sandbox.store import Store
from tranship.schemas import providers as provider_schemas


class ProviderModule(Protocol):
    """The module of a provider in this package."""

    PORT: int
    """The port if none is named."""
    SWITCHES: Mapping[str, tuple[str, ...]]
    """Name → choices, the default first."""

    def api(self, store: Store, switches: Mapping[str, str]) -> SandboxApi:
        """Return the API, with its state in the store."""


def choose_switches(
    provider: str, switches: Mapping[str, tuple[str, ...]], wanted: Mapping[str, str]
) -> dict[str, str]:
    """Return name → choice of all switches, the defaults included. Raises ConfigError for an unknown name or choice."""
    for name, choice in wanted.items():
        if choice not in switches.get(name, ()):
            known = "; ".join(f"{switch}: {' or '.join(choices)}" for switch, choices in switches.items()) or "none"
            raise ConfigError(f"{name}={choice}: the sandbox of {provider} has no such switch. Use one of: {known}")
    return {name: wanted.get(name, choices[0]) for name, choices in switches.items()}


def sandboxes() -> list[str]:
    """Return the providers that have a sandbox: the modules here that share a name with a provider schema."""
    schemas = {module.name for module in pkgutil.iter_modules(provider_schemas.__path__)}
    return sorted(
        module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]) if module.name in schemas
    )


def load_module(provider: str) -> ProviderModule:
    """Import the module of a provider's sandbox. Raises ConfigError if there is none."""
    if provider not in sandboxes():
        raise ConfigError(f"{provider}: there is no such sandbox. Use one of: {', '.join(sandboxes())}")
    module: ProviderModule = importlib.import_module(f"tranship.connectors.sandbox.{provider}")
    return module
