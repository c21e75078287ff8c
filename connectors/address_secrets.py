"""Find the places where an address may contain a secret, even if it is malformed.

A password may contain `?`, `#`, `/` and `@` unescaped, and a key may be given as host, path, fragment or option, where
it does not belong. Doubtful pieces are treated as secrets.
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Generator, Iterator
from functools import cache
from typing import Final

from tranship.schemas import providers

Span = tuple[int, int]
"""Start and end of a piece of an address."""

_DATABASES: Final = ("postgresql", "postgres", "duckdb")
WEB: Final = ("http", "https")
"""Schemes of addresses on the web."""

_LIBPQ: Final = """
host hostaddr port dbname user passfile require_auth channel_binding connect_timeout client_encoding options
application_name fallback_application_name keepalives keepalives_idle keepalives_interval keepalives_count
tcp_user_timeout replication gssencmode sslmode sslnegotiation sslcompression sslcert sslcertmode sslrootcert sslcrl
sslcrldir sslkey sslkeylogfile sslsni requirepeer min_protocol_version max_protocol_version ssl_min_protocol_version
ssl_max_protocol_version krbsrvname gsslib gssdelegation oauth_issuer oauth_client_id oauth_scope service
target_session_attrs load_balance_hosts
"""
_OPTIONS: Final = frozenset(("table", "query", "as_of", "source", "page_size", *_LIBPQ.split()))
"""Options of databases and providers whose values are not secret: Tranship's own, and those of libpq."""

_NAME: Final = re.compile(r"pass|pwd|secret|token|key|sig|credential", re.IGNORECASE)
"""Names of options that are secrets anywhere."""
_KEYWORD: Final = re.compile(r"\b(?:password|passwd|pwd)\s*=\s*('(?:[^'\\]|\\.)*'|[^\s;&]+)", re.IGNORECASE)
"""A password in a connection string that is not a URL: `host=db password=…`."""
_PORT: Final = re.compile(r"\d*|\*\*\*")
_SEGMENT: Final = re.compile(r"[^/]+")
_TIME: Final = re.compile(r"\d{8}T\d{4,6}Z?")
_TOKEN: Final = re.compile(r"[a-z]k_(?:live|test|prod)_\w{8}|[A-Za-z0-9]{16,}")
_CHANGES: Final = re.compile(r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])")
_FEWEST_CHANGES: Final = 3
"""Changes between letters and digits, from which a long word in the path of a web address is treated as a token."""
_LIKELY_SECRET: Final = 16
"""The length from which the value of an option of a web address is treated as a secret, whatever its name."""


def spans(address: str, *, certain: bool = False) -> Iterator[Span]:
    """Yield the places of all secrets, in order; with `certain`, without values of a web address that may be ordinary
    words.
    """
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", address)
    if not scheme:
        yield from _without_slashes(address)
        return
    name, start = scheme[1].lower(), scheme.end()
    strict = name in _DATABASES or name in _providers()
    host = yield from _user(address, start, name, strict=strict)
    query = address.find("?", host)
    fragment = address.find("#", host)
    if query < 0 or (fragment >= 0 and fragment < query):
        query = len(address)
    end = len(address)
    if fragment >= 0 and (name in WEB or name in _providers() or (name.startswith("postgres") and fragment < query)):
        end = fragment
    place_end = min(query, end)
    if name in WEB:
        yield from _tokens(address, address.find("/", host, place_end), place_end)
    if name in _providers():
        yield from _place_of_provider(address, host, place_end, follows_key=host > start)
    yield from _options(address, query + 1, end, name, strict=strict, certain=certain)
    if end < len(address) - 1:
        yield end + 1, len(address)


def is_host(text: str) -> bool:
    """Return whether a text may be a host with an optional port, and not a key: a name with a dot, an IP address,
    `localhost`, or any name with a port.
    """
    if re.fullmatch(r"\[[0-9A-Fa-f:.]+\](:\d+)?|\d{1,3}(\.\d{1,3}){3}(:\d+)?|localhost(:\d*)?", text, re.IGNORECASE):
        return True
    label = r"(?:[a-z0-9]|[a-z0-9][a-z0-9-]{0,61}[a-z0-9])"
    full, short = rf"{label}(?:\.{label})*\.[a-z][a-z0-9-]*[a-z0-9]\.?(:\d+)?", rf"{label}:\d+"
    # Each part of a name is written in one case; a key that has dots mixes them.
    name = ".".join(part.lower() if part.isupper() else part for part in text.split("."))
    return re.fullmatch(f"{full}|{short}", name) is not None


def is_misplaced(address: str) -> bool:
    """Return whether a password contains `?`, `#`, `/` or `@` unescaped, or no host follows it."""
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", address)
    found = [
        (start, end)
        for start, end in (_user(address, scheme.end(), scheme[1].lower(), strict=True) if scheme else ())
        if re.search(r"[?#/@]", address[start:end]) or address[end : end + 1] != "@"
    ]
    return bool(found)


