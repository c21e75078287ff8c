"""What native libraries do to the process of a command: they print on standard error, and may end or block it.

A panic prints its message, which can quote records, before Python sees the exception. A library that gets no memory
aborts, and one that cannot start a thread may wait for it without end. What they print is kept from the terminal, and
both are reported like any other failure.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from tranship.connectors.local_failures import NativeAbortError, local_failure

_MOST: Final = 1 << 14
"""Bytes of what was printed, and of the places of threads."""
_TRACE_SECONDS: Final = 0.05
_IDLE_SECONDS: Final = 10.0
_IDLE_SHARE: Final = 0.002
"""Of a processor, below which a process does nothing."""
_LITTLE: Final = 100 << 20
"""Bytes of address space; with less, a library that fails has not got what it asked for."""
_hidden: int | None = None


def hide_output() -> int:
    """Redirect descriptor 2, where native libraries print, and return a new descriptor of standard error."""
    global _hidden
    shown = os.dup(2)
    _hidden = os.memfd_create("native") if sys.platform == "linux" else os.open(os.devnull, os.O_RDWR)
    os.dup2(_hidden, 2)
    return shown


def report_aborts(report: Callable[[NativeAbortError], None], idle_seconds: float = _IDLE_SECONDS) -> None:
    """Call `report`, which ends the process, if a native library aborts or crashes it, or if nothing has been done for
    some time and no thread can be started. Without `hide_output`, do nothing.

    No Python code can run in a handler of such a signal: the interpreter may wait for the thread that fails. So that
    thread sleeps, while another one reports; if that takes too long, the signal ends the process after all.
    """
    if _hidden is None or sys.platform != "linux":
        return
    import ctypes
    import faulthandler

    library = ctypes.CDLL(None)
    library.sysv_signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
    for number in (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS):
        # The handler is called once, with the number of the signal, which `sleep` takes as seconds.
        library.sysv_signal(number, ctypes.cast(library.sleep, ctypes.c_void_p))
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    faulthandler.enable(write)  # first writes where each thread is, then calls the handler above
    threading.Thread(target=_watch, args=(read, report, idle_seconds), name="watch", daemon=True).start()


def _watch(pipe: int, report: Callable[[NativeAbortError], None], idle_seconds: float) -> None:
    last_words = f"Error: {local_failure(MemoryError(), None)}\n".encode()
    trace, used = b"", time.process_time()
    try:
        while not trace:
            if select.select([pipe], [], [], idle_seconds)[0]:
                trace = os.read(pipe, _MOST)
                continue
            before, used = used, time.process_time()
            if used - before < idle_seconds * _IDLE_SHARE and (refusal := _refusal_of_a_thread()):
                report(NativeAbortError(refusal, ""))
        time.sleep(_TRACE_SECONDS)
        with suppress(BlockingIOError):
            trace += os.read(pipe, _MOST)
        printed = os.strerror(errno.ENOMEM) if _memory_is_short() else _printed()
        report(NativeAbortError(printed, trace.decode("utf-8", "replace")))
    except MemoryError:
        os.write(sys.stderr.fileno(), last_words)
        os._exit(2)


def _refusal_of_a_thread() -> str | None:
    """Return why no thread can be started, null if one can."""
    try:
        threading.Thread(target=int, daemon=True).start()
    except RuntimeError as error:
        return str(error)
    return None


def _memory_is_short() -> bool:
    """Return whether the limit on address space leaves little."""
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return limit != resource.RLIM_INFINITY and limit - pages * resource.getpagesize() < _LITTLE


def _printed() -> str:
    """Return the end of what native libraries printed."""
    assert _hidden is not None  # noqa: S101  (`report_aborts` checks it)
    return os.pread(_hidden, _MOST, max(0, os.fstat(_hidden).st_size - _MOST)).decode("utf-8", "replace")
