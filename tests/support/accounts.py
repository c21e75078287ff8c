"""Each provider's sandbox as an account that tests read: its address, its key, and the form of its records in JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from support.sandboxes import Sandbox, Start
from tranship.connectors.registry import CONNECTORS

PROVIDERS = [name for name, connector in CONNECTORS.items() if connector.abilities.continues]


@dataclass(frozen=True)
class Usual:
    """The usual values of one provider."""

    key: str
    address: str
    """The part of the address after the port."""
    page: int | None
    """Customers per request; null if one response contains all."""
    id: str = "id"
    name: str = "name"
    """The field with the customer's name, which is text."""
    powerless: str | None = None
    """A well-formed key that may not read customers."""


USUAL: Mapping[str, Usual] = {
    "blackwalnut": Usual("sk_live_0123456789", "/my-app", 100),
    "growpanel": Usual("account.key.0123456789", "?source=ds_main", None),
    "marginfront": Usual("mf_sk_test_0123456789", "", 100, powerless="mf_pk_test_0123456789"),
    "metrifox": Usual("sk_test_0123456789", "", 100, name="display_name"),
    "metronome": Usual("token-0123456789", "", 100),
}


@dataclass(frozen=True)
class Account:
    """A running sandbox and its address."""

    provider: str
    sandbox: Sandbox

    @property
    def usual(self) -> Usual:
        return USUAL[self.provider]

    @property
    def address(self) -> str:
        return f"{self.provider}://127.0.0.1:{self.sandbox.port}{self.usual.address}"

    @property
    def environment(self) -> dict[str, str]:
        variable = CONNECTORS[self.provider].key_variable
        assert variable
        return {variable: self.usual.key}

    @property
    def page(self) -> int | None:
        return self.usual.page

    @property
    def id_field(self) -> str:
        return self.usual.id

    @property
    def name_field(self) -> str:
        return self.usual.name

    def records(self) -> list[dict[str, Any]]:
        return self.sandbox.state()

    def replace(self, record: dict[str, Any]) -> None:
        self.sandbox.add(record)

    def accept_only(self, key: str) -> None:
        self.sandbox.keys(valid=[key])

    def methods(self) -> list[str]:
        return [call["method"] for call in self.sandbox.calls()]

    def ids(self) -> list[str]:
        """Return the provider's own ids of all its customers, sorted."""
        return sorted(str(record[self.usual.id]) for record in self.sandbox.state())


def opened(start: Start, provider: str, **options: Any) -> Account:
    """Open an account at a sandbox; `options` are those of `sandboxes`."""
    return Account(provider, start(provider, **options))


Open = Callable[..., Account]
"""The type of the fixture `account`."""
