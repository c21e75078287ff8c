"""Tranship and its peers side by side: seconds, memory, and whether the promises of speed hold.

    python benchmarks/bench.py --rows 1000000 --repeat 5 --peers dlt,ingestr --out results [--large]

Every measurement is a process of its own; the contenders take turns, so that a slow minute of the machine
hits all of them. This process stays small (standard library only): what a child reports as its peak begins at
the size of the process that forked it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tarfile
import threading
import time
import venv
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
MB = 1_000_000
SAMPLE_SECONDS = 0.02
TRANSHIP, SCRIPT = "Tranship", "SQL script"

DLT = "dlt[duckdb,parquet]==1.31.0"
INGESTR = "ingestr==1.0.78"  # the last one whose wheel holds the program; later ones download it when first run
# ingestr needs an ADBC driver of DuckDB, and downloads one if it finds none; the library here is one.
ADBC_DUCKDB = ("@duckdb/node-bindings-{}", "1.5.6-r.1")


class NotMeasuredError(Exception):
    """Why a peer cannot be measured here, in one line."""


@dataclass(frozen=True)
class Data:
    """A generated input."""

    csv: Path
    parquet: Path
    expected: dict[str, int]


@dataclass(frozen=True)
class Run:
    """One child process: wall seconds, peaks in bytes; anonymous is null where the system has no figure."""

    seconds: float
    resident: int
    anonymous: int | None


@dataclass
class Series:
    """The runs of one contender in one case."""

    runs: list[Run] = field(default_factory=list)

    def seconds(self) -> float:
        return statistics.median(run.seconds for run in self.runs)

    def resident(self) -> float:
        return statistics.median(run.resident for run in self.runs)

    def anonymous(self) -> float | None:
        known = [run.anonymous for run in self.runs if run.anonymous is not None]
        return statistics.median(known) if known else None

    def private(self) -> float:
        """Pages of mapped input aside where the system can tell, else all resident pages."""
        anonymous = self.anonymous()
        return self.resident() if anonymous is None else anonymous


Results = dict[tuple[str, str], Series]  # by case and contender


@dataclass(frozen=True)
class Contender:
    """A program that loads a file into a DuckDB database; its command takes `{csv}`, `{db}` and `{state}`."""

    name: str
    command: tuple[str, ...]
    csv: Path
    environment: dict[str, str] = field(default_factory=dict)
    cases: tuple[str, ...] = ("fresh", "again")
    expected: dict[str, int] | None = None

    def measure(self, folder: Path, results: Results) -> None:
        """All its cases, one after the other, over one new database."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        names = {"csv": str(self.csv), "db": str(folder / "out.duckdb"), "state": str(folder / "state")}
        command = [part.format(**names) for part in self.command]
        for case in self.cases:
            run = measured(command, self.environment, folder / "output")
            if self.expected is not None:
                _check(
                    json.loads((folder / "output").read_text(encoding="utf-8")),
                    self.expected,
                    again=case == "again",
                )
            results.setdefault((case, self.name), Series()).runs.append(run)
        shutil.rmtree(folder)


def measured(command: Sequence[str], environment: dict[str, str], output: Path) -> Run:
    """Run to the end; raises NotMeasuredError if it fails."""
    with output.open("wb") as out, output.with_suffix(".err").open("wb") as err:
        begin = time.perf_counter()
        child = subprocess.Popen(command, stdout=out, stderr=err, cwd=ROOT, env={**os.environ, **environment})
        sampler = _Sampler(child.pid)
        sampler.start()
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        sampler.stopped.set()
        sampler.join()
    if child.returncode:
        said = (output.with_suffix(".err").read_text(errors="replace") + output.read_text(errors="replace")).split("\n")
        last = next((line.strip() for line in reversed(said) if line.strip()), "nothing said")
        raise NotMeasuredError(f"exit {child.returncode}: {last[:200]}")
    scale = 1 if sys.platform == "darwin" else 1024
    return Run(seconds, usage.ru_maxrss * scale, sampler.peak or None)


