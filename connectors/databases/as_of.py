"""Reading a table as it was: `?table=customers&as_of=2026-01-31`, from its history (`--history`)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from tranship.connectors.addresses import redacted
from tranship.connectors.databases.history_table import GONE, RECORDED_AT, VALID_FROM, VALID_TO
from tranship.connectors.databases.quoting import quoted
from tranship.connectors.databases.table_mapping import RUN
from tranship.connectors.errors import ConfigError
from tranship.schemas.customer import KEY


def parse_as_of(spec: str, text: str) -> datetime:
    """Return the moment in an address: a date (its beginning) or a time, in UTC unless it has a zone. Raises
    ConfigError.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"{redacted(spec)}: as_of {text!r} is not a time. Write 2026-01-31 or 2026-01-31T18:00:00Z"
        ) from None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def shown(moment: datetime) -> str:
    """Return a moment for the name of a source."""
    return f" as of {moment.replace(tzinfo=None).isoformat()}Z"


def cannot_be_written(spec: str) -> ConfigError:
    """Return the error for such an address as a destination."""
    return ConfigError(f"{redacted(spec)}: a table can be read as of a time, not written. Leave as_of out.")


def relation(history: str, columns: Sequence[str], moment: datetime) -> str:
    """Return the customers of a moment as a relation, with the columns of the table but those of Tranship."""
    at = f"TIMESTAMP WITH TIME ZONE '{moment.isoformat()}'"
    kept = [quoted(name) for name in columns if name not in (KEY, RUN, GONE, RECORDED_AT, VALID_FROM, VALID_TO)]
    return (
        f"(SELECT {', '.join(kept)} FROM {history} WHERE {VALID_FROM} <= {at} "
        f"AND ({VALID_TO} > {at} OR {VALID_TO} IS NULL) AND NOT {GONE})"
    )


def note(moment: datetime, begins: datetime | None) -> str:
    """Return the note on what is read, given when the history begins; null if it is empty."""
    said = f"read as of {moment.replace(tzinfo=None)} UTC"
    return said if begins is None or begins <= moment else f"{said}, before the history begins ({begins:%Y-%m-%d})"


def no_history(name: str, history: str) -> ConfigError:
    """Return the error for a table without a history."""
    return ConfigError(f"{name}: has no history {history} to read as_of from. Runs with --history keep one.")
