"""Run Tranship under unusual loads: little memory, only rejects, shared keys, many files or columns.

    python benchmarks/bench_load.py [--share 0.1] [--only rejects,wide] [--out results]

Every case is run with half of its records and with all of them, so that the table shows whether memory stays flat and
time grows with the records. The counts of each run are compared with the expected ones. The case `small memory` runs
within 1.2 GB if this process may create a memory control group; otherwise the table says so.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from bench_api import served
from measure import MB, ROOT, TRANSHIP, NotMeasuredError, Results, Run, Series, generated, kept, machine, measured, say

LIMIT = 1_200 * MB
GROUPS = Path("/sys/fs/cgroup")
KEY = {"MF_API_SECRET_KEY": "mf_sk_test_bench"}
PAGE = 1000
Counts = Mapping[str, int]


@dataclass(frozen=True)
class Case:
    """A load: its input, the number of records at full size, and the expected counts of a run of `rows` records."""

    name: str
    rows: int
    make: Callable[[Path, int], AbstractContextManager[str]]
    expected: Callable[[int], Counts]
    options: tuple[str, ...] = ()
    destination: str = "duckdb:///{folder}/out.duckdb?table=customers"
    limit: int | None = None
    report: bool = False


# Inputs. They are generated in a separate process, so that this one stays small. -------------------------------------

MAKERS = {
    "rejects": """
rows.select(name=pl.format("Customer {}", "n"), email=pl.lit("nobody at example"), country=pl.lit("US")).write_csv(out)
""",
    "one customer": """
stamp = pl.datetime(2026, 1, 1, time_zone="UTC") + pl.duration(seconds=pl.col("n"))
rows.select(
    external_id=pl.lit("C-1"), name=pl.format("Customer {}", "n"), email=pl.lit("a@example.com"),
    updated_at=stamp.dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
).write_csv(out)
""",
    "skew": """
n = pl.col("n")
stamp = pl.datetime(2026, 1, 1, time_zone="UTC") + pl.duration(seconds=n)
without_id = (n % 20).is_in([8, 9])
own = pl.when(~without_id).then(pl.format("C-{}", "n")).otherwise(pl.lit(""))
rows.select(
    external_id=pl.when(n % 5 == 0).then(pl.lit("shared")).otherwise(own), name=pl.format("Customer {}", "n"),
    email=pl.when(n % 2 == 0).then(pl.lit("shared@example.com")).otherwise(pl.format("c{}@example.com", "n")),
    updated_at=stamp.dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
).write_csv(out)
""",
    "nothing": """
names = ("external_id", "name", "email")
rows.select(pl.when(pl.col("n") < 0).then(pl.lit("")).alias(name) for name in names).write_csv(out)
""",
    "wide": """
extra = [pl.format(f"value {number} of {{}}", pl.col("n") % 97).alias(f"Extra {number}") for number in range(500)]
with open(out, "wb") as file:
    for start in range(0, rows.height, 20_000):
        part = rows.slice(start, 20_000)
        part.select(
            external_id=pl.format("C-{}", "n"), name=pl.format("Customer {}", "n"),
            email=pl.format("c{}@example.com", "n"), *extra,
        ).write_csv(file, include_header=start == 0)
""",
    "files": """
from pathlib import Path
folder = Path(out)
folder.mkdir()
frame = rows.select(
    external_id=pl.format("C-{}", "n"), name=pl.format("Customer {}", "n"), email=pl.format("c{}@example.com", "n")
)
for number in range(0, rows.height, 10):
    frame.slice(number, 10).write_csv(folder / f"part-{number // 10:06}.csv")
