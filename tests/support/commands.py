"""Commands of Tranship in the process of the test."""

from __future__ import annotations

import contextlib
import io

from tranship.pipelines.cli import main as cli


def told(*words: str) -> tuple[int, str, str]:
    """Run a command in this process; return exit code, standard output and standard error."""
    out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(words)
        out.seek(0)
        return code, out.read(), err.getvalue()
