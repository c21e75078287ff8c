"""Names and values that control a terminal, in every place where users may see them."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.parse import quote

import duckdb
import pytest

from support.served import as_json, served
from support.terminals import EVIL, assert_plain
from tranship.pipelines.cli import main as cli
from tranship.schemas.visible import visible


def shown(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the output and the log of a command."""
    with monkeypatch.context() as patched:
        patched.chdir(folder)
        capfd.readouterr()
        cli.main(arguments)
        said = capfd.readouterr()
    log = folder / "log.jsonl"
    return said.out + said.err + (log.read_text(encoding="utf-8") if log.exists() else "")


def source(folder: Path, name: str = f"{EVIL}\n.csv") -> Path:
    path = folder / name
    path.write_text(
        f'external_id,email,name,"{EVIL}\nstatus",{EVIL}\n1,a@x.example,{EVIL},{EVIL},{EVIL}\n2,{EVIL},B,"{EVIL}\nx",\n',
        encoding="utf-8",
    )
    return path


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "SOURCE", "duckdb:///w.duckdb?table=customers", "--log", "log.jsonl"],
        ["run", "SOURCE", "duckdb:///w.duckdb?table=customers", "--json", "--dry-run"],
        ["run", "SOURCE", "duckdb:///w.duckdb?table=customers", "--map", "status=EVIL", "--extra", "error"],
        ["run", "SOURCE", f"duckdb:///w.duckdb?table={EVIL}", "--log", "log.jsonl"],
        ["run", "SOURCE", f"{EVIL}.duckdb"],
        ["run", f"no{EVIL}\n.csv", "out.csv", "--json"],
        ["run", "SOURCE", "out.csv", "--map", f"{EVIL}={EVIL}"],
        ["run", "SOURCE", "out.csv", f"--{EVIL}"],
        ["run", f"{EVIL}://x", "out.csv"],
        ["inspect", "SOURCE"],
        ["inspect", "SOURCE", "--json"],
        ["report", EVIL],
        ["doctor", f"metronome://{EVIL}"],
        [EVIL],
    ],
    ids=lambda arguments: visible(" ".join(arguments)).replace("\\", ""),
)
def test_no_name_or_value_steers_a_terminal(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = source(tmp_path)
    given = [path.name if argument == "SOURCE" else argument.replace("=EVIL", f"={EVIL}") for argument in arguments]
    text = shown(tmp_path, monkeypatch, capfd, *given)
    assert text
    assert_plain(text)


@pytest.mark.slow
def test_no_record_of_earlier_runs_steers_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Values before and after, sources with a watermark, windows of a backfill, and archives of files."""
    path = tmp_path / f"{EVIL}.csv"
    rows = f'1,a@x.example,{EVIL},2026-01-01T00:00:00Z\n2,b@x.example,"{EVIL}\nB",2026-01-02T00:00:00Z\n'
    path.write_text(f"external_id,email,name,updated_at\n{rows}", encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr(f"{EVIL}\n.csv", path.read_bytes())
        archive.writestr(f"{EVIL}.png", b"x")
    table = f"duckdb:///w.duckdb?table={quote(EVIL, safe='').replace('%7F', '').replace('%1B', '').replace('%07', '')}"
    texts = ""
    for words in (
        ("run", path.name, table, "--since", "last"),
        ("run", path.name, table, "--new-files"),
        ("state", "list", table),
        ("state", "list", table, "--json"),
        ("changes", "last"),
        ("state", "clear", table, "--source", EVIL),
        ("state", "set", table, EVIL),
        ("state", "clear", table),
        ("backfill", path.name, table, "--from", "2026-01-01", "--to", "2026-01-02"),
        ("backfill", path.name, table, "--from", EVIL, "--to", "2026-01-02"),
        ("changes", EVIL),
        ("changes", "last", "--key", EVIL),
        ("run", "all.zip", table, "--log", "log.jsonl"),
        ("changes", "last", "--format", "jsonl"),
        ("inspect", "all.zip"),
        ("run", "all.zip", "duckdb:///new.duckdb?table=t"),
        ("changes", "last", "--json"),
    ):
        texts += shown(tmp_path, monkeypatch, capfd, *words)
    assert "EVIL" in texts
    assert_plain(texts)


def test_no_key_of_a_settings_file_steers_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    key = json.dumps(f"{EVIL}\n", ensure_ascii=True).replace("\\u007f", "\\u007F")
    for text in (f"{key} = 1", f"[fields]\n{key} = {key}", f"[values.status]\n{key} = {key}", "a = \x1b"):
        (tmp_path / "p.toml").write_text(f'source = "x.csv"\ndestination = "y.csv"\n{text}\n', encoding="utf-8")
        assert_plain(shown(tmp_path, monkeypatch, capfd, "run", "p.toml"))


def test_no_word_of_a_provider_steers_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async def answer(_: object) -> object:
        return as_json({"message": f"{EVIL}\n{EVIL}"}, 400)

    monkeypatch.setenv("METRONOME_BEARER_TOKEN", "token-0123456789")
    with served(answer) as server:  # type: ignore[arg-type]
        address = f"metronome://{server.host}"
        text = shown(tmp_path, monkeypatch, capfd, "run", address, "out.csv", "--log", "log.jsonl")
        text += shown(tmp_path, monkeypatch, capfd, "doctor", address)
    assert "EVIL" in text
    assert_plain(text)


def test_html_shows_names_as_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = source(tmp_path, f'<script>alert(1)<!--{EVIL}&".csv')
    shown(tmp_path, monkeypatch, capfd, "run", path.name, "duckdb:///w.duckdb?table=<b>")
    [page] = tmp_path.glob(".tranship/runs/*/report.html")
    text = page.read_text(encoding="utf-8")
    assert "&lt;script&gt;" in text
    assert "<script" not in text
    assert "<b>" not in text
    assert_plain(text)


def test_names_of_tables_are_plain_in_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with duckdb.connect(tmp_path / "w.duckdb") as database:
        database.execute(f'CREATE TABLE "{EVIL}" ("{EVIL}" INTEGER NOT NULL, external_id VARCHAR)')
        database.execute('CREATE TABLE "customers" ("external_id" INTEGER)')
    text = shown(tmp_path, monkeypatch, capfd, "run", "duckdb:///w.duckdb?table=missing", "out.csv")
    text += shown(tmp_path, monkeypatch, capfd, "run", source(tmp_path).name, f"duckdb:///w.duckdb?table={EVIL}")
    assert_plain(text)


@pytest.mark.slow
def test_an_exception_of_the_library_is_plain(tmp_path: Path) -> None:
    code = f"import tranship; tranship.run('no' + {EVIL!a} + '.csv', 'out.csv')"
    said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=False)
    assert b"EVIL" in said.stderr
    assert_plain(said.stderr.decode())
