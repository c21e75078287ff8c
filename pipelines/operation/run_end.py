"""The end of a run, as a value for everything that is notified of it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct

from tranship.connectors import known_secrets
from tranship.connectors.errors import TranshipError
from tranship.pipelines.report import Report
from tranship.pipelines.run_directory import RunDirectory

State = Literal["ok", "degraded", "stopped", "failed", "late"]
"""Of a pipeline. degraded: done, but records were rejected or refused, or something unexpected was measured. stopped:
by a limit, before the first write. late: no run has succeeded for too long.
"""

SKIPPED: Final = 6
"""Exit code of a run that another one made unnecessary; the state of its pipeline is that of the other one."""


class RunEnd(Struct, frozen=True):
    """How a run ended. `report` is null if it ended before it had a directory, `error` if none broke it off."""

    pipeline: str
    source: str
    destination: str
    started_at: datetime
    ended_at: datetime
    exit_code: int
    report: Report | None
    error: str | None
    unexpected: tuple[str, ...] = ()

    @property
    def state(self) -> State:
        """The state that this run leaves its pipeline in."""
        if self.exit_code == 5:
            return "stopped"
        if self.exit_code not in (0, 4):
            return "failed"
        return "degraded" if self.exit_code or self.unexpected else "ok"

    @property
    def succeeded(self) -> bool:
        """Whether the records that could be written were written."""
        return self.exit_code in (0, 4)

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.ended_at - self.started_at).total_seconds()

    @property
    def source_bytes(self) -> int | None:
        """The size of the source; null if it is not known, as of a table or a provider."""
        if self.report is None:
            return None
        sizes = [part.get("size") for part in RunDirectory.at(Path(self.report.run_dir)).manifest.get("source", [])]
        return sum(sizes) if sizes and all(isinstance(size, int) for size in sizes) else None


def exit_code_of(error: BaseException) -> int:
    """Return the exit code of a run that this error broke off."""
    if isinstance(error, KeyboardInterrupt):
        return 130
    return error.exit_code if isinstance(error, TranshipError) else 1


def message_of(error: BaseException) -> str:
    """Return an error in a form that may be sent: without secrets and e-mail addresses, and without the message of an
    exception that is not Tranship's own, which may quote a record.
    """
    if isinstance(error, TranshipError):
        return known_secrets.safe_message(str(error))
    return "interrupted" if isinstance(error, KeyboardInterrupt) else f"a bug in Tranship ({type(error).__name__})"
