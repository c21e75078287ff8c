"""Measure what a record of changes, a history and an undo cost: Tranship alone, into DuckDB and Postgres.

    python benchmarks/bench_time.py --rows 200000 --repeats 3 [--only duckdb]

Processor time of the process and, in Postgres, of the server, which depends less on other programs than duration does.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from measure import CHANGED, CHANGED_CASE, MB, ROOT, Data, Run, generated, last_line, machine, measured, parsed, say

sys.path.append(str(ROOT / "tests"))
from support.postgres_server import Server, installations

NOTHING = "changes off, no undo"
OFF = "changes off"
ON = "changes on"
HISTORY = "changes on, history"
UNDONE = "a load that is undone"
VARIANTS = {
    NOTHING: ("--changes", "off", "--no-undo"),
    OFF: ("--changes", "off"),
    ON: (),
    HISTORY: ("--history",),
    UNDONE: (),
}
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Place:
    """A new database: its address, the process of its server, and a function that settles it."""

    address: str
    server: int | None
    settle: Callable[[], None]


@dataclass
class Series:
    """The runs of one variant in one case, and the processor seconds of the server for each."""

    runs: list[Run] = field(default_factory=list)
    server: list[float] = field(default_factory=list)

    def line(self) -> list[str]:
        client = statistics.median(run.processor for run in self.runs)
        server = statistics.median(self.server)
        seconds = statistics.median(run.seconds for run in self.runs)
        peak = statistics.median(run.resident for run in self.runs) / MB
        return [f"{client:.2f}", f"{server:.2f}", f"{client + server:.2f}", f"{seconds:.1f}", f"{peak:,.0f}"]


def processor_seconds(process: int | None) -> float:
    """Return the processor time of a server and its backends, also those that have ended (Linux)."""
    if process is None:
        return 0.0
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        if int(stat.parent.name) == process:
            ticks += sum(map(int, words[11:15]))
        elif int(words[1]) == process:
            ticks += sum(map(int, words[11:13]))
    return ticks / _TICKS


@contextmanager
def duckdb_file(out: Path) -> Iterator[Place]:
    file = out / "time.duckdb"
    file.unlink(missing_ok=True)
    yield Place(f"duckdb:///{file}?table=customers", None, lambda: None)
    file.unlink()


def measure(
    place: Place, name: str, out: Path, same: Data, changed: Data, results: dict[tuple[str, str], Series]
) -> None:
    """Measure a variant in a new database."""
    state = out / "time-state"
    shutil.rmtree(state, ignore_errors=True)

    def run(case: str, *words: str) -> None:
        place.settle()
        before = processor_seconds(place.server)
        command = [sys.executable, "-m", "tranship", *words, "--json", "--state-dir", str(state)]
        found = measured(command, {}, out / "time-output")
        series = results.setdefault((case, name), Series())
        series.runs.append(found)
        series.server.append(processor_seconds(place.server) - before)
        status = json.loads((out / "time-output").read_text(encoding="utf-8"))["status"]
        if status != "done":
            raise SystemExit(f"bench: {case}: {status}: {last_line(out / 'time-output')}")

    def load(case: str, data: Data) -> None:
        run(case, "run", str(data.csv), place.address, "--strict", "--max-rejects", "100%", *VARIANTS[name])

    load("fresh", same)
    if name == UNDONE:
        run("undo", "undo", "last")
        run("undo of the undo", "undo", "last")
    else:
        load("again", same)
        load(CHANGED_CASE, changed)
    if name == ON:
        run(f"undo of {CHANGED_CASE}", "undo", "last")
    shutil.rmtree(state)


def table(results: dict[tuple[str, str], Series], kind: str) -> Iterator[str]:
    yield f"| {kind} | | process | server | both | seconds | peak MB |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    cases = ("fresh", "again", CHANGED_CASE, f"undo of {CHANGED_CASE}", "undo", "undo of the undo")
    for case in cases:
        for name in VARIANTS:
            if (case, name) in results:
                yield "| " + " | ".join([case, name, *results[case, name].line()]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=["duckdb", "postgres"], help="measure one database")
    args = parsed(parser, (), ROOT / "benchmarks" / "results", rows=200_000)
    same = generated(args.out / "data", args.rows, args.seed)
    changed = generated(args.out / "data", args.rows, args.seed, change=CHANGED)
    load, lines = os.getloadavg()[0], []
    for kind in [args.only] if args.only else ["duckdb", "postgres"]:
        results: dict[tuple[str, str], Series] = {}
        with new_databases(kind, args.out) as new:
            for number in range(args.repeats):
                turn = number % len(VARIANTS)
                for name in [*[*VARIANTS][turn:], *[*VARIANTS][:turn]]:
                    say(f"{kind}, round {number + 1} of {args.repeats}: {name}")
                    with new() as place:
                        measure(place, name, args.out, same, changed, results)
        lines += [*table(results, f"{kind}, {args.rows:,} records"), ""]
    described = f"{machine('duckdb', 'polars')}; load {load:.1f} when it began. Processor seconds, medians of "
    text = "\n".join([f"{described}{args.repeats} rounds.", "", *lines])
    (args.out / "time.md").write_text(text, encoding="utf-8")
    print(text)


@contextmanager
def new_databases(kind: str, out: Path) -> Iterator[Callable[[], object]]:
    """Yield a function that makes a new database."""
    if kind == "duckdb":
        yield lambda: duckdb_file(out)
        return
    with Server.started(installations()[0], durable=True) as server:

        @contextmanager
        def new() -> Iterator[Place]:
            assert server.process
            with server.database() as database:
                settle = lambda: database.do("VACUUM (ANALYZE)", "CHECKPOINT")  # noqa: E731
                yield Place(f"{database.url}?table=customers", server.process.pid, settle)

        yield new


if __name__ == "__main__":
    main()
