"""Errors of requests: which may be retried, and a message for each, with place, cause and next step."""

from __future__ import annotations

import contextlib
import ssl
from http import HTTPStatus
from urllib.parse import urlsplit

import aiohttp

from tranship.connectors import known_secrets
from tranship.connectors.api.retry import RetryPolicy
from tranship.connectors.api.service import Service
from tranship.connectors.errors import ConnectorError, Malformed, Refused, Unreachable
from tranship.connectors.hosts import certificate_fault


class Retryable(Exception):
    """A request failed, perhaps temporarily; `error` is raised when the retries are used up."""

    def __init__(
        self, error: ConnectorError, *, after: float | None = None, throttled: bool = False, unseen: bool = False
    ) -> None:
        super().__init__()
        self.error = error
        self.after = after
        self.throttled = throttled
        self.unseen = unseen
        """No server was reached."""


class Unanswered(Exception):
    """A request got no usable answer; another try may succeed."""

    def __init__(self, error: ConnectorError, *, nothing_done: bool, throttled: bool, timed_out: bool) -> None:
        super().__init__()
        self.error = error
        """Raised if the caller gives up."""
        self.nothing_done = nothing_done
        """It was turned away (429) or reached no server. Otherwise it may have taken effect."""
        self.throttled = throttled
        self.timed_out = timed_out


def refusal(service: Service, status: int, body: bytes, method: str, path: str, label: str | None = None) -> str:
    """Return the message for a 4xx. `label` replaces a path that contains personal data."""
    label = label or path
    what = f"{service.place}: {method} {label} returned {status_name(status)}"
    if status == 401:
        default = f"The key in {service.key_variable} is not accepted: set one that is valid for this host."
        return f"{what}. {service.advice.get(status, default)}"
    # A message about a request that contained a customer may repeat it; such a path is replaced by its label.
    quoted = service.error_message(body) if method == "GET" and label.startswith(path) else None
    what += f" ({known_secrets.safe_message(quoted)})" if quoted else ""
    defaults = {
        403: f"The key in {service.key_variable} lacks the permission for this: use one that has it.",
        404: "Check the host and the address: nothing was found there.",
    }
    return f"{what}. {service.advice.get(status, defaults.get(status, 'Check the address and its options.'))}"


def redirect_refusal(service: Service, location: str, method: str, label: str) -> str:
    """Return the message for a 3xx to `location`, which may be empty."""
    to = "another path"
    with contextlib.suppress(ValueError):
        target = urlsplit(location)
        to = f"{target.scheme}://{target.netloc.rpartition('@')[2]}" if target.netloc else to
    return (
        f"{service.place}: {method} {label} redirects to {known_secrets.safe_message(to)}. Redirects "
        "are not followed, as the key would be sent there. Give the final host."
    )


def connection_error(
    service: Service, retry_policy: RetryPolicy, error: Exception, method: str, label: str
) -> Exception:
    """Return the error for a request without a usable response: `Retryable` if another try may succeed."""
    host = urlsplit(service.base_url).netloc
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError | ssl.SSLError):
        return Unreachable(
            f"{service.place}: the certificate of {host} is not trusted ({certificate_fault(error)}), so nothing was "
            "sent. Check the host; behind a company proxy, set SSL_CERT_FILE to the proxy's certificate."
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Retryable(
            Unreachable(f"{service.place}: unknown host. Check its name and the network."),
            unseen=True,
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        why = error.os_error.strerror or "no answer"
        return Retryable(
            Unreachable(f"{service.place}: cannot be reached ({why.lower()}). Check host, port and network."),
            unseen=True,
        )
    what = f"{service.place}: {method} {label}"
    if isinstance(error, TimeoutError):
        unseen = isinstance(error, aiohttp.ConnectionTimeoutError)
        limit = retry_policy.connect if unseen else retry_policy.silence
        return Retryable(Unreachable(f"{what} got no answer within {limit:g} s. Try again later."), unseen=unseen)
    if isinstance(error, aiohttp.ClientPayloadError):
        return Retryable(Unreachable(f"{what}: the response was cut off. Try again later."))
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError | UnicodeError):
        return Refused(f"{service.place}: not a valid web address. Check the host.")
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.http_exceptions.HttpProcessingError):
        return Retryable(
            Malformed(
                f"{what}: the response is not valid HTTP. Check host and port, and whether the server uses https."
            )
        )
    return Retryable(Unreachable(f"{what}: the connection was lost. Try again later."))


def too_slow(service: Service, seconds: float, method: str, label: str) -> Unreachable:
    """Return the error for an answer that is not complete in time, although bytes keep arriving."""
    return Unreachable(
        f"{service.place}: {method} {label}: the answer was not complete within {seconds:,g} s. Try again later."
    )


def too_large(service: Service, most: int, option: str, method: str, label: str) -> Malformed:
    """Return the error for an answer that is larger than `most` bytes, the limit that `option` sets."""
    return Malformed(
        f"{service.place}: {method} {label}: the answer is larger than {most / (1 << 20):,g} MB, the limit. Check the "
        f"host; if the answer is right, allow more: --option {option}=…"
    )


def not_json(service: Service, content_type: str, method: str, label: str) -> Malformed:
    """Return the error for a response with another content type."""
    kind = content_type.partition(";")[0].strip() or "an untyped body"
    return Malformed(
        f"{service.place}: {method} {label} returned {known_secrets.safe_message(kind)} instead of JSON. "
        "Check that the host is the provider's API, not a web page or a login page in front of it."
    )


def with_tries(error: ConnectorError, tries: int, seconds: float) -> ConnectorError:
    """Return the error with the number of tries in its message."""
    return type(error)(f"{error} (Tried {tries} times in {seconds:,.0f} seconds.)")


def status_name(status: int) -> str:
    """Return a status with its phrase: `404 Not Found`."""
    with contextlib.suppress(ValueError):
        return f"{status} {HTTPStatus(status).phrase}"
    return str(status)
