"""Print what each step of a run costs, so that the next change for speed begins from a figure.

    python benchmarks/profile_run.py --rows 1000000 [--dirt high] [--source parquet] [--again] [--out results]

One run into DuckDB, in this process. Parts are read one after the other, so that the cost of each can be attributed;
an ordinary run does the same work on all processors, and needs a little more processor time. Each row is what a step
costs by itself, without the steps in it:

* processor: seconds of processor time, of all threads of the process.
* faults: page faults, most of which are memory that the system hands over, a page at a time.
* switches: times that a thread gave up its processor.
* read, written: MB, of files and pipes; of a memory-mapped file nothing.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import resource
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from measure import HERE, MB, ROOT, generated, machine

REST = "the rest"
COSTS = ("processor", "faults", "switches", "read", "written")


def costs() -> tuple[float, ...]:
    """Return what this process has cost so far, in the order of COSTS."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    moved = dict(line.split(": ") for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines())
    return (
        time.process_time(),
        used.ru_minflt + used.ru_majflt,
        used.ru_nvcsw + used.ru_nivcsw,
        int(moved["rchar"]) / MB,
        int(moved["wchar"]) / MB,
    )


class Profile:
    """The costs of steps, each without those within it."""

    def __init__(self) -> None:
        self.costs: defaultdict[str, list[float]] = defaultdict(lambda: [0.0] * len(COSTS))
        self._open = [REST]
        self._since = costs()

    def _settle(self) -> None:
        now = costs()
        for position, (before, after) in enumerate(zip(self._since, now, strict=True)):
            self.costs[self._open[-1]][position] += after - before
        self._since = costs()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        self._settle()
        self._open.append(name)
        try:
            yield
        finally:
            self._settle()
            self._open.pop()

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*given: Any, **named: Any) -> Any:
            with self.step(name):
                return function(*given, **named)

        return timed

    def method(self, owner: type | ModuleType, function: str, name: str) -> None:
        """Have a function of a class or a module counted as a step."""
        setattr(owner, function, self.around(name, getattr(owner, function)))

    def each(self, name: str, items: Iterable[Any]) -> Iterator[Any]:
        """Yield the items; making each of them is a step."""
        several = iter(items)
        while True:
            with self.step(name):
                item = next(several, self)
            if item is self:
                return
            yield item

    def lines(self) -> Iterator[str]:
        """Yield a table, in the order in which the steps first ended; `the rest` last."""
        total = [sum(column) for column in zip(*self.costs.values(), strict=True)]
        yield f"{'step':<34}{'processor s':>12}{'share':>7}{'faults':>11}{'switches':>10}{'read MB':>9}{'written':>9}"
        named = [name for name in self.costs if name != REST]
        for name, row in [*((name, self.costs[name]) for name in named), (REST, self.costs[REST]), ("all", total)]:
            yield (
                f"{name:<34}{row[0]:>12.2f}{row[0] / total[0]:>7.1%}{row[1]:>11,.0f}{row[2]:>10,.0f}"
                f"{row[3]:>9,.1f}{row[4]:>9,.1f}"
            )


class OneByOne:
    """An executor that does the work at once, in the calling thread."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __enter__(self) -> OneByOne:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @staticmethod
    def submit(function: Callable[..., Any], *given: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(function(*given))
        return done


def watch(profile: Profile) -> None:
    """Have the steps of every run counted."""
    from tranship.pipelines import build, judging, one_machine, reading, stage, validate
    from tranship.pipelines.invalid import InvalidValues
    from tranship.pipelines.normalise import batch as normalise

    reading.ThreadPoolExecutor = OneByOne  # type: ignore[assignment,misc]
    together = reading._together

    def watched(parts: Iterable[tuple[int, Any]], most: int) -> Iterator[Any]:
        known: set[type] = set()

        def with_steps() -> Iterator[tuple[int, Any]]:
            for number, part in profile.each("read and cut", parts):
                if type(part) not in known:
                    known.add(type(part))
                    profile.method(type(part), "digest", "digest of a part")
                    profile.method(type(part), "read", "parse a part")
                yield number, part

        return together(with_steps(), most)

    reading._together = watched
    profile.method(build, "prepare", "build fields")
    for field, normaliser in normalise._TEXT_NORMALISERS.items():
        normalise._TEXT_NORMALISERS[field] = profile.around(f"  {field}", normaliser)
    for function in ("external_id", "blocked_emails", "further_emails", "phone", "instant", "typed_instants",
                     "net_terms", "json_object", "merge_unmapped", "text_of_field", "not_text"):  # fmt: skip
        profile.method(normalise, function, f"  {function}")
    profile.method(judging.normalise, "customers", "normalise: the rest")
    profile.method(validate, "faults", "validate")
    profile.method(InvalidValues, "settle", "settle faults")
    profile.method(stage, "sort_out", "sort out rejects")
    profile.method(stage, "write_stage", "write the stage")
    profile.method(stage.Stage, "add", "stage: the rest")
    profile.method(one_machine.OneMachine, "identify", "identity")
    profile.method(one_machine.OneMachine, "plan", "plan")
    profile.method(one_machine.OneMachine, "apply", "write")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--dirt", choices=("usual", "high"), default="usual")
    parser.add_argument("--source", choices=("csv", "parquet"), default="csv")
    parser.add_argument(
        "--again",
        action="store_true",
        help="run twice into one table, and print the second run, which reads the file again",
    )
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    args = parser.parse_args()
    data = generated(args.out / "data", args.rows, args.seed, dirt=args.dirt)

    profile = Profile()
    with profile.step("imports"):
        import tranship
        from tranship.pipelines import flow
    watch(profile)
    profile.method(flow, "write_report", "report")
    with tempfile.TemporaryDirectory(prefix="profile-", dir=args.out) as folder:
        options: dict[str, Any] = {"strict": True, "max_rejects": "100%"}
        for number in range(2 if args.again else 1):
            destination, state = f"duckdb:///{folder}/profile.duckdb", Path(folder) / f"state {number}"
            if number:
                profile.costs.clear()
            report = tranship.run(getattr(data, args.source), destination, state_dir=state, **options)
        wanted = data.again() if args.again else data.fresh()
        found = {name: getattr(report.counts, name) for name in wanted}
        if found != dict(wanted):
            sys.exit(f"wrong counts: {json.dumps(found)} instead of {json.dumps(wanted)}")
    print(
        f"{machine('duckdb', 'polars', 'pyarrow')}; load {os.getloadavg()[0]:.1f}; {HERE.name}, {args.rows:,} records"
    )
    print("\n".join(profile.lines()))


if __name__ == "__main__":
    main()
