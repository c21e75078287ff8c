"""Reports about bugs of Tranship itself: a file without any data of the user."""

from __future__ import annotations

import os
import platform
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from msgspec import Struct

from tranship.connectors import mirrored
from tranship.connectors.local_failures import NativeAbortError


class CrashContext(Struct):
    """The folder for crash reports: the state directory; a command whose settings name another one changes it.

    `as_json` and `quiet` are whether the command was given `--json` and `--quiet`.
    """

    state_dir: Path
    as_json: bool = False
    quiet: bool = False


def save_crash_report(error: BaseException, state_dir: Path) -> str:
    """Write a crash report and return the message that names its file.

    Neither has the exception's message, which may quote personal data.
    """
    text = "\n".join(_crash_lines(error))
    name = f"crash-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.txt"
    from tranship.connectors import plug_ins

    other = plug_ins.at_fault(error)
    where = f"the connector {other} of another package" if other else "Tranship"
    bug = f"This is a bug in {where} ({type(error).__name__})."
    own = (state_dir,) if mirrored.of(state_dir) is None else ()  # a working copy is removed at the end
    for folder in (*own, *_temporary_folder()):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = folder / name
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
                out.write(text)
        except OSError:
            continue
        return f"{bug} Please report it with the file {file}, which shows where it happened, and has none of your data."
    return f"{bug} Please report it; no file about it could be saved here."


def _temporary_folder() -> Iterator[Path]:
    with suppress(OSError):  # none can be written
        yield Path(tempfile.gettempdir())


def _crash_lines(error: BaseException) -> Iterator[str]:
    packages = ("tranship", "polars", "duckdb", "pyarrow", "pandera", "pydantic", "click")
    yield f"Python {platform.python_version()} on {platform.platform()}"
    yield ", ".join(f"{name} {package_version(name)}" for name in packages)
    shown: BaseException | None = error
    while shown is not None:
        kind = type(shown)
        yield f"\n{kind.__module__}.{kind.__qualname__}, at (innermost last):"
        yield "".join(traceback.format_tb(shown.__traceback__))
        if isinstance(shown, NativeAbortError):
            yield shown.trace
        shown = shown.__cause__ or shown.__context__


def package_version(package: str) -> str:
    """Return the version of an installed package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(not installed)"
