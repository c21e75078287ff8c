"""Delivery in the background, in at most ten seconds. The reason of a failure never contains an address: addresses of
webhooks are secrets.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.client import HTTPException, InvalidURL
from typing import Any, Final
from urllib.parse import urlsplit

SECONDS: Final = 10.0
"""The longest time for all deliveries of a moment."""
_ATTEMPT_SECONDS: Final = 4.0
_PAUSES: Final = (0.5, 2.0)
"""Seconds before the second and the third attempt."""
_PASSING: Final = (408, 425, 429, 500, 502, 503, 504)
"""HTTP status codes after which a retry may succeed."""


class UndeliveredError(Exception):
    """Nothing was delivered. The message is the reason, without an address."""


class Deliveries:
    """Deliveries at the same time, each in its own daemon thread."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._until = time.monotonic() + seconds
        self._seconds = seconds
        self._started: list[tuple[str, threading.Thread, list[str | None]]] = []

    def start(self, name: str, work: Callable[[], None]) -> None:
        """Start a delivery, which raises UndeliveredError if it fails."""
        result: list[str | None] = []

        def do() -> None:
            try:
                work()
                result.append(None)
            except UndeliveredError as error:
                result.append(str(error))
            except Exception as error:  # of another library: its message may contain an address
                result.append(f"it failed with a {type(error).__name__}")

        thread = threading.Thread(target=do, name=f"deliver {name}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            result.append("no thread can be started")
        self._started.append((name, thread, result))

    def wait(self) -> dict[str, str | None]:
        """Return name → the reason of the failure, null if there was none, once all are done or the time is over. A
        signal ends the wait.
        """
        with suppress(KeyboardInterrupt):
            for _, thread, _ in self._started:
                if thread.ident is not None:
                    thread.join(max(0.0, self._until - time.monotonic()))
        return {
            name: result[0] if result else f"no answer within {self._seconds:g} s" for name, _, result in self._started
        }


def address_in(variable: str) -> str:
    """Return the address in a variable of the environment. Raises UndeliveredError if there is none."""
    address = os.environ.get(variable, "").strip()
    if not address:
        raise UndeliveredError(f"the environment variable {variable} is not set")
    return address


def is_web(address: str) -> bool:
    """Return whether this is an http or https URL. Raises UndeliveredError if it is not a valid URL."""
    try:
        return urlsplit(address).scheme in ("http", "https")
    except ValueError:
        raise UndeliveredError("its address is not a valid URL") from None


def post_json(url: str, values: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
    """Post a JSON object. Raises UndeliveredError."""
    body = json.dumps(values, ensure_ascii=False).encode("utf-8", "backslashreplace")
    post(url, body, {"Content-Type": "application/json", **(headers or {})})


def post(url: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Post to an http or https URL, with retries. Raises UndeliveredError."""
    if not is_web(url):
        raise UndeliveredError("its address is not an http or https URL")
    for pause in (*_PAUSES, None):
        try:
            _post_once(url, body, headers)
            return
        except urllib.error.HTTPError as error:
            error.close()
            if pause is None or error.code not in _PASSING:
                raise UndeliveredError(f"HTTP {error.code}") from None
        except (OSError, HTTPException, ValueError) as error:
            if pause is None or isinstance(error, ValueError | InvalidURL):
                raise UndeliveredError(_reason(error)) from None
        time.sleep(pause)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET without a body, which would deliver nothing."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _post_once(url: str, body: bytes, headers: Mapping[str, str]) -> None:
    request = urllib.request.Request(url, body, {"User-Agent": "tranship", **headers}, method="POST")  # noqa: S310  (checked)
    with urllib.request.build_opener(_NoRedirects).open(request, timeout=_ATTEMPT_SECONDS) as answer:
        answer.read(1 << 10)


def _reason(error: BaseException) -> str:
    """Return the reason in our own words: messages of libraries may contain the address."""
    inner = getattr(error, "reason", error)
    if isinstance(inner, TimeoutError):
        return f"no answer within {_ATTEMPT_SECONDS:g} s"
    if isinstance(inner, ValueError | InvalidURL):
        return "its address is not a valid URL"
    number = getattr(inner, "errno", None)
    named = os.strerror(number).lower() if number is not None and number in errno.errorcode else type(inner).__name__
    return f"unreachable ({named})"


def notify(address: str, title: str, text: str) -> None:
    """Send a text by apprise, which knows Slack, e-mail and a hundred other services. Raises UndeliveredError."""
    try:
        import apprise
    except ImportError:
        raise UndeliveredError(
            "its address is not an http or https URL. For other services: pip install 'tranship[notify]'"
        ) from None
    # Its messages may contain the address.
    logger = logging.getLogger("apprise")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    sender = apprise.Apprise()
    if not sender.add(address):
        raise UndeliveredError("apprise does not recognise its address")
    if not sender.notify(body=text, title=title):
        raise UndeliveredError("the service did not accept it")


def send(variable: str, alert: Mapping[str, Any]) -> None:
    """Send an alert to the address in this variable: http and https as JSON, all others by apprise. Raises
    UndeliveredError.
    """
    address = address_in(variable)
    if is_web(address):
        post_json(address, alert)
        return
    title, _, text = str(alert["text"]).partition("\n")
    notify(address, title, text or title)
