"""Shared parts of the benchmarks: inputs, contenders that are measured in turns, each in a separate process, and their
table. The measuring process stays small (standard library only), because the peak memory of a child begins at the size
of the process that forked it.
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
import threading
import time
import venv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
MB = 1_000_000
SAMPLE_SECONDS = 0.02
TRANSHIP = "Tranship"
ANEW = "Tranship, without reuse"
"""Without reuse of records read by an earlier run: in a separate state directory."""
OFF = "Tranship, changes off"
"""Without a record of its changes."""
CHANGED = 0.05
CHANGED_CASE = "5 % changed"
# The peers' versions. For ingestr, the last one whose wheel contains the program; later ones download it on first use.
DLT = ("dlt[duckdb,postgres,parquet]==1.31.0", "adbc-driver-postgresql==1.13.0")
INGESTR = ("ingestr==1.0.78",)


Counts = Mapping[str, int]
Reasons = dict[str, str]


class NotMeasuredError(Exception):
    """The reason why a peer cannot be measured here, in one line."""


@dataclass(frozen=True)
class Data:
    """A generated input, and the counts of a correct load of it."""

    csv: Path
    parquet: Path
    expected: Counts

    def fresh(self) -> Counts:
        """The counts of a load into an empty table."""
        wanted = {name: self.expected[name] for name in ("read", "rejected", "merged", "created")}
        return {**wanted, "updated": 0, "unchanged": 0}

    def again(self) -> Counts:
        """The counts of a second load."""
        return {**self.fresh(), "created": 0, "unchanged": self.expected["created"]}

    def upserted(self) -> Counts:
        """The counts of a load of changed records over the unchanged ones."""
        return {name: self.expected[name] for name in self.fresh()}


@dataclass(frozen=True)
class Run:
    """One child process: wall seconds, peaks in bytes; anonymous is null if the system does not report it. `processor`
    is its processor time in seconds, user and system, which depends less on other programs.
    """

    seconds: float
    resident: int
    anonymous: int | None
    processor: float = 0


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
        """The peak without pages of mapped input if the system reports it, else all resident pages."""
        anonymous = self.anonymous()
        return self.resident() if anonymous is None else anonymous


Results = dict[tuple[str, str], Series]  # by case and contender


@dataclass(frozen=True)
class Contender:
    """A program that loads a file into a table; its command contains `{input}`, `{db}`, `{state}`, which is kept from
    case to case, and `{new_state}`, which is not.

    `cases` names its inputs, files or hosts, loaded one after the other; `expected` what its report, JSON on stdout,
    must count. Without a `required` one there is no comparison.
    """

    name: str
    command: tuple[str, ...]
    cases: Mapping[str, Path | str]
    environment: Mapping[str, str] = field(default_factory=dict)
    expected: Mapping[str, Counts] = field(default_factory=dict)
    required: bool = True

    def measure(self, folder: Path, database: Database, results: Results) -> None:
        """Measure all its cases with one new database."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with database(folder) as (address, settle):
            names = {"db": address, "state": str(folder / "state")}
            for case, source in self.cases.items():
                settle()
                names["new_state"] = str(folder / f"state {case}")
                command = [part.format(input=source, **names) for part in self.command]
                run = measured(command, self.environment, folder / "output")
                if case in self.expected:
                    _check(json.loads((folder / "output").read_text(encoding="utf-8")), self.expected[case])
                results.setdefault((case, self.name), Series()).runs.append(run)
        shutil.rmtree(folder)


Database = Callable[[Path], AbstractContextManager[tuple[str, Callable[[], None]]]]
"""Folder → a new database: its address, and the function that settles it before each case."""


