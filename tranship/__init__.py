"""Tranship moves customer records between files, tables and billing providers without losing or doubling one.

    import tranship

    report = tranship.run("customers.csv", "duckdb:///warehouse.duckdb?table=customers", max_rejects=0.02)
    print(report.counts)

This package is the only entrance: the Python API, `python -m tranship`, and the command `tranship`. Modules that the
functions need are imported when they are called.

The functions take the settings by name. A setting that is not given is read from the environment
(`TRANSHIP_MAX_REJECTS`). They raise TranshipError: ConfigError for invalid arguments; ConnectorError, GateClosed,
Skipped and Interrupted in the same cases as the command. If the run began, the error has its report as `report`.
"""

from __future__ import annotations

import functools
import gc
import importlib
import os
import sys

# Not imported from typing: with `python -m tranship`, this file is run before the working directory is removed from the
# import path, and a typing.py or enum.py there would be found.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import date, timedelta
    from typing import Any, Literal, TypeVar, Unpack

    import polars as pl

    from tranship.connectors.errors import (
        Busy,
        ConfigError,
        ConnectorError,
        Damaged,
        GateClosed,
        Interfered,
        Interrupted,
        LocalFailure,
        Malformed,
        MissingDriver,
        Refused,
        Skipped,
        TranshipError,
        Undecided,
        Unreachable,
    )
    from tranship.connectors.sandbox.session import Sandbox, WeatherOptions
    from tranship.pipelines.arguments import (
        Address,
        Duration,
        FixOptions,
        Limit,
        LockOptions,
        Records,
        RunOptions,
        SourceOptions,
        Sources,
        UndoOptions,
    )
    from tranship.pipelines.backfill import Window
    from tranship.pipelines.events import Observer, Progress
    from tranship.pipelines.fixing.result import Fix, RefusedRow
    from tranship.pipelines.inspection import Column, Finding, Inspection
    from tranship.pipelines.report import Counts, Fixes, Report
    from tranship.pipelines.run_list import RunList, RunSummary
    from tranship.pipelines.states import Cleared, Watermark
    from tranship.pipelines.verify import Verification

    __version__: str
    F = TypeVar("F", bound=Callable[..., Any])

__all__ = [
    "Address",
    "Busy",
    "Cleared",
    "Column",
    "ConfigError",
    "ConnectorError",
    "Counts",
    "Damaged",
    "Duration",
    "Finding",
    "Fix",
    "FixOptions",
    "Fixes",
    "GateClosed",
    "Inspection",
    "Interfered",
    "Interrupted",
    "Limit",
    "LocalFailure",
    "LockOptions",
    "Malformed",
    "MissingDriver",
    "Observer",
    "Progress",
    "Records",
    "Refused",
    "RefusedRow",
    "Report",
    "RunList",
    "RunOptions",
    "RunSummary",
    "Sandbox",
    "Skipped",
    "SourceOptions",
    "Sources",
    "TranshipError",
    "Undecided",
    "UndoOptions",
    "Unreachable",
    "Verification",
    "Watermark",
    "WeatherOptions",
    "Window",
    "__version__",
    "apply",
    "backfill",
    "changes",
    "clear_watermarks",
    "fix",
    "inspect",
    "main",
    "plan",
    "resume",
    "retry",
    "run",
    "runs",
    "sandbox",
    "set_watermark",
    "undo",
    "verify",
    "watermarks",
]

_HOME = {
    **dict.fromkeys(
        (
            *("Address", "Duration", "Limit", "LockOptions", "Records", "RunOptions", "SourceOptions", "Sources"),
            *("FixOptions", "UndoOptions"),
        ),
        "pipelines.arguments",
    ),
    **dict.fromkeys(("Column", "Finding", "Inspection"), "pipelines.inspection"),
    **dict.fromkeys(("Counts", "Fixes", "Report"), "pipelines.report"),
    **dict.fromkeys(("Fix", "RefusedRow"), "pipelines.fixing.result"),
    **dict.fromkeys(("Observer", "Progress"), "pipelines.events"),
    **dict.fromkeys(("RunList", "RunSummary"), "pipelines.run_list"),
    **dict.fromkeys(("Sandbox", "WeatherOptions"), "connectors.sandbox.session"),
    "Cleared": "pipelines.states",
    "Verification": "pipelines.verify",
    "Watermark": "pipelines.states",
    "Window": "pipelines.backfill",
}
"""Name → the module from which it is imported when it is accessed; all errors are in one module."""

