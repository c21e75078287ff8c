"""Hosts on the web: whether one is this machine, and the proxy through which it is reached."""

from __future__ import annotations

import contextlib
import ipaddress
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from tranship.connectors.errors import ConfigError


def is_loopback(host: str) -> bool:
    """Return whether a host name is this machine: `localhost`, 127.0.0.0/8, ::1."""
    if host.lower() == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return False


def proxy_for(url: str) -> str | None:
    """Return the proxy that the environment sets for an address; null for none, and for this machine.

    Raises ConfigError if it is not an http or https proxy.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or proxy_bypass(host):
        return None
    proxies = getproxies()
    name = parts.scheme if proxies.get(parts.scheme) else "all"
    proxy = proxies.get(name)
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    with contextlib.suppress(ValueError):
        found = urlsplit(proxy)
        if found.scheme in ("http", "https") and found.hostname and found.port != 0:
            return proxy
    raise ConfigError(f"{name}_proxy: is not the address of an http proxy, such as http://proxy.example:3128.")


def certificate_fault(error: BaseException) -> str:
    """Return why a certificate is not accepted: `certificate has expired`."""
    cause = getattr(error, "certificate_error", error)
    return str(getattr(cause, "verify_message", "") or "no trusted certificate").rstrip(".")
