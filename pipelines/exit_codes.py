"""The exit codes of commands. They are stable: scripts may rely on them."""

from __future__ import annotations

from typing import Final

EXIT_CODES: Final = {
    0: "done: all records loaded, merged, unchanged or older than the destination, or rejects within --max-rejects",
    1: "bug in Tranship, or in a connector of another package: a crash report was saved, please send it",
    2: "invalid command, settings or file, or no disk space, permission or memory on this machine",
    3: "remote error: source or destination unreachable, locked, access denied, or invalid response",
    4: "done, but some records were rejected or refused beyond --max-rejects",
    5: "stopped by a limit before the first write: nothing was written",
    6: "skipped: another run is writing to the destination (--overlap skip)",
    130: "interrupted: the state is saved, the command to continue is printed",
}
