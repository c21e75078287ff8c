"""A second process for commands whose memory is limited (`ulimit -v`): it reports an end without a message.

A library that gets no memory aborts. If it holds the interpreter at that moment, no Python code of its process can run,
and the process ends without a word. So the command works in a child, and this process only waits for it. Without such a
limit there is no second process.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import Final

from tranship.connectors.errors import LocalFailure
from tranship.pipelines.cli import process

_CRASHES: Final = tuple(-getattr(signal, name) for name in ("SIGABRT", "SIGBUS", "SIGILL", "SIGSEGV", "SIGTRAP"))
_TO_START: Final = 64 << 20
"""Bytes of address space with which Python can import what every command needs."""
_SET_SIGNAL_OF_PARENT: Final = 1
"""`PR_SET_PDEATHSIG` of prctl(2)."""


def work_in_child() -> None:
    """Return in the process that is to work: this one, or a child of it if memory is limited.

    The process that waits ends as its child does, and reports a crash. It is the one that the caller knows: signals
    that it receives are forwarded, and if it is killed, so is the child.
    """
    if sys.platform != "linux" or process.address_space() is None:
        return
    try:
        process.check_memory(_TO_START)
    except LocalFailure as failure:
        print(f"Error: {failure}", file=sys.stderr)
        process.end(failure.exit_code)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        _end_with(parent)
        return
    for number in process.SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda received, _: _forward(child, received))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code in _CRASHES:
        from tranship.pipelines.cli import main

        code = main.report_crash()
    elif code < 0:
        with suppress(OSError):  # SIGKILL has no handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(parent, -code)
    process.end(code)


def _forward(child: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(child, number)


def _end_with(parent: int) -> None:
    """Let the system kill this process when its parent ends."""
    import ctypes

    ctypes.CDLL(None).prctl(_SET_SIGNAL_OF_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
