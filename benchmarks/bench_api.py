"""Compare Tranship, reading from a provider's API, with a bare script and its peer: seconds, memory, and whether the
targets are met.

    python benchmarks/bench_api.py --rows 200000 --repeats 5 --peers dlt --out results [--flat] [--json]

The server runs on this machine, in a separate process: a plain paginated list, 1,000 customers per page, each response
20 ms after its request. Its pages are generated before anything is measured.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from measure import (
    DLT,
    HERE,
    MB,
    ROOT,
    TRANSHIP,
    Contender,
    Counts,
    Results,
    environment,
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

SCRIPT = "aiohttp script"
PAGE = 1000
LATENCY = 0.02
CASES = ("fresh", "again")
LARGE = "five times as many, fresh"
TIMES = 5


@contextmanager
def served(rows: int, seed: int) -> Iterator[str]:
    """Serve this number of customers; yield host and port."""
    options = {"--rows": rows, "--seed": seed, "--page": PAGE, "--latency": LATENCY}
    words = [str(word) for option in options.items() for word in option]
    command = [sys.executable, str(HERE / "api_server.py"), *words]
    # Leaving the block closes its standard input, which ends the server.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        port = server.stdout.readline().strip() if server.stdout else ""
        if not port:
            raise SystemExit("bench: the server did not start")
        yield f"127.0.0.1:{port}"


def tranship(host: str, rows: int, cases: tuple[str, ...] = CASES) -> Contender:
    options = ("--state-dir", "{state}", "--json")
    source = f"marginfront://{{input}}?page_size={PAGE}"
    command = (sys.executable, "-m", "tranship", "run", source, "duckdb:///{db}?table=customers", *options)
    nothing = dict.fromkeys(("rejected", "merged", "created", "updated", "unchanged"), 0)
    new: Counts = {"read": rows, **nothing, "created": rows}
    known: Counts = {"read": rows, **nothing, "unchanged": rows}
    expected = {case: known if case == "again" else new for case in cases}
    return Contender(TRANSHIP, command, dict.fromkeys(cases, host), {"MF_API_SECRET_KEY": "mf_sk_test_bench"}, expected)


def script(host: str) -> Contender:
    command = (sys.executable, str(HERE / "api_script.py"), "http://{input}/v1/customers", "{db}", "{new_state}")
    return Contender(SCRIPT, command, dict.fromkeys(CASES, host))


def dlt(host: str, out: Path, name: str = "dlt", *options: str) -> Contender:
    python = environment(out / "dlt", *DLT) / "python"
    command = (str(python), str(HERE / "peer_dlt_api.py"), "http://{input}/v1/", "{db}", "{state}", *options)
    variables = {"RUNTIME__DLTHUB_TELEMETRY": "false"}
    return Contender(name, command, dict.fromkeys(CASES, host), variables, required=False)


def dlt_default(host: str, out: Path) -> Contender:
    return dlt(host, out, "dlt-default", "--default")


PEERS = {"dlt": dlt, "dlt-default": dlt_default}


def targets(results: Results) -> Iterator[tuple[str, float, float, str]]:
    ours = results["fresh", TRANSHIP]
    for name, limit in ((SCRIPT, 1.2), ("dlt", 1.0)):
        if ("fresh", name) in results:
            yield f"fresh: time of {name}", ours.seconds() / results["fresh", name].seconds(), limit, "x"
    yield "peak memory", max(results[case, TRANSHIP].resident() for case in CASES) / MB, 500.0, " MB"
    large = results.get((LARGE, TRANSHIP))
    if large:
        yield "five times as many: memory of the small input", large.resident() / ours.resident(), 1.1, "x"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout instead of the tables")
    parser.add_argument("--flat", action="store_true", help="also run Tranship alone once with five times as many")
    args = parsed(parser, PEERS, ROOT / "benchmarks" / "results", rows=200_000)

    load = os.getloadavg()[0]
    with served(args.rows, args.seed) as host:
        peers, missing = installed(args.peers, PEERS, host, args.out / "peers")
        contenders = [tranship(host, args.rows), script(host), *peers]
        results, unmeasured = in_turns(contenders, args.repeats, args.out, new_file)
    if args.flat:
        rows = TIMES * args.rows
        with served(rows, args.seed) as host:
            results |= in_turns([tranship(host, rows, (LARGE,))], 1, args.out, new_file)[0]

    results = ordered(results, (*CASES, LARGE), (TRANSHIP, SCRIPT, *PEERS))
    described = machine("aiohttp", "duckdb", "polars", "pyarrow")
    unmeasured |= missing
    lines = [
        f"{described}; load {load:.1f} when it began. Medians of {args.repeats} rounds, measured in turns.", "",
        *table(results, args.rows, SCRIPT), "",
        *promises([*targets(results)]),
        *(f"\n{name} was not measured: {reason}" for name, reason in unmeasured.items()),
    ]  # fmt: skip
    facts = {"machine": described, "rows": args.rows, "unmeasured": unmeasured}
    raw = kept(args.out, "api", lines, facts, results)
    print(raw if args.json else "\n".join(lines))


if __name__ == "__main__":
    main()
