"""The contents of alerts: counts, codes of reasons and paths of reports, but no data of customers."""

from __future__ import annotations

import dataclasses
import socket
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from tranship.pipelines.operation.alerts import Kind
from tranship.pipelines.operation.pipeline_state import PipelineState
from tranship.pipelines.operation.run_end import RunEnd, State
from tranship.schemas.counted import counted
from tranship.schemas.schema_version import SCHEMA_VERSION
from tranship.schemas.visible import visible

_MOST_REASONS: Final = 5


def message(kind: Kind, before: State, state: PipelineState, now: datetime, end: RunEnd | None) -> dict[str, Any]:
    """Return an alert as JSON. `text` is for people. `before` is the state that the address knew; `end` is null for a
    pipeline that is late.
    """
    return {
        "text": "\n".join(map(visible, _lines(kind, before, state, now, end))),
        "kind": kind,
        "schema_version": SCHEMA_VERSION,
        "pipeline": state.pipeline,
        "state": state.state,
        "before": before,
        "since": _iso(state.state_since),
        "last_success": _iso(state.last_success),
        "host": socket.gethostname(),
        **(_of_run(end) if end else {}),
    }


def _of_run(end: RunEnd) -> dict[str, Any]:
    report = end.report
    return {
        "source": end.source,
        "destination": end.destination,
        "exit_code": end.exit_code,
        "error": end.error,
        "unexpected": list(end.unexpected),
        "seconds": round(end.seconds, 1),
        "run_id": report.run_id if report else None,
        "counts": dataclasses.asdict(report.counts) if report else None,
        "rejects_by_code": dict(report.rejects_by_code) if report else {},
        "report": str(Path(report.files["page"]).absolute()) if report and "page" in report.files else None,
    }


def _lines(kind: Kind, before: State, state: PipelineState, now: datetime, end: RunEnd | None) -> list[str]:
    lines = [f"{state.pipeline}: {_headline(kind, before, state, now, end)}"]
    if end is not None:
        lines.append(f"{end.source} → {end.destination}")
        lines += [end.error] if end.error else []
        lines += end.unexpected
        if end.report is not None:
            counts = dataclasses.asdict(end.report.counts)
            warnings = counts.pop("warnings")
            words = [f"{count:,} {name}" for name, count in counts.items() if count]
            lines.append(", ".join([*words, *([counted(warnings, "warning")] if warnings else [])]) or "no record read")
            reasons = list(end.report.rejects_by_code.items())
            lines += [f"{count:,} × {code}" for code, count in reasons[:_MOST_REASONS]]
    if state.state != "ok":
        last = f"{state.last_success:%Y-%m-%d %H:%M} UTC" if state.last_success else "never"
        lines.append(f"last success: {last}")
    report = _of_run(end)["report"] if end else None
    return [*lines, *([f"report, on {socket.gethostname()}: {report}"] if report else [])]


def _headline(kind: Kind, before: State, state: PipelineState, now: datetime, end: RunEnd | None) -> str:
    code = f", exit code {end.exit_code}" if end is not None and end.exit_code else ""
    if kind == "recovered":
        return f"recovered, was {before}{code}"
    if kind == "reminder" and state.state_since is not None:
        return f"still {state.state} after {_span(now - state.state_since)}{code}"
    return f"{state.state}{code}"


def _span(span: timedelta) -> str:
    hours = round(span.total_seconds() / 3600)
    return counted(hours, "hour") if hours < 48 else counted(round(hours / 24), "day")


def _iso(time: datetime | None) -> str | None:
    return time.isoformat(timespec="seconds") if time else None
