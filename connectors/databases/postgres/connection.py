"""One connection to Postgres: addresses, statements, bulk rows in and out as Arrow, and its errors in our words.

`postgresql://user@host:5432/db?table=billing.customers`, also `postgres://`. `table` and `query` are ours; every other
parameter belongs to libpq, the library all clients of Postgres share, and is handed to it as it stands: sslmode,
connect_timeout, options, service, host as the folder of a socket. A password comes from the address, PGPASSWORD,
~/.pgpass or a service file, as libpq does it, and is never shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, unquote

import pyarrow as pa
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from tranship.connectors.addresses import percent_decoded, redacted, schema_and_table
from tranship.connectors.errors import (
    Busy,
    ConfigError,
    ConnectorError,
    Interfered,
    Refused,
    TranshipError,
    Unreachable,
)

_OWN: Final = ("table", "query")
_HIDDEN: Final = "***"
"""What stands for a secret in an address that was shown, or kept for a resume: libpq then looks for it elsewhere."""
_NAME: Final = "tranship"
_LONGEST_NAME: Final = 63


@dataclass(frozen=True)
class Address:
    """Where a table is; `server` is what libpq is given, and may hold a password."""

    server: str
    schema: str | None
    """Null: wherever the server looks first for names without a schema."""
    table: str
    query: str | None
    shown: str
    """Server and database, for people."""

    def __repr__(self) -> str:
        return f"Address({self.shown})"


def parse(spec: str) -> Address:
    """`postgresql://…`, percent-encoded where need be (`%20`, `%26`, `%3F`); a name with a dot in double quotes.

    Raises ConfigError.
    """
    place, mark, options = spec.partition("?")
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
    if len(given) == 2:
        raise ConfigError(f"{redacted(spec)}: either a table or a query is read, not both.")
    percent_decoded(spec, "&".join([place, *others]))
    named = {option.partition("=")[0]: percent_decoded(spec, option.partition("=")[2]) for option in others}
    schema, table = schema_and_table(spec, given.get("table", "customers"))
    for name in (schema, table):
        if name and len(name.encode()) > _LONGEST_NAME:
            raise ConfigError(f"{redacted(spec)}: Postgres cuts names off after 63 bytes; {name!r} is longer.")
    server = f"{place}?{'&'.join(others)}" if others else place
    return Address(server, schema, table, given.get("query"), _shown(spec, place, named))


def identity(spec: str, environment: Mapping[str, str]) -> str:
    """One text for all spellings of a table's address, whoever connects. Raises ConfigError."""
    address = parse(spec)
    place, _, options = address.server.removeprefix("postgresql://").partition("?")
    named = dict(parse_qsl(options))
    user, _, rest = place.rpartition("@")
    hosts, _, path = (unquote(part) for part in rest.partition("/"))
    usual = named.get("port") or environment.get("PGPORT") or "5432"
    servers = []
    for one in (named.get("host") or named.get("hostaddr") or hosts or environment.get("PGHOST") or "").split(","):
        found = re.fullmatch(r"(\[.*\]|[^:]*)(?::(\d+))?", one)
        host, port = found.groups() if found else (one, None)
        local = host in ("", "localhost", "127.0.0.1", "::1", "[::1]")
        servers.append(f"{'localhost' if local else host.lower()}:{port or usual}")
    service = named.get("service") or environment.get("PGSERVICE") or ""
    database = named.get("dbname") or path or environment.get("PGDATABASE") or user.partition(":")[0]
    return f"postgresql {service} {','.join(servers)} {database} {address.schema or 'public'}.{address.table}"


def _shown(spec: str, place: str, named: dict[str, str]) -> str:
    """Host and database. Raises ConfigError."""
    hint = "postgresql://user@host:5432/database?table=customers"
    authority = place.removeprefix("postgresql://")
    if "@" in authority.rpartition("@")[0] or "/" in authority.rpartition("@")[0]:
        raise ConfigError(
            f"{redacted(spec)}: holds @ or / in the user's name or password; write %40 for @ and %2F for /, "
            "or leave the password to PGPASSWORD or ~/.pgpass."
        )
    # Several hosts are libpq's own way, and no URL to others.
    several = re.sub(r"^((?:[^/@]*@)?)[^/]*,[^/]*", r"\1several", authority)
    try:
        url = make_url(f"postgresql://{several}")
    except (ArgumentError, ValueError) as error:
        raise ConfigError(f"{redacted(spec)}: is no address of a database. Write {hint}") from error
    host = named.get("host") or named.get("hostaddr") or url.host or named.get("service") or "localhost"
    return f"{host}/{named.get('dbname') or url.database or ''}".rstrip("/")


