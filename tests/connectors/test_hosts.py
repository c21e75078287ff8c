"""The hosts that are this machine, and the proxy for all others."""

from __future__ import annotations

import pytest

from tranship.connectors.errors import ConfigError
from tranship.connectors.hosts import is_loopback, proxy_for


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        *((host, True) for host in ("localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1", "[::1]")),
        *((host, False) for host in ("", "localhost.acme.com", "127.0.0.1.acme.com", "10.0.0.1", "0.0.0.0", "::")),
    ],
)
def test_what_is_this_machine(host: str, local: bool) -> None:
    assert is_loopback(host) == local


@pytest.mark.parametrize(
    ("variables", "url", "proxy"),
    [
        ({}, "https://api.acme.com/v1", None),
        ({"HTTPS_PROXY": "http://proxy.acme.com"}, "https://api.acme.com/v1", "http://proxy.acme.com"),
        ({"https_proxy": "proxy.acme.com"}, "https://api.acme.com/v1", "http://proxy.acme.com"),
        ({"http_proxy": "http://proxy.acme.com"}, "https://api.acme.com/v1", None),
        ({"ALL_PROXY": "http://proxy.acme.com"}, "https://api.acme.com/v1", "http://proxy.acme.com"),
        ({"https_proxy": "http://proxy.acme.com", "no_proxy": "acme.com"}, "https://api.acme.com/v1", None),
        ({"https_proxy": "http://proxy.acme.com"}, "https://localhost/v1", None),
    ],
)
def test_the_proxy_of_an_address(
    variables: dict[str, str], url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(url) == proxy


@pytest.mark.parametrize("value", ["socks5://proxy.acme.com", "http://", "http://[::1", "ftp://secret@x", "http://x:y"])
def test_what_is_no_proxy_is_explained(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", value)
    with pytest.raises(ConfigError, match="https_proxy: is not the address of an http proxy") as error:
        proxy_for("https://api.acme.com")
    assert "secret" not in str(error.value)
