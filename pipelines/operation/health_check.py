"""Calls to a health-check service: URL/start when a run begins, URL/EXIT-CODE when it ends."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit, urlunsplit

from tranship.pipelines.operation import delivery
from tranship.pipelines.operation.delivery import UndeliveredError

START: Final = "start"


def ping(setting: str, signal: str) -> None:
    """Send a signal, `start` or an exit code, to the service whose address is in the variable of `env:NAME`. Raises
    UndeliveredError.
    """
    url = delivery.address_in(setting.removeprefix("env:"))
    if not delivery.is_web(url):
        raise UndeliveredError("its address is not an http or https URL")
    parts = urlsplit(url)
    path = f"{parts.path.rstrip('/')}/{signal}"
    delivery.post(urlunsplit(parts._replace(path=path)), b"", {})
