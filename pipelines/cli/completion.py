"""Values for the completion of a shell, by click's protocol. A key press must be answered at once: nothing here imports
polars, DuckDB or a connector.

Files are completed by the shell itself. Bash shows no files beside other values, so files whose names begin like a
scheme are listed here.
"""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import click
from click.shell_completion import CompletionItem

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

_TABLES: Final = ("duckdb:///", "postgresql://")
_STORAGE: Final = ("az://", "gs://", "https://", "s3://")
_MOST_RUNS: Final = 50


def _items(words: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]


def _names(folder: Path) -> list[str]:
    """Return the names in a folder, sorted; none if it cannot be read."""
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError:
        return []


def files(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return that the shell is to complete a file."""
    return [CompletionItem(incomplete, type="file")]


def folders(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return that the shell is to complete a folder."""
    return [CompletionItem(incomplete, type="dir")]


def _provider_names() -> list[str]:
    folder = Path(__file__).parents[2] / "connectors" / "providers"
    return sorted(module.name for module in pkgutil.iter_modules([str(folder)]) if not module.name.startswith("_"))


def providers(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of providers."""
    return _items(_provider_names(), incomplete)


def provider_addresses(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the addresses of providers."""
    return _items([f"{name}://" for name in _provider_names()], incomplete)


def addresses(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return files, or the schemes of addresses that begin like this, with the files that do."""
    known = sorted([*_TABLES, *_STORAGE, *(f"{name}://" for name in _provider_names())])
    schemes = _items(known, incomplete)
    if not incomplete or not schemes:
        return [CompletionItem(incomplete, type="file")]
    return [*schemes, *_items(_names(Path()), incomplete)]


def destinations(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return sources, then also destinations: with a source given, schemes are offered before anything is typed."""
    is_first = not ctx.params.get(param.name or "")
    if incomplete or is_first:
        return addresses(ctx, param, incomplete)
    known = sorted([*_TABLES, *(f"{name}://" for name in _provider_names())])
    return [*_items(known, ""), *_items((name for name in _names(Path()) if not name.startswith(".")), "")]


def runs(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return `last` and the ids of the newest runs in the state directory."""
    state_dir = ctx.params.get("state_dir") or os.environ.get("TRANSHIP_STATE_DIR") or ".tranship"
    found = _names(Path(state_dir) / "runs")[: -_MOST_RUNS - 1 : -1]
    return _items(["last", *found], incomplete) or [CompletionItem(incomplete, type="dir")]


def _fields() -> list[str]:
    from tranship.schemas.header_words import WORDS

    return sorted(WORDS)


def _pairs(separator: str) -> Completer:
    def complete(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return _items([f"{field}{separator}" for field in _fields()], incomplete)

    return complete


def _field_and(*words: str) -> Completer:
    def complete(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        ends = words if "=" in incomplete else ("",)
        return _items([f"{field}={end}" for field in _fields() for end in ends], incomplete)

    return complete


def _profiles(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from tranship.schemas import export_profiles

    found = _items(["none", *export_profiles.index()], incomplete)
    return found or [CompletionItem(incomplete, type="file")]


def _zones(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    import zoneinfo

    return _items(sorted(zoneinfo.available_timezones()), incomplete)


def _since(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _items(["last"], incomplete)


def codes(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the reasons of destinations, exit codes, and the fields of codes: their faults need the whole model."""
    from tranship.pipelines.exit_codes import EXIT_CODES
    from tranship.schemas.explanations.refusals import REFUSALS

    return _items([*(f"{field}." for field in _fields()), *REFUSALS, *map(str, EXIT_CODES)], incomplete)


def forms_of_help(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return what may follow --help."""
    return _items(["all"], incomplete)


def topics(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return commands and topics of the help."""
    from tranship.pipelines.help_topics import TOPICS

    root = ctx.find_root().command
    commands = list(root.commands) if isinstance(root, click.Group) else []
    given = ctx.params.get("words")
    return _items(["all"] if given else [*commands, *TOPICS, "all"], incomplete)


OF_SETTINGS: Final[dict[str, Completer]] = {
    "fields": _pairs("="),
    "set": _pairs("="),
    "defaults": _pairs("="),
    "columns": _pairs("="),
    "values": _pairs(":"),
    "on_invalid": _field_and("reject", "warn"),
    "mask": _field_and("hmac", "hide"),
    "profile": _profiles,
    "timezone": _zones,
    "since": _since,
    "source": addresses,
    "destination": addresses,
    "crosswalk": files,
    "metrics": files,
    "lineage": files,
    "work": folders,
    "state_dir": folders,
}
"""Setting → what completes its values; choices complete themselves."""
