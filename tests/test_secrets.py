"""Passwords are written nowhere, and customers only to the files that contain records."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl
import pytest

from support.accounts import PROVIDERS, opened
from support.sandboxes import Start
from tranship.pipelines.cli import main as cli

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "sample_data" / "crm_export.csv"
PASSWORD = "hunter2-geheim"

RECORDS = ("rejects.csv", "*.parquet")
"""Files of a run directory that contain records: the user's own data."""
PAGES = ("report.html", "plan.html", "migration.html")
"""Pages, which contain samples of them unless --report-samples is off."""


@dataclass(frozen=True)
class Ran:
    """The result of one command: standard output and error, and each file, as text."""

    code: int
    traces: dict[str, str]


Tranship = Callable[..., Ran]


@pytest.fixture
def tranship(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Tranship:
    """`tranship("run", …, NAME=value)`: one command in the folder of the test, with this environment."""

    def ran(*arguments: str, **environment: str) -> Ran:
        with monkeypatch.context() as patched, left_in(tmp_path) as files:
            patched.chdir(tmp_path)
            for name, value in environment.items():
                patched.setenv(name, value)
            capfd.readouterr()
            code = cli.main(arguments)
            said = capfd.readouterr()
        return Ran(code, {"stdout": said.out, "stderr": said.err, **files})

    return ran


def in_a_process(folder: Path, *arguments: str, **environment: str) -> Ran:
    """Run one command as it is typed."""
    with left_in(folder) as files:
        said = subprocess.run(
            [sys.executable, "-m", "tranship", *arguments],
            cwd=folder,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
        )
    return Ran(said.returncode, {"stdout": said.stdout, "stderr": said.stderr, **files})


@contextmanager
def left_in(folder: Path) -> Iterator[dict[str, str]]:
    """Collect the files that were created meanwhile, as text, at the end."""
    # Only the files of the run are searched, not those that existed before.
    before, kept = set(folder.rglob("*")), dict[str, str]()
    yield kept
    for path in folder.rglob("*"):
        if path.is_file() and path not in before and not path.name.endswith((".duckdb", ".wal")):
            kept[path.relative_to(folder).as_posix()] = path.read_bytes().decode("utf-8", "replace")


def holding(ran: Ran, words: Sequence[str]) -> Iterator[str]:
    for where, text in ran.traces.items():
        for word in words:
            if word.lower() in text.lower():
                yield f"{where} holds {word!r}: {text[:400] if where.startswith('std') else ''}"


# Passwords -----------------------------------------------------------------------------------------------------

ADDRESSES = (
    f"postgresql://anna:{PASSWORD}@db.example/warehouse?table=customers",
    f"postgresql://anna:p@ss/{PASSWORD}@db.example/warehouse",
    f"postgresql://db.example/warehouse?user=anna&password={PASSWORD}",
    f"duckdb://anna:{PASSWORD}@db.example/x.duckdb",
    f"duckdb:///x.duckdb?table=customers&password={PASSWORD}",
    f"s3://AKIA:{PASSWORD}@bucket/customers.txt/",
    f"https://anna:{PASSWORD}@files.example/customers.csv",
    f"https://files.example/customers.csv?token={PASSWORD}",
)


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_password_in_the_destination_goes_nowhere(address: str, tranship: Tranship) -> None:
    ran = tranship("run", str(SAMPLE), address, "--log", "log.jsonl", "--json")
    assert ran.code in (2, 3)
    assert not list(holding(ran, [PASSWORD]))


@pytest.mark.parametrize("address", [address for address in ADDRESSES if not address.startswith("s3:")])
@pytest.mark.parametrize("command", [["run"], ["inspect"]], ids=lambda command: command[0])
def test_a_password_in_the_source_goes_nowhere(command: list[str], address: str, tranship: Tranship) -> None:
    to = ["duckdb:///w.duckdb", "--log", "log.jsonl"] if command == ["run"] else []
    ran = tranship(*command, address, *to, "--json")
    assert ran.code in (2, 3)
    assert not list(holding(ran, [PASSWORD]))


def test_a_password_in_a_settings_file_goes_nowhere(tmp_path: Path, tranship: Tranship) -> None:
    (tmp_path / "pipeline.toml").write_text(
        f'source = "{SAMPLE}"\ndestination = "{ADDRESSES[0]}"\npassword = "{PASSWORD}"\n'
    )
    ran = tranship("run", "pipeline.toml", "--log", "log.jsonl", "--json")
    assert ran.code == 2
    assert not list(holding(ran, [PASSWORD]))


def test_secrets_of_the_environment_go_nowhere(tmp_path: Path) -> None:
    secrets = {"AWS_SECRET_ACCESS_KEY": PASSWORD, "PGPASSWORD": PASSWORD, "METRONOME_API_KEY": PASSWORD}
    log = ["--log", "log.jsonl", "--json"]
    ran = in_a_process(tmp_path, "run", str(SAMPLE), "duckdb:///w.duckdb", *log, **secrets)
    assert ran.code == 4
    assert not list(holding(ran, [PASSWORD]))


def test_the_address_in_a_command_after_a_failure_is_not_kept(tmp_path: Path, tranship: Tranship) -> None:
    hook = f"https://hooks.example/{PASSWORD}?a&b"
    typed = tranship("run", str(SAMPLE), "duckdb:///w.duckdb", "--on-failure", f"echo '{hook}' > /dev/null; false")
    (tmp_path / "pipeline.toml").write_text(
        f'source = "{SAMPLE}"\ndestination = "duckdb:///w.duckdb"\non_failure = \'echo "${{HOOK}}" > told\'\n'
    )
    filled = tranship("run", "pipeline.toml", "--log", "log.jsonl", "--json", HOOK=hook)
    assert (typed.code, filled.code) == (4, 4)
    assert filled.traces.pop("told") == f"{hook}\n"
    assert not [found for ran in (typed, filled) for found in holding(ran, [PASSWORD])]


# Keys of providers -----------------------------------------------------------------------------------------------


def everywhere(folder: Path) -> Ran:
    """Return all files below a folder, including databases and journals."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return Ran(0, {str(path.relative_to(folder)): path.read_bytes().decode("latin-1") for path in files})


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_key_of_a_provider_goes_nowhere(provider: str, sandbox: Start, tmp_path: Path, tranship: Tranship) -> None:
    """A successful read and write, one of each that fails in the middle, doctor, and a continued run."""
    there = opened(sandbox, provider, seed=150)
    key, log = there.usual.key, ["--log", "log.jsonl", "--json"]
    changed = tmp_path / "changed.parquet"
    ran = [
        tranship("doctor", there.address, **there.environment),
        tranship("run", there.address, "duckdb:///w.duckdb", *log, **there.environment),
        tranship("run", there.address, str(changed), *log, **there.environment),
    ]
    assert [one.code for one in ran] == [0, 0, 0]
    pl.read_parquet(changed).with_columns(name=pl.lit("Another Name")).write_parquet(changed)
    # The destination is read, and then the run fails.
    there.sandbox.keys(stops_after={key: 3 if there.usual.page else 1})
    ran += [
        tranship("run", str(changed), there.address, *log, **there.environment),
        tranship("run", there.address, "duckdb:///w.duckdb", *log, **there.environment),
    ]
    assert [one.code for one in ran[3:]] == [3, 3]
    there.sandbox.keys()
    ran.append(tranship("run", str(changed), there.address, *log, **there.environment))
    assert ran[-1].code == 0, ran[-1].traces["stderr"]

    assert not [found for one in ran for found in holding(one, [key])]
    assert not list(holding(everywhere(tmp_path), [key]))


@pytest.mark.parametrize("provider", PROVIDERS)
def test_customers_of_a_provider_are_in_no_message_log_or_report(
    provider: str, sandbox: Start, tranship: Tranship
) -> None:
    there = opened(sandbox, provider, seed=40)
    ran = tranship("run", there.address, "duckdb:///w.duckdb", "--log", "log.jsonl", **there.environment)
    words = [word for record in there.sandbox.state() for word in _texts(record) if "@" in word]

    assert (ran.code, len(words) >= 40) == (0, True)
    said = {where: text for where, text in ran.traces.items() if "pages/" not in where}
    assert not list(holding(without_records(Ran(0, said)), words))


def _texts(value: object) -> Iterator[str]:
    """Yield every text in JSON, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)