_CALL = "call"  # pipelines.setting_errors.CALL, not imported, for a quick start


def _entrance(function: F) -> F:
    """Make a function raise LocalFailure for failures of this machine wherever they occur, as the command does."""

    @functools.wraps(function)
    def guarded(*arguments: Any, **options: Any) -> Any:
        from tranship.connectors.local_failures import local_failures

        with local_failures(options.get("state_dir") or ".tranship"):
            return function(*arguments, **options)

    return guarded  # type: ignore[return-value]


@_entrance
def run(
    source: Sources | None = None,
    destination: Address | None = None,
    *,
    only: str | None = None,
    observer: Observer | None = None,
    **options: Unpack[RunOptions],
) -> Report:
    """Move the customers of `source` to `destination` and report what was done. Both are paths or URLs as on the
    command line. `source` may also be a list of them; a settings file (`pipeline.toml`), without a destination; or
    records: a frame of polars or pandas, a table, batch, reader or data set of pyarrow, any Arrow stream, a DuckDB
    relation, or an iterable of dicts. Records are read like a Parquet or JSON file. An earlier run of the same work
    that died is continued. `only` selects a pipeline of a settings file with several. `observer` is called repeatedly
    with a `Progress`.
    """
    from tranship.pipelines import events, frames, settings
    from tranship.pipelines import run as flow

    listener = events.events(observer)
    made = settings.from_command(frames.named(source), destination, options, os.environ, _CALL, only)
    with frames.spooled(made, source) as given:
        return flow.run(given, listener)


@_entrance
def plan(
    source: Sources | None = None,
    destination: Address | None = None,
    *,
    out: Address,
    only: str | None = None,
    observer: Observer | None = None,
    **options: Unpack[RunOptions],
) -> Report:
    """Do everything up to the plan, which is saved in the new folder `out` to be reviewed and then carried out by
    `apply`.

    Nothing is written to the destination. Raises ConfigError if the folder exists.
    """
    from pathlib import Path

    from tranship.pipelines import arguments, events, frames, settings
    from tranship.pipelines import run as flow

    folder = Path(arguments.path("out", out))
    listener = events.events(observer)
    made = settings.from_command(frames.named(source), destination, options, os.environ, _CALL, only)
    with frames.spooled(made, source) as given:
        return flow.plan(given, folder, listener)


@_entrance
def apply(
    folder: Address,
    *,
    limit: int | None = None,
    expect: str | None = None,
    identity: Address | None = None,
    observer: Observer | None = None,
    **options: Unpack[LockOptions],
) -> Report:
    """Carry out the plan in this folder, or continue it; at a provider, only the first `limit` remaining records. With
    `expect`, only if that is its digest (`Report.plan_digest`), or at least the first 16 characters of it.

    `identity` is the file with the secret key, if the files of the plan are encrypted; without it, TRANSHIP_IDENTITY
    names it.

    Raises ConfigError if there is no plan, nothing is left to do or the plan has another digest, and GateClosed if a
    table has changed since the plan was made.
    """
    from pathlib import Path

    from tranship.pipelines import arguments, events
    from tranship.pipelines import run as flow

    place = Path(arguments.path("folder", folder))
    most = None if limit is None else arguments.count("limit", limit)
    given = arguments.lock_options(options, os.environ)
    key = arguments.identity(identity, os.environ)
    return flow.apply(place, events.events(observer), limit=most, expect=expect, identity=key, **given)


