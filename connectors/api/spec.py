"""What is special to one provider, as data: its address and key, its lists, what its errors mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

import polars as pl

from tranship.connectors.api.http_client import Service, is_loopback
from tranship.connectors.api.pagination import Listing
from tranship.connectors.errors import ConfigError, shown
from tranship.schemas.provider import ProviderSchema


@dataclass(frozen=True)
class ProviderAddress:
    """Where a provider is and what of it is meant: an address such as `growpanel://127.0.0.1:8704?source=ds_main`."""

    base_url: str
    """Without a slash at its end; every path is put behind it."""
    options: Mapping[str, str] = field(default_factory=dict)
    """What stands behind the `?`, and `app` for a provider whose address has a path."""


@dataclass(frozen=True)
class ProviderSpec:
    """What is special to one provider."""

    schema: ProviderSchema
    key_variables: tuple[str, ...]
    """Environment variables that may hold the key, the first one found counts; the first one is named to people."""
    header: Callable[[str], Mapping[str, str]]
    """Key → the header it is sent in."""
    listings: Callable[[ProviderAddress, bool], Sequence[Listing]]
    """The lists that make up all customers; whether archived ones are wanted."""
    error_message: Callable[[Any], str | None]
    """Body of an error, as JSON → the provider's own words."""
    base_url: str | None = None
    """Of the provider itself; null where each customer has a host of their own."""
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
    probe: Callable[[ProviderAddress], tuple[str, Sequence[tuple[str, str]]]] | None = None
    """A cheap GET that shows whether the key is good, where it is not a page of one customer."""
    seen: Callable[[ProviderAddress, bytes], Sequence[HealthFinding]] = lambda *_: ()
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
        return self.schema.provider


def parse_address(spec: ProviderSpec, url: str, environment: Mapping[str, str]) -> ProviderAddress:
    """The address behind a spec: `metronome://`, `metronome://host:port`, `blackwalnut://host/my-app`, and options.

    Raises ConfigError: an unknown option, no host, a key within the address, plain http to another machine.
    """
    try:
        parts = urlsplit(url)
        local = is_loopback(parts.hostname or "")
        if parts.port == 0:
            raise ValueError(parts.port)
    except ValueError:
        raise ConfigError(f"{shown(url)}: is no address of a host and port such as 127.0.0.1:8701.") from None
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            f"{shown(url)}: a key has no place in an address, where logs and histories keep it. Put it into "
            f"{spec.key_variables[0]}."
        )
    options = _options(spec, url, parts.query)
    path = parts.path.strip("/")
    if spec.app_variable:
        app = path or environment.get(spec.app_variable, "").strip()
        if not re.fullmatch(r"[a-z0-9-]{1,63}", app):
            raise ConfigError(
                f"{shown(url)}: name the app behind the host: {spec.name}://host/my-app. It is its slug: lower-case "
                f"letters, digits and hyphens. (Or set {spec.app_variable}.)"
            )
        options["app"] = app
    elif path:
        raise ConfigError(f"{shown(url)}: there is nothing behind the host: {spec.name}://{parts.netloc}")
    for name in spec.required:
        if name not in options:
            raise ConfigError(f"{shown(url)}: needs {name}, {spec.options[name]}: {spec.name}://?{name}=…")
    if parts.netloc:
        # Plain http within this machine only: elsewhere anybody on the way could read the key.
        return ProviderAddress(f"{'http' if local else 'https'}://{parts.netloc}{spec.path}", options)
    return ProviderAddress(_base_url(spec, url, environment), options)


def identity(spec: ProviderSpec, url: str, environment: Mapping[str, str]) -> str:
    """One text for all spellings of an account's address. Raises ConfigError."""
    address = parse_address(spec, url, environment)
    parts = urlsplit(address.base_url)
    host = "localhost" if is_loopback(parts.hostname or "") else parts.hostname
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    options = sorted((name, value) for name, value in address.options.items() if name != "page_size")
    return f"{spec.name} {host}:{port}{parts.path.rstrip('/')} {options}"


def _options(spec: ProviderSpec, url: str, query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in spec.options:
            known = f"there is {', '.join(spec.options)}" if spec.options else "there are none"
            raise ConfigError(
                f"{shown(url)}: does not know the option {name!r}; {known}. A key is read from "
                f"{spec.key_variables[0]} and from nowhere else."
            )
        if name in options or not value.strip():
            raise ConfigError(f"{shown(url)}: {name} is given {'twice' if name in options else 'no value'}.")
        options[name] = value.strip()
    return options


def _base_url(spec: ProviderSpec, url: str, environment: Mapping[str, str]) -> str:
    """Where an address that names no host leads to."""
    variable = spec.base_url_variable
    given = environment.get(variable, "").strip() if variable else ""
    if not given:
        if spec.base_url is None:
            raise ConfigError(f"{shown(url)}: name the host: {spec.name}://host (or set {variable}).")
        return spec.base_url
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise ConfigError(f"{variable}: is no base URL such as https://host{spec.path}")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ConfigError(
            f"{variable}: names {parts.hostname} over plain http, where anybody on the way could read the key. "
            "Use https."
        )
    path = parts.path.rstrip("/") or spec.path
    return f"{parts.scheme}://{parts.netloc}{path}"


def page_size(address: ProviderAddress, usual: int) -> int:
    """The option `page_size`, else the usual size. Raises ConfigError if it is no number of records."""
    given = address.options.get("page_size", str(usual))
    if not re.fullmatch(r"[1-9][0-9]{0,5}", given):
        raise ConfigError(f"page_size: {given!r} is no number of customers a page, such as {usual}.")
    return int(given)


def service(spec: ProviderSpec, address: ProviderAddress, environment: Mapping[str, str]) -> Service:
    """Who is talked to, with the key. Raises ConfigError that names the variable if there is none."""
    key, variable = _key(spec, environment)
    return Service(
        title=spec.schema.title,
        base_url=address.base_url,
        key_variable=variable,
        key=key,
        headers=spec.header(key),
        advice=spec.advice(key),
        error_message=lambda body: _said(spec, body),
        per_second=spec.per_second,
    )


def _key(spec: ProviderSpec, environment: Mapping[str, str]) -> tuple[str, str]:
    for variable in spec.key_variables:
        key = environment.get(variable, "").strip()
        if not key:
            continue
        if not re.fullmatch(r"[\x21-\x7e]+", key):
            raise ConfigError(
                f"{variable}: holds blanks or signs that no {spec.schema.title} key has. Was it copied whole?"
            )
        return key, variable
    raise ConfigError(
        f"{spec.schema.title}: no key. Set {' or '.join(spec.key_variables)} in the environment to one that may read "
        "customers."
    )


def _said(spec: ProviderSpec, body: bytes) -> str | None:
    import msgspec

    try:
        return spec.error_message(msgspec.json.decode(body))
    except (msgspec.DecodeError, AttributeError, TypeError, KeyError, IndexError, RecursionError):
        return None  # not the provider's form: there is nothing to quote


@dataclass(frozen=True)
class HealthFinding:
    """One thing that was looked at."""

    what: str
    state: Literal["ok", "warn", "fail"]
    sentence: str