# Customers -----------------------------------------------------------------------------------------------------


def people() -> list[str]:
    """Return every e-mail, name and phone number of the sample that is long enough to be unmistakable."""
    text = SAMPLE.read_bytes().decode("utf-8", "replace").splitlines(keepends=True)
    found = {row[column] or "" for row in csv.DictReader(text) for column in ("E-mail", "Company", "Phone")}
    words = {word.strip() for word in found}
    return sorted(word for word in words if len(word) >= 8 or (len(word) >= 4 and not word.isascii()))


def without_records(ran: Ran) -> Ran:
    traces = {
        where: text
        for where, text in ran.traces.items()
        if not any(Path(where).match(pattern) for pattern in (*RECORDS, *PAGES))
    }
    return Ran(ran.code, traces)


def own_table(folder: Path) -> None:
    """A user's own table that refuses some of the customers."""
    with duckdb.connect(folder / "own.duckdb") as database:
        database.execute(
            "CREATE TABLE customers (external_id VARCHAR PRIMARY KEY, email VARCHAR UNIQUE NOT NULL, "
            "name VARCHAR CHECK (length(name) < 20), phone BIGINT)"
        )


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["duckdb:///w.duckdb"], 4),
        (["duckdb:///w.duckdb", "--json"], 4),
        (["duckdb:///w.duckdb", "--dry-run"], 4),
        (["duckdb:///w.duckdb", "--max-rejects", "1"], 5),
        (["duckdb:///w.duckdb", "--extra", "error"], 2),
        (["duckdb:///w.duckdb", "--map", "email=Phone"], 4),
        (["duckdb:///w.duckdb", "--no-header"], 2),
        (["duckdb:///own.duckdb"], 4),
        (["out.parquet"], 4),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_customers_are_in_no_message_log_or_report(
    options: list[str], code: int, tmp_path: Path, tranship: Tranship
) -> None:
    own_table(tmp_path)
    ran = tranship("run", str(SAMPLE), *options, "--log", "log.jsonl")
    assert ran.code == code, ran.traces["stderr"]
    assert not list(holding(without_records(ran), people()))


