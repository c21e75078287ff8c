"""Commands as they are typed in a shell."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tranship.connectors import mirrored
from tranship.pipelines import option_names

if TYPE_CHECKING:
    from tranship.pipelines.settings_model import Settings


def format_run_command(settings: Settings, sources: Iterable[str], names: Iterable[str]) -> str:
    """Return the `run` command over `sources` with the named settings, unless they have their default."""
    words = ["run", *sources, settings.destination]
    for name in names:
        value = getattr(settings, name)
        if value != type(settings).model_fields[name].get_default(call_default_factory=True):
            words += _words(name, value)
    return shell("tranship", *words)


def option_words(options: Mapping[str, Any]) -> list[str]:
    """Return the options of a command, name → value, as they are typed."""
    return [word for name, value in options.items() for word in _words(name, value)]


def about_runs(state_dir: Path, *words: str) -> str:
    """Return a command about the runs in a state directory, or one of them."""
    elsewhere = [] if state_dir == Path(".tranship") else ["--state-dir", mirrored.outward(str(state_dir))]
    return shell("tranship", *words, *elsewhere)


def shell(*words: str) -> str:
    """Return a command, quoted for a shell."""
    return shlex.join(words)


def _words(name: str, value: Any) -> Sequence[str]:
    flag = option_names.option(name)
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    if isinstance(value, dict):
        return [word for pair in _pairs_of(value) for word in (f"--{flag}", pair)]
    if isinstance(value, tuple):
        return [word for item in value for word in (f"--{flag}", item)]
    return [f"--{flag}", str(value)]


def _pairs_of(value: dict[str, Any]) -> Iterable[str]:
    """Yield the pairs of a table as they are typed; a word of `values` is quoted if it contains `=`."""
    for key, given in value.items():
        if isinstance(given, str):
            yield f"{key}={given}"
            continue
        for word, meaning in given.items():
            plain = "=" not in word and not word.startswith('"')
            yield f"{key}:{word}={meaning}" if plain else f'{key}:"{word.replace(chr(34), chr(34) * 2)}"={meaning}'
