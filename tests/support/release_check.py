"""Checks a tag against the version and the changelog, and prints the part of the changelog about it.

`python tests/support/release_check.py v1.2.3`; it needs only the standard library.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def problem(tag: str, version: str, changelog: str) -> str | None:
    """Return why a tag cannot be released, null if it can."""
    if tag != f"v{version}":
        return f"The tag {tag} is not v and the version of pyproject.toml, {version}."
    heading = re.search(rf"^## {re.escape(version)}(.*)$", changelog, re.MULTILINE)
    if heading is None:
        return f"CHANGELOG.md has no section {version}."
    if not re.fullmatch(r" \(\d{4}-\d\d-\d\d\)", heading[1]):
        return f"CHANGELOG.md: the section {version} has no date of release, such as (2026-12-01)."
    return None


def notes(version: str, changelog: str) -> str:
    """Return the part of the changelog about a version, without its heading."""
    found = re.search(rf"^## {re.escape(version)}.*?\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else ""


def main(tag: str) -> int:
    """Print the notes of a release; the exit code is 1 if the tag cannot be released."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    if found := problem(tag, version, changelog):
        print(found, file=sys.stderr)
        return 1
    print(notes(version, changelog))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
