"""State directories in buckets: a server of objects, and commands of machines that have nothing else in common."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from support import object_stores
from support.object_stores import Store
from tranship.connectors import mirrored

PLACE = "gs://exports/state"


@contextlib.contextmanager
def google_bucket(patch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A bucket whose server, and the credentials for it, are in the environment."""
    with object_stores.google_storage() as store:
        account = {"gcs_base_url": store.url, "disable_oauth": True, "client_email": "", "private_key": ""}
        patch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps({**account, "private_key_id": ""}))
        try:
            yield store
        finally:
            mirrored.close()


@contextlib.contextmanager
def azure_bucket(patch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The same at Azure."""
    with object_stores.azure_storage() as store:
        patch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
        patch.setenv("AZURE_STORAGE_ACCOUNT_KEY", object_stores.AZURE_KEY)
        patch.setenv("AZURE_STORAGE_ENDPOINT", f"{store.url}/account")
        patch.setenv("AZURE_ALLOW_HTTP", "true")
        try:
            yield store
        finally:
            mirrored.close()


def other_machine() -> None:
    """From now on, commands of this process have an empty disk."""
    mirrored.close()


def wait_for_leases(store: Store) -> None:
    """Let the leases of killed processes end."""
    store.ahead += timedelta(minutes=5)


def command(*words: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command on a machine of its own."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "tranship", *words],
        cwd=folder,
        env=_environment(environment),
        capture_output=True,
        text=True,
        timeout=120,
    )


def start(*words: str, folder: Path, **environment: str) -> subprocess.Popen[str]:
    """Start a command on a machine of its own."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "tranship", *words],
        cwd=folder,
        env=_environment(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def killed(moment: int, *words: str, folder: Path) -> bool:
    """Run a command that is killed at an upload: before it for odd moments, after it for even ones; return whether it
    came so far."""
    program = f"from support.state_buckets import live; live({moment}, {list(words)!r})"
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=_environment({"PYTHONPATH": str(Path(__file__).parent.parent)}),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode in (-9, 0, 4), ended.stderr
    return ended.returncode == -9


def live(moment: int, words: list[str]) -> None:
    """Run a command in this process until it is killed."""
    import signal
    import threading

    from tranship.connectors.state_store.bucket import Bucket
    from tranship.pipelines.cli.main import main

    count, counting = 0, threading.Lock()

    def tick() -> None:
        nonlocal count
        with counting:
            count += 1
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    for name in ("put", "delete"):
        work = getattr(Bucket, name)

        def ticking(*given: object, work: object = work) -> object:
            tick()
            result = work(*given)  # type: ignore[operator]
            tick()
            return result

        setattr(Bucket, name, ticking)
    os._exit(main(words))


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, "NO_COLOR": "1", **more}
