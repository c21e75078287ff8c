"""Folders whose files an engine writes; those in buckets are tested with an engine (`distributed/test_engine_steps_command.py`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tranship.connectors.errors import ConfigError
from tranship.connectors.files.data_folder import data_folder


def test_a_folder_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    folder = data_folder(str(tmp_path / "none"))
    assert (folder.names(), folder.read("a.json")) == ([], None)
    folder.remove()


def test_a_name_that_begins_like_a_home_directory_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~no-such-user" / "lake").mkdir(parents=True)
    assert data_folder("~no-such-user").names() == ["lake"]


def test_files_are_replaced_as_a_whole_and_readable_for_others(tmp_path: Path) -> None:
    folder = data_folder(str(tmp_path))
    for contents in (b"first", b"\xff second"):
        folder.write("a.json", contents)
    assert folder.read("a.json") == b"\xff second"
    assert folder.names() == ["a.json"]
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o644


def test_folders_of_a_file_are_created(tmp_path: Path) -> None:
    folder = data_folder(str(tmp_path / "a" / "b"))
    folder.write("c/d.json", b"{}")
    assert (tmp_path / "a" / "b" / "c" / "d.json").read_bytes() == b"{}"


def test_a_folder_in_it_is_removed(tmp_path: Path) -> None:
    (tmp_path / "run=1").mkdir()
    (tmp_path / "run=1" / "a.parquet").write_bytes(b"")
    folder = data_folder(str(tmp_path))
    folder.remove("run=1")
    assert folder.names() == []


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(ConfigError, match=r"is a file\. Name a folder"):
        data_folder(str(tmp_path / "a")).names()
    with pytest.raises(ConfigError, match=r"a: is a file\. Name a folder"):
        data_folder(str(tmp_path / "a" / "b")).names()
    with pytest.raises(ConfigError, match="hdfs://lake: is no folder that Tranship reaches"):
        data_folder("hdfs://lake")
