"""`tranship run pipelines.toml`: several pipelines, one summary, the worst exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.commands import told
from tranship.pipelines.operation.pipeline_processes import worst

CUSTOMERS = "external_id,email,name\n1,a@acme.example,Ann\n2,b@acme.example,Bob\n"
FILE = """
state_dir = "state"
[pipelines.crm]
source = "crm.csv"
destination = "${TARGET}.jsonl"
[pipelines.shop]
source = "missing.csv"
destination = "shop.jsonl"
[pipelines.dirty]
source = "dirty.csv"
destination = "dirty.jsonl"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TARGET", "crm")
    (tmp_path / "crm.csv").write_text(CUSTOMERS)
    (tmp_path / "dirty.csv").write_text(CUSTOMERS + "3,nobody,Cid\n")
    (tmp_path / "pipelines.toml").write_text(FILE)
    # A file in the working directory with the name of a library is not imported.
    (tmp_path / "click.py").write_text("raise RuntimeError")
    return tmp_path


@pytest.mark.slow
def test_all_run_and_the_worst_exit_code_is_returned(folder: Path) -> None:
    code, out, err = told("run", "pipelines.toml", "--jobs", "2", "--json", "--default", "currency=EUR")

    assert code == 2
    found = json.loads(out)
    assert found["exit_code"] == 2
    assert {name: end["exit_code"] for name, end in found["pipelines"].items()} == {"crm": 0, "shop": 2, "dirty": 4}
    assert found["pipelines"]["dirty"]["counts"]["rejected"] == 1
    assert json.loads(Path("crm.jsonl").read_text().splitlines()[0])["currency"] == "EUR"
    assert "shop: Error: missing.csv: no such file or directory" in err
    rows = [line.split()[:6] for line in err.splitlines() if line.startswith("  ")]
    assert rows == [
        ["pipeline", "status", "exit", "read", "rejected", "merged"],
        ["crm", "done", "0", "2", "0", "0"],
        ["shop", "failed", "2"],
        ["dirty", "done", "with", "rejects", "4", "3"],
    ]
    assert err.splitlines()[-1] == "exit code 2"
    assert [run.split()[0] for run in told("runs", "--state-dir", "state")[1].splitlines()[::4]] == ["dirty:", "crm:"]


def test_one_of_them_runs_like_any_other_run(folder: Path) -> None:
    code, _, err = told("run", "pipelines.toml", "--only", "dirty")

    assert code == 4
    assert "dirty.csv → dirty.jsonl" in err
    assert told("inspect", "pipelines.toml", "--only", "crm")[0] == 0
    assert told("plan", "pipelines.toml", "--only", "crm", "--out", "plan")[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--only", "crm,shp"), "--only shp: Did you mean shop?"),
        (("--only", ","), "--only: names no pipeline. pipelines.toml has crm, shop, dirty"),
        (("--destination", "x.csv"), "destination: cannot be the same for 3 pipelines"),
        (("x.csv",), "destination: cannot be the same for 3 pipelines"),
        (("--pipeline", "x"), "pipeline: cannot be the same for 3 pipelines"),
    ],
)
def test_what_cannot_apply_to_several_is_said(words: tuple[str, ...], said: str, folder: Path) -> None:
    code, _, err = told("run", "pipelines.toml", *words)

    assert code == 2
    assert said in err
    assert not Path("state").exists()


def test_standard_streams_are_not_shared(folder: Path) -> None:
    Path("pipelines.toml").write_text(FILE.replace('"dirty.jsonl"', '"-"'))

    assert "dirty (pipelines.toml): standard input and output (-) cannot be shared" in told("run", "pipelines.toml")[2]


@pytest.mark.kill
def test_an_interrupt_stops_all_of_them(folder: Path) -> None:
    os.mkfifo("wait.csv")
    Path("p.toml").write_text(FILE.replace("crm.csv", "wait.csv"))
    command = [sys.executable, "-P", "-m", "tranship", "run", "p.toml", "--only", "crm,dirty"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TRANSHIP_")}
    with (
        subprocess.Popen(command, env=clean, stderr=subprocess.PIPE, text=True) as process,
        Path("wait.csv").open("w") as pipe,  # opened when the first pipeline reads it
    ):
        pipe.write("external_id,email,name\n")
        pipe.flush()
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "crm: Error: Stopped." in err
    assert "dirty: it was not started" in err
    assert not Path("dirty.jsonl").exists()


def test_the_worst_exit_code() -> None:
    assert worst([]) == 0
    assert worst([0, 6]) == 6
    assert worst([6, 4, 0]) == 4
    assert worst([4, 5]) == 5
    assert worst([5, 2]) == 2
    assert worst([2, 3]) == 3
    assert worst([3, 1]) == 1
    assert worst([1, 130]) == 130
