"""Errors of the server and of libpq as Tranship's errors, without the customer data that Postgres quotes."""

from __future__ import annotations

import re
from typing import Final

from tranship.connectors import known_secrets
from tranship.connectors.databases.postgres.address import PostgresAddress
from tranship.connectors.databases.quoted_values import without_values
from tranship.connectors.errors import (
    Busy,
    ConfigError,
    ConnectorError,
    Interfered,
    Refused,
    TranshipError,
    Unreachable,
)

NOT_UTF8: Final = r'"UTF8": (0x[0-9a-f]{2} ?)+'
"""The end of `invalid byte sequence for encoding "UTF8": 0xe9`; the rest is in the server's language."""

NO_UTF8: Final = "contains text that is not UTF-8"


def not_utf8_error(address: PostgresAddress) -> ConfigError:
    """Return the error for text that is not UTF-8."""
    return ConfigError(
        f"{address.shown}: {NO_UTF8}, and its encoding, SQL_ASCII, does not define how text is encoded. Convert "
        "it at the server (UPDATE … SET name = convert_from(name::bytea, 'LATIN1')), or load into another database."
    )


def connection_lost(address: PostgresAddress) -> Interfered:
    """Return the error for a lost connection."""
    return Interfered(f"{address.shown}: the connection was lost; uncommitted changes were rolled back.")


_UNDONE: Final = {
    "40001": "another transaction wrote the same rows",
    "40P01": "it was in a deadlock with another transaction",
    "57P01": "the server was shut down",
    "57P02": "the server crashed",
    "57P03": "the server is starting up or shutting down",
    "57P05": "the connection was idle for too long",
}
"""SQLSTATE → what happened, for errors after which the same work may be repeated."""


def translate_error(
    address: PostgresAddress, state: str, message: str, name: str | None, context: str | None
) -> TranshipError:
    """Return a server's error as one of Tranship's, without the customer data that Postgres quotes. `name` is that of
    the constraint or column concerned, `context` the server's call stack. Raises KeyboardInterrupt if the user stopped
    the statement.
    """
    where = address.shown
    if place := _raised_by(state, context or ""):
        return Refused(
            f"{where}: a trigger or function of the database raised an error ({place}); uncommitted changes were "
            "rolled back. Its message may name a customer: see the server's log. Correct the records, or "
            "change the trigger."
        )
    primary = primary_message(message)
    if state in _UNDONE or state.startswith("08"):
        why = _UNDONE.get(state, "the connection was lost")
        return Interfered(f"{where}: {why}; uncommitted changes were rolled back.")
    if state == "55P03":
        return Busy(f"{where}: is locked by another transaction ({primary}).")
    if state == "57014" and "timeout" not in primary:
        # Control-C: the driver catches the signal, cancels the statement and reports only that.
        raise KeyboardInterrupt
    if state == "57014":
        return Unreachable(
            f"{where}: a statement was cancelled ({primary}). Increase --statement-timeout, or the limit of this "
            "user on the server."
        )
    if state == "22021" and re.search(NOT_UTF8, message):
        return not_utf8_error(address)
    if state == "25006":
        return Refused(
            f"{where}: does not accept writes: it is a standby or read-only ({primary}). Connect to the primary, or "
            "add target_session_attrs=read-write to an address with several hosts."
        )
    if state == "42501":
        return Refused(f"{where}: {primary}. Request the privilege, or connect as a user who has it.")
    if state.startswith("53"):
        return Unreachable(f"{where}: is out of resources ({primary}). Try again later.")
    if state.startswith("23"):
        return Refused(
            f"{where}: refused the load; nothing was written ({name or primary}). "
            "Change the constraint or correct the records."
        )
    # The driver has no SQLSTATE for an error at the start of a COPY.
    return ConnectorError(f"{where}: {primary}{f' (SQLSTATE {state})' if state else ''}.")


def primary_message(text: str) -> str:
    """Return the first line of a message, without quoted values and e-mails."""
    line = re.sub(r"^[A-Z_]+: ", "", text.strip().splitlines()[0] if text.strip() else "no reason given")
    line = re.sub(r"^.*?(?:ERROR|FATAL): +", "", line)
    line = re.sub(r"(?<!\s)\s*\(?Query was: .*|(?<![. ])[. ]*SQLSTATE: .*", "", line)
    return known_secrets.safe_message(without_values(line)).rstrip(".")


