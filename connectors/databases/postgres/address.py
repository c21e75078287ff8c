"""Addresses of Postgres tables: `postgresql://user@host:5432/db?table=billing.customers`, also `postgres://`.

`table`, `query` and `as_of` belong to Tranship. All other parameters are passed unchanged to libpq, the library that
all Postgres clients share: sslmode, connect_timeout, options, service, host as the folder of a socket. The password is
read from the address, PGPASSWORD, ~/.pgpass or a service file, as in libpq, and is never shown.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from urllib.parse import parse_qsl, unquote

from msgspec import Struct
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from tranship.connectors.address_secrets import is_misplaced
from tranship.connectors.addresses import percent_decoded, redacted, schema_and_table
from tranship.connectors.databases.as_of import parse_as_of
from tranship.connectors.errors import (
    ConfigError,
)

_OWN: Final = ("table", "query", "as_of")

_HIDDEN: Final = "***"
"""Replacement for a secret in an address that was shown, or saved for a resume: libpq then looks for it elsewhere."""

LONGEST_NAME: Final = 63


class PostgresAddress(Struct, frozen=True):
    """A server and a table or query on it; `server` is passed to libpq and may contain a password."""

    server: str
    schema: str | None
    """Null: the first schema of the server's search path."""
    table: str
    query: str | None
    shown: str
    """Server and database, for messages."""
    as_of: datetime | None = None
    """The moment as of which the table is read; null: as it is."""

    def __repr__(self) -> str:
        return f"Address({self.shown})"


def parse_address(spec: str) -> PostgresAddress:
    """`postgresql://…`, percent-encoded where need be (`%20`, `%26`, `%3F`); a name with a dot in double quotes.

    Raises ConfigError.
    """
    if is_misplaced(spec):
        raise ConfigError(
            f"{redacted(spec)}: the password contains @, /, ? or #, or no host follows it. Write @ as %40, / as %2F, ? "
            "as %3F and # as %23, or keep the password in PGPASSWORD or ~/.pgpass."
        )
    place, mark, options = spec.partition("?")
    if "#" in place:
        raise ConfigError(
            f"{redacted(spec)}: contains #. Write it as %23 in a name. A password belongs in PGPASSWORD or ~/.pgpass."
        )
    place = re.sub("^postgres(ql)?://", "postgresql://", place, flags=re.IGNORECASE)
    place = place.replace(f":{_HIDDEN}@", "@")
    given: dict[str, str] = {}
    others: list[str] = []
    for option in options.split("&") if mark else ():
        key, _, value = option.partition("=")
        if key not in _OWN:
            others += [option] if value != _HIDDEN else []
            continue
        if key in given or not value:
            raise ConfigError(f"{redacted(spec)}: {key} is given {'twice' if value else 'no value'}.")
        given[key] = percent_decoded(spec, value)
    if "query" in given and len(given) > 1:
        other = next(name for name in given if name != "query")
        raise ConfigError(f"{redacted(spec)}: give either {other} or query, not both.")
    percent_decoded(spec, "&".join([place, *others]))
    named = {option.partition("=")[0]: percent_decoded(spec, option.partition("=")[2]) for option in others}
    schema, table = schema_and_table(spec, given.get("table", "customers"))
    for name in (schema, table):
        if name and len(name.encode()) > LONGEST_NAME:
            raise ConfigError(f"{redacted(spec)}: Postgres truncates names after 63 bytes; {name!r} is longer.")
    server = f"{place}?{'&'.join(others)}" if others else place
    as_of = parse_as_of(spec, given["as_of"]) if "as_of" in given else None
    return PostgresAddress(server, schema, table, given.get("query"), _shown(spec, place, named), as_of)


def identity(spec: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return one text for all spellings of a table's address, for any user. Raises ConfigError."""
    address = parse_address(spec)
    place, _, options = address.server.removeprefix("postgresql://").partition("?")
    named = dict(parse_qsl(options))
    user, _, rest = place.rpartition("@")
    hosts, _, path = (unquote(part) for part in rest.partition("/"))
    usual = named.get("port") or environment.get("PGPORT") or "5432"
    servers = []
    for server in (named.get("host") or named.get("hostaddr") or hosts or environment.get("PGHOST") or "").split(","):
        found = re.fullmatch(r"(\[.*\]|[^:]*)(?::(\d+))?", server)
        host, port = found.groups() if found else (server, None)
        host = host.lower().rstrip(".")  # a name that ends with a dot is the same
        local = host in ("", "localhost", "127.0.0.1", "::1", "[::1]")
        servers.append(f"{'localhost' if local else host}:{port or usual}")
    service = named.get("service") or environment.get("PGSERVICE") or ""
    database = named.get("dbname") or path or environment.get("PGDATABASE") or user.partition(":")[0]
    return f"postgresql {service} {','.join(servers)} {database} {address.schema or 'public'}.{address.table}"


def _shown(spec: str, place: str, named: dict[str, str]) -> str:
    """Return host and database. Raises ConfigError."""
    hint = "postgresql://user@host:5432/database?table=customers"
    authority = place.removeprefix("postgresql://")
    if "@" in authority.rpartition("@")[0] or "/" in authority.rpartition("@")[0]:
        raise ConfigError(f"{redacted(spec)}: the user name contains @ or /. Write @ as %40 and / as %2F.")
    # A list of hosts is a libpq extension and not a valid URL.
    several = re.sub(r"^((?:[^/@]*@)?)[^/]*,[^/]*", r"\1several", authority)
    try:
        url = make_url(f"postgresql://{several}")
    except (ArgumentError, ValueError) as error:
        raise ConfigError(f"{redacted(spec)}: is not a database address. Use {hint}") from error
    host = named.get("host") or named.get("hostaddr") or url.host or named.get("service") or "localhost"
    return f"{host}/{named.get('dbname') or url.database or ''}".rstrip("/")
