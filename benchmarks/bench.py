"""Compare Tranship with its peers: seconds, memory, and whether the speed targets are met.

    python benchmarks/bench.py --rows 1000000 --repeats 5 --peers dlt,ingestr --out results [--large]

Every measurement is a separate process; the contenders take turns, so that a slow minute of the machine affects all of
them.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

from measure import (
    ANEW,
    CHANGED,
    CHANGED_CASE,
    DLT,
    HERE,
    INGESTR,
    MB,
    OFF,
    ROOT,
    TRANSHIP,
    Contender,
    Data,
    Results,
    environment,
    generated,
    in_turns,
    installed,
    kept,
    machine,
    new_file,
    ordered,
    parsed,
    promises,
    table,
)

SCRIPT = "SQL script"
DIRTY_CASE = "very dirty, fresh"
# ingestr needs an ADBC driver for DuckDB, and downloads one if it finds none; the library here is one.
ADBC_DUCKDB = ("@duckdb/node-bindings-{}", "1.5.6-r.1")


def tranship(data: Data, name: str = TRANSHIP, state: str = "{state}", changed: Data | None = None) -> Contender:
    cases = {"fresh": data.csv, "again": data.csv}
    expected = {"fresh": data.fresh(), "again": data.again()}
    if changed:
        cases[CHANGED_CASE], expected[CHANGED_CASE] = changed.csv, changed.upserted()
    command = _tranship_command(state) + (("--changes", "off") if name == OFF else ())
    return Contender(name, command, cases, expected=expected)


def tranship_parquet(data: Data) -> Contender:
    case = "from Parquet, fresh"
    return Contender(TRANSHIP, _tranship_command(), {case: data.parquet}, expected={case: data.fresh()})


def tranship_dirty(data: Data) -> Contender:
    return Contender(TRANSHIP, _tranship_command(), {DIRTY_CASE: data.csv}, expected={DIRTY_CASE: data.fresh()})


def tranship_large(data: Data) -> Contender:
    return Contender(TRANSHIP, _tranship_command(), {"large, fresh": data.csv}, expected={"large, fresh": data.fresh()})


def _tranship_command(state: str = "{state}") -> tuple[str, ...]:
    options = ("--state-dir", state, "--json", "--strict", "--max-rejects", "100%")
    return (sys.executable, "-m", "tranship", "run", "{input}", "duckdb:///{db}", *options)


def sql_script(data: Data) -> Contender:
    command = (sys.executable, str(HERE / "duckdb_script.py"), "{input}", "{db}")
    return Contender(SCRIPT, command, {"fresh": data.csv, "again": data.csv})


def sql_script_dirty(data: Data) -> Contender:
    return Contender(SCRIPT, sql_script(data).command, {DIRTY_CASE: data.csv})


def dlt(data: Data, out: Path) -> Contender:
    python = environment(out / "dlt", *DLT) / "python"
    command = (str(python), str(HERE / "peer_dlt.py"), "{input}", "{db}", "{state}")
    cases = {"fresh": data.csv, "again": data.csv}
    return Contender("dlt", command, cases, {"RUNTIME__DLTHUB_TELEMETRY": "false"}, required=False)


def ingestr(data: Data, out: Path) -> Contender:
    program = environment(out / "ingestr", *INGESTR) / "ingestr"
    keyed = data.csv.with_name("customers-keyed.csv")
    script = str(HERE / "peer_ingestr.py")
    if not keyed.exists():
        subprocess.run([sys.executable, script, "--key", data.csv, keyed], check=True)
    home = out / "ingestr" / "home"
    home.mkdir(exist_ok=True)
    variables = {"HOME": str(home), "DISABLE_TELEMETRY": "true"}
    drivers = _adbc_drivers(out / "ingestr" / "adbc")
    if drivers:
        variables["ADBC_DRIVER_PATH"] = str(drivers)
    command = (sys.executable, script, str(program), "{input}", "duckdb:///{db}", "main.customers")
    return Contender("ingestr", command, {"fresh": keyed, "again": keyed}, variables, required=False)


PEERS = {"dlt": dlt, "ingestr": ingestr}


def _adbc_drivers(folder: Path) -> Path | None:
    """Return a folder with the ADBC driver for DuckDB, fetched with npm; null if that fails."""
    system = {"x86_64": "linux-x64", "aarch64": "linux-arm64"}.get(platform.machine())
    npm = shutil.which("npm")
    library = folder / "package" / "libduckdb.so"
    if not library.exists():
        if sys.platform != "linux" or not system or not npm:
            return None
        folder.mkdir(parents=True, exist_ok=True)
        name, version = ADBC_DUCKDB
        pack = [npm, "pack", "--silent", f"{name.format(system)}@{version}"]
        answer = subprocess.run(pack, cwd=folder, capture_output=True, text=True, check=False)
        if answer.returncode:
            return None
        with tarfile.open(folder / answer.stdout.strip().splitlines()[-1]) as package:
            package.extract("package/libduckdb.so", folder, filter="data")
    manifest = f'manifest_version = 1\nname = "DuckDB"\nversion = "{ADBC_DUCKDB[1]}"\n\n[Driver]\n'
    manifest += f'entrypoint = "duckdb_adbc_init"\nshared = "{library}"\n'
    (folder / "duckdb.toml").write_text(manifest, encoding="utf-8")
    return folder


def targets(results: Results, times: float) -> Iterator[tuple[str, float, float, str]]:
    """Return the targets; `times` is the ratio of the large input to the small one."""
    ours, script = results["fresh", TRANSHIP], results["fresh", SCRIPT]
    again, anew, script_again = (results["again", name] for name in (TRANSHIP, ANEW, SCRIPT))
    parquet = results["from Parquet, fresh", TRANSHIP]
    yield "fresh: time of the SQL script", ours.seconds() / script.seconds(), 1.0, "x"
    yield "fresh: memory of the SQL script", ours.resident() / script.resident(), 1.0, "x"
    yield "again: time of the SQL script", again.seconds() / script_again.seconds(), 0.8, "x"
    yield "again, without reuse: time of the SQL script", anew.seconds() / script_again.seconds(), 0.8, "x"
    dirty, script_dirty = (results[DIRTY_CASE, name] for name in (TRANSHIP, SCRIPT))
    yield "very dirty, fresh: time of the SQL script", dirty.seconds() / script_dirty.seconds(), 1.3, "x"
    yield "from Parquet: time from CSV", parquet.seconds() / ours.seconds(), 0.8, "x"
    large = results.get(("large, fresh", TRANSHIP))
    if large:
        yield "large: time of the small input", large.seconds() / ours.seconds(), 1.1 * times, "x"
        yield "large: memory, without pages of mapped input", large.private() / MB, 1500.0, " MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--large", type=int, nargs="?", const=1, default=0, metavar="N", help="N runs of --large-rows")
    parser.add_argument("--large-rows", type=int, default=None, help="default: ten times --rows")
    parser.add_argument("--changes", action="store_true", help="also 5 %% of changes, recorded and not recorded")
    args = parsed(parser, PEERS, ROOT / "benchmarks" / "results")
    large_rows = args.large_rows or 10 * args.rows

    load = os.getloadavg()[0]
    data = generated(args.out / "data", args.rows, args.seed)
    peers, missing = installed(args.peers, PEERS, data, args.out / "peers")
    changed = generated(args.out / "data", args.rows, args.seed, change=CHANGED) if args.changes else None
    contenders = [tranship(data, changed=changed), tranship(data, ANEW, "{new_state}")]
    contenders += [tranship(data, OFF, changed=changed)] if args.changes else []
    dirty = generated(args.out / "data", args.rows, args.seed, dirt="high")
    contenders += [sql_script(data), tranship_parquet(data), tranship_dirty(dirty), sql_script_dirty(dirty), *peers]
    results, unmeasured = in_turns(contenders, args.repeats, args.out, new_file)
    unmeasured |= missing
    if args.large:
        large = tranship_large(generated(args.out / "data", large_rows, args.seed))
        results |= in_turns([large], args.large, args.out, new_file)[0]

    results = ordered(
        results,
        ("fresh", "again", CHANGED_CASE, "from Parquet, fresh", DIRTY_CASE, "large, fresh"),
        (TRANSHIP, ANEW, OFF, SCRIPT, *PEERS),
    )
    described = machine("duckdb", "polars", "pyarrow")
    lines = [
        f"{described}; load {load:.1f} when it began. Medians of {args.repeats} rounds, measured in turns.", "",
        *([f"Large: {large_rows:,} records, {args.large} run(s)."] if args.large else []),
        *table(results, args.rows, SCRIPT), "",
        *promises([*targets(results, large_rows / args.rows)]),
        *(f"\n{name} was not measured: {reason}" for name, reason in unmeasured.items()),
    ]  # fmt: skip
    facts = {"machine": described, "rows": args.rows, "large_rows": large_rows, "unmeasured": unmeasured}
    kept(args.out, "results", lines, facts, results)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
