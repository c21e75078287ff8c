"""The process of a command: its standard streams and signals, before anything else of Tranship is imported.

Printing never affects the records: a closed or full standard output or error changes neither the work nor the exit
code.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, NoReturn, TextIO

from tranship.connectors import mirrored
from tranship.connectors.errors import LocalFailure
from tranship.pipelines.cli import characters, native_code

SIGNALS: Final = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""The signals that interrupt a command."""
_ADDRESS_SPACE: Final = 2 << 30
_ADDRESS_SPACE_PER_CORE: Final = 256 << 20
"""Reserved by polars and DuckDB: buffers and stacks of threads; measured with 2 cores (1.6 GB fail, 2.5 GB suffice)."""
_REPEAT_SECONDS: Final = 0.01
_SAME_SECONDS: Final = 0.1
"""Within this time the same signal is the same request, sent to a process and to its group, as `timeout` does."""
_received: dict[int, float] = {}
"""Signal → when it arrived."""


class _Text(io.TextIOWrapper):
    """Text in which working copies have the address of their place."""

    def write(self, text: str, /) -> int:
        return super().write(mirrored.outward(text))


class _Lenient(io.FileIO):
    """The file of a standard stream; the first error of writing is kept, and output that cannot be written is
    dropped."""

    error: OSError | None = None

    def write(self, data: object, /) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            self.error = self.error or error
            return memoryview(data).nbytes  # type: ignore[arg-type]


def use_lenient_streams() -> None:
    """Make standard output and error lenient, hide what native libraries print, and occupy the descriptors of closed
    streams.

    Otherwise the next file opened, such as a database, would get their number and whatever libraries print there.
    A closed standard output remains None: it cannot be a destination.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
    if sys.stdout is not None:
        sys.stdout = _lenient(1, sys.stdout, by_line=sys.stdout.isatty())
    sys.stderr = _lenient(native_code.hide_output(), sys.stderr, by_line=True)


def _lenient(descriptor: int, stream: TextIO | None, *, by_line: bool) -> TextIO:
    return _Text(
        io.BufferedWriter(_Lenient(descriptor, "w", closefd=False)),
        encoding=characters.encoding(stream),
        errors=characters.ERRORS,
        line_buffering=by_line,
    )


@contextmanager
def interrupts() -> Iterator[None]:
    """Handle SIGTERM and SIGHUP in the block like Ctrl-C: the state is saved and the command that continues is printed.

    The same signal again ends the process at once. Signals that the caller ignores, as nohup does, remain ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _received.clear()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    handled = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in handled:
        signal.signal(number, _interrupt)
    hook, sys.unraisablehook = sys.unraisablehook, _repeat_interrupt
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number in handled:
            signal.signal(number, before[number])


def _interrupt(number: int, _frame: object) -> None:
    now = time.monotonic()
    if number in _received:
        if now - _received[number] > _SAME_SECONDS:
            os._exit(130)  # as safe as a kill
        return
    _received[number] = now
    if len(_received) == 1:  # a service manager may send SIGHUP right after SIGTERM
        raise KeyboardInterrupt


def _repeat_interrupt(unraisable: sys.UnraisableHookArgs, /) -> None:
    """Repeat a signal that arrived in a destructor or a callback of an import, where Python drops exceptions."""
    if not isinstance(unraisable.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return
    number = _received.popitem()[0] if _received else signal.SIGINT
    repeat = threading.Timer(_REPEAT_SECONDS, os.kill, (os.getpid(), number))
    repeat.daemon = True
    repeat.start()


def address_space() -> int | None:
    """Return the limit on the address space of this process in bytes, null if there is none."""
    try:
        import resource
    except ImportError:  # a system without such limits
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit


def check_memory(least: int | None = None) -> None:
    """Raise LocalFailure if the address space is limited to less than a run needs, or than `least` if that is given:
    native libraries would abort without a message.
    """
    limit = address_space()
    needed = _ADDRESS_SPACE + (os.cpu_count() or 1) * _ADDRESS_SPACE_PER_CORE
    if limit is None or limit >= (least or needed):
        return
    raise LocalFailure(
        f"This process may use {limit >> 20:,} MB of address space (ulimit -v), and needs {needed >> 20:,} MB, most of "
        "which is reserved and not used. Allow it: ulimit -v unlimited. To save memory: --memory 300MB"
    )


def was_interrupted() -> bool:
    """Return whether a signal has asked this command to stop; libraries may turn that into an error of their own."""
    return bool(_received)


def end(code: int) -> NoReturn:
    """End the process at once: everything is closed by now, and the orderly shutdown of the libraries takes a while."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    failed: OSError | None = getattr(getattr(getattr(sys.stdout, "buffer", None), "raw", None), "error", None)
    with suppress(OSError, ValueError, AttributeError):
        if failed is not None and failed.errno != errno.EPIPE:
            print(f"standard output: could not be written ({failed.strerror}).", file=sys.stderr)
        sys.stderr.flush()
    os._exit(code)
