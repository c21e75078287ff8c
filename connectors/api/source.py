"""A billing provider's API as a source: its address and key, its lists, and what `tranship doctor` looks at.

What is special to one provider is an `Api` value in its own file; how lists are read is `pagination.py`, how requests
are made `http_client.py`, how JSON becomes customers `json_codec.py`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, urlsplit

import polars as pl

from tranship.connectors.addresses import redacted
from tranship.connectors.api import json_codec as wires
from tranship.connectors.api.full_scan import Group, ListRead
from tranship.connectors.api.http_client import Answer, Background, HttpClient, Patience, Service, is_loopback
from tranship.connectors.api.pagination import Cursor, Listing, Numbered, Whole, take_apart
from tranship.connectors.contract import Batch, Layout
from tranship.connectors.errors import ConfigError, ConnectorError, Malformed
from tranship.schemas.customer import COLUMNS
from tranship.schemas.faults import BROKEN
from tranship.schemas.provider import Wire

_NO: Final = (401, 403)
_CLOCK_SECONDS: Final = 60
"""How far two clocks may be apart before a person is told."""


@dataclass(frozen=True)
class Address:
    """Where a provider is and what of it is meant: an address such as `growpanel://127.0.0.1:8704?source=ds_main`."""

    base_url: str
    """Without a slash at its end; every path is put behind it."""
    options: Mapping[str, str] = field(default_factory=dict)
    """What stands behind the `?`, and `app` for a provider whose address has a path."""


@dataclass(frozen=True)
class Api:
    """What is special to one provider."""

    wire: Wire
    key_variables: tuple[str, ...]
    """Environment variables that may hold the key, the first one found counts; the first one is named to people."""
    header: Callable[[str], Mapping[str, str]]
    """Key → the header it is sent in."""
    listings: Callable[[Address, bool], Sequence[Listing]]
    """The lists that make up all customers; whether archived ones are wanted."""
    said: Callable[[Any], str | None]
    """Body of an error, as JSON → the provider's own words."""
    base_url: str | None = None
    """Of the provider itself; null where each customer has a host of their own."""
    summary: str = ""
    """What is read and written, for people; by default the provider's title."""
    example: str = ""
    """An address, by default the scheme alone."""
    path: str = ""
    """What stands between a host that the address names and the provider's paths: `/v1`."""
    base_url_variable: str | None = None
    """The environment variable that names another base URL when the address names no host."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Options of the address, and what each is, for people."""
    required: tuple[str, ...] = ()
    """Options without which nothing can be read."""
    app_variable: str | None = None
    """Where the address has a path (`blackwalnut://host/app`), it is the option `app`: the environment variable that
    stands in for it."""
    archives: bool = False
    """Archived customers can be read, too."""
    archived: pl.Expr | None = None
    """Canonical columns as text → whether a customer is archived, where a list holds such ones beside the others."""
    advice: Callable[[str], Mapping[int, str]] = lambda _: {}
    """Key → status → what to try, where the provider has something of its own to say."""
    rights: Callable[[str], str | None] = lambda _: None
    """Key → what it may do, as far as it can be told by looking at it."""
    per_second: Mapping[str, float] = field(default_factory=dict)
    """Method → calls a second, where the provider declares a limit."""
    probe: Callable[[Address], tuple[str, Sequence[tuple[str, str]]]] | None = None
    """A cheap GET that shows whether the key is good, where it is not a page of one customer."""
    seen: Callable[[Address, bytes], Sequence[Finding]] = lambda *_: ()
    """What the body of that answer shows beyond that."""
    unique: tuple[str, ...] = ()
    """Canonical fields that no two customers may share, beside the external id."""
    immutable: tuple[str, ...] = ()
    """Canonical fields that never change once a customer is there."""
    removal_is_final: str = ""
    """Why removing a customer needs a word of its own: `a deleted customer's licences are gone`."""

    @property
    def name(self) -> str:
        """The scheme of its addresses."""
        return self.wire.provider


# Address and key -----------------------------------------------------------------------------------------------------


