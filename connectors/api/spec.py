"""The properties of one provider, as data: address and key, lists, meaning of errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

import polars as pl
from msgspec import Struct, field

from tranship.connectors import known_secrets
from tranship.connectors.address_secrets import is_host, shown_option
from tranship.connectors.addresses import redacted
from tranship.connectors.api.pagination import Listing
from tranship.connectors.api.service import Service
from tranship.connectors.errors import ConfigError
from tranship.connectors.hosts import is_loopback
from tranship.schemas.provider import ProviderSchema


class ProviderAddress(Struct, frozen=True):
    """A parsed address such as `growpanel://127.0.0.1:8704?source=ds_main`."""

    base_url: str
    """The prefix of every path, without a trailing slash."""
    options: Mapping[str, str] = field(default_factory=dict)
    """The query parameters, and `app` for a provider whose address has a path."""


class ProviderSpec(Struct, frozen=True):
    """The properties of one provider."""

    schema: ProviderSchema
    key_variables: tuple[str, ...]
    """Environment variables for the key. The first one that is set is used; messages name the first one."""
    header: Callable[[str], Mapping[str, str]]
    """Key → the header that carries it."""
    listings: Callable[[ProviderAddress, bool], Sequence[Listing]]
    """(Address, whether to include archived customers) → the lists that make up all customers."""
    error_message: Callable[[Any], str | None]
    """Decoded body of an error → the provider's own message."""
    base_url: str | None = None
    """The provider's public API; null where every user has a host of their own."""
    path: str = ""
    """The prefix of paths on a host named in the address: `/v1`."""
    base_url_variable: str | None = None
    """The environment variable for another base URL, used when the address names no host."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Options of the address, each with its description."""
    required: tuple[str, ...] = ()
    """Options that must be given."""
    app_variable: str | None = None
    """The environment variable that replaces the path of the address (`blackwalnut://host/app`), which becomes the
    option `app`."""
    archived_field: str | None = None
    """The field of a record that is not null if the customer is archived; null if archived customers cannot be read."""
    lists_archived: bool = False
    """The lists contain archived customers as well, whether they are included or not."""
    summary: str = ""
    """Its description in the list of connectors; by default the provider's title."""
    example: str = ""
    """An example address; by default the scheme alone."""
    advice: Callable[[str], Mapping[int, str]] = lambda _: {}
    """Key → status → advice specific to this provider."""
    rights: Callable[[str], str | None] = lambda _: None
    """Key → its permissions, as far as the key itself shows them."""
    per_second: Mapping[str, float] = field(default_factory=dict)
    """Method → calls per second, where the provider declares a limit."""
    probe: Callable[[ProviderAddress], tuple[str, Sequence[tuple[str, str]]]] | None = None
    """A cheap GET that shows whether the key is valid, if not a page of one customer."""
    seen: Callable[[ProviderAddress, bytes], Sequence[HealthFinding]] = lambda *_: ()
    """Further findings from the body of that answer."""
    unique: tuple[str, ...] = ()
    """Canonical fields, besides the external id, that no two customers may share."""
    immutable: tuple[str, ...] = ()
    """Canonical fields that cannot be changed after creation."""
    removal_note: str = ""
    """What people need to know about customers that an undo removes."""
    removal_is_final: str = ""
    """Why removing a customer must be confirmed: `a deleted customer's licences are gone`."""

    @property
    def name(self) -> str:
        """The scheme of its addresses."""
        return self.schema.provider

    @property
    def archives(self) -> bool:
        """Whether archived customers can be read as well."""
        return self.archived_field is not None

    def is_archived(self) -> pl.Expr:
        """Canonical columns as text → whether a customer is archived, by the metadata entry of `archived_field`.

        Raises TypeError if the provider has no such field.
        """
        if self.archived_field is None:
            raise TypeError(f"{self.schema.title} has no archived customers")
        key = self.schema.key(self.archived_field)
        metadata = pl.col("metadata")
        # The first test is fast, the second one exact.
        return (
            metadata.str.contains(f'"{key}":', literal=True) & metadata.str.json_path_match(f'$["{key}"]').is_not_null()
        )


def bearer(key: str) -> dict[str, str]:
    """Return the header of a bearer token (RFC 6750)."""
    return {"Authorization": f"Bearer {key}"}


def api_key(key: str) -> dict[str, str]:
    """Return the header `x-api-key`."""
    return {"x-api-key": key}


