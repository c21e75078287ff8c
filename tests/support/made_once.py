"""Expensive things that are only read: made by the first pytest worker that needs them, and used by all."""

from __future__ import annotations

import fcntl
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")


def shared_folder(factory: pytest.TempPathFactory, name: str, fill: Callable[[Path], object]) -> Path:
    """Return the folder of this name, filled once for all workers of a test run; the others wait. A failure is not
    kept: the next worker tries again.
    """
    base = factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, complete = root / name, root / f"{name}.complete"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            attempt = sum(1 for _ in root.glob(f"{name}.failed-*"))
            if folder.exists():
                folder.rename(root / f"{name}.failed-{attempt}")
            folder.mkdir()
            fill(folder)
            complete.touch()
    return folder


def shared_value(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], T]) -> T:
    """Return what `make` returns for an empty folder, called once for all workers of a test run. It is pickled."""

    def fill(folder: Path) -> None:
        (folder / "files").mkdir()
        (folder / "value").write_bytes(pickle.dumps(make(folder / "files")))

    value: T = pickle.loads((shared_folder(factory, name, fill) / "value").read_bytes())
    return value