def parse(api: Api, spec: str, environment: Mapping[str, str]) -> Address:
    """The address behind a spec: `metronome://`, `metronome://host:port`, `blackwalnut://host/my-app`, and options.

    Raises ConfigError: an unknown option, no host, a key within the address, plain http to another machine.
    """
    try:
        parts = urlsplit(spec)
        local = is_loopback(parts.hostname or "")
        if parts.port == 0:
            raise ValueError(parts.port)
    except ValueError:
        raise ConfigError(f"{redacted(spec)}: is no address of a host and port such as 127.0.0.1:8701.") from None
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            f"{redacted(spec)}: a key has no place in an address, where logs and histories keep it. Put it into "
            f"{api.key_variables[0]}."
        )
    options = _options(api, spec, parts.query)
    path = parts.path.strip("/")
    if api.app_variable:
        app = path or environment.get(api.app_variable, "").strip()
        if not re.fullmatch(r"[a-z0-9-]{1,63}", app):
            raise ConfigError(
                f"{redacted(spec)}: name the app behind the host: {api.name}://host/my-app. It is its slug: lower-case "
                f"letters, digits and hyphens. (Or set {api.app_variable}.)"
            )
        options["app"] = app
    elif path:
        raise ConfigError(f"{redacted(spec)}: there is nothing behind the host: {api.name}://{parts.netloc}")
    for name in api.required:
        if name not in options:
            raise ConfigError(f"{redacted(spec)}: needs {name}, {api.options[name]}: {api.name}://?{name}=…")
    if parts.netloc:
        # Plain http within this machine only: elsewhere anybody on the way could read the key.
        return Address(f"{'http' if local else 'https'}://{parts.netloc}{api.path}", options)
    return Address(_base_url(api, spec, environment), options)


def identity(api: Api, spec: str, environment: Mapping[str, str]) -> str:
    """One text for all spellings of an account's address. Raises ConfigError."""
    address = parse(api, spec, environment)
    parts = urlsplit(address.base_url)
    host = "localhost" if is_loopback(parts.hostname or "") else parts.hostname
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    options = sorted((name, value) for name, value in address.options.items() if name != "page_size")
    return f"{api.name} {host}:{port}{parts.path.rstrip('/')} {options}"


