"""The log of a command."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tranship.connectors.errors import ConfigError
from tranship.pipelines.cli.log_file import logged


def test_the_log_is_json_lines_and_ends_with_its_context(tmp_path: Path) -> None:
    log = logging.getLogger("tranship")
    with logged(str(tmp_path / "log")):
        log.info("step ends", extra={"step": "read", "place": Path("x")})
    log.warning("not in the file")

    (line,) = (json.loads(line) for line in (tmp_path / "log").read_text().splitlines())
    assert line.pop("time").endswith("+00:00")
    assert line == {"level": "info", "message": "step ends", "step": "read", "place": "x"}


def test_a_log_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--log"), logged(str(tmp_path / "no" / "log")):
        pass


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder"])
def test_a_log_that_is_no_regular_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "log"
    with contextlib.ExitStack() as stack:
        if kind == "pipe":
            os.mkfifo(place)
        elif kind == "folder":
            place.mkdir()
        else:
            server = stack.enter_context(socket.socket(socket.AF_UNIX))
            stack.enter_context(contextlib.chdir(tmp_path))  # the path of a socket has a limit
            server.bind("log")
        code = f"from tranship.pipelines.cli.log_file import logged\nwith logged({str(place)!r}): pass"
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert ran.stderr.endswith(
        f"ConfigError: --log {place}: is not a regular file. Name a file, or - for standard error.\n"
    )


def test_a_log_may_be_a_device() -> None:
    with logged(os.devnull):
        logging.getLogger("tranship").info("nobody reads this")
