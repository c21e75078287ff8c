"""The log of a command: JSON lines in a file, or on standard error."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from tranship.connectors import key_shapes, mirrored
from tranship.connectors.errors import ConfigError
from tranship.schemas.visible import visible_json


@contextmanager
def logged(file: str | None) -> Iterator[None]:
    """Write the messages of the `tranship` logger to a file as JSON lines while this is open; `-` is standard error.

    An existing log is continued. Raises ConfigError if the file cannot be opened or is not a log.
    """
    if file is None:
        yield
        return
    key_shapes.refuse(file, "--log")
    try:
        handler = _LogHandler(sys.stderr if file == "-" else _private(file), file)
    except OSError as error:
        raise ConfigError(f"--log {file}: cannot be written ({error.strerror}).") from error
    handler.setFormatter(JsonLine())
    logger = logging.getLogger("tranship")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
        if file != "-":
            with suppress(OSError):  # reported when it was written
                handler.stream.close()


class _LogHandler(logging.StreamHandler[TextIO]):
    """A handler that reports once if the log cannot be written; the run continues without it."""

    def __init__(self, stream: TextIO, file: str) -> None:
        super().__init__(stream)
        self._file: str | None = file

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802  (the name is that of logging)
        """Report the first error."""
        error = sys.exception()
        if self._file is not None and isinstance(error, OSError):
            print(f"note: --log {self._file}: cannot be written ({error.strerror}); it is incomplete", file=sys.stderr)
        self._file = None


def _private(file: str) -> TextIO:
    path = Path(file)
    # Opening a pipe without a reader would wait.
    if path.exists() and not (path.is_file() or path.is_char_device()):
        raise ConfigError(f"--log {file}: is not a regular file. Name a file, or - for standard error.")
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as log:
            if log.read(len(_LINE_START)) != _LINE_START:
                raise ConfigError(
                    f"--log {file}: exists, is not a Tranship log, and was not changed. Choose another file."
                )
    return os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8")


_LINE_START = b'{"time": "'


class JsonLine(logging.Formatter):
    """A log record as one JSON object: time (UTC), level, message, and the values passed as `extra`."""

    _PLAIN = frozenset(vars(logging.makeLogRecord({})))

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        extra: dict[str, Any] = {name: value for name, value in vars(record).items() if name not in self._PLAIN}
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": when, "level": record.levelname.lower(), "message": record.getMessage(), **extra}
        return visible_json(mirrored.outward(json.dumps(line, default=str)))