def _options(api: Api, spec: str, query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in api.options:
            known = f"there is {', '.join(api.options)}" if api.options else "there are none"
            raise ConfigError(
                f"{redacted(spec)}: does not know the option {name!r}; {known}. A key is read from "
                f"{api.key_variables[0]} and from nowhere else."
            )
        if name in options or not value.strip():
            raise ConfigError(f"{redacted(spec)}: {name} is given {'twice' if name in options else 'no value'}.")
        options[name] = value.strip()
    return options


def _base_url(api: Api, spec: str, environment: Mapping[str, str]) -> str:
    """Where an address that names no host leads to."""
    variable = api.base_url_variable
    given = environment.get(variable, "").strip() if variable else ""
    if not given:
        if api.base_url is None:
            raise ConfigError(f"{redacted(spec)}: name the host: {api.name}://host (or set {variable}).")
        return api.base_url
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise ConfigError(f"{variable}: is no base URL such as https://host{api.path}")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ConfigError(
            f"{variable}: names {parts.hostname} over plain http, where anybody on the way could read the key. "
            "Use https."
        )
    path = parts.path.rstrip("/") or api.path
    return f"{parts.scheme}://{parts.netloc}{path}"


def page_size(address: Address, usual: int) -> int:
    """The option `page_size`, else the usual size. Raises ConfigError if it is no number of records."""
    given = address.options.get("page_size", str(usual))
    if not re.fullmatch(r"[1-9][0-9]{0,5}", given):
        raise ConfigError(f"page_size: {given!r} is no number of customers a page, such as {usual}.")
    return int(given)


def service(api: Api, address: Address, environment: Mapping[str, str]) -> Service:
    """Who is talked to, with the key. Raises ConfigError that names the variable if there is none."""
    key, variable = _key(api, environment)
    return Service(
        title=api.wire.title,
        base_url=address.base_url,
        key_variable=variable,
        key=key,
        headers=api.header(key),
        advice=api.advice(key),
        said=lambda body: _said(api, body),
        per_second=api.per_second,
    )


def _key(api: Api, environment: Mapping[str, str]) -> tuple[str, str]:
    for variable in api.key_variables:
        key = environment.get(variable, "").strip()
        if not key:
            continue
        if not re.fullmatch(r"[\x21-\x7e]+", key):
            raise ConfigError(
                f"{variable}: holds blanks or signs that no {api.wire.title} key has. Was it copied whole?"
            )
        return key, variable
    raise ConfigError(
        f"{api.wire.title}: no key. Set {' or '.join(api.key_variables)} in the environment to one that may read "
        "customers."
    )


def _said(api: Api, body: bytes) -> str | None:
    import msgspec

    try:
        return api.said(msgspec.json.decode(body))
    except (msgspec.DecodeError, AttributeError, TypeError, KeyError, IndexError, RecursionError):
        return None  # not the provider's form: there is nothing to quote


# Reading -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ApiPart:
    """Some pages of a provider's list."""

    source: str
    wire: Wire
    group: Group
    surprised: Callable[[Mapping[str, int]], None]
    nameless: Callable[[int], None]
    """Told how many customers the e-mail stands in for the name of."""
    unwanted: pl.Expr | None = None
    """Canonical columns as text → whether a customer is left out."""
    left_out: Callable[[int], None] = lambda _: None
    """Told how many were."""

    @property
    def position(self) -> int:
        """Customers that have come so far."""
        return self.group.position

    def read(self) -> Batch:
        """JSON → canonical columns as text. A record that breaks the provider's schema is among `broken`."""
        try:
            decoded = wires.decode(self.wire, self.group.lists(), self.group.dropped)
        except Malformed as error:
            raise Malformed(f"{self.source}: {error}") from error
        self.surprised(decoded.surprises)
        first = self.group.first
        broken = decoded.broken.select(line=pl.col("position") + first, code="code", detail="detail", text="text")
        records, lines, nameless = decoded.records, decoded.positions + first, decoded.nameless
        if self.unwanted is not None:
            wanted = records.select(~self.unwanted.fill_null(value=False)).to_series()
            self.left_out(int((~wanted).sum()))
            records, lines, nameless = records.filter(wanted), lines.filter(wanted), nameless.filter(wanted)
        self.nameless(int(nameless.sum()))
        return Batch(self.source, records, lines, broken.cast(BROKEN))  # type: ignore[arg-type]

    def digest(self) -> str:
        """Of the records and their places, and of which are left out."""
        digest = self.group.digest()
        return digest if self.unwanted is None else hashlib.sha256(f"{digest} without archived".encode()).hexdigest()


class ApiSource:
    """All customers of one account at a provider, each once. Nothing is asked before `parts`."""

    def __init__(
        self,
        api: Api,
        spec: str,
        *,
        include_archived: bool = False,
        patience: Patience | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        environment = os.environ if environment is None else environment
        if include_archived and not api.archives:
            raise ConfigError(f"{redacted(spec)}: {api.wire.title} has no archived customers to include.")
        self._api = api
        self._spec = spec
        self._address = parse(api, spec, environment)
        self._service = service(api, self._address, environment)
        self._include_archived = include_archived
        self._patience = patience or Patience()
        self._background: Background | None = None
        self._read: ListRead | None = None
        self._client: HttpClient | None = None
        self._surprises: Counter[str] = Counter()
        self._left_out: list[int] = []
        self._nameless: list[int] = []

    @property
    def size(self) -> int | None:
        """Customers there are, as soon as the provider has said it."""
        return self._read.total if self._read else None

    def layouts(self) -> list[Layout]:
        """The canonical columns; what was noticed while reading, as notes."""
        return [Layout(redacted(self._spec), tuple(COLUMNS), tuple(self._notes()))]

    def fingerprint(self) -> list[dict[str, Any]]:
        """Provider, host, and what of it is read. How much that is, is not known beforehand."""
        return [{**self._identity(), "size": None}]

    def parts(self, keep: Path, /) -> Iterator[ApiPart]:
        """Everything, in the order of the provider's lists. Pages lie in `keep` and are not asked for again.

        Raises ConnectorError.
        """
        self.close()
        background = self._background = Background()
        client = self._client = HttpClient(self._service, self._patience)
        background.submit(client.__aenter__()).result()
        listings = self._api.listings(self._address, self._include_archived)
        self._read = ListRead(background, client, listings, keep, self._identity())
        for group in self._read.groups():
            unwanted = None if self._include_archived else self._api.archived
            yield ApiPart(
                redacted(self._spec),
                self._api.wire,
                group,
                self._surprises.update,
                self._nameless.append,
                unwanted,
                self._left_out.append,
            )

    def close(self) -> None:
        """Stop asking; close connections and pages."""
        background, self._background = self._background, None
        if background is None:
            return
        if self._read:
            self._read.close()
        if self._client:
            background.submit(self._client.__aexit__()).result()
        background.close()

    def _identity(self) -> dict[str, Any]:
        return {
            "provider": self._api.name,
            "base_url": self._address.base_url,
            "options": dict(self._address.options),
            "include_archived": self._include_archived,
        }

    def _notes(self) -> Iterator[str]:
        if not self._read or not self._client:
            return
        yield from self._read.notes
        yield from self._client.traffic.notes()
        if left_out := sum(self._left_out):
            yield f"{left_out:,} archived customers were left out; --include-archived reads them, too"
        if nameless := sum(self._nameless):
            yield f"{nameless:,} customers have no name; their e-mail stands in for it"
        if self._surprises:
            named = ", ".join(f"{name} ({count:,} customers)" for name, count in sorted(self._surprises.items()))
            yield f"fields that {self._api.wire.title} does not document are kept in metadata: {named}"


# Doctor --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: Literal["ok", "warn", "fail"]
    sentence: str


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