# Connection ------------------------------------------------------------------------------------------------------


class Wire(Protocol):
    """One connection. Transactions are begun and ended by statements; what is open when it closes is undone."""

    def run(self, sql: str) -> int:
        """Run a statement; the number of rows it wrote. Raises ConnectorError."""
        ...

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What a query gives, as Python values. Raises ConnectorError."""
        ...

    def value(self, sql: str) -> Any:
        """The one value that a query gives."""
        ...

    def stream(self, sql: str) -> pa.RecordBatchReader:
        """What a query gives, batch by batch. Errors on the way are OSError, or whatever the reader makes of that;
        `broken` says what they mean.
        """
        ...

    def load(self, table: str, rows: pa.RecordBatchReader, *, schema: str | None = None) -> int:
        """Copy rows into a new temporary table, or into the table of a schema; how many. Raises ConnectorError."""
        ...

    def broken(self, doing: str, error: Exception) -> TranshipError:
        """What to raise when a stream broke."""
        ...

    def close(self) -> None:
        """Undo what was not committed and hang up."""
        ...


def why_broken(wire: Wire, address: Address, doing: str, error: Exception) -> TranshipError:
    """What a broken stream means: ask the connection whether it is still there."""
    try:
        wire.rows("SELECT 1")
    except Interfered as gone:
        return gone
    except ConnectorError:
        pass  # the transaction is undone, which is what the first error did
    if re.search(f"{_NOT_UTF8}|{_NO_UTF8}", str(error)):
        return _unreadable(address)
    return ConnectorError(f"{address.shown}: {doing} ({_primary(str(error))}).")


_NOT_UTF8: Final = r'"UTF8": (0x[0-9a-f]{2} ?)+'
"""The end of `invalid byte sequence for encoding "UTF8": 0xe9`, in whichever language the rest is."""
_NO_UTF8: Final = "holds text that is not UTF-8"


def _unreadable(address: Address) -> ConfigError:
    return ConfigError(
        f"{address.shown}: {_NO_UTF8}, and its encoding, SQL_ASCII, does not say what it is. Convert "
        "it at the server (UPDATE … SET name = convert_from(name::bytea, 'LATIN1')), or load into another database."
    )


def lost(address: Address) -> Interfered:
    """The connection is gone."""
    return Interfered(f"{address.shown}: the connection broke; what was not committed is undone.")


def connection_string(address: Address) -> str:
    """What libpq is given: the address, a name for pg_stat_activity, and UTF-8, since the last of two values counts."""
    server = address.server
    name = "" if "application_name" in server else f"fallback_application_name={_NAME}&"
    return f"{server}{'&' if '?' in server else '?'}{name}client_encoding=UTF8"


def arrow(schema: pa.Schema, batches: Iterable[pa.RecordBatch], json: Iterable[str]) -> pa.RecordBatchReader:
    """Batches as the wire wants them: text that is JSON says so, and lands in jsonb without a cast."""
    marked = set(json)
    fields = [field.with_type(pa.json_()) if field.name in marked else field for field in schema]
    wanted = pa.schema(fields)

    def each() -> Iterator[pa.RecordBatch]:
        for batch in batches:
            columns = [
                pa.ExtensionArray.from_storage(pa.json_(), column) if field.name in marked else column
                for field, column in zip(schema, batch.columns, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=wanted)

    return pa.RecordBatchReader.from_batches(wanted, each())


# Errors ----------------------------------------------------------------------------------------------------------

_UNDONE: Final = {
    "40001": "another transaction wrote the same rows",
    "40P01": "it was in a deadlock with another transaction",
    "57P01": "the server was shut down",
    "57P02": "the server crashed",
    "57P03": "the server is starting up or shutting down",
    "57P05": "the connection was idle for too long",
}
"""SQLSTATE → what happened, where the same work may be done anew."""


def translated(address: Address, state: str, message: str, name: str | None) -> TranshipError:
    """A server's error as one of ours, without the customer's data that Postgres likes to quote. `name` is that of the
    constraint or column that it is about. Raises KeyboardInterrupt where the user stopped the statement.
    """
    where = address.shown
    primary = _primary(message)
    if state in _UNDONE or state.startswith("08"):
        why = _UNDONE.get(state, "the connection broke")
        return Interfered(f"{where}: {why}; what was not committed is undone.")
    if state == "55P03":
        return Busy(f"{where}: is held by another transaction ({primary}).")
    if state == "57014" and "timeout" not in primary:
        # Control-C: the driver catches the signal, cancels the statement and tells only of that.
        raise KeyboardInterrupt
    if state == "57014":
        return Unreachable(
            f"{where}: a statement was cancelled ({primary}). Allow more with --statement-timeout, or for this user "
            "at the server."
        )
    if state == "22021" and re.search(_NOT_UTF8, message):
        return _unreadable(address)
    if state == "25006":
        return Refused(
            f"{where}: takes no writes: it is a standby or read-only ({primary}). Name the primary, or add "
            "target_session_attrs=read-write to an address with several hosts."
        )
    if state == "42501":
        return Refused(f"{where}: {primary}. Ask for the right, or connect as a user who has it.")
    if state.startswith("53"):
        return Unreachable(f"{where}: is out of resources ({primary}). Try later.")
    if state.startswith("23"):
        return Refused(
            f"{where}: refused the load; nothing was written ({name or primary}). "
            "Change the constraint or correct the records."
        )
    if state.startswith("P0"):
        return Refused(
            f"{where}: a trigger or function of the database stopped it ({primary}); what was not committed is undone. "
            "Correct the records, or change the trigger."
        )
    # The driver keeps no SQLSTATE of an error that comes as a COPY begins.
    return ConnectorError(f"{where}: {primary}{f' (SQLSTATE {state})' if state else ''}.")


def _primary(text: str) -> str:
    """The first line of a message without values: what stands quoted behind a colon, and e-mails."""
    line = re.sub(r"^[A-Z_]+: ", "", text.strip().splitlines()[0] if text.strip() else "no reason given")
    line = re.sub(r"^.*?(?:ERROR|FATAL): +", "", line)
    line = re.sub(r': "(?:[^"]|"")*"', "", line)
    line = re.sub(r"\s*\(?Query was: .*|[. ]*SQLSTATE: .*", "", line)
    return re.sub(r"[^\s\"'(]+@[^\s\"')]+", "***", line).rstrip(".")


class MissingDatabase(ConfigError):
    """There is no such database at the server."""

    def __init__(self, message: str, name: str) -> None:
        """Its message, and the name that was asked for."""
        super().__init__(message)
        self.name = name


def not_connected(address: Address, text: str) -> TranshipError:
    """libpq has no SQLSTATE when it cannot connect; what it says is English or the server's language."""
    said = re.sub(r"^.*?(Failed to connect|connection failed|connection is bad): ", "", text, flags=re.DOTALL).strip()
    first = said.splitlines()[0] if said else "no reason given"
    where = address.shown
    if "Failed to execute query" in text or "server closed the connection" in text:
        return Unreachable(f"{where}: hung up on a new connection. Try later.")
    if not first.startswith(("connection to server", "could not translate host name", "could not connect")):
        # A parameter that libpq does not understand: it quotes what stood there, which may be a secret.
        harmless = re.match(r"invalid (URI query parameter|sslmode value)|definition of service", first)
        safe = first if harmless else re.sub(r'"[^"]*"', '"…"', first)
        return ConfigError(
            f"{where}: the address cannot be used ({safe}). Of its parameters table and query are "
            "Tranship's own; the others are those of libpq."
        )
    fatal = re.search(r"FATAL: +(.*)", said)
    if "no password supplied" in said:
        return Refused(
            f"{where}: a password is wanted, and none was found. Set PGPASSWORD, or a line in ~/.pgpass (which "
            "nobody else may read)."
        )
    if fatal is None and re.search("SSL|certificate", said):
        return Refused(f"{where}: {_reason(said)} Check sslmode and the certificates that the address names.")
    if fatal is None:
        return Unreachable(f"{where}: {_reason(said)} Check host and port, and that the server runs.")
    words = fatal[1]
    if re.search(r"password|authentication|no pg_hba\.conf|role|ssl", words, re.IGNORECASE):
        return Refused(
            f"{where}: {words}. Check the user, and the password in PGPASSWORD or ~/.pgpass (sslmode may matter)."
        )
    if missing := re.search(r'database "(.*)" does not exist', words):
        return MissingDatabase(f"{where}: {words}. Create it, or name another.", missing[1])
    if re.search(r"invalid value for parameter", words):
        return ConfigError(f"{where}: {words}. Correct it in the address or the environment.")
    if re.search(r"permission denied", words):
        return Refused(f"{where}: {words}. Ask for the right to connect.")
    return Unreachable(f"{where}: {words}. Try later.")


def _reason(said: str) -> str:
    """`no connection to port 5432: Connection refused.` of `connection to server at …, port 5432 failed: …`."""
    first = said.splitlines()[0]
    first = re.sub(r"^connection to server at .*?, port (\d+) failed: ", r"no connection to port \1: ", first)
    return f"{re.sub(r'^connection to server .*? failed: ', 'no connection: ', first).rstrip('.')}."
