"""Lists of runs and of pipelines, as lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from tranship.pipelines.cli.layout import table, text_width, wrapped
from tranship.pipelines.cli.render import of_file
from tranship.pipelines.cli.terminal import PLAIN, Look
from tranship.schemas.visible import visible

if TYPE_CHECKING:
    from tranship.pipelines.operation.freshness import Freshness
    from tranship.pipelines.operation.pipeline_processes import PipelineEnd

_TREND: Final = ("read", "rejected")
_LEDGER: Final = ("read", "rejected", "merged", "created", "updated", "unchanged")
_COMPLETE: Final = ("done", "done_with_rejects")

Entry = Mapping[str, Any]
"""A run: pipeline, run_id, started_at, status, source, destination, and counts (null if unknown)."""


def of_runs(runs: Iterable[Entry], look: Look = PLAIN) -> str:
    """Return the runs of each pipeline under its name, with the trend of its last two complete runs. Where a table is
    wider than the terminal, each run has a block of lines.
    """
    by_pipeline: dict[str, list[Entry]] = {}
    for run in runs:
        by_pipeline.setdefault(run["pipeline"], []).append(run)
    lines: list[str] = []
    for pipeline, own in by_pipeline.items():
        lines += [*([""] if lines else []), *_titled(pipeline, own, look), *_listed(own, look.width)]
    return "\n".join(lines)


def _titled(pipeline: str, runs: Sequence[Entry], look: Look) -> list[str]:
    first, *more = wrapped(visible(f"{pipeline}{_trend(runs)}"), look.width, "  ", "")
    return [look.title(first), *more]


def _trend(runs: Sequence[Entry]) -> str:
    """Return the counts of the last complete run and of the one before it."""
    own = [run for run in runs if not run.get("corrects")]
    complete = [run["counts"] for run in own if run["status"] in _COMPLETE and run["counts"]][:2]
    if not complete:
        return ""
    before = [f" (before: {complete[-1][name]:,})" if len(complete) > 1 else "" for name in _TREND]
    return ": " + ", ".join(f"{complete[0][name]:,} {name}{past}" for name, past in zip(_TREND, before, strict=True))


def _listed(runs: Sequence[Entry], width: int | None) -> list[str]:
    fixed = ["corrected since"] if any(map(_fixed, runs)) else []
    rows: list[tuple[str, ...]] = []
    for run in runs:
        counts = [f"{run['counts'][name]:,}" if run["counts"] else "" for name in _TREND]
        since = [_fixed(run)] if fixed else []
        rows.append((run["run_id"], _began(run), run["status"], *counts, run["source"], run["destination"], *since))
    lines = table(rows, (3, 4), None, ("run", "began", "status", *_TREND, "source", "destination", *fixed))
    if width is None or max(map(text_width, lines)) <= width:
        return lines
    return [line for run in runs for line in _block(run, width)]


def _block(run: Entry, width: int) -> list[str]:
    counts = ", ".join(f"{run['counts'][name]:,} {name}" for name in _TREND) if run["counts"] else ""
    return [
        *wrapped(f"{run['run_id']}  {run['status']}", width, "    ", "  "),
        *wrapped(", ".join(filter(None, (_began(run), counts))), width, "    "),
        *wrapped(visible(run["source"]), width, "      ", "    "),
        *wrapped(visible(f"→ {run['destination']}"), width, "      ", "    "),
        *(wrapped(f"corrected since: {_fixed(run)}", width, "      ", "    ") if run.get("fixes") else []),
        *(wrapped(_fixed(run), width, "      ", "    ") if run.get("corrects") else []),
    ]


def _fixed(run: Entry) -> str:
    """Return what became of the rejects of a run since, or whose rejects it has loaded."""
    fixes = run.get("fixes")
    if fixes:
        names = ("loaded", "dropped", "left_out", "failed", "open")
        return ", ".join(f"{fixes[name]:,} {name.replace('_', ' ')}" for name in names if fixes[name])
    return f"rejects of {run['corrects']}" if run.get("corrects") else ""


def _began(run: Entry) -> str:
    return f"{datetime.fromisoformat(run['started_at']).astimezone():%Y-%m-%d %H:%M}"


def of_pipelines(ends: Sequence[PipelineEnd], code: int, look: Look = PLAIN) -> str:
    """Return a line for each pipeline, the errors, and the exit code of all."""
    header = ("pipeline", "status", "exit", *_LEDGER, "time")
    rows: list[tuple[str, ...]] = []
    for end in ends:
        counts, seconds = end.result.get("counts") or {}, (end.result.get("seconds") or {}).get("total")
        numbers = [f"{counts[name]:,}" if name in counts else "" for name in _LEDGER]
        status = str(end.result.get("status", "failed")).replace("_", " ")
        time = f"{seconds:,.1f} s" if seconds is not None else ""
        rows.append((end.pipeline, status, str(end.exit_code), *numbers, time))
    errors = [(end.pipeline, str(end.result["error"])) for end in ends if end.result.get("error")]
    lines = ["", *table(rows, tuple(range(2, len(header))), look.width, header)]
    told = (visible(f"{pipeline}: {line}") for pipeline, text in errors for line in text.splitlines())
    lines += ["", *told] if errors else []
    reports = [(end.pipeline, (end.result.get("files") or {}).get("page")) for end in ends]
    lines += [
        "",
        *(line for pipeline, page in reports if page for line in of_file(f"report of {visible(pipeline)}", page, look)),
    ]
    mark = look.bad if code else look.good
    return "\n".join([*lines, mark(f"exit code {code}")])


def of_freshness(found: Iterable[Freshness], width: int | None = None) -> str:
    """Return a line for each pipeline, with its last success."""
    rows = [
        (
            one.pipeline,
            "late" if one.late else "fresh",
            f"last success {one.last_success.astimezone():%Y-%m-%d %H:%M}" if one.last_success else "no success yet",
        )
        for one in found
    ]
    return "\n".join(table(rows, (), width))