@_entrance
def verify(
    source: Sources | None = None,
    destination: Address | None = None,
    *,
    run: Address | None = None,
    identity: Address | None = None,
    only: str | None = None,
    observer: Observer | None = None,
    **options: Unpack[RunOptions],
) -> Verification:
    """Compare source and destination, customer by customer and field by field. Writes to neither.

    With `run` (an id, `last`, or the folder of a plan) the input of that run is compared with the current state of its
    destination; the only option allowed with it is `state_dir`, and `identity` is as for `apply`.
    """
    from tranship.connectors.errors import ConfigError
    from tranship.pipelines import arguments, events, frames, settings
    from tranship.pipelines import run as flow

    listener = events.events(observer)
    if run is None:
        made = settings.from_command(frames.named(source), destination, options, os.environ, _CALL, only)
        with frames.spooled(made, source) as given:
            return flow.verify(given, listener)
    given_beside = (("source", source), ("destination", destination), ("only", only))
    beside = [name for name, value in given_beside if value is not None]
    if beside or (beside := [name for name in options if name != "state_dir"]):
        raise ConfigError(
            f"{beside[0]}: cannot be combined with run, which already determines it. Leave one of them out."
        )
    state_dir = arguments.state_dir(options.get("state_dir"), os.environ)
    key = arguments.identity(identity, os.environ)
    return flow.verify_run(state_dir, arguments.path("run", run), listener, identity=key)


@_entrance
def retry(
    run: Address = "last",
    *,
    state_dir: Address | None = None,
    identity: Address | None = None,
    observer: Observer | None = None,
    **options: Unpack[LockOptions],
) -> Report:
    """Retry the records that failed at a provider or were not begun, as a new run.

    `run` is an id, `last`, or the folder of a plan; `identity` is as for `apply`. Raises ConfigError if nothing failed.
    """
    from tranship.pipelines import arguments, events
    from tranship.pipelines import run as flow

    place, run_id = arguments.state_dir(state_dir, os.environ), arguments.path("run", run)
    key = arguments.identity(identity, os.environ)
    given = arguments.lock_options(options, os.environ)
    return flow.retry(place, run_id, events.events(observer), identity=key, **given)


@_entrance
def fix(
    run: Address = "last",
    file: Address | None = None,
    *,
    out: Address | None = None,
    always: str | Sequence[str] = (),
    corrections: Address | None = None,
    why: str | None = None,
    identity: Address | None = None,
    state_dir: Address | None = None,
    observer: Observer | None = None,
    **options: Unpack[FixOptions],
) -> Fix:
    """Write the rejects of a run to the new file `out`, .xlsx or .csv; or, with `file`, load those that were corrected
    there. `run` is an id, `last`, or the folder of a plan.

    Changes in the columns `always` become rules in the file `corrections`, by default that of the run or
    `corrections.toml`; `why` is a note on them; `identity` is as for `apply`. Raises ConfigError if the rejects of the
    run cannot be loaded, nothing is open, or the file is not one of this run; and what `run` raises.
    """
    from pathlib import Path

    from tranship.connectors.errors import ConfigError
    from tranship.pipelines import arguments, events
    from tranship.pipelines.fixing import fix as fixing

    place, run_id = arguments.state_dir(state_dir, os.environ), arguments.path("run", run)
    given = arguments.fix_options(options, os.environ)
    columns = arguments.texts("always", always)
    key = arguments.identity(identity, os.environ)
    if file is None:
        if columns or corrections is not None or why is not None or options:
            raise ConfigError("file: is needed for these arguments. Without it, the rejects are written.")
        return fixing.write(place, run_id, None if out is None else Path(arguments.path("out", out)), key)
    if out is not None:
        raise ConfigError("out: cannot be combined with file. Write the rejects first, then load them.")
    given_file = Path(arguments.path("file", file))
    rules = None if corrections is None else Path(arguments.path("corrections", corrections))
    listener = events.events(observer)
    return fixing.load(place, run_id, given_file, listener, always=columns, rules=rules, why=why, identity=key, **given)


@_entrance
def resume(
    run: Address = "last",
    *,
    state_dir: Address | None = None,
    identity: Address | None = None,
    observer: Observer | None = None,
    **options: Unpack[LockOptions],
) -> Report:
    """Continue a run that died or was interrupted, by its id or `last`, from its last finished step.

    `identity` is as for `apply`. Raises ConfigError if there is no such run or nothing is left to do.
    """
    from tranship.pipelines import arguments, events
    from tranship.pipelines import run as flow

    place, run_id = arguments.state_dir(state_dir, os.environ), arguments.path("run", run)
    key = arguments.identity(identity, os.environ)
    given = arguments.lock_options(options, os.environ)
    return flow.resume(place, run_id, events.events(observer), identity=key, **given)


