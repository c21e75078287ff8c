"""Processes that the kernel kills when they use more memory than a control group allows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_GROUPS = Path("/sys/fs/cgroup")


@contextmanager
def memory_group(limit: int) -> Iterator[tuple[str, ...]]:
    """The words that start a command in a group of so many bytes; skip the test where no group can be made."""
    old = _GROUPS / "memory"  # version 1
    parent, name = (old, "memory.limit_in_bytes") if old.is_dir() else (_GROUPS, "memory.max")
    group = parent / f"tranship-test-{os.getpid()}"
    try:
        group.mkdir()
        try:
            (group / name).write_text(str(limit))
        except OSError:
            group.rmdir()
            raise
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        yield ("sh", "-c", 'echo $$ > "$0" && exec "$@"', str(group / "cgroup.procs"))
    finally:
        group.rmdir()
