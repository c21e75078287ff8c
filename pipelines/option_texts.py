"""Texts of options that are a setting and an option of other commands: one wording for both."""

from __future__ import annotations

from typing import Final

IDENTITY: Final = "File with the secret key to which the files of the run are encrypted."
LIMIT: Final = "Write at most N records to a provider, then stop; resume, or apply for a plan, continues."
LOCK_TIMEOUT: Final = (
    "How long to wait for another process that has locked the destination, e.g. 30s or 10min; 0: no limit."
)
LOCKS: Final = (
    "Lock the destination against other processes; use no-locks, at your own risk, on file systems without locks."
)
MAX_CHANGES: Final = "Stop before the first write if more existing customers than this would change: N or N%."
MAX_DELETES: Final = "Stop before the first write if more customers than this would be deleted: N or N%."
MEMORY: Final = "Memory that DuckDB may use before it spills to disk, e.g. 600MB or 2GB."
OVERLAP: Final = "If another run is writing to the destination: wait for it, skip this run, or fail."
OUT: Final = "Save the plan in this new folder, to review and apply it."
REMOVE_FOR_GOOD: Final = (
    "Allow changes at a provider that cannot be undone: archive at Metronome, delete with licences at BlackWalnut."
)
STATE_DIR: Final = "Folder for the files of runs, also in a bucket: s3://BUCKET/FOLDER."
