"""Measure how the time, memory and bytes of cleaning on an engine grow with the records, beside one machine.

    python benchmarks/bench_spark.py [--rows 1000000] [--steps 1,2,4] [--engines sail,spark] [--out results]

Each run reads the same eight Parquet files and writes Parquet; its counts are compared with the expected ones. An
engine that make has not put into `build/` is named in the last lines of the results.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl
from measure import MB, ROOT, TRANSHIP, Data, NotMeasuredError, generated, machine, promises, say
from process_tree import TreeRun, measured_tree

ENGINES = {"sail": "Sail", "spark": "Apache Spark"}
FILES = 8
LINEAR = 1.1
"""Times the records: what is called linear, since a machine's speed varies."""


@dataclass(frozen=True)
class Measured:
    """A run, and the bytes that it left in its work tables and that its tasks exchanged; null if that is unknown."""

    contender: str
    rows: int
    run: TreeRun
    work: int | None = None
    exchanged: int | None = None


def split(data: Data, folder: Path) -> Path:
    """Return a folder with the records in eight files, with the columns `file` and `line` for their place."""
    if not (folder / "done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        records = pl.read_parquet(data.parquet)
        each = -(-records.height // FILES)
        for number in range(FILES):
            part = records.slice(number * each, each)
            place = (pl.lit(f"{number}.parquet").alias("file"), (pl.int_range(part.height) + 1).alias("line"))
            part.select(*place, pl.all()).write_parquet(folder / f"{number}.parquet")
        (folder / "done").touch()
    return folder


def on_one_machine(data: Data, given: Path, out: Path) -> Measured:
    program = (sys.executable, "-m", "tranship", "run", str(given / "*.parquet"), str(out / "customers.parquet"))
    options = ("--ignore", "file", "--ignore", "line", "--strict", "--max-rejects", "100%")
    run = measured_tree((*program, *options, "--state-dir", str(out / "state"), "--json"), {}, out / "output")
    _check(json.loads((out / "output").read_text(encoding="utf-8"))["counts"], data)
    return Measured(TRANSHIP, data.expected["read"], run, _size(out / "state"))


def on_engine(engine: str, data: Data, given: Path, out: Path) -> Measured:
    packages = ROOT / "build" / engine
    if not (packages / "pyspark").is_dir():
        raise NotMeasuredError(f"is not installed: make build/{engine}/stamp")
    command = (sys.executable, str(ROOT / "benchmarks" / "spark_clean.py"), engine, str(given / "*.parquet"), str(out))
    variables = {"PYTHONPATH": str(packages), "POLARS_MAX_THREADS": "1", "RUST_LOG": "error"}
    run = measured_tree(command, variables, out / "output")
    _check(json.loads((out / "output").read_text(encoding="utf-8").splitlines()[-1]), data)
    return Measured(ENGINES[engine], data.expected["read"], run, _size(out / "work"), _exchanged(out / "events"))


def _check(counts: dict[str, int], data: Data) -> None:
    wanted = {name: data.expected[name] for name in ("read", "rejected", "merged", "created")}
    wrong = {name: (counts[name], value) for name, value in wanted.items() if counts[name] != value}
    if wrong:
        raise SystemExit(f"bench: counted wrongly (counted, expected): {wrong}")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _exchanged(events: Path) -> int | None:
    """Return the bytes that tasks of Apache Spark wrote for other tasks."""
    if not events.is_dir():
        return None
    ends = (
        json.loads(line)
        for file in events.iterdir()
        for line in file.read_text(encoding="utf-8").splitlines()
        if '"SparkListenerTaskEnd"' in line
    )
    return sum(end["Task Metrics"]["Shuffle Write Metrics"]["Shuffle Bytes Written"] for end in ends)


def table(found: Sequence[Measured]) -> Iterator[str]:
    yield "| records | contender | seconds | processor seconds | peak MB | work tables MB | exchanged MB |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for one in found:
        sizes = ("" if size is None else f"{size / MB:,.0f}" for size in (one.work, one.exchanged))
        spent = f"{one.run.seconds:.1f} | {one.run.processor:.1f} | {one.run.anonymous / MB:,.0f}"
        yield f"| {one.rows:,} | {one.contender} | {spent} | {' | '.join(sizes)} |"


def growth(found: Sequence[Measured]) -> Iterator[tuple[str, float, float, str]]:
    """Yield how many times the seconds grew from the fewest records to the most, and how many times these did."""
    for contender in dict.fromkeys(one.contender for one in found):
        steps = [one for one in found if one.contender == contender]
        limit = LINEAR * steps[-1].rows / steps[0].rows
        yield f"{contender}: seconds", steps[-1].run.seconds / steps[0].run.seconds, limit, "x"
        yield f"{contender}: processor seconds", steps[-1].run.processor / steps[0].run.processor, limit, "x"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="records of the first step")
    parser.add_argument("--steps", default="1,2,4", help="times these records, comma-separated")
    parser.add_argument("--engines", default=",".join(ENGINES), help="comma-separated")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder for all output")
    args = parser.parse_args()
    engines = [name.strip() for name in args.engines.split(",") if name.strip()]
    if unknown := sorted(set(engines) - set(ENGINES)):
        parser.error(f"unknown engine {', '.join(unknown)}; known: {', '.join(ENGINES)}")
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]
    found: list[Measured] = []
    missing: dict[str, str] = {}
    for step in map(int, args.steps.split(",")):
        data = generated(out / "data", args.rows * step, 7)
        given = split(data, data.parquet.parent / "split")
        for name in ("", *engines):
            if name in missing:
                continue
            say(f"{ENGINES.get(name, TRANSHIP)}: {data.expected['read']:,} records")
            folder = out / "engine"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                found.append(on_engine(name, data, given, folder) if name else on_one_machine(data, given, folder))
            except NotMeasuredError as error:
                if not name:
                    raise SystemExit(f"bench: {TRANSHIP}: {error}") from None
                missing[name] = str(error)
            shutil.rmtree(folder)
    described = f"{machine('polars', 'pyarrow')}; load {load:.1f} when it began."
    lines = [described, "", *table(found), "", *promises(list(growth(found)))]
    lines += [f"{ENGINES[name]} {why}" for name, why in missing.items()]
    (out / "engines.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    raw = json.dumps({"machine": described, "runs": [asdict(one) for one in found]}, indent=2)
    (out / "engines.json").write_text(raw + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
