"""What counts as this machine."""

from __future__ import annotations

import pytest

from tranship.connectors.api.service import is_loopback


@pytest.mark.parametrize(
    ("host", "local"),
    [
        *((host, True) for host in ("localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1", "[::1]")),
        *((host, False) for host in ("", "localhost.acme.com", "127.0.0.1.acme.com", "10.0.0.1", "0.0.0.0", "::")),
    ],
)
def test_what_is_this_machine(host: str, local: bool) -> None:
    assert is_loopback(host) == local
