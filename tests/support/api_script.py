"""A user's script over the whole Python API. Type checkers read it against the installed wheel (test_public_api.py)."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Literal, assert_type
from zoneinfo import ZoneInfo

import polars as pl

import tranship
from tranship import Counts, Inspection, Progress, Report, RunList, RunOptions, RunSummary, Sandbox, Verification


def watch(progress: Progress) -> None:
    assert_type(progress.step, str)
    assert_type(progress.share, float | None)
    assert_type(progress.note, str | None)


class Watcher:
    def __call__(self, progress: Progress) -> int:
        return progress.records


def settings(rejects: float) -> RunOptions:
    return {"max_rejects": rejects, "mode": "mirror", "max_deletes": "5%"}


def main(folder: Path) -> None:
    report = tranship.run(
        folder / "a.csv",
        "duckdb:///w.duckdb?table=customers",
        fields={"external_id": "Account No", "name": "Company | First Name + Last Name"},
        ignore=["Notes"],
        values={"status": {"on hold": "suspended"}, "net_terms": {"monthly": 30}},
        set={"city": "upper(Town)"},
        defaults={"currency": "EUR", "net_terms": 30, "created_at": date(2024, 1, 1)},
        max_rejects=0.4,
        max_conflicts=3,
        max_changes="10%",
        timezone=ZoneInfo("Europe/Berlin"),
        date_format=["%d/%m/%Y"],
        blocked={"noreply@example.org"},
        lock_timeout=timedelta(minutes=5),
        statement_timeout="2h",
        state_dir=folder / "state",
        crosswalk=folder / "crosswalk.csv",
        dry_run=True,
        observer=watch,
    )
    assert_type(report, Report)
    assert_type(report.status, Literal["done", "done_with_rejects", "partly_done", "stopped", "failed"])
    assert_type(report.counts, Counts)
    assert_type(report.counts.created, int)
    assert_type(report.rejects_by_code, Mapping[str, int])
    assert_type(report.files["rejects"], str)
    assert_type(report.to_json(), str)
    assert_type(Report.from_json(report.to_json()), Report)

    frame = pl.DataFrame({"id": ["1"], "name": ["Ann"]})
    rows: list[dict[str, str]] = [{"id": "1", "name": "Ann"}]
    for source in (frame, frame.lazy(), rows, iter(rows)):
        tranship.run(source, "b.csv", columns={"name": "firma"})
    tranship.run([frame, rows, "a.csv"], "b.csv")
    assert_type(tranship.run((row for row in rows), "-", format="jsonl").rejects(), pl.DataFrame)
    assert_type(tranship.inspect(frame), Inspection)
    assert_type(tranship.verify(frame, "b.csv"), Verification)

    tranship.run(source=["a.csv", folder / "b.csv"], destination=folder / "c.parquet", observer=Watcher())
    tranship.run("pipeline.toml", **settings(0.1))
    tranship.run("pipeline.toml", timezone=UTC)
    assert_type(tranship.plan("a.csv", "metronome://", out=folder / "plan", pace="50/s", limit=10), Report)
    assert_type(tranship.apply(folder / "plan", limit=10, overlap="fail", observer=watch), Report)
    assert_type(tranship.retry("last", state_dir=folder, lock_timeout=timedelta(seconds=1)), Report)
    assert_type(tranship.resume(report.run_id, locks=False, observer=print), Report)

    verification = tranship.verify("a.csv", "duckdb:///w.duckdb", observer=watch)
    assert_type(verification, Verification)
    assert_type(verification.equal, bool)
    assert_type(verification.counts, Mapping[str, int])
    assert_type(tranship.verify(run="last", state_dir=folder), Verification)

    inspection = tranship.inspect(folder / "a.csv", rows=100, delimiter=";", header=False)
    assert_type(inspection, Inspection)
    assert_type(inspection.columns[0].field, str | list[str] | None)
    assert_type(inspection.rejected, int | None)
    assert_type(inspection.rejects[0].count, int)

    runs = tranship.runs(state_dir=folder, remove_older_than=timedelta(days=30))
    assert_type(runs, RunList)
    assert_type(runs[0], RunSummary)
    assert_type(runs[0].started_at, datetime)
    assert_type(runs[0].counts, Counts | None)
    assert_type(tranship.changes("last", key="0017", state_dir=folder), pl.DataFrame)
    undone = tranship.undo(
        "last", only=["created"], keys=folder / "keys.txt", out="back", max_changes=0.5, dry_run=True
    )
    assert_type(undone, Report)
    fixed = tranship.fix("last", folder / "rejects.xlsx", always="Status", why="as the shop says", state_dir=folder)
    assert_type(fixed, tranship.Fix)
    assert_type(fixed.report, tranship.Report | None)
    assert_type(tranship.fix(out="rejects.csv").rows, int)
    filled = tranship.backfill("a.csv", folder / "b.csv", since=date(2026, 1, 1), until="2026-02-01", window="1d")
    assert_type(filled, tuple[tranship.Window, ...])
    assert_type(filled[0].report, tranship.Report | None)
    assert_type(tranship.watermarks(folder / "b.csv"), tuple[tranship.Watermark, ...])
    assert_type(tranship.set_watermark("b.csv", 7, source="a.csv"), tranship.Watermark)
    assert_type(tranship.clear_watermarks("b.csv").files, int)
    for summary in runs:
        assert_type(summary.run_dir, Path)

    sandbox = tranship.sandbox("growpanel", seed=5, weather={"latency": 0.05, "statuses": {"500": 0.1}})
    assert_type(sandbox, AbstractContextManager[Sandbox, bool | None])
    with sandbox as there:
        assert_type(there, Sandbox)
        assert_type(there.address, str)
        assert_type(there.environment, Mapping[str, str])

    assert_type(tranship.__version__, str)
    try:
        tranship.run("a.csv", "b.csv")
    except (tranship.GateClosed, tranship.ConnectorError) as error:
        assert_type(error.report, Report | None)
        assert_type(error.exit_code, int)
    except tranship.TranshipError:
        raise


def errors() -> None:
    """Each line has an error that a type checker finds."""
    tranship.runn("a.csv", "b.csv")  # unknown function
    tranship.run("a.csv", "b.csv", max_reject=3)  # unknown option
    tranship.run("a.csv", "b.csv", mode="replace")  # unknown choice
    tranship.run("a.csv", "b.csv", max_rejects=[3])  # wrong type
    tranship.run(3, "b.csv")  # no address
    tranship.run([3], "b.csv")  # no records
    tranship.run({"id": "1"}, "b.csv")  # no list of dicts
    tranship.run("a.csv", "b.csv", observer=3)  # no function
    tranship.inspect("a.csv", dry_run=True)  # no option of a source
    tranship.plan("a.csv", "b.csv")  # out is missing
    tranship.resume("last", max_rejects=3)  # no option of a run that is continued
    tranship.undo(only=["made"])  # unknown choice
    tranship.undo(max_rejects=3)  # no option of an undo
    tranship.fix("last", "rejects.csv", max_changes=3)  # no option of a fix
    tranship.sandbox("metronome", weather={"rain": 1.0})  # unknown weather
    tranship.runs(remove_older_than="a month")  # no timedelta
