"""The digest of a plan: it identifies what was reviewed, so that nothing else is applied."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from tranship.connectors import durable
from tranship.connectors.errors import ConfigError
from tranship.pipelines.run_directory import IDENTIFY_STEP, PLAN_STEP, RunDirectory

SHOWN: Final = 16
"""Characters of a digest that commands show, and the fewest that `--expect` takes."""
AGREED: Final = "agreed.parquet"
AGREED_DELETES: Final = "agreed_deletes.parquet"
_SEALED: Final = (AGREED, AGREED_DELETES, "plan.json")


def digest_of(directory: RunDirectory) -> str:
    """Return the digest of a complete plan (SHA-256): of its settings, its records, and its decision on each of them.

    It stays the same while the plan is applied. The files themselves are checked when they are used.
    """
    planned = directory.done(PLAN_STEP) or {}
    identified = directory.done(IDENTIFY_STEP) or {}
    sealed = planned.get("seals", {})
    content = [
        directory.run_id,
        directory.manifest["settings"],
        durable.seals(directory.path, ["parts.json"]),
        identified.get("seals", {}),
        {name: sealed[name] for name in _SEALED if name in sealed},
        planned.get("counts", {}),
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def check_expected(directory: RunDirectory, expected: str) -> None:
    """Raise ConfigError unless this is the digest of the plan, or its beginning."""
    given = "".join(expected.split()).lower()
    if len(given) < SHOWN or not set(given) <= set("0123456789abcdef"):
        raise ConfigError(
            f"--expect {expected}: is not the digest of a plan. Copy at least {SHOWN} characters of it from "
            f"{directory.path / 'plan.html'}"
        )
    found = digest_of(directory)
    if not found.startswith(given):
        raise ConfigError(
            f"{directory.path}: the digest of this plan is {found[:SHOWN]}…, not {expected}. It is not the plan that "
            "was reviewed. Nothing was written. Review it again, or apply the other one."
        )