""",
}


def _written(kind: str) -> Callable[[Path, int], AbstractContextManager[str]]:
    @contextmanager
    def made(folder: Path, rows: int) -> Iterator[str]:
        target = folder / ("in" if kind == "files" else "in.csv")
        head = f"import polars as pl\nout = {str(target)!r}\nrows = pl.select(n=pl.int_range({rows}))\n"
        subprocess.run([sys.executable, "-c", head + MAKERS[kind]], check=True)
        yield str(target)

    return made


def _skew_counts(rows: int) -> Counts:
    """What `skew` must count: a fifth has one id, half one e-mail, and of a tenth without ids half has that e-mail."""
    merged, rejected = rows // 5 - 1, rows // 20
    return {"read": rows, "merged": merged, "rejected": rejected, "created": rows - merged - rejected}


@contextmanager
def _dirty(folder: Path, rows: int) -> Iterator[str]:
    yield str(generated(folder.parent / "data", rows, 7).csv)


@contextmanager
def _provider(_folder: Path, rows: int) -> Iterator[str]:
    with served(rows, 7) as host:
        yield f"marginfront://{host}?page_size={PAGE}"


CASES = (
    Case("small memory", 5_000_000, _dirty, lambda rows: {"read": rows}, ("--memory", "200MB"), limit=LIMIT),
    Case("rejects", 1_000_000, _written("rejects"), lambda rows: {"read": rows, "rejected": rows}),
    Case("report", 100_000, _written("rejects"), lambda rows: {"read": rows, "rejected": rows}, report=True),
    Case("one customer", 1_000_000, _written("one customer"), lambda rows: {"merged": rows - 1, "created": 1}),
    Case("skew", 10_000_000, _written("skew"), _skew_counts),
    Case("nothing", 1_000_000, _written("nothing"), lambda rows: {"read": rows, "rejected": rows}),
    Case("wide", 200_000, _written("wide"), lambda rows: {"read": rows, "created": rows}),
    Case("files", 100_000, _written("files"), lambda rows: {"read": rows, "created": rows}),
    Case("provider to CSV", 1_000_000, _provider, lambda rows: {"created": rows}, destination="{folder}/out.csv"),
)


@contextmanager
def memory_group(limit: int) -> Iterator[tuple[str, ...] | None]:
    """Create a control group with this limit in bytes; return the words that start a command in it, null if none can be
    created."""
    old = GROUPS / "memory"  # version 1
    parent, name = (old, "memory.limit_in_bytes") if old.is_dir() else (GROUPS, "memory.max")
    group = parent / f"tranship-load-{os.getpid()}"
    try:
        group.mkdir()
        (group / name).write_text(str(limit))
    except OSError:
        yield None
        return
    try:
        yield ("sh", "-c", 'echo $$ > "$0" && exec "$@"', str(group / "cgroup.procs"))
    finally:
        group.rmdir()


def measure(case: Case, rows: int, out: Path) -> tuple[Run, str]:
    """Measure one run; return it with remarks."""
    folder = out / "load"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    group = memory_group(case.limit) if case.limit else nullcontext(())
    with case.make(folder, rows) as source, group as within:
        destination = case.destination.format(folder=folder)
        limits = ("--max-rejects", "100%", "--max-conflicts", "100%", "--state-dir", str(folder / "state"), "--json")
        command = [
            *(within or ()),
            sys.executable,
            "-m",
            "tranship",
            "run",
            source,
            destination,
            *case.options,
            *limits,
        ]
        run = measured(command, KEY, folder / "output")
    counts = json.loads((folder / "output").read_text(encoding="utf-8"))["counts"]
    wrong = {name: (counts[name], value) for name, value in case.expected(rows).items() if counts[name] != value}
    if wrong:
        raise SystemExit(f"bench: {case.name}: counted wrongly (counted, expected): {wrong}")
    notes = []
    if case.limit:
        notes.append(f"within {case.limit / MB:,.0f} MB" if within else "no control group could be made")
    if case.report:
        sizes = [path.stat().st_size for path in folder.glob("state/runs/*/report.html")]
        notes.append(f"report.html {sum(sizes) / MB:.1f} MB")
    shutil.rmtree(folder)
    return run, ", ".join(notes)


def table(cases: Sequence[Case], share: float, out: Path, results: Results) -> Iterator[str]:
    """Return a table with one line per case, in Markdown."""
    yield "| case | records | processor seconds: half, all | ratio | seconds | peak MB: half, all | ratio | |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for case in cases:
        rows = max(20, int(case.rows * share) // 20 * 20)
        say(f"{case.name}: {rows // 2:,} and {rows:,} records")
        try:
            (half, _), (whole, note) = measure(case, rows // 2, out), measure(case, rows, out)
        except NotMeasuredError as error:
            yield f"| {case.name} | {rows:,} | failed: {error} | | | | | |"
            continue
        results[case.name, TRANSHIP] = Series([half, whole])
        processor = f"{half.processor:.1f}, {whole.processor:.1f} | {whole.processor / half.processor:.2f}x"
        seconds = f"{half.seconds:.1f}, {whole.seconds:.1f}"
        peaks = f"{half.resident / MB:,.0f}, {whole.resident / MB:,.0f} | {whole.resident / half.resident:.2f}x"
        yield f"| {case.name} | {rows:,} | {processor} | {seconds} | {peaks} | {note} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    known = ", ".join(case.name for case in CASES)
    parser.add_argument("--share", type=float, default=1.0, help="of the records of each case, e.g. 0.1")
    parser.add_argument("--only", default="", help=f"these cases, comma-separated: {known}")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder for all output")
    args = parser.parse_args()
    only = [name.strip() for name in args.only.split(",") if name.strip()]
    unknown = sorted(set(only) - {case.name for case in CASES})
    if unknown:
        parser.error(f"unknown case {', '.join(unknown)}; known: {known}")
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]
    results: Results = {}
    cases = [case for case in CASES if not only or case.name in only]
    described = machine("duckdb", "polars", "pyarrow")
    lines = [f"{described}; load {load:.1f} when it began.", "", *table(cases, args.share, out, results)]
    kept(out, "load", lines, {"machine": described, "share": args.share}, results)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