def test_customers_are_not_in_pages_without_samples(tmp_path: Path, tranship: Tranship) -> None:
    ran = tranship("run", str(SAMPLE), "duckdb:///w.duckdb", "--report-samples", "off")
    ran.traces.update(
        tranship("plan", str(SAMPLE), "duckdb:///w.duckdb", "--out", "p", "--report-samples", "off").traces
    )
    pages = {where: text for where, text in ran.traces.items() if Path(where).name in PAGES}
    assert {Path(where).name for where in pages} >= {"report.html"}
    assert not list(holding(Ran(0, pages), people()))


def test_the_search_finds_customers_where_they_may_be(tranship: Tranship) -> None:
    ran = tranship("run", str(SAMPLE), "duckdb:///w.duckdb")
    found = list(holding(ran, people()))
    assert all(any(name in one for one in found) for name in ("rejects.csv", "report.html"))
    assert len(people()) > 80


def test_files_of_a_run_are_for_the_owner_alone(tmp_path: Path, tranship: Tranship) -> None:
    tranship("run", str(SAMPLE), "duckdb:///w.duckdb", "--log", "log.jsonl")
    state = tmp_path / ".tranship"
    found = [state, *state.rglob("*"), tmp_path / "log.jsonl"]
    assert {oct(path.stat().st_mode & 0o777) for path in found if path.is_dir()} == {"0o700"}
    assert {oct(path.stat().st_mode & 0o777) for path in found if path.is_file()} == {"0o600"}
    assert (state / ".gitignore").read_text() == "*\n"


def test_an_existing_folder_of_a_plan_is_closed_to_others(tmp_path: Path, tranship: Tranship) -> None:
    (tmp_path / "plan").mkdir(mode=0o755)
    assert tranship("plan", str(SAMPLE), "duckdb:///w.duckdb", "--out", "plan").code == 4
    found = [tmp_path / "plan", *(tmp_path / "plan").rglob("*")]
    assert {oct(path.stat().st_mode & 0o777) for path in found if path.is_dir()} == {"0o700"}
    assert {oct(path.stat().st_mode & 0o777) for path in found if path.is_file()} == {"0o600"}
