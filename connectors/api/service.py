"""A provider's API as a service: host, key, declared limits, and the beginning of each message about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct, field

from tranship.connectors import known_secrets
from tranship.connectors.hosts import is_loopback

ANY: Final = "*"
"""The key of a limit on all methods together."""


class Service(Struct, frozen=True):
    """A provider's API and the key to it."""

    title: str
    """The provider's name in messages."""
    base_url: str
    """The prefix of every path, without a trailing slash."""
    key_variable: str
    """The environment variable that the key was read from."""
    key: str
    headers: Mapping[str, str]
    """Sent with every request; contains the key."""
    advice: Mapping[int, str] = field(default_factory=dict)
    """Status → advice specific to this provider."""
    error_message: Callable[[bytes], str | None] = lambda _: None
    """Body of an error → the provider's own message."""
    per_second: Mapping[str, float] = field(default_factory=dict)
    """Method (or `ANY`) → calls per second, where the provider declares a limit or the user sets one."""

    def __post_init__(self) -> None:
        """Make the key known, so that it is removed from every text of the provider."""
        known_secrets.learn(self.key)

    def __repr__(self) -> str:
        """Without the key."""
        return f"Service({self.title!r}, {self.base_url!r})"

    @property
    def place(self) -> str:
        """Name and host, the beginning of each message: `MarginFront (api.marginfront.com)`."""
        return f"{self.title} ({urlsplit(self.base_url).netloc})"

    @property
    def is_local(self) -> bool:
        """Whether the API runs on this machine."""
        return is_loopback(urlsplit(self.base_url).hostname or "")
