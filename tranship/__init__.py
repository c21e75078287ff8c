"""Tranship moves customer records between files, tables and billing providers without losing or doubling one.

    import tranship

    report = tranship.run("customers.csv", "duckdb:///warehouse.duckdb?table=customers", max_rejects="2%")
    print(report.counts)

This package is the one door: the Python API, `python -m tranship`, and the command `tranship`. What the functions need
is imported when they are called.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tranship.connectors.errors import (
        ConfigError,
        ConnectorError,
        GateClosed,
        Interrupted,
        Malformed,
        MissingDriver,
        Refused,
        Skipped,
        TranshipError,
        Unreachable,
    )
    from tranship.pipelines.inspection import Inspection
    from tranship.pipelines.report import Counts, Report

__all__ = [
    "ConfigError",
    "ConnectorError",
    "Counts",
    "GateClosed",
    "Inspection",
    "Interrupted",
    "Malformed",
    "MissingDriver",
    "Refused",
    "Report",
    "Skipped",
    "TranshipError",
    "Unreachable",
    "inspect",
    "main",
    "resume",
    "run",
]

_HOME = {
    "Counts": "tranship.pipelines.report",
    "Report": "tranship.pipelines.report",
    "Inspection": "tranship.pipelines.inspection",
}


def run(source: str | Path | Sequence[str | Path], destination: str | Path | None = None, /, **options: Any) -> Report:
    """Move the customers of `source` to `destination` and report what was done.

    Both are paths or URLs as on the command line; `source` may be a list of them, and alone a settings file
    (`pipeline.toml`). `options` are the settings by name (`max_rejects="2%"`, `columns={"Account No": "external_id"}`,
    `dry_run=True`); the environment (`TRANSHIP_MAX_REJECTS`) is read, too. Raises TranshipError: ConfigError,
    ConnectorError, GateClosed and Interrupted have the run's report as `report` if it came that far.
    """
    from tranship.pipelines import run as flow
    from tranship.pipelines import settings

    to = None if destination is None else os.fspath(destination)
    return flow.run(settings.from_command(_texts(source), to, options, os.environ))


def resume(run_id: str, *, state_dir: str | Path = ".tranship", **options: Any) -> Report:
    """Continue a run that died or was interrupted, by its id or `last`, from its last finished step. `options` may be
    the settings `overlap`, `lock_timeout` and `locks`, else they are those of the run.

    Raises ConfigError if there is no such run or nothing is left to do, and what `run` raises.
    """
    from tranship.pipelines import run as flow

    return flow.resume(Path(state_dir), run_id, **options)


def inspect(source: str | Path | Sequence[str | Path], *, rows: int = 10_000, **options: Any) -> Inspection:
    """Look at the first `rows` records: columns, proposed mapping, and what would be rejected. Writes nothing.

    `options` are the settings that are about a source. Raises ConfigError or ConnectorError.
    """
    from tranship.pipelines import run as flow
    from tranship.pipelines import settings

    return flow.inspect(settings.reading_from_command(_texts(source), options, os.environ), rows)


def _texts(source: str | Path | Sequence[str | Path]) -> str | list[str]:
    return os.fspath(source) if isinstance(source, str | Path) else [os.fspath(one) for one in source]


def main() -> None:
    """Run the command line and end the process with its exit code."""
    # Numpy's linear algebra is not used here; the threads it keeps ready would spin beside ours.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # What polars is done with goes back soon: the next step, or a database beside us, has use for it.
    os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:500,muzzy_decay_ms:0")
    # What is imported is no garbage: the collector need not look at it again and again (`cli` turns it on).
    gc.disable()
    from tranship.pipelines.cli import main as cli

    _end(cli.main())


def _end(code: int) -> NoReturn:
    """End the process at once: all is closed by now, and taking the libraries and their memory apart takes a while."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        sys.exit(code)  # Python says what is wrong with the output
    os._exit(code)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME.get(name, "tranship.connectors.errors")), name)
