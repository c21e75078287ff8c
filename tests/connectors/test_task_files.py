"""Files as values, which a task opens by itself: the same records as of the source that they come from."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import polars as pl
import pytest

from tranship.connectors import task_files
from tranship.connectors.errors import ConfigError
from tranship.connectors.opening import open_sources
from tranship.connectors.task_files import TaskFile


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in" / "ds=1").mkdir(parents=True)
    (tmp_path / "in" / "ds=1" / "a.csv").write_text("id,name\n1,A\n2\n")
    (tmp_path / "in" / "b.jsonl").write_text('{"id": 3, "name": "B"}\n')
    pl.DataFrame({"id": ["4"], "name": ["C"]}).write_parquet(tmp_path / "in" / "c.parquet")
    return tmp_path


def files_of(*specs: str) -> list[TaskFile]:
    with closing(open_sources(specs)) as source:
        found = task_files.of_source(source)
        assert [file.name for file in found] == [layout.name for layout in source.layouts()]
        return found


def test_a_file_opens_elsewhere_with_the_same_records_and_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = files_of("in", "in/c.parquet")
    assert [(file.kind, file.name) for file in found] == [
        *[("json", "in/b.jsonl"), ("parquet", "in/c.parquet"), ("csv", "in/ds=1/a.csv")],
    ]
    # They are sent as JSON.
    sent = [TaskFile(**json.loads(json.dumps(msgspec.to_builtins(file)))) for file in found]
    with closing(open_sources(["in"])) as whole:
        expected = [part.read() for part in whole.parts(Path("pages"))]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for file, batch in zip(sent, expected, strict=True):
        with closing(file.open({})) as source:
            [part] = source.parts(Path("pages"))
            read = part.read()
        assert read.source == batch.source
        assert read.records.equals(batch.records)
        assert read.lines.equals(batch.lines)
        assert read.broken.equals(batch.broken)


def test_a_file_that_changed_since_is_refused() -> None:
    [file] = files_of("in/ds=1/a.csv")
    Path("in/ds=1/a.csv").write_text("id,name\n1,A\n2,B\n3,C\n")
    with pytest.raises(ConfigError, match=r"in/ds=1/a\.csv: has changed since the run began\."):
        file.open({})


def test_what_a_task_cannot_open_is_said() -> None:
    subprocess.run([sys.executable, "-m", "zipfile", "-c", "a.zip", "in/ds=1/a.csv"], check=True)
    with pytest.raises(ConfigError, match="cannot be opened by several machines"):
        files_of("a.zip")
    pl.DataFrame({"id": ["1"], "name": ["A"]}).write_excel("a.xlsx")
    with pytest.raises(ConfigError, match=r"a\.xlsx: Excel is read on one machine only\. Leave --engine out"):
        files_of("a.xlsx")
