"""What Tranship keeps between runs, written by somebody else: tables beside the destination, and files of the state
directory. Each command that reads it works, or says in one sentence which table or file is wrong.
"""

from __future__ import annotations

import gc
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from support.commands import told
from support.mutation import places
from support.postgres_server import Database
from support.terminals import EVIL, assert_plain

TABLE = "duckdb:///w.duckdb?table=customers"
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("state", "list", "TABLE"),
    ("state", "set", "TABLE", "2026-01-01"),
    ("state", "set", "TABLE", "5"),
    ("state", "clear", "TABLE"),
    ("run", "in.csv", "TABLE", "--since", "last"),
    ("run", "in.csv", "TABLE", "--since", "last", "--lookback", "1h"),
    ("run", "in.csv", "TABLE", "--full"),
    ("run", "in.csv", "TABLE", "--new-files"),
    ("changes", "last"),
    ("changes", "last", "--format", "csv"),
    ("changes", "last", "--format", "jsonl"),
    ("changes", "last", "--json"),
)
TEXTS = (
    *("", "T", "x", "5T", "1e9", "9" * 30, "9" * 5000, "-5", "0001-01-01T00:00:00Z", "2026-01-01T00:00:00"),
    *(
        "9999-12-31T23:59:59+00:00",
        "-0001-01-01T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "infinity",
        EVIL,
        "{",
        "[]",
        "null",
    ),
)


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gc, "freeze", lambda: None)
    Path("in.csv").write_text(
        "id,name,email,updated_at\n1,Ann,a@x.co,2026-01-05T00:00:00Z\n2,Bob,b@x.co,2026-01-06T00:00:00Z\n"
    )


def loaded(destination: str) -> None:
    for part in (("--since", "last"), ("--new-files",)):
        code, _, err = told("run", "in.csv", destination, "--quiet", *part)
        assert code == 0, err


def complaints(destination: str) -> Iterator[str]:
    """Yield what no command may do."""
    for words in COMMANDS:
        given = [destination if word == "TABLE" else word for word in words]
        code, out, err = told(*given)
        shown = f"{' '.join(words)}: exit {code}: {err[-300:]}"
        if code not in (0, 2, 3, 4) or "Traceback" in err:
            yield shown
        if code in (2, 3) and "Error: " not in err:
            yield f"no sentence: {shown}"
        if not any(word in ("csv", "jsonl", "--json") for word in words):
            assert_plain(out)
        assert_plain(err)
        if "--json" in words:
            json.loads(out)


@pytest.mark.parametrize("column", ["source", "reading", "cursor", "value", "run_id"])
def test_any_watermark_in_a_database_is_used_or_refused_in_words(column: str) -> None:
    loaded(TABLE)
    found = []
    for text in TEXTS:
        with duckdb.connect("w.duckdb") as connection:
            connection.execute(f"UPDATE _tranship_state SET {column} = ?", [text])
        found += [f"{text[:40]!a}: {complaint}" for complaint in complaints(TABLE)]
        told("state", "clear", TABLE)
        loaded(TABLE)
    assert found == []


OTHER_TABLES = (
    "CREATE TABLE {name} (x INT)",
    "CREATE VIEW {name} AS SELECT 1 AS x",
    "CREATE TABLE {name} AS SELECT * REPLACE (NULL AS {column}) FROM kept",
    "CREATE TABLE {name} AS SELECT * REPLACE (5 AS {column}) FROM kept",
    "CREATE TABLE {name} AS SELECT * REPLACE ([1, 2] AS {column}) FROM kept",
    "CREATE TABLE {name} AS SELECT * REPLACE ('\x1b]0;x\x07' AS {column}) FROM kept",
)


@pytest.mark.parametrize("name", ["_tranship_state", "_tranship_files", "_tranship_changes", "_tranship_ledger"])
def test_any_table_under_the_name_of_one_of_ours_is_used_or_refused_in_words(name: str) -> None:
    loaded(TABLE)
    whole = Path("w.duckdb").read_bytes()
    with duckdb.connect("w.duckdb", read_only=True) as connection:
        columns = [row[0] for row in connection.sql(f"DESCRIBE {name}").fetchall()]
    found = []
    cases = [
        (made, column) for made in OTHER_TABLES for column in columns if "{column}" in made or column == columns[0]
    ]
    for made, column in cases:
        Path("w.duckdb").write_bytes(whole)
        with duckdb.connect("w.duckdb") as connection:
            connection.execute(f"CREATE TEMP TABLE kept AS FROM {name}; DROP TABLE {name}")
            connection.execute(made.format(name=name, column=column))
        found += [f"{made} {column}: {complaint}" for complaint in complaints(TABLE)]
    assert found == []


