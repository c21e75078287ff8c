"""A sandbox that runs during a `with` block, in a thread of this process."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypedDict

from msgspec import Struct

from tranship.connectors.sandbox.contract import SandboxApi
from tranship.connectors.sandbox.server import running
from tranship.connectors.sandbox.weather import Weather


class WeatherOptions(TypedDict, total=False):
    """The simulated failures of a sandbox (explained in `connectors.sandbox.weather.Weather`)."""

    seed: int
    methods: list[str] | tuple[str, ...]
    latency: float
    jitter: float
    statuses: Mapping[str, float]
    timeout: float
    late: float
    cut_before: float
    cut_after: float
    slow: float
    slow_seconds: float
    half: float
    html: float
    shift: float
    churn: float
    rate: Mapping[str, int]
    window: float
    retry_after: Literal["page", "none", "seconds", "date", "milliseconds"]
    retry_seconds: float


class Sandbox(Struct, frozen=True):
    """A running sandbox: its address as a source or destination, environment variables with a key, and its URL."""

    provider: str
    address: str
    environment: Mapping[str, str]
    url: str


@contextmanager
def session(
    provider: str,
    *,
    port: int,
    seeding: int | Path | None,
    state: Path | None,
    weather: Weather,
    switches: Mapping[str, str],
) -> Iterator[Sandbox]:
    """Run a sandbox, and set its key in the environment unless one is set; both end with the block.

    Raises ConfigError if the port is taken, or state, seed or switches cannot be used.
    """
    with running(provider, port, seeding=seeding, state=state, weather=weather, switches=switches) as (url, server):
        variables, address = _example(server.api, int(url.rpartition(":")[2]))
        missing = {name: value for name, value in variables.items() if not os.environ.get(name)}
        before = {name: os.environ.get(name) for name in missing}
        os.environ.update(missing)
        try:
            yield Sandbox(provider, address, variables, url)
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def _example(api: SandboxApi, port: int) -> tuple[dict[str, str], str]:
    """Return the variables and the address in the sandbox's example command: `KEY=… tranship run ADDRESS …`."""
    words = shlex.split(api.example.format(port=port))
    command = words.index("tranship")
    variables = dict(word.split("=", 1) for word in words[:command])
    return variables, words[command + 2]
