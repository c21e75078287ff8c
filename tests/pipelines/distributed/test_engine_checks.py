"""Settings that make no sense on an engine are refused before it is started."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tranship.connectors.errors import ConfigError
from tranship.pipelines.distributed import engine_checks
from tranship.pipelines.settings import load

MIRROR = {"mode": "mirror", "max_deletes": "1"}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for file in ("a.csv", "in/b.csv"):
        Path(file).write_text("id,name\n1,A\n", encoding="utf-8")


def check(destination: str, **options: Any) -> None:
    given = {"source": "in", "destination": destination, "engine": "sail"} | options
    engine_checks.check(load(given, {}))


@pytest.mark.parametrize(
    ("destination", "options", "message"),
    [
        ("out", MIRROR, "out: a dataset is written whole; --mode mirror needs a table."),
        ("out", {"columns": {"name": "n"}}, "--column name=n: the columns of out have the names of the fields."),
        ("delta://out", {"columns": {"name": "n"}}, "--column name=n: the columns of delta://out have the names"),
        ("iceberg://out", MIRROR | {"deletes": "remove"}, "rows of an Iceberg table are marked, not removed."),
        ("iceberg://out", {"evolve": True}, "columns are not added to an Iceberg table."),
        (
            "delta:/lake/out",
            {},
            "delta:/lake/out: is a path, because delta: is not followed by two slashes. Write delta:///lake/out, or",
        ),
        ("Delta:lake/out", {}, "Write Delta://lake/out, or ./Delta:lake/out if you mean a folder of this name."),
        (
            "s3:/lake/out",
            {},
            "s3:/lake/out: is a path, because s3: is not followed by two slashes. Write s3://lake/out, or",
        ),
        ("out", {"work": "gs:lake/tmp"}, "--work gs:lake/tmp: is a path, because gs: is not followed by two slashes."),
        ("out", {"work": "dbfs:/tmp"}, "Name a path, or a folder in s3://, gs:// or az://, or ./dbfs:/tmp if you"),
        ("out", {"raw": True}, "--raw: applies only to CSV files, and out is not one."),
        (".tranship/runs/out", {}, "is within .tranship/runs, where runs keep their files."),
        ("delta://.tranship/runs/out", {}, "is within .tranship/runs, where runs keep their files."),
        ("a.csv/out", {}, "a.csv: is a file. Name a folder."),
        ("delta://a.csv/out", {}, "a.csv: is a file. Name a folder."),
        ("delta://in", {}, "because it is in the folder that is read"),
        ("out", {"work": "a.csv"}, "a.csv: is a file. Name a folder."),
        ("out", {"work": "out/tmp"}, "--work out/tmp: is within the destination, where readers would find it."),
        ("delta://out", {"work": "out"}, "--work out: is within the destination, where readers would find it."),
        ("s3://lake/out", {"work": "s3a://lake/out/tmp"}, "is within the destination, where readers would find it."),
        ("out", {"work": "in/tmp"}, "--work in/tmp: is in the folder that is read (in), and its tables would be read"),
    ],
)
def test_what_makes_no_sense_is_refused(destination: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        check(destination, **options)


@pytest.mark.parametrize(
    ("destination", "options"),
    [
        ("out", {"work": "outside"}),
        ("./delta:lake", {"work": "C:/tmp/a:b"}),
        ("delta://out", MIRROR | {"deletes": "remove", "work": "out-tmp"}),
        ("iceberg://out", MIRROR),
        ("postgresql://h/db?table=t", {"columns": {"name": "n"}, "work": "s3://lake/tmp"}),
        ("s3://lake/out", {"work": "s3://lake/output"}),
        ("out", {"source": "in/*.csv", "work": "in"}),
    ],
)
def test_what_makes_sense_is_not(destination: str, options: dict[str, Any]) -> None:
    check(destination, **options)
