"""Runs with `--history` at given times, and the history that they leave, in short."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from support.warehouse import PostgresWarehouse, Record, Warehouse, write_csv
from tranship.pipelines import run as flow
from tranship.pipelines import settings
from tranship.pipelines.report import Report

Table = Warehouse | PostgresWarehouse

MIRROR = {"mode": "mirror", "max_deletes": "100%"}
REMOVE = {**MIRROR, "deletes": "remove"}


def record(key: str, name: str, day: int | None = None, **more: str | None) -> dict[str, str | None]:
    """Return a customer whose `updated_at` is the beginning of a day in January 2026."""
    updated = {"updated_at": f"2026-01-{day:02}T00:00:00Z"} if day else {}
    return {"external_id": key, "email": f"{key.replace(':', '.')}@example.com", "name": name, **updated, **more}


def run(table: Table, day: int, records: Sequence[Record], **options: Any) -> Report:
    """Load records at noon of a day in January 2026."""
    given = {
        "source": str(write_csv(table.folder / "in.csv", records)),
        **{"destination": table.address(), "state_dir": table.folder / "state", "max_conflicts": "100%"},
        **{"history": True, "older": "skip"},
    }
    return flow.run(settings.load({**given, **options}, {}), now=datetime(2026, 1, day, 12, tzinfo=UTC))


def versions(table: Table, value: str = "name", history: str = "customers_history") -> list[str]:
    """Return each version in a line: key, value, `-` if it is deleted, and its span (`03` the beginning of a day, `03r`
    the time of its run, `03r+` a microsecond later).
    """
    rows = table.rows(
        f"SELECT customer_key, {value} AS value, deleted, valid_from, valid_to FROM {history} ORDER BY 1, valid_from"
    )
    return [
        f"{row['customer_key']} {'-' if row['deleted'] else ''}{row['value']} "
        f"{_short(row['valid_from'])}..{_short(row['valid_to'])}"
        for row in rows
    ]


def _short(moment: datetime | None) -> str:
    if moment is None:
        return ""
    moment = moment.astimezone(UTC)
    rest = moment - moment.replace(hour=0, minute=0, second=0, microsecond=0)
    noon = timedelta(hours=12)
    marks = {timedelta(): "", noon: "r", noon + timedelta(microseconds=1): "r+"}
    return f"{moment.day:02}{marks[rest]}" if moment.month == 1 else f"{moment:%Y-%m-%d}"


def notes(report: Report) -> str:
    """Return the notes about the history."""
    return "; ".join(note for note in report.notes if "history" in note)
