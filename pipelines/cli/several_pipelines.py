"""`tranship run` of a settings file with several pipelines: their lines, one summary, the worst exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from tranship.connectors.addresses import STANDARD_OUTPUT
from tranship.connectors.errors import ConfigError
from tranship.pipelines import pipelines_file, settings
from tranship.pipelines.cli import run_lists
from tranship.pipelines.cli.output import print_json
from tranship.pipelines.cli.terminal import look, say
from tranship.pipelines.command_lines import option_words
from tranship.pipelines.operation.pipeline_processes import Processes, worst
from tranship.schemas.visible import visible


class Work(Struct, frozen=True):
    """The pipelines that are to run, and where their output goes."""

    file: str
    names: Sequence[str]
    jobs: int
    as_json: bool
    log: str | None
    quiet: bool


def chosen(only: str | None, names: Sequence[str], file: str) -> tuple[str, ...]:
    """Return the pipelines of `--only crm,shop`; without it, all. Raises ConfigError."""
    words = [word.strip() for word in (only or "").split(",") if word.strip()]
    if only is not None and not words:
        raise ConfigError(f"--only: names no pipeline. {file} has {', '.join(names)}")
    return pipelines_file.chosen(words, names, file)


def run(work: Work, options: Mapping[str, Any]) -> int:
    """Run the pipelines with these options of the command, show what they print, and return the worst exit code.

    Raises ConfigError for options that cannot apply to several pipelines.
    """
    for name in ("pipeline", "source", "destination"):
        if name in options:
            raise ConfigError(f"{name}: cannot be the same for {len(work.names)} pipelines. Choose one: --only NAME")
    _check_streams(work)
    words = [*option_words(options), *(["--log", work.log] if work.log else []), *(["--quiet"] if work.quiet else [])]

    def show(name: str, line: str) -> None:
        # A log on standard error is for machines.
        say(line if work.log == "-" else visible(f"{name}: {line}"), err=True)

    ends = Processes(work.file, work.names, words, work.jobs, show).run()
    code = worst([end.exit_code for end in ends])
    if not work.quiet and work.log != "-":
        say(run_lists.of_pipelines(ends, code, look(sys.stderr)), err=True)
    if work.as_json:
        results = {end.pipeline: {"exit_code": end.exit_code, **end.result} for end in ends}
        print_json({"exit_code": code, "pipelines": results})
    return code


def _check_streams(work: Work) -> None:
    """Raise ConfigError if a pipeline reads standard input or writes standard output, which several would share."""
    for name in work.names:
        try:
            loaded = settings.from_command((work.file,), None, {}, os.environ, only=name)
        except ConfigError:
            continue  # it is reported when this pipeline runs
        if STANDARD_OUTPUT in (*loaded.sources, loaded.destination):
            raise ConfigError(
                f"{name} ({work.file}): standard input and output (-) cannot be shared by several pipelines. Run it "
                f"alone: --only {name}"
            )
