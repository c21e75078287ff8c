"""What Tranship keeps between runs, written by somebody else: tables beside the destination, and files of the state
directory. Each command that reads it works, or says in one sentence which table or file is wrong.
"""

from __future__ import annotations

import gc
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from support.commands import told
from support.mutation import places
from support.postgres_server import Database
from support.terminals import EVIL, assert_plain
from tranship.pipelines import backfill
from tranship.schemas.visible import visible

TABLE = "duckdb:///w.duckdb?table=customers"
OF_WATERMARKS: tuple[tuple[str, ...], ...] = (
    ("state", "list", "TABLE"),
    ("run", "in.csv", "TABLE", "--since", "last", "--lookback", "1h"),
    ("run", "in.csv", "TABLE", "--full"),
    ("state", "set", "TABLE", "2026-01-01"),
)
OF_FILES = (("run", "in.csv", "TABLE", "--new-files"), ("state", "clear", "TABLE"))
OF_CHANGES = (("changes", "last"), ("changes", "last", "--format", "csv"), ("changes", "last", "--json"))
COMMANDS = {
    "_tranship_state": OF_WATERMARKS,
    "_tranship_files": OF_FILES,
    "_tranship_changes": OF_CHANGES,
    "_tranship_ledger": (("run", "in.csv", "TABLE"), ("verify", "last")),
}
TEXTS = (
    *("", "T", "5T", "1e9", "9" * 30, "9" * 5000, "-5", "0001-01-01T00:00:00Z", "2026-01-01T00:00:00"),
    *("9999-12-31T23:59:59+00:00", "9999-12-31T23:59:59-01:00", "2026-13-01T00:00:00Z", EVIL),
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


def complaints(destination: str, commands: tuple[tuple[str, ...], ...]) -> Iterator[str]:
    """Yield what no command may do."""
    for words in commands:
        given = [destination if word == "TABLE" else word for word in words]
        code, out, err = told(*given)
        shown = f"{' '.join(words)}: exit {code}: {err[-300:]}"
        if code not in (0, 2, 3, 4, 5) or "Traceback" in err:
            yield shown
        if code in (2, 3) and "Error: " not in err:
            yield f"no sentence: {shown}"
        for text in (err, out if "csv" not in words else ""):
            if any(visible(line) != line for line in text.split("\n")):
                yield f"control characters: {shown!a}"
        if "--json" in words:
            json.loads(out)


@pytest.mark.slow
def test_any_watermark_in_a_database_is_used_or_refused_in_words() -> None:
    loaded(TABLE)
    whole, found = Path("w.duckdb").read_bytes(), []
    others = [(column, EVIL) for column in ("source", "reading", "cursor", "run_id")]
    for column, text in [("value", text) for text in TEXTS] + others:
        with duckdb.connect("w.duckdb") as connection:
            connection.execute(f"UPDATE _tranship_state SET {column} = ?", [text])
        found += [f"{column} {text[:40]!a}: {complaint}" for complaint in complaints(TABLE, OF_WATERMARKS)]
        Path("w.duckdb").write_bytes(whole)
    assert found == []


OTHER_TABLES = (
    "CREATE VIEW {name} AS SELECT 1 AS x",
    "CREATE TABLE {name} AS SELECT * REPLACE (NULL AS {column}) FROM kept",
    "CREATE TABLE {name} AS SELECT * REPLACE ([1, 2] AS {column}) FROM kept",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_any_table_under_the_name_of_one_of_ours_is_used_or_refused_in_words(name: str) -> None:
    loaded(TABLE)
    whole = Path("w.duckdb").read_bytes()
    with duckdb.connect("w.duckdb", read_only=True) as connection:
        columns = [row[0] for row in connection.sql(f"DESCRIBE {name}").fetchall()]
    found = []
    for number, column in enumerate(["", *columns]):
        made = OTHER_TABLES[0] if not column else OTHER_TABLES[1 + number % 2]
        Path("w.duckdb").write_bytes(whole)
        with duckdb.connect("w.duckdb") as connection:
            connection.execute(f"CREATE TEMP TABLE kept AS FROM {name}; DROP TABLE {name}")
            connection.execute(made.format(name=name, column=column))
        found += [f"{made} {column}: {complaint}" for complaint in complaints(TABLE, COMMANDS[name])]
    assert found == []


IMAGES = ("{", "[]", "null", '{"a": ' + "[" * 3000, f'{{"a": {json.dumps(EVIL)}}}', "")


@pytest.mark.slow
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
            found += [f"{image[:20]} {column}: {complaint}" for complaint in complaints(TABLE, OF_CHANGES)]
    assert found == []


@pytest.mark.postgres
def test_any_watermark_in_postgres_is_used_or_refused_in_words(postgres_database: Database) -> None:
    address = f"{postgres_database.url}?table=customers"
    found = []
    loaded(address)
    for text in ("T", "9" * 30, "2026-01-01T00:00:00", EVIL):
        postgres_database.do(f"UPDATE _tranship_state SET value = '{text}'")
        found += [f"{text[:40]!a}: {complaint}" for complaint in complaints(address, OF_WATERMARKS[:2])]
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


@pytest.mark.slow
def test_any_file_of_watermarks_is_used_or_refused_in_words() -> None:
    loaded("out.csv")
    [file] = Path(".tranship/watermarks").iterdir()
    whole, found = file.read_text(), []
    for number in range(25):
        harm = _harm(file, random.Random(number))
        found += [f"{harm}: {complaint}" for complaint in complaints("out.csv", (*OF_WATERMARKS[:2], OF_FILES[0]))]
        file.write_text(whole)
    assert found == []


@pytest.mark.slow
def test_any_progress_of_a_backfill_is_used_or_refused_in_words() -> None:
    words = ("backfill", "in.csv", TABLE, "--from", "2026-01-05", "--to", "2026-01-06")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(backfill._Progress, "remove", lambda _: None)
        assert told(*words)[0] == 0
    [file] = Path(".tranship/backfills").glob("*.json")
    for value in (*ANY, *TEXTS):
        for content in (value, {"finished": value}):
            file.write_text(json.dumps(content))
            code, _, err = told(*words)
            assert code in (0, 2), (value, err)
            assert_plain(err)