def parse_address(spec: ProviderSpec, url: str, environment: Mapping[str, str]) -> ProviderAddress:
    """Parse an address: `metronome://`, `metronome://host:port`, `blackwalnut://host/my-app`, with options.

    Raises ConfigError: an unknown option, no host, a key in the address, plain http to another machine.
    """
    try:
        parts = urlsplit(url)
        local = is_loopback(parts.hostname or "")
        if parts.port == 0:
            raise ValueError(parts.port)
    except ValueError:
        raise ConfigError(
            f"{redacted(url)}: is not a valid address of a host and port, such as 127.0.0.1:8701."
        ) from None
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            f"{redacted(url)}: contains a key, which would end up in logs and shell histories. Set it in "
            f"{spec.key_variables[0]} instead."
        )
    if parts.netloc and not is_host(parts.netloc):
        raise ConfigError(
            f"{redacted(url)}: what follows {spec.name}:// is not the name of a host. A key belongs in "
            f"{spec.key_variables[0]}. To a host without a domain, add its port: {spec.name}://host:443"
        )
    if parts.fragment:
        raise ConfigError(f"{redacted(url)}: remove # and what follows. A key belongs in {spec.key_variables[0]}.")
    options = _options(spec, url, parts.query)
    path = parts.path.strip("/")
    if spec.app_variable:
        app = path or environment.get(spec.app_variable, "").strip()
        if not re.fullmatch(r"[a-z0-9-]{1,63}", app):
            raise ConfigError(
                f"{redacted(url)}: add the app's slug after the host: {spec.name}://host/my-app (lower-case letters, "
                f"digits and hyphens), or set {spec.app_variable}."
            )
        options["app"] = app
    elif path:
        raise ConfigError(
            f"{redacted(url)}: remove the path after the host: {spec.name}://{parts.netloc}. A key "
            f"belongs in {spec.key_variables[0]}."
        )
    for name in spec.required:
        if name not in options:
            raise ConfigError(f"{redacted(url)}: needs {name}, {spec.options[name]}: {spec.name}://?{name}=…")
    if parts.netloc:
        # Plain http on this machine only: elsewhere the key could be intercepted.
        return ProviderAddress(f"{'http' if local else 'https'}://{parts.netloc}{spec.path}", options)
    return ProviderAddress(_base_url(spec, url, environment), options)


def identity(spec: ProviderSpec, url: str, environment: Mapping[str, str]) -> str:
    """Return the same text for all spellings of an account's address. Raises ConfigError."""
    address = parse_address(spec, url, environment)
    parts = urlsplit(address.base_url)
    host = (parts.hostname or "").rstrip(".")  # a name that ends with a dot is the same
    host = "localhost" if is_loopback(host) else host
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    options = sorted((name, value) for name, value in address.options.items() if name != "page_size")
    return f"{spec.name} {host}:{port}{parts.path.rstrip('/')} {options}"


def _options(spec: ProviderSpec, url: str, query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in spec.options:
            known = f"Known options: {', '.join(spec.options)}" if spec.options else "It has no options"
            raise ConfigError(
                f"{redacted(url)}: unknown option {shown_option(name)!r}. {known}. A key is read only from "
                f"{spec.key_variables[0]}."
            )
        if name in options or not value.strip():
            raise ConfigError(f"{redacted(url)}: {name} is given {'twice' if name in options else 'without a value'}.")
        options[name] = value.strip()
    return options


def _base_url(spec: ProviderSpec, url: str, environment: Mapping[str, str]) -> str:
    """Return the base URL for an address that names no host."""
    variable = spec.base_url_variable
    given = environment.get(variable, "").strip() if variable else ""
    if not given:
        if spec.base_url is None:
            raise ConfigError(f"{redacted(url)}: name the host: {spec.name}://host (or set {variable}).")
        return spec.base_url
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https") or not is_host(parts.netloc) or parts.query:
        raise ConfigError(f"{variable}: is not a base URL such as https://host{spec.path}")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ConfigError(
            f"{variable}: reaches {parts.hostname} over plain http, where the key could be intercepted. Use https."
        )
    path = parts.path.rstrip("/") or spec.path
    return f"{parts.scheme}://{parts.netloc}{path}"


def page_size(address: ProviderAddress, usual: int) -> int:
    """Return the option `page_size`, or the usual size. Raises ConfigError if it is not a number of records."""
    given = address.options.get("page_size", str(usual))
    if not re.fullmatch(r"[1-9][0-9]{0,5}", given):
        raise ConfigError(f"page_size: {given!r} is not a number of customers per page, such as {usual}.")
    return int(given)


def service(spec: ProviderSpec, address: ProviderAddress, environment: Mapping[str, str]) -> Service:
    """Return the service with its key. Raises ConfigError that names the variable if no key is set."""
    key, variable = _key(spec, environment)
    return Service(
        title=spec.schema.title,
        base_url=address.base_url,
        key_variable=variable,
        key=key,
        headers=spec.header(key),
        advice=spec.advice(key),
        error_message=lambda body: _error_message(spec, body),
        per_second=spec.per_second,
    )


def _key(spec: ProviderSpec, environment: Mapping[str, str]) -> tuple[str, str]:
    for variable in spec.key_variables:
        key = environment.get(variable, "").strip()
        if not key:
            continue
        if not re.fullmatch(r"[\x21-\x7e]+", key):
            raise ConfigError(
                f"{variable}: contains characters that no {spec.schema.title} key has. Was it copied completely?"
            )
        return key, variable
    raise ConfigError(
        f"{spec.schema.title}: no key. Set {' or '.join(spec.key_variables)} to a key that may read customers."
    )


def _error_message(spec: ProviderSpec, body: bytes) -> str | None:
    import msgspec

    try:
        return spec.error_message(msgspec.json.decode(body))
    except (ValueError, AttributeError, TypeError, KeyError, IndexError, RecursionError):
        return None  # not in the provider's format: nothing to quote


def shown_names(names: Iterable[str]) -> str:
    """Return names from a provider's response, for a message: on one line, without secrets, at most 200 characters."""
    return known_secrets.safe_message(", ".join(names))


class HealthFinding(Struct, frozen=True):
    """The result of one check."""

    what: str
    state: Literal["ok", "warn", "fail"]
    sentence: str

    @property
    def is_given(self) -> bool:
        """Whether the check is of what the command was given, before the first request."""
        return self.what in ("address", "key")