IMAGES = ("{", "[]", "5", "null", '"x"', "[" * 3000, '{"a": [' + "[" * 3000, f'{{"a": {json.dumps(EVIL)}}}', "NaN", "")


def test_any_image_of_a_change_is_shown_or_refused_in_words() -> None:
    loaded(TABLE)
    Path("in.csv").write_text("id,name,email\n1,Anne,a@x.co\n")
    assert told("run", "in.csv", TABLE, "--quiet")[0] == 0
    found = []
    for image in IMAGES:
        for column in ("before", "after"):
            with duckdb.connect("w.duckdb") as connection:
                connection.execute(f"ALTER TABLE _tranship_changes ALTER {column} TYPE VARCHAR")
                connection.execute(f"UPDATE _tranship_changes SET {column} = ?", [image])
            found += [
                f"{image[:20]} {column}: {complaint}" for complaint in complaints(TABLE) if "changes" in complaint
            ]
    assert found == []


@pytest.mark.postgres
def test_any_watermark_in_postgres_is_used_or_refused_in_words(postgres_database: Database) -> None:
    address = f"{postgres_database.url}?table=customers"
    found = []
    for text in ("T", "9" * 30, "2026-01-01T00:00:00", "0001-01-01T00:00:00Z", EVIL):
        loaded(address)
        postgres_database.do(f"UPDATE _tranship_state SET value = '{text}'")
        found += [f"{text[:40]!a}: {complaint}" for complaint in complaints(address)]
        postgres_database.do("DELETE FROM _tranship_state")
    assert found == []


ANY = (
    None,
    True,
    -1,
    10**30,
    0.5,
    "",
    "x",
    "5T",
    "0001-01-01T00:00:00Z",
    "2026-01-01T00:00:00",
    EVIL,
    [],
    [None],
    {},
    {"a": {}},
)


def _changed(content: Any, keys: tuple[Any, ...], value: Any) -> Any:
    if not keys:
        return value
    copy = content.copy()
    copy[keys[0]] = _changed(content[keys[0]], keys[1:], value)
    return copy


def _harm(file: Path, chance: random.Random) -> str:
    """Put any value into any place of a file of JSON, without a digest, as an earlier version wrote it."""
    content = json.loads(file.read_text())
    content.pop("digest", None)
    keys = chance.choice(list(places(content)))
    value = chance.choice(ANY)
    file.write_text(json.dumps(_changed(content, keys, value)))
    return f"{keys} {value!a}"


def test_any_file_of_watermarks_is_used_or_refused_in_words() -> None:
    loaded("out.csv")
    [file] = Path(".tranship/watermarks").iterdir()
    whole, found = file.read_text(), []
    for number in range(40):
        harm = _harm(file, random.Random(number))
        found += [f"{harm}: {complaint}" for complaint in complaints("out.csv") if "changes" not in complaint]
        file.write_text(whole)
    assert found == []


def test_any_progress_of_a_backfill_is_used_or_refused_in_words() -> None:
    words = ("backfill", "in.csv", TABLE, "--from", "2026-01-04", "--to", "2026-01-08")
    write: Callable[[str], object] = lambda text: (
        Path(".tranship/backfills").mkdir(parents=True, exist_ok=True),
        file.write_text(text),
    )  # noqa: E731
    from tranship.pipelines import backfill

    names: list[Path] = []
    real = backfill._Progress.write
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            backfill._Progress, "write", lambda self, finished: (real(self, finished), names.append(self._file))
        )
        assert told(*words)[0] == 0
    file = names[0]
    for value in (*ANY, *TEXTS):
        for content in (value, {"finished": value}):
            write(json.dumps(content))
            code, _, err = told(*words)
            assert code in (0, 2), (value, err)
            assert_plain(err)