@contextmanager
def new_file(folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """Return the address of a database file that does not exist yet; it needs no settling."""
    yield str(folder / "out.duckdb"), lambda: None


def in_turns(contenders: Sequence[Contender], repeats: int, out: Path, database: Database) -> tuple[Results, Reasons]:
    """Run rounds of all contenders, in an order that rotates; return the results, and the reasons why contenders could
    not be measured."""
    for source in {source for contender in contenders for source in contender.cases.values()}:
        if isinstance(source, Path):
            _warm(source)
    results: Results = {}
    unmeasured: Reasons = {}
    for number in range(repeats):
        turn = number % len(contenders)
        for contender in [*contenders[turn:], *contenders[:turn]]:
            if contender.name in unmeasured:
                continue
            say(f"round {number + 1} of {repeats}: {contender.name}, {', '.join(contender.cases)}")
            try:
                contender.measure(out / "work", database, results)
            except NotMeasuredError as error:
                if contender.required:
                    raise SystemExit(f"bench: {contender.name}: {error}") from None
                unmeasured[contender.name] = str(error)
    return results, unmeasured


def measured(command: Sequence[str], variables: Mapping[str, str], output: Path) -> Run:
    """Run a command to its end. Raises NotMeasuredError if it fails."""
    with output.open("wb") as out, output.with_suffix(".err").open("wb") as err:
        begin = time.perf_counter()
        child = subprocess.Popen(command, stdout=out, stderr=err, cwd=ROOT, env={**os.environ, **variables})
        sampler = _Sampler(child.pid)
        sampler.start()
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        sampler.stopped.set()
        sampler.join()
    if child.returncode:
        raise NotMeasuredError(f"exit {child.returncode}: {last_line(output)}")
    scale = 1 if sys.platform == "darwin" else 1024
    return Run(seconds, usage.ru_maxrss * scale, sampler.peak or None, usage.ru_utime + usage.ru_stime)


def last_line(output: Path) -> str:
    """Return the last line that a command has printed, errors first read."""
    said = (output.with_suffix(".err").read_text(errors="replace") + output.read_text(errors="replace")).split("\n")
    return next((line.strip() for line in reversed(said) if line.strip()), "nothing said")[:200]


class _Sampler(threading.Thread):
    """Samples the anonymous pages of a process every few milliseconds and keeps the peak (Linux)."""

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


def _check(report: Mapping[str, Counts], wanted: Counts) -> None:
    """Check the counts: a fast run that lost a record is not measured."""
    counts = report["counts"]
    wrong = {name: (counts[name], value) for name, value in wanted.items() if counts[name] != value}
    if wrong:
        raise SystemExit(f"bench: Tranship counted wrongly (counted, expected): {wrong}")


def generated(folder: Path, rows: int, seed: int, *, change: float = 0.0, dirt: str = "usual") -> Data:
    """Return the input of these rows, generated if missing; its name contains a digest of the generator."""
    sources = (HERE / "generate.py", HERE / "countries.csv")
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:8]
    kind = (f"-{change:g}" if change else "") + (f"-{dirt}" if dirt != "usual" else "")
    out = folder / f"{rows}-{seed}{kind}-{digest}"
    if not (out / "expected.json").exists():
        say(f"generating {rows:,} records" + (f", {change:.0%} changed" if change else "") + f", {dirt} dirt")
        options = ("--rows", str(rows), "--seed", str(seed), "--change", str(change), "--dirt", dirt, "--out", str(out))
        command = [sys.executable, str(HERE / "generate.py"), *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    expected = json.loads((out / "expected.json").read_text(encoding="utf-8"))
    return Data(out / "customers.csv", out / "customers.parquet", expected)


def environment(folder: Path, *requirements: str) -> Path:
    """Return the folder of programs of a virtual environment with these packages, created if missing."""
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    done = folder / hashlib.sha256(" ".join(requirements).encode()).hexdigest()[:16]
    if not done.exists():
        say(f"installing {' '.join(requirements)}")
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        pip = [str(programs / "python"), "-m", "pip", "install", "--quiet", *requirements]
        answer = subprocess.run(pip, capture_output=True, text=True, check=False)
        if answer.returncode:
            raise NotMeasuredError(f"cannot be installed: {answer.stderr.strip().splitlines()[-1][:200]}")
        done.touch()
    return programs


def table(results: Results, rows: int, base: str) -> Iterator[str]:
    """Return the results in Markdown, each compared with the contender `base` in the same case."""
    yield f"| {rows:,} records | contender | seconds (min to max) | peak MB | anonymous MB | time | memory |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for (case, name), series in results.items():
        all_seconds = [run.seconds for run in series.runs]
        spread = f"{series.seconds():.2f} ({min(all_seconds):.2f} to {max(all_seconds):.2f})"
        anonymous = series.anonymous()
        cells = [case, name, spread, f"{series.resident() / MB:,.0f}"]
        cells.append("" if anonymous is None else f"{anonymous / MB:,.0f}")
        beside = results.get((case, base))
        if beside:
            cells.append(f"{series.seconds() / beside.seconds():.2f}x")
            cells.append(f"{series.resident() / beside.resident():.2f}x")
        yield "| " + " | ".join(cells + [""] * (7 - len(cells))) + " |"


def promises(targets: Sequence[tuple[str, float, float, str]]) -> Iterator[str]:
    """Return the targets in Markdown. Each has its name, the measured value, the limit, and the unit of both."""
    yield "| target | at most | measured | holds |"
    yield "| --- | --- | --- | --- |"
    for name, value, limit, unit in targets:
        digits = 0 if unit == " MB" else 2
        holds = "yes" if value <= limit else "no"
        yield f"| {name} | {limit:.{digits}f}{unit} | {value:.{digits}f}{unit} | {holds} |"


def parsed(
    parser: argparse.ArgumentParser, peers: Iterable[str], out: Path, *, rows: int = 1_000_000
) -> argparse.Namespace:
    """Parse the arguments, including those of all benchmarks; `peers` is a list of known names, and the folder `out`
    exists."""
    known = ", ".join(peers)
    parser.add_argument("--rows", type=int, default=rows)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--repeats", type=int, default=5, help="rounds; medians are of these")
    parser.add_argument("--peers", default="", help=f"also measure these, comma-separated: {known}")
    parser.add_argument("--out", type=Path, default=out, help="folder for all output")
    args = parser.parse_args()
    args.peers = [name.strip() for name in args.peers.split(",") if name.strip()]
    unknown = sorted(set(args.peers) - set(peers))
    if unknown:
        parser.error(f"unknown peer {', '.join(unknown)}; known: {known}")
    if args.rows < 1 or args.repeats < 1:
        parser.error("--rows and --repeats must be at least 1")
    args.out = args.out.resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    return args


def installed(
    names: Sequence[str], peers: Mapping[str, Callable[..., Contender]], *given: Data | Path | str
) -> tuple[list[Contender], Reasons]:
    """Return the peers with these names, and the reasons why some cannot be installed."""
    contenders: list[Contender] = []
    missing: Reasons = {}
    for name in names:
        try:
            contenders.append(peers[name](*given))
        except (NotMeasuredError, OSError, subprocess.SubprocessError) as error:
            missing[name] = str(error)
    return contenders, missing


def ordered(results: Results, cases: Sequence[str], contenders: Sequence[str]) -> Results:
    keys = sorted(results, key=lambda key: (cases.index(key[0]), contenders.index(key[1])))
    return {key: results[key] for key in keys}


def kept(out: Path, name: str, lines: Sequence[str], facts: Mapping[str, object], results: Results) -> str:
    """Write name.md and name.json; return the latter."""
    (out / f"{name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    series = [{"case": case, "contender": who, **asdict(found)} for (case, who), found in results.items()]
    raw = json.dumps({**facts, "series": series}, indent=2)
    (out / f"{name}.json").write_text(raw + "\n", encoding="utf-8")
    return raw


def machine(*packages: str) -> str:
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    python = platform.python_version()
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, Python {python}, {versions}"


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _warm(path: Path) -> None:
    """Read a file into the page cache, so that the first contender does not pay for the disk."""
    with path.open("rb") as file:
        while file.read(1 << 24):
            pass
