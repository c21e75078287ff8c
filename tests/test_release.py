"""The release: its workflow has only the rights it needs, its checklist names what exists, its metadata is whole."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import clean_installs, release_check

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
WORKFLOW: dict[Any, Any] = yaml.safe_load(TEXT)
JOBS: dict[str, dict[str, Any]] = WORKFLOW["jobs"]
STEPS = [step for job in JOBS.values() for step in job["steps"]]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CHECKLIST = (ROOT / "RELEASING.md").read_text(encoding="utf-8")

RIGHTS = {
    "build": {"contents": "read"},
    "install": {},
    "attest": {"attestations": "write", "id-token": "write"},
    "publish": {"id-token": "write"},
    "notes": {"contents": "write"},
}


# The workflow --------------------------------------------------------------------------------------------------


def test_each_job_has_only_the_rights_it_needs() -> None:
    assert WORKFLOW["permissions"] == {}
    assert {name: job["permissions"] for name, job in JOBS.items()} == RIGHTS


def test_no_job_has_a_secret() -> None:
    assert "secrets." not in TEXT
    checkouts = [step for step in STEPS if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_only_tags_start_it() -> None:
    # YAML 1.1 reads the word `on` as true.
    assert WORKFLOW[True] == {"push": {"tags": ["v[0-9]+.[0-9]+.[0-9]+*"]}}


def test_actions_are_pinned_by_commit_with_their_version() -> None:
    used = re.findall(r"uses: (.+)$", TEXT, re.MULTILINE)
    assert len(used) == sum("uses" in step for step in STEPS)
    for line in used:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line
    pins = dict(line.split("@") for line in set(used))
    assert len(pins) == len(set(used)), "one version of each action"


def test_what_is_published_was_tested_attested_and_approved() -> None:
    needed = {name: job.get("needs") for name, job in JOBS.items()}
    assert needed == {"build": None, "install": "build", "attest": "install", "publish": "attest", "notes": "publish"}
    assert JOBS["publish"]["environment"] == "release"
    ran = [step["run"] for step in JOBS["build"]["steps"] if "run" in step]
    assert ".ci/run" in ran
    assert "make sbom" in ran
    attested = [step["with"] for step in JOBS["attest"]["steps"] if "actions/attest@" in step["uses"]]
    assert [("sbom-path" in given) for given in attested] == [False, True]
    assert not [step for step in JOBS["publish"]["steps"] if "run" in step], (
        "the job that publishes runs no code of ours"
    )


def test_values_of_the_event_do_not_become_part_of_commands() -> None:
    assert [step["run"] for step in STEPS if "${{" in step.get("run", "")] == []


def test_every_job_ends() -> None:
    assert all(job["timeout-minutes"] <= 60 for job in JOBS.values())


def test_it_installs_on_every_python_that_is_tried_here() -> None:
    assert tuple(JOBS["install"]["strategy"]["matrix"]["python"]) == clean_installs.VERSIONS


# The tag and the changelog -------------------------------------------------------------------------------------

CHANGES = "# Changelog\n\n## 0.2.0 (2026-12-01)\n\n- New.\n\n## 0.1.0 (unreleased)\n\n- First.\n"


@pytest.mark.parametrize(
    ("tag", "version", "expected"),
    [
        ("v0.2.0", "0.2.0", None),
        ("v0.2.1", "0.2.0", "is not v and the version"),
        ("0.2.0", "0.2.0", "is not v and the version"),
        ("v0.3.0", "0.3.0", "has no section 0.3.0"),
        ("v0.1.0", "0.1.0", "has no date"),
    ],
)
def test_a_tag_is_released_if_version_and_changelog_agree(tag: str, version: str, expected: str | None) -> None:
    found = release_check.problem(tag, version, CHANGES)
    assert found is None if expected is None else found is not None and expected in found


def test_the_notes_are_the_part_about_the_version() -> None:
    assert release_check.notes("0.2.0", CHANGES) == "- New."
    assert release_check.notes("0.1.0", CHANGES) == "- First."


def test_the_changelog_has_the_version_of_now() -> None:
    assert release_check.notes(PROJECT["version"], (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))


# The checklist and the metadata --------------------------------------------------------------------------------


def test_the_checklist_names_what_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)`", CHECKLIST))
    assert len(named) > 5
    assert named <= targets
    for path in re.findall(r"`((?:tests|docs|requirements|\.github|\.ci)/[^`]+)`", CHECKLIST):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"\]\(([^)]+)\)", CHECKLIST):
        assert (ROOT / path).exists(), path


def test_addresses_are_whole_once_there_are_any() -> None:
    """The project has no public address yet; a made-up one would mislead."""
    urls = PROJECT.get("urls", {})
    assert set(urls) in (set(), {"Homepage", "Documentation", "Changelog", "Issues"})
    assert all(url.startswith("https://") for url in urls.values())


def test_no_python_is_promised_that_is_not_tried() -> None:
    promised = {name.rpartition(" ")[2] for name in PROJECT["classifiers"] if "Python :: 3." in name}
    assert promised <= set(clean_installs.VERSIONS)
