"""The files of a source that a run reads with `--new-files`, as the manifest and the destination keep them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from tranship.connectors.contract import FileChoice, FileMark, FilesRead
from tranship.pipelines.settings_model import Settings

_OF_FILES: Final = {
    *("profile", "fields", "ignore", "values", "defaults", "set", "where", "extra", "allow_missing"),
    *("timezone", "date_format", "blocked", "on_invalid", "strict", "survivor", "fill", "mode", "nulls"),
    *("columns", "encoding", "delimiter", "quote", "header", "skip_lines", "header_line", "sheet"),
}
"""The settings that decide the outcome of the records of a file."""


def facts(settings: Settings, source: tuple[str, str], choice: FileChoice) -> dict[str, Any]:
    """Return the files that a run reads, as the manifest keeps them; `source` is that for people, and its identity."""
    marks = msgspec.to_builtins(choice.marks)
    return {
        "source": source[0],
        "reading": reading(settings, source[1]),
        "marks": marks,
        "nothing": choice.nothing,
    }


def without_broken_ends(facts: dict[str, Any], broken: Collection[str]) -> dict[str, Any]:
    """Return `facts` once they were read. What is appended to a file with `broken` lines (their sources) may
    complete one of them, so that the file must be read whole.
    """
    marks = [{**mark, "lines": None} if mark["path"] in broken else mark for mark in facts["marks"]]
    return {**facts, "marks": marks}


def of_facts(facts: Mapping[str, Any] | None) -> FilesRead | None:
    """Return the files that a run leaves as read, from `facts`; null if there are none."""
    if facts is None or not facts["marks"]:
        return None
    return FilesRead(facts["source"], facts["reading"], msgspec.convert(facts["marks"], tuple[FileMark, ...]))


def reading(settings: Settings, identity: str) -> str:
    """Return a digest of the settings that decide the outcome of the records of files."""
    given = settings.model_dump(mode="json", include=_OF_FILES)
    return hashlib.sha256(json.dumps([identity, given], sort_keys=True).encode()).hexdigest()[:32]