@_entrance
def inspect(
    source: Sources | None = None, *, rows: int = 10_000, only: str | None = None, **options: Unpack[SourceOptions]
) -> Inspection:
    """Inspect the first `rows` records: columns, proposed mapping, and the records that would be rejected. Nothing is
    written."""
    from tranship.pipelines import arguments, frames, settings
    from tranship.pipelines import run as flow

    most = arguments.count("rows", rows)
    reading = settings.reading_from_command(frames.named(source), options, os.environ, _CALL, only)
    with frames.spooled(reading, source, most + 1) as given:
        return flow.inspect(given, most)


@_entrance
def runs(*, state_dir: Address | None = None, remove_older_than: timedelta | None = None) -> RunList:
    """List the runs of a state directory, newest first.

    With `remove_older_than`, runs that have ended and began longer ago are removed.
    """
    from datetime import timedelta

    from tranship.connectors.errors import ConfigError
    from tranship.pipelines import arguments, run_list

    if remove_older_than is not None and not isinstance(remove_older_than, timedelta):
        kind = type(remove_older_than).__name__
        raise ConfigError(f"remove_older_than: {kind} is not accepted. Give a timedelta, such as timedelta(days=30).")
    return run_list.list_runs(arguments.state_dir(state_dir, os.environ), remove_older_than)


@_entrance
def changes(
    run: Address = "last",
    *,
    key: str | None = None,
    state_dir: Address | None = None,
    identity: Address | None = None,
) -> pl.DataFrame:
    """Return what a run has changed, as a polars frame with a row for each customer: run_id, customer_key, action
    (create, update, delete), changed_fields, before and after (JSON), reason, changed_at. A customer that was created
    in a table has no values here: the table has them.

    `run` is an id, `last`, or the folder of a plan. With `key`, only the changes of one customer are returned, given by
    its external id or, if it has none, its e-mail; `identity` is as for `apply`. Raises ConfigError if the changes were
    not recorded.
    """
    from tranship.pipelines import arguments
    from tranship.pipelines import changes as recorded

    place, run_id = arguments.state_dir(state_dir, os.environ), arguments.path("run", run)
    customer = None if key is None else arguments.text("key", key)
    return recorded.frame_of(place, run_id, customer, arguments.identity(identity, os.environ))


@_entrance
def undo(
    run: Address = "last",
    *,
    only: Sequence[Literal["created", "updated", "deleted"]] = (),
    keys: Address | None = None,
    out: Address | None = None,
    identity: Address | None = None,
    state_dir: Address | None = None,
    observer: Observer | None = None,
    **options: Unpack[UndoOptions],
) -> Report:
    """Take back what a run did to its destination, or only what it has created, updated or deleted (`only`), or only
    the customers in the text file `keys`, with an external id or an e-mail on each line.

    What has changed since is left alone and listed in the file `left` of the report. With `out`, the plan is saved in
    that new folder for `apply`. `run` is an id, the folder of a plan, or `last`: the last run that has written
    something; `identity` is as for `apply`. Raises ConfigError if the run cannot be taken back, and Damaged if what it
    has kept is missing or was changed.
    """
    from pathlib import Path

    from tranship.pipelines import arguments, events
    from tranship.pipelines import undo as undoing
    from tranship.pipelines.undo_steps import ACTION_OF

    return undoing.undo(
        arguments.state_dir(state_dir, os.environ),
        arguments.path("run", run),
        events.events(observer),
        only=arguments.choices("only", only, tuple(ACTION_OF)),
        keys=None if keys is None else Path(arguments.path("keys", keys)),
        out=None if out is None else Path(arguments.path("out", out)),
        identity=arguments.identity(identity, os.environ),
        **arguments.undo_options(options, os.environ),
    )


@_entrance
def backfill(
    source: Address,
    destination: Address,
    *,
    window: Duration | int = "1d",
    observer: Observer | None = None,
    **options: Unpack[RunOptions],
) -> tuple[Window, ...]:
    """Load the records of a span of time window by window, each in a run of its own: those whose `updated_at` (or
    `cursor`) is not before `since` and before `until`, which must both be given. `window` is the length of a window; of
    a cursor of whole numbers, all three are numbers.

    The watermark stays where it is. After an interruption, the same call continues with the window that was not
    finished; the report of a window that was finished before is None.
    """
    from tranship.connectors.errors import ConfigError
    from tranship.pipelines import arguments, events, frames, settings
    from tranship.pipelines import backfill as filling

    for name in ("since", "until"):
        if options.get(name) is None:
            raise ConfigError(f"{name}: is missing. A backfill needs since and until.")
    made = settings.from_command(frames.named(source), destination, options, os.environ, _CALL)
    return tuple(filling.backfill(made, arguments.window(window), events.events(observer)))