class _Sampler(threading.Thread):
    """Peak of the anonymous pages of a process, looked at every few milliseconds (Linux)."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.status = Path(f"/proc/{pid}/status")
        self.peak = 0
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(SAMPLE_SECONDS):
            try:
                lines = self.status.read_text().splitlines()
            except OSError:
                return
            kilobytes = (int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "RssShmem:")))
            self.peak = max(self.peak, sum(kilobytes) * 1024)


def _check(report: dict[str, dict[str, int]], expected: dict[str, int], *, again: bool) -> None:
    """A fast run that lost a record is not measured."""
    survivors = expected["created"]
    wanted = {name: expected[name] for name in ("read", "rejected", "merged")}
    wanted |= {"created": 0, "unchanged": survivors} if again else {"created": survivors, "unchanged": 0}
    counts = report["counts"]
    wrong = {name: (counts[name], value) for name, value in wanted.items() if counts[name] != value}
    if wrong:
        raise SystemExit(f"bench: Tranship counted wrongly (counted, expected): {wrong}")


def generated(folder: Path, rows: int, seed: int) -> Data:
    """The input of these rows, made if it is not there; named for the generator that made it."""
    sources = (HERE / "generate.py", HERE / "countries.csv")
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:8]
    out = folder / f"{rows}-{seed}-{digest}"
    if not (out / "expected.json").exists():
        _say(f"generating {rows:,} records")
        options = ("--rows", str(rows), "--seed", str(seed), "--out", str(out))
        command = [sys.executable, str(HERE / "generate.py"), *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    expected = json.loads((out / "expected.json").read_text(encoding="utf-8"))
    return Data(out / "customers.csv", out / "customers.parquet", expected)


def tranship(data: Data) -> Contender:
    return Contender(TRANSHIP, _tranship_command(), data.csv, expected=data.expected)


def tranship_parquet(data: Data) -> Contender:
    return Contender(
        TRANSHIP, _tranship_command(), data.parquet, cases=("from Parquet, fresh",), expected=data.expected
    )


def _tranship_command() -> tuple[str, ...]:
    options = ("--state-dir", "{state}", "--json", "--max-rejects", "100%")
    return (sys.executable, "-m", "tranship", "run", "{csv}", "duckdb:///{db}", *options)


def sql_script(data: Data) -> Contender:
    return Contender(SCRIPT, (sys.executable, str(HERE / "duckdb_script.py"), "{csv}", "{db}"), data.csv)


def dlt(data: Data, out: Path) -> Contender:
    python = _environment(out / "dlt", DLT) / "python"
    command = (str(python), str(HERE / "peer_dlt.py"), "{csv}", "{db}", "{state}")
    return Contender("dlt", command, data.csv, {"RUNTIME__DLTHUB_TELEMETRY": "false"})


def ingestr(data: Data, out: Path) -> Contender:
    program = _environment(out / "ingestr", INGESTR) / "ingestr"
    keyed = data.csv.with_name("customers-keyed.csv")
    script = str(HERE / "peer_ingestr.py")
    if not keyed.exists():
        subprocess.run([sys.executable, script, "--key", data.csv, keyed], check=True)
    home = out / "ingestr" / "home"
    home.mkdir(exist_ok=True)
    environment = {"HOME": str(home), "DISABLE_TELEMETRY": "true"}
    drivers = _adbc_drivers(out / "ingestr" / "adbc")
    if drivers:
        environment["ADBC_DRIVER_PATH"] = str(drivers)
    return Contender("ingestr", (sys.executable, script, str(program), "{csv}", "{db}"), keyed, environment)


PEERS = {"dlt": dlt, "ingestr": ingestr}


def _environment(folder: Path, requirement: str) -> Path:
    """A virtual environment with that package, made if it is not there; its folder of programs."""
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    done = folder / requirement.replace("[", "-").replace("]", "-")
    if not done.exists():
        _say(f"installing {requirement}")
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        pip = [str(programs / "python"), "-m", "pip", "install", "--quiet", requirement]
        answer = subprocess.run(pip, capture_output=True, text=True, check=False)
        if answer.returncode:
            raise NotMeasuredError(f"cannot be installed: {answer.stderr.strip().splitlines()[-1][:200]}")
        done.touch()
    return programs


def _adbc_drivers(folder: Path) -> Path | None:
    """A folder with the ADBC driver of DuckDB, fetched with npm; null where that cannot be done."""
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


def table(results: Results, rows: int) -> Iterator[str]:
    """The results in Markdown, each beside the SQL script in the same case."""
    yield f"| {rows:,} records | contender | seconds (min to max) | peak MB | anonymous MB | time | memory |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for (case, name), series in results.items():
        all_seconds = [run.seconds for run in series.runs]
        spread = f"{series.seconds():.2f} ({min(all_seconds):.2f} to {max(all_seconds):.2f})"
        anonymous = series.anonymous()
        cells = [case, name, spread, f"{series.resident() / MB:,.0f}"]
        cells.append("" if anonymous is None else f"{anonymous / MB:,.0f}")
        base = results.get((case, SCRIPT))
        if base:
            cells.append(f"{series.seconds() / base.seconds():.2f}x")
            cells.append(f"{series.resident() / base.resident():.2f}x")
        yield "| " + " | ".join(cells + [""] * (7 - len(cells))) + " |"


def promises(results: Results, times: float) -> Iterator[str]:
    """Each target with what was measured. `times`: how many times more records the large input has."""
    ours, script = results["fresh", TRANSHIP], results["fresh", SCRIPT]
    again, script_again = results["again", TRANSHIP], results["again", SCRIPT]
    parquet = results["from Parquet, fresh", TRANSHIP]
    rows = [
        ("fresh: time of the SQL script", ours.seconds() / script.seconds(), 1.0, "x"),
        ("fresh: memory of the SQL script", ours.resident() / script.resident(), 1.0, "x"),
        ("again: time of the SQL script", again.seconds() / script_again.seconds(), 0.8, "x"),
        ("from Parquet: time from CSV", parquet.seconds() / ours.seconds(), 0.8, "x"),
    ]
    large = results.get(("large, fresh", TRANSHIP))
    if large:
        rows.append(("large: time of the small input", large.seconds() / ours.seconds(), 1.1 * times, "x"))
        rows.append(("large: memory, pages of mapped input aside", large.private() / MB, 1500.0, " MB"))
    yield "| target | at most | measured | holds |"
    yield "| --- | --- | --- | --- |"
    for name, value, limit, unit in rows:
        digits = 0 if unit == " MB" else 2
        holds = "yes" if value <= limit else "no"
        yield f"| {name} | {limit:.{digits}f}{unit} | {value:.{digits}f}{unit} | {holds} |"


def machine() -> str:
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("duckdb", "polars", "pyarrow"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    python = platform.python_version()
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, Python {python}, {versions}"


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _warm(path: Path) -> None:
    """Into the page cache, so that the first contender is not the one that pays for the disk."""
    with path.open("rb") as file:
        while file.read(1 << 24):
            pass


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--repeat", type=int, default=5, help="rounds; medians are of these")
    parser.add_argument("--peers", default="", help=f"also measure these, comma-separated: {', '.join(PEERS)}")
    parser.add_argument("--large", type=int, nargs="?", const=1, default=0, metavar="N", help="N runs of --large-rows")
    parser.add_argument("--large-rows", type=int, default=None, help="default: ten times --rows")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of all that is written"
    )
    args = parser.parse_args()
    names = [name.strip() for name in args.peers.split(",") if name.strip()]
    unknown = sorted(set(names) - set(PEERS))
    if unknown or args.rows < 1 or args.repeat < 1:
        parser.error(f"unknown peer {', '.join(unknown)}; known: {', '.join(PEERS)}" if unknown else "too small")

    load = os.getloadavg()[0]
    out: Path = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    data = generated(out / "data", args.rows, args.seed)
    unmeasured: dict[str, str] = {}
    contenders = [tranship(data), sql_script(data), tranship_parquet(data)]
    for name in names:
        try:
            contenders.append(PEERS[name](data, out / "peers"))
        except (NotMeasuredError, OSError, subprocess.SubprocessError) as error:
            unmeasured[name] = str(error)
    for contender in contenders:
        _warm(contender.csv)

    results: Results = {}
    for number in range(args.repeat):
        turn = number % len(contenders)
        for contender in contenders[turn:] + contenders[:turn]:
            if contender.name in unmeasured:
                continue
            _say(f"round {number + 1} of {args.repeat}: {contender.name}, {', '.join(contender.cases)}")
            try:
                contender.measure(out / "work", results)
            except NotMeasuredError as error:
                if contender.name in (TRANSHIP, SCRIPT):
                    raise SystemExit(f"bench: {contender.name}: {error}") from None
                unmeasured[contender.name] = str(error)
    large_rows = args.large_rows or 10 * args.rows
    if args.large:
        large_data = generated(out / "data", large_rows, args.seed)
        large = Contender(
            TRANSHIP,
            _tranship_command(),
            large_data.csv,
            cases=("large, fresh",),
            expected=large_data.expected,
        )
        for number in range(args.large):
            _say(f"large {number + 1} of {args.large}: {large_rows:,} records")
            large.measure(out / "work", results)

    ordered = dict(sorted(results.items(), key=lambda item: _order(item[0])))
    lines = [
        f"{machine()}; load {load:.1f} when it began. Medians of {args.repeat}, taken in turns.", "",
        *table(ordered, args.rows), "",
        *promises(ordered, large_rows / args.rows),
        *(f"\n{name} was not measured: {reason}" for name, reason in unmeasured.items()),
    ]  # fmt: skip
    if args.large:
        lines.insert(1, f"Large: {large_rows:,} records, {args.large} run(s).")
    (out / "results.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    raw = [{"case": case, "contender": name, **asdict(series)} for (case, name), series in ordered.items()]
    facts = {
        "machine": machine(),
        "rows": args.rows,
        "large_rows": large_rows,
        "series": raw,
        "unmeasured": unmeasured,
    }
    (out / "results.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    print("\n".join(lines))


def _order(key: tuple[str, str]) -> tuple[int, int]:
    cases = ("fresh", "again", "from Parquet, fresh", "large, fresh")
    contenders = (TRANSHIP, SCRIPT, *PEERS)
    return cases.index(key[0]), contenders.index(key[1])


if __name__ == "__main__":
    main()