def is_connection_string(address: str) -> bool:
    """Return whether this is a Postgres address, but not a URL: `host=db password=…`, `postgresql:user:…@host`."""
    others = ("http", *(f"{name}:" for name in _providers()))
    found = "://" not in address and next(_without_slashes(address), None) is not None
    return found and not address.lower().startswith(others)


def shown_option(name: str) -> str:
    """Return the name of an unknown option, hidden where it may be a key."""
    return name if re.fullmatch(r"[A-Za-z_.-]{1,30}", name) else "***"


@cache
def _providers() -> frozenset[str]:
    return frozenset(module.name for module in pkgutil.iter_modules(providers.__path__))


def _without_slashes(address: str) -> Iterator[Span]:
    """Yield the secrets of a path, of a connection string in libpq's own form, or of `postgresql:user:…@host`."""
    forgotten = re.match(r"(?:postgres(?:ql)?|https?):/?(?=.*@)", address, re.IGNORECASE | re.DOTALL)
    if forgotten:
        yield forgotten.end(), address.rindex("@")
        return
    provider = re.match(r"([a-z]+):/?", address, re.IGNORECASE)
    if provider and provider[1].lower() in _providers() and provider.end() < len(address):
        yield provider.end(), len(address)
        return
    yield from (found.span(1) for found in _KEYWORD.finditer(address))
    query = address.find("?")
    if query >= 0 and not _KEYWORD.search(address):
        yield from _options(address, query + 1, len(address), "", strict=False, certain=True)


def _user(address: str, start: int, scheme: str, *, strict: bool) -> Generator[Span, None, int]:
    """Yield the secret before the host, if any; return where the host starts."""
    found = re.compile(r"[/?#]").search(address, start)
    authority_end = found.start() if found else len(address)
    options = re.compile(r"\?[A-Za-z_][\w.-]*=").search(address, start)
    while options and strict and options[0][1:-1].lower() not in _OPTIONS and not _NAME.search(options[0]):
        options = re.compile(r"\?[A-Za-z_][\w.-]*=").search(address, options.end())
    place_end = options.start() if options else len(address)
    has_user = "@" in address[start:authority_end]
    at = -1
    if has_user:
        at = address.rfind("@", start, place_end)
    elif _is_cut_off(address, start, authority_end, place_end, strict=strict):
        at = address.rfind("@", start)
        if at < 0:
            at = authority_end
    if at < 0:
        return start
    colon = address.find(":", start, at)
    # Before a host, a user name alone is not secret; text after `?` or `#` may be.
    alone = at if has_user else authority_end
    secret = start if not scheme.startswith("postgres") else colon + 1 if colon >= 0 else alone
    if secret < at:
        yield secret, at
    return min(at + 1, len(address)) if at < len(address) and address[at] == "@" else at


def _is_cut_off(address: str, start: int, authority_end: int, place_end: int, *, strict: bool) -> bool:
    """Return whether a password seems to be cut off by a `/`, `?` or `#` in it, or to have no host after it."""
    authority = address[start:authority_end]
    hosts = re.sub(r"\[[^\]]*\]", "", authority).split(",")
    if any(not _PORT.fullmatch(host.partition(":")[2]) for host in hosts):
        return True
    # The rest is not options.
    rest = address[authority_end:place_end]
    return "@" in rest and (rest[0] in "?#" or (strict and ":" in authority))


def _place_of_provider(address: str, host: int, end: int, *, follows_key: bool) -> Iterator[Span]:
    """Yield a host, and a path, that seems to be a key."""
    slash = address.find("/", host, end)
    host_end = slash if slash >= 0 else end
    if host < host_end and not follows_key and not is_host(address[host:host_end]):
        yield host, host_end
    path = address[host_end + 1 : end].rstrip("/")
    if path and not (re.fullmatch(r"[a-z0-9-]{1,63}", path) and len(re.findall(r"\d", path)) <= 4):
        yield host_end + 1, end


def _tokens(address: str, start: int, end: int) -> Iterator[Span]:
    """Yield the parts of a path between slashes that contain a random word, as links for those who know them have."""
    for part in _SEGMENT.finditer(address, start, end) if start >= 0 else ():
        for word in _TOKEN.finditer(_TIME.sub("-", part[0])):
            if not word[0].isalnum() or len(_CHANGES.findall(word[0])) >= _FEWEST_CHANGES:
                yield part.span()
                break


def _options(address: str, start: int, end: int, scheme: str, *, strict: bool, certain: bool) -> Iterator[Span]:
    for option in re.compile(r"[^&;]+" if scheme in WEB else r"[^&]+").finditer(address, min(start, end), end):
        name, equals, value = option[0].partition("=")
        at = (option.start() + len(name) + 1, option.end())
        if scheme in WEB:
            is_secret = not certain or bool(_NAME.search(name)) or len(value or name) >= _LIKELY_SECRET
        elif strict:
            is_secret = name.lower() not in _OPTIONS
        else:
            is_secret = bool(equals and _NAME.search(name))
        if is_secret:
            yield at if equals and (not strict or shown_option(name) == name) else option.span()
