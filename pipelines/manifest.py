"""The schema of manifest.json."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec

_RunId = Annotated[str, msgspec.Meta(pattern=r"^\d{8}T\d{6}-[0-9a-f]{6}$")]
_Places = dict[str, tuple[str, int]]


class _Staged(TypedDict):
    read: int
    skipped: NotRequired[int]
    staged: int
    rejected: int
    by_code: dict[str, int]
    warnings: dict[str, int]
    first: _Places
    mapped: NotRequired[dict[str, str]]
    """Field → column. Earlier versions wrote `fields`; their runs cannot be continued."""
    built: NotRequired[dict[str, str | list[list[str]]]]
    """Field → its alternatives, or its expression."""
    extra: list[str]
    defaults: dict[str, Any]
    profile: NotRequired[str | None]


class _Identified(TypedDict):
    merges: dict[str, int]
    ambiguous: int
    shared: int
    retracted: dict[str, int]
    first_ambiguous: tuple[str, int] | None
    first_shared: NotRequired[tuple[str, int] | None]
    alike: NotRequired[int]
    first_alike: NotRequired[tuple[str, int] | None]
    conflicts: NotRequired[int]
    first_conflict: NotRequired[tuple[str, int] | None]
    seals: NotRequired[dict[str, str]]


class _Planned(TypedDict):
    counts: dict[str, int]
    changed_fields: dict[str, int]
    existing: int
    notes: list[str]
    withheld: NotRequired[int]
    unidentified: NotRequired[list[str]]
    partly: NotRequired[int]
    losses: NotRequired[dict[str, str]]
    effort: NotRequired[dict[str, int | float | None] | None]
    retracted: dict[str, int]
    first_ambiguous: tuple[str, int] | None
    seals: NotRequired[dict[str, str]]


class _Applied(TypedDict):
    counts: NotRequired[dict[str, int]]
    reasons: NotRequired[dict[str, int]]
    notes: NotRequired[list[str]]
    files: NotRequired[dict[str, str]]


class _Steps(TypedDict):
    stage: NotRequired[_Staged]
    identify: NotRequired[_Identified]
    plan: NotRequired[_Planned]
    apply: NotRequired[_Applied]


class _Settings(TypedDict):
    source: str | list[str]
    destination: str
    pipeline: NotRequired[str | None]
    encrypt_to: NotRequired[list[str]]
    state_dir: NotRequired[str]


class _Encryption(TypedDict):
    state: Literal["plain", "closing", "closed", "opening"]
    files: list[str]


class Undoing(TypedDict):
    """The run that an undo takes back."""

    run_id: str
    folder: str
    actions: list[str]


class Fixing(TypedDict):
    """The run whose rejects a run loads."""

    run_id: str
    folder: str


class Manifest(TypedDict):
    """The keys of a manifest that later processes rely on; it may have more."""

    format: NotRequired[int]
    """`run_directory.FORMAT`; earlier versions wrote none."""
    run_id: _RunId
    started_at: Annotated[datetime, msgspec.Meta(tz=True)]
    status: str
    pid: Annotated[int, msgspec.Meta(ge=1, lt=1 << 31)]
    host: str
    steps: _Steps
    settings: _Settings
    is_plan: NotRequired[bool]
    wire: NotRequired[list[str]]
    results: NotRequired[dict[str, str] | None]
    undoes: NotRequired[Undoing]
    encryption: NotRequired[_Encryption]
    fixes: NotRequired[Fixing]
