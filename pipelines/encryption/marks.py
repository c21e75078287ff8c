"""What the manifest of a run says about the encryption of its files."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Final

from tranship.pipelines.retention import artefacts
from tranship.pipelines.run_directory import RunDirectory

SUFFIX: Final = ".age"
"""Added to the name of a file that is encrypted."""
LOCK: Final = "open.lock"
"""In the folder of a run: held by the process for whose command its files are decrypted."""
_KEY: Final = "encryption"


class State(StrEnum):
    """The state of the files with records.

    plain: they are complete; encrypted ones beside them are left over, and may be old. closing: each is either plain or
    encrypted, or both. closed: all are encrypted. opening: the encrypted ones are complete, plain ones are copies.
    """

    PLAIN = "plain"
    CLOSING = "closing"
    CLOSED = "closed"
    OPENING = "opening"


def state_of(run: RunDirectory) -> State:
    """Return the state of the files of a run."""
    return State(run.manifest.get(_KEY, {}).get("state", State.PLAIN))


def is_encrypted(run: RunDirectory) -> bool:
    """Whether the files with records cannot be read as they are."""
    return state_of(run) is not State.PLAIN


def files_of(run: RunDirectory) -> list[str]:
    """Return the names of the files that were encrypted, as they are without encryption."""
    return list(run.manifest.get(_KEY, {}).get("files", []))


def recipients_of(run: RunDirectory) -> list[str]:
    """Return to whom the files of a run are to be encrypted; none if they are not."""
    return list(run.manifest["settings"].get("encrypt_to") or [])


def mark(run: RunDirectory, state: State, files: list[str] | None = None) -> None:
    """Record a state, synced; `files` are those that are encrypted, null if they are the same as before."""
    run.manifest[_KEY] = {"state": str(state), "files": files_of(run) if files is None else files}
    run.save()


def encrypted_name(file: Path) -> Path:
    """Return where the file is: under its name, or encrypted."""
    encrypted = file.with_name(file.name + SUFFIX)
    return encrypted if not file.exists() and encrypted.exists() else file


def encrypted_later(run: RunDirectory, file: str) -> str:
    """Return the name that a file has at the end of the command: with records in it, an encrypted one, if the run
    asks for that."""
    if not recipients_of(run) or not Path(file).is_relative_to(run.path):
        return file
    kind = artefacts.of_run(Path(file).relative_to(run.path).as_posix())
    return file + SUFFIX if kind is None or kind.keeps == "records" else file
