"""The checks of `tranship doctor`: whether a provider can be reached and read. Nothing is changed."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from tranship.connectors import known_secrets
from tranship.connectors.api.http_client import HttpClient, HttpResponse
from tranship.connectors.api.http_dates import http_date
from tranship.connectors.api.http_errors import refusal
from tranship.connectors.api.pagination import Cursor, Listing, Numbered, SinglePage, parse_page
from tranship.connectors.api.retry import RetryPolicy
from tranship.connectors.api.service import Service
from tranship.connectors.api.spec import HealthFinding, ProviderAddress, ProviderSpec, parse_address, service
from tranship.connectors.background_loop import BackgroundLoop
from tranship.connectors.errors import ConfigError, ConnectorError, Malformed

_NO: Final = (401, 403)


_PATIENCE: Final = RetryPolicy(tries=3, total=60, answer=60)
"""Somebody is waiting; the other limits are those of a run."""

_CLOCK_SECONDS: Final = 60
"""The difference between two clocks, in seconds, from which it is reported."""


def check(
    spec: ProviderSpec,
    url: str,
    *,
    retry_policy: RetryPolicy | None = None,
    environment: Mapping[str, str] | None = None,
) -> list[HealthFinding]:
    """Check whether a provider can be read, without changing anything. Stops at the first failure."""
    environment = os.environ if environment is None else environment
    findings: list[HealthFinding] = []
    try:
        address = parse_address(spec, url, environment)
        findings.append(HealthFinding("address", "ok", f"{address.base_url}"))
        known = service(spec, address, environment)
    except ConfigError as error:
        what = "key" if findings else "address"
        return [*findings, HealthFinding(what, "fail", str(error))]
    findings.append(HealthFinding("key", "ok", f"is set in {known.key_variable}"))
    background = BackgroundLoop()
    try:
        return findings + background.submit(_check(spec, address, known, retry_policy or _PATIENCE)).result()
    finally:
        background.close()


async def _check(
    spec: ProviderSpec, address: ProviderAddress, known: Service, retry_policy: RetryPolicy
) -> list[HealthFinding]:
    findings = []
    async with HttpClient(known, retry_policy) as client:
        try:
            listing = spec.listings(address, False)[0]
            path, params = spec.probe(address) if spec.probe else (listing.path, _first_record(listing))
            sent, began = datetime.now(UTC), time.monotonic()
            answer = await client.request("GET", path, params=params, expected=_NO)
            took = time.monotonic() - began
        except ConnectorError as error:
            if client.traffic.answered:
                return [
                    HealthFinding("reachable", "ok", f"{known.place} answers"),
                    HealthFinding("answer", "fail", str(error)),
                ]
            return [HealthFinding("reachable", "fail", str(error))]
        findings.append(HealthFinding("reachable", "ok", f"answered in {took * 1000:,.0f} ms{_secured(known)}"))
        if answer.status in _NO:
            message = refusal(known, answer.status, answer.body, "GET", path)
            return [*findings, HealthFinding("key accepted", "fail", message)]
        findings.append(HealthFinding("key accepted", "ok", f"GET {path} returned {answer.status}"))
        findings.append(_rights(spec, known))
        findings.extend([_clock(answer, sent), _limits(answer)])
        findings.extend(spec.seen(address, answer.body))
        if path == listing.path:
            findings.append(_number(answer, listing, known))
    return findings


def _number(answer: HttpResponse, listing: Listing, known: Service) -> HealthFinding:
    try:
        total = parse_page(answer.body, listing).total
    except Malformed as error:
        return HealthFinding("answer", "fail", f"{known.place}: GET {listing.path}: {error}")
    if isinstance(listing.paging, SinglePage):
        return HealthFinding("customers", "ok", "the number is known only once all have been read")
    return HealthFinding(
        "customers", "ok", f"{total:,}" if total is not None else "the provider does not state the number"
    )


def _first_record(listing: Listing) -> list[tuple[str, str]]:
    match listing.paging:
        case Numbered(page=page, size=size):
            return [*listing.params.items(), (page, "1"), (size, "1")]
        case Cursor(size=size):
            return [*listing.params.items(), (size, "1")]
    return list(listing.params.items())


def _secured(known: Service) -> str:
    return ", on this machine" if known.is_local else ", over TLS with a trusted certificate"


def _rights(spec: ProviderSpec, known: Service) -> HealthFinding:
    rights = spec.rights(known.key)
    if rights is None:
        return HealthFinding("rights", "ok", "may read; whether it may write is known only after the first write")
    return HealthFinding("rights", "ok", rights)


def _clock(answer: HttpResponse, sent: datetime) -> HealthFinding:
    theirs = http_date(answer.headers.get("Date"))
    if theirs is None:
        return HealthFinding("clock", "ok", "the provider's responses have no Date header")
    apart = abs((theirs - sent).total_seconds())
    if apart > _CLOCK_SECONDS:
        return HealthFinding(
            "clock", "warn", f"this machine's clock differs from the provider's by {apart:,.0f} s: correct it"
        )
    return HealthFinding("clock", "ok", f"within {_CLOCK_SECONDS} s of the provider's")


def _limits(answer: HttpResponse) -> HealthFinding:
    seen = sorted({name for name in answer.headers if re.search(r"rate-?limit|retry-after", name, re.IGNORECASE)})
    stated = "; ".join(f"{name}: {answer.headers[name]}" for name in seen)
    return HealthFinding(
        "rate limits", "ok", known_secrets.safe_message(stated) or "not stated in the response headers"
    )
