"""Commands as they are typed: their output, and their exit codes."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import duckdb
import pytest

import tranship
from support.sandboxes import Start
from tranship.connectors import durable
from tranship.connectors.registry import CONNECTORS
from tranship.pipelines import command_lines, run, run_directory
from tranship.pipelines.cli import main as cli
from tranship.pipelines.cli import options
from tranship.pipelines.exit_codes import EXIT_CODES
from tranship.pipelines.settings import load
from tranship.pipelines.settings_model import Reading, Settings
from tranship.schemas.customer import COLUMNS
from tranship.schemas.schema_version import SCHEMA_VERSION

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent.parent.parent

CLEAN = "Customer ID,E-mail,Name\nc1,jane@acme.com,Acme\nc2,joe@beta.com,Beta\n"
DIRTY = CLEAN + "c3,not an address,Gamma\n"


@dataclass
class Said:
    code: int
    out: str
    err: str

    @property
    def object(self) -> dict[str, Any]:
        """Parse standard output, which must be one JSON object."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


Command = Callable[..., Said]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs one command in a folder with clean.csv and dirty.csv."""
    monkeypatch.chdir(tmp_path)
    Path("clean.csv").write_text(CLEAN)
    Path("dirty.csv").write_text(DIRTY)

    def said(*arguments: str) -> Said:
        capfd.readouterr()
        code = cli.main(arguments)
        return Said(code, *capfd.readouterr())

    return said


def python(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TRANSHIP_")}
    return subprocess.run(
        [sys.executable, *arguments],
        env=clean,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


# Exit codes ------------------------------------------------------------------------------------------------------


def test_0_where_all_is_loaded(command: Command) -> None:
    assert command("run", "clean.csv", "duckdb:///w.duckdb").code == 0


def test_0_where_rejects_are_covered(command: Command) -> None:
    assert command("run", "dirty.csv", "duckdb:///w.duckdb", "--max-rejects", "1").code == 0


def test_1_where_it_is_our_bug(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    customer = "@".join(["jane", "acme.com"])  # a traceback quotes source lines, which hold no customer

    def broken(*_: object) -> None:
        try:
            raise KeyError(customer)
        except KeyError as error:
            raise RuntimeError(customer) from error

    monkeypatch.setattr(run, "run", broken)
    said = command("run", "clean.csv", "duckdb:///w.duckdb", "--state-dir", "state", "--json")

    (file,) = Path("state").glob("crash-*.txt")
    assert said.code == said.object["exit_code"] == 1
    assert "RuntimeError" in said.err
    assert str(file) in said.err
    assert "Traceback" not in said.err
    text = file.read_text()
    assert "builtins.KeyError" in text
    assert "test_main.py" in text
    assert customer not in text + said.out + said.err
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("arguments", "about"),
    [
        (["run", "clean.csv", "duckdb:///w.duckdb", "--colour"], "--colour"),
        (["run", "missing.csv", "duckdb:///w.duckdb"], "missing.csv"),
        (["run", "clean.csv"], "destination"),
        (["run"], "source"),
        (["run", "clean.csv", "w.duckdb"], "duckdb:///w.duckdb"),
        (["run", "clean.csv", "duckdb:///w.duckdb", "--mode", "replace"], "upsert"),
        (["run", "clean.csv", "duckdb:///w.duckdb", "--max-rejects", "some"], "N or N%"),
        (["run", "clean.csv", "duckdb:///w.duckdb", "--mode", "mirror"], "max_deletes"),
        (["run", "clean.csv", "duckdb:///w.duckdb", "--map", "Name"], "FIELD=RULE"),
        (["run", "clean.csv", "duckdb:///w.duckdb", "--map", "Name=name"], '--map name="Name"'),
        (["run", "clean.csv", "duckdb:///w.duckdb", "--source", "dirty.csv"], "given twice"),
        (["run", "clean.csv", "duckdb:///w.duckdb", "--log", "no/such/folder.log"], "no/such/folder.log"),
        (["resume", "last"], "no run"),
        (["report", "20200101T000000-abcdef"], "no such run"),
        (["sail"], "sail"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_2_where_the_command_cannot_be_used(arguments: list[str], about: str, command: Command) -> None:
    said = command(*arguments)

    assert said.code == 2
    assert about in said.err
    assert not said.out
    assert "Traceback" not in said.err


def test_3_where_the_other_side_is_held(command: Command) -> None:
    with held("w.duckdb"):
        said = command("run", "clean.csv", "duckdb:///w.duckdb", "--json", "--lock-timeout", "200ms")

    assert said.code == said.object["exit_code"] == 3
    assert said.object["status"] == "failed"
    assert re.search(r"note: w.duckdb: is locked by process \d+ \(python.*waiting", said.err)
    assert re.search(r"Error: w.duckdb: is locked by process \d+ .* within 0.2 s.*--lock-timeout", said.err)


@contextlib.contextmanager
def held(database: str) -> Iterator[None]:
    """Another process that has the database open."""
    script = f"import duckdb; c = duckdb.connect({database!r}); print('open', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        try:
            yield
        finally:
            holder.kill()


def test_4_where_rejects_are_not_covered(command: Command) -> None:
    said = command("run", "dirty.csv", "duckdb:///w.duckdb", "--json")

    assert said.code == said.object["exit_code"] == 4
    assert said.object["status"] == "done_with_rejects"
    assert said.object["counts"]["created"] == 2


def test_5_where_a_gate_stops_it(command: Command) -> None:
    said = command("run", "dirty.csv", "duckdb:///w.duckdb", "--max-rejects", "10%", "--json")

    assert said.code == said.object["exit_code"] == 5
    assert said.object["status"] == "stopped"
    assert said.object["counts"]["rejected"] == 1
    assert "--max-rejects 10%" in said.object["error"]
    assert not Path("w.duckdb").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_130_where_it_is_interrupted(number: signal.Signals, command: Command) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tranship", "run", "-", "duckdb:///w.duckdb", "--json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    feeder = threading.Thread(target=without_end, args=(process.stdin,))
    feeder.start()
    while not list(Path().glob(".tranship/runs/*/manifest.json")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout as out, process.stderr as err:
        said = Said(process.wait(), out.read().decode(), err.read().decode())
    feeder.join()

    (run_dir,) = Path(".tranship/runs").iterdir()
    assert said.code == said.object["exit_code"] == 130
    assert f"tranship resume {run_dir.name}" in said.err
    assert "Traceback" not in said.err
    assert command("runs", "--json").object["runs"][0]["status"] == "interrupted"


def without_end(pipe: IO[bytes]) -> None:
    """Write customers until the reader closes the pipe."""
    with contextlib.suppress(OSError), pipe:
        while True:
            pipe.write(CLEAN.encode() * 1000)


def test_130_before_a_run_has_begun(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run", interrupted)
    said = command("run", "clean.csv", "duckdb:///w.duckdb", "--json")

    assert said.code == said.object["exit_code"] == 130


def test_the_help_lists_every_exit_code(command: Command) -> None:
    text = command("run", "--help", "all").out

    assert sorted(EXIT_CODES) == [0, 1, 2, 3, 4, 5, 6, 130]
    assert all(meaning in text for meaning in EXIT_CODES.values())


# One object on standard output -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "clean.csv", "duckdb:///w.duckdb"],
        ["run", "dirty.csv", "w.csv", "--dry-run"],
        ["run", "clean.csv", "duckdb:///w.duckdb", "--log", "-"],
        ["run", "clean.csv", "duckdb:///w.duckdb", "--quiet"],
        ["run", "missing.csv", "duckdb:///w.duckdb"],
        ["run", "clean.csv", "duckdb:///w.duckdb", "--colour"],
        ["run", "clean.csv", "duckdb:///w.duckdb", "--mode", "replace"],
        ["inspect", "dirty.csv"],
        ["inspect", "dirty.csv", "--write", "p.toml"],
        ["runs"],
        ["runs", "--remove-older-than", "0"],
        ["report", "last"],
        ["changes", "last"],
        ["changes", "nope"],
        ["resume", "last"],
        ["connectors"],
        ["fields"],
    ],
    ids=" ".join,
)
def test_json_is_one_object_and_nothing_else(arguments: list[str], command: Command) -> None:
    assert command("run", "dirty.csv", "duckdb:///before.duckdb").out == ""

    assert command(*arguments, "--json").object


def test_changes_are_listed_as_a_table_as_csv_and_as_lines_of_json(command: Command) -> None:
    Path("clean.csv").write_text("id,name,city\n1,Ann,Bonn\n2,Bob,\n")
    command("run", "clean.csv", "duckdb:///w.duckdb")
    said = command("changes", "last")
    assert [line.split() for line in said.out.splitlines()[1:]] == [
        ["1", "create", "first_load"],
        ["2", "create", "first_load"],
    ]
    assert said.err == (
        "2 changes: 2 created\n2 customers of a first load: only keys are recorded, because the table has the values.\n"
    )
    Path("clean.csv").write_text("id,name,city\n1,Ann,=Köln\n3,Cy,\n2,Bob,\n")
    command("run", "clean.csv", "duckdb:///w.duckdb")

    said = command("changes", "last")
    assert [line.split() for line in said.out.splitlines()] == [
        ["customer", "action", "field", "before", "after", "reason"],
        ["1", "update", "city", "Bonn", "=Köln"],
        ["3", "create", "external_id", "3"],
        ["3", "create", "name", "Cy"],
    ]
    assert said.err == "2 changes: 1 created, 1 updated\n"
    lines = command("changes", "last", "--format", "csv").out.splitlines()
    assert lines[0] == "run_id,customer_key,action,field,before,after,reason,changed_at"
    assert [line.split(",")[1:6] for line in lines[1:]] == [
        ["1", "update", "city", "Bonn", "'=Köln"],
        ["3", "create", "external_id", "", "3"],
        ["3", "create", "name", "", "Cy"],
    ]
    lines = command("changes", "last", "--format", "jsonl").out.splitlines()
    assert [json.loads(line)["after"] for line in lines] == [
        {"city": "=Köln"},
        {"external_id": "3", "name": "Cy"},
    ]
    found = command("changes", "last", "last", "--key", "3", "--json").object["changes"]
    assert [(change["customer_key"], change["action"]) for change in found] == [("3", "create")] * 2
    said = command("changes", "last", "--key", "4")
    assert (said.code, said.out, said.err) == (0, "", "No changes.\n")


def test_json_of_a_run_is_its_report(command: Command) -> None:
    said = command("run", "dirty.csv", "duckdb:///w.duckdb", "--json")

    kept = durable.read_json(Path(said.object["run_dir"]) / "report.json")
    assert said.object == {"schema_version": SCHEMA_VERSION, **kept}
    assert command("report", "--json").object == said.object
    assert command("report", kept["run_id"], "--json").object == said.object


def test_json_reads_whatever_a_file_is_called(command: Command) -> None:
    name = os.fsdecode("Größe \N{CJK UNIFIED IDEOGRAPH-682A}.csv".encode() + b"\xff.csv")
    try:
        Path(name).write_text(CLEAN)
    except OSError:
        pytest.skip("this file system knows only names in UTF-8")
    said = command("run", name, "duckdb:///w.duckdb", "--json")

    assert said.code == 0
    assert said.object["source"] == name.encode("utf-8", "backslashreplace").decode()


def test_quiet_says_nothing_if_all_is_well(command: Command) -> None:
    said = command("run", "clean.csv", "duckdb:///w.duckdb", "--quiet")

    assert (said.code, said.out, said.err) == (0, "", "")


def test_quiet_says_in_one_line_why_the_exit_code_is_not_0(command: Command) -> None:
    said = command("run", "dirty.csv", "duckdb:///w.duckdb", "--quiet")

    (page,) = Path().glob(".tranship/runs/*/report.html")
    line = "done, with rejects, exit code 4: dirty.csv → duckdb:///w.duckdb, rejected 1, report: "
    assert (said.code, said.out, said.err) == (4, "", f"{line}{page}\n")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            "run",
            "Error: source: is missing. Path, glob, folder, - or URL to read from, or a list of them; destination: ",
        ),
        ("run clean.csv out.csv --nope", "Error: No such option '--nope'"),
        ("apply", "Error: Missing argument 'FOLDER'; see: tranship apply --help"),
        ("apply plan --limit x", "Error: Invalid value for '--limit': 'x' is not a valid whole number"),
        ("run clean.csv nowhere/out.csv", "Error: nowhere/out.csv: the folder nowhere does not exist. Create it, "),
    ],
)
def test_quiet_says_each_error_in_one_line(command: Command, arguments: str, line: str) -> None:
    said = command(*arguments.split(), "--quiet")

    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert said.err.startswith(line)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "", "out.csv"), "SOURCE: is empty"),
        (("run", "clean.csv", "", "out.csv"), "SOURCE: is empty"),
        (("run", "clean.csv", ""), "DESTINATION: is empty"),
        (("inspect", ""), "SOURCE: is empty"),
        (("run", "clean.csv", "out.csv", "--state-dir", ""), "--state-dir: is empty"),
        (("undo", ""), "the id of the run is empty"),
        (("report", ""), "the id of the run is empty"),
        (("verify", ""), "the id of the run is empty"),
    ],
)
def test_an_empty_argument_is_not_the_current_folder(
    command: Command, arguments: tuple[str, ...], message: str
) -> None:
    command("run", "clean.csv", "duckdb:///w.duckdb")
    said = command(*arguments)

    assert said.code == 2
    assert said.err.startswith(f"Error: {message}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("apply clean.csv", "clean.csv: is a file. Name the folder of a plan; tranship plan creates one."),
        ("verify clean.csv", "clean.csv: is not a run. Name both ends to compare them: tranship verify SOURCE DEST"),
        ("verify duckdb:///w.duckdb", "duckdb:///w.duckdb: is not a run. Name both ends"),
        ("run clean.csv folder", "folder: is a folder; name the file to write."),
        ("prune --keep x", "tranship prune --keep x: must be an age such as 30d, 12h or 8w."),
        ("prune --keep-last x", "tranship prune --keep-last x: must be a number of runs."),
        ("prune", "tranship prune: nothing says what may go. Give --keep 30d, --keep-last 10 or --values 7d."),
        ("sandbox metronome --error 500=2", "Invalid value for '--error': '2' is not a share such as 5%."),
    ],
)
def test_a_mix_up_is_named(command: Command, arguments: str, message: str) -> None:
    Path("folder").mkdir()
    said = command(*arguments.split())

    assert said.code == 2
    assert f"Error: {message}" in said.err


def test_the_command_after_a_dry_run_of_an_undo_does_the_same(command: Command) -> None:
    """It named neither the folder of a plan or of the state, nor what the undo was limited to."""
    table = "duckdb:///w.duckdb"
    command("run", "clean.csv", table, "--state-dir", "runs here")
    Path("k.txt").write_text("c1\n")
    limits = ("--only", "created", "--keys", "k.txt", "--max-deletes", "5")
    said = command("undo", "last", "--state-dir", "runs here", *limits, "--dry-run")
    (line,) = [line for line in said.err.splitlines() if line.startswith("to apply this, run: ")]
    assert line.endswith("--state-dir 'runs here' --only created --keys k.txt --max-deletes 5")
    assert command(*shlex.split(line.partition(": ")[2])[1:]).code == 0

    command("plan", "dirty.csv", table, "--out", "move")
    command("apply", "move")
    said = command("undo", "move", "--dry-run")
    assert "to apply this, run: tranship undo move\n" in said.err


def test_a_limit_names_the_report_where_it_is(command: Command) -> None:
    said = command("run", "dirty.csv", "duckdb:///w.duckdb", "--max-rejects", "0", "--state-dir", "there")
    assert re.search(r"Look at tranship report \S+ --state-dir there, then correct the source", said.err)
    said = command("plan", "dirty.csv", "duckdb:///w.duckdb", "--max-rejects", "0", "--out", "move")
    assert "Look at tranship report move, then correct the source" in said.err


def test_a_settings_file_without_a_destination_can_be_inspected(command: Command) -> None:
    Path("half.toml").write_text('source = "clean.csv"\nmax_rejects = 5\n')
    said = command("inspect", "half.toml")
    assert (said.code, said.out.startswith("clean.csv: all 2 records")) == (0, True)
    assert "destination: is missing" in command("run", "half.toml").err


def test_no_runs_of_a_pipeline_is_not_no_runs(command: Command) -> None:
    command("run", "clean.csv", "duckdb:///w.duckdb")

    assert command("runs", "--pipeline", "crm").err == "No runs of crm in .tranship.\n"
    assert command("runs", "--state-dir", "other").err == "No runs in other.\n"


def test_quiet_says_errors(command: Command) -> None:
    said = command("run", "dirty.csv", "duckdb:///w.duckdb", "--quiet", "--max-rejects", "0")

    assert said.err.startswith("Error: 1 of 3 records")
    assert said.err.count("\n") == 1


def test_a_log_is_json_lines_of_the_owner(command: Command) -> None:
    for _ in range(2):
        command("run", "dirty.csv", "duckdb:///w.duckdb", "--log", "log.jsonl")

    lines = [json.loads(line) for line in Path("log.jsonl").read_text().splitlines()]
    assert [line["status"] for line in lines if line["message"] == "run ends"] == ["done_with_rejects"] * 2
    assert {"time", "level", "message", "run_id"} <= set(lines[0])
    assert stat.S_IMODE(Path("log.jsonl").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("clean.csv", "would be read as a source"),
        ("link.csv", "would be read as a source"),
        ("out.csv", "is the destination"),
        ("dirty.csv", "exists, is not a Tranship log"),
    ],
)
def test_a_log_is_not_written_into_a_file_that_is_none(name: str, why: str, command: Command) -> None:
    assert command("run", "clean.csv", "out.csv").code == 0
    Path("link.csv").symlink_to("clean.csv")
    before = Path(name).read_bytes()
    said = command("run", "clean.csv", "out.csv", "--log", name)

    assert said.code == 2
    assert f"--log {name}: {why}" in said.err
    assert Path(name).read_bytes() == before


def test_a_log_is_continued(command: Command) -> None:
    for _ in range(2):
        assert command("run", "clean.csv", "duckdb:///w.duckdb", "--log", "log.jsonl").code == 0
    lines = [json.loads(line) for line in Path("log.jsonl").read_text().splitlines()]

    assert [line["message"] for line in lines].count("run ends") == 2


def test_a_log_on_standard_error_is_alone_there(command: Command) -> None:
    said = command("run", "dirty.csv", "duckdb:///w.duckdb", "--log", "-")

    assert all(json.loads(line) for line in said.err.splitlines())


# The end of a run -----------------------------------------------------------------------------------------


def test_the_summary_says_what_was_done_and_what_to_do_next(command: Command) -> None:
    said = command("run", "dirty.csv", "duckdb:///w.duckdb", "--default", "currency=EUR")

    (rejects,) = Path().glob(".tranship/runs/*/rejects.csv")
    lines = said.err.splitlines()
    assert "  read 3 · rejected 1 · created 2" in lines
    assert any("email.syntax" in line and "dirty.csv, line 4" in line for line in lines)
    assert lines[-4:] == [
        "what a code means: tranship explain email.syntax",
        f"to correct the rejected records, run: tranship fix {rejects.parent.name} --out rejects.xlsx",
        f"then, to load them, run: tranship fix {rejects.parent.name} --from rejects.xlsx",
        f"to take it back, run: tranship undo {rejects.parent.name}",
    ]


def test_a_run_without_faults_takes_five_lines(command: Command) -> None:
    said = command("run", "clean.csv", "duckdb:///w.duckdb")

    (page,) = Path().glob(".tranship/runs/*/report.html")
    lines = [line for line in said.err.splitlines() if not line.startswith("note: ")]
    assert [lines[0], *lines[2:]] == [
        "clean.csv → duckdb:///w.duckdb",
        "  read 2 · created 2",
        f"report: {page}",
        f"to take it back, run: tranship undo {page.parent.name}",
    ]


def test_codes_are_explained_once_and_only_where_there_are_some(command: Command) -> None:
    assert "tranship explain" not in command("run", "clean.csv", "duckdb:///w.duckdb").err
    Path("warned.csv").write_text(CLEAN + "c4,joe@beta.com,Beta too\n")
    assert command("inspect", "dirty.csv").out.endswith("\n\nwhat a code means: tranship explain email.syntax\n")
    assert command("run", "warned.csv", "w.csv").err.count("what a code means: tranship explain email.shared\n") == 1


def test_the_commands_for_corrected_rejects_run(command: Command) -> None:
    Path("dirty.csv").write_text("Customer ID,E-mail,Name,Company\nc1,j@acme.com,A,Acme\nc2,no address,B,Beta\n")
    options = ("--map", "legal_name=Name", "--map", "name=Company", "--encoding", "utf-8")
    said = command("run", "dirty.csv", "duckdb:///w.duckdb", *options)
    write, load = (line.partition(" run: tranship ")[2].split() for line in said.err.splitlines()[-3:-1])
    out, file = ("rejects.csv" if word == "rejects.xlsx" else word for word in (write[-1], load[-1]))
    assert command(*write[:-1], out).code == 0
    rejects = Path(file)
    rejects.write_text(rejects.read_text().replace("no address", "no@address.com", 1))
    again = command(*load[:-1], file, "--json")

    assert again.code == 0
    assert again.object["report"]["counts"]["created"] == 1
    assert again.object["fixes"]["loaded"] == 1
    fixed = command("report", write[1], "--json").object
    assert (fixed["fixes"]["records"], fixed["fixes"]["open"]) == (1, 0)
    [first] = [run for run in command("runs", "--json").object["runs"] if run["run_id"] == write[1]]
    assert first["fixes"] == fixed["fixes"]
    assert "1 loaded" in command("runs").out
    assert "to correct the rejected" not in command("report", write[1]).out


@pytest.mark.parametrize("destination", ["w.csv", "w.parquet"])
def test_no_command_is_offered_that_would_replace_a_file_by_its_rejects(destination: str, command: Command) -> None:
    said = command("run", "dirty.csv", destination)

    assert said.err.splitlines()[-1] == "correct the rejected records at the source, then run the same command again"


def test_a_dry_run_ends_with_the_command_that_does_it(command: Command) -> None:
    said = command("run", "dirty.csv", "duckdb:///w.duckdb", "--dry-run", "--fill", "--max-rejects", "50%")

    assert "nothing was written" in said.err
    last = said.err.splitlines()[-1]
    assert last == "to apply this, run: tranship run dirty.csv duckdb:///w.duckdb --fill --max-rejects 50%"
    assert not Path("w.duckdb").exists()


def test_a_dry_run_of_an_undo_ends_with_the_command_that_does_it(command: Command) -> None:
    to_do = "to apply this, run"
    command("run", "clean.csv", "duckdb:///w.duckdb", "--state-dir", "my state")
    said = command("undo", "last", "--dry-run", "--only", "created", "--max-deletes", "50", "--state-dir", "my state")
    [line] = [line for line in said.err.splitlines() if line.startswith(to_do)]
    words = shlex.split(line.removeprefix(f"{to_do}:"))
    undone = words[2]
    options = ["--state-dir", "my state", "--only", "created", "--max-deletes", "50"]
    assert words == ["tranship", "undo", undone, *options]

    Path("keys.txt").write_text("c1\n")
    said = command("undo", undone, "--dry-run", "--keys", "keys.txt", "--state-dir", "my state")
    assert said.err.splitlines()[-1].endswith("--keys keys.txt")
    assert command(*words[1:]).code == 0
    said = command("undo", undone, "--dry-run", "--state-dir", "my state")
    assert to_do not in said.err, "there is nothing to do"


@pytest.mark.parametrize("arguments", [("--max-rejects", "0"), ("--max-rejects", "100%", "--max-warnings", "0")])
def test_the_command_that_a_stopped_run_names_works(arguments: tuple[str, ...], command: Command) -> None:
    Path("dirty.csv").write_text(DIRTY.replace("Name", "Name,Phone").replace("Acme\n", "Acme,nonsense\n"))
    stopped = command("run", "dirty.csv", "duckdb:///w.duckdb", "--state-dir", "s", *arguments)
    assert stopped.code == 5
    [named] = re.findall(r"Look at (tranship report .*), then correct the source", stopped.err)

    assert stopped.err.splitlines()[0] in command(*shlex.split(named)[1:]).out


def test_a_report_is_printed_again(command: Command) -> None:
    ended = command("run", "dirty.csv", "duckdb:///w.duckdb")
    again = command("report", "last")

    assert again.code == 0
    # Notes during the run are repeated at its end.
    note = "note: database file w.duckdb does not exist and will be created"
    assert ended.err.startswith(f"{note}\n")
    shown = [line for line in ended.err.splitlines() if line not in ("", note)]
    assert [line for line in again.out.splitlines() if line not in ("", note)] == shown


def test_a_run_shows_the_first_reasons_and_its_report_all(command: Command) -> None:
    head = "external_id,email,name,customer_type,country,currency,timezone,language,status,net_terms,created_at"
    Path("bad.csv").write_text(f"{head}\n1,a@,N,T,XX1,XX2,No/Where,!,gone,-1,then\n")
    ended = command("run", "bad.csv", "duckdb:///w.duckdb", "--strict")

    assert "  and 1 more" in ended.err.splitlines()
    assert "timezone.unknown" not in ended.err
    assert "timezone.unknown" in command("report").out


def ran(source: str, days_ago: int) -> Path:
    settings = load({"source": source, "destination": "duckdb:///w.duckdb"}, {})
    return Path(run.run(settings, now=datetime.now(UTC) - timedelta(days=days_ago)).run_dir)


def test_runs_are_listed_newest_first_and_removed_by_age(command: Command) -> None:
    old, new = ran("clean.csv", days_ago=10), ran("dirty.csv", days_ago=3)

    listed = command("runs", "--json").object["runs"]
    assert [(run["run_id"], run["source"]) for run in listed] == [(new.name, "dirty.csv"), (old.name, "clean.csv")]
    assert listed[0]["counts"]["rejected"] == 1
    assert [line.split()[0] for line in command("runs").out.splitlines()[2:]] == [new.name, old.name]

    pruned = command("runs", "--remove-older-than", "7", "--json").object
    assert pruned["removed"] == [old.name]
    assert [run["run_id"] for run in pruned["runs"]] == [new.name]
    assert [new.exists(), old.exists()] == [True, False]


@pytest.mark.parametrize("content", ["", "{", "[]", '"text"', "{}", '{"run_id": 7}', '{"steps": ""}', "[" * 100_000])
def test_a_damaged_run_is_named_and_the_others_are_listed(command: Command, content: str) -> None:
    good = ran("clean.csv", days_ago=0)
    bad = ran("clean.csv", days_ago=1)
    (bad / "manifest.json").write_text(content)

    listed = command("runs", "--json").object
    assert [run["run_id"] for run in listed["runs"]] == [good.name]
    assert list(listed["damaged"]) == [bad.name]
    said = command("runs")
    assert (said.code, "damaged: " in said.err, bad.name in said.err) == (0, True, True)
    for words in (("report", bad.name), ("resume", bad.name), ("verify", bad.name), ("retry", bad.name)):
        said = command(*words)
        assert (said.code, "manifest.json: was changed or damaged since Tranship wrote it" in said.err) == (2, True)
    assert command("run", "clean.csv", "duckdb:///w.duckdb").code == 0


def test_a_run_that_is_under_way_is_neither_removed_nor_resumed(command: Command) -> None:
    run_dir = ran("clean.csv", days_ago=10)
    manifest = durable.read_json(run_dir / "manifest.json")
    durable.write_json(run_dir / "manifest.json", manifest | {"status": "running"})
    owned = run_directory.RunDirectory.at(run_dir)
    owned.own()

    listed = command("runs", "--remove-older-than", "7", "--json").object
    assert (listed["removed"], listed["runs"][0]["status"]) == ([], "running")
    said = command("resume", run_dir.name)
    assert said.code == 3
    assert f"{run_dir.name}: is in use by process {os.getpid()} on host {socket.gethostname()}, since 2" in said.err
    owned.let_go()
    assert command("runs", "--json").object["runs"][0]["status"] == "died"
    assert command("runs", "--remove-older-than", "7", "--json").object["removed"] == []
    ran("clean.csv", days_ago=8)  # does what the other one could still be continued for
    assert run_dir.name in command("runs", "--remove-older-than", "7", "--json").object["removed"]


def test_a_run_that_failed_says_how_to_go_on(command: Command) -> None:
    command("run", "clean.csv", "duckdb:///w.duckdb")
    with duckdb.connect("w.duckdb") as connection:
        connection.execute("DROP TABLE customers; CREATE TABLE customers (external_id VARCHAR, deal VARCHAR NOT NULL)")
    said = command("run", "clean.csv", "duckdb:///w.duckdb", "--json", "--state-dir", "my state")

    assert said.code == said.object["exit_code"] == 2
    assert said.object["status"] == "failed"
    assert f"tranship resume {said.object['run_id']} --state-dir 'my state'" in said.err
    assert "If one of them is at fault, run the command again with another" in said.err


# Settings --------------------------------------------------------------------------------------------------------


def names(command_name: str) -> set[str]:
    click_command = cli.cli.commands[command_name]
    with click_command.make_context(command_name, ["x"], resilient_parsing=True) as ctx:
        return {param.name or "" for param in click_command.get_params(ctx)}


def test_every_setting_is_an_option_of_run() -> None:
    assert set(Settings.model_fields) <= names("run")


def test_everything_about_a_source_is_an_option_of_inspect() -> None:
    assert set(Reading.model_fields) <= names("inspect")


def test_every_setting_has_its_place_in_the_help() -> None:
    grouped = [name for group in options.GROUPS.values() for name in group]

    assert sorted(grouped) == sorted(Settings.model_fields)


def test_every_setting_goes_from_command_to_command() -> None:
    said = Settings(
        source="in.csv",
        destination="-",
        format="jsonl",
        columns={"name": "a=b", "city": "Ort, Stadt"},
        profile="stripe-customers",
        fields={"external_id": "Account No", "city": '"A|B" | C + D', "email": "a=b"},
        ignore=("x", "=y"),
        values={"status": {"on hold": "suspended", "a=b": "x=y", '"q"': ""}, "country": {"a:b": "DE"}},
        set={"state": "case when a = b then 'x' end"},
        allow_missing=False,
        defaults={"name": "x=y"},
        options={"sheet": "a=b", "rows": "3"},
        extra="drop",
        where="Status <> 'Lead'",
        encoding="cp1252",
        delimiter=";",
        quote="'",
        header=True,
        skip_lines=2,
        sheet="Kunden 2024",
        header_line=5,
        timezone="Europe/Berlin",
        date_format=("%d/%m/%Y", "%d %b %Y"),
        blocked=("n/a",),
        on_invalid={"status": "reject", "email": "warn"},
        strict=True,
        survivor="last",
        fill=True,
        since="last",
        until=None,
        cursor="Row Version",
        lookback="1h",
        full=True,
        new_files=False,
        settle="0",
        mode="mirror",
        changes="off",
        history=True,
        undo=False,
        nulls="overwrite",
        deletes="remove",
        evolve=True,
        create="never",
        overwrite=True,
        raw=True,
        max_rejects="2%",
        max_warnings="4%",
        max_conflicts="3",
        older="refuse",
        max_deletes="10",
        max_changes="50%",
        allow_empty=True,
        dry_run=True,
        report_samples="off",
        mask={"name": "hide"},
        encrypt_to=("age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq",),
        state_dir=Path("elsewhere"),
        workers=3,
        memory="2GB",
        overlap="fail",
        lock_timeout="30s",
        locks=False,
        statement_timeout="2h",
        include_archived=True,
        crosswalk=Path("crosswalk.csv"),
        corrections=Path("corrections.toml"),
        remove_for_good=True,
        limit=10,
        pace="50/s",
        engine="sail",
        remote="sc://host:15002",
        work="s3://lake/tmp",
        pipeline="crm",
        alert=("env:SLACK_URL", "failed,late=env:PAGER_URL"),
        expect={"rows": "900..1100", "rejects": "2%", "duration": "learned", "days_without_change": "3"},
        on_failure="mail -s failed ops < $TRANSHIP_REPORT",
        ping="env:PING_URL",
        metrics=Path("crm.prom"),
        traces=True,
        lineage="http://marquez:5000",
        retention={"keep": "30d", "keep_last": "10", "keep_failed": "true", "values": "7d"},
    )
    others = [name for name in Settings.model_fields if name not in ("source", "destination")]
    assert said.model_fields_set == set(Settings.model_fields)

    # Missing columns exclude nulls that overwrite, and a header line excludes no header. A partial read excludes mirror.
    other = {"nulls": "keep", "allow_missing": True, "header": False, "header_line": None}
    span = {"mode": "upsert", "full": False, "since": "2026-01-31", "until": "2026-02-28", "lookback": "0"}
    files = {**span, "since": None, "until": None, "cursor": None, "new_files": True, "settle": "60s"}
    for update in ({}, other, span, files):
        given = said.model_copy(update=update)
        words = shlex.split(command_lines.format_run_command(given, given.sources, others))
        with cli.cli.commands["run"].make_context("run", words[2:]) as ctx:
            flags = {name: value for name, value in ctx.params.items() if name in Settings.model_fields}
        assert load(options.given(flags) | {"source": words[2], "destination": words[3]}, {}) == given


def test_a_settings_file_is_run_and_options_win_over_environment_and_file(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("p.toml").write_text(
        'source = "dirty.csv"\ndestination = "duckdb:///w.duckdb"\nmax_rejects = 0\nfill = true\n'
    )
    assert command("run", "p.toml").code == 5
    monkeypatch.setenv("TRANSHIP_MAX_REJECTS", "1")
    assert command("run", "p.toml").code == 0
    assert command("run", "p.toml", "--max-rejects", "0").code == 5
    assert command("run", "p.toml", "--source", "clean.csv", "--json").object["source"] == "clean.csv"
    manifest = json.loads(next(Path(".tranship/runs").glob("*/manifest.json")).read_text())
    assert manifest["settings"]["fill"] is True


def test_an_unknown_key_is_refused_with_the_one_that_was_meant(command: Command) -> None:
    Path("p.toml").write_text('source = "clean.csv"\ndestination = "duckdb:///w.duckdb"\nmax_reject = 0\n')
    said = command("run", "p.toml")

    assert said.code == 2
    assert "max_reject (p.toml): unknown setting. Did you mean max_rejects?" in said.err


# Several sources -------------------------------------------------------------------------------------------------

MORE = "Customer ID,E-mail,Name\nc3,jim@gamma.com,Gamma\n"


@pytest.fixture
def more(command: Command) -> Command:
    Path("more.csv").write_text(MORE)
    return command


def test_the_last_argument_is_the_destination(more: Command) -> None:
    said = more("run", "clean.csv", "more.csv", "duckdb:///w.duckdb", "--json")

    assert said.code == 0
    assert said.object["counts"]["created"] == 3
    assert said.object["source"] == "clean.csv, more.csv"
    assert "clean.csv, more.csv → duckdb:///w.duckdb" in said.err
    assert [run["source"] for run in more("runs", "--json").object["runs"]] == ["clean.csv, more.csv"]


def test_several_sources_from_file_environment_and_option(more: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("p.toml").write_text('source = ["clean.csv", "more.csv"]\ndestination = "duckdb:///w.duckdb"\n')
    assert more("run", "p.toml", "--json").object["counts"]["read"] == 3
    assert more("run", "p.toml", "--source", "more.csv", "--json").object["counts"]["read"] == 1
    words = ("--source", "more.csv", "--source", "clean.csv")
    assert more("run", "p.toml", *words, "--json").object["source"] == "more.csv, clean.csv"
    monkeypatch.setenv("TRANSHIP_SOURCE", "more.csv\n")
    assert more("run", "p.toml", "--json").object["source"] == "more.csv"
    monkeypatch.setenv("TRANSHIP_SOURCE", "clean.csv\nmore.csv")
    assert more("run", "--destination", "duckdb:///x.duckdb", "--json").object["counts"]["created"] == 3


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("[]", "the list is empty"),
        ("[[]]", "is not text"),
        ('[["clean.csv"]]', "is not text"),
        ('["clean.csv", 1]', "is not text"),
    ],
)
def test_a_list_without_sources_is_refused(source: str, why: str, more: Command) -> None:
    Path("p.toml").write_text(f'source = {source}\ndestination = "duckdb:///w.duckdb"\n')
    said = more("run", "p.toml")

    assert said.code == 2
    assert f"source (p.toml): {why}" in said.err


def test_a_settings_file_stands_alone(more: Command) -> None:
    Path("p.toml").write_text('source = "clean.csv"\ndestination = "duckdb:///w.duckdb"\n')
    for words in (["run", "p.toml", "more.csv", "duckdb:///w.duckdb"], ["inspect", "more.csv", "p.toml"]):
        said = more(*words)
        assert said.code == 2
        assert "p.toml: is a settings file" in said.err


def test_a_dry_run_of_several_sources_says_the_command_that_does_it(more: Command) -> None:
    said = more("run", "clean.csv", "more.csv", "out.csv", "--dry-run")

    assert "to apply this, run: tranship run clean.csv more.csv out.csv" in said.err


def test_several_sources_are_inspected_planned_and_verified(more: Command) -> None:
    said = more("inspect", "clean.csv", "more.csv", "--write", "p.toml")
    assert said.code == 0
    assert "clean.csv, more.csv: all 3 records of 2 files" in said.out
    assert load({}, {}, Path("p.toml")).sources == ("clean.csv", "more.csv")
    assert more("plan", "clean.csv", "more.csv", "out.csv", "--out", "plan").code == 0
    assert more("apply", "plan").code == 0
    assert more("verify", "clean.csv", "more.csv", "out.csv").code == 0
    assert more("verify", "plan").code == 0
    assert more("verify", "clean.csv", "out.csv").code == 4


def test_several_sources_in_python(more: Command) -> None:
    report = tranship.run(["clean.csv", Path("more.csv")], "duckdb:///w.duckdb")

    assert report.counts.created == 3
    assert tranship.inspect(["clean.csv", Path("more.csv")]).records == 3


def test_standard_input_beside_other_sources_is_not_read_again(more: Command) -> None:
    lines = "".join(f"{number},{os.urandom(40).hex()}\n" for number in range(100_000))
    half = gzip.compress(b"Customer ID,Name\n" + lines.encode(), 1)
    Path("half.csv.gz").write_bytes(half[: len(half) // 2])
    ran = python("-m", "tranship", "run", "half.csv.gz", "-", "out.csv", folder=Path.cwd())
    assert "ends in the middle" in ran.stderr
    said = more("resume", "last")

    assert said.code == 2
    assert "one of them is standard input, which is gone" in said.err


# Files ------------------------------------------------------------------------------------------------------------


def test_a_glob_without_quotes_replaces_nothing(more: Command) -> None:
    before = Path("more.csv").read_bytes()
    said = more("run", "clean.csv", "dirty.csv", "more.csv")

    assert said.code == 2
    assert "quotes" in said.err
    assert "--overwrite" in said.err
    assert Path("more.csv").read_bytes() == before


def test_a_glob_without_quotes_before_a_destination_is_read(more: Command) -> None:
    files = sorted(path.name for path in Path().glob("*.csv"))

    assert more("run", *files, "duckdb:///w.duckdb", "--max-rejects", "1").code == 0


def test_swapped_arguments_replace_nothing(command: Command) -> None:
    assert command("run", "clean.csv", "duckdb:///w.duckdb?table=t").code == 0
    said = command("run", "duckdb:///w.duckdb?table=t", "clean.csv")

    assert said.code == 2
    assert "swapped" in said.err
    assert Path("clean.csv").read_text() == CLEAN


def test_verify_reads_the_file(command: Command) -> None:
    assert command("run", "clean.csv", "out.csv").code == 0
    said = command("verify", "clean.csv", "out.csv")
    assert (said.code, "no differences" in said.out, "replace" in said.out + said.err) == (0, True, False)
    text = Path("out.csv").read_text()
    Path("out.csv").write_text(text.replace("Acme", "Acne") + text.splitlines()[1].replace("c1", "c9") + "\nbroken\n")
    said = command("verify", "last", "--json")

    assert said.code == 4
    assert said.object["counts"] == {
        **{"equal": 1, "different": 1, "only_in_source": 0, "only_at_destination": 2, "refused": 0}
    }
    told = Path(said.object["files"]["differences"]).read_text()
    assert "different,c1,jane@acme.com,name,Acme,Acne" in told
    assert "out.csv, line 5: line.too_few_columns" in told


def test_verify_of_a_file_that_cannot_be_compared_says_why(command: Command) -> None:
    said = command("verify", "clean.csv", "nowhere.csv")
    assert (said.code, "nowhere.csv: does not exist" in said.err) == (2, True)
    Path("colours.csv").write_text("Colour,Shade\nred,1\n")
    said = command("verify", "clean.csv", "colours.csv")
    assert (said.code, "no column for the external id or the e-mail" in said.err) == (2, True)
    Path("few.csv").write_text("E-mail;Colour\njane@acme.com;red\njoe@beta.com;blue\n")
    said = command("verify", "clean.csv", "few.csv")
    assert (said.code, "few.csv has no column for external_id, name: not compared" in said.out) == (0, True)


def test_a_value_that_cannot_be_read_differs_as_it_stands(command: Command) -> None:
    Path("in.csv").write_text("external_id,name,country\n1x,Acme,SE\n")
    Path("out.csv").write_text("external_id,name,country\n1x,Acme,Narnia\n")
    found = command("verify", "in.csv", "out.csv", "--json").object

    assert found["different_fields"] == {"country": 1}
    assert "country,SE,Narnia" in Path(found["files"]["differences"]).read_text()


# Inspect ---------------------------------------------------------------------------------------------------------


def test_inspect_writes_a_settings_file_that_runs(command: Command, sample_data: Path) -> None:
    shutil.copy(sample_data / "crm_export.csv", "crm.csv")
    assert command("inspect", "crm.csv", "--write", "p.toml").code == 0
    plain = command("run", "crm.csv", "a.csv", "--json").object
    said = command("run", "p.toml", "b.csv", "--json").object

    assert said["counts"] == plain["counts"]
    assert said["columns"] == plain["columns"]


def test_inspect_does_not_write_over_a_file(command: Command) -> None:
    Path("p.toml").write_text("mine")
    said = command("inspect", "clean.csv", "--write", "p.toml")

    assert said.code == 2
    assert "p.toml" in said.err
    assert Path("p.toml").read_text() == "mine"


def test_inspect_shows_a_conflict_instead_of_failing(command: Command) -> None:
    Path("two.csv").write_text("id,name,mail,E-mail address\n1,A,a@b.com,c@d.com\n")
    said = command("inspect", "two.csv")

    assert said.code == 2
    assert '--map email="mail"' in said.out
    assert '--map email="E-mail address"' in said.out


def test_inspect_shows_what_is_built_and_stops_where_a_run_would(command: Command) -> None:
    Path("people.csv").write_text("id,First Name,Last Name,Company\n1,Ann,Lee,\n")
    said = command("inspect", "people.csv", "--write", "p.toml")
    assert said.code == 0
    assert "  name                  Company | First Name + Last Name\n" in said.out
    assert "  billing_contact_name  First Name + Last Name\n" in said.out
    assert command("run", "p.toml", "a.csv").code == 0
    assert ",Ann Lee," in Path("a.csv").read_text()

    Path("nameless.csv").write_text("id,Titel\n1,Acme\n")
    for words in (("inspect", "nameless.csv"), ("run", "nameless.csv", "b.csv")):
        said = command(*words)
        assert said.code == 2
        assert 'name: no matching column. Candidates: "Titel". Try --map name="Titel"' in said.out + said.err
    assert not Path("b.csv").exists()
    assert command("run", "nameless.csv", "b.csv", "--map", "name=Titel").code == 0


def test_inspect_takes_a_settings_file(command: Command) -> None:
    Path("p.toml").write_text(
        'source = "clean.csv"\ndestination = "duckdb:///w.duckdb"\n[fields]\nlegal_name = "Name"\n'
    )
    columns = command("inspect", "p.toml", "--json").object["columns"]

    assert [column["field"] for column in columns] == ["external_id", "email", ["name", "legal_name"]]


def test_values_do_not_steer_the_terminal(command: Command) -> None:
    Path("odd.csv").write_text("id,name\n1,\x1b[2Jgone\n")

    assert "\x1b" not in command("inspect", "odd.csv").out


# Plans -----------------------------------------------------------------------------------------------------------


def test_a_plan_is_looked_at_and_carried_out(command: Command) -> None:
    planned = command("plan", "clean.csv", "duckdb:///w.duckdb", "--out", "plan")
    assert planned.code == 0
    assert "tranship apply plan" in planned.err
    assert not Path("w.duckdb").exists() or not duckdb.connect("w.duckdb").sql("FROM duckdb_tables()").fetchall()
    rows = Path("plan/changes.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["type", "create", "create"]

    assert command("apply", "plan", "--json").object["counts"]["created"] == 2
    assert command("verify", "plan").code == 0
    assert "has been applied" in command("apply", "plan").err


def test_a_plan_for_a_table_that_has_moved_is_not_carried_out(command: Command) -> None:
    command("run", "clean.csv", "duckdb:///w.duckdb")
    Path("clean.csv").write_text(CLEAN.replace("Acme", "Acme Inc"))
    assert command("plan", "clean.csv", "duckdb:///w.duckdb", "--out", "plan").code == 0
    with duckdb.connect("w.duckdb") as connection:
        connection.execute("UPDATE customers SET name = 'Acme Inc' WHERE external_id = 'c1'")

    said = command("apply", "plan")
    assert said.code == 5
    assert "has changed since the plan was made: 1 record would" in said.err


def test_a_plan_does_not_take_anybody_s_folder(command: Command) -> None:
    Path("plan").mkdir()
    Path("plan/mine.txt").write_text("mine")

    said = command("plan", "clean.csv", "duckdb:///w.duckdb", "--out", "plan")
    assert (said.code, Path("plan/mine.txt").read_text()) == (2, "mine")
    assert "--out plan: exists already" in said.err


def test_apply_and_retry_say_what_is_missing(command: Command) -> None:
    assert "there is no plan in this folder" in command("apply", "nowhere").err
    command("run", "clean.csv", "duckdb:///w.duckdb")
    said = command("retry", "last")
    assert (said.code, "nothing failed" in said.err) == (2, True)


def test_verify_tells_what_differs(command: Command) -> None:
    command("run", "clean.csv", "duckdb:///w.duckdb")
    Path("clean.csv").write_text(CLEAN.replace("Acme", "Acme Inc"))

    said = command("verify", "clean.csv", "duckdb:///w.duckdb")
    assert said.code == 4
    assert "differences found" in said.out
    assert command("verify", "clean.csv", "duckdb:///w.duckdb", "--json").object["counts"]["different"] == 1


# Providers -------------------------------------------------------------------------------------------------------


def test_what_a_way_between_two_providers_loses(command: Command) -> None:
    said = command("connectors", "--losses", "marginfront", "metronome")
    assert said.code == 0
    assert "lost on the way marginfront → metronome → marginfront" in said.out

    lost = command("connectors", "--losses", "marginfront", "metronome", "--json").object["lost"]
    assert "updated_at" in {loss["field"] for loss in lost}


def test_a_provider_that_is_none(command: Command) -> None:
    for arguments in (("connectors", "--losses", "csv", "metronome"), ("doctor", "duckdb:///w.duckdb")):
        said = command(*arguments)
        assert said.code == 2
        assert "not a provider. Use one of: blackwalnut," in said.err


def test_doctor_says_what_is_wrong(command: Command, sandbox: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    there = sandbox("marginfront", seed=3)
    address = f"marginfront://127.0.0.1:{there.port}"
    monkeypatch.delenv("MF_API_SECRET_KEY", raising=False)
    said = command("doctor", address)
    assert said.code == command("run", address, "out.csv").code == 2
    assert "MF_API_SECRET_KEY" in said.out
    assert command("doctor", "marginfront://?unknown=1").code == 2

    monkeypatch.setenv("MF_API_SECRET_KEY", "mf_sk_test_0123456789")
    assert command("doctor", address).code == 0
    assert command("doctor", address, "--json").object["ok"] is True
    monkeypatch.setenv("MF_API_SECRET_KEY", "mf_pk_test_0123456789")
    assert command("doctor", address).code == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nobody",), "there is no such sandbox. Use one of: blackwalnut,"),
        (("metronome", "--latency", "soon"), "'soon' is not a duration such as 50ms or 2s"),
        (("metronome", "--shift", "200%"), "'200%' is not a share such as 5%"),
        (("metronome", "--error", "500"), "give it as STATUS=SHARE"),
        (("metronome", "--error", "418=5%"), "invalid weather (simulated failures)"),
        (("metronome", "--rate", "GET=many"), "'many' is not a number of calls"),
        (("metronome", "--rate", f"GET={'9' * 5000}"), "is not a number of calls with at most 8 digits"),
        (("metronome", "--latency", "1e400s"), "'1e400s' is not a duration such as 50ms or 2s"),
        (("metronome", "--seed", "9" * 5000), "is not a number of customers with at most 8 digits"),
        (("metronome", "--port", "0", "--seed", "nowhere.csv"), "nowhere.csv"),
        (("metronome", "--switch", "mood=good"), "has no such switch"),
    ],
)
def test_a_sandbox_that_cannot_be(command: Command, arguments: tuple[str, ...], words: str) -> None:
    said = command("sandbox", *arguments)
    assert said.code == 2
    assert words in said.err


def test_archives_are_only_a_provider_s(command: Command) -> None:
    said = command("run", "clean.csv", "duckdb:///w.duckdb", "--include-archived")
    assert (said.code, "only providers have archived customers" in said.err) == (2, True)


# Lists ---------------------------------------------------------------------------------------------------


def test_every_connector_and_field_is_listed(command: Command) -> None:
    connectors = command("connectors", "--json").object["connectors"]
    fields = command("fields", "--json").object["fields"]

    assert [connector["name"] for connector in connectors] == list(CONNECTORS)
    assert [field["name"] for field in fields] == list(COLUMNS)
    assert all(connector["example"] in command("connectors").out for connector in connectors)
    assert all(field["name"] in command("fields").out for field in fields)


@pytest.mark.parametrize("name", list(cli.cli.commands))
def test_every_command_explains_itself(name: str, command: Command) -> None:
    said = command(name, "--help")

    assert said.code == 0
    assert said.out.startswith(f"Usage: tranship {name}")


def test_the_version_is_shown(command: Command) -> None:
    assert command("--version").out.startswith("tranship ")


HEAVY = ("polars", "pandera", "pyarrow", "duckdb", "pydantic", "numpy", "rich")


@pytest.mark.parametrize(("arguments", "free_of"), [(["--help"], HEAVY), (["run", "--help"], HEAVY[:4])])
def test_help_imports_nothing_heavy(arguments: list[str], free_of: tuple[str, ...]) -> None:
    script = (
        "import sys\n"
        "from tranship.pipelines.cli import main as cli\n"
        f"code = cli.main({arguments!r})\n"
        f"print(code, *sorted(set(sys.modules) & set({free_of!r})), file=sys.stderr)"
    )
    assert python("-c", script).stderr.split() == ["0"]


def test_a_run_imports_nothing_slow_that_it_does_not_need(tmp_path: Path) -> None:
    source = tmp_path / "customers.csv"
    source.write_text(
        "external_id,email,name,created_at,updated_at\n1,a@a.example,Acme,2024-01-31,2024-01-31T10:15:00Z\n", "utf-8"
    )
    needless = ("pyarrow.compute", "hypothesis", "tranship.pipelines.inspection", "tranship.schemas.compatibility")
    target, state = f"duckdb:///{tmp_path}/w.duckdb?table=t", str(tmp_path / "state")
    script = (
        "import sys\n"
        "from tranship.pipelines.cli import main as cli\n"
        f"code = cli.main({['run', str(source), target, '--state-dir', state, '--json']!r})\n"
        f"print(code, *sorted(set(sys.modules) & set({needless!r})), file=sys.stderr)"
    )
    assert python("-c", script).stderr.splitlines()[-1] == "0"


# Python ----------------------------------------------------------------------------------------------------------


def test_the_same_in_python(command: Command) -> None:
    report = tranship.run("dirty.csv", "duckdb:///w.duckdb", defaults={"currency": "EUR"}, state_dir="state")

    assert isinstance(report, tranship.Report)
    assert report.counts == tranship.Counts(read=3, rejected=1, created=2)
    assert tranship.inspect("dirty.csv", rows=1).records == 1
    with pytest.raises(tranship.ConfigError, match="nothing is left to do"):
        tranship.resume(report.run_id, state_dir="state")


def test_python_gets_the_report_of_a_run_that_was_stopped(command: Command) -> None:
    with pytest.raises(tranship.GateClosed) as caught:
        tranship.run(Path("dirty.csv"), "duckdb:///w.duckdb", max_rejects=0)

    assert caught.value.report.counts.rejected == 1


def test_every_public_name_is_there() -> None:
    assert all(getattr(tranship, name) is not None for name in tranship.__all__)
    with pytest.raises(AttributeError, match="sail"):
        _ = tranship.sail


def test_importing_the_door_imports_nothing_behind_it() -> None:
    script = (
        "import sys, tranship; print(*sorted(set(sys.modules) & {'polars', 'click', 'pydantic', 'tranship.pipelines'}))"
    )

    assert python("-c", script).stdout.strip() == ""
