"""Standard output as a destination (`-`). The file is written to disk first, so that a failed run prints nothing."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final, TextIO

from tranship.connectors.errors import ConfigError, Unreachable

NAME: Final = "standard output"
_PIECE_BYTES: Final = 1 << 20


class StandardOutput:
    """Standard output as the place of a file."""

    def __str__(self) -> str:
        return NAME

    def exists(self) -> bool:
        """Return false: nothing is replaced."""
        return False

    def must_be_free(self) -> None:
        """Raise ConfigError if it is closed."""
        if sys.stdout is None:
            raise ConfigError(f"{NAME}: is closed. Redirect it to a file or a pipe.")

    def put(self, make: Callable[[Path], None], workspace: Path) -> None:
        """Print the file that `make` writes. Raises Unreachable if the reader closes the pipe early, and OSError."""
        made = workspace / "output.partial"
        try:
            make(made)
            _print(made)
        except BrokenPipeError as error:
            _discard_the_rest()
            raise Unreachable(f"{NAME}: the reader closed it before all records were written.") from error
        finally:
            made.unlink(missing_ok=True)


def _print(file: Path) -> None:
    out = sys.stdout
    out.flush()
    if hasattr(out, "buffer"):
        with file.open("rb") as data:
            shutil.copyfileobj(data, _binary(out), _PIECE_BYTES)
    else:  # a notebook shows text only
        with file.open(encoding="utf-8", newline="") as text:
            shutil.copyfileobj(text, out, _PIECE_BYTES)
    out.flush()


def _binary(out: TextIO) -> BinaryIO:
    """Return the descriptor's own file where there is one: the command's stream hides errors and drops the remaining
    output."""
    try:
        return open(out.fileno(), "wb", buffering=0, closefd=False)
    except OSError:
        return out.buffer


def _discard_the_rest() -> None:
    """Discard further output to the broken pipe, such as text that is still buffered when the process ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