@_entrance
def watermarks(destination: Address, *, state_dir: Address | None = None) -> tuple[Watermark, ...]:
    """Return how far each source was read into `destination` with `since="last"`."""
    from tranship.pipelines import arguments, states

    place = arguments.state_dir(state_dir, os.environ)
    return tuple(states.watermarks(arguments.address("destination", destination), place))


@_entrance
def set_watermark(
    destination: Address, value: str | date | int, *, source: str | None = None, state_dir: Address | None = None
) -> Watermark:
    """Set a watermark of `destination` to a time or, for a cursor of whole numbers, to one. The next run with
    `since="last"` begins there. With several sources, name one, as `watermarks` returns it.

    Raises ConfigError if it is not clear which watermark is meant.
    """
    from tranship.pipelines import arguments, states

    place, position = arguments.state_dir(state_dir, os.environ), arguments.position("value", value)
    chosen = None if source is None else arguments.text("source", source)
    return states.set_watermark(arguments.address("destination", destination), place, position, chosen)


@_entrance
def clear_watermarks(destination: Address, *, source: str | None = None, state_dir: Address | None = None) -> Cleared:
    """Remove the watermarks of `destination`, or that of one source, and forget the files that were read: the next run
    with `since="last"` or `new_files` reads everything.
    """
    from tranship.pipelines import arguments, states

    place = arguments.state_dir(state_dir, os.environ)
    chosen = None if source is None else arguments.text("source", source)
    return states.clear(arguments.address("destination", destination), place, chosen)


@_entrance
def sandbox(
    provider: str,
    *,
    port: int = 0,
    seed: int | Address | None = None,
    state: Address | None = None,
    weather: WeatherOptions | None = None,
    switches: Mapping[str, str] | None = None,
) -> AbstractContextManager[Sandbox]:
    """Run a provider's API on this machine for the duration of a `with` block, on a free port unless one is given.

        with tranship.sandbox("metronome", seed=100) as there:
            tranship.run(there.address, "customers.csv")

    If the environment has no key of the provider, one is set within the block. `seed` is a number of made-up customers
    or a CSV file, `state` a file in which customers are kept, and `weather` the simulated failures.
    """
    from collections.abc import Mapping
    from pathlib import Path

    from tranship.connectors import provider_services
    from tranship.connectors.errors import ConfigError
    from tranship.pipelines import arguments

    for name, value in (("weather", weather), ("switches", switches)):
        if value is not None and not isinstance(value, Mapping):
            raise ConfigError(f"{name}: {type(value).__name__} is not accepted. Give a dict.")
    return provider_services.open_sandbox(
        arguments.text("provider", provider),
        port=arguments.count("port", port, least=0, most=65535),
        seeding=seed if seed is None or isinstance(seed, int) else Path(arguments.path("seed", seed)),
        state=None if state is None else Path(arguments.path("state", state)),
        weather=weather or {},
        switches=switches or {},
    )


def main() -> None:
    """Run the command line and end the process with its exit code."""
    # Numpy's linear algebra is not used here; its idle threads would compete with ours.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Memory that polars no longer needs is returned soon: the next step, or a database on the same machine, can use it.
    os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:500,muzzy_decay_ms:0")
    # Pydantic would look for plug-ins of its own in all installed packages.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # Imported objects are not garbage: the collector need not examine them repeatedly (`cli` turns it on).
    gc.disable()
    from tranship.pipelines.cli import process, supervisor

    process.use_lenient_streams()
    code = 130
    try:
        supervisor.work_in_child()
        with process.interrupts():
            try:
                from tranship.pipelines.cli import main as cli

                code = cli.main()
            except KeyboardInterrupt:
                print("Stopped.", file=sys.stderr)
            # Within the block: the same signal may arrive twice, the second time when all is over.
            process.end(code)
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
    process.end(code)


if not TYPE_CHECKING:  # otherwise a type checker would accept any name here

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            from importlib import metadata

            return metadata.version("tranship")
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"tranship.{_HOME.get(name, 'connectors.errors')}"), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
