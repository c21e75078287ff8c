"""What `tranship doctor` looks at: whether a provider can be reached and read, without changing anything."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from tranship.connectors.api.background_loop import Background
from tranship.connectors.api.http_client import Answer, HttpClient, Service
from tranship.connectors.api.pagination import Cursor, Listing, Numbered, Whole, take_apart
from tranship.connectors.api.retry import Patience
from tranship.connectors.api.spec import Address, Api, Finding, parse, service
from tranship.connectors.errors import ConfigError, ConnectorError, Malformed

_NO: Final = (401, 403)


_CLOCK_SECONDS: Final = 60
"""How far two clocks may be apart before a person is told."""


def check(
    api: Api, spec: str, *, patience: Patience | None = None, environment: Mapping[str, str] | None = None
) -> list[Finding]:
    """Look whether a provider can be read, without changing anything. Ends at the first thing that fails."""
    environment = os.environ if environment is None else environment
    findings: list[Finding] = []
    try:
        address = parse(api, spec, environment)
        findings.append(Finding("address", "ok", f"{address.base_url}"))
        known = service(api, address, environment)
    except ConfigError as error:
        what = "key" if findings else "address"
        return [*findings, Finding(what, "fail", str(error))]
    findings.append(Finding("key", "ok", f"is set in {known.key_variable}"))
    background = Background()
    try:
        return findings + background.submit(_look(api, address, known, patience or Patience(tries=3))).result()
    finally:
        background.close()


async def _look(api: Api, address: Address, known: Service, patience: Patience) -> list[Finding]:
    findings = []
    async with HttpClient(known, patience) as client:
        try:
            listing = api.listings(address, False)[0]
            path, params = api.probe(address) if api.probe else (listing.path, _one(listing))
            sent = datetime.now(UTC)
            answer = await client.request("GET", path, params=params, expected=_NO)
            took = (datetime.now(UTC) - sent).total_seconds()
        except ConnectorError as error:
            if client.traffic.answered:
                return [Finding("reachable", "ok", f"{known.place} answers"), Finding("answer", "fail", str(error))]
            return [Finding("reachable", "fail", str(error))]
        findings.append(Finding("reachable", "ok", f"answered in {took * 1000:,.0f} ms{_secured(known)}"))
        if answer.status in _NO:
            refusal = client.refusal(answer.status, answer.body, "GET", path)
            return [*findings, Finding("key accepted", "fail", refusal)]
        findings.append(Finding("key accepted", "ok", f"GET {path} was answered {answer.status}"))
        findings.append(_rights(api, known))
        findings.extend([_clock(answer, sent), _limits(answer)])
        findings.extend(api.seen(address, answer.body))
        if path == listing.path:
            findings.append(_number(answer, listing, known))
    return findings


def _number(answer: Answer, listing: Listing, known: Service) -> Finding:
    try:
        total = take_apart(answer.body, listing.envelope).total
    except Malformed as error:
        return Finding("answer", "fail", f"{known.place}: GET {listing.path}: {error}")
    if isinstance(listing.turn, Whole):
        return Finding("customers", "ok", "how many there are is known when all have been read")
    return Finding("customers", "ok", f"{total:,}" if total is not None else "the provider does not say how many")


def _one(listing: Listing) -> list[tuple[str, str]]:
    match listing.turn:
        case Numbered(page=page, size=size):
            return [*listing.params.items(), (page, "1"), (size, "1")]
        case Cursor(size=size):
            return [*listing.params.items(), (size, "1")]
    return list(listing.params.items())


def _secured(known: Service) -> str:
    return ", on this machine" if known.is_local else ", over TLS with a certificate that is trusted here"


def _rights(api: Api, known: Service) -> Finding:
    told = api.rights(known.key)
    if told is None:
        return Finding("rights", "ok", "may read; whether it may write cannot be told without writing")
    return Finding("rights", "ok", told)


def _clock(answer: Answer, sent: datetime) -> Finding:
    try:
        theirs = parsedate_to_datetime(answer.headers["Date"])
        apart = abs((theirs.astimezone(UTC) - sent).total_seconds())
    except (KeyError, ValueError, TypeError):
        return Finding("clock", "ok", "the provider does not say what time it is")
    if apart > _CLOCK_SECONDS:
        return Finding(
            "clock", "warn", f"this machine's clock and the provider's are {apart:,.0f} seconds apart: set this one"
        )
    return Finding("clock", "ok", f"within {_CLOCK_SECONDS} seconds of the provider's")


def _limits(answer: Answer) -> Finding:
    seen = sorted({name for name in answer.headers if re.search(r"rate-?limit|retry-after", name, re.IGNORECASE)})
    said = "; ".join(f"{name}: {answer.headers[name]}" for name in seen)
    return Finding("rate limits", "ok", said or "no header speaks of one")
