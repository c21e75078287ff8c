"""State directories that were changed or damaged: one damaged run never stops another."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tranship.pipelines import run as flow
from tranship.pipelines import settings
from tranship.pipelines.cli import main as cli
from tranship.pipelines.run_directory import RunDirectory

GOOD, BAD = "20260101T000000-aaaaaa", "20260102T000000-bbbbbb"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """The folder of two finished runs, of which the later one is to be damaged."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text("external_id,name\n1,Ann\n")
    assert cli.main(["run", "in.csv", "out.csv"]) == 0
    runs = tmp_path / ".tranship" / "runs"
    [made] = runs.iterdir()
    for run_id in (GOOD, BAD):
        shutil.copytree(made, runs / run_id)
        for name in ("manifest.json", "report.json", "parts.json"):
            _change(runs / run_id / name, run_id=run_id)
    shutil.rmtree(made)
    capsys.readouterr()
    return runs


def _change(file: Path, **values: object) -> None:
    facts = json.loads(file.read_text())
    facts.pop("digest", None)
    file.write_text(json.dumps(facts | values))


def _replace(make: Callable[[Path], object]) -> Callable[[Path], object]:
    def replaced(file: Path) -> None:
        file.unlink()
        make(file)

    return replaced


HARMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "of a newer version": (
        lambda file: _change(file, format=2, steps=["another shape"]),
        "was written by a newer version of Tranship. Use that version for this run.",
    ),
    "a list": (lambda file: file.write_text("[]"), "was changed or damaged since Tranship wrote it."),
    "a number": (lambda file: file.write_text("1" * 9_000), "was changed or damaged since Tranship wrote it."),
    "another object": (lambda file: file.write_text('{"a": 1}'), "was changed or damaged since Tranship wrote it."),
    "large": (
        lambda file: file.write_text('{"a": "' + 10_000_000 * "x" + '"}'),
        "was changed or damaged since Tranship wrote it.",
    ),
    "binary": (lambda file: file.write_bytes(bytes(range(256))), "was changed or damaged since Tranship wrote it."),
    "a pipe": (_replace(os.mkfifo), "was changed or damaged since Tranship wrote it."),
    "endless": (_replace(lambda file: file.symlink_to("/dev/zero")), "was changed or damaged since Tranship wrote it."),
    "a link to nowhere": (_replace(lambda file: file.symlink_to("nowhere")), "is gone."),
    "a link to itself": (_replace(lambda file: file.symlink_to(file.name)), "is gone."),
}


@pytest.mark.slow
@pytest.mark.parametrize("harm", HARMS)
def test_a_manifest_that_is_something_else_is_named_and_no_other_run_is_stopped(
    harm: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, message = HARMS[harm]
    spoil(runs / BAD / "manifest.json")

    for words in (["report", "last"], ["resume", "last"], ["retry", "last"], ["verify", "last"]):
        assert cli.main(words) == 2
        assert message in capsys.readouterr().err
    assert cli.main(["report", GOOD]) == cli.main(["runs"]) == cli.main(["run", "in.csv", "out.csv"]) == 0
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("values", [{"host": "elsewhere", "pid": 1}, {"unknown": {"key": 1}}, {"format": 1}])
def test_a_manifest_of_another_host_or_with_more_keys_is_read(values: dict[str, object], runs: Path) -> None:
    _change(runs / BAD / "manifest.json", **values)
    assert cli.main(["report", "last"]) == cli.main(["verify", "last"]) == 0


@pytest.mark.parametrize("command", ["report", "resume", "retry", "apply", "verify"])
def test_a_name_that_is_too_long_is_a_sentence(command: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, 5_000 * "a"]) == 2
    assert "(File name too long). Use a shorter name." in capsys.readouterr().err


def test_a_report_is_printed_after_its_state_directory_was_moved(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.move(runs.parent, "moved")
    assert cli.main(["report", GOOD, "--state-dir", "moved"]) == 0
    assert f"report: moved/runs/{GOOD}/report.html" in capsys.readouterr().out


def _unprivileged(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command without root's privilege to open files that nobody may open."""
    without = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    command = [*without, sys.executable, "-m", "tranship", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix" or not shutil.which("setpriv"), reason="needs access rights and setpriv")
@pytest.mark.parametrize("place", ["", "manifest.json"])
def test_a_run_of_another_user_is_named_and_no_other_run_is_stopped(place: str, runs: Path) -> None:
    locked = runs / BAD / place
    locked.chmod(0)
    try:
        said = [_unprivileged("report", BAD), _unprivileged("runs"), _unprivileged("run", "in.csv", "out.csv")]
    finally:
        locked.chmod(0o700)
    message = f"{BAD}/manifest.json: cannot be read. Check the access rights."
    assert [(one.returncode, message in one.stderr) for one in said] == [(2, True), (0, True), (0, False)]
    assert GOOD in said[1].stdout


@pytest.mark.parametrize("folder", ["a:b", "mock:x", "http:/x", "~nobody-here"])
def test_a_state_directory_whose_name_means_something_to_a_library_is_a_folder(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text("external_id,name\n1,Ann\n")
    ends = {"source": "in.csv", "destination": "duckdb:///w.duckdb", "state_dir": folder}
    report = flow.run(settings.load(ends, {}))
    assert Path(report.run_dir).is_relative_to(tmp_path / folder)
    assert report.counts.created == 1


@pytest.mark.parametrize(
    ("key", "command"), [("undoes", "the same command"), ("fixes", "the same command"), ("", "tranship resume")]
)
def test_an_undo_that_broke_off_before_its_records_were_kept_is_run_again(
    key: str, command: str, tmp_path: Path
) -> None:
    manifest = {
        "status": "failed",
        "run_id": "20260101T000000-aaaaaa",
        "settings": {},
        "steps": {},
        **({key: {"run_id": "x"}} if key else {}),
    }
    directory = RunDirectory(tmp_path / "state" / "runs" / "20260101T000000-aaaaaa", manifest)
    assert directory.go_on.startswith(command)
