"""The command that a run starts when it has failed."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from tranship.pipelines.operation.delivery import SECONDS, UndeliveredError
from tranship.pipelines.operation.run_end import RunEnd


def start(command: str, end: RunEnd) -> None:
    """Run a command in a shell, with its output on standard error. Its environment describes the run: TRANSHIP_REPORT
    (path of report.json, empty without a report), TRANSHIP_RUN_ID, TRANSHIP_STATE and TRANSHIP_EXIT_CODE. A command
    that takes longer than ten seconds is left running.

    Raises UndeliveredError if it cannot be started or fails.
    """
    report = end.report
    variables = {
        "TRANSHIP_REPORT": os.path.abspath(report.files["report"]) if report and "report" in report.files else "",  # noqa: PTH100
        "TRANSHIP_RUN_ID": report.run_id if report else "",
        "TRANSHIP_STATE": end.state,
        "TRANSHIP_EXIT_CODE": str(end.exit_code),
    }
    try:
        started = subprocess.Popen(  # noqa: S602  (the user's own command)
            command,
            shell=True,
            env=os.environ | variables,
            stdin=subprocess.DEVNULL,
            stdout=_standard_error(),
            stderr=_standard_error(),
            start_new_session=True,  # a signal to the run does not end it
        )
    except OSError as error:
        raise UndeliveredError(f"cannot be started ({(error.strerror or 'error').lower()})") from None
    until = time.monotonic() + SECONDS - 0.5
    while time.monotonic() < until:
        if (code := started.poll()) is not None:
            if code:
                raise UndeliveredError(f"exit code {code}")
            return
        time.sleep(0.02)


def _standard_error() -> int:
    try:
        return sys.stderr.fileno()  # descriptor 2 belongs to native libraries
    except (OSError, ValueError, AttributeError):
        return subprocess.DEVNULL
