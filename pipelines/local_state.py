"""What works with a state directory on this machine only."""

from __future__ import annotations

from pathlib import Path

from tranship.connectors import mirrored
from tranship.connectors.errors import ConfigError


def must_be_here(state_dir: Path, what: str) -> None:
    """Raise ConfigError if a state directory is the working copy of one in a bucket, with which `what` is not done."""
    if (mirror := mirrored.of(state_dir)) is not None:
        raise ConfigError(
            f"{mirror.address}: {what} works with a state directory on this machine only. Copy the bucket's folder to "
            "one, give that as --state-dir while no run uses the bucket, and copy it back."
        )
