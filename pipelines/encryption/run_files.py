"""Encrypt and decrypt the files with records of one run, which this process owns.

A file is encrypted under another name, synced and renamed; then the plain one is removed. Nothing is written to the
plain one, which another run may have as a hard link. The manifest says how far this has come, so that the next command
completes it after an interruption at any point.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from tranship.connectors import durable
from tranship.connectors.errors import ConfigError
from tranship.connectors.local_failures import local_failure, local_failures
from tranship.pipelines import crosswalks
from tranship.pipelines.encryption import keys
from tranship.pipelines.encryption.marks import SUFFIX, State, files_of, mark, recipients_of, state_of
from tranship.pipelines.retention import artefacts
from tranship.pipelines.run_directory import RunDirectory


def close(run: RunDirectory) -> None:
    """Encrypt the files with records to the recipients of the run, or complete that.

    Raises ConfigError for the recipients, OSError.
    """
    if state_of(run) is State.OPENING:
        _remove_copies(run)
    if state_of(run) is State.CLOSED:
        return
    recipients = keys.recipients(recipients_of(run))
    if state_of(run) is State.PLAIN:
        for old in _encrypted(run):
            old.unlink()
        _keep_crosswalk(run)
        mark(run, State.CLOSING, [])
    for file in _with_records(run):
        if file.suffix == ".partial":
            file.unlink()
        else:
            _encrypt(file, recipients)
    names = [_name(run, file).removesuffix(SUFFIX) for file in _encrypted(run)]
    mark(run, State.CLOSED, sorted(names))


def open_again(run: RunDirectory, identities: Sequence[Any], identity: Path) -> None:
    """Decrypt the files with records. Raises ConfigError if none of the identities fits, or Damaged; then they are
    encrypted as before.
    """
    if state_of(run) is State.CLOSING:
        close(run)
    mark(run, State.OPENING)
    try:
        for name in files_of(run):
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise durable.damaged(run.path / "manifest.json")
            _decrypt(run.path / name, identities, identity)
    except BaseException:
        _remove_copies(run)
        raise
    for folder in {(run.path / name).parent for name in files_of(run)}:
        durable.sync_folder(folder)
    mark(run, State.PLAIN)
    for file in _encrypted(run):
        file.unlink()
    if not run.stands_alone:
        # What is done with the run now may change its crosswalk.
        crosswalks.forget(run, state_dir_of(run))


def state_dir_of(run: RunDirectory) -> Path:
    """Return the state directory of a run or plan."""
    return Path(run.manifest["settings"]["state_dir"]) if run.stands_alone else run.path.parent.parent


def _keep_crosswalk(run: RunDirectory) -> None:
    """Copy the crosswalk without customers to where later runs find it, unless it is damaged."""
    file = run.path / "crosswalk.parquet"
    if durable.is_whole(file, (run.manifest.get("results") or {}).get(file.name)):
        crosswalks.keep(run, state_dir_of(run))


def _remove_copies(run: RunDirectory) -> None:
    """Remove what was decrypted, and its beginnings. Files that were put there by others stay."""
    copies = set(files_of(run))
    for file in _with_records(run):
        if _name(run, file) in copies or file.suffix == ".partial":
            file.unlink()
    mark(run, State.CLOSED)


class _Written:
    """A file that is written by the library of age, which swallows a failure of its last write: it would be a file cut
    off, in place of the plain one.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._failure: OSError | None = None

    def write(self, some: bytes) -> int:
        try:
            return self._file.write(some)
        except OSError as error:
            self._failure = self._failure or error
            raise

    def flush(self) -> None:
        self._file.flush()

    def check(self) -> None:
        """Raise the failure of an earlier write."""
        if self._failure is not None:
            raise self._failure


def _encrypt(file: Path, recipients: Sequence[Any]) -> None:
    age = keys.library()
    target = file.with_name(file.name + SUFFIX)
    with durable.replacing(target) as new:
        new.chmod(0o600)
        with local_failures(target), file.open("rb") as plain, new.open("wb") as out:
            written = _Written(out)
            age.encrypt_io(plain, written, recipients)
            written.check()
    durable.sync_folder(file.parent)
    file.unlink()


def _decrypt(file: Path, identities: Sequence[Any], identity: Path) -> None:
    age = keys.library()
    encrypted = file.with_name(file.name + SUFFIX)
    if not encrypted.is_file():
        raise durable.damaged(encrypted)
    with durable.replacing(file) as new:
        new.chmod(0o600)
        try:
            with encrypted.open("rb") as given, new.open("wb") as out:
                age.decrypt_io(given, out, identities)
        except age.DecryptError as error:
            if failure := local_failure(error, file):
                raise failure from None
            if "No matching keys" in str(error):
                raise ConfigError(
                    f"--identity {identity}: has no key to which {encrypted} was encrypted. Name the file with the "
                    "secret key of one of its recipients."
                ) from None
            raise durable.damaged(encrypted) from None
        except OSError as error:
            if error.errno is not None or "decrypt" not in str(error):
                raise
            raise durable.damaged(encrypted) from None


def _with_records(run: RunDirectory) -> list[Path]:
    """Return the files that hold records and are not encrypted. Unknown files are among them."""
    kinds = ((file, artefacts.of_run(_name(run, file))) for file in _files(run) if file.suffix != SUFFIX)
    return [file for file, kind in kinds if kind is None or kind.keeps == "records"]


def _encrypted(run: RunDirectory) -> list[Path]:
    return [file for file in _files(run) if file.suffix == SUFFIX]


def _files(run: RunDirectory) -> list[Path]:
    return [path for path in sorted(run.path.rglob("*")) if path.is_file() and not path.is_symlink()]


def _name(run: RunDirectory, file: Path) -> str:
    return file.relative_to(run.path).as_posix()