def stream_message(text: str) -> str:
    """Return the same for an error in a stream, of which the driver has only the text."""
    found = re.search(r"SQLSTATE: (\w{5})", text), re.search(r"^CONTEXT: +(.*)", text, re.MULTILINE)
    state, context = (match[1] if match else "" for match in found)
    place = _raised_by(state, context)
    return f"raised by {place}; its message is in the server's log" if place else primary_message(text)


def _raised_by(state: str, context: str) -> str:
    """Return where code of the database raised an error with a message of its own, which may contain anything; empty
    for the server's errors. `RAISE` and `ASSERT` are in the context in every language.
    """
    first = context.split("\n", 1)[0].strip()
    if not state.startswith("P0") and not re.search(r"^PL/(?!pgSQL)|\b(?:RAISE|ASSERT)$", first):
        return ""
    found = re.search(r"(?<!\S)(\S+\([^()]*\))\D*(\d+)?", first)
    if not found:
        return f"SQLSTATE {state}"
    return f"function {found[1][:200]}{f', line {found[2]}' if found[2] else ''}, SQLSTATE {state}"


class MissingDatabase(ConfigError):
    """The server has no such database."""

    def __init__(self, message: str, name: str) -> None:
        """Create it from its message and the name of the database."""
        super().__init__(message)
        self.name = name


def connect_error(address: PostgresAddress, text: str) -> TranshipError:
    """Return the error for a failed connection, from its text: libpq has no SQLSTATE then."""
    text = known_secrets.without_secrets(text)
    message = re.sub(
        r"^.*?(Failed to connect|connection failed|connection is bad): ", "", text, flags=re.DOTALL
    ).strip()
    first = message.splitlines()[0] if message else "no reason given"
    where = address.shown
    if "Failed to execute query" in text or "server closed the connection" in text:
        return Unreachable(f"{where}: closed the new connection. Try again later.")
    if not first.startswith(("connection to server", "could not translate host name", "could not connect")):
        # A parameter that libpq does not understand: it quotes the value, which may be a secret.
        harmless = re.match(r"invalid (URI query parameter|sslmode value)|definition of service", first)
        safe = first if harmless else re.sub(r'"[^"]*"', '"…"', first)
        return ConfigError(
            f"{where}: the address cannot be used ({safe}). The parameters table and query belong to "
            "Tranship; all others are passed to libpq."
        )
    fatal = re.search(r"FATAL: +(.*)", message)
    if "no password supplied" in message:
        return Refused(
            f"{where}: a password is required, but none was found. Set PGPASSWORD, or add a line to ~/.pgpass (which "
            "only you may read)."
        )
    if fatal is None and re.search("SSL|certificate", message):
        return Refused(f"{where}: {_reason(message)} Check sslmode and the certificates that the address names.")
    if fatal is None:
        return Unreachable(f"{where}: {_reason(message)} Check host and port, and that the server is running.")
    words = fatal[1]
    if re.search(r"password|authentication|no pg_hba\.conf|role|ssl", words, re.IGNORECASE):
        return Refused(
            f"{where}: {words}. Check the user, and the password in PGPASSWORD or ~/.pgpass (sslmode may matter)."
        )
    if describe_missing := re.search(r'database "(.*)" does not exist', words):
        return MissingDatabase(f"{where}: {words}. Create it, or name another one.", describe_missing[1])
    if re.search(r"invalid value for parameter", words):
        return ConfigError(f"{where}: {words}. Correct it in the address or the environment.")
    if re.search(r"permission denied", words):
        return Refused(f"{where}: {words}. Ask for permission to connect.")
    return Unreachable(f"{where}: {words}. Try again later.")


def _reason(message: str) -> str:
    """`no connection to port 5432: Connection refused.` of `connection to server at …, port 5432 failed: …`."""
    first = message.splitlines()[0]
    first = re.sub(r"^connection to server at .*?, port (\d+) failed: ", r"no connection to port \1: ", first)
    return f"{re.sub(r'^connection to server .*? failed: ', 'no connection: ', first).rstrip('.')}."
