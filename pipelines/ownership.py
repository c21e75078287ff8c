"""Ownership of a destination and of a run, by locks that this process keeps while a command works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from tranship.connectors.addresses import redacted
from tranship.connectors.errors import Busy, ConfigError
from tranship.connectors.local_failures import local_failures
from tranship.pipelines import endpoints, locks
from tranship.pipelines.observer import Observer
from tranship.pipelines.run_directory import RunDirectory
from tranship.pipelines.settings_model import Settings


@contextmanager
def owned(
    settings: Settings,
    observer: Observer,
    directory: RunDirectory | None = None,
    check_work_left: Callable[[RunDirectory], None] = lambda _: None,
) -> Iterator[None]:
    """Hold the lock of the destination, unless nothing is written there, then that of the run to be continued.

    Raises Busy or Skipped if another process has one of them, or has completed the run. Failures of this machine in the
    block are raised as LocalFailure.
    """

    def check_free() -> None:
        if directory is not None:
            directory.must_be_free()

    place = settings.state_dir if directory is None else directory.path
    with local_failures(place), ExitStack() as stack:
        if directory is not None:
            directory.has_lock = settings.locks
        if settings.locks and not settings.dry_run:
            lock = locks.of_destination(settings.state_dir, endpoints.destination_identity(settings))
            stack.callback(lock.release)
            waiting = endpoints.waiting_of(settings, observer)
            locks.wait_for(lock, redacted(settings.destination), settings.overlap, waiting, check_free)
        if directory is not None:
            stack.callback(directory.let_go)
            last = directory.last_holder
            directory.own()
            try:
                check_work_left(directory)
            except ConfigError as error:
                raise Busy(f"{error} {last} completed it while this command was starting.") from error
        yield
