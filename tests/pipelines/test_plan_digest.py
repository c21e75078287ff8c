"""The digest of a plan changes with everything that is reviewed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import tranship
from support.commands import told
from tranship.connectors.errors import ConfigError
from tranship.pipelines.plan_digest import check_expected, digest_of
from tranship.pipelines.run_directory import RunDirectory


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plan")
    (folder / "in.csv").write_text("id,email,name\n1,a@x.co,A\n2,b@x.co,B\n")
    address = f"duckdb:///{folder}/w.duckdb"
    words = ("plan", str(folder / "in.csv"), address, "--out", str(folder / "plan"), "--state-dir", str(folder / "s"))
    assert told(*words, "--json")[0] == 0
    return folder / "plan"


def test_it_is_in_the_report_and_in_the_command(plan: Path) -> None:
    digest = digest_of(RunDirectory.at(plan))
    assert json.loads((plan / "report.json").read_text())["plan_digest"] == digest


@pytest.mark.parametrize("name", ["parts.json", "settings", "identify", "agreed.parquet", "counts"])
def test_it_changes_with_what_it_covers(plan: Path, name: str, tmp_path: Path) -> None:
    copied = RunDirectory.at(shutil.copytree(plan, tmp_path / "plan"))
    before = digest_of(copied)
    steps = copied.manifest["steps"]
    match name:
        case "parts.json":
            (copied.path / name).write_text((copied.path / name).read_text() + " ")
        case "settings":
            copied.manifest["settings"]["nulls"] = "overwrite"
        case "identify":
            steps["identify"]["seals"]["identity/dropped.parquet"] = "0 0"
        case "agreed.parquet":
            steps["plan"]["seals"][name] = "0 0"
        case "counts":
            steps["plan"]["counts"]["delete"] += 1
    assert digest_of(copied) != before


@pytest.mark.parametrize("expected", ["", "abc", "not a digest at all", "0" * 16])
def test_another_digest_is_refused(plan: Path, expected: str) -> None:
    with pytest.raises(ConfigError, match="digest"):
        check_expected(RunDirectory.at(plan), expected)


def test_its_beginning_is_enough_however_it_was_copied(plan: Path) -> None:
    digest = digest_of(RunDirectory.at(plan))
    for given in (digest, digest[:16], digest.upper(), f" {digest[:8]} {digest[8:30]}\n"):
        check_expected(RunDirectory.at(plan), given)


def test_python_takes_it_as_well(plan: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(plan, tmp_path / "plan")
    with pytest.raises(ConfigError, match="It is not the plan that was reviewed"):
        tranship.apply(copied, expect="f" * 64)
    report = tranship.apply(copied, expect=digest_of(RunDirectory.at(copied)))
    assert (report.counts.created, report.plan_digest) == (2, digest_of(RunDirectory.at(plan)))


def test_a_changed_file_is_refused_in_spite_of_the_digest(plan: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(plan, tmp_path / "plan")
    digest = digest_of(RunDirectory.at(copied))
    shutil.copyfile(copied / "warnings.parquet", copied / "agreed.parquet")
    with pytest.raises(ConfigError, match=r"agreed\.parquet: was changed or damaged"):
        tranship.apply(copied, expect=digest)
